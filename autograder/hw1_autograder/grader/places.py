"""Where in a student's code something is, as people write it: mytorch/tensor.py:12.
Paths of the machine never reach a report."""

import functools
import linecache
import os
import re
import sys
import traceback
from pathlib import Path

from problems import OPERATORS

LIMIT = 200  # characters of a path

ABSOLUTE = re.compile(r"(?<![\w.~/-])/(?:[^\s/'\":,;()]+/)+([^\s/'\":,;()]+)")
LAYERS = re.compile(r"mytorch/(nn/(?!functional|module|sequential)|optim/)")
# What stands between a line that uses an operation and the operation itself.
BETWEEN = re.compile(r"mytorch/(tensor|autograd_engine|nn/module|nn/sequential)\.py")
# Functions of the handout that only check what another line gave them: that line is the place.
CHECKING = ("compute", "check_tensors", "check_saved", "check_gradients", "check_leaf",
            "check_arguments", "check_output", "check_stored", "check_grad", "check_data",
            "complain", "save_for_backward", "as_operand", "to_array")
# Functions in which a comment alone is left for a problem, and what a line has that solves it.
COMMENTED = {"Function.apply": ("1.2", r"\.grad_fn\s*=[^=]"), "SGD.step": ("2.6", "momentum")}
# Messages on what a method returned, or with which arguments it is called: its class, and its name.
METHOD = re.compile(r"(?:[\w.<>]*?(\w+)\.)?(\w+)(?:: |\(\) (?:takes|missing|got multiple))")
TODO = re.compile(r'raise NotImplementedError\("TODO \((\d[\d.]*)\)')


class WrongReturn(TypeError):
    """The student's code returned something that no test can go on with; says what."""


def student_place(filename, line, root):
    """``mytorch/tensor.py:12`` for a place in the student's code, else an empty string.

    Args:
        filename (str): an absolute path, from anywhere: it is compared as text, never looked up.
        line (int): in that file.
        root (Path): the folder that holds the student's ``mytorch``, resolved.
    """
    top = os.path.join(str(root), "")
    if not filename.startswith(top):
        return ""
    parts = filename[len(top):].split(os.sep)
    if parts[0] not in ("mytorch", "hw1") or ".." in parts:
        return ""
    return f"{'/'.join(parts)}:{line}"[:LIMIT]


def without_paths(text, root):
    """``text`` with files below ``root`` named from there, and of other absolute paths the last
    part alone: /tmp/me/mytorch/tensor.py is mytorch/tensor.py."""
    return ABSOLUTE.sub(r".../\1", text.replace(f"{root}/", ""))


def definition(defined, root):
    """Where the student defines ``module:Class.name``, as ``Class.name in file:line``; empty if it
    is not found."""
    module, _, names = defined.partition(":")
    try:
        found = sys.modules[module]
        for name in names.split("."):
            found = getattr(found, name)
        return in_words(names, found, root)
    except BaseException:  # objects of a student's can do anything when looked at
        return ""


def in_words(name, function, root):
    """``name in file:line`` of a function of the student's; empty for one of anybody else."""
    place = student_place(function.__code__.co_filename, function.__code__.co_firstlineno, root)
    return f"{name} in {place}" if place else ""


def sources(root):
    """Pairs (path, text) of the student's files of mytorch, or of their first 200,000 characters."""
    library = Path(root) / "mytorch"
    for path in sorted(library.rglob("*.py")):
        if "show" not in path.relative_to(library).parts and path.is_file():
            with open(str(path), encoding="utf-8", errors="replace") as file:
                yield str(path), file.read(200_000)


@functools.lru_cache(maxsize=1)
def left_to_write(root):
    """What the student's files say is still to be written.

    Returns:
        list of tuple: number of the problem, and the function as ``Class.name in file:line``.
    """
    found, operators = [], []
    for path, text in sources(root):
        if "TODO (" in text:
            found += todos_in(text.splitlines(), path, root)
        if student_place(path, 0, root) == "mytorch/tensor.py:0":
            operators = [(number, f"Tensor.{operator} in mytorch/tensor.py")
                         for number, operator in OPERATORS.values() if operator not in text]
    return found + operators


