"""Runs the student's code, each problem in a process of its own, and brings back plain data.
Whoever reads the problems never needs this file: it holds processes, limits and nothing graded."""

import contextlib
import ctypes
import faulthandler
import json
import linecache
import os
import re
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

MEMORY_LIMIT = 2 << 30  # bytes of address space
PROCESS_LIMIT = 256
FILE_SIZE_LIMIT = 64 << 20
OUTPUT_LIMIT = 20_000  # characters of a student's output that are kept
RESULT_LIMIT = 4 << 20  # characters of results that are read
ARRAY_LIMIT = 10_000  # entries; a larger array comes back as its shape alone
WORKERS = 2

# A fork is a clean process with NumPy already loaded. Not on macOS, whose system libraries do
# not survive one; there each problem starts a Python of its own.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"


class Outcome:
    """What came back from one problem's process.

    Attributes:
        cases (dict): name of the test → {"results": {label: plain data}} or {"error": ...}.
        output (str): the beginning of what the student's code printed.
        output_lines (int): how many lines it printed in all.
        ending (str): "done", "time", "exit N", "signal N", "flood", "never" (not started).
        stuck_at (str): for "time" and "signal": the student's line, where it is known.
        defined_at (str): file and line of the code in question.
        protections (list of str): what limited the process.
    """

    def __init__(self):
        self.cases = {}
        self.output = ""
        self.output_lines = 0
        self.ending = "never"
        self.stuck_at = ""
        self.defined_at = ""
        self.protections = []


def run(problems, root, read_seed, deadline=None):
    """Run the tests of problems, two at a time, and yield (problem, Outcome) in their order.

    Args:
        problems (sequence of Problem): what to run.
        root (Path): the folder that holds the student's ``mytorch``.
        read_seed: called once all processes have been made and before any runs student code;
            returns the seed. Whatever it reads can be in no child's memory.
        deadline (float): time.monotonic() at which everything still running is stopped.
    """
    protect_parent()
    scratch = Path(tempfile.mkdtemp(prefix="mytorch-grading-"))
    children = []
    try:
        for problem in problems:
            children.append(Child(problem, Path(root).resolve(), scratch))
        seed = read_seed()
        waiting = list(children)
        for child in children:
            while not child.finished:
                running = [c for c in children if c.started and not c.finished]
                while waiting and len(running) < WORKERS:
                    running.append(waiting.pop(0))
                    running[-1].start(seed, deadline)
                wait_for_news(running)
            yield child.problem, child.outcome
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
    """The process of one problem, seen from the parent."""

    alive = set()  # process numbers of all that have not been reaped

    def __init__(self, problem, root, scratch):
        self.problem = problem
        self.outcome = Outcome()
        self.started = self.finished = False
        self.stop_at = float("inf")
        self._root = root
        self._lines, self._received = b"", 0
        home = Path(tempfile.mkdtemp(dir=str(scratch)))
        go_read, self._go = os.pipe()
        self._results, result_write = os.pipe()
        self._output, output_write = os.pipe()
        ends = (go_read, result_write, output_write)
        self.pid = os.fork()
        if self.pid == 0:
            enter_child(problem.key, str(root), str(home), ends)
        Child.alive.add(self.pid)
        for end in ends:
            os.close(end)

    def start(self, seed, deadline):
        """Let the process go; its time begins now."""
        self.started = True
        self.stop_at = time.monotonic() + self.problem.time_limit
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
        if place and not self.outcome.stuck_at:
            self.outcome.stuck_at = student_place(place.group(1), int(place.group(2)), self._root)
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


def student_place(filename, line, root):
    """``mytorch/tensor.py:12`` for a place in the student's code, else an empty string."""
    try:
        relative = Path(filename).resolve().relative_to(root)
    except (ValueError, OSError):
        return ""
    return f"{relative.as_posix()}:{line}" if relative.parts[0] in ("mytorch", "hw1") else ""


# From here on: what happens in the child.


def enter_child(key, root, home, ends):
    """Become the process of one problem; does not return."""
    if CAN_FORK:
        child_main(key, root, home, *ends)
    for end in ends:
        os.set_inheritable(end, True)
    arguments = [sys.executable, os.path.abspath(__file__), key, root, home, *map(str, ends)]
    os.execv(sys.executable, arguments)


def child_main(key, root, home, go, results, output, leave=os._exit):
    """Wait for the seed, then run all tests of the problem ``key`` and send what they return."""
    try:
        os.setsid()
        os.chdir(home)
        redirect(output)
        close_all_but(go, results)
        channel = os.fdopen(results, "w", encoding="utf-8", errors="backslashreplace")
        seed = int(os.read(go, 100))
        run_cases(key, root, home, seed, channel)
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


