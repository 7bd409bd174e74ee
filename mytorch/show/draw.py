"""The computational graph as a picture: draw and draw_before_and_after.
Decides what each box says; layout.py decides where it goes, and paint.py paints."""

from mytorch.autograd_engine import ContextManager
from mytorch.show import graph, paint, recording
from mytorch.show.layout import Node
from mytorch.show.watch import array_of, unseen, watch_twice
from mytorch.show.words import Words, norm, values
from mytorch.tensor import Tensor

MAX_BOXES, LONGEST_NAME, LONGEST_VALUES = 40, 30, 24


def draw(tensor, /, filename=None, **names):
    """Draw the graph that ``tensor`` was computed by; arrows go the way of forward.

    Each operation is drawn on top of its result. A box tells the name, where given, and the
    values where they are few and known, else the shape. After ``backward``, the box of a leaf
    tells its ``.grad``, and that of a result the gradient that arrives there: to find it,
    ``backward`` is run again, and every ``.grad`` is put back. Where a Module is given, its
    parameters have names, and each of its layers a frame.

    Args:
        tensor (Tensor): the last result, of any shape.
        filename (str): where to save; the ending says as what: ``.png`` (1,600 pixels wide),
            ``.svg`` or ``.pdf``.
        **names (Tensor or Module): what to call Tensors; those of ``model=`` become
            ``model.0.weight`` and so on.

    Returns:
        matplotlib.figure.Figure: the picture; at the end of a notebook's cell it shows itself.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` is not a Tensor, or a named value neither Tensor nor Module.
        ValueError: if the picture would have more than 40 boxes.
        ImportError: if this Python has no matplotlib.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> draw(d, "graph.png", a=a, b=b, d=d)
    """
    return paint.paint([panel(tensor, names)], filename)


def draw_before_and_after(tensor, /, filename=None, **names):
    """Draw the graph, call ``tensor.backward()``, and draw it again beside; else as ``draw``."""
    name = shortened(Words(graph.all_names(names)).name(tensor)) or "tensor"
    before = panel(tensor, names, f"before {name}.backward()")
    tensor.backward()
    return paint.paint([before, panel(tensor, names, f"after {name}.backward()")], filename)


def panel(tensor, names, title=""):
    """The graph of ``tensor`` as a paint.Panel, with the gradients that its leaves hold; if they
    hold some, those that arrive at results are found by running ``backward()`` again."""
    boxes, lines = Boxes(tensor, names), {}
    leaves = [leaf for leaf in map(graph.leaf_of, boxes.nodes) if leaf is not None]
    if any(leaf.grad is not None for leaf in leaves):
        with unseen():
            watch, _ = watch_twice(tensor, boxes.words.names)
        if not (watch.error or watch.stopped):
            lines = {key: gradient(array, "gradient") for key, array in arrived(watch.calls).items()}
        lines.update({id(leaf): gradient(array_of(leaf.grad)) for leaf in leaves})
        boxes = Boxes(tensor, names, lines)
    return paint.Panel(boxes.drawn, boxes.layers(), title)


def arrived(calls):
    """What arrives at each node in some calls, in all: graph.key_of the node → ndarray."""
    found = {}
    for call in calls:
        if call.copy is not None:
            held = found.get(call.key)
            is_sum = held is not None and held.shape == call.copy.shape
            found[call.key] = held + call.copy if is_sum else call.copy
    return found


