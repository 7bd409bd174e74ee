"""The computational graph as a picture: draw and draw_before_and_after.
Here is decided what stands in which box; layout.py decides where it goes, and paint.py paints."""

import numpy as np

from mytorch.show import graph, layout, recording
from mytorch.show.paint import paint
from mytorch.show.words import name_of, name_of_tensor, norm, values
from mytorch.tensor import Tensor

MAX_NODES, LONGEST_NAME = 60, 30


def draw(tensor, /, filename=None, **names):
    """Draw the graph that ``tensor`` was computed by; arrows go the way of forward.

    An operation stands on top of its result. A box tells the name, where given, and the values
    where they are few and known, else the shape; a leaf's also its ``.grad``. The values of a
    result are known where it is named, or saved by an operation that uses it. In a
    high picture a leaf or constant that is used far below gets a box there too, "again".

    Args:
        tensor (Tensor): the last result, of any shape.
        filename (str): where to save; the ending says as what: ``.png``, ``.svg`` or ``.pdf``.
        **names (Tensor or Module): what to call Tensors; those of ``model=`` become
            ``model.0.weight`` and so on.

    Returns:
        matplotlib.figure.Figure: the picture; at the end of a notebook's cell it shows itself.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` is no Tensor, or a named value neither Tensor nor Module.
        ValueError: if the graph has more than 60 leaves and operations.
        ImportError: if this Python has no matplotlib.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> draw(d, "graph.png", a=a, b=b, d=d)
    """
    names = graph.all_names(names)
    return paint([("", nodes_of(tensor, names))], filename)


def draw_before_and_after(tensor, /, filename=None, **names):
    """Draw the graph, call ``tensor.backward()``, and draw it again beside; else as ``draw``."""
    names = graph.all_names(names)
    before = nodes_of(tensor, names)
    tensor.backward()
    call = f"{shortened(name_of_tensor(tensor, names)) or 'tensor'}.backward()"
    return paint([(f"before {call}", before), (f"after {call}", nodes_of(tensor, names))], filename)


def nodes_of(tensor, names):
    """The graph as layout.Nodes, inputs before users; the parts of each are (kind, text)."""
    try:
        root = graph.start_node(tensor)
    except RuntimeError as error:
        raise RuntimeError(" ".join([*recording.find_complaints(), str(error)])) from None
    nodes = graph.nodes_below(root)
    if len(nodes) > MAX_NODES:
        raise ValueError(
            f"draw: the graph has {len(nodes)} leaves and operations, more than the {MAX_NODES} that "
            "make a readable picture; draw a part, such as one layer or one round of a loop"
        )
    known, shapes = known_results(tensor, names, nodes), result_shapes(tensor, nodes)
    drawn = {}  # by the id of what has a box of its own

    def add(node):
        """The box of a node, made at its first use together with those of its inputs."""
        if graph.is_leaf_node(node):
            return box(graph.key_of(node), "leaf", leaf_text(node, names))
        if id(node) not in drawn:
            inputs = [add_constant(node, argument) if argument.node is None else add(argument.node)
                      for argument in graph.arguments(node)
                      if argument != (None, None) or graph.function_name(node) in graph.OPERATORS]
            text = describe(name_of(node, names), known.get(id(node)), shapes.get(id(node)))
            drawn[id(node)] = layout.Node(
                [("operation", graph.function_name(node)), ("result", text or "result")], inputs)
        return drawn[id(node)]

    def add_constant(node, argument):
        """The box of a constant among a node's inputs, known or not."""
        if argument.tensor is not None:
            name = name_of_tensor(argument.tensor, names)
            text = describe(name, argument.tensor)
            return box(id(argument.tensor.data), "constant", text if name else f"constant {text}")
        count = graph.arguments(node).count((None, None))
        text = "constant" if count == 1 else f"{count} constants"
        return box(("unknown constants of", id(node)), "constant", text)

    def box(key, kind, text):
        """The box of that key, made where there is none yet."""
        return drawn.setdefault(key, layout.Node([(kind, text)]))

    def again(source):
        """A further box for one that is used far below."""
        (kind, text), = source.parts
        line = text.splitlines()[0]
        return layout.Node([(kind, f"{line.split(' (')[0] or line}, again")])

    add(root)
    return layout.repeat_sources(list(drawn.values()), again)


def known_results(tensor, names, nodes):
    """Dict from the id of a node to its result, of those results whose Tensor can be found."""
    found = {id(named.grad_fn): named for named in [*names.values(), tensor]}
    for node in nodes:
        for argument in graph.arguments(node):
            if argument.tensor is not None:
                found.setdefault(id(argument.node), argument.tensor)
    return found


def result_shapes(tensor, nodes):
    """Dict from the id of a node to the shape of its result, where an engine has noted it."""
    return {**{id(node): getattr(node, "shape", None) for node in nodes},
            id(tensor.grad_fn): tensor.shape}


def describe(name, tensor, shape=None):
    """``d = 3``, or ``d (20, 784)`` for what is large or has unknown values."""
    value = None if tensor is None else values(tensor.data, 24)
    if value:
        return f"{shortened(name)} = {value}" if name else value
    shape = shape if tensor is None else tensor.shape
    words = [shortened(name), {None: None, (): "one number"}.get(shape, str(shape))]
    return " ".join(word for word in words if word)


def shortened(name):
    """A name, or None, in one line, with what is too long for a box left out of its middle."""
    name = " ".join(name.split()) if name else name
    if not name or len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME - 15]} ... {name[-10:]}"


def leaf_text(node, names):
    """What stands in the box of a leaf: name, shape, and gradient if it has one."""
    leaf, name = graph.leaf_of(node), name_of(node, names)
    if leaf is None:
        return "leaf"
    if leaf.grad is None:
        return f"{describe(name, leaf)}\ngrad = None"
    grad = leaf.grad.data if isinstance(leaf.grad, Tensor) else np.asarray(leaf.grad)
    value = values(grad, 24)
    return f"{describe(name, leaf)}\n" + (
        f"grad = {value}" if value else f"grad of norm {norm(grad, 3)}")
