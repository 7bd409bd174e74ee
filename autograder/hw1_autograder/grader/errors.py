"""Says in words why a student's code raised an exception or ended, and what may have caused it.
Works on plain data alone, as judge.py does: no student code runs here."""

import re

from grader.places import student_place

# Operators that the handout leaves to the student: their methods and problems.
LEFT_TO_WRITE = {"-": ("__sub__", "1.1.1"), "*": ("__mul__", "1.1.2"), "/": ("__truediv__", "1.1.3")}
OPERATIONS = ("Sub", "Mul", "Div")  # and operations, in some of its versions
PACKAGES = ("mytorch", "mytorch/nn", "mytorch/optim", "hw1")  # folders, not files


def unfinished(error, number=""):
    """What a student has not written yet, if that is why an exception was raised, else "".

    Args:
        error (dict): as from child.describe_error.
        number (str): of the problem; one that meets the TODO of a later one does something wrong.
    """
    kind, message = str(error.get("type")), str(error.get("message"))
    if kind == "NotImplementedError" and not error.get("unwritten"):
        todo = re.match(r"TODO \((\d[\d.]*)\)", message)
        if number and todo and order(todo.group(1)) > order(number):
            return ""
        return f'raises NotImplementedError "{shortened(message, 100)}"'
    if error.get("place"):  # in a line of the student's own, that is a mistake
        return ""
    operator = re.match(r"unsupported operand type\(s\) for (\S+): 'Tensor' and 'Tensor'", message)
    if kind == "TypeError" and operator and operator.group(1) in LEFT_TO_WRITE:
        name, own = LEFT_TO_WRITE[operator.group(1)]
        first = f"{own} comes first, " if number not in ("", own) else ""
        return f"{first}Tensor has no operator {operator.group(1)} ({name}) yet, in mytorch/tensor.py"
    missing = re.match(r"module 'mytorch\.nn\.functional' has no attribute '(\w+)'", message)
    if kind == "AttributeError" and missing and missing.group(1) in OPERATIONS:
        return f"mytorch/nn/functional.py has no {missing.group(1)} yet"
    return ""


def order(number):
    """Problem numbers in the order of the homework: "1.1.2" comes before "1.2"."""
    return [int(part) for part in number.split(".") if part]


ARRAYS = "forward and backward of an operation compute with arrays, the .data of Tensors"

# Type and message of an exception (regular expressions) -> what it means, in plain words.
MEANINGS = (
    ("SystemExit", "", "the code called sys.exit() or exit(); remove the call"),
    ("SyntaxError", "", "Python cannot read this file"),
    ("IndentationError", "", "Python cannot read this file: look at the spaces before the line"),
    ("RecursionError", "", "the code calls itself without end"),
    ("_?ArrayMemoryError|MemoryError", "",
     "the code asked for more memory than the grader gives (2 GiB)"),
    ("KeyboardInterrupt", "", "the code raised KeyboardInterrupt"),
    ("EOFError", "", "there is nobody to type: remove input()"),
    ("ModuleNotFoundError", r"No module named '(?P<file>(mytorch|hw1)[\w.]*)'",
     "the file {file} is missing, or it is named differently"),
    ("ImportError", r"cannot import name '\w+' from partially initialized module",
     "the files import each other in a circle: {circle}"),
    ("ImportError", r"cannot import name '(?P<name>\w+)' from '(?P<file>(mytorch|hw1)[\w.]*)'",
     "{file} has no {name}"),
    ("AttributeError", r"(partially initialized )?module '(?P<file>(mytorch|hw1)[\w.]*)' has no "
     r"attribute '(?P<name>\w+)'", "{file} has no {name}, which this line asks for"),
    ("AttributeError", r"'Tensor' object has no attribute '(?P<name>\w+)'",
     "mytorch/tensor.py gives a Tensor no {name}"),
    ("AttributeError", "'NoneType' object has no attribute 'data'",
     "{grad} is None: backward() has brought no gradient"),
    ("AttributeError", r"'(numpy\.)?ndarray' object has no attribute "
     "'(requires_grad|is_leaf|grad|grad_fn|backward)'",
     "an ndarray stands there, where a Tensor is needed"),
    ("TypeError", r"(?P<name>\w+)\(\) takes no arguments",
     "an operation is called by its apply: F.{name}.apply(...)"),
    ("AttributeError", r"'\w+' object has no attribute 'training'",
     "a Module says by is_train whether it is in training mode"),
    ("BdbQuit", "", "a breakpoint() is left in the code; to stop there, add --debug"),
    ("TypeError", r".*'(method|builtin_function_or_method)'|.*got method",
     "a method stands there without its brackets: x.T() is the transpose, x.T is not"),
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
     "how many rows x has says x.shape[0]"),
    ("AttributeError", r"'ContextManager' object has no attribute '(?P<name>\w+)'",
     "forward must keep it for backward: ctx.{name} = ..."),
    ("ValueError", r"not enough values to unpack \(expected \d+, got (?P<name>\d+)\)",
     "forward has saved {name} Tensors for backward: ctx.save_for_backward(...)"),
    ("NameError", r"name '(?P<name>np|Tensor|Function)' is not defined",
     "the file does not import {name}"),
    (".*", r".*memoryview",
     "a memoryview is the .data of an ndarray: an ndarray stands there for a Tensor"),
)