class Boxes:
    """The graph of a Tensor as layout.Nodes.

    Args:
        names (dict): Tensors and Modules by name.
        lines (dict): key → what a box says of its gradient, a leaf's else "grad = None".

    Attributes:
        nodes (list): of the graph.
        drawn (list of Node): inputs before users; ``key`` is the graph.key_of a node.
        by_key (dict): key → Node.
        places (dict): (key of a node, index of an argument) → (Node, index of its arrow).
    """

    def __init__(self, tensor, names, lines=()):
        self.names, self.words = names, Words(graph.all_names(names))
        try:
            self.root = graph.start_node(tensor)
        except RuntimeError as error:
            raise RuntimeError(" ".join([*recording.find_complaints(), str(error)])) from None
        self.nodes, self.lines = graph.nodes_below(self.root), dict(lines)
        self.by_key, self.places = {}, {}
        self.known = {id(named.grad_fn): named for named in [*self.words.names.values(), tensor]}
        if len(self.nodes) <= MAX_BOXES:
            for argument in [one for node in self.nodes for one in graph.arguments(node)]:
                if argument.node is not None and argument.tensor is not None:
                    self.known.setdefault(id(argument.node), argument.tensor)
            self.add(self.root)
        self.drawn = list(self.by_key.values())
        if not 0 < len(self.drawn) <= MAX_BOXES:
            raise ValueError(
                f"draw: the graph has {len(self.nodes)} leaves and operations, and a picture of "
                f"more than {MAX_BOXES} boxes cannot be read; draw a part of it: one layer, such "
                "as draw(layer(x)), or one round of a loop")

    def add(self, node):
        """The box of a node, made at its first use together with those of its inputs."""
        key, name = graph.key_of(node), self.words.name(node)
        if graph.is_leaf_node(node):
            leaf, line = graph.leaf_of(node), self.lines.get(key, "grad = None")
            return self.box(key, "leaf", f"{describe(name, leaf)}\n{line}" if leaf is not None
                            else "leaf")
        if key not in self.by_key:
            shown = self.shown_arguments(node)
            inputs = [self.add_constant(node, argument) if argument.node is None
                      else self.add(argument.node) for _, argument in shown]
            result = self.known[id(node)] if id(node) in self.known else result_again(node)
            texts = [describe(name, result, getattr(node, "shape", None)), self.lines.get(key)]
            parts = [("operation", graph.function_name(node))]
            if any(texts):
                parts.append(("result", "\n".join(filter(None, texts))))
            self.by_key[key] = Node(parts, inputs, key)
            for place, (index, _) in enumerate(shown):
                self.places[key, index] = self.by_key[key], place
        return self.by_key[key]

    def shown_arguments(self, node):
        """The arguments of an operation that have boxes, each with its index: an axis has none."""
        is_operator = graph.function_name(node) in graph.OPERATORS
        return [(index, argument) for index, argument in enumerate(graph.arguments(node))
                if argument != (None, None) or is_operator]

    def add_constant(self, node, argument):
        """The box of a constant among a node's inputs, known or not."""
        if argument.tensor is None:
            return self.box(("unknown constant of", id(node)), "constant", "constant")
        name = self.words.name(argument.tensor)
        text = describe(name, argument.tensor)
        return self.box(id(argument.tensor.data), "constant", text if name else f"constant {text}")

    def box(self, key, kind, text):
        """The box of that key, made where there is none yet."""
        return self.by_key.setdefault(key, Node([(kind, text)], key=key))

    def layers(self):
        """The layers of all Modules in ``names`` that have parameters here, each used once: what
        to write on a frame → the Nodes in it: the parameters, the operations that use them, and
        any between."""
        found = {}
        for label, parameters in graph.layers(self.names).items():
            leaves = [node for node in self.drawn if node.key in map(id, parameters)]
            below, uses = set(leaves), [given for node in self.drawn for given in node.inputs]
            for node in self.drawn:  # inputs before users
                if below.intersection(node.inputs):
                    below.add(node)
            above = {node for node in self.drawn if set(leaves).intersection(node.inputs)}
            for node in self.drawn[::-1]:
                if node in above:
                    above.update(node.inputs)
            if leaves and all(uses.count(node) == 1 for node in leaves):  # not again and again
                found[label] = [node for node in self.drawn if node in above and node in below]
        return found


def result_again(node):
    """The result of an operation, computed again if the graph has saved all its operands and these
    are small; else None."""
    saved = graph.saved_tensors(node)
    if len(saved) != len(graph.arguments(node)) or any(tensor.data.size > 6 for tensor in saved):
        return None
    try:
        with unseen():
            (function,) = [value for value in vars(node).values() if hasattr(value, "forward")]
            result = function.forward(ContextManager(), *map(Tensor.copy, saved))
        return result if isinstance(result, Tensor) else None
    except Exception:
        return None


def describe(name, tensor, shape=None):
    """``d = 3``, or ``d (20, 784)`` for what is large or has unknown values."""
    value = None if tensor is None else values(tensor.data, LONGEST_VALUES)
    if value:
        return f"{shortened(name)} = {value}" if name else value
    shape = shape if tensor is None else tensor.data.shape
    return " ".join(word for word in (shortened(name), str(shape) if shape else "") if word)


def gradient(array, label="grad ="):
    """``grad = 3`` or ``grad = None`` for a leaf, ``gradient 3`` for a result, which has no
    ``.grad``; the norm where it has many numbers."""
    value = "None" if array is None else values(array, LONGEST_VALUES)
    return f"{label} {value}" if value else f"{label.split()[0]} of norm {norm(array, 3)}"


def shortened(name):
    """A name, or None, in one line, with what is too long for a box left out of its middle."""
    name = " ".join(name.split()) if name else name
    if not name or len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME - 15]} ... {name[-10:]}"
