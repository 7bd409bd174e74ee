"""A filter of calls to the kernel, for a process that runs a student's code: seccomp, which Linux
has had for longer than Landlock. It denies what reaches other processes and what Landlock misses."""

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
DENIED = {
    "x86_64": (
        101, 310, 311, 438, 424,  # ptrace, process_vm_readv and _writev, pidfd_getfd, _send_signal
        141, 142, 144, 203, 314, 251,  # setpriority, sched_setparam, _setscheduler, _setaffinity,
                                       # _setattr, ioprio_set: they slow other processes down
        90, 91, 268, 452, 92, 93, 94, 260,  # chmod and chown in all their forms, which Landlock
        188, 189, 190, 197, 198, 199, 463, 466,  # lets pass; setxattr and removexattr, likewise;
        132, 235, 261, 280, 76, 304,  # utime, utimes, futimesat, utimensat, truncate;
                                      # open_by_handle_at, a way past Landlock for root
        29, 30, 31, 64, 65, 66, 220, 68, 69, 70, 71,  # System V's shared memory, semaphores and
                                                      # queues, which would outlive the process
        248, 249, 250,  # add_key, request_key, keyctl, likewise
        425),  # io_uring_setup, a way past this filter
    "aarch64": (
        117, 270, 271, 438, 424,
        140, 118, 119, 122, 274, 30,
        52, 53, 452, 54, 55,
        5, 6, 7, 14, 15, 16, 463, 466,
        88, 45, 265,
        194, 196, 195, 190, 193, 191, 192, 186, 189, 188, 187,
        217, 218, 219,
        425)}
SOCKET = {"x86_64": 41, "aarch64": 198}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
SIGNALLING = {  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    "x86_64": (62, 200, 234, 129, 297), "aarch64": (129, 130, 131, 138, 240)}

# Of calls that do many things, what is denied. A file can be told to send any signal to anybody;
# a lease on one makes all who open it wait.
FCNTL, IOCTL = {"x86_64": 72, "aarch64": 25}, {"x86_64": 16, "aarch64": 29}
OF_FCNTL = (8, 15, 10, 1024)  # F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE
OF_IOCTL = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP

# The program works on struct seccomp_data (linux/seccomp.h), in which these are the places on the
# processors above. Each instruction: what it does, how many of the next ones to leave out if true
# and if false, and a value.
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


def filter_calls(sockets=True, others=True):
    """Deny this process and all that it makes what reaches other processes of this user, or stays
    behind, and what no homework needs.

    Args:
        sockets (bool): whether it may open any, be it to the network or to the desktop and the
            services of whoever runs this.
        others (bool): whether it may signal processes that it does not stem from; if not, it can
            signal only itself and its group.

    Returns:
        bool: whether the kernel agreed.
    """
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in AUDIT_ARCH:
        return False
    denied = DENIED[machine] + (() if sockets else (SOCKET[machine],))
    own = (0, os.getpid(), -os.getpid())
    signals = if_any_equal(forebears(), answer(DENY)) + answer(ALLOW) if others else (
        if_any_equal(own, answer(ALLOW)) + answer(DENY))
    program = load(ARCHITECTURE) + unless_equal(AUDIT_ARCH[machine], answer(UNKNOWN))
    program += load(NUMBER) + if_at_least(0x40000000, answer(UNKNOWN))  # x86's other numbers
    program += if_any_equal(denied, answer(DENY))
    program += if_equal(PRLIMIT[machine], load(FIRST_ARGUMENT) + if_equal(0, answer(ALLOW))
                        + answer(DENY))
    for call, commands in ((FCNTL[machine], OF_FCNTL), (IOCTL[machine], OF_IOCTL)):
        program += if_equal(call, load(SECOND_ARGUMENT) + if_any_equal(commands, answer(DENY))
                            + answer(ALLOW))
    for call in SIGNALLING[machine]:
        program += if_equal(call, load(FIRST_ARGUMENT) + signals)
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
