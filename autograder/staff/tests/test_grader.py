"""Grades the grader: full marks for every style of a correct solution (styles.py), and for each
planted bug (planted_bugs.py) none in its own problem and all before it. bug_table.py shows both."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import solutions
from hostile import copy_grader, run_runner
from planted_bugs import BUGS, Bug
from problems import FULL_SCORE, GRADED, PROBLEMS
from styles import AT_EACH_USE, EACH_PATH, STYLES

HERE = Path(__file__).resolve().parent
BUG_TABLE = HERE.parent / "bug_table.py"
FULL = {problem.key: 0 if problem.by_hand else problem.points for problem in PROBLEMS}

QUICK = (
    "cross entropy as a Function in loss.py, F.cross_entropy left a TODO",
    "Sub: negates the upstream gradient in place",
    "BatchNorm: stores the biased variance",
    "momentum: remembers the last gradient, not the last step",
)


def each(changes):
    """A parameter for each style or bug; most are slow."""
    return pytest.mark.parametrize("change", [
        pytest.param(change, id=change.name.replace(" ", "-"),
                     marks=() if change.name in QUICK else pytest.mark.slow)
        for change in changes])


@functools.lru_cache(maxsize=None)
def run_bug_table(quick):
    """What bug_table.py printed of the quick styles and bugs or of all others, and its status; run
    once, even if it fails, in a Python of its own, as this one has imported mytorch."""
    names = [change.name for change in (*STYLES, *BUGS) if (change.name in QUICK) == quick]
    return subprocess.run([sys.executable, str(BUG_TABLE), "--json", *names],
                          stdout=subprocess.PIPE, encoding="utf-8")


def findings(quick):
    """Name of a style or bug → what grade_change found, for the quick ones or all others."""
    ended = run_bug_table(quick)
    assert ended.returncode == 0
    return json.loads(ended.stdout)


def numbers(keys):
    """The numbers of the problems with these keys."""
    return {problem.number for problem in GRADED if problem.key in keys}


def graded_as_a_student_does(root, solution):
    """The report of ./grade.sh 1 on a correct solution, which must score 100."""
    solutions.write(root, solution)
    copy_grader(root)
    ended = run_runner(root)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout.splitlines()[-1])["scores"] == FULL, ended.stdout
    return ended.stdout


def test_the_reference_scores_100(tmp_path):
    assert sum(FULL.values()) == FULL_SCORE
    assert "no points lost" not in graded_as_a_student_does(tmp_path, solutions.REFERENCE)


@pytest.mark.slow
def test_a_second_correct_solution_scores_100_with_notes_on_its_engine(tmp_path):
    report = graded_as_a_student_does(tmp_path, solutions.SECOND)
    assert report.count("no points lost") == 2 and EACH_PATH in report and AT_EACH_USE in report


@pytest.mark.slow
def test_a_third_correct_solution_in_float32_scores_100(tmp_path):
    assert "no points lost" not in graded_as_a_student_does(tmp_path, solutions.THIRD)


@each(STYLES)
def test_a_style_scores_100_and_gets_the_notes_it_should(change):
    finding = findings(change.name in QUICK)[change.name]
    assert finding["failed"] == [], finding["report"]
    notes, known = finding["notes"], (EACH_PATH, AT_EACH_USE, change.note or EACH_PATH)
    assert all(any(part in note for part in known) for note in notes)
    assert any(change.note in note for note in notes) or not change.note


@each(BUGS)
def test_a_bug_is_named_and_costs_its_own_problem_and_none_before_in_either_precision(change):
    finding = findings(change.name in QUICK)[change.name]
    assert numbers(finding["failed"]) == numbers(finding["failed in float32"]) == {change.number}, (
        finding["report"])
    named = any(change.says in names for names in finding["mistakes"].values())
    assert named or "KeyError: " in finding["report"], (  # the key is a Tensor with its numbers
        "its results are not those that are recorded: run python3 autograder/staff/record.py")


@pytest.mark.slow
def test_every_problem_has_a_bug_that_fails_it():
    failed = {key for quick in (True, False) for finding in findings(quick).values()
              for key in finding["failed"]}
    assert failed == {problem.key for problem in GRADED}


@pytest.mark.slow
def test_the_name_of_a_bug_is_the_same_in_other_peoples_code_and_never_a_false_one():
    twins = [twin for bug in BUGS if bug.name not in QUICK for twin in bug.elsewhere]
    named = {twin.name: [twin.says in names for names in findings(False)[twin.name][
        "mistakes"].values() if names] for twin in twins}
    assert [name for name, right in named.items() if not all(right)] == []
    assert sum(map(any, named.values())) >= 0.85 * len(twins)
    assert len(twins) >= len(BUGS) / 3


def test_there_are_many_styles_and_bugs_with_different_names():
    names = [change.name for change in (*STYLES, *BUGS)]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)
    assert len(STYLES) >= 60 and len(BUGS) >= 120


@pytest.mark.slow
def test_every_style_and_bug_still_fits_its_solution():
    for change in (*STYLES, *BUGS, *[twin for bug in BUGS for twin in bug.elsewhere]):
        for file, text in solutions.edited(change.solution, change.edits).items():
            compile(text, file, "exec")


def test_a_change_that_no_longer_fits_says_what_is_not_found(tmp_path):
    bug = Bug("1.1", "a mistake in code that is gone", "tensor.py", "no such text", "")
    with pytest.raises(ValueError, match="tensor.py, found 0 times:\nno such text"):
        bug.plant(tmp_path)
