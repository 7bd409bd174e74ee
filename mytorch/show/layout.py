"""A layered layout for pictures: which box goes where, and along which points the arrows run.
Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical Structures (1981)."""

# Inches: between boxes of a row, between rows, and what an arrow takes where it passes a row.
SIDE_GAP, ROW_GAP, BEND_WIDTH = 0.24, 0.4, 0.1
SORTING_SWEEPS, SWEEPS = 10, 50


class Node:
    """A box to be placed; or, without parts, a bend, where an arrow passes a row.

    Args:
        parts (list): what is shown in it, (kind, text) each, from the top.
        inputs (list of Node): where its arrows come from, one for each argument, in order.

    Attributes:
        width, height (float): its size, known before it is placed.
        x, y (float): its middle, y growing downward, known afterwards, as is ``row``.
        band (tuple): top and bottom of its row.
    """

    def __init__(self, parts=(), inputs=(), row=0):
        self.parts, self.inputs, self.row = list(parts), list(inputs), row
        self.width, self.height = BEND_WIDTH, 0.0
        self.x = self.y = 0.0
        self.band = 0.0, 0.0
        self.pulls = []  # of arrows: (node above or below, where to be from its middle, weight)


class Arrow:
    """From the bottom of ``source`` to where input ``index`` of ``target`` meets it.

    Attributes:
        chain (list of Node): what it connects, with a bend in each row between.
        points (list): (x, y) each, between which it is straight or, where both change, an S.
    """

    def __init__(self, source, target, index):
        self.source, self.target, self.index, self.points = source, target, index, []
        bends = [Node(row=row) for row in range(source.row + 1, target.row)]
        self.chain = [source, *bends, target]
        self.end = port(index, len(target.inputs)) * target.width
        for upper, lower in zip(self.chain, self.chain[1:]):
            where = self.end if lower is target else 0.0
            weight = 4 ** (1 + (upper is not source) + (lower is not target))
            weight = weight if bends or source.inputs else 1  # leaves and constants follow
            upper.pulls.append((lower, where, weight))
            lower.pulls.append((upper, -where, weight))

    def route(self, start):
        """Set its points, from ``start`` at the source; where it passes a row it runs straight."""
        self.points = [(start, self.source.y + self.source.height / 2),
                       (start, self.source.band[1])]
        for bend in self.chain[1:-1]:
            self.points += [(bend.x, bend.band[0]), (bend.x, bend.band[1])]
        end, target = self.target.x + self.end, self.target
        self.points += [(end, target.band[0]), (end, target.y - target.height / 2)]


def port(index, count):
    """Where arrow ``index`` of ``count`` meets a box: from its middle, in widths of the box."""
    return (index + 1) / (count + 1) - 0.5


def lay_out(nodes):
    """Place ``nodes``, in which inputs come before their users, none of them linked yet.

    Returns:
        tuple: the Arrows, then the width and the height of everything.
    """
    assign_rows(nodes)
    arrows = [Arrow(source, node, index)
              for node in nodes for index, source in enumerate(node.inputs)]
    rows = [[] for _ in range(1 + max(node.row for node in nodes))]
    for node in dict.fromkeys(nodes + [node for arrow in arrows for node in arrow.chain]):
        rows[node.row].append(node)
    for sweep in range(SWEEPS):
        way = -1 if sweep % 2 else 1  # up or down
        for row in rows[::way]:
            if 0 < sweep < SORTING_SWEEPS:
                row.sort(key=lambda node: wish(node, way))
            spread(row)
    left = min(node.x - node.width / 2 for row in rows for node in row)
    bottom = -ROW_GAP
    for row in rows:
        top = bottom + ROW_GAP
        bottom = top + max(node.height for node in row)
        for node in row:
            node.x, node.y, node.band = node.x - left, (top + bottom) / 2, (top, bottom)
    for node in nodes:
        leaving = [arrow for arrow in arrows if arrow.source is node]
        leaving.sort(key=lambda arrow: arrow.chain[1].x + arrow.end * (len(arrow.chain) == 2))
        for index, arrow in enumerate(leaving):
            arrow.route(node.x + port(index, len(leaving)) * node.width)
    return arrows, max(node.x + node.width / 2 for row in rows for node in row), bottom


def assign_rows(nodes):
    """The longest path from an input decides; then down again while no arrow gets longer."""
    users = {node: [] for node in nodes}
    for node in nodes:
        node.row = max([source.row + 1 for source in node.inputs], default=0)
        for source in node.inputs:
            users[source].append(node)
    for node in reversed(nodes):
        held = [source for source in node.inputs if source.inputs]  # the others move along
        if users[node] and len(held) <= len(users[node]):
            node.row = min(user.row for user in users[node]) - 1
    top = min(node.row for node in nodes)
    for node in nodes:
        node.row -= top


def wish(node, way=0):
    """The x that makes the arrows of ``node`` straightest, long ones before others; of all of
    them, or of those alone that come from above (``way`` 1) or from below (-1)."""
    pulls = [(other.x + where, weight) for other, where, weight in node.pulls
             if (node.row - other.row) * way >= 0]
    total = sum(weight for _, weight in pulls)
    return sum(x * weight for x, weight in pulls) / total if pulls else node.x


def spread(row):
    """Move the nodes of a row as near to their wishes as they have room: midway between what
    pushing to the right and pushing to the left would give."""
    wishes = list(map(wish, row))
    right, left = list(wishes), list(wishes)
    for i in range(1, len(row)):
        right[i] = max(right[i], right[i - 1] + gap(row[i - 1], row[i]))
    for i in range(len(row) - 2, -1, -1):
        left[i] = min(left[i], left[i + 1] - gap(row[i], row[i + 1]))
    for node, *places in zip(row, left, right):
        node.x = sum(places) / 2


def gap(left, right):
    """How far apart the middles of two neighbours must be."""
    return (left.width + right.width) / 2 + SIDE_GAP
