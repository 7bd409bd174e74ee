"""What an exception, or the end of a process, means in plain words: the one table of it.
Works on plain data alone, as judge.py does: no student code runs here."""

import re
import signal

from grader.places import CHECKING, student_place
from problems import OPERATORS

PACKAGES = ("mytorch", "mytorch/nn", "mytorch/optim", "hw1")  # folders, not files
ARRAYS = "forward and backward of an operation compute with arrays, the .data of Tensors"

# Type of an exception, and its message, places and source, a line each (regular expressions) -> what
# it means, in plain words.
MEANINGS = (
    ("SystemExit", "", "the code called sys.exit() or exit(): remove the call"),
    ("SyntaxError|ValueError|UnicodeDecodeError", ".*(null bytes|[Nn]on-UTF-8|'utf-?8' codec|invalid "
     "non-printable character U\\+FEFF)", "the file is not plain text: save it as UTF-8"),
    ("SyntaxError|IndentationError|TabError", "", "Python cannot read this file"),
    ("RecursionError", "", "the code calls itself without end: does an operation use itself?"),
    ("_?ArrayMemoryError|MemoryError", "",
     "the code asked for more memory than the grader gives (2 GiB)"),
    ("EOFError", "", "there is nobody to type: remove input()"),
    ("ModuleNotFoundError", r"No module named '(?P<file>(mytorch|hw1)[\w.]*)'",
     "the file {file} is missing, or it is named differently"),
    ("ModuleNotFoundError", r"No module named '(?P<name>tensor|nn|optim|autograd_engine|"
     r"functional|module)\b", "write mytorch. before {name}, as in: from mytorch.tensor import Tensor"),
    ("ImportError", r"cannot import name '\w+' from partially initialized module",
     "the files import each other in a circle: {circle}"),
    ("ImportError", r"cannot import name '(?P<name>\w+)' from '(?P<file>(mytorch|hw1)[\w.]*)'",
     "{file} has no {name}"),
    ("AttributeError", r"(partially initialized )?module '(?P<file>(mytorch|hw1)[\w.]*)' has no "
     r"attribute '(?P<name>\w+)'", "{file} has no {name}, which this line asks for"),
    ("TypeError", "'module' object is not callable|.*got module",
     "a module is used as if it were a class: from mytorch.tensor import Tensor gives the class"),
    ("AttributeError", r"'(BackwardFunction|AccumulateGrad)' object has no attribute "
     r"'(backward|function|ctx)'",
     "a node is run by its apply: node.apply(grad)"),
    ("AttributeError", r"type object '(?P<name>\w+)' has no attribute 'apply'",
     "an operation is a Function: class {name}(Function)"),
    ("AttributeError", "'Tensor' object has no attribute '(next_functions|apply)'",
     "that is asked of a node: the node of a Tensor is its grad_fn"),
    ("AttributeError", r"'Tensor' object has no attribute '(forward|__name__)'",
     "Function.apply is called on the class: it needs @classmethod above it"),
    ("AttributeError", r"'Tensor' object has no attribute '(?P<name>\w+)'",
     "mytorch/tensor.py gives a Tensor no {name}"),
    ("AttributeError",
     r"'NoneType' object has no attribute 'data'.*\n.*\n.*?\b(?P<grad>\w+\.grad)\b",
     "{grad} is None: no gradient has reached it"),
    ("AttributeError", r"'(numpy\.)?ndarray' object has no attribute "
     "'(requires_grad|is_leaf|grad|grad_fn|backward)'",
     "this is an ndarray where a Tensor is needed"),
    ("AttributeError", r"'(tuple|list)' object has no attribute '(data|shape|T)'",
     "this is a tuple and not a Tensor; ctx.saved_tensors is one even if it holds one Tensor: "
     "(z,) = ctx.saved_tensors"),
    ("TypeError", r"(?P<name>[\w.]*\b(forward|backward|apply))\(\) (takes|missing|got multiple)",
     "{name} is called with other arguments than it has: forward takes (ctx, a, b, ...) and "
     "backward (ctx, grad_output), both with @staticmethod and without self; a node's apply "
     "takes (self, grad)"),
    ("TypeError", r"(?P<name>\w+)\(\) takes no arguments",
     "an operation is called by its apply: F.{name}.apply(...)"),
    ("AttributeError", r"'\w+' object has no attribute 'training'",
     "a Module says by is_train whether it is in training mode"),
    ("BdbQuit", "", "a breakpoint() is left in the code; to stop there, add --debug"),
    ("TypeError", r".*'(method|builtin_function_or_method)'|.*got method",
     "a method is used without its parentheses: x.T() is the transpose, x.T is not"),
    ("TypeError", r"unsupported operand type\(s\) for \^|.*'bitwise_xor'",
     "a power is ** in Python; ^ is something else"),
    ("TypeError", r"unsupported operand type\(s\) for (?P<name>[-+*/]): "
     r"'(?P<left>float|int|ndarray|numpy\.ndarray)' and 'Tensor'",
     "{left} {name} Tensor is left to the Tensor on the right, and mytorch/tensor.py need not know "
     "it: make both Tensors, or compute with .data"),
    ("TypeError", "bad operand type for unary -: 'Tensor'",
     "mytorch/tensor.py gives a Tensor no unary minus; " + ARRAYS),
    ("TypeError", r"unsupported operand type\(s\) for (?P<name>\S+?)(?: or pow\(\))?: "
     r"('Tensor' and '\w+'|'\w+' and 'Tensor')",
     "mytorch/tensor.py has no operator {name} for these two; " + ARRAYS),
    ("TypeError", "operand 'Tensor' does not support ufuncs",
     "NumPy does not compute with a Tensor; " + ARRAYS),
    ("TypeError", "NumPy cannot take a Tensor as an array",
     ".data belongs into operations: elsewhere no gradient comes back through it"),
    ("TypeError", r"save_for_backward: expected Tensors, got (ndarray|float|int)",
     "if that is an operand, the operator in mytorch/tensor.py must hand on Tensors, like +"),
    ("TypeError", r"(Function\.)?apply\(\) got an unexpected keyword argument",
     "apply takes all arguments by their position, without names"),
    ("TypeError", r"object of type 'Tensor' has no len\(\)",
     "x.shape[0] says how many rows x has"),
    ("AttributeError", r"'ContextManager' object has no attribute '(?P<name>\w+)'",
     "forward must keep it for backward: ctx.{name} = ..."),
    ("ValueError",
     r"not enough values to unpack \(expected \d+, got (?P<name>\d+)\).*\n.*\n.*saved_tensors",
     "forward has saved {name} Tensors for backward: ctx.save_for_backward(...)"),
    ("NameError", r"name '(?P<name>np|Tensor|Function)' is not defined",
     "the file does not import {name}"),
    (".*", r".*memoryview",
     "a memoryview is the .data of an ndarray: this is an ndarray where a Tensor is needed"),
)

