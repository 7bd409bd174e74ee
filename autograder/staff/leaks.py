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
    long = [line for line in telling if len(line) >= 16]
    for name, number, line in numbered_lines(handout):
        found = squeezed(line)
        if found and found not in telling:
            found = next((part for part in long if part in found), None)
        if found in telling:
            line, where = telling[found]
            yield (f"{name}:{number}: a line of the solution would survive, "
                   f"from {where}: {line.strip()}")


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
    """Places in the handout (dict of path → text) where code hands gradients down a graph.

    Whatever its names, such code runs nodes again and again (``node.apply(gradient)``, or an
    operation's ``backward`` with a gradient, in a loop or in functions that call each other in a
    ring) and finds them by ``next_functions``. So whatever does the first and, itself or through
    what calls it or is called by it, the second, is refused. To look at a graph without running
    its nodes is allowed, and so is calling ``tensor.backward()``, which is the student's own.
    """
    pieces = [piece for name, text in handout.items() for tree in python_of(name, text)
              for piece in pieces_of(name, tree)]
    functions = {}
    for piece in pieces:
        if piece.name:
            functions.setdefault(piece.name, []).append(piece)
    found = {}  # a dict, as it keeps the order and holds each place once
    for piece in pieces:
        reached = reach(piece, functions)
        if any(part.reads for part in reached):
            for part in reached:
                found.update(dict.fromkeys(repeated_runs(part, functions)))
    for file, line in found:
        yield (f"{file}:{line}: hands gradients down a graph, which solves 1.2: runs nodes again "
               "and again, and reads next_functions")


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


class Piece:
    """A function, a loop in one, or the code of a file outside all functions.

    Attributes:
        file (str), line (int), name (str): where it is, and the function's name, else "".
        reads, runs (bool): whether it reads ``next_functions``; whether it runs a node.
        calls (set of tuple): (owner, name) of what it calls: ("self", "visit"), ("", "visit").
        imported (dict): name in this file → (module, name there) that it was imported from.
        loops (list of Piece): the loops in it.
    """

    def __init__(self, file, line, name, code, aliases, imported, is_loop=None):
        self.file, self.line, self.name, self.imported = file, line, name, imported
        self.reads = self.runs = False
        self.calls, self.loops = set(), []
        for node in own_nodes(code):
            self.reads |= reads_next_functions(node)
            if isinstance(node, ast.Call):
                called = [node.func]
                if isinstance(node.func, ast.Name) and node.func.id in ("map", "filter", "reduce"):
                    called += node.args[:1]
                self.runs |= any(runs_a_node(function, node, aliases) for function in called)
                self.calls |= {(name_of(getattr(function, "value", None)), name_of(function))
                               for function in called}
            if isinstance(node, LOOPS) and node is not is_loop:
                self.loops.append(Piece(file, node.lineno, "", [node], aliases, imported, node))


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def pieces_of(file, tree):
    """The Pieces of a file: what stands outside functions, and each function, however nested."""
    nodes = list(ast.walk(tree))
    aliases = {target.id for node in nodes
               if isinstance(node, ast.Assign) and is_run_attribute(node.value)
               for target in node.targets if isinstance(target, ast.Name)}
    imported = {name.asname or name.name: (getattr(node, "module", None) or "", name.name)
                for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in node.names}
    yield Piece(file, 1, "", tree.body, aliases, imported)
    for node in nodes:
        if isinstance(node, FUNCTIONS):
            yield Piece(file, node.lineno, node.name, node.body, aliases, imported)


def own_nodes(code):
    """All syntax nodes of a list of statements, without those inside functions defined there."""
    unexplored = list(code)
    while unexplored:
        node = unexplored.pop()
        yield node
        if not isinstance(node, FUNCTIONS):
            unexplored += ast.iter_child_nodes(node)


def reads_next_functions(node):
    """Whether a syntax node is ``x.next_functions``, read, or that name as a text."""
    if isinstance(node, ast.Attribute):
        return node.attr == "next_functions" and isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Constant) and node.value == "next_functions"


def runs_a_node(function, call, aliases):
    """Whether calling ``function`` runs a node: ``node.apply(g)``, ``operation.backward(ctx, g)``.

    Not ``tensor.backward()``, nor ``Add.apply(a, b)`` of a class: that is the forward pass.
    """
    if isinstance(function, ast.Name) and function.id in aliases:
        return True
    return is_run_attribute(function) and bool(call.args or call.keywords)


def is_run_attribute(node):
    """Whether a syntax node is ``x.apply`` or ``x.backward``, or gets it by getattr; x no class
    of operations and no module."""
    if isinstance(node, ast.Call) and name_of(node.func) == "getattr" and len(node.args) > 1:
        return getattr(node.args[1], "value", None) in ("apply", "backward")
    if not isinstance(node, ast.Attribute) or node.attr not in ("apply", "backward"):
        return False
    owner = name_of(node.value)
    return owner in ("BackwardFunction", "AccumulateGrad") or not (
        owner[:1].isupper() or owner == "autograd_engine")


def name_of(node):
    """``visit`` of ``visit`` and of ``self.visit``; "" of what is neither."""
    return getattr(node, "id", None) or getattr(node, "attr", None) or ""


def callees(piece, functions):
    """The functions that a piece calls, of ``functions``, a dict of name → Pieces: those of its
    own file, else what it has imported. Methods of other files' objects are not followed."""
    found = []
    for owner, name in piece.calls:
        own = [one for one in functions.get(name, ()) if one.file == piece.file]
        module, original = piece.imported.get(owner or name, ("", ""))
        if owner:  # graph.visit, of "from mytorch.show import graph"
            module, original = original, name
        where = module.split(".")[-1]
        found += own or [one for one in functions.get(original, ())
                         if where in Path(one.file).with_suffix("").parts]
    return found


def reach(piece, functions):
    """The piece and all functions it calls, directly or not."""
    reached, unexplored = [piece], [piece]
    while unexplored:
        for called in callees(unexplored.pop(), functions):
            if called not in reached:
                reached.append(called)
                unexplored.append(called)
    return reached


def repeated_runs(piece, functions):
    """(file, line) of each loop in a piece that runs nodes, and of the piece if it is recursive."""
    for loop in piece.loops:
        if any(part.runs for part in reach(loop, functions)):
            yield loop.file, loop.line
    ring = [part for called in callees(piece, functions) for part in reach(called, functions)]
    if piece in ring and any(part.runs for part in ring):
        yield piece.file, piece.line
