"""Limits for a process that runs a student's code: what Linux, and in part macOS, can enforce.
Each applies where the system has it; nothing here knows what the process computes."""

import contextlib
import ctypes
import functools
import math
import os
import resource
import signal
import stat
import struct
import sys
from pathlib import Path

from processes.calls import filter_calls

MEMORY_LIMIT = 2 << 30  # bytes of address space
PROCESS_LIMIT = 256  # more than the user has already
FILE_SIZE_LIMIT = 64 << 20
WRITE_PROTECTION = "writing (Landlock)"
SIGNAL_PROTECTION = "signals (Landlock)"
GRADER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
CAP_DAC_READ_SEARCH = 1 << 2


def prctl(option, value):
    """Linux's prctl(2); True if the kernel agreed, False also on other systems."""
    return sys.platform == "linux" and LIBC.prctl(option, value, 0, 0, 0) == 0


def protect_memory():
    """Let no other process read or change this one's memory; returns what undoes it."""
    was = LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) if sys.platform == "linux" else 0
    prctl(PR_SET_DUMPABLE, 0)
    return lambda: prctl(PR_SET_DUMPABLE, 1) if was == 1 else None


def adopt_orphans():
    """Become the parent of what descendants leave running, a "subreaper"; returns what undoes it."""
    was = ctypes.c_int(1)
    prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    return lambda: prctl(PR_SET_CHILD_SUBREAPER, was.value)


def protect_child(home, processor_seconds, readable=()):
    """Limit this process for good; returns the names of the limits that are active.

    Args:
        home (str): the only folder it can write to, where the system can see to that.
        processor_seconds (float): the most it can ever use; limit_processor_time can ask for less.
        readable (sequence of str): all that it can read besides; () for everything. Where this is
            limited, so are sockets: there are none.
    """
    active = ["a process of its own"]
    if prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
        active.append("ends with the grader")
    end_first_without_memory()
    drop_capabilities()
    for name, kind, most in (
            ("processor time", "RLIMIT_CPU", math.ceil(processor_seconds)),
            ("memory", "RLIMIT_AS", MEMORY_LIMIT),
            ("processes", "RLIMIT_NPROC", processes_of_this_user() + PROCESS_LIMIT),
            ("file size", "RLIMIT_FSIZE", FILE_SIZE_LIMIT),
            ("message queues", "RLIMIT_MSGQUEUE", 0),
            ("core files", "RLIMIT_CORE", 0)):
        try:
            kind = getattr(resource, kind)
            hard = resource.getrlimit(kind)[1]
            room = hard // 4 if name == "processes" else 0  # for the grader's own, and for others
            most = most if hard == resource.RLIM_INFINITY else min(most, hard - room)
            resource.setrlimit(kind, (most, most))
            active.append(name)
        except (AttributeError, ValueError, OSError):
            pass
    active += restrict_with_landlock(home, readable)
    filtered = filter_calls(sockets=not readable, others=not readable or SIGNAL_PROTECTION in active)
    return active + ["calls (seccomp)"] * filtered


def end_first_without_memory():
    """Have the system end this process, and those it makes, before any other where memory ends."""
    prctl(PR_SET_DUMPABLE, 1)  # else this is root's to say
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities():
    """Give up what root, or who has a part of its power, can do more than others; but not to read
    what is closed to others, as this Python may lie there."""
    if sys.platform != "linux":
        return
    version, held = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    LIBC.capget(version, held)
    kept = struct.unpack("6I", held.raw)[1] & CAP_DAC_READ_SEARCH
    LIBC.capset(version, struct.pack("6I", kept, kept, kept, 0, 0, 0))


@functools.lru_cache(maxsize=None)
def processes_of_this_user():
    """How many processes and threads the user has who runs this: the kernel counts them all. Many
    where that is not to be found out. Counted once; processes forked after that know it."""
    count = 0 if os.path.isdir("/proc/self") else 4096
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.getuid():
                count += len(os.listdir(str(folder / "task")))
        except OSError:  # gone, or someone else's
            pass
    return count


