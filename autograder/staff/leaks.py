"""What must not stand in a handout: lines of a solution, code that does its work, marks.
Each function here yields complaints with file and line; handout.py refuses at the first."""

import ast
import re
from pathlib import Path

# Given whole, so that students learn from them; a solution may well say the same.
WORKED_EXAMPLES = ("Add", "Transpose", "Reshape", "Log")

PYTHON_BLOCK = re.compile(r"^```py.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def surviving_marks(handout):
    """Lines of the handout (dict of path → text) that hold the mark of a solution."""
    for name, number, line in numbered_lines(handout):
        if "SOLUTION" in line:
            yield f"{name}:{number}: a mark would survive: {line.strip()}"


def numbered_lines(texts):
    """(path, number from 1, line) of every line of a dict of path → text."""
    for name, text in texts.items():
        for number, line in enumerate(text.split("\n"), start=1):
            yield name, number, line


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

CLASSES = ("BackwardFunction", "AccumulateGrad")  # whose ``apply`` runs a node that it is given
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def graph_walks(handout):
    """Places in the handout (dict of path → text) where code hands gradients down a graph.

    Whatever its names, such code runs nodes again and again (``node.apply(gradient)``, or an
    operation's ``backward`` with a gradient, in a loop or in functions that call each other in a
    ring) and finds them by ``next_functions``. So a file that does both is refused, and also one
    that does the first and imports a file that does the second. To look at a graph without running
    its nodes is allowed, and so is calling ``tensor.backward()``, which is the student's own.
    """
    trees = [(name, tree) for name, text in handout.items()
             if re.search("next_functions|apply|backward", text) for tree in python_of(name, text)]
    looking = [(name, tree) for name, tree in trees if looks(tree)]
    modules = {Path(name).stem for name, _ in looking}
    for name, tree in trees:
        looks_here = (name, tree) in looking
        found = repeated_runs(tree, itself=looks_here) if (
            looks_here or imported(tree) & modules) else ()
        for line in sorted(found)[:1]:
            yield (f"{name}:{line}: hands gradients down a graph, which solves 1.2: "
                   "runs nodes, and reads next_functions")


def python_of(name, text):
    """The syntax trees in a file: of a Python file, or of each Python block of a text."""
    if name.endswith(".py"):
        return [ast.parse(text, name)]
    trees = []
    for block in PYTHON_BLOCK.findall(text) if name.endswith(".md") else ():
        try:
            trees.append(ast.parse(re.sub(r"^(>>>|\.\.\.) ?", "", block, flags=re.MULTILINE)))
        except SyntaxError:  # a part of a program, shown as such
            pass
    return trees


def looks(tree):
    """Whether code has ``x.next_functions`` in it, read, or that name as a text."""
    return any(getattr(node, "value", None) == "next_functions" or
               getattr(node, "attr", None) == "next_functions" and isinstance(node.ctx, ast.Load)
               for node in ast.walk(tree))


def runs(tree, called=False):
    """Lines that run a node, or take hold of what does: ``node.apply``, ``operation.backward``;
    only where it is called, if ``called``.

    Not ``tensor.backward()``, nor ``Add.apply(a, b)`` of a class: that is the forward pass.
    """
    nodes = list(ast.walk(tree))
    calls = {node.func: node.args + node.keywords for node in nodes if isinstance(node, ast.Call)}
    calls.update({arguments[0]: [] for function, arguments in calls.items()  # asked for, not run
                  if arguments and name_of(function) in ("getattr", "hasattr")})
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = name_of(node.value)
            of_a_node = owner in CLASSES or not (
                owner[:1].isupper() or owner in ("cls", "autograd_engine"))
            if node.attr in ("apply", "backward") and of_a_node and calls.get(node, not called):
                yield node.lineno
        elif isinstance(node, ast.Call) and name_of(node.func) == "getattr" and any(
                getattr(arg, "value", None) in ("apply", "backward") for arg in node.args):
            yield node.lineno


def repeated_runs(tree, itself):
    """Lines that run a node, as in ``runs``, in what is done again and again: a loop, or functions
    that call each other in a ring. Of a file that looks at graphs ``itself`` whatever these call
    counts, too, and also taking hold of what runs a node."""
    functions = {part.name: part for part in ast.walk(tree) if isinstance(part, FUNCTIONS)}
    calls = {name: functions_called(part, functions) for name, part in functions.items()}
    for part in ast.walk(tree):
        is_loop = isinstance(part, LOOPS) or (
            isinstance(part, ast.Call) and name_of(part.func) in ("map", "filter", "reduce"))
        if not is_loop and not isinstance(part, FUNCTIONS):
            continue
        reached = functions_called(part, functions)
        for _ in functions:
            reached = reached.union(*(calls[name] for name in reached))
        if is_loop or part.name in reached:
            for piece in [part, *(functions[name] for name in reached if itself)]:
                yield from runs(piece, called=not itself)


def functions_called(part, functions):
    """Which of these functions (by name) are called in a piece of code."""
    return {name_of(node.func) for node in ast.walk(part)
            if isinstance(node, ast.Call)} & functions.keys()


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
