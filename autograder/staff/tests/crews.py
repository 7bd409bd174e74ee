"""Runs a few lines of Python as tasks of the grader's isolation, for the tests of it.
What a machine must have for some of them stands here too."""

import contextlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import jail
from processes import isolation

HERE = Path(__file__).resolve().parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can do that")
filtered = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in jail.AUDIT_ARCH, reason="no filter here")
landlock = pytest.mark.skipif(
    sys.platform != "linux" or jail.landlock_version() < 6, reason="no Landlock of Linux 6.12")


class Task(NamedTuple):
    key: str
    time_limit: float = 5.0


def run(*codes, root=HERE, time_limit=5.0, deadline=None, jail=None):
    """The Outcomes of tasks."""
    with isolation.Crew("isolation_tasks", root, jail) as crew:
        tasks = [Task(code, time_limit) for code in codes]
        return [outcome for _, outcome in crew.run(tasks, seed=7, deadline=deadline)]


@contextlib.contextmanager
def sleeping(*options):
    """Context with a process that sleeps, for each of some options of Popen (dicts)."""
    processes = [subprocess.Popen(["sleep", "1000"], **option) for option in options or [{}]]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def said(outcome):
    """What a task put into ``said``."""
    assert outcome.ending == "done", (outcome.ending, outcome.output)
    return json.loads(outcome.lines[-1])
