"""The helper process: makes a process for each task, stops it, and says how it ended.
It is made before any answer is known, so that none of its processes can have one in its memory."""

import array
import errno
import faulthandler
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path
from typing import NamedTuple

GRADER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":  # a Python of its own
    sys.path[0] = GRADER

from processes import limits  # noqa: E402
from processes.leftovers import (  # noqa: E402
    end, end_children, modes_above, remove_shared_memory, remove_tree, restore_modes, shared_memory,
    wait_for)

LAST_WORDS = 0.3  # seconds for a process to say where it was, before it is killed


class Settings(NamedTuple):
    """What a helper is told at its start.

    Attributes:
        inside: name of the module whose ``prepare`` and ``run_task`` run in each process.
        root: the folder that Python imports from first.
        scratch: the folder in which each process gets one of its own, to write to.
        limit_reading: whether a student's code may read only what Python needs, and ``root``.
        need_landlock: whether to run no student's code unless Landlock limits where it writes.
        import_seconds: of processor time, for ``prepare``.
    """

    inside: str
    root: str
    scratch: str
    limit_reading: bool
    need_landlock: bool
    import_seconds: float


class Request(NamedTuple):
    """A task that is to run: its key, seed and processor time; the files it writes to."""

    key: str
    seed: int
    time_limit: float
    results: int
    output: int


class Helper:
    """The helper process, seen from itself.

    It reads orders from a socket, one JSON object a line: {"run": key, "seed", "time_limit"} with
    two open files, {"stop": key, "ask": bool}; and answers {"started": key, "pid"} and {"ended": key,
    "status", "seconds"}. At the end of the socket, it clears up and leaves.
    """

    def __init__(self, control, settings):
        self.control, self.settings = control, settings
        self.waiting = []  # requests whose process could not be made yet
        self.running = {}  # process number → (key, folder)
        self.count = 0
        self.module = importlib.import_module(settings.inside)
        if settings.limit_reading and sys.version_info >= (3, 14):
            # Where no sockets are (limits.py), the default of these versions does not work.
            importlib.import_module("multiprocessing").set_start_method("fork")
        self.parent = os.getppid()
        self.shared_before = shared_memory()
        self.modes_before = modes_above(settings.root, settings.scratch)
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # see remove_shared_memory
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the keyboard: the parent decides
        limits.processes_of_this_user()  # counted here, once
        limits.protect_memory()
        limits.adopt_orphans()
        self.signals_stay_inside = limits.confine_signals() and not self.can_signal(self.parent)

    @staticmethod
    def can_signal(pid):
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True

    def serve(self):
        """Do what comes by the socket, until its end."""
        text, files = b"", []
        while True:
            pause = 0.05 if self.waiting else 0.01 if self.running else None
            if select.select([self.control], [], [], pause)[0]:
                data, received = receive(self.control)
                if not data:
                    break
                *lines, text = (text + data).split(b"\n")
                files += received
                for line in lines:
                    self.obey(json.loads(line), files)
            while self.waiting and self.start(self.waiting[0]):
                del self.waiting[0]
            self.take_in_ends()
        be_silent()
        self.clear_up()

    def obey(self, order, files):
        if "run" in order:
            self.waiting.append(Request(
                order["run"], order["seed"], order["time_limit"], files.pop(0), files.pop(0)))
        for request in [r for r in self.waiting if r.key == order.get("stop")]:
            self.waiting.remove(request)
            os.close(request.results)
            os.close(request.output)
            self.say(ended=request.key, status=None, seconds=0)
        for pid, (key, _) in list(self.running.items()):
            if key == order.get("stop"):
                self.stop(pid, order["ask"])

    def say(self, **message):
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # the other end is gone, as reading from it will tell
            pass

    def start(self, request):
        """Make the process of a task; False if the system has none to give at the moment."""
        home = os.path.join(self.settings.scratch, str(self.count))
        try:
            pid = os.fork()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            return False
        if pid == 0:
            child_main(self.module, self.settings, request, home)
        self.count += 1
        self.running[pid] = (request.key, home)
        os.close(request.results)
        os.close(request.output)
        self.say(started=request.key, pid=pid)
        return True

    def stop(self, pid, ask):
        """End a process; ``ask`` it first in which line it is (see child_main)."""
        if ask:
            os.kill(pid, signal.SIGXCPU)
            give_up = time.monotonic() + LAST_WORDS
            while pid in self.running and time.monotonic() < give_up:
                time.sleep(0.005)
                self.take_in_ends()
        if pid in self.running:
            end(pid, group=True)
            end(pid)

    def take_in_ends(self):
        """Reap what has ended: tasks, and orphans of tasks."""
        while self.running:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid not in self.running:
                continue
            key, home = self.running.pop(pid)
            end(pid, group=True)
            self.end_all_but_tasks(patience=0.5)
            restore_modes(self.modes_before)
            self.say(ended=key, status=status, seconds=used.ru_utime + used.ru_stime)
            remove_tree(home, patience=1.0)
            remove_shared_memory(self.shared_before)

    def end_all_but_tasks(self, patience):
        """End what tasks have left running."""
        if self.signals_stay_inside and not self.running:
            try:
                os.kill(-1, signal.SIGKILL)  # all processes that stem from this one, at one blow
            except ProcessLookupError:
                pass
        end_children(self.running, patience)

    def clear_up(self):
        """Leave no process and no file behind."""
        for pid in list(self.running):
            end(pid, group=True)
            end(pid)
            wait_for(pid, patience=1.0)
        self.running.clear()
        self.end_all_but_tasks(patience=3.0)
        restore_modes(self.modes_before)
        remove_tree(self.settings.scratch)
        remove_shared_memory(self.shared_before, patience=5.0)


