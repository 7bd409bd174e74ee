"""The table of problems, and every place in the tree that must agree with it.
Each failure says in a sentence what is still to be done after a change of the table."""

import ast
import importlib
import json
import re
from pathlib import Path

from grader import child  # noqa: F401  (registers all tests)
from grader import grading
import pytest
from grader.graded import CASES
from planted_bugs import BUGS
from problems import FULL_SCORE, GRADED, PROBLEMS

HERE = Path(__file__).resolve().parent
ROOT = grading.HERE.parents[2]
README, TEXT = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "hw1/README.md"))
NUMBERS = list(dict.fromkeys(problem.number for problem in PROBLEMS))
TO_WRITE = [number for number in NUMBERS if number != "1.1"]  # which is given
RECORDED = json.loads(grading.ANSWERS.read_text(encoding="utf-8"))["answers"]
RANGE = f"problems {GRADED[0].number} to {GRADED[-1].number}"


def points(number):
    return sum(problem.points for problem in PROBLEMS if problem.number == number)


def by_hand(number):
    return any(problem.by_hand for problem in PROBLEMS if problem.number == number)


def test_numbers_ascend_keys_differ_and_what_a_problem_needs_comes_before_it():
    assert NUMBERS == sorted(NUMBERS)
    assert len({problem.key for problem in PROBLEMS}) == len(PROBLEMS)
    for problem in PROBLEMS:
        for needed in problem.needs:
            assert needed in NUMBERS[:NUMBERS.index(problem.number)], (
                f"problems.py: {problem.key} needs {needed}, which is no problem before it")


def test_readme_has_a_row_for_each_problem_with_its_points():
    wanted = [(number, f"{points(number)}{', by hand' * by_hand(number)}") for number in TO_WRITE]
    found = re.findall(r"^\| (\d[\d.]*) [^|]+\| ([^|]+) \|", README, re.MULTILINE)
    assert found == wanted, f"README.md, the table of problems: {difference(found, wanted)}"


def test_the_text_has_a_part_for_each_problem_with_its_points():
    wanted = [(number, f"{points(number)} points{', by hand' * by_hand(number)}")
              for number in TO_WRITE]
    found = [part for part in re.findall(
        r"^### Problem (\d[\d.]*): .*\(([^()]+)\)$", TEXT, re.MULTILINE)
             if part[0] in TO_WRITE or part[0] not in NUMBERS]
    assert found == wanted, f"hw1/README.md, the parts: {difference(found, wanted)}"


@pytest.mark.parametrize("file, text", [("README.md", README), ("hw1/README.md", TEXT)])
def test_each_report_that_is_shown_has_titles_and_points_of_the_table(file, text):
    wanted = {(problem.number, problem.title, str(problem.points)) for problem in PROBLEMS}
    shown = re.findall(r"^(\d[\d.]*) +(\S.*?) \.\.+ [\d-]+/(\d+)$", text, re.MULTILINE)
    for number, title, full in shown:
        assert (number, title, full) in wanted, (
            f"{file}: it shows a report with {number} {title} of {full} points; problems.py has not")


def difference(found, wanted):
    """In words, the first line that a list of (number, points) lacks or has too much."""
    for line in wanted:
        if line not in found:
            return f"a line for {line[0]} with {line[1]} is missing; found {found}"
    return f"expected {wanted}, found {found}"


@pytest.mark.parametrize("file, words", [
    ("README.md", f"grades {RANGE}: {FULL_SCORE}/{FULL_SCORE} when all is done"),
    ("hw1/README.md", f"grades {RANGE}, for {FULL_SCORE} points"),
    ("grade.sh", f"score {RANGE}, or only those named"),
])
def test_the_range_of_problems_and_the_full_score_are_told(file, words):
    text = " ".join((ROOT / file).read_text(encoding="utf-8").split())
    assert words in text, f'{file}: it must say "{words}"'


@pytest.mark.parametrize("number", TO_WRITE)
def test_the_reference_has_a_region_for_the_problem(number):
    mark = re.compile(rf"^ *# BEGIN SOLUTION {re.escape(number)}: ", re.MULTILINE)
    files = [path for folder in ("mytorch", "hw1") for path in (ROOT / folder).rglob("*.py")]
    assert any(mark.search(path.read_text(encoding="utf-8")) for path in files), (
        f"mytorch/: no '# BEGIN SOLUTION {number}: prompt' marks what students write of {number}")


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.key)
def test_the_reference_defines_what_the_table_names(problem):
    module, _, names = problem.defined.partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    assert found, f"problems.py: {problem.key} names {problem.defined}, which mytorch does not have"


def class_of(problem):
    """The file below mytorch/ and the class that the table names; "" for a function."""
    module, _, names = problem.defined.partition(":")
    name = names.partition(".")[0] if "." in names else ""
    return module.split(".", 1)[1].replace(".", "/") + ".py", name


LAYERS = sorted({class_of(problem) for problem in GRADED
                 if class_of(problem)[1] and not class_of(problem)[0].endswith("functional.py")})


@pytest.mark.parametrize("folder", sorted(HERE.glob("*_solution")), ids=lambda folder: folder.name)
@pytest.mark.parametrize("file, name", LAYERS)
def test_the_other_solutions_have_the_class_where_they_replace_its_file(file, name, folder):
    if (folder / file).exists():
        tree = ast.parse((folder / file).read_text(encoding="utf-8"))
        assert name in [node.name for node in tree.body if isinstance(node, ast.ClassDef)], (
            f"autograder/staff/tests/{folder.name}/{file}: there is no class {name}")


@pytest.mark.parametrize("problem", GRADED, ids=lambda problem: problem.key)
def test_the_problem_has_graded_tests(problem):
    assert any(case.key == problem.key for case in CASES.values()), (
        f"test_autograd.py or test_mlp.py: no test is @graded({problem.key!r}, ...)")


def test_every_graded_test_belongs_to_a_problem():
    stray = [case.name for case in CASES.values() if case.key not in {p.key for p in GRADED}]
    assert stray == [], f"problems.py has no problem for {', '.join(stray)}"


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.scored],
                         ids=lambda case: case.name)
def test_the_graded_test_has_recorded_answers(case):
    assert case.name in RECORDED, (
        f"answers.json: no answers to {case.name}; run python3 autograder/staff/record.py")


def test_nothing_else_has_recorded_answers():
    assert set(RECORDED) <= set(CASES), "answers.json: run python3 autograder/staff/record.py"


@pytest.mark.parametrize("number", [number for number in NUMBERS
                                    if number in {problem.number for problem in GRADED}])
def test_the_problem_has_planted_bugs(number):
    bugs = [bug.name for bug in BUGS if bug.number == number]
    assert len(bugs) >= 2, (
        f"autograder/staff/tests/planted_bugs.py: {number} needs two typical mistakes; has {bugs}")
