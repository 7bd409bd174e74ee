"""What must not stand in a handout: lines of a solution, code that does its work, marks.
Each function here yields complaints with file and line; handout.py refuses at the first."""

import ast
import contextlib
import re
from pathlib import Path

# Given whole, so that students learn from them; a solution may well say the same.
WORKED_EXAMPLES = ("Add", "Transpose", "Reshape", "Log")

NODES = ("BackwardFunction", "AccumulateGrad")  # classes whose ``apply`` runs the node it is given
PYTHON_BLOCK = re.compile(r"^```py.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def surviving_marks(handout):
    """Lines of the handout (dict of path → text) that hold the mark of a solution."""
    for name, text in handout.items():
        for number, line in enumerate(text.split("\n"), start=1):
            if "SOLUTION" in line:
                yield f"{name}:{number}: a mark would survive: {line.strip()}"


# Lines of a solution.


def surviving_lines(handout, solutions):
    """Lines of the handout that are, or hold, a telling line of a solution.

    Args:
        handout (dict): path → text.
        solutions (dict): line of a solution → where it stands, as "file:line".
    """
    exempt = {squeezed(line) for text in handout.values() for line in worked_examples(text)}
    telling = {squeezed(line): (line, where) for line, where in solutions.items()
               if is_telling(line) and squeezed(line) not in exempt}
    for name, text in handout.items():
        lines = [squeezed(line) for line in text.split("\n")]
        whole = "\n".join(lines)
        for line in telling:
            if line in whole:  # quick, and nearly always false
                for number, found in enumerate(lines, start=1):
                    if line == found or len(line) >= 16 and line in found:
                        yield (f"{name}:{number}: a line of the solution would survive, "
                               f"from {telling[line][1]}: {telling[line][0].strip()}")


def squeezed(line):
    """A line without blanks, so that they cannot hide it."""
    return "".join(line.split())


def is_telling(line):
    """Whether a line of a solution gives something away wherever else it stands.

    It does if it computes (an operator, an index, a call with arguments) or is a sentence of
    six words or more. It does not if it only names things, as ``return output``,
    ``for layer in layers:`` and ``loss.backward()`` do, or is a header that is given anyway.
    """
    line = line.strip()
    if re.match(r"@\w+$|(async )?def |class |import |from \w+ import |raise \w+\($", line):
        return False
    computes = re.search(r"[-+*/%@<>&|^~]|==|!=|\w\[\S|\w\([^)\s]", line)
    return bool(computes) or len(re.findall(r"[^\W\d_]{2,}", line)) >= 6


def worked_examples(text):
    """The lines of the classes in WORKED_EXAMPLES, if ``text`` is Python that defines them."""
    if not any(f"class {name}(" in text for name in WORKED_EXAMPLES):
        return []
    lines = text.split("\n")
    return [line for node in ast.parse(text).body
            if isinstance(node, ast.ClassDef) and node.name in WORKED_EXAMPLES
            for line in lines[node.lineno - 1:node.end_lineno]]


# Code that hands gradients down a graph.


def graph_walks(handout):
    """Places in the handout (dict of path → text) where code could hand gradients down a graph.

    Whatever its names, such code finds nodes by ``next_functions`` and runs them. So a file that
    does both is refused, and also one that runs nodes and imports a file that finds them. To look
    at a graph without running its nodes is allowed, and so is calling ``tensor.backward()``, which
    is the student's own.
    """
    trees = [(name, tree) for name, text in handout.items()
             if re.search("next_functions|apply", text) for tree in python_of(name, text)]
    finding = [name for name, tree in trees if finds_nodes(tree)]
    modules = {Path(name).stem for name in finding}
    for name, tree in trees:
        if name in finding or imported(tree) & modules:
            for line in sorted(runs_of_nodes(tree, also_by_hand=name in finding))[:1]:
                yield (f"{name}:{line}: hands gradients down a graph, which solves 1.2: "
                       "runs nodes, and reads next_functions")


def python_of(name, text):
    """The syntax trees in a file: of a Python file, or of each Python block of a text."""
    if name.endswith(".py"):
        return [ast.parse(text, name)]
    trees = []
    for block in PYTHON_BLOCK.findall(text) if name.endswith(".md") else ():
        with contextlib.suppress(SyntaxError):  # a part of a program, shown as such
            trees.append(ast.parse(re.sub(r"^(>>>|\.\.\.) ?", "", block, flags=re.MULTILINE)))
    return trees


def finds_nodes(tree):
    """Whether code has ``x.next_functions`` in it, read, or that name as a text."""
    return any(getattr(node, "value", None) == "next_functions" or
               getattr(node, "attr", None) == "next_functions" and isinstance(node.ctx, ast.Load)
               for node in ast.walk(tree))


def runs_of_nodes(tree, also_by_hand):
    """Lines that run a node or take hold of what does, ``node.apply``; if ``also_by_hand``, also
    those that call an operation's ``backward(ctx, gradient)``.

    Not ``Add.apply(a, b)`` of a class: that is the forward pass.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "apply":
            owner = name_of(node.value)
            of_a_class = owner[:1].isupper() and owner not in NODES or owner == "cls"
            if isinstance(node.ctx, ast.Load) and not of_a_class:
                yield node.lineno
        elif isinstance(node, ast.Call):
            called, owner = name_of(node.func), name_of(getattr(node.func, "value", None))
            if called == "getattr" and any(getattr(arg, "value", "") == "apply" for arg in node.args):
                yield node.lineno
            if also_by_hand and called == "backward" and len(node.args) == 2 and (
                    owner not in ("", "autograd_engine")):
                yield node.lineno


def name_of(node):
    """``visit`` of ``visit`` and of ``self.visit``; "" of what is neither."""
    return getattr(node, "id", None) or getattr(node, "attr", None) or ""


def imported(tree):
    """The last parts of all names of modules that code imports, and of what it takes from them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in [getattr(node, "module", None) or "", *(one.name for one in node.names)]:
                names.add(name.rpartition(".")[2])
    return names
