"""The handout: what it leaves out, what it scores, and how wrong marks are refused.
Graded in processes of their own by the same runner that students use."""

import os
import re
import subprocess
import sys

import handout
import pytest
from grader import grading
from handin import packing
from problems import GRADED, PROBLEMS

NUMBERS = list(dict.fromkeys(p.number for p in PROBLEMS if p.number != "1.1"))


def write(folder, solved=()):
    handout.write(handout.make(handout.ROOT, solved), handout.ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("handouts") / "handout")


def grade(folder, problems=GRADED):
    return list(grading.grade(problems, folder, grading.RecordedAnswers()))


FIRST_PART = ["test_sub", "test_mul", "test_div", *(f"test{number}" for number in range(1, 9))]
REST = ["testbroadcast", "testbroadcast_sub", "testbroadcast_mul", "testbroadcast_div",
        "test_linear", "test_sequential", "test_relu", "test_sgd", "test_batchnorm_train",
        "test_batchnorm_eval", "test_cross_entropy", "test_momentum"]  # checks of the sandbox
SHOW = """
import sandbox, sys
for arguments in sys.argv[1:]:
    print("status", sandbox.main(arguments.split()), end=chr(0))
"""


def shown(folder, *arguments):
    """What the sandbox says in a tree, for each of some command lines."""
    return subprocess.run([sys.executable, "-c", SHOW, *arguments], cwd=str(folder),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                          env={**os.environ, "COLUMNS": "100", "PYTHONPATH": "."}
                          ).stdout.split(chr(0))[:-1]


def check_what_is_shown(folder, passing, not_started):
    """Fail unless the sandbox says of each check whether it works or is unwritten, and trace and draw
    whether the graph of 1.2 is there (where a check passes)."""
    said, *graphs = shown(folder, " ".join(passing + not_started), "--trace", "--draw")
    assert [line.split()[:3] for line in said.splitlines()[:-1]] == [
        *([check, "ok"] for check in passing), *([check, "not", "started"] for check in not_started)]
    assert said.endswith("status 1")
    for output, works in zip(graphs, ("a.grad = 3", "graph.png")):
        if passing:
            assert works in output and output.endswith("status 0"), output
        else:
            assert "not started" in output and output.endswith("status 1"), output
            assert len(output.splitlines()) == 2 and "FAILED" not in output
    assert (folder / "graph.png").exists() == bool(passing)


@pytest.mark.slow
def test_the_untouched_handout_scores_0_and_says_of_each_problem_that_it_is_unfinished(folder):
    verdicts = [verdict for verdict in grade(folder) if verdict.problem.points]
    assert sum(verdict.points for verdict in verdicts) == 0
    assert [v.problem.key for v in verdicts if not (v.not_started or v.waits_for)] == []
    assert [v.problem.key for v in verdicts if v.outcome.output] == []
    check_what_is_shown(folder, [], FIRST_PART + REST)


@pytest.mark.slow
@pytest.mark.parametrize("done, next_one", list(zip(NUMBERS, NUMBERS[1:])))
def test_filled_in_up_to_a_problem_it_has_the_points_of_that_and_none_of_the_next(
        done, next_one, tmp_path):
    write(tmp_path / "partly", NUMBERS[:NUMBERS.index(next_one)])
    asked = [problem for problem in GRADED if problem.number in (done, next_one)]
    got = {v.problem.key: v.points for v in grade(tmp_path / "partly", asked)}
    assert got == {p.key: p.points if p.number == done else 0 for p in asked}
    if done == "1.2":
        check_what_is_shown(tmp_path / "partly", FIRST_PART, REST)


@pytest.mark.slow
def test_pytest_finds_its_graded_tests_alone_and_shows_their_verdict_and_no_line_of_the_grader(folder):
    command = [sys.executable, "-m", "pytest", "-k", "test_subtraction or plus"]
    ran = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, universal_newlines=True)
    assert "TODO (1.1.1): subtract, like Add above" in ran.stdout and "arning" not in ran.stdout
    assert "verdict" not in ran.stdout and "graded.py" not in ran.stdout
    assert re.search(r"3 failed, 1 passed, \d\d deselected", ran.stdout)


