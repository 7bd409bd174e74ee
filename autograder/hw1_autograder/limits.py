"""Limits for a process that runs a student's code: what Linux, and in part macOS, can enforce.
Each applies where the system has it; nothing here knows what the process computes."""

import ctypes
import os
import resource
import signal
import sys

MEMORY_LIMIT = 2 << 30  # bytes of address space
PROCESS_LIMIT = 256
FILE_SIZE_LIMIT = 64 << 20
WRITE_PROTECTION = "writing (Landlock)"

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
    return ([WRITE_PROTECTION] + ["network (Landlock)"] * (version >= 4)
            + ["signals (Landlock)"] * (version >= 6))
