"""What runs in the process of one problem: the student's code, called by the graded tests.
What comes out is sent as plain data; the parent judges it (grading.py)."""

import linecache
import os
import re
import sys
import traceback
import warnings

import numpy as np

import test_autograd  # noqa: F401  (registers its tests in graded.CASES)
import test_mlp  # noqa: F401
from grader import notes  # noqa: F401
from grader import clues  # noqa: F401  (last: clues are looked for once all results are sent)
from grader.graded import CASES, Numbers, WrongReturn, my
from grader.places import student_place, without_paths
from problems import BY_KEY

LAYERS = re.compile(r"mytorch/(nn/(?!functional|module|sequential)|optim/)")
# What stands between a line that uses an operation and the operation itself.
BETWEEN = re.compile(r"mytorch/(tensor|autograd_engine|nn/module|nn/sequential)\.py")
# Functions of the handout that only check what another line gave them: that line is the place.
CHECKING = ("compute", "check_tensors", "check_saved", "check_gradients", "check_leaf",
            "check_arguments", "check_output", "check_stored", "check_grad", "complain",
            "save_for_backward", "as_operand", "to_array")
ARRAY_LIMIT = 500  # entries; a larger array comes back as its shape alone


def prepare(key, seed, root):
    """Draw the inputs of a problem's tests, then import the student's code, in this order: student
    code can change np.random. Importing has a time limit of its own.

    Args:
        key (str): the problem's.
        seed (int): of the inputs.
        root (Path): the folder that holds the student's ``mytorch``.

    Returns:
        tuple: what ``run_task`` takes.
    """
    for name in [name for name in sys.modules if name.split(".")[0] in ("mytorch", "hw1")]:
        del sys.modules[name]  # a parent that tests the library has them; ours never does
    np.random.seed(seed)
    drawn = [(case, case.draw(seed)) for case in CASES.values() if case.key == key]
    my.import_all()
    return key, drawn


def run_task(prepared, root, send):
    """Run all tests of a problem: one message for each, and a last one when all have run.

    Args:
        prepared (tuple): from ``prepare``.
        root (Path): the folder that holds the student's ``mytorch``.
        send: takes a message, a dict.
    """
    key, drawn = prepared
    for case, given in drawn:
        reset_warnings()
        try:
            returned = case.function(given)
            send({"case": case.name, "results": plain_results(returned, case.key, root)})
        except BaseException as error:
            send({"case": case.name, "error": describe_error(error, root)})
    send({"done": definition_place(BY_KEY[key].defined, root)})


def plain_results(returned, key, root):
    """What a test returned, as plain data by label; with "at" where a part of the code is in
    question that is not the problem's own."""
    results = {}
    for label, value in returned.items():
        results[label] = plain(value)
        if my.keeps_float32:  # what is float64 by now was computed from numbers that were not
            results[label]["dtype"] = "float32"
        code = code_in_question(BY_KEY[key], label)
        if code:
            results[label]["at"] = definition_place(code, root)
    return results


def code_in_question(problem, label):
    """What is to blame if the result ``label`` is wrong, as Problem.defined; "" for that one."""
    operators = {"a + b": "__add__", "a - b": "__sub__", "a * b": "__mul__", "a / b": "__truediv__"}
    if label[:5] in operators:
        return "mytorch.tensor:Tensor." + operators[label[:5]]
    if label.startswith("output of the Sequential"):
        return "mytorch.nn.sequential:Sequential.forward"
    if label == "output of forward":
        return problem.defined.replace(".backward", ".forward")
    if problem.number == "1.2" and label.endswith((".requires_grad", ".is_leaf")):
        return "mytorch.autograd_engine:Function.apply"
    return ""


