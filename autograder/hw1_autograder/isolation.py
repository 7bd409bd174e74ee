"""Runs tasks, each in a process of its own, and brings back what they send.
Processes, pipes and time limits: nothing here knows this homework."""

import contextlib
import faulthandler
import importlib
import json
import os
import re
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from limits import protect_child, protect_parent

OUTPUT_LIMIT = 20_000  # characters of a student's output that are kept
RESULT_LIMIT = 4 << 20  # characters of results that are read
WORKERS = 2
HERE = os.path.dirname(os.path.abspath(__file__))

# A fork is a clean process with NumPy already loaded. Not on macOS, whose system libraries do
# not survive one; there each problem starts a Python of its own.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"


class Outcome:
    """What came back from one problem's process.

    Attributes:
        root (Path): the folder that the task was given.
        cases (dict): name of the test → {"results": {label: plain data}} or {"error": ...}.
        output (str): the beginning of what the student's code printed.
        output_lines (int): how many lines it printed in all.
        ending (str): "done", "time", "exit N", "signal N", "flood", "never" (not started).
        stuck_at (list of (str, int)): for "time" and "signal": files and lines of the calls that
            were under way, innermost first, where they are known.
        defined_at (str): file and line of the code in question.
        protections (list of str): what limited the process.
    """

    def __init__(self, root):
        self.root = root
        self.cases = {}
        self.output = ""
        self.output_lines = 0
        self.ending = "never"
        self.stuck_at = []
        self.defined_at = ""
        self.protections = []


def run(tasks, inside, root, read_seed, deadline=None):
    """Run tasks, two at a time, and yield (task, Outcome) in their order.

    Args:
        tasks (sequence): anything with a ``key`` (str) and a ``time_limit`` (seconds).
        inside (str): name of the module whose ``run_task(key, seed, root, send)`` is called in
            each task's process; ``send`` takes a dict.
        root (Path): the folder that ``run_task`` is given, and that Python imports from first.
        read_seed: called once all processes have been made and before any runs student code;
            returns the seed. Whatever it reads can be in no child's memory.
        deadline (float): time.monotonic() at which everything still running is stopped.
    """
    protect_parent()
    scratch = Path(tempfile.mkdtemp(prefix="mytorch-grading-"))
    children = []
    try:
        for task in tasks:
            children.append(Child(task, inside, Path(root).resolve(), scratch))
        seed = read_seed()
        waiting = list(children)
        for child in children:
            while not child.finished:
                running = [c for c in children if c.started and not c.finished]
                while waiting and len(running) < WORKERS:
                    running.append(waiting.pop(0))
                    running[-1].start(seed, deadline)
                wait_for_news(running)
            yield child.task, child.outcome
    finally:
        for child in children:
            child.finish("never")
        kill_strays()
        shutil.rmtree(str(scratch), ignore_errors=True)