def explain_error(error):
    """An exception of the student's code, as plain data from child.describe_error, in words."""
    kind, message = str(error.get("type")), without_addresses(error.get("message")).strip()
    first = shortened(message.splitlines()[0], 160) if message else ""
    if not kind:
        return [first]
    place, test = str(error.get("place") or ""), str(error.get("test") or "")
    lines = [f"{kind}: {first}" if first else kind]
    meaning = "" if test and not place else what_it_means(kind, message, error)
    if error.get("unwritten"):
        meaning = f"{str(error['unwritten'])[:60]} is not written"
    elif kind == "NotImplementedError" and "TODO" in message:
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
    return lines


def without_addresses(message):
    """A message without the places in memory that Python names objects by, as in
    ``<Tensor object at 0x7f6e>``: they are others at each run."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(message))


def what_it_means(kind, message, error):
    """What an exception means, in plain words; empty if Python's own say it."""
    for kinds, pattern, words in MEANINGS:
        found = re.fullmatch(kinds, kind[:60]) and re.match(pattern, message[:600])
        if found:
            parts = {"circle": str(error.get("circle") or "")[:200], **found.groupdict()}
            where = f"{error.get('place')} {error.get('caller')}"
            if kind == "RecursionError" and "functional.py" in where:
                return f"{words}: does an operation use itself? {ARRAYS}"
            if "unpack" in pattern and "saved_tensors" not in str(error.get("source")):
                return ""
            grad = re.search(r"\b\w+\.grad\b", str(error.get("source")))
            parts["grad"] = grad.group() if grad else ""
            if "{grad}" in words and not grad:
                return ""
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
    unfit = re.match(r"unsupported operand type\(s\) for (\S+?):? '(\w+)' and '(\w+)'", message)
    if unfit and unfit.group(2) != unfit.group(3):
        got = next(name for name in unfit.groups()[1:] if name != "Tensor")
        return f"the code returned {got.replace('NoneType', 'None')} where the test needs a Tensor"
    meaning = what_it_means(kind, message, {})
    importing = kind.endswith(("ImportError", "NotFoundError"))
    if meaning and (importing or "has no attribute" in message):
        return meaning.replace("this line", "the test")
    return f"the test cannot go on with what the code returned ({kind}: {message})"


