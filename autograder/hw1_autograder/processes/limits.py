"""Limits for a process that runs a student's code: processor time, memory, file size, processes.
Each applies where the system has it; nothing here knows what the process computes."""

import functools
import os
import resource
from pathlib import Path

MEMORY_LIMIT = 2 << 30  # bytes of address space
PROCESS_LIMIT = 256  # more than the user has already
FILE_SIZE_LIMIT = 64 << 20  # bytes


def limit_this_process(processor_seconds, later):
    """Limit this process for good; returns the names of the limits that are active.

    Args:
        processor_seconds (float): what it can use more than it has; then it gets SIGXCPU.
        later (float): how many seconds more ``limit_processor_time`` can allow it afterwards.
    """
    limit_processor_time(processor_seconds, later)
    return ["a process of its own", "processor time"] + [name for name, kind, most in (
        ("memory", "RLIMIT_AS", MEMORY_LIMIT),
        ("processes", "RLIMIT_NPROC", processes_of_this_user() + PROCESS_LIMIT),
        ("file size", "RLIMIT_FSIZE", FILE_SIZE_LIMIT),
        ("core files", "RLIMIT_CORE", 0)) if lower(kind, most)]


def lower(kind, most, first=None):
    """Set a limit (name in the module resource) to ``most``, if it is not lower already, and where
    the process is warned to ``first``; whether this system has it and took it."""
    try:
        kind = getattr(resource, kind)
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most if first is None else min(first, most), most))
    except (AttributeError, ValueError, OSError):
        return False
    return True


def limit_processor_time(seconds, later=0.0):
    """Let this process use so much more processor time. Then it gets SIGXCPU, and where it ignores
    that, a second later, SIGKILL; but ``later`` seconds more can be allowed before that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1  # the kernel takes whole seconds
    lower("RLIMIT_CPU", soft + 1 + int(later + 1), first=soft)


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


def processor_time_of(pid):
    """The seconds of processor time that a process has used so far; 0 where that is not to be
    found out."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0
