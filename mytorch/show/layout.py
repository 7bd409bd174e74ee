"""A layered layout for pictures: which box goes where, and along which points the arrows run.
Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical Structures (1981)."""

from itertools import combinations

# Inches: between boxes of a row, between rows, and what an arrow takes where it passes a row.
SIDE_GAP, ROW_GAP, BEND_WIDTH = 0.24, 0.4, 0.1


class Node:
    """A box to be placed; or, without parts, a bend, where an arrow passes a row.

    Args:
        parts (list): what is shown in it, (kind, text) each, from the top.
        inputs (list of Node): where its arrows come from, one for each argument, in order.

    Attributes:
        key: who it belongs to in the graph, for whoever made it.
        width, height (float): its size, known before it is placed.
        x, y (float): its middle, y growing downward, known afterwards, as is ``row``.
    """

    def __init__(self, parts=(), inputs=(), key=None):
        self.parts, self.inputs, self.key = list(parts), list(inputs), key
        self.width, self.height = BEND_WIDTH, 0.0
        self.x = self.y = 0.0
        self.row = self.place = 0  # place: number in the row, from the left
        self.row_top = self.row_bottom = 0.0
        self.uppers, self.lowers = [], []  # arrows: (node at the other end, port below)


class Arrow:
    """From the bottom of ``source``, past bends, to where input ``index`` of ``target`` meets it.

    Attributes:
        points (list): (x, y) each, between which it is straight or, where both change, an S.
    """

    def __init__(self, source, target, index):
        self.source, self.target, self.index, self.points = source, target, index, []
        bends = [Node() for _ in range(source.row + 1, target.row)]
        for row, bend in enumerate(bends, source.row + 1):
            bend.row = row
        self.chain = [source, *bends, target]
        ports = [0.0] * len(bends) + [port(index, len(target.inputs))]
        for upper, lower, where in zip(self.chain, self.chain[1:], ports):
            upper.lowers.append((lower, where))
            lower.uppers.append((upper, where))
        self.start, self.end = 0.0, ports[-1]

    def arrival(self, i):
        """The x where it meets ``chain[i]``."""
        node = self.chain[i]
        return node.x + self.end * node.width if node is self.target else node.x

    def route(self):
        """Set its points; where it passes a row it runs straight down."""
        x = self.source.x + self.start * self.source.width
        self.points = [(x, self.source.y + self.source.height / 2), (x, self.source.row_bottom)]
        for i, node in enumerate(self.chain[1:], 1):
            x = self.arrival(i)
            bottom = self.target.y - node.height / 2 if node is self.target else node.row_bottom
            self.points += [(x, node.row_top), (x, bottom)]


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
    reduce_crossings(rows)
    place_in_rows(rows)
    left = min(node.x - node.width / 2 for row in rows for node in row)
    top = 0.0
    for row in rows:
        bottom = top + max(node.height for node in row)
        for node in row:
            node.x, node.y = node.x - left, (top + bottom) / 2
            node.row_top, node.row_bottom = top, bottom
        top = bottom + ROW_GAP
    for arrow in arrows:
        beside = [other for other in arrows if other.source is arrow.source]
        beside.sort(key=lambda other: other.arrival(1))
        arrow.start = port(beside.index(arrow), len(beside))
        arrow.route()
    return arrows, max(node.x + node.width / 2 for row in rows for node in row), top - ROW_GAP


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


def reduce_crossings(rows):
    """Order each row by the means of its neighbours' places, down and up; keep the best."""
    best = None
    for sweep in range(8):
        for row in rows[::-1] if sweep % 2 else rows:
            if sweep:
                row.sort(key=lambda node: mean_place(node, sweep % 2))
            number(row)
        count = sum(crossings(*pair) for row in rows for pair in combinations(row, 2))
        if best is None or count < best[0]:
            best = count, [list(row) for row in rows]
    for row, order in zip(rows, best[1]):
        row[:] = order
        number(row)


def number(row):
    """Give each node of a row its place, counted from 0."""
    for place, node in enumerate(row):
        node.place = place


def mean_place(node, upward):
    """Mean of the places a node is tied to, in the row below (``upward``) or above."""
    places = ([lower.place + where for lower, where in node.lowers] if upward
              else [upper.place for upper, _ in node.uppers])
    return sum(places) / len(places) if places else node.place


def crossings(left, right):
    """How many arrows to the next row cross each other that leave ``left`` and ``right`` of it."""
    return sum(node.place + where > other.place + other_where
               for node, where in left.lowers for other, other_where in right.lowers)


def place_in_rows(rows):
    """Set each x: as near to where its arrows would be straight as the row has room."""
    for sweep in range(50):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            offsets = [0.0]
            for left, right in zip(row, row[1:]):
                offsets.append(offsets[-1] + (left.width + right.width) / 2 + SIDE_GAP)
            places = increasing([(x - offset, weight)
                                 for (x, weight), offset in zip(map(wish, row), offsets)])
            for node, x, offset in zip(row, places, offsets):
                node.x = x + offset


def wish(node):
    """The x that makes the arrows of ``node`` straightest, and how much that matters."""
    pulls = [(upper.x - where * node.width, upper) for upper, where in node.uppers]
    pulls += [(lower.x + where * lower.width, lower) for lower, where in node.lowers]
    weights = [straightness(node, other) for _, other in pulls]
    weight = sum(weights)
    if not weight:
        return node.x, 1
    return sum(x * w for (x, _), w in zip(pulls, weights)) / weight, weight


def straightness(node, other):
    """How straight their arrow should be: long ones most, those of leaves and constants least."""
    if node.parts and other.parts:
        return 4 if node.inputs and other.inputs else 1
    return 4 if node.parts or other.parts else 64


def increasing(wishes):
    """The increasing numbers nearest to ``wishes``, (number, weight) each: pools neighbours."""
    pools = []  # (mean, weight, how many)
    for mean, weight in wishes:
        count = 1
        while pools and pools[-1][0] > mean:
            left, left_weight, left_count = pools.pop()
            mean = (left * left_weight + mean * weight) / (left_weight + weight)
            weight, count = left_weight + weight, left_count + count
        pools.append((mean, weight, count))
    return [mean for mean, _, count in pools for _ in range(count)]