def receive(control):
    """What has come by a socket: data, empty at its end, and open files (list of int) with it."""
    numbers = array.array("i")
    try:
        data, ancillary, _, _ = control.recvmsg(1 << 16, socket.CMSG_SPACE(16 * numbers.itemsize))
    except ConnectionResetError:  # the other side closed it without reading all that was told
        return b"", []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[:len(content) - len(content) % numbers.itemsize])
    for number in numbers:
        os.set_inheritable(number, False)
    return data, list(numbers)


def be_silent():
    """Say nothing more on standard output and error: the score line may be the last one there."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def main(control, settings):
    """Be the helper process; does not return."""
    status = 1
    try:
        close_all_but(control)
        with socket.socket(fileno=control) as connected:
            Helper(connected, settings).serve()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


# From here on: what happens in the process of a task.


def child_main(module, settings, request, home):
    """Run a task and send what it has to say; does not return."""
    leave = os._exit
    try:
        os.setsid()
        os.mkdir(home)
        use_folder(home)
        redirect(request.output)
        close_all_but(request.results)
        channel = os.fdopen(request.results, "w", encoding="utf-8", errors="backslashreplace")

        def send(message, write=channel.write, flush=channel.flush, dumps=json.dumps):
            write(dumps(message) + "\n")
            flush()

        root = settings.root
        active = limits.protect_child(home, settings.import_seconds + request.time_limit + 5,
                                      limits.needed_by_python(root) if settings.limit_reading else ())
        send({"protections": active, "refused": reason_to_refuse(active, settings)})
        if reason_to_refuse(active, settings):
            return
        # When the processor time is used up, or the parent asks: the line it is at, then the end.
        faulthandler.enable(file=channel, all_threads=False)
        faulthandler.register(signal.SIGXCPU, file=channel, all_threads=False, chain=True)
        forget_the_grader(root)
        limits.limit_processor_time(settings.import_seconds, later=request.time_limit)
        prepared = module.prepare(request.key, request.seed, Path(root))
        send({"ready": True})
        limits.limit_processor_time(request.time_limit)
        module.run_task(prepared, Path(root), send)
    except BaseException:
        traceback.print_exc()
    finally:
        leave(0)  # at once: the student's atexit functions and threads have no say


def reason_to_refuse(active, settings):
    """Why no student's code may run under these protections; empty if it may."""
    if settings.need_landlock and limits.WRITE_PROTECTION not in active:
        return f'this system lacks "{limits.WRITE_PROTECTION}"'
    try:
        os.listdir(settings.root)
        open(os.__file__, "rb").close()
    except OSError as error:
        return f"under its protections Python cannot be read: {error}"
    return ""


def use_folder(home):
    """Make ``home`` the current folder, and that for temporary files."""
    os.chdir(home)
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), home))
    tempfile.tempdir = home


def forget_the_grader(root):
    """Let Python import from ``root`` first and find no trace of how it was started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGALRM, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    sys.path[:] = [root] + [path for path in sys.path if path not in ("", GRADER)]
    sys.argv = [""]
    sys.modules["__main__"] = types.ModuleType("__main__")  # multiprocessing would run it again
    sys.dont_write_bytecode = True


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
    os.closerange(3, kept)
    os.closerange(kept + 1, max(4096, kept + 1))


if __name__ == "__main__":  # where processes are not forked: a Python of its own
    main(int(sys.argv[1]), Settings(*json.loads(sys.argv[2])))
