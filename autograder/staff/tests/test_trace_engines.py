"""What the watcher says of many engines: of right ones of any style nothing, of wrong ones what
they do, and where. Each is laid into a copy of the library; stories.py asks of it."""

import json
import subprocess
import sys

import pytest

import solutions
from planted_bugs import ACCUMULATE, BUGS, ENGINE, REQUIRES_GRAD, TRAVERSAL, Bug, in_second
from styles import STYLES

PER_PATH = """\
    def recurse(node, grad):
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
"""


SETS_LEAVES = """\
    def recurse(node, grad):
        if isinstance(node, AccumulateGrad):
            leaf = node.variable
            if leaf.grad is None:
                {}
            else:
                {}
            return
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
"""


def engine(name, traversal, *also):
    """The reference with another traversal, and with other texts replaced."""
    return Bug("1.2", name, ENGINE, TRAVERSAL, traversal, also)


RETURN_GRADS = "        return grads\n"
RECORD = "node.next_functions = [gradient_node(arg) for arg in args]"
BY_FLAGS = ((REQUIRES_GRAD, "output.requires_grad = any(map(gradient_node, args))"),)
RIGHT = (
    engine("one recursion per path", PER_PATH),
    engine("a stack of paths", """\
    stack = [(grad_fn, grad_of_output)]
    while stack:
        node, grad = stack.pop()
        for parent, share in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                stack.append((parent, share))
"""),
    engine("topological order, in an explicit list", """\
    order, seen, stack = [], set(), [(grad_fn, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(parent, False) for parent in node.next_functions if parent is not None]
    sums = {grad_fn: grad_of_output}
    for node in reversed(order):
        for parent, grad in zip(node.next_functions, node.apply(sums[node])):
            if parent is not None:
                sums[parent] = sums[parent] + grad if parent in sums else grad
"""),
    engine("a queue that waits, adding in place into copies of its own", """\
    awaited = count_gradients(grad_fn)
    sums, queue = {grad_fn: grad_of_output.copy()}, [grad_fn]
    while queue:
        node = queue.pop(0)
        for parent, grad in zip(node.next_functions, node.apply(sums.pop(node))):
            if parent is None:
                continue
            if parent in sums:
                sums[parent].data = sums[parent].data + 0
                sums[parent].data += grad.data
            else:
                sums[parent] = grad.copy()
            awaited[parent] -= 1
            if not awaited[parent]:
                queue.append(parent)
"""),
    engine("leaves are set by backward() itself", """\
    def recurse(node, grad):
        if isinstance(node, AccumulateGrad):
            leaf, data = node.variable, grad.data.copy()
            leaf.grad = type(grad)(data if leaf.grad is None else leaf.grad.data + data)
            return
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
"""),
    engine("gradients are collected by tensor and stored at the end", """\
    totals = {}
    def recurse(node, grad):
        if isinstance(node, AccumulateGrad):
            leaf = node.variable
            totals[id(leaf)] = leaf, grad.data + (totals[id(leaf)][1] if id(leaf) in totals else 0)
            return
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
    for leaf, total in totals.values():
        AccumulateGrad(leaf).apply(type(grad_of_output)(total))
"""),
    engine("apply goes on into the inputs by itself", "    grad_fn.apply(grad_of_output)\n", (
        RETURN_GRADS, """\
        for parent, grad in zip(self.next_functions, grads):
            if parent is not None:
                parent.apply(grad)
""")),
    engine("constants are left out on both sides",
           PER_PATH.replace("node.apply(grad))", "[g for g in node.apply(grad) if g is not None])"),
           (RECORD, RECORD.replace("args]", "args if gradient_node(arg)]") + """
        node.needed = [gradient_node(arg) is not None for arg in args]"""), (RETURN_GRADS, """\
        return [g if n else None for g, n in zip(grads, self.needed)]
""")),
    Bug("1.2", "an AccumulateGrad for each use", ENGINE, "if arg.is_leaf and arg.grad_fn is None:",
        "if arg.is_leaf:\n        return AccumulateGrad(arg)\n    if arg.grad_fn is None:"),
    in_second("1.2", "nodes for constants, that store nothing", ENGINE,
              "if arg.requires_grad and arg.is_leaf:", "if arg.is_leaf:", ((
                  "        if grad.shape != self.variable.shape:", """\
        if not self.variable.requires_grad:
            return
        if grad.shape != self.variable.shape:"""),)),
    Bug("1.2", "results always require grad", ENGINE, REQUIRES_GRAD, "output.requires_grad = True"),
)

