"""Paints boxes and arrows that layout.py has placed, by matplotlib, which is imported only here.
All lengths are inches; y grows downward."""

import io

from mytorch.show import layout

KINDS = {  # kind of box: (colour, what the legend says)
    "leaf": ("#b5dfae", "leaf, collects .grad"),
    "operation": ("#ffd699", "operation"),
    "result": ("#bdd7f1", "result of an operation"),
    "constant": ("#e3e3e3", "constant, gets no gradient"),
}
DARK = "#404040"
FONT = 9  # points
LINE, PAD, STACK_GAP, PANEL_GAP, MARGIN, TITLE, HEAD = 0.16, 0.05, 0.03, 0.6, 0.2, 0.15, 0.09
LEGEND_WIDTH, LEGEND_LINE = 6.8, 0.2


def paint(panels, filename):
    """A Figure of panels side by side, (title, Nodes) each; its axes are in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("draw needs matplotlib, which this Python lacks; run .venv/bin/python "
                          "instead, where ./grade.sh 1 installs it") from None

    figure = Figure(dpi=150)
    FigureCanvasAgg(figure)  # draws without a window, so that no display is needed
    axes = figure.add_axes([0, 0, 1, 1])
    axes.axis("off")
    left = bottom = 0.0
    for title, nodes in panels:
        for node in nodes:
            measure(axes, node)
        arrows, width, height = layout.lay_out(nodes)
        panel = max(width, width_of(axes, title, FONT + 2))
        middle = left + (panel - width) / 2
        for points in arrows:
            paint_arrow(axes, [(middle + x, y) for x, y in points])
        for node in nodes:
            paint_node(axes, node, middle)
        write(axes, left + panel / 2, -TITLE, title, FONT + 2, ha="center")
        right, left, bottom = left + panel, left + panel + PANEL_GAP, max(bottom, height)
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
    widths = [width_of(axes, text, FONT) + 2 * PAD for _, text in node.parts]
    node.width = max(1.5 * HEAD * (len(node.inputs) + 1), *widths)
    node.height = STACK_GAP * (len(node.parts) - 1) + sum(height_of(text) for _, text in node.parts)


def width_of(axes, text, size):
    """The width of a text in points of that size."""
    written = write(axes, 0, 0, text, size)
    extent = written.get_window_extent(axes.figure.canvas.get_renderer())
    written.remove()
    return extent.width / axes.figure.dpi if text else 0.0


def write(axes, x, y, text, size, **style):
    """Put a text there as it stands, without reading it as a formula."""
    return axes.text(x, y, drawable(text).replace("$", r"\$"), fontsize=size, usetex=False, **style)


def drawable(text):
    """``text`` with what the font cannot draw, such as Chinese, in Python's notation for it."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return "".join(character if character == "\n" or ord(character) in known
                   else character.encode("unicode_escape").decode() for character in text)


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
        write(axes, left + node.x, top + height / 2, text, FONT, zorder=4, ha="center", va="center")
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
