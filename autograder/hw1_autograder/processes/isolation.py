"""Runs tasks, each in a limited process of its own, and brings back what they send.
Nothing here knows this homework. What only defends Autolab is staff/jail.py, given as ``jail``."""

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path

GRADER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":  # a new Python, see start
    sys.path[0] = GRADER

from processes import limits  # noqa: E402

OUTPUT_LIMIT = 20_000  # bytes of a student's output that are kept
RESULT_LIMIT = 256 << 10  # bytes of results that are read
LINE_LIMIT = 1 << 10  # bytes of a line that is not a result
IMPORT_SECONDS = 8.0  # of processor time, until the student's code is imported
SLEEP = 20.0  # seconds by the clock that a process may sleep
BUSY = 0.05  # of a processor: who uses more does not sleep, the machine is slow or loaded
LAST_WORDS = 0.3  # seconds for a process to say where it was, before it is killed
PATIENCE = 60.0  # seconds for the system to make a process
PLACE = re.compile(rb'  File "(.*?)", line (\d{1,9}) in (.*)')

# A fork has NumPy already loaded. Not on macOS, whose system libraries do not survive a fork of a
# process that has used them; there each process is a new Python.
CAN_FORK = sys.platform != "darwin"


class HostFault(Exception):
    """This machine, or someone on it, does not let the grader do its work."""


@dataclasses.dataclass
class Outcome:
    """What came back from one task's process.

    Its ending is "done", "exit N", "signal N", "flood" (of results), "import" (too slow),
    "processor" (its time used up), "time" (by the clock), or "never" (no time was left for it).
    """

    root: Path  # the folder that the task was given
    lines: list = dataclasses.field(default_factory=list)  # bytes: its results, unchecked
    cases: dict = dataclasses.field(default_factory=dict)  # for the caller, what is in them
    output: str = ""  # the beginning of what the student's code printed
    output_lines: int = 0  # how many lines it printed in all
    ending: str = "never"
    limit: float = 0.0  # the seconds that were over, for "import", "processor" and "time"
    ready: bool = False  # whether the student's code was imported, and tests could run
    # Where a limit or a crash ended it, if known: files, lines and functions, innermost first.
    stuck_at: list = dataclasses.field(default_factory=list)
    defined_at: str = ""  # file and line of the code in question
    protections: list = dataclasses.field(default_factory=list)  # names of what limited the process