WALKS_SAVED = """\
    def walk(node, grad):
        for saved, share in zip(node.ctx.saved_tensors, node.apply(grad)):
            {}:
                walk(saved.grad_fn, share)
    walk(grad_fn, grad_of_output)
"""
WRONG = (
    engine("goes on into None", PER_PATH.replace("if parent is not None:", "if True:")),
    engine("None is handed on", PER_PATH.replace("recurse(parent, grad)", "recurse(parent, None)")),
    engine("runs in circles", PER_PATH.replace("recurse(parent, grad)", "recurse(node, grad)")),
    engine("stops at the first node", "    grad_fn.apply(grad_of_output)\n"),
    Bug("1.2", "apply does not fill next_functions", ENGINE, RECORD, "pass", BY_FLAGS),
    Bug("1.2", "what is stored is a number", ENGINE, ACCUMULATE, "leaf.grad = 3.0"),
    Bug("1.2", "nothing is stored", ENGINE, ACCUMULATE, "pass"),
    engine("halves what it hands on", PER_PATH.replace(
        "recurse(parent, grad)", "recurse(parent, type(grad)(grad.data / 2))")),
    Bug("1.2", "what is stored is a sum", ENGINE, ACCUMULATE,
        "leaf.grad = type(grad)(total.data.sum())"),
    engine("sets leaves by itself, and replaces", SETS_LEAVES.format(
        "leaf.grad = grad", "leaf.grad = grad")),
    engine("sets leaves by itself, and adds in place", SETS_LEAVES.format(
        "leaf.grad = grad", "leaf.grad.data += grad.data")),
    engine("hands the first gradient to all", PER_PATH.replace(
        "zip(node.next_functions, node.apply(grad))",
        "zip(node.next_functions, [*node.apply(grad)[:1]] * 2)")),
    engine("hands on what arrived, not what apply returned", PER_PATH.replace(
        "for parent, grad in", "for parent, share in")),
    engine("calls no node", "    pass\n"),
    engine("counts what a node waits for, and never counts down", """\
    awaited, sums = count_gradients(grad_fn), {}
    def walk(node, grad):
        for parent, share in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                sums[parent] = sums[parent] + share if parent in sums else share
                if awaited[parent] == 0:
                    walk(parent, sums[parent])
    walk(grad_fn, grad_of_output)
"""),
    engine("walks over saved_tensors", WALKS_SAVED.format("if saved.grad_fn is not None")),
    engine("walks over saved_tensors, into None", WALKS_SAVED.format("if True")),
    Bug("1.2", "next_functions hold the inputs themselves", ENGINE, RECORD,
        "node.next_functions = list(args)", BY_FLAGS),
    Bug("1.2", "grad_fn is the class", ENGINE, "output.grad_fn = node", "output.grad_fn = cls"),
    Bug("1.2", "linked only if no input is a constant", ENGINE, "output.grad_fn = node",
        "output.grad_fn = node if all(node.next_functions) else None"),
)

# Engine → what must be said first of it: the name of the mistake, and the place.
WORDS = {
    "goes on into None": "went on into None",
    "None is handed on": "None arrived at a",
    "runs in circles": "does not end",
    "stops at the first node": "go on into each node of next_functions",
    "apply does not fill next_functions":
        "With leaf + leaf, constant + leaf, leaf + constant: The next_functions of the result do",
    "what is stored is a number": "a and b got a .grad, which is of type float",
    "nothing is stored": "a.grad stayed None",
    "halves what it hands on":
        "To a went the [5, 7] from step 1 (Mul -> z), but what arrived was [2.5",
    "what is stored is a sum": "a.grad has shape (), but a has shape (2,)",
    "sets leaves by itself, and replaces": "[1, 1] and [11, 13] arrived, and now it is [1, 1]",
    "sets leaves by itself, and adds in place": "wrote into its array",
    "hands the first gradient to all": "that step 1 (Mul -> z) computed for a arrived at b",
    "hands on what arrived, not what apply returned":
        "To a went the [5, 7] from step 1 (Mul -> z), but what arrived was [1, 1] in step 2",
    "calls no node": "without running a node: nothing calls the apply of the first one, Mul -> z",
    "counts what a node waits for, and never counts down": "did not go on from the first node",
    "walks over saved_tensors": "go on into each node of next_functions",
    "walks over saved_tensors, into None": "nodes to go on into are those in next_functions",
    "next_functions hold the inputs themselves": "next_functions of the result hold a Tensor",
    "grad_fn is the class": "grad_fn of the result is the class Add",
    "linked only if no input is a constant":
        "With constant + leaf, leaf + constant: The result requires grad and has no grad_fn",
    "results require grad if the first operand does":
        "With constant + leaf: The result does not require grad",
    "results never require grad": "records no graph yet",
    "constants get an AccumulateGrad too": "k got a .grad, but constants",
    "constants left out of next_functions, gradients meet wrong parents":
        "step 1 (Mul -> z) were paired with the wrong inputs: its next_functions has 1 of 2",
    "one node for all uses of an operation": "have one grad_fn in common",
    "one context for all nodes, as the default of an argument": "one ctx in common",
    "sums of gradients kept in place, in arrays that others hold (queue)": "wrote into its array",
    "gradients are added in place, into arrays that others hold too": "wrote into its array",
    "a shared node runs before its later gradients have come (queue)":
        "what arrived was [1, 1] in step 2 and [18, 20] in step 5",
    "sums of shared nodes are kept from one backward() to the next":
        "what arrived was [23, 27] in step 3",
    "saved tensors are thrown away after backward()": "The run ended there, in Mul: ValueError",
    "backward() starts from a single 1": "backward() starts from 1 of shape ()",
    "a new backward() forgets the gradients of the last one":
        "a.grad was [5, 7], [5, 7] arrived, and now it is [5, 7]",
    "the stored gradient is another's array, and added to in place": "b.grad is the same array",
    "intermediate results keep their gradients": "z got a .grad, but results",
}
# What costs no points and is worth knowing, of the example.
NOTES = {
    "an AccumulateGrad for each use": "new AccumulateGrad at each use",
    "the second solution": "new AccumulateGrad at each use",
    "Tensors with ==, len() and indexing by entry": "new AccumulateGrad at each use",
    "a dict of parents by position in next_functions": "new AccumulateGrad at each use",
    "nodes for constants, that store nothing": "Constants get an AccumulateGrad too",
}