def test_it_can_be_handed_in_and_is_told_that_the_plot_is_missing(folder):
    _, warnings = packing.pack(folder, folder / "handin.tar")
    assert warnings == ["hw1/validation_accuracy.png is missing. Problem 3 needs it: ./grade.sh m"]


@pytest.mark.slow
def test_all_its_modules_import(folder):
    modules = [".".join(p.relative_to(folder).with_suffix("").parts)
               for part in ("mytorch", "hw1") for p in sorted((folder / part).rglob("*.py"))]
    ran = subprocess.run([sys.executable, "-c", "import " + ", ".join(modules)],
                         cwd=str(folder), stderr=subprocess.PIPE, universal_newlines=True)
    assert ran.stderr == ""


def test_nothing_of_the_staff_is_in_it(folder):
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        assert "staff" not in path.relative_to(folder).parts
    ini = (folder / ".pytest.ini").read_text(encoding="utf-8")
    assert "testpaths = autograder/hw1_autograder\n" in ini and "staff" not in ini


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(handout.HandoutError, match="not an empty folder"):
        handout.write({}, handout.ROOT, tmp_path)


@pytest.mark.parametrize("text, complaint", [
    ("# BEGIN SOLUTION 1.2: a\n# END SOLUTION 1.1.1\n", "f.py:2: END SOLUTION 1.1.1 without"),
    ("# BEGIN SOLUTION 1.2: a\nx = 1\n", "f.py:1: BEGIN SOLUTION 1.2 without an END"),
    ("# BEGIN SOLUTION 9.9: a\n# END SOLUTION 9.9\n", "f.py:1: there is no problem 9.9"),
    ("# BEGIN SOLUTION 1.2: a\n# BEGIN SOLUTION 1.2: b\n", "f.py:2: a region begins inside"),
    ("x = 1  # END SOLUTION 1.2\n", "f.py:1: not a mark, but looks like one"),
    ("#BEGIN SOLUTION 1.2: a\n", "f.py:1: not a mark, but looks like one"),
    ("# BEGIN SOLUTION 1.2\n# END SOLUTION 1.2\n", "f.py:1: a region needs a prompt"),
])
def test_a_wrong_mark_is_refused_with_file_and_line(text, complaint):
    with pytest.raises(handout.HandoutError) as caught:
        handout.find_regions("f.py", text.split("\n"))
    assert str(caught.value).startswith(complaint)


REGION = """\
    # BEGIN SOLUTION 1.2: double
    x = 2 * x
    # END SOLUTION 1.2
"""
TODO = "    # TODO (1.2): double\n"
RAISE = '    raise NotImplementedError("TODO (1.2): double")\n'


BLOCK = REGION.replace("    ", "        ")
BLANK = REGION.replace("x = 2 * x\n", "x = 2 * x\n\n")


@pytest.mark.parametrize("before, region, after, expected", [
    ("def f(x):\n", REGION, "", TODO + RAISE),
    ("def f(x):\n", REGION, "\n\n# a comment, then code\ny = 1\n", TODO + RAISE),
    ("def f(x):\n    y = x\n\n", REGION, "\n\ny = 1\n", TODO + RAISE),
    ("def f(x):\n    for y in x:\n", BLOCK, "    return x\n", "    " + TODO + "    " + RAISE),
    ('def f(x):\n    y = """\nat the margin\n"""\n', BLANK, "", TODO + RAISE),
    ("def f(x):\n", REGION, "\n\n    return x\n", TODO),
    ("def f(x):\n", REGION, "    # a comment of the block\n", TODO),
    ("class C:\n", REGION, "", TODO),
    ("class C:\n    def f(self):\n        return 1\n\n", REGION, "\n\ny = 1\n", TODO),
    ("def f(x):\n    return x\n\n\n", REGION.replace("    ", ""), "\n\ny = 1\n", TODO.strip() + "\n"),
])
def test_code_is_needed_where_a_block_of_a_function_ends_with_the_region(
        before, region, after, expected):
    assert handout.hand_out("f.py", before + region + after) == before + expected + after


def test_a_region_that_is_solved_stays_without_its_marks():
    text = "def f(x):\n" + REGION + "    return x\n"
    assert handout.hand_out("f.py", text, ["1.2"]) == "def f(x):\n    x = 2 * x\n    return x\n"