class Child:
    """The process of one task, seen from its parent. All that it says may be forged.

    Args:
        task: as of Crew.run.
        share (float): seconds by the clock, after which it has to end.
        jail (jail.Jail): or None.
        order (tuple): what ``be_child`` takes after that.
    """

    def __init__(self, task, share, jail, order):
        self.task, self.share = task, share
        self.outcome = Outcome(Path(order[1]))
        (self.results, results), (self.output, output) = os.pipe(), os.pipe()
        self.streams = [self.results, self.output]
        self.came = dict.fromkeys(self.streams, b"")
        for stream in self.streams:
            os.set_blocking(stream, False)
        try:
            self.pid = start(results, output, jail, *order)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(results)
            os.close(output)
        self.ending, self.kill_at = "", float("inf")  # why and when it is stopped
        self.began = time.monotonic()
        self.importing, self.limit = 0.0, IMPORT_SECONDS  # processor time it took, and has

    def read(self, stream):
        """Take in what stands in a pipe, at most 64 KiB; whether there may be more."""
        try:
            data = os.read(stream, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            os.close(stream)
            self.streams.remove(stream)
        most = RESULT_LIMIT + 1
        if stream == self.output:
            self.outcome.output_lines += data.count(b"\n")
            most = OUTPUT_LIMIT
        self.came[stream] += data[:max(most - len(self.came[stream]), 0)]
        if not self.outcome.ready and b'\n{"ready": ' in self.came[self.results]:
            self.outcome.ready = True
            self.importing, self.limit = limits.processor_time_of(self.pid), self.task.time_limit
        return bool(data)

    def look_after(self):
        """Stop it if it has to be stopped."""
        elapsed, ready = time.monotonic() - self.began, self.outcome.ready
        used = limits.processor_time_of(self.pid)
        if time.monotonic() >= self.kill_at:
            end(self.pid)
        elif len(self.came[self.results]) > RESULT_LIMIT:
            self.stop("flood")
        elif used - self.importing >= self.limit:
            self.stop("processor" if ready else "import")
        elif elapsed >= min(self.share, SLEEP + used / BUSY):
            self.stop("time" if ready else "import")

    def stop(self, ending):
        """End it, after a moment in which it can say in which line it is."""
        if not self.ending:
            self.ending, self.kill_at = ending, time.monotonic() + LAST_WORDS
            os.kill(self.pid, signal.SIGXCPU)

    def has_ended(self):
        """Whether the process has ended; its Outcome is complete then."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        end(self.pid)  # what it has left in its group
        for stream in list(self.streams):
            for _ in range(64):  # what it left running could go on writing
                if not self.read(stream):
                    break
        self.close()
        outcome = self.outcome
        outcome.output = self.came[self.output].decode("utf-8", "replace")
        outcome.ending = self.ending or f"exit {os.WEXITSTATUS(status)}"
        if not self.ending and os.WIFSIGNALED(status):
            outcome.ending = f"signal {os.WTERMSIG(status)}"
            if os.WTERMSIG(status) == signal.SIGXCPU:  # the system's limit
                outcome.ending = "processor" if outcome.ready else "import"
        outcome.limit = self.limit
        if self.ending == "time":
            outcome.limit = round(time.monotonic() - self.began)
        for line in self.came[self.results].split(b"\n"):
            self.take(line)
        if not outcome.protections and not self.ending:
            raise HostFault(f"a process ended before it could run ({outcome.ending}): "
                            f"{outcome.output.strip()[-300:]}")
        return True

    def take(self, line):
        """A line of results. None is trusted, none takes long to read."""
        outcome, place = self.outcome, PLACE.match(line[:LINE_LIMIT])
        if line.startswith(b'{"case": '):
            outcome.lines.append(line)
        elif place:
            file, number, function = place.groups()
            outcome.stuck_at.append((os.fsdecode(file), int(number), os.fsdecode(function)))
        elif line.startswith(b"{") and len(line) <= LINE_LIMIT:
            message = {}
            with contextlib.suppress(ValueError, RecursionError):
                message = json.loads(line.decode("utf-8", "replace"))
            if not outcome.protections:  # the first line, written before any student's code runs
                if message.get("refused"):
                    raise HostFault(message["refused"])
                outcome.protections = message.get("protections", [])
            elif "done" in message and not self.ending:
                outcome.defined_at = str(message["done"])[:200]
                outcome.ending = "done"

    def close(self):
        """Close its pipes."""
        while self.streams:
            os.close(self.streams.pop())


def end(pid):
    """Send SIGKILL to a process and to its group, where they are still there."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


class Crew:
    """Runs tasks, a few at a time; a context, at whose end all is cleaned up.

    Args:
        inside (str): name of a module with ``prepare(key, seed, root)``, which should import what
            it tests, and ``run_task(prepared, root, send)``, where ``send`` takes a dict; both are
            called in each task's process.
        root (Path): the folder that these get, and that Python imports from first.
        jail (jail.Jail): what defends this process, and this machine, against the tasks; not needed
            where they are one's own.

    Raises:
        HostFault: in ``run``, if no process can be made here, or the jail cannot be.
    """

    def __init__(self, inside, root, jail=None):
        self.inside, self.root, self.jail = inside, Path(root).resolve(), jail
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="mytorch-grading-"))
        self._running = []

    def __enter__(self):
        if CAN_FORK:
            importlib.import_module(self.inside)
        free = 0
        while free < 3:  # else a pipe of ours could be the standard output of a task
            free = os.open(os.devnull, os.O_RDWR)
        os.close(free)
        limits.processes_of_this_user()  # counted here, once
        if self.jail:
            self.jail.open(self.scratch)
        return self

    def __exit__(self, *_):
        """Clean up, which never takes long nor raises an error."""
        for child in self._running:
            end(child.pid)
            child.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)
        if self.jail:
            self.jail.close(self.scratch)
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self, tasks, seed, deadline=None):
        """Run tasks, never more at a time than there are processors, and yield (task, Outcome) in
        their order.

        Args:
            tasks (sequence): anything with a ``key`` (str) and a ``time_limit`` (float, seconds of
                processor time).
            seed (int): for ``prepare``.
            deadline (float): time.monotonic() at which all must have ended. Each task has its share
                of the time that is left when it starts, and cannot use up that of the others.
        """
        waiting, outcomes = list(tasks), {}
        # All at once, before a task can fill the disk.
        homes = {task.key: tempfile.mkdtemp(dir=self.scratch) for task in tasks}
        workers = min(2, processors())
        for task in tasks:
            while task.key not in outcomes:
                left = float("inf") if deadline is None else deadline - time.monotonic()
                while waiting and left > 0 and len(self._running) < workers:
                    share = left * min(workers / (len(waiting) + len(self._running)), 1)
                    first = waiting.pop(0)
                    self._start(first, share, homes[first.key], seed)
                self._wait_for_news()
                for child in [child for child in self._running if child.has_ended()]:
                    self._running.remove(child)
                    if self.jail:
                        self.jail.sweep(homes[child.task.key], keep=[c.pid for c in self._running])
                    else:
                        shutil.rmtree(homes[child.task.key], ignore_errors=True)
                    outcomes[child.task.key] = child.outcome
                for child in self._running:
                    child.look_after()
                slow = [one for one in outcomes.values() if one.ending == "import"]
                if left <= 0 or slow:  # an import that is too slow once is too slow for all
                    for other in waiting:
                        outcomes[other.key] = slow[0] if slow else Outcome(self.root)
                    waiting = []
            yield task, outcomes[task.key]

    def _start(self, task, share, home, seed):
        """Start a task's process; where the system has none to give, try again for a while."""
        give_up = time.monotonic() + PATIENCE
        order = self.inside, str(self.root), home, task.key, task.time_limit, seed
        while True:
            try:
                self._running.append(Child(task, share, self.jail, order))
                return
            except BlockingIOError as error:
                if time.monotonic() > give_up:
                    raise HostFault(f"no process can be made: {error}") from None
                time.sleep(0.05)

    def _wait_for_news(self):
        """Wait a moment for something to be written, and take it in. (By poll: what epoll watches
        is counted for all processes of a user, so that one of them can use it up.)"""
        poll, owners = select.poll(), {}
        for child in self._running:
            for stream in child.streams:
                poll.register(stream, select.POLLIN)
                owners[stream] = child
        for stream, _ in poll.poll(10):
            owners[stream].read(stream)


