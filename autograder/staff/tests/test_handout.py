"""The handout: what it leaves out, what it scores, and how wrong marks are refused.
Graded in processes of their own by the same runner that students use."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import handout
import pytest
from grader import grading
from problems import FULL_SCORE, GRADED, PROBLEMS

NUMBERS = list(dict.fromkeys(p.number for p in PROBLEMS if p.number != "1.1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handouts") / "handout"
    handout.write(handout.make(handout.ROOT), handout.ROOT, folder)
    return folder


FIRST_DONE = {  # check of the sandbox → the problem with which it passes
    "test_sub": "1.1.1", "test_mul": "1.1.2", "test_div": "1.1.3",
    "test1": "1.2", "test2": "1.2", "test3": "1.2", "test4": "1.2", "test5": "1.2", "test6": "1.2",
    "test7": "1.2", "test8": "1.2", "testbroadcast": "2.1", "testbroadcast_sub": "2.1",
    "testbroadcast_mul": "2.1", "testbroadcast_div": "2.1", "test_linear": "2.1",
    "test_sequential": "2.1", "test_relu": "2.2", "test_sgd": "2.3", "test_batchnorm_train": "2.4",
    "test_batchnorm_eval": "2.4", "test_cross_entropy": "2.5", "test_momentum": "2.6"}


SHOW = """
import sandbox, sys
for arguments in sys.argv[1:]:
    print("status", sandbox.main(arguments.split()), end=chr(0))
