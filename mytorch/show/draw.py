"""The computational graph as a picture: draw and draw_before_and_after.
First what stands in which box, then the painting; layout.py decides what goes where."""

import io

import numpy as np

from mytorch.show import graph, layout
from mytorch.show.words import name_of, name_of_tensor, norm, values
from mytorch.tensor import Tensor

MAX_NODES, LONGEST_NAME = 60, 30
KINDS = {  # kind of box: (colour, what the legend says)
    "leaf": ("#b5dfae", "leaf, collects .grad"),
    "operation": ("#ffd699", "operation"),
    "result": ("#bdd7f1", "result of an operation"),
    "constant": ("#e3e3e3", "constant, gets no gradient"),
}
DARK = "#404040"
FONT = 9  # points
# Inches:
LINE, PAD, STACK_GAP, PANEL_GAP, MARGIN, TITLE, HEAD = 0.16, 0.05, 0.03, 0.6, 0.2, 0.15, 0.09
LEGEND_WIDTH, LEGEND_LINE = 6.8, 0.2


def draw(tensor, /, filename=None, **names):
    """Draw the graph that ``tensor`` was computed by; arrows go the way of forward.

    An operation stands on top of its result. A box tells the name, where given, and the values
    where they are few and known, else the shape; a leaf's also its ``.grad``. The values of a
    result are known where it is named, or saved by an operation that uses it; those of a
    constant where an operation saved exactly its arguments, as Mul does.

    Args:
        tensor (Tensor): the last result, of any shape.
        filename (str): where to save; the ending says as what: ``.png``, ``.svg`` or ``.pdf``.
        **names (Tensor): what to call leaves, results and (where known) constants.

    Returns:
        matplotlib.figure.Figure: the picture; at the end of a notebook's cell it shows itself.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` or a named value is no Tensor.
        ValueError: if the graph has more than 60 leaves and operations.

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
    root = graph.start_node(tensor)
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
                      for argument in graph.arguments(node) if argument.is_tensor]
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
        count = sum(other.node is other.tensor is None and other.is_tensor
                    for other in graph.arguments(node))
        text = "constant" if count == 1 else f"{count} constants"
        return box(("unknown constants of", id(node)), "constant", text)

    def box(key, kind, text):
        """The box of that key, made where there is none yet."""
        return drawn.setdefault(key, layout.Node([(kind, text)]))

    add(root)
    return list(drawn.values())


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
    found = {id(tensor.grad_fn): tensor.shape}
    for node in nodes:
        noted = getattr(node, "input_shapes", None) or ()
        for argument, shape in zip(graph.arguments(node), noted):
            if shape is not None:
                found[id(argument.node)] = shape
    return found


def describe(name, tensor, shape=None):
    """``d = 3``, or ``d (20, 784)`` for what is large or has unknown values."""
    value = None if tensor is None else values(tensor.data, 24)
    if value:
        return f"{shortened(name)} = {value}" if name else value
    shape = shape if tensor is None else tensor.shape
    words = [shortened(name), {None: None, (): "one number"}.get(shape, str(shape))]
    return " ".join(word for word in words if word)


def shortened(name):
    """A name, or None, with what is too long for a box left out of its middle."""
    return name if not name or len(name) <= LONGEST_NAME else f"{name[:17]}\N{HORIZONTAL ELLIPSIS}{name[-12:]}"


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


def paint(panels, filename):
    """A Figure of panels side by side, (title, Nodes) each; its axes are in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=150)
    FigureCanvasAgg(figure)  # draws without a window, so that no display is needed
    axes = figure.add_axes([0, 0, 1, 1])
    axes.axis("off")
    left = bottom = 0.0
    for title, nodes in panels:
        for node in nodes:
            measure(axes, node)
        arrows, width, height = layout.lay_out(nodes)
        for points in arrows:
            paint_arrow(axes, [(left + x, y) for x, y in points])
        for node in nodes:
            paint_node(axes, node, left)
        axes.text(left + width / 2, -TITLE, title, ha="center", fontsize=FONT + 2)
        right, left, bottom = left + width, left + width + PANEL_GAP, max(bottom, height)
    columns = 4 if right > LEGEND_WIDTH else 2
    add_legend(axes, columns)
    top = -MARGIN - LEGEND_LINE * 4 / columns - (2 * TITLE if title else 0)
    side = max((LEGEND_WIDTH * columns / 4 - right) / 2, 0) + MARGIN
    axes.set_xlim(-side, right + side)
    axes.set_ylim(bottom + MARGIN, top)
    figure.set_size_inches(right + 2 * side, bottom + MARGIN - top)
    if filename is not None:
        figure.savefig(filename)
    figure._repr_png_ = lambda: png_of(figure)  # what a notebook asks for
    return figure


def measure(axes, node):
    """Set width and height of a Node to those of its parts, stacked."""
    renderer = axes.figure.canvas.get_renderer()
    node.width = 1.5 * HEAD * (len(node.inputs) + 1)
    node.height = STACK_GAP * (len(node.parts) - 1)
    for kind, text in node.parts:
        drawn = axes.text(0, 0, text, fontsize=FONT)
        extent = drawn.get_window_extent(renderer)
        drawn.remove()
        node.width = max(node.width, extent.width / axes.figure.dpi + 2 * PAD)
        node.height += height_of(text)


def height_of(text):
    """Height of a box around that text, in inches."""
    return LINE * (1 + text.count("\n")) + 2 * PAD


def paint_node(axes, node, left):
    """Its parts as boxes, from the top."""
    from matplotlib.patches import FancyBboxPatch

    top = node.y - node.height / 2
    for kind, text in node.parts:
        height = height_of(text)
        axes.add_artist(FancyBboxPatch(
            (left + node.x - node.width / 2, top), node.width, height, zorder=3,
            boxstyle=f"round,pad=0,rounding_size={0.1 if kind == 'operation' else 0.04}",
            facecolor=KINDS[kind][0], edgecolor=DARK))
        axes.text(left + node.x, top + height / 2, text, zorder=4,
                  fontsize=FONT, ha="center", va="center")
        top += height + STACK_GAP


def paint_arrow(axes, points):
    """A line through ``points``, see layout.lay_out, and its head."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    *points, (x, y) = points
    points.append((x, y - HEAD / 2))
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        bend = [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)] if x0 != x1 and y0 != y1 else []
        vertices += bend + [(x1, y1)]
        codes += [Path.CURVE4] * 3 if bend else [Path.LINETO]
    axes.add_artist(PathPatch(Path(vertices, codes), facecolor="none", edgecolor=DARK, zorder=1))
    head = [(x, y), (x - HEAD / 2, y - HEAD), (x + HEAD / 2, y - HEAD)]
    axes.add_artist(Polygon(head, closed=True, facecolor=DARK, edgecolor="none", zorder=2))


def add_legend(axes, columns):
    """Below the picture: which colour stands for what."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor=DARK, label=label)
               for colour, label in KINDS.values()]
    axes.legend(handles=handles, loc="upper center", ncol=columns, frameon=False,
                fontsize=FONT - 1)


def png_of(figure):
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
