"""The jail: protects a machine, its users and other submissions from a student's code.
job.py puts each process of a submission into it. It works on Linux only and does not need root."""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

from processes import limits

WRITE_PROTECTION = "writing (Landlock)"
SIGNAL_PROTECTION = "signals (Landlock)"
CALL_PROTECTION = "calls (seccomp)"
GRADER = os.path.dirname(os.path.dirname(os.path.abspath(limits.__file__)))
LIBRARY = os.path.join(os.path.dirname(os.path.dirname(GRADER)), "mytorch")  # the grader's own
SHARED_MEMORY = "/dev/shm"  # Linux keeps semaphores and shared memory there, as files
OF_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "nsswitch.conf", "passwd", "group")
DEVICES = ("null", "zero", "full", "random", "urandom")
LIMITS = (("open files", "RLIMIT_NOFILE", 256), ("pending signals", "RLIMIT_SIGPENDING", 256),
          ("locked memory", "RLIMIT_MEMLOCK", 0), ("message queues", "RLIMIT_MSGQUEUE", 0))

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
CAP_DAC_READ_SEARCH = 1 << 2


class Jail:
    """Protects the process that grades, whose children run a student's code; see isolation.Crew.

    Once the jail is open, nobody can look into this process. Processes that the children leave
    behind become children of this one, which ends them.

    Args:
        need_landlock (bool): whether to refuse to run a student's code unless Landlock limits what
            it can write and read; without Landlock, a submission can write its own score.
        user (int): number of the user, and of its group, that the tasks run as; this needs root.
            Such a user can neither read private files nor write anywhere but in its own folder.
    """

    def __init__(self, need_landlock=True, user=None):
        self.need_landlock = need_landlock
        self.user = user

    def open(self, scratch):
        """Start protecting this process.

        Args:
            scratch (str): the folder in which each task's process gets one of its own.
        """
        if self.user is not None:
            os.chmod(scratch, 0o711)
        self._shared = shared_memory()
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if sys.version_info >= (3, 14):  # its default needs sockets, which are denied here
            import multiprocessing
            multiprocessing.set_start_method("fork", force=True)

    def confine(self, home, root):
        """Confine a task's process and all its descendants for good; called in that process before
        the student's first line runs.

        Args:
            home (str): the only folder that it can write to.
            root (str): the only folder that it can read besides what Python needs.

        Returns:
            list of str: names of the protections that are active.

        Raises:
            OSError: if no student's code may run here.
        """
        active = []
        if self.user is not None:
            os.chown(home, self.user, self.user)
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
            active.append("a user of its own")
        active += ["ends with the grader"] if prctl(PR_SET_PDEATHSIG, signal.SIGKILL) == 0 else []
        end_first_without_memory()
        drop_capabilities()
        for name, kind, most in LIMITS:
            active += [name] * limits.lower(kind, most)
        # The last quarter of the processes that this user may have is reserved for grading.
        limits.lower("RLIMIT_NPROC", resource.getrlimit(resource.RLIMIT_NPROC)[1] * 3 // 4)
        active += restrict_with_landlock(home, needed_by_python(root))
        if filter_calls(signals=SIGNAL_PROTECTION in active):
            active.append(CALL_PROTECTION)
        if self.need_landlock:
            for name in (WRITE_PROTECTION, CALL_PROTECTION):
                if name not in active:
                    raise OSError(f'this system lacks "{name}"')
        try:
            os.listdir(root)
            open(os.__file__, "rb").close()
        except OSError as error:
            raise OSError(f"with these protections, Python cannot be read: {error}") from None
        return active

    def sweep(self, home, keep):
        """After a task: end what it has left running, and remove what it has written.

        Args:
            home (str): the task's folder.
            keep (list of int): process numbers of the other tasks.
        """
        end_children(keep, patience=0.5)
        remove_tree(home, patience=1.0)
        remove_shared_memory(self._shared)

    def close(self, scratch):
        """Remove all remaining processes and files."""
        end_children((), patience=3.0)
        remove_tree(scratch)
        remove_shared_memory(self._shared)


def prctl(option, value=0):
    """Linux's prctl(2)."""
    return LIBC.prctl(option, value, 0, 0, 0)


# What follows is called in a task's process.


def end_first_without_memory():
    """Have the system end this process and its descendants first if memory runs out."""
    prctl(PR_SET_DUMPABLE, 1)  # otherwise only root may do this
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities():
    """Give up the privileges of root, or of whoever has some of them, except for reading private
    files, because this Python may be among those."""
    version, held = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    LIBC.capget(version, held)
    kept = struct.unpack("6I", held.raw)[1] & CAP_DAC_READ_SEARCH
    LIBC.capset(version, struct.pack("6I", kept, kept, kept, 0, 0, 0))


def needed_by_python(folder):
    """The paths that Python must be able to read: itself, its packages, the system, ``folder``.

    They include no folder that contains the grader's files or the current directory, except for
    the parts of the grader's own mytorch that the student's process uses; and no terminal.
    """
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path,
             os.path.dirname(os.path.realpath(sys.executable)),
             *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
    hidden = [os.path.join(os.path.realpath(path), "") for path in (GRADER, os.getcwd())]
    paths = [os.path.realpath(path) for path in paths if path]
    paths = [path for path in paths
             if not any(inner.startswith(os.path.join(path, "")) for inner in hidden)]
    system = ["/" + name for name in "usr lib lib32 lib64 bin sbin proc sys".split()]
    system += ["/etc/" + name for name in OF_ETC]
    system += ["/dev/" + name for name in DEVICES]
    system += [os.path.join(LIBRARY, name) for name in ("show", "gradient_check.py")]
    return [path for path in dict.fromkeys([*paths, *system]) if os.path.exists(path)] + [folder]


# Landlock: docs.kernel.org/userspace-api/landlock.html. It needs no privilege.

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same calls on every processor
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE = 1 << 14
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
LINK_ELSEWHERE = 1 << 13
READING = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # the others are for folders alone
TCP, SIGNALS_AND_SOCKETS = 1 | 2, 1 | 2


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of linux/landlock.h: what a domain is denied by default."""
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64),
                ("scoped", ctypes.c_uint64)]


class PathRule(ctypes.Structure):
    """struct landlock_path_beneath_attr: what is allowed nevertheless, and where."""
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def landlock_version():
    """The version of the kernel's Landlock; less than 1 if it is missing or blocked."""
    return LIBC.syscall(CREATE_RULESET, None, 0, 1)


def restrict_with_landlock(home, readable):
    """Forbid writing outside ``home``, reading outside ``readable``, TCP, and signals to processes
    outside, as far as this kernel can; returns the names of the active protections."""
    version = landlock_version()
    if version < 1:
        return []
    newer = (LINK_ELSEWHERE if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    denied = READING | WRITE_FILE | REMOVE_AND_MAKE | newer
    attributes = Ruleset(denied, TCP if version >= 4 else 0,
                         SIGNALS_AND_SOCKETS if version >= 6 else 0)
    allowed = [(home, denied), (os.devnull, denied), (LIBRARY, READ_DIR)]
    allowed += [(path, READING) for path in readable]
    if not enter_domain(attributes, allowed, 24 if version >= 6 else 16 if version >= 4 else 8):
        return []
    return ([WRITE_PROTECTION, "reading (Landlock)"] + ["network (Landlock)"] * (version >= 4)
            + [SIGNAL_PROTECTION] * (version >= 6))


def enter_domain(attributes, allowed, size):
    """Restrict this process and all its descendants; True if the kernel agreed."""
    ruleset = LIBC.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    if ruleset < 0:
        return False
    for path, rights in allowed:
        try:
            parent = os.open(path, os.O_PATH)
        except OSError:  # it does not exist, so there is nothing to allow
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


# A filter of system calls: seccomp, which Linux has had for longer than Landlock. It denies calls
# that reach other processes or that Landlock misses, calls that use up something which the kernel
# counts for all of a user's processes, and calls that no homework needs.

# For each kind of processor: the kernel's number for it, and those of the calls (asm/unistd.h).
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {
    "x86_64": (
        101, 310, 311, 438, 424,  # ptrace, process_vm_readv and _writev, pidfd_getfd, _send_signal
        141, 142, 144, 203, 314, 251,  # setpriority, sched_setparam, _setscheduler, _setaffinity,
                                       # _setattr, ioprio_set: they slow other processes down
        90, 91, 268, 452, 92, 93, 94, 260,  # chmod and chown in all their forms, which Landlock
        188, 189, 190, 197, 198, 199, 463, 466,  # allows; setxattr and removexattr, likewise;
        132, 235, 261, 280, 76, 304,  # utime, utimes, futimesat, utimensat, truncate;
                                      # open_by_handle_at, a way past Landlock for root
        29, 30, 31, 64, 65, 66, 220, 68, 69, 70, 71,  # System V's shared memory, semaphores and
                                                      # queues, which would outlive the process
        248, 249, 250,  # add_key, request_key, keyctl, likewise
        213, 291, 253, 294, 300,  # epoll_create and _create1, inotify_init and _init1, fanotify_init
        149, 325, 151, 222,  # mlock, mlock2, mlockall, timer_create
        321, 298, 323, 272, 308,  # bpf, perf_event_open, userfaultfd, unshare, setns
        41,  # socket
        425),  # io_uring_setup, a way past this filter
    "aarch64": (
        117, 270, 271, 438, 424,
        140, 118, 119, 122, 274, 30,
        52, 53, 452, 54, 55,
        5, 6, 7, 14, 15, 16, 463, 466,
        88, 45, 265,
        194, 196, 195, 190, 193, 191, 192, 186, 189, 188, 187,
        217, 218, 219,
        20, 26, 262,
        228, 284, 230, 107,
        280, 241, 282, 97, 268,
        198,
        425)}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
SIGNALLING = {  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    "x86_64": (62, 200, 234, 129, 297), "aarch64": (129, 130, 131, 138, 240)}

# What is denied of calls that do many things. A file can be told to send any signal to anybody; a
# lease on a file makes everyone who opens it wait; a terminal can be changed, or typed into.
FCNTL, IOCTL = {"x86_64": 72, "aarch64": 25}, {"x86_64": 16, "aarch64": 29}
OF_FCNTL = (8, 15, 10, 1024)  # F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE
OF_IOCTL = (0x8901, 0x8902,  # FIOSETOWN, SIOCSPGRP
            *range(0x5402, 0x540A), 0x540E, 0x5412,  # TCSETS to TCSBRK, TIOCSCTTY, TIOCSTI
            0x402C542B, 0x402C542C, 0x402C542D)  # TCSETS2 to TCSETSF2

# The program reads struct seccomp_data (linux/seccomp.h), with these offsets on the processors
# above. Each instruction has an operation, the number of following ones to skip if it is true and
# if it is false, and a value.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24
ALLOW, DENY, UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


def load(place):
    return [(0x20, 0, 0, place)]


def answer(value):
    return [(0x06, 0, 0, value)]


def if_equal(value, then):
    return [(0x15, 0, len(then), value & 0xFFFFFFFF)] + then


def if_at_least(value, then):
    return [(0x35, 0, len(then), value)] + then


def unless_equal(value, then):
    return [(0x15, len(then), 0, value)] + then


class Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def if_any_equal(values, then):
    return [rule for value in values for rule in if_equal(value, then)]


def filter_calls(signals):
    """Deny this process and all its descendants the calls above.

    Args:
        signals (bool): whether it may signal processes outside its own group.

    Returns:
        bool: whether the kernel agreed.
    """
    machine = platform.machine()
    if machine not in AUDIT_ARCH:
        return False
    own = if_any_equal((0, os.getpid(), -os.getpid()), answer(ALLOW)) + answer(DENY)
    program = load(ARCHITECTURE) + unless_equal(AUDIT_ARCH[machine], answer(UNKNOWN))
    program += load(NUMBER) + if_at_least(0x40000000, answer(UNKNOWN))  # x86's other numbers
    program += if_any_equal(DENIED[machine], answer(DENY))
    program += if_equal(PRLIMIT[machine], load(FIRST_ARGUMENT) + if_equal(0, answer(ALLOW))
                        + answer(DENY))
    for call, commands in ((FCNTL[machine], OF_FCNTL), (IOCTL[machine], OF_IOCTL)):
        program += if_equal(call, load(SECOND_ARGUMENT) + if_any_equal(commands, answer(DENY))
                            + answer(ALLOW))
    for call in () if signals else SIGNALLING[machine]:
        program += if_equal(call, load(FIRST_ARGUMENT) + own)
    return install(program + answer(ALLOW))


def install(program):
    """Have the kernel run a program on each call of this process; whether it agreed."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    prctl(PR_SET_NO_NEW_PRIVS, 1)  # without this, the next call is refused
    return LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                      ctypes.byref(Program(len(program), code)), 0, 0) == 0


# What follows is called in the process that grades: it ends and removes whatever a student's
# process leaves behind. Nothing here raises an error or takes long.


def children_of_this_process():
    """Process numbers of this process's children; none if the system does not list them."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # this is not Linux
        return []
    return [int(number) for numbers in lists for number in numbers.split()]


def end_children(keep, patience):
    """Kill this process's children, and their children, which it adopts once they are orphaned.

    Args:
        keep (container of int): process numbers to leave alone.
        patience (float): seconds; some processes start new ones as fast as they are killed.
    """
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        found = [pid for pid in children_of_this_process()
                 if pid not in keep and carries_our_limits(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def carries_our_limits(pid):
    """Whether a process belongs to a student's code: the limit on file size is inherited and can
    never be raised."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_FSIZE)[1] in range(limits.FILE_SIZE_LIMIT + 1)
    except OSError:
        return False


def remove_tree(top, patience=20.0):
    """Remove a folder that a student's code may have filled, with closed folders or with a thousand
    in each other; returns whether it is gone. Each program has ``patience`` seconds for it."""
    with contextlib.suppress(OSError):
        os.rmdir(str(top))  # most are empty
    for command in ["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]:
        if os.path.lexists(str(top)):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run([*command, str(top)], stderr=subprocess.DEVNULL, timeout=patience)
    return not os.path.lexists(str(top))


def shared_memory():
    """Names of the shared memory on this machine."""
    try:
        return set(os.listdir(SHARED_MEMORY))
    except OSError:
        return set()


def remove_shared_memory(known):
    """Remove this user's shared memory that is not ``known`` and that nobody uses any more.

    The caller must ignore SIGIO, the signal that someone is opening the file in the meantime.
    """
    for name in shared_memory() - known:
        path = os.path.join(SHARED_MEMORY, name)
        with contextlib.suppress(OSError), open(path, "r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_uid == os.getuid():
                # This is refused while anyone else has the file open.
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                os.unlink(path)
