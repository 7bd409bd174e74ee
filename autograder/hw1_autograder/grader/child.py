"""What runs in the process of one problem: the student's code, called by the graded tests.
What comes out is sent as plain data; the parent judges it (grading.py)."""

import linecache
import sys
import warnings

import numpy as np

import test_autograd  # noqa: F401  (registers its tests in graded.CASES)
import test_mlp  # noqa: F401
from grader import notes  # noqa: F401
from grader import closer_look  # noqa: F401  (last, once all results are sent)
from grader.graded import CASES, Numbers, my
from grader.places import definition, describe_error, left_to_write, student_place
from grader.verdict import TO_WRITE
from problems import BY_KEY, OPERATORS

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
    todos = {str(i): plain(" ".join(todo)) for i, todo in enumerate(left_to_write(root))}
    if todos:
        send({"case": TO_WRITE, "results": todos})
    for case, given in drawn:
        first = note_first_warning(root)
        try:
            returned = case.function(given)
            send({"case": case.name, "results": plain_results(returned, case.key, root), **first})
        except BaseException as error:
            send({"case": case.name, "error": describe_error(error, root)})
    send({"done": definition(BY_KEY[key].defined, root)})


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
            results[label]["at"] = definition(code, root)
    return results


def code_in_question(problem, label):
    """What is to blame if the result ``label`` is wrong, as Problem.defined; "" for that one."""
    operators = {"+": "__add__", **{sign: name for sign, (_, name) in OPERATORS.items()}}
    if label[:5] in [f"a {sign} b" for sign in operators]:
        return "mytorch.tensor:Tensor." + operators[label[2]]
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


def note_first_warning(root):
    """Let warnings be shown and change nothing else, as when Python starts. A student's code may
    have made errors of them, for itself: log(0) of a test is not its mistake.

    Returns:
        dict: empty; gets a "warning" when NumPy first warns of inf or nan in a student's line.
    """
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning,
                     ResourceWarning):
        warnings.simplefilter("ignore", category)
    first = {}

    def show(message, category, filename, line, file=None, source=None):
        place = student_place(filename, line, root) if category is RuntimeWarning else ""
        if place and not first:
            first["warning"] = {"message": str(message)[:200], "place": place,
                                "source": linecache.getline(filename, line).strip()[:200]}
        show_as_ever(message, category, filename, line, file, source)

    show_as_ever = getattr(warnings.showwarning, "as_ever", warnings.showwarning)
    show.as_ever = show_as_ever
    warnings.showwarning = show
    return first
