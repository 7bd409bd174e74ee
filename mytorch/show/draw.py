"""The computational graph as a picture.
Decides what each box says; layout.py decides where it goes, and paint.py paints."""

from mytorch.show import graph, paint
from mytorch.show.complaints import start_node
from mytorch.show.layout import Node
from mytorch.show.watch import array_of
from mytorch.show.words import Words, norm, values

MAX_BOXES, LONGEST_VALUES = 40, 24


def draw(tensor, /, filename=None, **names):
    """Draw the graph that ``tensor`` was computed by; arrows go the way of forward.

    Each operation is drawn on top of its result. A box tells the name, where given, and the
    values where they are few and known, else the shape; that of a leaf tells its ``.grad``, too.

    Args:
        tensor (Tensor): the last result, of any shape.
        filename (str): where to save; the ending says as what: ``.png`` (1,600 pixels wide),
            ``.svg`` or ``.pdf``.
        **names (Tensor or Module): what to call Tensors; those of ``model=`` become
            ``model.0.weight`` and so on, with a frame around each layer.

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
    boxes = Boxes(tensor, graph.all_names(names))
    return paint.paint([paint.Panel(boxes.drawn, frames=boxes.layers())], filename)


class Boxes:
    """The graph of a Tensor as layout.Nodes.

    Args:
        names (dict): Tensors by name.
        lines (dict): graph.key_of a node → what its box says of its gradient, a leaf's else what
            it holds.

    Attributes:
        nodes (list): of the graph.
        drawn (list of Node): inputs before users.
        by_key (dict): graph.key_of a node → Node.
        places (dict): (key of a node, index of an argument) → (Node, index of its arrow).
    """

    def __init__(self, tensor, names, lines=()):
        self.words, self.lines = Words(names), dict(lines)
        root = start_node(tensor)
        self.nodes, self.by_key, self.places = graph.nodes_below(root), {}, {}
        self.known = {id(named.grad_fn): named for named in [*names.values(), tensor]}
        if len(self.nodes) <= MAX_BOXES:
            for argument in [one for node in self.nodes for one in graph.arguments(node)]:
                if argument.node is not None and argument.tensor is not None:
                    self.known.setdefault(id(argument.node), argument.tensor)
            self.add(root)
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
            leaf = graph.leaf_of(node)
            held = self.lines.get(key) or gradient(array_of(leaf.grad))
            return self.box(key, "leaf", f"{describe(name, leaf)}\n{held}")
        if key not in self.by_key:
            shown = [(index, argument) for index, argument in enumerate(graph.arguments(node))
                     if graph.is_known(argument)]  # else it may be an axis
            inputs = [self.add_constant(argument.tensor) if argument.node is None
                      else self.add(argument.node) for _, argument in shown]
            parts = [("operation", graph.function_name(node))]
            texts = [describe(name, self.known.get(id(node)), getattr(node, "shape", None)),
                     self.lines.get(key)]
            if any(texts):
                parts.append(("result", "\n".join(filter(None, texts))))
            self.by_key[key] = Node(parts, inputs)
            for place, (index, _) in enumerate(shown):
                self.places[key, index] = self.by_key[key], place
        return self.by_key[key]

    def add_constant(self, tensor):
        """The box of a constant among a node's inputs."""
        name = self.words.name(tensor)
        text = describe(name, tensor)
        return self.box(id(tensor.data), "constant", text if name else f"constant {text}")

    def box(self, key, kind, text):
        """The box of that key, made where there is none yet."""
        return self.by_key.setdefault(key, Node([(kind, text)]))

    def layers(self):
        """The layers that have parameters here, each used once, by name: the Nodes of the parameters,
        of the operations that use them, and of all between."""
        parameters = {}
        for name, tensor in self.words.names.items():
            layer, node = name.rpartition(".")[0], self.by_key.get(id(tensor))
            if layer and node in self.drawn:
                parameters.setdefault(layer, []).append(node)
        given = [source for node in self.drawn for source in node.inputs]
        return {layer: self.between(nodes) for layer, nodes in parameters.items()
                if all(given.count(node) == 1 for node in nodes)}

    def between(self, leaves):
        """Some leaves, the operations that use them, and all that lie on a way between these."""
        below, above = set(leaves), {node for node in self.drawn if set(leaves) & set(node.inputs)}
        for node in self.drawn:  # inputs before users
            if below.intersection(node.inputs):
                below.add(node)
        for node in reversed(self.drawn):
            if node in above:
                above.update(node.inputs)
        return [node for node in self.drawn if node in below and node in above]


def describe(name, tensor, shape=None):
    """``d = 3``, or ``d (20, 784)`` for what is large or has unknown values."""
    value = None if tensor is None else values(tensor.data, LONGEST_VALUES)
    if value:
        return f"{name} = {value}" if name else value
    shape = shape if tensor is None else tensor.data.shape
    return " ".join(word for word in (name, str(shape) if shape else "") if word)


def gradient(array, label="grad ="):
    """``grad = 3`` or ``grad = None`` for a leaf, ``gradient 3`` for a result, which has no
    ``.grad``; the norm where it has many numbers."""
    value = "None" if array is None else values(array, LONGEST_VALUES)
    return f"{label} {value}" if value else f"{label.split()[0]} of norm {norm(array, 3)}"
