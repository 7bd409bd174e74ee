"""Grades the grader: full marks for correct solutions, and for each planted bug (planted_bugs.py)
none in its own problem and all before it. The table: python3 autograder/staff/bug_table.py."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import planted_bugs
from hostile import copy_grader, run_grader
from planted_bugs import BUGS, Bug
from problems import FULL_SCORE, GRADED, PROBLEMS

HERE = Path(__file__).resolve().parent
BUG_TABLE = HERE.parent / "bug_table.py"
FULL = {problem.key: 0 if problem.by_hand else problem.points for problem in PROBLEMS}

QUICK = (
    "Sub: negates the upstream gradient in place",
    "Div: divisor not squared in the gradient of b",
    "a shared node runs before its later gradients have come (queue)",
    "ReLU: derivative 1 at 0",
    "BatchNorm: stores the biased variance",
    "cross entropy: upstream gradient ignored",
    "momentum: remembers the last gradient, not the last step",
)


@functools.lru_cache(maxsize=None)
def findings(quick):
    """Bug name → what bug_table.grade_bug found, for the quick bugs or for all others.

    In a Python of their own: this one has imported mytorch, and processes made from it would
    not read a patched copy.
    """
    names = [bug.name for bug in BUGS if (bug.name in QUICK) == quick]
    ended = subprocess.run([sys.executable, str(BUG_TABLE), "--json", *names], check=True,
                           stdout=subprocess.PIPE, encoding="utf-8")
    return json.loads(ended.stdout)


def scores_of(ended):
    """The scores on the last line of a run of the grader, which must have ended well."""
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout.splitlines()[-1])["scores"]


def test_the_reference_scores_100(tmp_path):
    planted_bugs.copy_reference(tmp_path)
    copy_grader(tmp_path)
    ended = run_grader(tmp_path)
    assert scores_of(ended) == FULL, ended.stdout
    assert sum(FULL.values()) == FULL_SCORE
    assert "no points lost" not in ended.stdout


def test_a_second_correct_solution_scores_100_with_a_remark_on_shared_nodes(tmp_path):
    planted_bugs.copy_reference(tmp_path)
    copy_grader(tmp_path)
    planted_bugs.lay_second_solution_over(tmp_path)
    ended = run_grader(tmp_path)
    assert scores_of(ended) == FULL, ended.stdout
    assert ended.stdout.count("no points lost") == 1


@pytest.mark.parametrize("bug", [
    pytest.param(bug, id=f"{bug.number}-{bug.name}".replace(" ", "-"),
                 marks=() if bug.name in QUICK else pytest.mark.slow) for bug in BUGS])
def test_a_bug_costs_points_in_its_own_problem_and_in_none_before(bug):
    finding = findings(bug.name in QUICK)[bug.name]
    numbers = {problem.number for problem in GRADED if problem.key in finding["failed"]}
    assert numbers == {bug.number}, finding["report"]


@pytest.mark.slow
def test_every_problem_has_a_bug_that_fails_it():
    failed = [set(finding["failed"]) for quick in (True, False)
              for finding in findings(quick).values()]
    assert set().union(*failed) == {problem.key for problem in GRADED}


def test_there_are_at_least_70_bugs_with_different_names_and_several_for_each_number():
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= 70
    assert set(QUICK) <= set(names)
    for number in {problem.number for problem in GRADED}:
        assert sum(bug.number == number for bug in BUGS) >= 2


def test_every_bug_still_fits_its_solution():
    for bug in BUGS:
        compile(bug.patched(), bug.file, "exec")


def test_a_bug_that_no_longer_fits_says_which_it_is():
    bug = Bug("1.1", "a mistake in code that is gone", "tensor.py", "no such text", "")
    with pytest.raises(ValueError, match="'a mistake in code that is gone'.*tensor.py, found 0"):
        bug.patched()
