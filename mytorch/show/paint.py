"""Paints boxes and arrows that layout.py has placed, by matplotlib, which is imported only here.
All lengths are inches; y grows downward."""

import io

from mytorch.show.layout import ROW_GAP, lay_out

KINDS = {  # kind of box: (colour, what the legend says)
    "leaf": ("#b5dfae", "leaf, collects .grad"),
    "operation": ("#ffd699", "operation"),
    "result": ("#bdd7f1", "result of an operation"),
    "constant": ("#e3e3e3", "constant, gets no gradient"),
}
DARK, ACTIVE = "#404040", "#c8201e"
FONT = 9  # points
LINE, PAD, STACK_GAP, PANEL_GAP, MARGIN, HEAD = 0.16, 0.05, 0.03, 0.6, 0.2, 0.09
FRAME_PAD = 0.09
LEGEND_WIDTH, LEGEND_HEIGHT = 3.4, 0.46
CAPTION_LINE, CHARACTER = 0.15, 0.067  # of a caption, in a font where all are as wide
PIXELS, LEAST_DPI = 1600, 110  # the width of a picture, for a slide
MILLISECONDS, MILLISECONDS_OF_THE_LAST = 1500, 4500


class Panel:
    """A graph to be painted, alone or beside others that show the same graph in other states.

    Args:
        nodes (list of layout.Node): inputs before their users.
        caption (list of str): lines of text below.
        frames (dict): what is written on a frame → the Nodes in it.

    Attributes:
        active (set): the Nodes and (Node, index of input) of arrows to be shown in red, the arrow
            the way a gradient goes.
        labels (dict): (Node, index of input) of an arrow → the text beside it.
        marks (dict): Node → numbers at its corner.
    """

    def __init__(self, nodes, caption=(), frames=()):
        self.nodes, self.caption, self.frames = nodes, caption, dict(frames)
        self.active, self.labels, self.marks = set(), {}, {}

    def measure(self):
        """Set width and height of all Nodes to those of their parts, stacked, and of labels."""
        for node in self.nodes:
            widths = [width_of(text) + 2 * PAD for _, text in node.parts]
            rooms = [1.5 * HEAD, *(width_of(label) for (target, _), label in self.labels.items()
                                   if target is node)]
            node.width = max(*widths, max(rooms) * (len(node.inputs) + 1))
            node.height = sum(height_of(text) for _, text in node.parts) + STACK_GAP * (
                len(node.parts) - 1)

    def paint(self, axes, left, top):
        """Paint it with its upper left corner there."""
        self.axes, self.left, self.top = axes, left + (self.width - self.graph_width) / 2, top
        for text, nodes in self.frames.items():
            self.paint_frame(text, nodes)
        for arrow in self.arrows:
            self.paint_arrow(arrow)
        for node in self.nodes:
            self.paint_node(node)
        for node, numbers in self.marks.items():
            text = ",".join(map(str, numbers[:3])) + ",…" * (len(numbers) > 3)
            self.write(node.x - node.width / 2, node.y - node.height / 2, text, FONT - 2, zorder=6,
                       va="center", color="white", bbox={
                           "boxstyle": "round,pad=0.25", "edgecolor": "none", "facecolor": DARK})
        axes.text(left, top + self.height + MARGIN, "\n".join(self.caption), va="top",
                  fontsize=FONT - 1, family="monospace", usetex=False)

    def write(self, x, y, text, size, **style):
        """Put a text there as it is, without reading it as a formula."""
        self.axes.text(self.left + x, self.top + y, text.replace("$", r"\$"), fontsize=size,
                       ha="center", usetex=False, **style)

    def paint_frame(self, text, nodes):
        """A dashed line around some Nodes, row by row; none where others are between them."""
        from matplotlib.patches import Polygon

        rows = [[node for node in nodes if node.row == row]
                for row in range(min(node.row for node in nodes), 1 + max(node.row for node in nodes))]
        down, up = [], []  # corners: along the left sides, and back along the right ones
        for row in rows:
            left = min([node.x - node.width / 2 for node in row], default=0) - FRAME_PAD
            right = max([node.x + node.width / 2 for node in row], default=0) + FRAME_PAD
            if not row or any(
                    node.row == row[0].row and node not in row and node.x + node.width / 2 > left
                    and node.x - node.width / 2 < right for node in self.nodes):
                return
            for y in row[0].band[0] - ROW_GAP / 2, row[0].band[1] + ROW_GAP / 2:
                down.append((self.left + left, self.top + y))
                up.insert(0, (self.left + right, self.top + y))
        self.axes.add_artist(Polygon(down + up, closed=True, facecolor="#f6f4ee", edgecolor="#8a8a8a",
                                     linestyle=(0, (4, 3)), linewidth=0.9, zorder=0))
        self.axes.text(down[0][0] + 0.04, down[0][1] + 0.02, text, va="top", fontsize=FONT - 2,
                       color="#5a5a5a", usetex=False, zorder=1)

    def paint_node(self, node):
        """Its parts as boxes, from the top."""
        from matplotlib.patches import FancyBboxPatch

        left, top = node.x - node.width / 2, node.y - node.height / 2
        edge, width = (ACTIVE, 2.2) if node in self.active else (DARK, 1.0)
        for kind, text in node.parts:
            height = height_of(text)
            self.axes.add_artist(FancyBboxPatch(
                (self.left + left, self.top + top), node.width, height, zorder=3,
                boxstyle=f"round,pad=0,rounding_size={0.1 if kind == 'operation' else 0.04}",
                facecolor=KINDS[kind][0], edgecolor=edge, linewidth=width))
            self.write(node.x, top + height / 2, text, FONT, zorder=4, va="center")
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
            vertices += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
            codes += [Path.CURVE4] * 3
        self.axes.add_artist(PathPatch(Path(vertices, codes), facecolor="none", edgecolor=colour,
                                       linewidth=width, zorder=1))
        (x, y), way = (points[0], 1) if key in self.active else (points[-1], -1)
        head = [(x, y), (x - HEAD / 2, y + way * HEAD), (x + HEAD / 2, y + way * HEAD)]
        self.axes.add_artist(Polygon(head, facecolor=colour, edgecolor="none", zorder=2))
        if key in self.labels:
            x, y = arrow.points[-1]
            self.write(x, y - HEAD - 0.02, self.labels[key], FONT - 1, zorder=5, va="bottom",
                       color=ACTIVE, bbox={"boxstyle": "square,pad=0.1", "edgecolor": "none",
                                           "facecolor": "white", "alpha": 0.85})


