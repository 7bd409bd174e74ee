"""Runs tasks, each in a process of its own, and brings back what they send.
Processes, pipes and time limits: nothing here knows this homework. helper.py makes the processes."""

import array
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from processes import helper
from processes import limits
from processes.leftovers import end, end_children, remove_tree, wait_for

OUTPUT_LIMIT = 20_000  # bytes of a student's output that are kept
RESULT_LIMIT = 256 << 10  # bytes of results that are read
LINE_LIMIT = 1 << 10  # bytes of a line that is no result
PLACES_LIMIT = 100  # lines of a student's code under way
IMPORT_SECONDS = 20.0  # of processor time, until the student's code is imported
CLOCK = 4  # a task may sleep for so many times its processor time
BUSY = 0.05  # of a processor: who uses more does not sleep, the machine is slow or loaded
PATIENCE = 60.0  # seconds for the system to make a process
LAST_PATIENCE = 30.0  # and to end one, on a machine that is busy with others
CLEAN_UP = 20.0  # seconds for the helper to clean up

# A forked helper has NumPy already loaded. Not on macOS, whose system libraries do not survive a
# fork of a process that has used them; there the helper is a new Python.
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
            "processor" (its time used up), "time" (slept), "never" (no time was left for it).
        limit (float): the seconds that were over, for "import", "processor" and "time".
        ready (bool): whether the student's code was imported, and tests could run.
        stuck_at (list of (str, int)): files and lines of the calls that were under way when a
            limit or a crash ended it, innermost first, where they are known.
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


class Child:
    """The process of one task, seen from here: it is the helper's child."""

    def __init__(self, task, root):
        self.task = task
        self.outcome = Outcome(root)
        self.state = "waiting"  # then "asked for", "importing", "running", "stopping", "finished"
        self.ending = ""  # why it was stopped
        self.pid = None
        self.began, self.stop_at = time.monotonic(), float("inf")
        self.streams = []
        self._text, self._received, self._printed = b"", 0, b""

    def open_pipes(self):
        """Make its two pipes; returns the ends to write to: results, output."""
        (self._results, results), (self._output, output) = os.pipe(), os.pipe()
        self.streams = [self._results, self._output]
        for stream in self.streams:
            os.set_blocking(stream, False)
        return results, output

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
        """A line of results. Each can be forged: none is trusted, none is long in the reading."""
        outcome = self.outcome
        if line.startswith(b'{"case": '):
            outcome.lines.append(line)
        elif line.startswith(b'  File "') and len(outcome.stuck_at) < PLACES_LIMIT:
            name, _, rest = line[len(b'  File "'):LINE_LIMIT].partition(b'", line ')
            number = rest.partition(b" ")[0]
            if number.isdigit() and len(number) < 10:
                outcome.stuck_at.append((os.fsdecode(name), int(number)))
        elif len(line) <= LINE_LIMIT:
            with contextlib.suppress(ValueError, RecursionError):
                self._take_news(json.loads(line.decode("utf-8", "replace")))

    def _take_news(self, message):
        outcome = self.outcome
        if not isinstance(message, dict):
            return
        if isinstance(message.get("protections"), list) and not outcome.protections:
            # The first line, written before any student's code runs.
            outcome.protections = [str(name)[:40] for name in message["protections"]][:20]
            if message.get("refused"):
                raise HostFault(str(message["refused"])[:LINE_LIMIT])
        elif "ready" in message and not outcome.ready:
            outcome.ready = True
            if self.state == "importing":
                self.state = "running"
                self.begin(CLOCK * self.task.time_limit)
        elif "done" in message:
            outcome.defined_at = str(message["done"])[:200]
            self.ending = self.ending or "done"

    def reason_to_stop(self, now):
        """The ending for which it has to be stopped; empty if it may go on."""
        if now >= self.stop_at and self.state == "asked for":
            raise HostFault(f"no process could be made for {PATIENCE:g} s")
        if now >= self.stop_at and self.state == "stopping":
            raise HostFault("a process could not be ended")
        if self._received > RESULT_LIMIT:
            return "flood"
        if now >= self.stop_at and self._sleeps(now):
            return "time" if self.outcome.ready else "import"
        return self.ending

    def begin(self, seconds):
        """Watch from now on that it does not sleep for so many seconds by the clock."""
        self._period = seconds
        self.began = time.monotonic()
        self.stop_at = self.began + seconds
        self._used = limits.processor_time_of(self.pid)

    def _sleeps(self, now):
        """Whether it sleeps; if not, it is watched for another while."""
        before, self._used = self._used, limits.processor_time_of(self.pid)
        self.stop_at = now + self._period
        return self._used - before < BUSY * self._period

    def finish(self, status=None, seconds=0.0):
        """Note how it ended: its exit status and processor time, if it ever ran."""
        self.state = "finished"
        for stream in list(self.streams):
            for _ in range(64):  # what it left running could go on writing
                if not self.read(stream):
                    break
        self.close()
        outcome, limit = self.outcome, self.task.time_limit
        outcome.output = self._printed.decode("utf-8", "replace")
        outcome.ending = self.ending or how_it_ended(status, seconds, limit, outcome.ready)
        outcome.limit = {"import": IMPORT_SECONDS, "time": round(time.monotonic() - self.began)}.get(
            outcome.ending, limit)
        if status is not None and not outcome.protections and not self.ending:
            raise HostFault(f"a process ended before it could run ({outcome.ending}): "
                            f"{outcome.output.strip()[-300:]}")

    def close(self):
        """Close its pipes."""
        while self.streams:
            os.close(self.streams.pop())