def limit_processor_time(seconds, later=0.0):
    """Let this process use so much more processor time. Then it gets SIGXCPU, and where it
    ignores that, a second later, SIGKILL; but ``later`` seconds more can still be asked for."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds)  # the kernel takes whole seconds
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = math.inf if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_CPU, (
        min(soft, most), min(soft + 1 + math.ceil(later), most)))


def processor_time_of(pid):
    """The seconds of processor time that a process has used so far; 0 where that is not to be
    found out."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def carries_these_limits(pid):
    """Whether a process has the limit on file size that protect_child sets: it is one of a
    student's, for such a limit is inherited and can never be raised."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] in range(FILE_SIZE_LIMIT + 1)
    except (AttributeError, OSError):
        return False


def needed_by_python(folder):
    """What a Python has to be able to read: itself, its packages, the system; and ``folder``.

    Nothing that holds the grader's files or the current directory is among it.
    """
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path,
             os.path.dirname(os.path.realpath(sys.executable)),
             *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
    hidden = [os.path.join(os.path.realpath(path), "") for path in (GRADER, os.getcwd())]
    paths = [os.path.realpath(path) for path in paths if path]
    paths = [path for path in paths
             if not any(inner.startswith(os.path.join(path, "")) for inner in hidden)]
    system = ["/" + name for name in "usr lib lib32 lib64 bin sbin etc proc sys dev".split()]
    return [path for path in dict.fromkeys([*paths, *system]) if os.path.exists(path)] + [folder]


# Landlock: docs.kernel.org/userspace-api/landlock.html. It needs no privilege.

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the calls, on all processors
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_FILE, MAKE_FILE, TRUNCATE = 1 << 5, 1 << 8, 1 << 14
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
LINK_ELSEWHERE = 1 << 13
READING = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # the others are for folders alone
TCP, SIGNALS_AND_SOCKETS, SIGNALS = 1 | 2, 1 | 2, 2


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of linux/landlock.h: what a domain is denied by default."""
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64),
                ("scoped", ctypes.c_uint64)]


class PathRule(ctypes.Structure):
    """struct landlock_path_beneath_attr: what is allowed all the same, and where."""
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def landlock_version():
    """The version of the kernel's Landlock; less than 1 if there is none, or it is not let through."""
    return LIBC.syscall(CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0


def restrict_with_landlock(home, readable=()):
    """Forbid writing outside ``home``, TCP, signals to processes outside, and with ``readable``
    all other reading, as far as this kernel can; returns the names of what is active."""
    version = landlock_version()
    if version < 1:
        return []
    newer = (LINK_ELSEWHERE if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    writing = WRITE_FILE | REMOVE_AND_MAKE | newer
    denied = writing | (READING if readable else 0)
    allowed = [(home, denied), (os.devnull, denied)]
    if not readable:
        # Semaphores are files there, so multiprocessing.Lock needs it. But nothing says how many
        # files may be made, and what millions of them take is memory of the whole machine.
        allowed.append(("/dev/shm", (WRITE_FILE | MAKE_FILE | REMOVE_FILE | TRUNCATE) & writing))
    allowed += [(path, READING) for path in readable]
    attributes = Ruleset(denied, TCP if version >= 4 else 0,
                         SIGNALS_AND_SOCKETS if version >= 6 else 0)
    if not enter_domain(attributes, allowed, 24 if version >= 6 else 16 if version >= 4 else 8):
        return []
    return ([WRITE_PROTECTION] + ["reading (Landlock)"] * bool(readable)
            + ["network (Landlock)"] * (version >= 4) + [SIGNAL_PROTECTION] * (version >= 6))


def confine_signals():
    """Let this process and those it makes signal only each other; True if that is so."""
    return landlock_version() >= 6 and enter_domain(Ruleset(0, 0, SIGNALS), [], 24)


def enter_domain(attributes, allowed, size):
    """Restrict this process and all it will make; True if the kernel agreed."""
    ruleset = LIBC.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        return False
    for path, rights in allowed:
        try:
            parent = os.open(path, os.O_PATH)
        except OSError:  # not there: then nothing is allowed there
            continue
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= OF_FILES
        rule = PathRule(rights, parent)
        LIBC.syscall(ADD_RULE, ruleset, 1, ctypes.byref(rule), 0)
        os.close(parent)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    restricted = LIBC.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return restricted