def todos_in(lines, path, root):
    """The same for the lines of one file. Where the handout's function does something already, only
    a comment says so: it counts until a line follows that does what is asked for (COMMENTED)."""
    found, around = {}, []  # around: (indentation, name, line) of the classes and functions
    for number, line in enumerate(lines, start=1):
        start = re.match(r"( *)(?:class|def) (\w+)", line)
        if start:
            indentation = len(start.group(1))
            around = [outer for outer in around if outer[0] < indentation]
            around.append((indentation, start.group(2), number))
        name = ".".join(name for _, name, _ in around)
        number_of_comment, done = COMMENTED.get(name, ("", ""))
        comment = re.match(r"\s*# TODO \((\d[\d.]*)\)", line)
        todo = TODO.search(line) if not comment else (
            comment if comment.group(1) == number_of_comment else None)
        if todo and around:
            found[name, todo.group(1)] = (
                todo.group(1), f"{name} in {student_place(path, around[-1][2], root)}")
        elif done and not line.lstrip().startswith("#") and re.search(done, line):
            found.pop((name, number_of_comment), None)
    return list(found.values())


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
    frames = list(traceback.walk_tb(error.__traceback__))
    frames[20:-100] = []  # of a recursion
    if isinstance(error, SyntaxError) and error.filename:
        described["place"] = student_place(error.filename, error.lineno or 0, root)
        described["source"] = (error.text or "").strip()[:200]
        message = error.msg
    else:
        try:
            described.update(where(frames, root), **named_by(frames, message, root))
        except BaseException:  # objects of a student's can do anything when looked at
            pass
    if "null bytes" in message and not described["place"]:  # Python does not say of which file
        described["place"] = next((student_place(path, 1, root) for path, text in sources(root)
                                   if "\0" in text), "")
    message = re.sub(r" \(defined at \.\.\./[^)]*\)", "", without_paths(message[:2000], root))
    described["message"] = message[:600]
    return described


def where(frames, root):
    """The lines of a traceback that are worth showing; see describe_error."""
    lines, checking, found = [], [], {}
    for frame, number in frames:
        filename = frame.f_code.co_filename
        source = linecache.getline(filename, number).strip()[:200]
        place = student_place(filename, number, root)
        if place.startswith("mytorch/show/"):
            continue  # of the tools: what called them is the place
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
    lacks, such as "Exp.backward"; as "circle" the files that import each other; as "import" the
    line that binds a module where a class is meant; as "place" the method that returned what the
    engine cannot use, or whose signature does not fit."""
    if "partially initialized module" in message:
        files = [student_place(frame.f_code.co_filename, 0, root)[:-2] for frame, _ in frames
                 if frame.f_code.co_name == "<module>"]
        return {"circle": " -> ".join(name for name in files if name)[:200]}
    if not frames:
        return {}
    if "module" in message:
        return import_line(*frames[-1], root)
    named = METHOD.match(message[:200])
    last = frames[-1][0].f_code
    for cls in classes_held(frames):
        if named and named.group(1) in (None, cls.__name__) and named.group(2) in vars(cls):
            method = vars(cls)[named.group(2)]
            code = getattr(method, "__func__", method).__code__
            place = student_place(code.co_filename, code.co_firstlineno, root)
            if place and not BETWEEN.match(place):
                lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1:][:3]
                source = next((line.strip() for line in lines if "def " in line), "")
                return {"place": place, "source": f"{cls.__name__}: {source}"}
        method = getattr(cls, last.co_name, None)
        if last.co_name in ("forward", "backward", "step") and last.co_name not in vars(cls) and (
                getattr(method, "__code__", None) is last):
            return {"unwritten": f"{cls.__name__}.{last.co_name}"}
    return {}


def classes_held(frames):
    """The classes that local variables hold, or attributes of what they hold, innermost first."""
    for frame, _ in reversed(frames):
        held = list(frame.f_locals.values())
        held += [part for value in held for part in [type(value), *getattr(
            value, "__dict__", {}).values()] if not isinstance(value, type)]
        yield from [cls for cls in held if isinstance(cls, type)]


def import_line(frame, number, root):
    """The import that binds a module which a line of the student's uses as a class."""
    filename = frame.f_code.co_filename
    used = re.findall(r"\w+", linecache.getline(filename, number))
    modules = [name for name in used if type(frame.f_globals.get(name)) is type(os)
               and frame.f_globals[name].__name__.startswith("mytorch.") and name != "F"]
    for line, text in enumerate(linecache.getlines(filename), start=1):
        if re.match(r"\s*(import|from) ", text) and any(
                re.search(rf"\b{name}\b", text) for name in modules):
            place = student_place(filename, line, root)
            return {"import": f"{place}:  {text.strip()}"} if place else {}
    return {}
