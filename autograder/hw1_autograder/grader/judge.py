"""Decides whether what came back is right, says how it is wrong, and finds the mistake behind it.
Works on plain data alone: no student code runs here."""

import importlib.util
import re
from pathlib import Path

import numpy as np

from grader.errors import first_not_finite, without_addresses

AFTERWARDS = ", afterwards"  # ends the label of an input, looked at again after the call
THAT_IS = "that is "  # begins what is said of numbers in a simple relation to the right ones
MOST = 3  # mistakes that are named where several give the same results

# Of the third solution of staff/tests, all in float32, no result is off by a twentieth of this.
IN_FLOAT32 = dict(relative=1e-4, absolute=1e-5, of_largest=1e-5)

LIBRARY = Path(__file__).resolve().parents[3] / "mytorch"  # the grader's own, not the student's


def load_alone(name):
    """A file of the grader's own mytorch, without the rest of it; ImportError if it is gone."""
    if not (LIBRARY / f"{name}.py").is_file():
        raise ImportError(f"mytorch/{name}.py is missing; put back the one that you were given")
    spec = importlib.util.spec_from_file_location(f"grader_{name}", str(LIBRARY / f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


numbers = load_alone("gradient_check")


def judge_case(expected, message):
    """Compare one test's results with its answers.

    Args:
        expected (dict): label → answer: None, True, False, or a dict with "shape" and "values".
        message (dict): the child's "results" for the test.

    Returns:
        dict: label of a wrong result → complaint, the most telling first; empty if all is right.
    """
    results = message.get("results")
    if not isinstance(results, dict):
        return {"": "the test returned nothing"}
    tolerance, changed, complaints = tolerance_for(results), {}, {}
    for label, answer in expected.items():
        if is_left_out(label, answer, results):
            continue
        got, (name, is_input, _) = results.get(label), label.partition(AFTERWARDS)
        complaint = f"{label}: nothing came back" if not isinstance(got, dict) else (
            compare(label, answer, got, **tolerance))
        if complaint and is_input:
            changed[label] = ("backward changed the gradient it was given"
                              if name == "upstream gradient" else
                              f"forward changed its input {name}") + ", in place: make a new array instead"
        elif complaint:
            complaints[label] = complaint
    return {**changed, **complaints}


def described(wrong, expected, message):
    """The complaints about one test, each with what else is known of the numbers: a simple relation
    to the right ones, and of inf or nan the line in which the first appears."""
    lines, results = [], message.get("results") or {}
    not_finite = first_not_finite(message.get("warning") or {})
    for label, complaint in wrong.items():
        lines.append(complaint)
        got, right, values = results.get(label) or {}, None, None
        if ": expected" in complaint and isinstance(expected[label], dict):
            right, values = arrays_of(expected[label], got)
        if values is None:
            continue
        if np.isfinite(values).all():
            known = numbers.looks_like(right, values, **tolerance_for(results))
            lines += [THAT_IS + known] if known else []
        elif not_finite:
            lines.append(not_finite)
            not_finite = ""
    return lines


def is_left_out(label, answer, results):
    """Whether there is no result, and there need not be one."""
    return label not in results and isinstance(answer, dict) and bool(answer.get("optional"))


def tolerance_for(results):
    """The tolerance for one test's results: float32's for all where one came back in float32, as
    what is float64 by then may have been computed from it."""
    in_float32 = any(isinstance(got, dict) and got.get("dtype") == "float32"
                     for got in results.values())
    return IN_FLOAT32 if in_float32 else {}


def compare(label, answer, got, **tolerance):
    """The complaint about one result ``got``, plain data from child.plain; "" if it is right.
    ``tolerance`` as for mytorch.gradient_check.compare."""
    if answer is None or isinstance(answer, bool):
        expected = {"kind": "None"} if answer is None else {"kind": "bool", "value": answer}
        if got.get("kind") == expected["kind"] and got.get("value") == expected.get("value"):
            return ""
        return f"{label}: expected {answer}, got {describe(got)}"
    if got.get("kind") not in ("Tensor", "Numbers"):
        return f"{label}: expected a Tensor, got {describe(got)}"
    right, values = arrays_of(answer, got)
    if values is None:
        return f"{label}: expected numbers of shape {right.shape}, got {describe(got)}"
    return numbers.compare(label, right, values, **tolerance)


def describe(got):
    """A result that is not an array of numbers, in a few words."""
    kind, value, data, dtype, shape = (
        str(got.get(name))[:100] for name in ("kind", "value", "type", "dtype", "shape"))
    if kind in ("bool", "int"):
        return value
    if kind == "Tensor":
        shape = shape.replace("[", "(").replace("]", ")")
        return f"a Tensor whose data is {data}" if data != "ndarray" else (
            f"a Tensor of shape {shape}, dtype {dtype}")
    return kind


def arrays_of(answer, got):
    """What is right and what came, as float64 arrays; None for what came if it is not numbers. Of
    bare Numbers the shape does not matter."""
    bare = got.get("kind") == "Numbers"
    right = as_array(answer).ravel() if bare else as_array(answer)
    try:
        return right, as_array(got)
    except (TypeError, ValueError, KeyError, OverflowError):
        return right, None


def as_array(plain):
    """The float64 array of a dict with "shape" and "values", None among these for nan; raises if
    they are not such."""
    shape = tuple(plain["shape"])
    values = plain["values"]
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise ValueError("not a shape")
    if not all(type(v) in (int, float) or v is None for v in values):
        raise ValueError("not numbers")
    return np.array(values, dtype=np.float64).reshape(shape)


# Names of mistakes, from what the planted bugs gave when they were recorded.


def agrees(mistake, name, expected, message):
    """Whether a test's results are what a recorded mistake gives; where nothing is recorded for
    it, it changes nothing. An exception, with the mistake or here, speaks against nothing.

    Args:
        mistake (dict): as recorded, with "says", "results" and "errors".
        name (str): of the test; ``expected`` and ``message`` are as for judge_case.
    """
    results, made = message.get("results"), mistake["results"].get(name, {})
    if not isinstance(results, dict) or name in mistake["errors"]:
        return True
    tolerance = tolerance_for(results)
    return all(isinstance(results.get(label), dict) and gives(
        made.get(label, answer), results[label], **tolerance)
        for label, answer in expected.items() if not is_left_out(label, answer, results))


def gives(made, got, **tolerance):
    """Whether the result ``got`` is what a mistake makes of it, as recorded: an answer, in whose
    values None is inf or nan; or the kind of what is no such thing."""
    if not isinstance(made, dict):
        return not compare("", made, got, **tolerance)
    if "kind" in made:
        return all(got.get(field) == value for field, value in made.items())
    wanted, values = arrays_of(made, got)
    if values is None or values.shape != wanted.shape:
        return False
    finite = np.isfinite(wanted)
    return bool((np.isfinite(values) == finite).all()
                and numbers.close(wanted[finite], values[finite], **tolerance).all())


def names_of(mistakes, name, wrong, message):
    """What mistakes that fit a problem are called, of those that explain what is wrong in one test:
    its results, or the exception that ended it.

    Args:
        mistakes (list): as recorded.
        name (str): of the test.
        wrong (dict): label of a wrong result → complaint.
        message (dict): of the test.

    Returns:
        list of str: at most MOST; empty if more would fit.
    """
    error, results = message.get("error"), message.get("results")
    names = {}
    for mistake in mistakes:
        made, raised = mistake["results"].get(name, {}), mistake["errors"].get(name)
        if error and raised and signature(error) == signature(raised) or any(
                gives(made[label], results[label], **tolerance_for(results))
                for label in wrong if label in made):
            names[mistake["says"]] = None
    return list(names) if len(names) <= MOST else []


def signature(error):
    """What two exceptions have in common if they are the same one. What RecursionError says depends
    on where the limit was met, and on the Python."""
    if error.get("type") == "RecursionError":
        return "RecursionError", ""
    message = re.sub(r" \(defined at [^)]*\)", "", without_addresses(error.get("message")))
    return str(error.get("type")), message.strip()