def wait_for_news(children):
    """Wait until one of the children has written, ended or run out of time; take it in."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            for stream in child.open_streams():
                selector.register(stream, selectors.EVENT_READ, child)
        pause = min(child.stop_at for child in children) - time.monotonic()
        for key, _ in selector.select(max(pause, 0)):
            if not key.data.finished:
                key.data.read(key.fd)
    for child in children:
        if time.monotonic() >= child.stop_at:
            child.finish("time")


class Child:
    """The process of one task, seen from the parent."""

    alive = set()  # process numbers of all that have not been reaped

    def __init__(self, task, inside, root, scratch):
        self.task = task
        self.outcome = Outcome(root)
        self.started = self.finished = False
        self.stop_at = float("inf")
        self._lines, self._received = b"", 0
        home = Path(tempfile.mkdtemp(dir=str(scratch)))
        go_read, self._go = os.pipe()
        self._results, result_write = os.pipe()
        self._output, output_write = os.pipe()
        ends = (go_read, result_write, output_write)
        self.pid = os.fork()
        if self.pid == 0:
            enter_child(task, inside, str(root), str(home), ends)
        Child.alive.add(self.pid)
        for end in ends:
            os.close(end)

    def start(self, seed, deadline):
        """Let the process go; its time begins now."""
        self.started = True
        self.stop_at = time.monotonic() + self.task.time_limit
        if deadline is not None:
            self.stop_at = min(self.stop_at, deadline)
        try:
            os.write(self._go, b"%d\n" % seed)
        except BrokenPipeError:  # it died before; reading will tell
            pass

    def open_streams(self):
        return [fd for fd in (self._results, self._output) if fd is not None]

    def read(self, fd):
        data = os.read(fd, 1 << 16)
        if fd == self._output:
            self._take_output(data)
            if not data:
                os.close(fd)
                self._output = None
        elif not data:
            self.finish("exit")
        else:
            self._take_results(data)

    def _take_output(self, data):
        text = data.decode("utf-8", "replace")
        self.outcome.output_lines += text.count("\n")
        self.outcome.output += text[:max(OUTPUT_LIMIT - len(self.outcome.output), 0)]

    def _take_results(self, data):
        self._lines += data
        self._received += len(data)
        if self._received > RESULT_LIMIT:
            self.finish("flood")
            return
        *complete, self._lines = self._lines.split(b"\n")
        for line in complete:
            self._take_message(line.decode("utf-8", "replace"))

    def _take_message(self, line):
        """One line of the child: a message in JSON, or a line of faulthandler's."""
        place = re.search(r'File "(.+)", line (\d+) in', line)
        if place:
            self.outcome.stuck_at.append((place.group(1), int(place.group(2))))
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if isinstance(message.get("case"), str):
            self.outcome.cases.setdefault(message["case"], message)
        if isinstance(message.get("protections"), list) and not self.outcome.protections:
            self.outcome.protections = [str(name) for name in message["protections"]]
        if "done" in message:
            self.outcome.defined_at = str(message["done"])[:200]
            self.finish("done")

    def finish(self, ending):
        """Stop the process and all it started; note how it ended. A second call does nothing."""
        if self.finished:
            return
        self.finished = True
        # At the end of its results the process is about to be gone, by itself or by a signal.
        status = reap(self.pid, patience=1.0) if ending == "exit" else None
        for kill in (os.killpg, os.kill) if status is None else (os.killpg,):
            try:
                kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        if status is None:
            reap(self.pid, patience=10.0)
        elif os.WIFSIGNALED(status):
            ending = f"signal {os.WTERMSIG(status)}"
        else:
            ending = f"exit {os.WEXITSTATUS(status)}"
        self.outcome.ending = ending
        Child.alive.discard(self.pid)
        kill_strays()
        self._drain_output()
        for fd in [self._go, *self.open_streams()]:
            os.close(fd)

    def _drain_output(self):
        """Take what is still in the pipe of a process that is gone."""
        os.set_blocking(self._output, False) if self._output is not None else None
        while self._output is not None and len(self.outcome.output) < OUTPUT_LIMIT:
            try:
                data = os.read(self._output, 1 << 16)
            except BlockingIOError:  # someone it left running still holds the other end
                return
            if not data:
                return
            self._take_output(data)


def reap(pid, patience):
    """The exit status of ``pid``, waiting up to ``patience`` seconds; None if it goes on."""
    give_up = time.monotonic() + patience
    while True:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # the student's code cannot reap it, but be safe
            return 0
        if reaped:
            return status
        if time.monotonic() > give_up:
            return None
        time.sleep(0.001)


def kill_strays():
    """Kill processes that a student's process left behind. As their "subreaper" (Linux) this
    process becomes their parent when their own is gone, whatever session they moved to."""
    for _ in range(100):  # each round may orphan others
        strays = [pid for pid in processes_of(os.getpid()) if pid not in Child.alive]
        if not strays:
            return
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            reap(pid, patience=1.0)


def processes_of(parent):
    """Process numbers of the children of ``parent``; none where there is no /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


# From here on: what happens in the child.


def enter_child(task, inside, root, home, ends):
    """Become the process of one task; does not return."""
    if CAN_FORK:
        child_main(inside, task.key, root, home, task.time_limit, *ends)
    for end in ends:
        os.set_inheritable(end, True)
    arguments = [inside, task.key, root, home, str(task.time_limit), *map(str, ends)]
    os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), *arguments])


def child_main(inside, key, root, home, time_limit, go, results, output, leave=os._exit):
    """Wait for the seed, then run the task ``key`` and send what it has to say."""
    try:
        os.setsid()
        os.chdir(home)
        redirect(output)
        close_all_but(go, results)
        channel = os.fdopen(results, "w", encoding="utf-8", errors="backslashreplace")
        seed = int(os.read(go, 100))
        run_task = importlib.import_module(inside).run_task
        faulthandler.enable(file=channel)
        with contextlib.suppress(RuntimeError):  # no thread left for it: then no line is named
            faulthandler.dump_traceback_later(0.9 * time_limit, file=channel)

        def send(message, write=channel.write, flush=channel.flush, dumps=json.dumps):
            write(dumps(message) + "\n")
            flush()

        send({"protections": protect_child(home, time_limit)})
        sys.path[:] = [root] + [p for p in sys.path if p != HERE]
        sys.dont_write_bytecode = True
        run_task(key, seed, Path(root), send)
    except BaseException:
        traceback.print_exc()
    finally:
        # The student's atexit functions and threads shall have no say any more.
        leave(0)


def redirect(output):
    """No standard input, and standard output and error into one pipe."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)
    sys.stdout = sys.__stdout__ = open(
        1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = sys.__stderr__ = sys.stdout


def close_all_but(*kept):
    """Close what was inherited from the parent, other children's pipes above all."""
    start = 3
    for fd in sorted(kept):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, 4096)


if __name__ == "__main__":  # a child where processes are not forked
    child_main(*sys.argv[1:5], float(sys.argv[5]), *map(int, sys.argv[6:]))
