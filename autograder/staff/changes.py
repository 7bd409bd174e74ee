"""Grades correct solutions that were changed: planted bugs and styles (tests/), in this process, as
a process for each problem would take ten times as long. For record.py and bug_table.py."""

import contextlib
import copy
import importlib
import io
import signal
import sys
import tempfile
import warnings
from pathlib import Path

from packages import STAFF
import numpy as np

sys.path.insert(0, str(STAFF / "tests"))

from grader import child, grading, judge
from grader.report import Report
from problems import GRADED
import solutions

NUMBERS = tuple(dict.fromkeys(problem.number for problem in GRADED))
SECONDS = 5  # of processor time, for the tests of a problem


@contextlib.contextmanager
def changed(solution, edits=()):
    """Context with the folder (Path) of a correct solution that was changed, from which mytorch is
    imported; what its code changes is put back."""
    path, floating, limit = sys.path[:], np.geterr(), sys.getrecursionlimit()
    with tempfile.TemporaryDirectory(prefix="mytorch-change-") as root:
        solutions.write(root, solution, edits)
        sys.path.insert(0, root)
        importlib.invalidate_caches()
        try:
            yield Path(root)
        finally:
            sys.path[:] = path
            np.seterr(**floating)
            sys.setrecursionlimit(limit)


def outcome_of(problem, root, seed, wanted=lambda case: case.scored):
    """What comes back of a problem's tests, an isolation.Outcome; a test that goes on for seconds is
    stopped.

    Args:
        problem (Problem): which one.
        root (Path): the folder that ``mytorch`` is imported from.
        seed (int): of the inputs.
        wanted: says of a Case whether to run it.
    """
    nowhere = io.StringIO()
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), \
            warnings.catch_warnings():
        key, drawn = child.prepare(problem.key, seed, root)
        outcome = grading.run_here(
            key, [(case, given) for case, given in drawn if wanted(case)], root)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome


def stop(*_):
    raise TimeoutError(f"still running after {SECONDS} s")


@contextlib.contextmanager
def float32_tolerance():
    """Context in which results are judged as if all had come back in float32."""
    by_dtype, judge.tolerance_for = judge.tolerance_for, lambda results: judge.IN_FLOAT32
    try:
        yield
    finally:
        judge.tolerance_for = by_dtype


def grade_change(change, numbers=NUMBERS, closer=False, answers=None):
    """Grade a correct solution that was changed.

    Args:
        change (planted_bugs.Bug or styles.Style): how.
        numbers (sequence of str): the numbers of the problems to run.
        closer (bool): whether to look closer at failures, which takes as long as the rest.
        answers (grading.RecordedAnswers): what is right, loaded; by default what students have.

    Returns:
        dict: "failed", the keys of problems that failed; "failed in float32", those that would
        if float32's tolerance held for all; "complaints", key → lines about the test that tells
        most, and "mistakes", key → what the mistake is called; "notes" of problems that passed,
        list of str; "report", the whole report.
    """
    report = Report(io.StringIO())
    report.unicode = True
    found = {"failed": [], "failed in float32": [], "complaints": {}, "mistakes": {}, "notes": []}
    above = []
    answers = answers or grading.answers_at_home()
    unnamed = copy.copy(answers)
    unnamed.mistakes = []
    with changed(change.solution, change.edits) as root:
        for problem in [problem for problem in GRADED if problem.number in numbers]:
            outcome = outcome_of(problem, root, answers.seed, lambda case: closer or not case.closer)
            verdict = grading.Verdict(problem, outcome, answers, above=above)
            above.append(verdict)
            report.show(verdict)
            if verdict.passed:
                found["notes"] += verdict.notes
                continue
            found["failed"].append(problem.key)
            found["mistakes"][problem.key] = verdict.mistakes
            found["complaints"][problem.key] = [
                line for line in verdict.complaints[verdict.shown]
                if not line.startswith("input: ")]
            with float32_tolerance():
                if not grading.Verdict(problem, outcome, unnamed).passed:
                    found["failed in float32"].append(problem.key)
    return {**found, "report": report.stream.getvalue()}
