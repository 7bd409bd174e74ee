"""Runs tasks, each in a limited process of its own, and brings back what they send.
Nothing here knows this homework. What only defends Autolab is staff/jail.py, handed in as ``jail``."""

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path
from typing import NamedTuple

GRADER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":  # a new Python, see start
    sys.path[0] = GRADER

from processes import limits  # noqa: E402

OUTPUT_LIMIT = 20_000  # bytes of a student's output that are kept
RESULT_LIMIT = 256 << 10  # bytes of results that are read
LINE_LIMIT = 1 << 10  # bytes of a line that is not a result
PLACES_LIMIT = 100  # lines of a student's code under way
IMPORT_SECONDS = 20.0  # of processor time, until the student's code is imported
CLOCK = 4  # a task may sleep for so many times its processor time
BUSY = 0.05  # of a processor: who uses more does not sleep, the machine is slow or loaded
LAST_WORDS = 0.3  # seconds for a process to say where it was, before it is killed
PATIENCE = 60.0  # seconds for the system to make a process, and to end one
ENVIRONMENT = (  # the variables that a student's process keeps
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_NUM_THREADS")

# A fork has NumPy already loaded. Not on macOS, whose system libraries do not survive a fork of a
# process that has used them; there each process is a new Python.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"


class HostFault(Exception):
    """This machine, or someone on it, does not let the grader do its work."""


class Outcome:
    """What came back from one task's process.

    Attributes:
        root (Path): the folder that the task was given.
        lines (list of bytes): what it sent of its results; unchecked.
        cases (dict): for the caller, to keep what is in them.
        output (str): the beginning of what the student's code printed.
        output_lines (int): how many lines it printed in all.
        ending (str): "done", "exit N", "signal N", "flood" (of results), "import" (too slow),
            "processor" (its time used up), "time" (slept), "share" (of the clock used up, at little
            work), "never" (no time was left for it).
        limit (float): the seconds that were over, for "import", "processor", "time" and "share".
        ready (bool): whether the student's code was imported, and tests could run.
        stuck_at (list of (str, int, str)): files, lines and functions of the calls that
            were under way when a limit or a crash ended it, innermost first, where they are known.
        defined_at (str): file and line of the code in question.
        protections (list of str): what limited the process.
    """

    def __init__(self, root):
        self.root = root
        self.lines = []
        self.cases = {}
        self.output = ""
        self.output_lines = 0
        self.ending = "never"
        self.limit = 0.0
        self.ready = False
        self.stuck_at = []
        self.defined_at = ""
        self.protections = []


class Order(NamedTuple):
    """What the process of a task is told: a module and a folder as of Crew, a folder to write to, the
    task's key and seconds of processor time, and the seed."""

    inside: str
    root: str
    home: str
    key: str
    seconds: float
    seed: int


class Child:
    """The process of one task, seen from its parent. All that it says may be forged."""

    def __init__(self, order, jail, share):
        self.order = order
        self.outcome = Outcome(Path(order.root))
        self.ending = ""  # why it is stopped
        (self._results, results), (self._output, output) = os.pipe(), os.pipe()
        self.streams = [self._results, self._output]
        for stream in self.streams:
            os.set_blocking(stream, False)
        self._text, self._received, self._printed = b"", 0, b""
        try:
            self.pid = start(order, results, output, jail)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(results)
            os.close(output)
        self._share, self._used, self._kill_at = share, 0.0, float("inf")
        self._began = self._since = time.monotonic()

    def read(self, stream):
        """Take in what stands in a pipe, at most 64 KiB; whether there may be more."""
        try:
            data = os.read(stream, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            os.close(stream)
            self.streams.remove(stream)
        elif stream == self._output:
            self.outcome.output_lines += data.count(b"\n")
            self._printed += data[:max(OUTPUT_LIMIT - len(self._printed), 0)]
        else:
            self._received += len(data)
            if self._received <= RESULT_LIMIT:
                *lines, self._text = (self._text + data).split(b"\n")
                for line in lines:
                    self._take(line)
        return bool(data)

    def _take(self, line):
        """A line of results. None is trusted, none takes long to read."""
        outcome = self.outcome
        if line.startswith(b'{"case": '):
            outcome.lines.append(line)
        elif line.startswith(b'  File "') and len(outcome.stuck_at) < PLACES_LIMIT:
            name, _, rest = line[len(b'  File "'):LINE_LIMIT].partition(b'", line ')
            number, _, function = rest.partition(b" in ")
            if number.isdigit() and len(number) < 10:
                outcome.stuck_at.append((os.fsdecode(name), int(number), os.fsdecode(function)))
        elif len(line) <= LINE_LIMIT:
            with contextlib.suppress(ValueError, RecursionError):
                message = json.loads(line.decode("utf-8", "replace"))
                if isinstance(message, dict):
                    self._take_news(message)

    def _take_news(self, message):
        outcome = self.outcome
        if not outcome.protections:  # the first line, written before any student's code runs
            if message.get("refused"):
                raise HostFault(str(message["refused"])[:LINE_LIMIT])
            outcome.protections = [str(name)[:40] for name in message["protections"]][:20]
        elif "ready" in message and not outcome.ready:
            outcome.ready = True
            self._used, self._since = limits.processor_time_of(self.pid), time.monotonic()
            with contextlib.suppress(OSError, AttributeError):  # it is gone; not on this system
                limits.limit_processor_time(self.order.seconds, pid=self.pid)
        elif "done" in message:
            outcome.defined_at = str(message["done"])[:200]
            self.ending = self.ending or "done"
            self._kill_at = time.monotonic()

    def look_after(self):
        """Stop it if it has to be stopped."""
        now = time.monotonic()
        if self.ending:
            if now >= self._kill_at:
                end(self.pid)
            if now >= self._kill_at + PATIENCE:
                raise HostFault("a process could not be ended")
        elif self._received > RESULT_LIMIT:
            self._stop("flood")
        elif now >= self._began + self._share:
            self._stop("share" if self.outcome.ready else "import", LAST_WORDS)
        elif now >= self._since + self._may_sleep():
            used = limits.processor_time_of(self.pid) - self._used
            if used < BUSY * self._may_sleep():
                self._stop("time" if self.outcome.ready else "import", LAST_WORDS)
            self._used, self._since = self._used + used, now

    def _may_sleep(self):
        return CLOCK * (self.order.seconds if self.outcome.ready else IMPORT_SECONDS / 2)

    def _stop(self, ending, patience=0.0):
        """End it, after some seconds in which it can say in which line it is."""
        self.ending, self._kill_at = ending, time.monotonic() + patience
        if patience:
            os.kill(self.pid, signal.SIGXCPU)
        else:
            end(self.pid)

    def has_ended(self):
        """Whether the process has ended; its Outcome is complete then."""
        pid, status, used = os.wait4(self.pid, os.WNOHANG)
        if not pid:
            return False
        end(self.pid)  # what it has left in its group
        for stream in list(self.streams):
            for _ in range(64):  # what it left running could go on writing
                if not self.read(stream):
                    break
        self.close()
        outcome, seconds = self.outcome, self.order.seconds
        outcome.output = self._printed.decode("utf-8", "replace")
        limit = seconds if outcome.ready else IMPORT_SECONDS
        used_up = used.ru_utime + used.ru_stime >= limit
        outcome.ending = self.ending or how_it_ended(status, used_up, outcome.ready)
        by_the_clock = self.ending in ("time", "share", "import")
        outcome.limit = round(time.monotonic() - self._began) if by_the_clock else limit
        if not outcome.protections and not self.ending:
            raise HostFault(f"a process ended before it could run ({outcome.ending}): "
                            f"{outcome.output.strip()[-300:]}")
        return True

    def close(self):
        """Close its pipes."""
        while self.streams:
            os.close(self.streams.pop())


def how_it_ended(status, used_up, ready):
    """An Outcome's ending, by the status of a process that ended by itself, and whether its
    processor time was used up."""
    if not os.WIFSIGNALED(status):
        return f"exit {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU or number == signal.SIGKILL and used_up:
        return "processor" if ready else "import"
    return f"signal {number}"


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
        hold_standard_files()
        if CAN_FORK:
            importlib.import_module(self.inside)
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
                of the time that is left when it starts, so that it cannot use up that of the others.
        """
        waiting, outcomes = list(tasks), {}
        # All at once, before a task can fill the disk.
        homes = {task.key: tempfile.mkdtemp(dir=self.scratch) for task in tasks}
        workers = min(2, processors())
        for task in tasks:
            while task.key not in outcomes:
                left = float("inf") if deadline is None else deadline - time.monotonic()
                while waiting and left > 0 and len(self._running) < workers:
                    count = len(waiting) + len(self._running)
                    share = left * min(workers / count, 1)
                    first = waiting.pop(0)
                    self._start(first, homes[first.key], seed, share)
                self._wait_for_news()
                for child in list(self._running):
                    if child.has_ended():
                        self._running.remove(child)
                        self._tidy_up(child)
                        outcomes[child.order.key] = child.outcome
                    else:
                        child.look_after()
                slow = [one for one in outcomes.values() if one.ending == "import"]
                if left <= 0 or slow:  # an import that is too slow once is too slow for all
                    for other in waiting:
                        outcomes[other.key] = outcome = Outcome(self.root)
                        outcome.limit = IMPORT_SECONDS
                        outcome.ending = "import" if slow else "never"
                        outcome.stuck_at = slow[0].stuck_at if slow else []
                    waiting = []
            yield task, outcomes[task.key]

    def _start(self, task, home, seed, share):
        """Start a task's process; where the system has none to give, try again for a while."""
        order = Order(self.inside, str(self.root), home, task.key, task.time_limit, seed)
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                self._running.append(Child(order, self.jail, share))
                return
            except BlockingIOError as error:
                if time.monotonic() > give_up:
                    raise HostFault(f"no process can be made: {error}") from None
                time.sleep(0.05)

    def _wait_for_news(self):
        """Wait a moment for something to be written, and take it in. (By poll: what epoll watches is
        counted for all processes of a user, so that one of them can use it up.)"""
        poll, owners = select.poll(), {}
        for child in self._running:
            for stream in child.streams:
                poll.register(stream, select.POLLIN)
                owners[stream] = child
        for stream, _ in poll.poll(10):
            owners[stream].read(stream)

    def _tidy_up(self, child):
        """Leave nothing of a task that has ended."""
        if self.jail:
            self.jail.sweep(child.order.home, keep=[other.pid for other in self._running])
        else:
            shutil.rmtree(child.order.home, ignore_errors=True)


def start(order, results, output, jail):
    """Make the process of a task, which writes to two open files; returns its number."""
    if jail or CAN_FORK:
        pid = os.fork()
        if pid == 0:
            be_child(order, results, output, jail)
        return pid
    for file in (results, output):
        os.set_inheritable(file, True)
    told = json.dumps([results, output, sys.path, order])
    return os.posix_spawn(sys.executable, [sys.executable, "-B", __file__, told], os.environ)


def hold_standard_files():
    """Open what is closed of standard input, output and error: else a pipe of ours would get its
    number, and a student's process would have it as its own."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def processors():
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# From here on: what happens in the process of a task.


def be_child(order, results, output, jail):
    """Run a task and send what it has to say; does not return."""
    leave = os._exit
    try:
        os.setsid()  # which also leaves the terminal
        redirect(output)
        close_all_but(results)
        use_folder(order.home)
        inside = importlib.import_module(order.inside)
        channel = os.fdopen(results, "w", encoding="utf-8", errors="backslashreplace")

        def send(message, write=channel.write, flush=channel.flush, dumps=json.dumps):
            write(dumps(message) + "\n")
            flush()

        active = limits.limit_this_process(IMPORT_SECONDS, later=order.seconds)
        try:
            active += jail.confine(order.home, order.root) if jail else []
        except OSError as error:
            send({"refused": str(error)})
            return
        send({"protections": active})
        # When the processor time is used up, or the parent asks: the line it is at, then the end.
        faulthandler.enable(file=channel, all_threads=False)
        faulthandler.register(signal.SIGXCPU, file=channel, all_threads=False, chain=True)
        forget_the_grader(order.root)
        prepared = inside.prepare(order.key, order.seed, Path(order.root))
        send({"ready": True})
        if not hasattr(resource, "prlimit"):  # else the parent does it, whom no student can patch
            limits.limit_processor_time(order.seconds)
        inside.run_task(prepared, Path(order.root), send)
    except BaseException:
        traceback.print_exc()
    finally:
        leave(0)  # at once: the student's atexit functions and threads have no say


def redirect(output):
    """No standard input, and standard output and error into one pipe."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(
        1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = sys.__stderr__ = sys.stdout


def close_all_but(kept):
    """Close what was inherited beyond standard input and output, but for one file."""
    os.set_inheritable(kept, False)
    os.closerange(3, kept)
    os.closerange(kept + 1, max(4096, kept + 1))


def use_folder(home):
    """Make ``home`` the current folder and that for temporary files, and forget all that the
    environment says but what a program needs."""
    os.chdir(home)
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, **dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP"), home))
    tempfile.tempdir = home


def forget_the_grader(root):
    """Let Python import from ``root`` first and find no trace of how it was started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:] = [root] + [path for path in sys.path if path not in ("", GRADER)]
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")  # multiprocessing would run it again
    sys.dont_write_bytecode = True


if __name__ == "__main__":
    *files, path, order = json.loads(sys.argv[1])
    sys.path[:] = path
    be_child(Order(*order), *files, jail=None)
