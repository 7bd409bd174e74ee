"""What runs in the process of one problem: the student's code, called by the graded tests.
What comes out is sent as plain data; the parent judges it (grading.py)."""

import linecache
import sys
import traceback

import numpy as np

import test_autograd  # noqa: F401  (registers its tests in graded.CASES)
import test_mlp  # noqa: F401
from graded import CASES
from places import student_place
from problems import BY_KEY

ARRAY_LIMIT = 10_000  # entries; a larger array comes back as its shape alone


def run_task(key, seed, root, send):
    """Run all tests of a problem: one message for each, and a last one when all have run.

    Args:
        key (str): the problem's.
        seed (int): of the inputs.
        root (Path): the folder that holds the student's ``mytorch``.
        send: takes a message, a dict.
    """
    for name in [name for name in sys.modules if name.split(".")[0] in ("mytorch", "hw1")]:
        del sys.modules[name]  # a parent that tests the library has them; ours never does
    np.random.seed(seed)
    drawn = [(case, case.draw(seed)) for case in CASES.values() if case.key == key]
    for case, given in drawn:  # all drawn before student code can change np.random
        try:
            returned = case.function(given)
            send({"case": case.name, "results": {k: plain(v) for k, v in returned.items()}})
        except BaseException as error:
            send({"case": case.name, "error": describe_error(error, root)})
    send({"done": definition_place(BY_KEY[key].defined, root)})


def plain(value):
    """What a student's code returned, as data that JSON can carry and a parent can trust."""
    if value is None:
        return {"kind": "None"}
    if isinstance(value, (bool, np.bool_)):
        return {"kind": "bool", "value": bool(value)}
    if type(value).__name__ != "Tensor" or not hasattr(value, "data"):
        return {"kind": type(value).__name__, "value": value if type(value) is int else None}
    array = value.data
    if type(array) is not np.ndarray:
        return {"kind": "Tensor", "type": type(array).__name__}
    described = {"kind": "Tensor", "type": "ndarray", "dtype": str(array.dtype),
                 "shape": list(array.shape)}
    if array.size <= ARRAY_LIMIT and array.dtype.kind in "fiub":
        described["values"] = array.astype(np.float64).ravel().tolist()
    return described


def describe_error(error, root):
    """Type, message and the student's own line of an exception, without the grader's frames."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    place = source = ""
    if isinstance(error, SyntaxError) and error.filename:
        place = student_place(error.filename, error.lineno or 0, root)
        source = (error.text or "").strip()
        message = error.msg
    else:
        for frame, line in traceback.walk_tb(error.__traceback__):
            here = student_place(frame.f_code.co_filename, line, root)
            if here:
                place = here
                source = linecache.getline(frame.f_code.co_filename, line).strip()
    return {"type": type(error).__name__, "message": message[:600], "place": place,
            "source": source[:200]}


def definition_place(defined, root):
    """Where the student defines ``module:Class.name``, as ``file:line``; empty if not found."""
    module, _, names = defined.partition(":")
    try:
        found = sys.modules[module]
        for name in names.split("."):
            found = getattr(found, name)
        return student_place(found.__code__.co_filename, found.__code__.co_firstlineno, root)
    except BaseException:
        return ""
