"""The backward pass told step by step, for one's own expression: trace and trace_naive.
Only the telling lives here: the walk is in graph.py, and no gradient is ever stored."""

import textwrap

import numpy as np

from mytorch.show import graph
from mytorch.tensor import Tensor

MAX_STEPS, WIDTH = 200, 100


def trace(tensor, /, **names):
    """Print what ``tensor.backward()`` should do, step by step, without changing any ``.grad``.

    It walks the graph that ``Function.apply`` recorded by itself; ``backward`` is not run.

    Each step visits one node. ``arrives`` is the gradient of its output, and from which step;
    ``passes`` what it hands to each of its inputs, and whether that one must wait for more;
    ``stores`` what happens to a leaf's ``.grad``. Up to six numbers are shown as they are,
    of more the shape and the norm.

    Args:
        tensor (Tensor): where the backward pass starts, of any shape.
        **names (Tensor): what to call leaves, results and (where known) constants.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` or a named value is no Tensor.
        ValueError: if there are more than 200 steps.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> trace(d, a=a, b=b, d=d)
    """
    graph.check_names(names)
    steps = len(graph.count_uses(graph.start_node(tensor)))
    if steps > MAX_STEPS:
        raise ValueError(f"trace: the backward pass has {steps} steps, more than the {MAX_STEPS} "
                         "a person reads; trace a part, such as one layer or one round of a loop")
    print("\n".join(Story(names, graph.backward_events(tensor)).lines[1:]))


class Story:
    """A backward pass in words, as ``lines``, of which the first is empty.

    Args:
        names (dict): Tensors by name.
        events (list): see graph.backward_events.
    """

    def __init__(self, names, events):
        self.names = names
        self.lines = []
        visits = [event for event in events if isinstance(event, graph.Visit)]
        self.step_of = {visit.node: step for step, visit in enumerate(visits, 1)}
        self.arrivals_at = {visit.node: visit.arrivals for visit in visits}
        self.stored = {}  # by leaf (its id): what .grad would hold by now
        before = None
        for event in events:
            if isinstance(event, graph.Handover) and event.node is not before:
                self.tell("back in", self.label(event.node))
            tell = self.tell_visit if isinstance(event, graph.Visit) else self.tell_handover
            tell(event)
            before = event.node
        self.lines += ["", "That is what backward() does. This was a rehearsal: no .grad has changed."]

    def tell(self, verb, text):
        """Add a line of a step, wrapped below its verb."""
        self.lines += textwrap.wrap(f"     {verb:9}{text}", WIDTH, subsequent_indent=14 * " ",
                                    break_on_hyphens=False)

    def what(self, node):
        """A node in words: ``Mul``, ``Add -> d`` for a named result, ``a`` for a leaf."""
        name = graph.name_of(node, self.names)
        if graph.is_leaf_node(node):
            return name or "leaf"
        return f"{node.function_name} -> {name}" if name else node.function_name

    def label(self, node):
        """A node by the number of its step and what it is."""
        return f"step {self.step_of[node]} ({self.what(node)})"

    def tell_visit(self, visit):
        """Add the head of a step: the node, what arrives, what is stored."""
        node, is_leaf = visit.node, graph.is_leaf_node(visit.node)
        title = "AccumulateGrad of " * is_leaf + self.what(node)
        self.lines += ["", f"{self.step_of[node]:3}. {title}"]
        self.tell("arrives", self.arrival(visit))
        if is_leaf:
            self.tell("stores", self.storage(node, visit.grad))
        for constant in graph.constants_of(node):
            name = graph.name_of_tensor(constant, self.names)
            value = f" {show(constant)}" if constant is not None and not name else ""
            self.tell("passes", f"nothing to {f'{name}, a' if name else 'a'} constant{value}")

    def arrival(self, visit):
        """What arrives at a node, and from which steps."""
        if visit.grad is None:
            return "nothing, so there is nothing to do"
        if not visit.arrivals:
            return f"{show(visit.grad)}, the ones that backward() starts from"
        senders = [sender for sender, grad in visit.arrivals if grad is not None]
        if len(senders) == 1:
            return f"{show(visit.grad)} from {self.label(senders[0])}"
        steps = ", ".join(str(self.step_of[sender]) for sender in senders)
        return f"{show(visit.grad)}, the sum of what came from steps {steps}"

    def storage(self, node, grad):
        """What a leaf stores, as backward() would."""
        if grad is None or node.variable is None:
            return "nothing"
        leaf, name = node.variable, self.what(node)
        held = self.stored.get(id(leaf), leaf.grad)
        self.stored[id(leaf)] = graph.total([held, grad])
        if held is None:
            return f"{name}.grad = {show(grad)} (it was None)"
        return f"{name}.grad += {show(grad)}: {addition([held, grad])}"

    def tell_handover(self, handover):
        """Add what a node passes to one of its inputs, and whether that must wait."""
        text = f"{show(handover.grad)} to {self.label(handover.parent)}"
        count, expected = handover.count, handover.expected
        if expected == 1:
            return self.tell("passes", f"{text}: its only gradient, so on to it")
        text += f": gradient {count} of {expected}, "
        if count < expected:
            return self.tell("passes", f"{text}so it waits (it was used {expected} times)")
        arrived = addition([grad for _, grad in self.arrivals_at[handover.parent]])
        self.tell("passes", f"{text}{arrived}, so on to it")


