"""Plays one job of Autolab: its directory, its user, its limits, make, and its parse of the log.
From Autolab's public source; used by test_autolab.py."""

import contextlib
import ctypes
import functools
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import autolab
import jail
import record
from handin.packing import tar_bytes

NOBODY = 65534
SEEDS = record.seeds()[:3]
PROCESSES = 40
LIBC = ctypes.CDLL(None, use_errno=True)
# A table of a few problems, for jobs of which the others would show nothing more.
TABLE = "autograder/hw1_autograder/problems.py"
FEW_KEYS = ("subtest", "multest", "divtest", "Linear Forward")
FEW = {TABLE: (autolab.ROOT / TABLE).read_bytes() + b"""
GRADED = tuple(problem for problem in GRADED if problem.key in %r)
""" % (FEW_KEYS,)}


class Job(NamedTuple):
    """What is left of a job: the scores that Autolab reads from the log's last line, by key; what
    make printed; what is in the directory afterwards, and in autograder/ in it; and the processes
    that work in the directory or hold its mark."""

    scores: dict
    log: str
    files: set
    left_running: list


def quote_words(line):
    """What Autolab does to a line before it reads it as JSON."""
    return re.sub(r"(\w+):", r'"\1":', line)


def parse(log):
    """The scores in a log, as Autolab takes them from its last line that is not blank."""
    return json.loads(quote_words(log.rstrip().split("\n")[-1]))["scores"]


@functools.lru_cache(maxsize=None)
def user_to_play():
    """The unprivileged user to play with, and whether it needs leave to read every file, as this
    Python may lie in a folder of root's; (None, False) where this test can become nobody else."""
    for user in (NOBODY, False), (NOBODY, True):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            probe = subprocess.run([sys.executable, "-c", "import numpy"], cwd="/",
                                   preexec_fn=lambda: become(*user), stderr=subprocess.DEVNULL)
            if os.getuid() == 0 and probe.returncode == 0:
                return user
    return None, False


def become(user, reads_all):
    """Drop to that user, if there is one, with Autolab's limit on processes."""
    if user is None:
        return
    keep_capabilities, ambient, raised, read_search = 8, 47, 2, 2  # of linux/prctl.h, capability.h
    if reads_all:
        LIBC.prctl(keep_capabilities, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    if reads_all:
        sets = struct.pack("6I", *[1 << read_search] * 3, 0, 0, 0)
        if LIBC.capset(struct.pack("Ii", 0x20080522, 0), sets) != 0 or (
                LIBC.prctl(ambient, raised, read_search, 0, 0) != 0):
            raise OSError(ctypes.get_errno(), "no capability can be kept here")
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


def hide_landlock():
    """Have the kernel answer this process and all it starts as one that has no Landlock."""
    calls = jail.CREATE_RULESET, jail.ADD_RULE, jail.RESTRICT_SELF
    if not jail.install(jail.load(jail.NUMBER) + jail.if_any_equal(calls, jail.answer(jail.UNKNOWN))
                        + jail.answer(jail.ALLOW)):
        raise OSError("this test cannot install a seccomp filter")


def play(handin, **options):
    """Run a job on the content of a handin.tar (bytes); returns a Job. Options as of Playing."""
    with contextlib.ExitStack() as stack:
        return Playing(stack, handin, **options).end()


def play_together(jobs):
    """Run jobs all at once, name → (content of a handin.tar, options of Playing as a dict); returns
    name → Job."""
    with contextlib.ExitStack() as stack:
        started = {name: Playing(stack, handin, **options) for name, (handin, options) in jobs.items()}
        return {name: playing.end() for name, playing in started.items()}


class Playing:
    """A job that has been started.

    Args:
        stack (contextlib.ExitStack): cleans up after it.
        handin (bytes): the tarball; None for no tarball.
        package (dict): path → bytes of files in autograde.tar that are others than ours; by
            default these have it grade a few problems only.
        makefile (str): the Makefile, if not ours.
        cut_off (bool): whether autograde.tar ends in the midst of a file.
        python (str): a shell script to stand in the place of python3; {python} in it is ours.
        landlock (bool): False makes the kernel answer as one without Landlock.
        processors (set of int): those it may use, if not all.
    """

    def __init__(self, stack, handin, package=FEW, makefile=None, python="", landlock=True,
                 processors=None, cut_off=False):
        self.folder = tempfile.mkdtemp(prefix="autolab-job-")
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        assert set(package) <= set(packed())
        contents = {"autograde.tar": tar_bytes({**packed(), **package}), "handin.tar": handin,
                    "Makefile": (makefile or autolab.makefile()).encode()}
        if cut_off:
            contents["autograde.tar"] = contents["autograde.tar"][:50_000]
        contents = {name: content for name, content in contents.items() if content is not None}
        for name, content in contents.items():
            Path(self.folder, name).write_bytes(content)
        user, reads_all = user_to_play()
        for name in ("", *contents):
            os.chown(os.path.join(self.folder, name), user or os.getuid(), -1)
        os.chmod(self.folder, 0o755)
        self.log = stack.enter_context(tempfile.TemporaryFile())
        self.mark = os.path.basename(self.folder)
        path = [os.path.dirname(sys.executable), os.environ["PATH"]]
        if python:
            path.insert(0, stand_in(stack, python))
        environment = {"PATH": os.pathsep.join(path), "HOME": self.folder, "TMPDIR": self.folder,
                       "SECRET": "of whoever runs this"}

        def prepare():
            if processors:
                os.sched_setaffinity(0, processors)
            if not landlock:
                hide_landlock()
            become(user, reads_all)

        self.make = subprocess.Popen(
            ["make"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True, preexec_fn=prepare)

    def end(self):
        """Wait for it; returns the Job."""
        self.make.wait(timeout=autolab.TIMEOUT)
        left = processes_with(self.mark)
        self.log.seek(0)
        text = self.log.read().decode("utf-8", "replace")
        assert self.make.returncode == 0, f"make failed, so that its own line is last:\n{text}"
        here = Path(self.folder)
        files = {path.relative_to(here).as_posix()
                 for path in (*here.glob("*"), *here.glob("autograder/*"))}
        return Job(parse(text), text, files, left)


def stand_in(stack, script):
    """A folder that holds a python3 of this content."""
    folder = tempfile.mkdtemp(prefix="autolab-python-")
    stack.callback(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    path = Path(folder, "python3")
    path.write_text("#!/bin/sh\n" + script.format(python=sys.executable))
    path.chmod(0o755)
    return folder


@functools.lru_cache(maxsize=None)
def packed():
    """What is in autograde.tar (name → bytes), with the answers to a few seeds, made once."""
    with mock.patch.object(record, "seeds", return_value=SEEDS):
        return autolab.packed()


def processes_with(mark):
    """Processes whose environment holds ``mark``, that is, all that a job has started."""
    for _ in range(20):  # one that has been killed may take a moment to be gone
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        if not found:
            return []
        time.sleep(0.05)
    return found
