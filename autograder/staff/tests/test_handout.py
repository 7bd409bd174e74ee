"""The handout: what it leaves out, what it scores, and how wrong marks are refused.
Graded in processes of their own by the same runner that students use."""

import subprocess
import sys

import handout
import pytest
import grading
from problems import GRADED, PROBLEMS

NUMBERS = list(dict.fromkeys(p.number for p in PROBLEMS if p.number != "1.1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handouts") / "handout"
    handout.write(handout.make(handout.ROOT), handout.ROOT, folder)
    return folder


def grade(folder):
    return list(grading.grade(GRADED, folder, grading.RecordedAnswers()))


def test_the_untouched_handout_scores_0_and_says_of_each_problem_that_it_is_unfinished(folder):
    verdicts = [verdict for verdict in grade(folder) if verdict.problem.points]
    assert sum(verdict.points for verdict in verdicts) == 0
    assert [v.problem.key for v in verdicts if not v.unfinished] == []
    assert [v.problem.key for v in verdicts if v.outcome.output] == []


def test_filled_in_with_the_reference_it_scores_100(tmp_path):
    handout.write(handout.make(handout.ROOT, solved=NUMBERS), handout.ROOT, tmp_path / "solved")
    verdicts = grade(tmp_path / "solved")
    assert {v.problem.key: v.text() for v in verdicts if not v.passed} == {}
    assert sum(v.points for v in verdicts) == 100


@pytest.mark.slow
@pytest.mark.parametrize("count", range(1, len(NUMBERS)))
def test_filled_in_up_to_a_problem_it_has_the_points_up_to_there(count, tmp_path):
    solved = NUMBERS[:count]
    handout.write(handout.make(handout.ROOT, solved), handout.ROOT, tmp_path / "partly")
    got = {v.problem.key: v.points for v in grade(tmp_path / "partly")}
    assert got == {p.key: p.points if p.number in solved else 0 for p in GRADED}


def test_it_packs_a_tarball(folder):
    ran = subprocess.run([sys.executable, str(folder / "autograder/hw1_autograder/handin.py")],
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
        if path.suffix not in (".pyc", ".tar"):
            text = path.read_text(encoding="utf-8")
            assert "SOLUTION" not in text and "For staff" not in text, path


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


def test_a_region_with_code_after_it_leaves_the_comment_alone():
    text = "def f(x):\n    # BEGIN SOLUTION 1.2: double\n    x = 2 * x\n    # END SOLUTION 1.2\n    return x\n"
    assert handout.hand_out("f.py", text) == "def f(x):\n    # TODO (1.2): double\n    return x\n"


def test_a_region_at_the_end_of_a_function_raises():
    text = "def f(x):\n    # BEGIN SOLUTION 1.2: double\n    return 2 * x\n    # END SOLUTION 1.2\n"
    assert handout.hand_out("f.py", text) == (
        "def f(x):\n    # TODO (1.2): double\n"
        '    raise NotImplementedError("TODO (1.2): double")\n')


def test_a_line_of_the_solution_that_stands_elsewhere_is_refused(tmp_path):
    reference = {"a.py": "# BEGIN SOLUTION 1.2: x\nsecret = 1\n# END SOLUTION 1.2\n",
                 "README.md": "hint:\n    secret = 1\n"}
    regions = {"a.py": handout.find_regions("a.py", reference["a.py"].split("\n"))}
    given = {"a.py": "# TODO\n", "README.md": "", "other": "secret = 1\n"}
    reference["README.md"] = ""
    with pytest.raises(handout.HandoutError, match="other:1: a line of the solution would survive"):
        handout.check_nothing_survives(reference, given, regions, ())


def test_a_signature_that_would_change_is_refused():
    text = "# BEGIN SOLUTION 1.2: x\ndef f(a):\n    pass\n# END SOLUTION 1.2\ndef g(b):\n    pass\n"
    regions = {"a.py": handout.find_regions("a.py", text.split("\n"))}
    with pytest.raises(handout.HandoutError, match="a.py:5: g would change"):
        handout.check_python({"a.py": text}, {"a.py": "def g(c):\n    pass\n"}, regions)
