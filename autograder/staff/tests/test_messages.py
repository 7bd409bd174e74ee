"""What a student's process says is read with suspicion: forms, names, sizes, places."""

import json
from pathlib import Path

import pytest

from grader import messages
from grader.places import student_place

RESULT = {"kind": "Tensor", "type": "ndarray", "dtype": "float64", "shape": [1], "values": [1.5]}


def read(*said):
    return messages.read([line if isinstance(line, bytes) else json.dumps(line).encode()
                          for line in said], {"test_a", "test_b"})


def test_results_and_errors_are_taken_over_by_the_name_of_the_test():
    error = {"type": "TypeError", "message": "m", "place": "p", "source": "s"}
    assert read({"case": "test_a", "results": {"r": RESULT}}, {"case": "test_b", "error": error}) == {
        "test_a": {"results": {"r": RESULT}}, "test_b": {"error": error}}


def test_the_first_message_of_a_test_counts():
    assert read({"case": "test_a", "results": {"r": RESULT}}, {"case": "test_a", "results": {}}) == {
        "test_a": {"results": {"r": RESULT}}}


@pytest.mark.parametrize("line", [
    b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"case":' * 20_000, b"null", b"7", b"[]",
    b"[" + b"{}," * 80_000 + b"{}]",
    {"case": "test_c", "results": {}}, {"case": ["test_a"], "results": {}},
    {"results": {"r": RESULT}}])
def test_a_line_of_any_other_form_is_passed_over(line):
    assert read(line) == {}


@pytest.mark.parametrize("message", [
    {}, {"results": [1]}, {"results": None}, {"error": 5}, {"error": [RESULT], "results": "x"},
    {"results": {str(n): RESULT for n in range(101)}}])
def test_of_a_message_that_holds_nothing_known_its_name_is_left(message):
    assert read({"case": "test_a", **message}) == {"test_a": {}}


def test_fields_that_are_unknown_or_of_another_type_are_left_out_and_long_texts_cut_off():
    got = read({"case": "test_a", "results": {
        "r": {**RESULT, "shape": "x", "values": {"a": 1}, "dtype": {}, "more": [1] * 1000},
        "s": 5, "t" * 5000: {"kind": "k" * 5000}}})["test_a"]["results"]
    assert got == {"r": {"kind": "Tensor", "type": "ndarray"}, "t" * 600: {"kind": "k" * 600}}
    got = read({"case": "test_a", "error": {"type": ["x"], "message": "m" * 5000, "cause": "c"}})
    assert got == {"test_a": {"error": {"message": "m" * 600}}}


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


@pytest.mark.parametrize("shape", [["x" * 50] * 4000, [1] * 33, [1.5], [True], [[1]]])
def test_a_shape_that_can_be_none_is_dropped(shape):
    result = {"kind": "Tensor", "type": "ndarray", "dtype": "float64", "shape": shape}
    line = json.dumps({"case": "test", "results": {"a": result}}).encode()
    assert messages.read([line], {"test"}) == {"test": {"results": {"a": {
        name: value for name, value in result.items() if name != "shape"}}}}