def start(results, output, jail, *order):
    """Make the process of a task, with the arguments of ``be_child``; returns its number."""
    if jail or CAN_FORK:
        pid = os.fork()
        if pid == 0:
            be_child(results, output, jail, *order)
        return pid
    for file in (results, output):
        os.set_inheritable(file, True)
    told = json.dumps([sys.path, [results, output, None, *order]])
    return os.posix_spawn(sys.executable, [sys.executable, "-B", __file__, told], os.environ)


def processors():
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# From here on: what happens in the process of a task.


def be_child(results, output, jail, inside, root, home, key, seconds, seed):
    """Run a task, with its key and seconds of processor time, in the empty folder ``home``, and
    send what it has to say into the pipe ``results``; does not return."""
    leave = os._exit
    try:
        os.setsid()  # which also leaves the terminal
        take_files(results, output)
        module = importlib.import_module(inside)
        forget_the_grader(home, root)
        channel = os.fdopen(results, "w", encoding="utf-8", errors="backslashreplace")

        def send(message, write=channel.write, flush=channel.flush, dumps=json.dumps):
            write(dumps(message) + "\n")
            flush()

        active = limits.limit_this_process(IMPORT_SECONDS, later=seconds)
        try:
            active += jail.confine(home, root) if jail else []
        except OSError as error:
            send({"refused": str(error)})
            return
        send({"protections": active})
        # When the processor time is used up, or the parent asks: the line it is at, then the end.
        faulthandler.enable(file=channel, all_threads=False)
        faulthandler.register(signal.SIGXCPU, file=channel, all_threads=False, chain=True)
        prepared = module.prepare(key, seed, Path(root))
        send({"ready": True})
        limits.limit_processor_time(seconds)  # where the parent does not measure it
        module.run_task(prepared, Path(root), send)
    except BaseException:
        traceback.print_exc()
    finally:
        leave(0)  # at once: the student's atexit functions and threads have no say


def take_files(results, output):
    """Have no standard input, standard output and error in one pipe, and no other file but one."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(
        1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = sys.__stderr__ = sys.stdout
    os.set_inheritable(results, False)
    os.closerange(3, results)
    os.closerange(results + 1, max(4096, results + 1))


def forget_the_grader(home, root):
    """Work in ``home``, import from ``root`` first, and keep no trace of how this was started."""
    os.chdir(home)
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), home))
    tempfile.tempdir = home
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:] = [root] + [path for path in sys.path if path not in ("", GRADER)]
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")  # multiprocessing would run it again
    sys.dont_write_bytecode = True


if __name__ == "__main__":
    path, order = json.loads(sys.argv[1])
    sys.path[:] = path
    be_child(*order)