def paint(panels, filename=None, columns=1):
    """Paint Panels in rows of so many, or one after another for a ``.gif``; matplotlib's own
    settings hold, whatever the user has set for other pictures.

    Returns:
        matplotlib.figure.Figure: the picture, or the last one; it has no window, so that no
        display is needed.
    """
    from matplotlib import style

    with style.context("default"):
        place(panels)
        if not str(filename).endswith(".gif"):
            figure = figure_of(panels, min(columns, len(panels)))
            if filename is not None:
                figure.savefig(filename, dpi=figure.dpi)
            return figure
        try:
            from PIL import Image
        except ImportError:
            raise ImportError("Pillow is needed to write a .gif, and this Python lacks it: pip install "
                              "pillow, or give a name that ends in .png") from None
        figures = [figure_of([panel], 1) for panel in panels]
        first, *others = [Image.open(io.BytesIO(png_of(figure))) for figure in figures]
        first.save(str(filename), save_all=True, append_images=others, loop=0,
                   duration=[MILLISECONDS] * len(others) + [MILLISECONDS_OF_THE_LAST])
        return figures[-1]


def place(panels):
    """Lay out Panels of one graph: each box as wide as it is in any, so that nothing moves."""
    for panel in panels:
        panel.measure()
    for twins in zip(*(panel.nodes for panel in panels)):
        for node in twins:
            node.width = max(twin.width for twin in twins)
    for panel in panels:
        panel.arrows, panel.graph_width, panel.height = lay_out(panel.nodes)
    longest = max([len(line) for panel in panels for line in panel.caption], default=0)
    most = max(len(panel.caption) for panel in panels)
    for panel in panels:
        panel.width = max(CHARACTER * longest, *(other.graph_width for other in panels))
        panel.below = MARGIN + CAPTION_LINE * most


def figure_of(panels, columns):
    """The Figure of Panels that have been placed, in rows of so many."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    axes = Figure().add_axes([0, 0, 1, 1])
    axes.axis("off")
    across, bottom = panels[0].width + PANEL_GAP, 0.0
    right = across * columns - PANEL_GAP
    for start in range(0, len(panels), columns):
        row = panels[start:start + columns]
        for column, panel in enumerate(row):
            panel.paint(axes, across * column, bottom)
        bottom += max(panel.height + panel.below for panel in row) + MARGIN
    axes.legend(handles=[Patch(facecolor=colour, edgecolor=DARK, label=label)
                         for colour, label in KINDS.values()],
                loc="upper center", ncol=2, frameon=False, fontsize=FONT - 1)
    side = max((LEGEND_WIDTH - right) / 2, 0) + MARGIN
    width, height = right + 2 * side, bottom + LEGEND_HEIGHT + MARGIN
    axes.set_xlim(-side, right + side)
    axes.set_ylim(bottom, -LEGEND_HEIGHT - MARGIN)
    axes.figure.set_size_inches(width, height)
    axes.figure.set_dpi(max(PIXELS / width, LEAST_DPI))
    axes.figure._repr_png_ = lambda: png_of(axes.figure)  # what a notebook asks for
    return axes.figure


def width_of(text):
    """The width of a text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return max(text_to_path.get_text_width_height_descent(
        line, FontProperties(size=FONT), False)[0] / 72 for line in text.split("\n"))


def height_of(text):
    """Height of a box around that text."""
    return LINE * (1 + text.count("\n")) + 2 * PAD


def png_of(figure):
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi)
    return file.getvalue()