def how_it_ended(status, seconds, limit, ready):
    """An Outcome's ending, by exit status and processor time of a process that was not stopped."""
    if status is None:
        return "never"
    if not os.WIFSIGNALED(status):
        return f"exit {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    used_up = seconds >= (limit if ready else IMPORT_SECONDS)
    if number == signal.SIGXCPU or number == signal.SIGKILL and used_up:
        return "processor" if ready else "import"
    return f"signal {number}"


class Crew:
    """A helper process and the tasks that it runs; a context, at whose end all is cleaned up.

    What is read or computed once the context is entered can be in no student's process.

    Args:
        inside (str): name of a module with ``prepare(key, seed, root)``, which should import what
            it tests, and ``run_task(prepared, root, send)``, where ``send`` takes a dict; both are
            called in each task's process.
        root (Path): the folder that these get, and that Python imports from first.
        limit_reading (bool): as helper.Settings.
        need_landlock (bool): as helper.Settings.

    Raises:
        HostFault: also in ``run``, if no process can be made here or the helper is lost.
    """

    def __init__(self, inside, root, limit_reading=False, need_landlock=False):
        self.root = Path(root).resolve()
        self.scratch = os.path.realpath(tempfile.mkdtemp(prefix="mytorch-grading-"))
        self._settings = helper.Settings(inside, str(self.root), self.scratch, limit_reading,
                                         need_landlock, IMPORT_SECONDS)
        self._pid = None
        self._children = []  # those that the helper was told to run and that have not ended
        self._text = b""

    def __enter__(self):
        hold_standard_files()
        self._undo = [limits.protect_memory(), limits.adopt_orphans()]
        self._control, other = socket.socketpair()
        try:
            self._pid = start_helper(other, self._settings)
        except BaseException:
            self.__exit__()
            raise
        finally:
            other.close()
        return self

    def __exit__(self, *_):
        """Clean up, which never takes long nor raises an error."""
        self._control.close()  # which tells the helper to
        if self._pid is not None and not wait_for(self._pid, CLEAN_UP):
            end(self._pid)
            wait_for(self._pid, 1.0)
        for child in self._children:
            child.close()
        # Only if the helper was killed: what it could not end has come to this process.
        end_children((), 1.0, only=limits.carries_these_limits)
        if os.path.lexists(self.scratch):
            remove_tree(self.scratch)
        for undo in self._undo:
            undo()

    def run(self, tasks, seed, deadline=None):
        """Run tasks, never more at a time than there are processors, and yield (task, Outcome) in
        their order.

        Args:
            tasks (sequence): anything with a ``key`` (str) and a ``time_limit`` (float, seconds of
                processor time).
            seed (int): for ``prepare``.
            deadline (float): time.monotonic() at which everything still running is stopped.
        """
        children = [Child(task, self.root) for task in tasks]
        waiting = list(children)
        workers = min(2, processors())
        for child in children:
            while child.state != "finished":
                while waiting and len(self._children) < workers:
                    self._start(waiting.pop(0), seed)
                self._wait_for_news(deadline)
                late = deadline is not None and time.monotonic() >= deadline
                slow = [c.outcome for c in children if c.outcome.ending == "import"]
                if late or slow:  # an import that is too slow once is too slow for all
                    for other in waiting:
                        other.ending = "import" if slow else "never"
                        other.outcome.stuck_at = slow[0].stuck_at if slow else []
                        other.finish()
                    waiting = []
            yield child.task, child.outcome

    def _start(self, child, seed):
        order = {"run": child.task.key, "seed": seed, "time_limit": child.task.time_limit}
        files = child.open_pipes()
        self._tell(order, files)
        for file in files:
            os.close(file)
        child.state, child.stop_at = "asked for", time.monotonic() + PATIENCE
        self._children.append(child)

    def _tell(self, order, files=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
        try:
            self._control.sendmsg([json.dumps(order).encode() + b"\n"], ancillary if files else [])
        except OSError:
            raise HostFault("the helper process was killed") from None

    def _wait_for_news(self, deadline):
        """Wait until something was written, ended or ran out of time; take it in."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ, None)
            for child in self._children:
                for stream in child.streams:
                    selector.register(stream, selectors.EVENT_READ, child)
            stops = [child.stop_at for child in self._children]
            if deadline is not None and any(c.state != "stopping" for c in self._children):
                stops.append(deadline)
            pause = min(stops) - time.monotonic()
            for key, _ in selector.select(max(pause, 0)):
                if key.data is None:
                    self._hear()
                elif key.fd in key.data.streams:
                    key.data.read(key.fd)
        now = time.monotonic()
        for child in list(self._children):
            ending = child.reason_to_stop(now)
            if deadline is not None and now >= deadline:
                ending = ending or "never"
            if ending and child.state != "stopping":
                child.state, child.ending, child.stop_at = "stopping", ending, now + LAST_PATIENCE
                self._tell({"stop": child.task.key, "ask": ending in ("time", "import")})

    def _hear(self):
        """Take in what the helper says of its processes."""
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise HostFault("the helper process was killed")
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            key = message.get("started", message.get("ended"))
            child = next(child for child in self._children if child.task.key == key)
            if "ended" in message:
                self._children.remove(child)
                child.finish(message["status"], message["seconds"])
            elif child.state == "asked for":
                child.state, child.pid = "importing", message["pid"]
                child.begin(CLOCK * IMPORT_SECONDS / 2)


def start_helper(control, settings):
    """Make the helper process, which serves the socket ``control``; returns its number."""
    if not CAN_FORK:
        control.set_inheritable(True)
        return os.posix_spawn(sys.executable, [
            sys.executable, "-B", helper.__file__, str(control.fileno()), json.dumps(settings)
        ], os.environ)
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            pid = os.fork()
        except OSError as error:
            if time.monotonic() > give_up:
                raise HostFault(f"no process can be made: {error}") from None
            time.sleep(0.1)
            continue
        if pid == 0:
            helper.main(control.fileno(), settings)
        return pid


def hold_standard_files():
    """Open what is closed of standard input, output and error: else a pipe or socket of ours would
    get its number, and other processes would have it as theirs."""
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