"""


def check_what_is_shown(folder, solved, asked=tuple(NUMBERS)):
    """Fail unless sandbox, trace and draw say whether it works or is unwritten: of the checks of
    the problems ``asked``, and of the graph if 1.2 is among them."""
    checks = [check for check, number in FIRST_DONE.items() if number in asked]
    shown = ["--trace", "--draw"] if "1.2" in asked else []
    ran = subprocess.run([sys.executable, "-c", SHOW, " ".join(checks), *shown], cwd=str(folder),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                         env={**os.environ, "COLUMNS": "100", "PYTHONPATH": "."})
    said, *shown = ran.stdout.split(chr(0))[:1 + len(shown)]
    assert [line.split()[:3] for line in said.splitlines()[:-1]] == [
        [check, "ok"] if FIRST_DONE[check] in solved else [check, "not", "started"]
        for check in checks], said
    assert said.endswith(f"status {int('not started' in said)}")
    if "1.2" in asked and "1.2" in solved:
        trace, draw = shown
        assert "a.grad = 3" in trace and trace.endswith("status 0")
        assert "graph.png" in draw and draw.endswith("status 0") and (folder / "graph.png").exists()
    else:
        for output in shown:
            assert "not started" in output and output.endswith("status 1"), output
            assert len(output.splitlines()) == 2 and "FAILED" not in output


def grade(folder, problems=GRADED):
    return list(grading.grade(problems, folder, grading.RecordedAnswers()))


def test_the_untouched_handout_scores_0_and_says_of_each_problem_that_it_is_unfinished(folder):
    verdicts = [verdict for verdict in grade(folder) if verdict.problem.points]
    assert sum(verdict.points for verdict in verdicts) == 0
    assert [v.problem.key for v in verdicts if not (v.not_started or v.waits_for)] == []
    assert [v.problem.key for v in verdicts if v.outcome.output] == []
    check_what_is_shown(folder, [])


@pytest.mark.slow
def test_pytest_shows_the_verdict_on_a_graded_test_and_no_line_of_the_grader(folder):
    command = [sys.executable, "-m", "pytest", "-k", "test_subtraction or plus"]
    ran = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE, universal_newlines=True)
    assert "TODO (1.1.1): subtract, like Add above" in ran.stdout
    assert "verdict" not in ran.stdout and "graded.py" not in ran.stdout
    assert "3 failed, 1 passed" in ran.stdout


@pytest.mark.slow
def test_filled_in_with_the_reference_it_scores_100(tmp_path):
    handout.write(handout.make(handout.ROOT, solved=NUMBERS), handout.ROOT, tmp_path / "solved")
    verdicts = grade(tmp_path / "solved")
    assert {v.problem.key: v.text() for v in verdicts if not v.passed} == {}
    assert sum(v.points for v in verdicts) == FULL_SCORE
    check_what_is_shown(tmp_path / "solved", NUMBERS)


@pytest.mark.slow
@pytest.mark.parametrize("done, next_one", list(zip(NUMBERS, NUMBERS[1:])))
def test_filled_in_up_to_a_problem_it_has_the_points_of_that_and_none_of_the_next(
        done, next_one, tmp_path):
    solved = NUMBERS[:NUMBERS.index(next_one)]
    handout.write(handout.make(handout.ROOT, solved), handout.ROOT, tmp_path / "partly")
    asked = [problem for problem in GRADED if problem.number in (done, next_one)]
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(check_what_is_shown, tmp_path / "partly", solved, (done, next_one))
        got = {v.problem.key: v.points for v in grade(tmp_path / "partly", asked)}
    shown.result()
    assert got == {p.key: p.points if p.number == done else 0 for p in asked}


def test_it_packs_a_tarball(folder):
    ran = subprocess.run([sys.executable, str(folder / "autograder/hw1_autograder/handin/packing.py")],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert ran.returncode == 0 and (folder / "handin.tar").exists()
    assert "validation_accuracy.png is missing. Problem 3 needs it: ./grade.sh m" in ran.stdout


def test_all_its_modules_import(folder):
    modules = [".".join(p.relative_to(folder).with_suffix("").parts)
               for part in ("mytorch", "hw1") for p in sorted((folder / part).rglob("*.py"))]
    ran = subprocess.run([sys.executable, "-c", "import " + ", ".join(modules)],
                         cwd=str(folder), stderr=subprocess.PIPE, universal_newlines=True)
    assert ran.stderr == ""


def test_nothing_of_the_staff_is_in_it(folder):
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        assert "staff" not in path.relative_to(folder).parts
        if path.suffix not in (".pyc", ".tar", ".png"):
            text = path.read_text(encoding="utf-8")
            assert "SOLUTION" not in text, path


@pytest.mark.slow
def test_its_own_tests_are_collected_without_a_warning(folder):
    ran = subprocess.run([sys.executable, "-m", "pytest", "--collect-only"], cwd=str(folder),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert "test_autograd.py::test_subtraction" in ran.stdout and "test_mlp.py::" in ran.stdout
    assert ran.returncode == 0 and "arning" not in ran.stdout


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


@pytest.mark.parametrize("before, after, raises", [
    ("def f(x):\n", "", True),
    ("def f(x):\n", "\n\n\ndef g(x):\n    return x\n", True),
    ("def f(x):\n", "\n\n# a comment, then code\ny = 1\n", True),
    ("def f(x):\n    y = x\n\n", "\n\ny = 1\n", True),
    ("def f(x):\n", "    return x\n", False),
    ("def f(x):\n", "\n\n    return x\n", False),
    ("def f(x):\n", "    # a comment of the block\n", False),
    ("class C:\n", "", False),
    ("class C:\n    def f(self):\n        return 1\n\n", "\n\ny = 1\n", False),
    ("if True:\n", "", False),
])
def test_code_is_needed_where_a_function_ends_with_the_region(before, after, raises):
    expected = before + TODO + RAISE * raises + after
    assert handout.hand_out("f.py", before + REGION + after) == expected


@pytest.mark.parametrize("before, region, after, expected", [
    ("def f(x):\n    for y in x:\n", BLOCK, "    return x\n", "    " + TODO + "    " + RAISE),
    ('def f(x):\n    y = """\nat the margin\n"""\n', BLANK, "", TODO + RAISE),
    ("def f(x):\n    return x\n\n\n", REGION.replace("    ", ""), "\n\ny = 1\n", TODO.strip() + "\n"),
])
def test_code_is_needed_at_the_end_of_a_block_after_a_text_at_the_margin_and_not_outside_functions(
        before, region, after, expected):
    assert handout.hand_out("f.py", before + region + after) == before + expected + after


def test_a_region_that_is_solved_stays_without_its_marks():
    text = "def f(x):\n" + REGION + "    return x\n"
    assert handout.hand_out("f.py", text, ["1.2"]) == "def f(x):\n    x = 2 * x\n    return x\n"


def test_pytest_looks_only_where_students_have_tests():
    text = handout.hand_out(".pytest.ini", (handout.ROOT / ".pytest.ini").read_text(encoding="utf-8"))
    assert "testpaths = autograder/hw1_autograder\n" in text and "staff" not in text
    with pytest.raises(handout.HandoutError, match="pytest.ini: expected 'testpaths"):
        handout.hand_out(".pytest.ini", "[pytest]\n")


def test_a_signature_that_would_change_is_refused():
    text = "# BEGIN SOLUTION 1.2: x\ndef f(a):\n    pass\n# END SOLUTION 1.2\ndef g(b):\n    pass\n"
    regions = {"a.py": handout.find_regions("a.py", text.split("\n"))}
    with pytest.raises(handout.HandoutError, match="a.py:5: g would change"):
        handout.check_python({"a.py": text}, {"a.py": "def g(c):\n    pass\n"}, regions)