SOLUTIONS = {"the reference": solutions.REFERENCE, "the second solution": solutions.SECOND,
             "the third solution": solutions.THIRD}
QUICK = ("one recursion per path", "leaves are set by backward() itself",
         "an AccumulateGrad for each use", "the second solution",
         "hands on what arrived, not what apply returned", "grad_fn is the class",
         "constants left out of next_functions, gradients meet wrong parents",
         "gradients are added in place, into arrays that others hold too")
WRONG += tuple(bug for bug in BUGS if bug.number == "1.2" and bug.name in WORDS)
RIGHT += tuple(style for style in STYLES if style.name in (
    "Tensors with ==, len() and indexing by entry",
    "a dict of parents by position in next_functions"))
RIGHT_NAMES = [bug.name for bug in RIGHT] + list(SOLUTIONS)


def plant(bug, root):
    """Make ``root``/mytorch a solution with these changes; what is unchanged is not copied."""
    texts, library = solutions.edited(bug.solution, bug.edits), root / "mytorch"
    if bug.solution != solutions.REFERENCE or "/" in "".join(texts):
        return solutions.write(root, bug.solution, bug.edits)
    library.mkdir()
    for path in solutions.REFERENCE.iterdir():
        if path.name in texts:
            (library / path.name).write_text(texts[path.name], encoding="utf-8")
        else:
            (library / path.name).symlink_to(path)


def tell(names, folder):
    """Dict from the name of an engine or solution to what stories.py tells of it; one process."""
    roots = {}
    for name in names:
        root = folder / str(len(roots))
        root.mkdir()
        roots[str(root)] = name
        if name in SOLUTIONS:
            solutions.write(root, SOLUTIONS[name])
        else:
            plant(next(bug for bug in RIGHT + WRONG if bug.name == name), root)
    told = subprocess.run([sys.executable, "-B", str(solutions.HERE / "stories.py"), *roots],
                          check=True, stdout=subprocess.PIPE, universal_newlines=True)
    return {roots[root]: stories for root, stories in json.loads(told.stdout).items()}


@pytest.fixture(scope="module")
def told_of(tmp_path_factory):
    """What stories.py tells of an engine: the quick ones are told together, and so is the rest."""
    told = {}

    def get(name):
        if name not in told:
            names = [other for other in [*RIGHT_NAMES, *WORDS]
                     if (other in QUICK) == (name in QUICK)]
            told.update(tell(names, tmp_path_factory.mktemp("engines")))
        return told[name]
    return get


def marked(names):
    """Parameters of a test: only the quick ones are not slow."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
            for name in names]


@pytest.mark.parametrize("name", marked(RIGHT_NAMES))
def test_no_right_engine_of_any_style_is_told_that_it_is_wrong(name, told_of):
    told = told_of(name)
    assert told["engine"] == ["", []] and len(told["stories"]) == 3
    stories = [" ".join(story.split()) for story in told["stories"]]
    assert ("Worth knowing" in stories[0]) == (name in NOTES) and NOTES.get(name, "") in stories[0]
    for story in stories:
        assert "each gradient that was passed on has arrived" in story
        for bad in ("What is wrong", "does not lead to", "never arrives", "CHANGED", "RAISED"):
            assert bad not in story


@pytest.mark.parametrize("name", marked(WORDS))
def test_the_mistake_of_every_wrong_engine_is_named(name, told_of):
    told = told_of(name)
    for story in told["stories"]:
        assert "CHANGED" not in story and ("RAISED" not in story or told["engine"][1][0] in story)
        # what apply has cut is said once
        assert told["engine"][0] or not told["engine"][1] or "does not lead to" not in story
    assert WORDS[name] in told["engine"][1][0]