def show(tensor):
    """A Tensor in few words: its values, or shape and norm where they are many."""
    if tensor is None:
        return "nothing"
    norm = np.linalg.norm(tensor.data)
    return graph.values(tensor.data) or f"array {tensor.shape} of norm {norm:.4g}"


def addition(grads):
    """``1 + 2 = 3`` for a few small gradients, else the sum alone; None counts as nothing."""
    grads = [grad for grad in grads if grad is not None]
    total = graph.total(grads)
    if 1 < len(grads) < 5 and total.data.size <= 6:
        return f"{' + '.join(show(grad) for grad in grads)} = {show(total)}"
    return f"the sum is {show(total)}"


def trace_naive():
    """Print what plain recursion does, which visits a node once for each path to it.

    First every visit for ``b = a + a; c = b + b``, then how many visits longer chains of the
    same kind take: each level doubles them. The gradients are right, the cost is not.
    """
    tensors = diamond(2)
    print("Plain recursion on b = a + a; c = b + b, from c:")
    recurse(graph.start_node(tensors[2]), Tensor(1.0), Story(dict(zip("abc", tensors)), []), "  ")
    print("\n levels   nodes   visits, once per node   visits, once per path")
    for levels in (1, 2, 3, 4, 5, 10, 20, 30, 40):
        nodes, visits = count_visits(diamond(levels)[-1])
        print(f"{levels:7}{nodes:8}{nodes:24}{visits:24,}")
    print(f"At a million visits a second, {levels} levels take {visits / 1e6 / 86400:.0f} days.")


def recurse(node, grad, story, indent):
    """Visit ``node`` with ``grad``, tell it in a line, and go straight on into each input."""
    stored = f": {story.storage(node, grad)}" if graph.is_leaf_node(node) else ""
    print(f"{indent}{story.what(node)} gets {show(grad)}{stored}")
    for parent, share in zip(node.next_functions, graph.gradients(node, grad)):
        recurse(parent, share, story, indent + "    ")


def diamond(levels):
    """A leaf and ``levels`` results, each the sum of the one before with itself, as a list."""
    tensors = [Tensor(1.0, requires_grad=True)]
    for _ in range(levels):
        tensors.append(tensors[-1] + tensors[-1])
    return tensors


def count_visits(tensor):
    """Nodes of the graph of ``tensor``, and visits when each path to a node visits it again."""
    paths = {}
    for event in graph.backward_events(tensor):
        if isinstance(event, graph.Visit):
            paths[event.node] = sum(paths[sender] for sender, _ in event.arrivals) or 1
    return len(paths), sum(paths.values())