def shortened(text, most):
    """``text`` of at most that many characters; what is longer ends after a word, with dots."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def explain_ending(outcome, time_limit):
    """Why a process ended before all its tests were done, in words."""
    kind, _, number = outcome.ending.partition(" ")
    places = (student_place(*place, outcome.root) for place in outcome.stuck_at)
    stuck_at = next(filter(None, places), "")
    place = f", at {stuck_at}" if stuck_at else ""
    if kind == "processor":
        return (f"used up its {outcome.limit:g} s of processor time and was stopped{place}: "
                "an endless loop?")
    if kind == "time":
        return (f"doing nothing after {outcome.limit:g} s and stopped{place}: "
                "does it sleep, or wait for something?")
    if kind == "share":
        return (f"had not ended after {outcome.limit:g} s by the clock, its share of the time for the "
                f"whole grading, and was stopped{place}: does it sleep now and then?")
    if kind == "import":
        return (f"importing the code takes more than {outcome.limit:g} s{place}: an endless loop "
                "outside of all functions?")
    if kind == "done":
        return "no result came back for this test"
    if kind == "odd":
        return "what came back cannot be judged"
    if kind == "flood":
        return "the results are far too large"
    if kind == "never":
        return "not run: the problems before it used up the time for the whole grading"
    if kind == "signal" and number == "9":
        return "the process was killed (signal 9)"
    if kind == "signal":
        name = {"11": "segmentation fault", "6": "abort", "8": "arithmetic error"}.get(number, "")
        return f"the process crashed: signal {number} {name}".rstrip() + place
    return f"the process ended in the middle (exit status {number}): a call of os._exit()?"


def read_clues(results):
    """The strings that a clue returned (graded.Case.clue), a few and short ones."""
    lines = [got.get("value") for got in results.values() if isinstance(got, dict)]
    return [line[:300] for line in lines if isinstance(line, str) and line][:6]


def defined_at(complaints, message):
    """Where the code is that the first complaint about a test's results blames; "" if that is the
    code that the problem is about."""
    for label, got in message["results"].items():
        if complaints[0].startswith((label + ":", label + "[")):
            return str(got.get("at") or "")[:200]
    return ""


def hint(problem, complaints):
    """The hint for a problem whose first failing test got these complaints."""
    label = complaints[0].split(":")[0]
    if problem.number == "1.2" and label.endswith((".requires_grad", ".is_leaf")):
        return ("a result requires grad if one of its inputs does, and is then no leaf; "
                "set both in Function.apply")
    return problem.hint


# What a test uses of the student's code -> the problem that this was written for.
USES = {"Linear": "2.1", "Sequential": "2.1", "ReLU": "2.2", "SGD": "2.3", "BatchNorm1d": "2.4",
        "CrossEntropyLoss": "2.5", "backward": "1.2", "-": "1.1.1", "*": "1.1.2", "/": "1.1.3"}
OF_BACKWARD = ("1.1.2", "1.2")  # of what is asked of these, only gradients depend
# Results of a forward pass alone.
FORWARD = re.compile(r"(output( of the Sequential[^:[]*)?|loss|ReLU\(\)\(z\))(\[|:)")


def cause_of(verdict, judged, uses):
    """The number of the earlier problem whose failure explains the first complaint; "" if there is
    none, or any doubt.

    Args:
        verdict (grading.Verdict): of a problem that failed.
        judged (list of grading.Verdict): of the problems before it.
        uses (set of str): the names that the test that failed first uses (graded.Case.uses).
    """
    name, lines = next(iter(verdict.complaints.items()))
    needs = verdict.problem.needs
    candidates = [other for other in judged if not other.passed and other.problem.number in needs]
    if name in verdict.errors:
        here = signature(verdict.errors[name])
        return next((other.problem.number for other in candidates if here[1] and here in
                     [signature(error) for error in other.errors.values()]), "")
    if verdict.recognised or verdict.clues or name not in verdict.outcome.cases or (
            "running_" in lines[0] and "expected shape" in lines[0]):
        return ""
    numbers = {number for used, number in USES.items() if used in uses}
    forward = FORWARD.match(lines[0])
    if forward:
        numbers -= set(OF_BACKWARD)
        candidates = [other for other in candidates if other.errors or any(
            FORWARD.match(line) for lines in other.complaints.values() for line in lines)]
    for other in judged:  # what a problem in between got over can be no reason here
        if other.passed and other.problem.number in needs and (
                forward or set(OF_BACKWARD) <= set(other.problem.needs)):
            numbers -= set(other.problem.needs)
    # The last one stands nearest; it may have been put down to one before it.
    return next((other.problem.number for other in reversed(candidates)
                 if other.problem.number in numbers), "")


def signature(error):
    """What two exceptions have in common if they are the same one: all but the numbers in them."""
    return (str(error.get("type")), str(error.get("place")),
            re.sub(r"[\d, ()]+", "#", without_addresses(error.get("message"))))