# What NumPy warns of where the first inf or nan appears -> what happens there.
NOT_FINITE = (
    ("divide by zero encountered in log", "the logarithm of 0 is taken"),
    ("divide by zero", "a number is divided by 0"),
    (r"overflow encountered in (\w+)", "{} overflows"),
    (r"invalid value encountered in (\w+)", "nan comes out of {}"),
)


def explain_error(error, number=""):
    """An exception of the student's code, as plain data from places.describe_error, in words;
    ``number`` is that of the problem whose tests it ended."""
    kind, message = str(error.get("type")), without_addresses(error.get("message")).strip()
    first = shortened(message.splitlines()[0], 160) if message else ""
    if not kind:
        return [first]
    place, test = str(error.get("place") or ""), str(error.get("test") or "")
    lines = [f"{kind}: {first}" if first else kind]
    meaning = "" if test and not place else what_it_means(kind, message, error)
    if error.get("unwritten"):
        meaning = f"{str(error['unwritten'])[:60]} is not written"
    elif kind == "NotImplementedError" and order(todo_of(error)) > order(number):
        meaning = "this problem does not need that: something else leads there"
    lines += [meaning] if meaning else []
    if place:
        source = f":  {shortened(error['source'], 100)}" if error.get("source") else ""
        lines.append(f"at {place}{source}")
        if error.get("caller"):
            lines.append(f"called at {shortened(error['caller'], 130)}")
        elif test and str(error.get("source")).startswith("raise "):
            lines.append(f"in the test, {shortened(test, 130)}")
    elif test:
        lines = [what_a_test_got(kind, first), f"in the test, {shortened(test, 130)}"]
    if error.get("import"):
        lines.append(f"imported at {shortened(error['import'], 130)}")
    return lines


