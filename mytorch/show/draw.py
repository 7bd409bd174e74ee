"""The computational graph as a picture: draw and draw_before_and_after.
First what stands in which box, then the painting; layout.py decides what goes where."""

import io

import numpy as np

from mytorch.show import graph, layout

MAX_NODES = 60
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
    return paint([("", nodes_of(tensor, names))], filename)


def draw_before_and_after(tensor, /, filename=None, **names):
    """Draw the graph, call ``tensor.backward()``, and draw it again beside; else as ``draw``."""
    before = nodes_of(tensor, names)
    tensor.backward()
    call = f"{graph.name_of_tensor(tensor, names) or 'tensor'}.backward()"
    return paint([(f"before {call}", before), (f"after {call}", nodes_of(tensor, names))], filename)


def nodes_of(tensor, names):
    """The graph as layout.Nodes, inputs before users; the parts of each are (kind, text)."""
    graph.check_names(names)
    root = graph.start_node(tensor)
    size = len(graph.count_uses(root))
    if size > MAX_NODES:
        raise ValueError(
            f"draw: the graph has {size} leaves and operations, more than the {MAX_NODES} that "
            "make a readable picture; draw a part, such as one layer or one round of a loop"
        )
    known, shapes = known_tensors(tensor, names, root), result_shapes(tensor)
    drawn = {}  # by whatever has a box of its own

    def add(node):
        """The box of a node, made at its first use together with those of its inputs."""
        if graph.is_leaf_node(node):
            # By the leaf: an engine may make an AccumulateGrad for each of its uses.
            key = node if node.variable is None else node.variable
            return drawn.setdefault(key, layout.Node([("leaf", leaf_text(node, names))]))
        if node not in drawn:
            constants = iter(graph.constants_of(node))
            inputs = [add_constant(node, next(constants)) if parent is None else add(parent)
                      for parent in node.next_functions]
            text = describe(graph.name_of(node, names), known.get(node), shapes.get(node))
            drawn[node] = layout.Node([("operation", node.function_name), ("result", text)], inputs)
        return drawn[node]

    def add_constant(node, constant):
        """The box of a constant among a node's inputs, known or not."""
        if constant is not None:
            text = describe(graph.name_of_tensor(constant, names), constant)
            return drawn.setdefault(constant, layout.Node([("constant", text)]))
        count = len(graph.constants_of(node))
        text = "constant" if count == 1 else f"{count} constants"
        return drawn.setdefault(("constants of", node), layout.Node([("constant", text)]))

    add(root)
    return list(drawn.values())


def known_tensors(tensor, names, root):
    """Dict from node to result, of those results whose Tensor can be found."""
    saved = [saved for node in graph.count_uses(root) if not graph.is_leaf_node(node)
             for saved in node.ctx.saved_tensors]
    return {found.grad_fn: found for found in [tensor, *names.values(), *saved]
            if found.grad_fn is not None}


def result_shapes(tensor):
    """Dict from node to the shape of its result, by its gradient's.

    Empty where an operation's ``backward`` fails: a student may draw before having written it.
    """
    try:
        return {event.node: event.grad.shape for event in graph.backward_events(tensor)
                if isinstance(event, graph.Visit) and event.grad is not None}
    except Exception:
        return {}


def describe(name, tensor, shape=None):
    """``d = 3``, or ``d (20, 784)`` for what is large or has unknown values."""
    value = None if tensor is None else graph.values(tensor.data, 24)
    if value:
        return f"{name} = {value}" if name else value
    shape = shape if tensor is None else tensor.shape
    words = [name, {None: None, (): "one number"}.get(shape, str(shape))]
    return " ".join(word for word in words if word) or "result"


def leaf_text(node, names):
    """What stands in the box of a leaf: name, shape, and gradient if it has one."""
    leaf, name = node.variable, graph.name_of(node, names)
    if leaf is None:
        return "leaf"
    if leaf.grad is None:
        return f"{describe(name, leaf)}\ngrad = None"
    value = graph.values(leaf.grad.data, 24)
    return f"{describe(name, leaf)}\n" + (
        f"grad = {value}" if value else f"grad of norm {np.linalg.norm(leaf.grad.data):.3g}")


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