def run_cases(key, root, home, seed, channel):
    """Send one message per test of the problem, and a last one when all have run."""
    import numpy as np
    from graded import CASES
    from problems import BY_KEY
    import test_autograd  # noqa: F401  (fills CASES; already loaded where the parent forked)
    import test_mlp  # noqa: F401

    def send(message, write=channel.write, flush=channel.flush, dumps=json.dumps):
        write(dumps(message) + "\n")
        flush()

    problem = BY_KEY[key]
    faulthandler.enable(file=channel)
    with contextlib.suppress(RuntimeError):  # no thread left for it: then no line is named
        faulthandler.dump_traceback_later(0.9 * problem.time_limit, file=channel)
    send({"protections": protect_child(home, problem.time_limit)})
    for name in [name for name in sys.modules if name.split(".")[0] in ("mytorch", "hw1")]:
        del sys.modules[name]  # a parent that tests the library has them; ours never does
    sys.path[:] = [root] + [p for p in sys.path if p != os.path.dirname(os.path.abspath(__file__))]
    sys.dont_write_bytecode = True
    np.random.seed(seed)
    drawn = [(case, case.draw(seed)) for case in CASES.values() if case.key == key]
    for case, given in drawn:  # all drawn before student code can change np.random
        try:
            returned = case.function(given)
            send({"case": case.name, "results": {k: plain(v, np) for k, v in returned.items()}})
        except BaseException as error:
            send({"case": case.name, "error": describe_error(error, Path(root))})
    send({"done": definition_place(problem.defined, Path(root))})


def plain(value, np):
    """What a student's code returned, as data that JSON can carry and a parent can trust."""
    if value is None:
        return {"kind": "None"}
    if isinstance(value, (bool, np.bool_)):
        return {"kind": "bool", "value": bool(value)}
    if type(value).__name__ != "Tensor" or not hasattr(value, "data"):
        return {"kind": type(value).__name__, "value": value if type(value) is int else None}
    array = value.data
    if type(array) is not np.ndarray:
        return {"kind": "Tensor", "type": type(array).__name__}
    described = {"kind": "Tensor", "type": "ndarray", "dtype": str(array.dtype),
                 "shape": list(array.shape)}
    if array.size <= ARRAY_LIMIT and array.dtype.kind in "fiub":
        described["values"] = array.astype(np.float64).ravel().tolist()
    return described


def describe_error(error, root):
    """Type, message and the student's own line of an exception, without the grader's frames."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    place = source = ""
    if isinstance(error, SyntaxError) and error.filename:
        place = student_place(error.filename, error.lineno or 0, root)
        source = (error.text or "").strip()
        message = error.msg
    else:
        for frame, line in traceback.walk_tb(error.__traceback__):
            here = student_place(frame.f_code.co_filename, line, root)
            if here:
                place = here
                source = linecache.getline(frame.f_code.co_filename, line).strip()
    return {"type": type(error).__name__, "message": message[:600], "place": place,
            "source": source[:200]}


def definition_place(defined, root):
    """Where the student defines ``module:Class.name``, as ``file:line``; empty if not found."""
    module, _, names = defined.partition(":")
    try:
        found = sys.modules[module]
        for name in names.split("."):
            found = getattr(found, name)
        return student_place(found.__code__.co_filename, found.__code__.co_firstlineno, root)
    except BaseException:
        return ""


# Limits. Each applies where the system has it; the child reports which did.

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


def prctl(option, value):
    """Linux's prctl(2); True if the kernel agreed, False also on other systems."""
    return sys.platform == "linux" and LIBC.prctl(option, value, 0, 0, 0) == 0


def protect_parent():
    """Adopt what students' processes leave running; let none of them read this memory."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)


def protect_child(home, time_limit):
    """Limit this process for good; returns the names of the limits that are active."""
    active = ["a process of its own"]
    if prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
        active.append("ends with the grader")
    for name, kind, most in (
            ("processor time", "RLIMIT_CPU", int(time_limit) + 2),
            ("memory", "RLIMIT_AS", MEMORY_LIMIT),
            ("processes", "RLIMIT_NPROC", PROCESS_LIMIT),
            ("file size", "RLIMIT_FSIZE", FILE_SIZE_LIMIT),
            ("core files", "RLIMIT_CORE", 0)):
        try:
            kind = getattr(resource, kind)
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
            active.append(name)
        except (AttributeError, ValueError, OSError):
            pass
    return active + restrict_with_landlock(home)


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of linux/landlock.h: what a domain is denied by default."""
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64),
                ("scoped", ctypes.c_uint64)]


class PathRule(ctypes.Structure):
    """struct landlock_path_beneath_attr: what is allowed all the same, and where."""
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def restrict_with_landlock(home):
    """Forbid writing outside ``home``, TCP, and signals to processes outside, as far as this
    kernel's Landlock (docs.kernel.org/userspace-api/landlock.html) can; no privilege needed."""
    if sys.platform != "linux":
        return []
    create, add_rule, restrict = 444, 445, 446  # the numbers of the calls on all processors
    version = LIBC.syscall(create, None, 0, 1)
    if version < 1:
        return []
    write_file, truncate = 1 << 1, 1 << 14
    remove_and_make = sum(1 << bit for bit in range(4, 13))
    newer = (1 << 13 if version >= 2 else 0) | (truncate if version >= 3 else 0)
    attributes = Ruleset(write_file | remove_and_make | newer,
                         3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = LIBC.syscall(create, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        return []
    for path, allowed in ((home, attributes.files), (os.devnull, write_file | newer & truncate)):
        parent = os.open(path, os.O_PATH)
        rule = PathRule(allowed, parent)
        LIBC.syscall(add_rule, ruleset, 1, ctypes.byref(rule), 0)
        os.close(parent)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    restricted = LIBC.syscall(restrict, ruleset, 0) == 0
    os.close(ruleset)
    if not restricted:
        return []
    return (["writing (Landlock)"] + ["network (Landlock)"] * (version >= 4)
            + ["signals (Landlock)"] * (version >= 6))


if __name__ == "__main__":  # a child where processes are not forked
    child_main(*sys.argv[1:4], *map(int, sys.argv[4:]))