def plain(value):
    """What a student's code returned, as data that JSON can carry and a parent can trust."""
    if value is None:
        return {"kind": "None"}
    if isinstance(value, (bool, np.bool_)):
        return {"kind": "bool", "value": bool(value)}
    if type(value) is str:
        return {"kind": "str", "value": value[:300]}
    if isinstance(value, Numbers):
        kind = "Numbers"
    elif hasattr(value, "data") and hasattr(value, "requires_grad"):
        kind = "Tensor"  # or a class derived from it, whatever its name
    else:
        return {"kind": type(value).__name__, "value": value if type(value) is int else None}
    array = value.data
    if not isinstance(array, (np.ndarray, np.generic)):
        return {"kind": kind, "type": type(array).__name__}
    array = np.asarray(array)  # a single number of NumPy's is as good as an array of shape ()
    described = {"kind": kind, "type": "ndarray", "dtype": str(array.dtype),
                 "shape": list(array.shape)}
    if array.size <= ARRAY_LIMIT and array.dtype.kind in "fiub":
        described["values"] = array.astype(np.float64).ravel().tolist()
    return described


def reset_warnings():
    """Let warnings be shown and change nothing else, as when Python starts. A student's code may
    have made errors of them, for itself: log(0) of a test is no fault of its own."""
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
                     ResourceWarning):
        warnings.simplefilter("ignore", category)


def describe_error(error, root):
    """An exception as plain data: "type", "message"; the innermost of the student's own lines as
    "place" and "source"; as "caller" the line that used that operation, if there is one; and the
    line of the test as "test". Frames of the grader are left out."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    described = {"type": type(error).__name__, "place": "", "source": ""}
    if isinstance(error, WrongReturn):
        described["type"] = ""
    if isinstance(error, SyntaxError) and error.filename:
        described["place"] = student_place(error.filename, error.lineno or 0, root)
        described["source"] = (error.text or "").strip()[:200]
        message = error.msg
    else:
        frames = list(traceback.walk_tb(error.__traceback__))
        try:
            described.update(where(frames, root), **named_by(frames, message, root))
        except BaseException:  # objects of a student's can do anything when looked at
            pass
    described["message"] = without_paths(message[:2000], root)[:600]
    return described


def where(frames, root):
    """The lines of a traceback that are worth showing; see describe_error."""
    lines, checking, found = [], [], {}
    for frame, number in frames:
        filename = frame.f_code.co_filename
        source = linecache.getline(filename, number).strip()[:200]
        place = student_place(filename, number, root)
        if place:
            own = checking if frame.f_code.co_name in CHECKING else lines
            own.append((place, source))
        elif os.path.basename(filename).startswith(("test_", "sandbox")):
            found["test"] = f"{os.path.basename(filename)}:{number}:  {source}"
    lines = lines or checking
    if not lines:
        return found
    place, source = lines[-1]
    callers = [f"{p}:  {s}" for p, s in lines[:-1] if p != place and not BETWEEN.match(p)]
    if callers and not LAYERS.match(place):
        found["caller"] = callers[-1]
    return {**found, "place": place, "source": source}


def named_by(frames, message, root):
    """What only the frames can tell: as "unwritten" the method that a class of the student's
    lacks, such as "Exp.backward"; as "circle" the files that import each other."""
    if "partially initialized module" in message:
        files = [student_place(frame.f_code.co_filename, 0, root)[:-2] for frame, _ in frames
                 if frame.f_code.co_name == "<module>"]
        return {"circle": " -> ".join(name for name in files if name)[:200]}
    last = frames[-1][0].f_code if frames else None
    if last is None or last.co_name not in ("forward", "backward", "step"):
        return {}
    for frame, _ in reversed(frames[:-1]):
        held = list(frame.f_locals.values())
        held += [part for value in held for part in [type(value), *getattr(
            value, "__dict__", {}).values()] if not isinstance(value, type)]
        for cls in held:
            method = getattr(cls, last.co_name, None) if isinstance(cls, type) else None
            if getattr(method, "__code__", None) is last and last.co_name not in vars(cls):
                return {"unwritten": f"{cls.__name__}.{last.co_name}"}
    return {}


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
