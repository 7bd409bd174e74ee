"""Paints boxes and arrows that layout.py has placed, by matplotlib, which is imported only here.
All lengths are inches; y grows downward."""

import contextlib
import io
import os
import textwrap
from importlib.util import find_spec

from mytorch.show import layout

KINDS = {  # kind of box: (colour, what the legend says)
    "leaf": ("#b5dfae", "leaf, collects .grad"),
    "operation": ("#ffd699", "operation"),
    "result": ("#bdd7f1", "result of an operation"),
    "constant": ("#e3e3e3", "constant, gets no gradient"),
}
LABEL = {"edgecolor": "none", "boxstyle": "square,pad=0.1"}
DARK, ACTIVE, FRAME = "#404040", "#c8201e", "#8a8a8a"
FONT = 9  # points
LINE, PAD, STACK_GAP, PANEL_GAP, MARGIN, TITLE, HEAD = 0.16, 0.05, 0.03, 0.6, 0.2, 0.3, 0.09
LEGEND_WIDTH, LEGEND_HEIGHT, FRAME_PAD = 3.4, 0.4, 0.09
CAPTION_WIDTH, CHARACTER = 4.6, 0.072
PIXELS, LEAST_DPI = 1600, 110  # the width of a picture, for a slide


class Panel:
    """Boxes, arrows and frames, placed, to be painted once or, in different states, several times.

    Args:
        nodes (list of layout.Node): inputs before their users.
        layers (dict): what is written on a frame → the Nodes in it.
        title (str): above it; ``caption`` is the text below.

    Attributes:
        active (set): the Nodes and (Node, index of input) of arrows to be shown in red, the arrow
            the way a gradient goes.
        labels (dict): (Node, index of input) of an arrow → the text beside it.
        marks (dict): Node → numbers at its corner.
        lines (int): how many its caption has room for.
    """

    def __init__(self, nodes, layers=(), title="", caption=""):
        self.nodes, self.layers = nodes, dict(layers)
        self.title, self.active, self.labels, self.marks = title, set(), {}, {}
        for node in nodes:
            measure(node)
        self.arrows, self.graph_width, self.height = layout.lay_out(nodes)
        self.width = max(self.graph_width, CAPTION_WIDTH * bool(caption))
        self.caption = textwrap.wrap(caption, int(self.width / CHARACTER))
        self.lines = len(self.caption)

    def paint(self, axes, left, top):
        """Paint it with its upper left corner there."""
        self.axes, self.left, self.top = axes, left + (self.width - self.graph_width) / 2, top
        write(self.axes, left + self.width / 2, top - TITLE / 2, self.title, FONT + 2, ha="center")
        for text, members in self.layers.items():
            self.paint_frame(text, members)
        for arrow in self.arrows:
            self.paint_arrow(arrow)
        for node in self.nodes:
            self.paint_node(node)
        for node, numbers in self.marks.items():
            text = ",".join(map(str, numbers[:3])) + ",…" * (len(numbers) > 3)
            x, y = self.left + node.x - node.width / 2, top + node.y - node.height / 2
            write(self.axes, x, y, text, FONT - 2, zorder=6, ha="center", va="center",
                  color="white", bbox={**LABEL, "boxstyle": "round,pad=0.25", "facecolor": DARK})
        write(self.axes, left, top + self.height + MARGIN, "\n".join(self.caption), FONT + 1,
              va="top")

    def paint_node(self, node):
        """Its parts as boxes, from the top."""
        from matplotlib.patches import FancyBboxPatch

        top = self.top + node.y - node.height / 2
        edge = (ACTIVE, 2.2) if node in self.active else (DARK, 1.0)
        for kind, text in node.parts:
            height = height_of(text)
            self.axes.add_artist(FancyBboxPatch(
                (self.left + node.x - node.width / 2, top), node.width, height, zorder=3,
                boxstyle=f"round,pad=0,rounding_size={0.1 if kind == 'operation' else 0.04}",
                facecolor=KINDS[kind][0], edgecolor=edge[0], linewidth=edge[1]))
            write(self.axes, self.left + node.x, top + height / 2, text, FONT, zorder=4,
                  ha="center", va="center")
            top += height + STACK_GAP

    def paint_arrow(self, arrow):
        """A line through its points, its head, and its label near the operation."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path

        key = arrow.target, arrow.index
        colour, width = (ACTIVE, 2.0) if key in self.active else (DARK, 1.0)
        points = [(self.left + x, self.top + y) for x, y in arrow.points]
        vertices, codes = [points[0]], [Path.MOVETO]
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            bend = [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)] if x0 != x1 and y0 != y1 else []
            vertices += bend + [(x1, y1)]
            codes += [Path.CURVE4] * 3 if bend else [Path.LINETO]
        self.axes.add_artist(PathPatch(Path(vertices, codes), facecolor="none", edgecolor=colour,
                                       linewidth=width, zorder=1))
        (x, y), way = (points[0], 1) if key in self.active else (points[-1], -1)
        head = [(x, y), (x - HEAD / 2, y + way * HEAD), (x + HEAD / 2, y + way * HEAD)]
        self.axes.add_artist(Polygon(head, facecolor=colour, edgecolor="none", zorder=2))
        if self.labels.get(key):
            x, y = points[-1]
            write(self.axes, x, y - HEAD - 0.02, self.labels[key], FONT - 1, zorder=5,
                  ha="center", va="bottom", color=ACTIVE,
                  bbox={**LABEL, "facecolor": "white", "alpha": 0.85})

    def paint_frame(self, text, members):
        """A dashed line around the boxes of a layer, row by row; none where others are between."""
        from matplotlib.patches import Polygon

        rows = sorted({node.row for node in members})
        if rows != list(range(rows[0], rows[-1] + 1)):
            return
        down, up = [], []  # corners: along the left sides, and back along the right ones
        for row in rows:
            here = [node for node in members if node.row == row]
            left = min(node.x - node.width / 2 for node in here) - FRAME_PAD
            right = max(node.x + node.width / 2 for node in here) + FRAME_PAD
            if any(node.row == row and node not in members and node.x + node.width / 2 > left
                   and node.x - node.width / 2 < right for node in self.nodes):
                return
            for y in here[0].band[0] - layout.ROW_GAP / 2, here[0].band[1] + layout.ROW_GAP / 2:
                down.append((self.left + left, self.top + y))
                up.insert(0, (self.left + right, self.top + y))
        self.axes.add_artist(Polygon(down + up, closed=True, facecolor="#f6f4ee", edgecolor=FRAME,
                                     linestyle=(0, (4, 3)), linewidth=0.9, zorder=0))
        write(self.axes, down[0][0] + 0.04, down[0][1] + 0.02, text, FONT - 2, va="top",
              color="#5a5a5a", zorder=1)


@contextlib.contextmanager
def default_style():
    """Context with matplotlib's own settings, whatever the user has set for other pictures.
    (Read as a dict: in old versions, to read them by their methods looks for a display.)"""
    module = os.environ.get("MPLBACKEND", "").partition("module://")[2]
    if module and find_spec(module.partition(".")[0]) is None:  # a notebook's of another Python
        del os.environ["MPLBACKEND"]
    try:
        from matplotlib import rcParams, rcParamsDefault
    except ImportError:
        raise ImportError("draw needs matplotlib, which this Python lacks; run .venv/bin/python "
                          "instead, where ./grade.sh 1 installs it") from None
    saved = dict(dict.items(rcParams))
    dict.update(rcParams, {name: value for name, value in dict.items(rcParamsDefault)
                           if name != "backend"})
    try:
        yield
    finally:
        dict.update(rcParams, saved)


@default_style()
def paint(panels, filename=None, columns=None):
    """Paint Panels side by side, in rows of so many; returns the Figure, saved under a name. It
    has no window, so that no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns or len(panels), len(panels))
    axes = Figure().add_axes([0, 0, 1, 1])
    FigureCanvasAgg(axes.figure)
    axes.axis("off")
    title, lines = TITLE * any(panel.title for panel in panels), max(p.lines for p in panels)
    caption = (MARGIN + lines * 1.2 * LINE) * bool(lines)
    widths = [max(panel.width, width_of(panel.title, FONT + 2)) for panel in panels]
    widest = [max(widths[column::columns]) for column in range(columns)]
    right, bottom = sum(widest) + PANEL_GAP * (columns - 1), -MARGIN - TITLE
    for start in range(0, len(panels), columns):
        left, row, top = 0.0, panels[start:start + columns], bottom + MARGIN + TITLE + title
        for panel, width in zip(row, widest):
            panel.paint(axes, left + (width - panel.width) / 2, top)
            left += width + PANEL_GAP
        bottom = top + max(panel.height for panel in row) + caption
    add_legend(axes)
    above = -LEGEND_HEIGHT - MARGIN * (2 if any(panel.layers for panel in panels) else 1)
    side = max((LEGEND_WIDTH - right) / 2, 0) + MARGIN
    width, height = right + 2 * side, bottom + MARGIN - above
    axes.set_xlim(-side, right + side)
    axes.set_ylim(bottom + MARGIN, above)
    axes.figure.set_size_inches(width, height)
    axes.figure.set_dpi(max(PIXELS / width, LEAST_DPI))
    if filename is not None:
        axes.figure.savefig(filename, dpi=axes.figure.dpi)
    axes.figure._repr_png_ = lambda: png_of(axes.figure)  # what a notebook asks for
    return axes.figure


