"""What trace says of many engines: of right ones, in whatever style, no fault; of wrong ones theirs.
Each engine is laid into a copy of the library; stories.py traces the same expressions with each."""

import json
import subprocess
import sys

import pytest

import solutions
from planted_bugs import ACCUMULATE, BUGS, ENGINE, FUNCTIONAL, TRAVERSAL, Bug

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
    engine("a heap by depth", """\
    import heapq
    depths = {}
    def measure(node, depth):
        if depths.get(node, -1) < depth:
            depths[node] = depth
            for parent in node.next_functions:
                if parent is not None:
                    measure(parent, depth + 1)
    measure(grad_fn, 0)
    sums, heap = {grad_fn: grad_of_output.data}, [(0, 0, grad_fn)]
    while heap:
        node = heapq.heappop(heap)[2]
        for parent, grad in zip(node.next_functions, node.apply(type(grad_of_output)(sums[node]))):
            if parent is None:
                continue
            if parent in sums:
                sums[parent] = sums[parent] + grad.data
            else:
                sums[parent] = grad.data
                heapq.heappush(heap, (depths[parent], id(parent), parent))
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
           (RECORD, RECORD.replace("args]", "args if gradient_node(arg)]")), (RETURN_GRADS, """\
        return [g if n else None for g, n in zip(grads, self.ctx.needs_input_grad)]
""")),
    Bug("1.2", "an AccumulateGrad for each use", ENGINE, "if arg.is_leaf and arg.grad_fn is None:",
        "if arg.is_leaf:\n        return AccumulateGrad(arg)\n    if arg.grad_fn is None:"),
)

WRONG = (
    engine("goes on into None", PER_PATH.replace("if parent is not None:", "if True:")),
    engine("None is handed on", PER_PATH.replace("recurse(parent, grad)", "recurse(parent, None)")),
    engine("runs in circles", PER_PATH.replace("recurse(parent, grad)", "recurse(node, grad)")),
    engine("stops at the first node", "    grad_fn.apply(grad_of_output)\n"),
    Bug("1.2", "apply does not fill next_functions", ENGINE, RECORD, "pass"),
    Bug("1.2", "what is stored is a number", ENGINE, ACCUMULATE, "variable.grad = 3.0"),
    Bug("1.2", "nothing is stored", ENGINE, ACCUMULATE, "pass"),
    engine("halves what it hands on", PER_PATH.replace(
        "recurse(parent, grad)", "recurse(parent, type(grad)(grad.data / 2))")),
    Bug("1.2", "what is stored is a sum", ENGINE, ACCUMULATE,
        "variable.grad = type(grad)(new.sum())"),
    engine("nodes stay marked as visited", PER_PATH.replace(
        "        for parent", """\
        if getattr(node, "visited", False) and not isinstance(node, AccumulateGrad):
            return
        node.visited = True
        for parent""")),
    engine("sets leaves by itself, and replaces", SETS_LEAVES.format(
        "leaf.grad = grad", "leaf.grad = grad")),
    engine("sets leaves by itself, and adds in place", SETS_LEAVES.format(
        "leaf.grad = grad", "leaf.grad.data += grad.data")),
    Bug("1.2", "results stay leaves and get an AccumulateGrad for each use", ENGINE,
        "output.is_leaf = not output.requires_grad", "output.is_leaf = True",
        (("if arg.is_leaf and arg.grad_fn is None:", """\
if arg.is_leaf:
        return AccumulateGrad(arg)
    if arg.grad_fn is None:"""),)),
    engine("hands the first gradient to all", PER_PATH.replace(
        "zip(node.next_functions, node.apply(grad))",
        "zip(node.next_functions, [*node.apply(grad)[:1]] * 2)")),
)

# Engine → what the story of the expression says: the sentence that names the fault.
SENTENCES = {
    "results require grad only if all operands do": (
        "example", "The result of constant + leaf does not require grad; Function.apply must say so "
        "as soon as one input does."),
    "results always require grad": (
        "example", "The result of constant + constant requires grad; Function.apply must say so only "
        "where an input does."),
    "results require grad if the first operand does": (
        "example", "The result of constant + leaf does not require grad"),
    "results stay leaves": (
        "diamond", "c and b came out of an operation, but is_leaf is True there"),
    "constants get an AccumulateGrad too": (
        "example", "b and the constant 3 got a .grad, but constants (requires_grad is False) get no "
        "gradient; Function.apply made an AccumulateGrad where None belongs."),
    "constants left out of next_functions, gradients meet wrong parents": (
        "constants first", "The gradients of step 2 (Mul) were paired with the wrong inputs: its "
        "next_functions has 1 of 2 entries, so the gradient for the constant [5, 5] met a. "
        "Function.apply must add None for a constant."),
    "operator - works on the data, outside the graph": (
        "example", "The graph of x - y does not lead back to x and y: the operator - must hand its "
        "Tensors to apply, not work on their .data."),
    "operator / multiplies by 1 / data, the divisor gets no gradient": (
        "example", "The graph of x / y does not lead back to y: the operator / must"),
    "backward() follows the first parent alone": (
        "handed to two", "Of the gradients passed to Add, the 1 from step 1 (Add) never arrived: Add "
        "was never visited. Nowhere was more than the first entry of next_functions followed."),
    "a shared node keeps the gradient of the last path only": (
        "example", "Of the gradients passed to a, the 1 from step 3 (Add -> d) never arrived: a was "
        "visited in step 5 without it."),
    "a shared node runs for the first path only ('visited')": (
        "example", "Of the gradients passed to a, the 2 from step 5 (Mul) never arrived: a was "
        "visited in step 4 without it."),
    "parents are kept in a dict, so that a * a has only one": (
        "square", "never arrived: a was visited in step 2 without it. Mul uses it 2 times: each use "
        "counts."),
    "'visited', but leaves may be reached again": (
        "results handed to two", "Of the gradients passed to Mul -> p, the 7 from step 8 (Mul) never "
        "arrived: Mul -> p was visited in step 3 without it."),
    "a shared node runs before its later gradients have come (queue)": (
        "example", "The 1 that step 3 (Add -> d) passed to a was counted again: it arrived in step 5 "
        "and again in step 7."),
    "each path hands on the sum so far, earlier ones count again": (
        "diamond", "The 1 that step 1 (Add -> c) passed to Add -> b was counted again: it arrived in "
        "step 2 and again in step 5."),
    "gradients are added in place, into arrays that others hold too": (
        "handed to two, first", "The 1 that step 2 (Add) passed to a was changed on the way, to 30: "
        "backward(), after step 6, wrote into its array, which is also the gradient for Add from "
        "step 1 and the gradient for b from step 2."),
    "sums of shared nodes are kept from one backward() to the next": (
        "example", "In a second backward() on the same graph, 4 arrives at a instead of 3: something "
        "is kept from one backward() to the next."),
    "saved tensors are thrown away after backward()": (
        "square", "In a second backward() on the same graph, step 1 (Mul) fails: ValueError"),
    "backward() starts from the output itself": (
        "example", "backward() starts from 9 of shape (); it should start from ones of the tensor's "
        "shape, ()."),
    "backward() starts from a single 1": (
        "sum", "backward() starts from 1 of shape (); it should start from ones of the tensor's "
        "shape, (2,)."),
    "a leaf's gradient is overwritten by each path": (
        "example", "a.grad held 1 and was replaced in step 6 by the 2 that arrived; they must be "
        "added."),
    "a new backward() forgets the gradients of the last one": (
        "grad held", "a.grad held [[10, 10], [10, 10]] and was cleared; backward() must add to what "
        "is there"),
    "the stored gradient is another's array, and added to in place": (
        "sum", "In a second backward() on the same graph, x.grad changed from [2, 2] to [3, 3] in "
        "step 3 (y), as it is the same array as y.grad."),
    "the stored gradient is an ndarray": (
        "sum", "x and y got a .grad of type ndarray; it should be a Tensor."),
    "the tensor that backward() was called on gets a gradient": (
        "example", "e got a .grad, but results of operations store no gradient; only leaves do."),
    "intermediate results keep their gradients": (
        "example", "e, d and an unnamed result got a .grad, but results of operations store"),
    "goes on into None": (
        "example", "The run ended there: backward() went on into None (AttributeError: 'NoneType' "
        "object has no attribute 'next_functions', at autograd_engine.py:"),
    "None is handed on": (
        "example", "The run ended there: None arrived at Add, so its apply fails"),
    "runs in circles": (
        "diamond", "Stopped after 500 visits. Add -> c was visited 500 times, though there are only "
        "7 paths in all."),
    "stops at the first node": (
        "example", "Of the gradients passed to Add, the 1 from step 1 (Add -> e) never arrived: Add "
        "was never visited."),
    "apply does not fill next_functions": (
        "example", "Function.apply recorded 0 of the 1 inputs of Add -> e that require grad: "
        "next_functions must hold a node for each."),
    "sets leaves by itself, and replaces": (
        "example", "1 and 2 were passed to a, but now a.grad is 2: backward() replaced what was "
        "there. Gradients that meet must be added, as AccumulateGrad.apply does."),
    "sets leaves by itself, and adds in place": (
        "example", "1 was passed to c, but now c.grad is 3: backward() wrote into the array that was "
        "passed, which is also a.grad."),
    "results stay leaves and get an AccumulateGrad for each use": (
        "example", "is_leaf is True there: Function.apply must set it to False. Every .grad is as"),
    "what is stored is a number": ("example", "a and c got a .grad of type float; it should be a"),
    "nothing is stored": ("example", "a.grad stayed None, though 3 arrived."),
    "halves what it hands on": ("example", "1 was passed to Add in all, but 0.5 arrived."),
    "what is stored is a sum": ("sum", "x.grad has shape (), but x has shape (2,)."),
    "nodes stay marked as visited": (
        "example", "In a second backward() on the same graph, 0 visits are made instead of 7: "
        "something is kept from one backward() to the next."),
    "hands the first gradient to all": (
        "constants first", "The [2, 4] that step 2 (Mul) computed for the constant [5, 5] arrived at "
        "a: what apply returns at a place is for next_functions at that place."),
}
SOLUTIONS = {"the reference": solutions.REFERENCE, "the second solution": solutions.SECOND,
             "the third solution": solutions.THIRD}
QUICK = ("one recursion per path", "leaves are set by backward() itself",
         "constants left out of next_functions, gradients meet wrong parents",
         "gradients are added in place, into arrays that others hold too",
         "sums of shared nodes are kept from one backward() to the next")
UNSEEN = ("apply takes two inputs, neither one nor three",)  # raises before there is a graph
WRONG += tuple(bug for bug in BUGS if bug.number == "1.2" and bug.file != FUNCTIONAL
               and bug.name not in UNSEEN)


def tell(engines, folder):
    """Dict from the name of an engine to its stories by expression; all told by one process."""
    roots = {}
    for number, bug in enumerate(engines):
        root = folder / str(number)
        root.mkdir()
        bug.plant(root)
        roots[str(root)] = bug.name
    for name, solution in SOLUTIONS.items():
        root = folder / name
        root.mkdir()
        solutions.write(root, solution)
        roots[str(root)] = name
    stories = str(solutions.HERE / "stories.py")
    told = subprocess.run([sys.executable, "-B", stories, *roots], check=True,
                          stdout=subprocess.PIPE, universal_newlines=True)
    return {roots[root]: stories for root, stories in json.loads(told.stdout).items()}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    return tell([bug for bug in RIGHT + WRONG if bug.name in QUICK], tmp_path_factory.mktemp("some"))


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return tell(RIGHT + WRONG, tmp_path_factory.mktemp("every"))


def assert_no_fault(stories):
    """Fail where a story tells of any fault, or does not tell all of it."""
    assert len(stories) > 8
    for name, story in stories.items():
        assert "That is what backward() did: each gradient that was passed on" in story, name + story
        assert story.rstrip().endswith("Every .grad is as it was before the trace."), name + story
        for bad in ("What is wrong", "does not lead to", "never arrives", "CHANGED", "RAISED"):
            assert bad not in story, name + story


def assert_named(name, stories):
    """Fail unless the story of its expression says what is wrong with that engine."""
    for expression, story in stories.items():
        assert "CHANGED" not in story and "RAISED" not in story, expression + story
    expression, sentence = SENTENCES[name]
    assert sentence in " ".join(stories[expression].split()), stories[expression]


RIGHT_NAMES = [bug.name for bug in RIGHT] + list(SOLUTIONS)
WRONG_NAMES = [bug.name for bug in WRONG]


@pytest.mark.parametrize("name", [name for name in RIGHT_NAMES if name in QUICK]
                         + ["the reference", "the second solution"])
def test_a_right_engine_is_told_without_a_fault(name, some):
    assert_no_fault(some[name])


@pytest.mark.parametrize("name", [name for name in WRONG_NAMES if name in QUICK])
def test_the_fault_of_a_wrong_engine_is_named(name, some):
    assert_named(name, some[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT_NAMES)
def test_no_right_engine_is_ever_told_that_it_is_wrong(name, every):
    assert_no_fault(every[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WRONG_NAMES if name in SENTENCES])
def test_the_fault_of_every_wrong_engine_is_named(name, every):
    assert_named(name, every[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WRONG_NAMES if name not in SENTENCES] or ["none"])
def test_engines_without_a_sentence_of_their_own_are_complained_of(name, every):
    """A planted bug that is new in planted_bugs.py: add its sentence to SENTENCES."""
    if name == "none":
        pytest.skip("all have one")
    assert any("What is wrong" in story or "The run ended there" in story or "* " in story
               for story in every[name].values()), every[name]
