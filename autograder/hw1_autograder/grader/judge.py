"""Decides whether what came back is right, says how it is wrong, and finds the mistake behind it.
Works on plain data alone: no student code runs here."""

import importlib.util
import re
from pathlib import Path

import numpy as np

from grader.errors import without_addresses

AFTERWARDS = ", afterwards"  # ends the label of an input, looked at again after the call
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
        name, is_input, _ = label.partition(AFTERWARDS)
        if is_left_out(label, answer, results):
            continue
        got = results.get(label)
        complaint = f"{label}: nothing came back" if not isinstance(got, dict) else (
            compare(name if is_input else label, answer, got, **tolerance))
        if complaint and is_input:
            changed[label] = says_changed(name)
        elif complaint:
            complaints[label] = complaint
    return {**changed, **complaints}


def is_left_out(label, answer, results):
    """Whether there is no result, and there need not be one."""
    return label not in results and isinstance(answer, dict) and bool(answer.get("optional"))


def says_changed(name):
    """The complaint about an input that a call should leave as it was before."""
    what = "backward changed the gradient it was given" if name == "upstream gradient" else (
        f"forward changed its input {name}")
    return what + ", in place: make a new array instead"


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
    if got.get("type") != "ndarray":
        return f"{label}: expected a Tensor with an ndarray as data, got {describe(got)}"
    right, values = arrays_of(answer, got)
    if values is None:
        return f"{label}: expected numbers of shape {right.shape}, got {describe(got)}"
    return numbers.compare(label, right, values, **tolerance)


def describe(got):
    """A result that is not an array of numbers, in a few words."""
    kind = str(got.get("kind"))[:40]
    if kind in ("bool", "int"):
        return str(got.get("value"))[:40]
    if kind == "Tensor" and got.get("type") == "ndarray":
        return f"a Tensor of shape {tuple(got.get('shape', ()))}, dtype {got.get('dtype')}"
    if kind == "Tensor":
        return f"a Tensor whose data is {str(got.get('type'))[:40]}"
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


def mistakes_that_fit(mistakes, tests):
    """The recorded mistakes with which all results of a problem agree, and those that a result
    refutes. One that fits a single result may do so by chance.

    Args:
        mistakes (list): as recorded: dicts with "says", "results" and "errors".
        tests (list): triples of a test's name, ``expected`` and ``message``, as for judge_case.

    Returns:
        tuple: two lists of mistakes.
    """
    fit, refuted = [], []
    for mistake in mistakes:
        agreed = all(agrees(mistake, *test) for test in tests)
        (fit if agreed else refuted).append(mistake)
    return fit, refuted


def agrees(mistake, name, expected, message):
    """Whether a test's results are what a recorded mistake gives; where nothing is recorded for
    it, it changes nothing. An exception, with the mistake or here, speaks against nothing."""
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
    if got.get("type") != "ndarray":
        return False
    wanted, values = arrays_of(made, got)
    if values is None or values.shape != wanted.shape:
        return False
    finite = np.isfinite(wanted)
    return bool((np.isfinite(values) == finite).all()
                and numbers.close(wanted[finite], values[finite], **tolerance).all())


def names_of(mistakes, name, wrong, error, message):
    """What mistakes that fit a problem are called, of those that explain what is wrong in one test.

    Args:
        mistakes (list): as recorded.
        name (str): of the test.
        wrong (dict): label of a wrong result → complaint.
        error (dict): the exception that ended the test instead, as plain data, or empty.
        message (dict): of the test.

    Returns:
        list of str: at most MOST; empty if more would fit.
    """
    names = {}
    for mistake in mistakes:
        made, raised = mistake["results"].get(name, {}), mistake["errors"].get(name)
        same_error = bool(error) and bool(raised) and signature(error) == signature(raised)
        explains = [label for label in wrong if label in made and gives(
            made[label], message["results"][label], **tolerance_for(message["results"]))]
        if same_error or explains:
            names[mistake["says"]] = None
    return list(names) if len(names) <= MOST else []


def signature(error):
    """What two exceptions have in common if they are the same one."""
    message = re.sub(r" \(defined at [^)]*\)", "", without_addresses(error.get("message")))
    return str(error.get("type")), message.strip()


def description(answer, got, **tolerance):
    """How wrong numbers come from the right ones, in words that are true whatever the reason;
    empty if in no simple way.

    Args:
        answer (dict): what should have come, "shape" and "values".
        got (dict): what came.
        **tolerance: as for compare.
    """
    if not isinstance(answer, dict) or got.get("type") != "ndarray":
        return ""
    right, values = arrays_of(answer, got)
    if values is None or not np.isfinite(values).all():
        return ""
    return numbers.looks_like(right, values, **tolerance)
