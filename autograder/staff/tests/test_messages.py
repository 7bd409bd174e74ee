"""What a student's process says is read with suspicion: forms, names, sizes, places."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader import grading
from grader.places import student_place
from grader.verdict import TO_WRITE, Verdict, cases_of
from problems import BY_KEY

RESULT = {"kind": "Tensor", "type": "ndarray", "dtype": "float64", "shape": [1], "values": [1.5]}
ANSWERS = grading.RecordedAnswers()
ANSWERS.load()


def read(*said):
    return grading.read([line if isinstance(line, bytes) else json.dumps(line).encode()
                         for line in said], {"test_a", "test_b"})


def test_the_first_message_of_each_test_is_taken_over_by_its_name():
    first, other = {"case": "test_a", "results": {"r": RESULT}}, {"case": "test_b", "error": {}}
    assert read(first, other, {"case": "test_a", "results": {}}) == {"test_a": first, "test_b": other}


@pytest.mark.parametrize("line", [
    b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"case":' * 20_000, b"null", b"7", b"[]",
    b"[" + b"{}," * 80_000 + b"{}]",
    {"case": "test_c", "results": {}}, {"case": ["test_a"], "results": {}},
    {"results": {"r": RESULT}}])
def test_a_line_of_any_other_form_is_passed_over(line):
    assert read(line) == {}


LONG = "x" * 5000
GOT = [{"kind": LONG}, {**RESULT, "dtype": LONG, "shape": [2]}, {**RESULT, "shape": LONG},
       {**RESULT, "type": {}}, *({**RESULT, "shape": shape} for shape in (
           "x", [LONG] * 40, [1] * 33, [1.5], [True], [[1]], {"a": 1})),
       *({**RESULT, "values": values} for values in ("x", {"a": 1}, [LONG], [[1]], [], None))]


@pytest.mark.parametrize("part", [
    {}, {"results": [1]}, {"results": None}, {"error": 5}, {"error": [RESULT], "results": "x"},
    {"results": {str(n): RESULT for n in range(101)}}, {"error": {"type": ["x"], "message": LONG}},
    {"error": {"type": "TypeError", "message": LONG, "place": [LONG], "cause": {}}},
    *({"results": {"output of forward": got, "gradient of a": got}} for got in GOT),
    *({"results": {"output of forward": RESULT}, "warning": warning} for warning in (
        "x", [1], {"message": {}, "place": LONG}))])
def test_a_message_of_any_form_costs_its_problem_and_is_told_in_short_lines(part):
    problem = BY_KEY["subtest"]
    outcome = SimpleNamespace(defined_at="", ending="done", limit=1.0, stuck_at=[], root=Path(), cases={
        TO_WRITE: part, **{case.name: part for case in cases_of(problem)}})
    verdict = Verdict(problem, outcome, ANSWERS)
    assert not verdict.passed and verdict.points == 0
    assert verdict.shown in verdict.complaints and len(verdict.text()) < 8000


def test_a_number_of_5000_digits_is_infinite():
    line = b'{"case": "test_a", "results": {"r": {"values": [' + b"9" * 5000 + b', -1, 1e999]}}}'
    assert read(line)["test_a"]["results"]["r"]["values"] == [float("inf"), -1, float("inf")]


@pytest.mark.parametrize("filename, place", [
    ("/root/of/it/mytorch/nn/linear.py", "mytorch/nn/linear.py:7"),
    ("/root/of/it/hw1/mnist.py", "hw1/mnist.py:7"),
    ("/root/of/it/autograder/runner.py", ""), ("/root/of/its/mytorch/tensor.py", ""),
    ("/root/of/it/mytorch/../autograder/runner.py", ""), ("mytorch/tensor.py", ""),
    ("/usr/lib/python3/json.py", ""), ("/root/of/it", ""), ("", ""), ("\0", "")])
def test_a_place_is_compared_as_text_and_never_looked_up(filename, place):
    assert student_place(filename, 7, Path("/root/of/it")) == place


def test_a_place_is_short():
    assert len(student_place("/root/mytorch/" + "x" * 10_000, 7, Path("/root"))) == 200
