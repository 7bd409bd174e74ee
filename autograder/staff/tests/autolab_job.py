"""Plays one job of Autolab: its directory, its user, its limits, make, and its parse of the log.
From Autolab's public source; used by test_autolab.py."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import autolab

NOBODY = 65534
PROCESSES = 100


class Job:
    """What is left of a job.

    Attributes:
        scores (dict): what Autolab reads from the log's last line, by key.
        log (str): stdout and stderr of make.
        files (set of str): names in the directory afterwards.
        left_running (list of int): processes that work in the directory or hold its mark.
    """

    def __init__(self, scores, log, files, left_running):
        self.scores, self.log, self.files, self.left_running = scores, log, files, left_running

    @property
    def total(self):
        return sum(self.scores.values())


def quote_words(line):
    """What Autolab does to a line before it reads it as JSON."""
    return re.sub(r"(\w+):", r'"\1":', line)


def parse(log):
    """The scores in a log, as Autolab takes them from its last line that is not blank."""
    last = [line for line in log.splitlines() if line.strip()][-1]
    return json.loads(quote_words(last))["scores"]


def user_for(folder):
    """The unprivileged user to play with, or None where this test cannot become one."""
    if os.getuid() != 0:
        return None
    try:
        probe = subprocess.run([sys.executable, "-c", "import numpy"], cwd=folder,
                               preexec_fn=lambda: become(NOBODY), stderr=subprocess.DEVNULL)
    except PermissionError:  # this Python lies in a folder that is root's alone
        return None
    return NOBODY if probe.returncode == 0 else None


def become(user):
    """Drop to that user, if there is one, with Autolab's limit on processes."""
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


def play(handin, seed=99):
    """Run a job on the content of a handin.tar (bytes); returns a Job."""
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="autolab-job-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        contents = {"autograde.tar": package(seed), "handin.tar": handin,
                    "Makefile": autolab.makefile().encode()}
        for name, content in contents.items():
            Path(folder, name).write_bytes(content)
        user = user_for(folder)
        for path in (folder, *(os.path.join(folder, name) for name in contents)):
            os.chown(path, user or os.getuid(), -1)
        os.chmod(folder, 0o755)
        log = stack.enter_context(tempfile.TemporaryFile())
        mark = f"MYTORCH_JOB={os.path.basename(folder)}"
        environment = {"PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
                       "HOME": folder, "TMPDIR": folder, "MYTORCH_JOB": os.path.basename(folder)}
        make = subprocess.Popen(["make"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, start_new_session=True,
                                preexec_fn=lambda: become(user))
        make.wait(timeout=autolab.TIMEOUT)
        assert make.returncode == 0, "make failed, so that its own line is last"
        left = processes_with(mark)
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
        return Job(parse(text), text, set(os.listdir(folder)), left)


_packages = {}


def package(seed):
    """autograde.tar for a seed, made once."""
    if seed not in _packages:
        _packages[seed] = autolab.package(seed)
    return _packages[seed]


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