def todo_of(error):
    """The number of the problem that is to be written first, if that is why an exception was raised:
    by its TODO, or because Tensor lacks its operator; else ""."""
    kind, message = error.get("type"), str(error.get("message"))
    todo = re.match(r"TODO \((\d[\d.]*)\)", message)
    if todo and kind == "NotImplementedError":
        return todo.group(1)
    sign = re.match(r"unsupported operand type\(s\) for (\S+): 'Tensor' and 'Tensor'", message)
    if not sign or kind != "TypeError" or sign.group(1) not in OPERATORS:
        return ""
    return OPERATORS[sign.group(1)][0]


def order(number):
    """Problem numbers in the order of the homework: "1.1.2" comes before "1.2"."""
    return [int(part) for part in number.split(".") if part]


def without_addresses(message):
    """A message without the places in memory that Python names objects by, as in
    ``<Tensor object at 0x7f6e>``: they are others at each run."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(message))


def what_it_means(kind, message, error):
    """What an exception means, in plain words; empty if Python's own say it."""
    lines = message[:600], f"{error.get('place')} {error.get('caller')}", str(error.get("source"))
    text = "\n".join(line.replace("\n", " ") for line in lines)
    for kinds, pattern, words in MEANINGS:
        found = re.fullmatch(kinds, kind[:60]) and re.match(pattern, text)
        if found:
            parts = {"circle": str(error.get("circle") or "")[:200], **found.groupdict()}
            file = parts.get("file", "").replace(".", "/")
            parts["file"] = file + ("/" if file in PACKAGES else ".py")
            return words.format(**parts)
    return ""


def what_a_test_got(kind, message):
    """An exception that a line of a test raised, on what the student's code had returned."""
    missing = re.match(r"'([\w.]+)' object has no attribute '(\w+)'", message)
    if missing and missing.group(1) != "Tensor":
        got = missing.group(1).replace("NoneType", "None").replace("numpy.", "")
        return f"the code returned {got} where the test needs a Tensor, for .{missing.group(2)}"
    meaning = what_it_means(kind, message, {}).replace("this line", "the test")
    return meaning or f"the test cannot go on with what the code returned ({kind}: {message})"


def first_not_finite(warning):
    """Where the first inf or nan of a test appears, as plain data from child.Warnings, in words;
    "" if that is not known."""
    for pattern, words in NOT_FINITE:
        found = re.match(pattern, str(warning.get("message")))
        if found and warning.get("place"):
            source = shortened(str(warning.get("source")), 100)
            return f"{words.format(*found.groups())} at {warning['place']}:  {source}"
    return ""


def shortened(text, most):
    """``text`` of at most that many characters; what is longer ends after a word, with dots."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def loop_of_the_student(outcome):
    """The innermost line that was under way, passing over functions of the handout that a loop
    calls; "" if none is the student's."""
    places = [(student_place(file, line, outcome.root), function)
              for file, line, function in outcome.stuck_at]
    places = [(place, function) for place, function in places if place]
    own = [place for place, function in places if function not in (*CHECKING, "apply", "__init__")
           and not place.startswith("mytorch/tensor.py")]
    return (own + [place for place, _ in places] + [""])[0]


# Kind of an Outcome's ending -> why there are no more results, in words.
ENDINGS = {
    "processor": "used up its {limit:g} s of processor time and was stopped{place}: an endless loop?",
    "time": "had not ended after {limit:g} s by the clock and was stopped{place}: does it sleep, or "
            "wait for something?",
    "import": "importing the code takes more than {limit:g} s{place}: an endless loop outside of "
              "all functions?",
    "done": "no result came back for this test",
    "flood": "the results are far too large",
    "never": "not run: the problems before it used up the time for the whole grading",
    "signal": "the process was ended by signal {number}{place}",
    "exit": "the process ended in the middle (exit status {number}): a call of os._exit()?"}


def explain_ending(outcome):
    """Why a process ended before all its tests were done, in words."""
    kind, _, number = outcome.ending.partition(" ")
    stuck_at = loop_of_the_student(outcome)
    if kind == "signal":
        number = f"{number} ({signal.strsignal(int(number)).lower()})"
    return ENDINGS[kind].format(limit=outcome.limit, number=number,
                                place=f", at {stuck_at}" if stuck_at else "")
