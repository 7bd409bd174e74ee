"""A filter of calls to the kernel, for a process that runs a student's code: seccomp, which Linux
has had for longer than Landlock. It denies what would reach other processes of the same user."""

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2

# Of each kind of processor: its number for the kernel, and those of the calls (asm/unistd.h).
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {  # ptrace, process_vm_readv and _writev, pidfd_getfd and _send_signal; shmget, semget and
    # msgget, whose memory would outlive the process; io_uring_setup, a way past this filter
    "x86_64": (101, 310, 311, 438, 424, 29, 64, 68, 425),
    "aarch64": (117, 270, 271, 438, 424, 194, 190, 186, 425)}
SOCKET = {"x86_64": 41, "aarch64": 198}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
SIGNALLING = {  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    "x86_64": (62, 200, 234, 129, 297), "aarch64": (129, 130, 131, 138, 240)}

# The program works on struct seccomp_data (linux/seccomp.h). Each instruction: what it does, how
# many of the next ones to leave out if true and if false, and a value.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # places in that struct, on these processors
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


def filter_calls(sockets=True):
    """Deny this process and all that it makes to trace or limit other processes, to signal those
    that it stems from, and System V's shared memory; without ``sockets`` also to open any, be it
    to the network or to the desktop and the services of whoever runs this. True if the kernel
    agreed."""
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in AUDIT_ARCH:
        return False
    program = load(ARCHITECTURE) + unless_equal(AUDIT_ARCH[machine], answer(UNKNOWN))
    program += load(NUMBER) + if_at_least(0x40000000, answer(UNKNOWN))  # x86's other numbers
    for call in DENIED[machine] + (() if sockets else (SOCKET[machine],)):
        program += if_equal(call, answer(DENY))
    program += if_equal(PRLIMIT[machine], load(FIRST_ARGUMENT) + if_equal(0, answer(ALLOW))
                        + answer(DENY))
    protected = [rule for number in forebears() for rule in if_equal(number, answer(DENY))]
    for call in SIGNALLING[machine]:
        program += if_equal(call, load(FIRST_ARGUMENT) + protected + answer(ALLOW))
    program += answer(ALLOW)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # without which the next is refused
    return LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                      ctypes.byref(Program(len(program), code)), 0, 0) == 0


def forebears():
    """What kill(2) could be given to signal this process's parent or one of its parents: their
    numbers, those of their groups as negative ones, and -1, which means everybody."""
    numbers, pid = [-1], os.getppid()
    while pid > 1 and len(numbers) < 20:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:  # none of this user's business
            break
        parent, group = stat.rpartition(")")[2].split()[1:3]
        numbers += [pid, -int(group)]
        pid = int(parent)
    return list(dict.fromkeys(numbers))