def measure(node):
    """Set width and height of a Node to those of its parts, stacked, or leave them larger."""
    widths = [width_of(text, FONT) + 2 * PAD for _, text in node.parts]
    node.width = max(1.5 * HEAD * (len(node.inputs) + 1), *widths, node.width)
    heights = STACK_GAP * (len(node.parts) - 1) + sum(height_of(text) for _, text in node.parts)
    node.height = max(node.height, heights)


@default_style()
def font():
    """The font of all texts, so large that what it measures are 64ths of a thousandth of an em."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    found = get_font(findfont(FontProperties()))
    found.set_size(1000, 72)
    return found


def width_of(text, size):
    """The width of a text in points of that size."""
    widths, measured = [], font()
    for line in drawable(text).split("\n"):
        measured.set_text(line)
        widths.append(measured.get_width_height()[0] / 64 / 1000 * size / 72)
    return max(widths)


def height_of(text):
    """Height of a box around that text, in inches."""
    return LINE * (1 + text.count("\n")) + 2 * PAD


def write(axes, x, y, text, size, **style):
    """Put a text there as it is, without reading it as a formula."""
    text = drawable(text).replace("$", r"\$")
    return axes.text(x, y, text, fontsize=size, usetex=False, **style)


def drawable(text):
    """``text`` with what the font cannot draw, such as Chinese, in Python's notation for it."""
    known = font().get_charmap()
    return "".join(character if character == "\n" or ord(character) in known
                   else character.encode("unicode_escape").decode() for character in text)


def add_legend(axes):
    """Above the picture: what each colour means."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor=DARK, label=label)
               for colour, label in KINDS.values()]
    axes.legend(handles=handles, loc="upper center", ncol=2, frameon=False, fontsize=FONT - 1)


def png_of(figure):
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi)
    return file.getvalue()
