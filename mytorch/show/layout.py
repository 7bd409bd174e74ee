"""A layered layout for draw.py: which box goes where, and along which points the arrows run.
Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical Structures (1981)."""

import math
from itertools import combinations

# Inches: between boxes of a row, between rows, between columns, between arrows that go from
# column to column, and what an arrow takes where it passes a row.
SIDE_GAP, ROW_GAP, COLUMN_GAP, LANE, BEND_WIDTH = 0.24, 0.34, 0.4, 0.14, 0.1
ROWS_IN_ONE_COLUMN = 10
FAR = 3  # rows


class Node:
    """A box to be placed; or, without parts, a bend, where an arrow passes a row.

    Args:
        parts (list): what draw.py shows in it.
        inputs (list of Node): where its arrows come from, one for each argument, in order.

    Attributes:
        width, height (float): its size, known before it is placed.
        x, y (float): its middle, y growing downward, known afterwards.
    """

    def __init__(self, parts=(), inputs=()):
        self.parts, self.inputs = list(parts), list(inputs)
        self.width, self.height = BEND_WIDTH, 0.0
        self.x = self.y = 0.0
        self.row = self.place = 0  # place: number in the row, from the left
        self.row_top = self.row_bottom = self.column_right = 0.0
        self.uppers, self.lowers = [], []  # arrows: (node at the other end, port below)


class Arrow:
    """From the bottom of the first Node of ``chain``, past bends, to a port of the last one."""

    def __init__(self, source, target, index):
        bends = [Node() for _ in range(source.row + 1, target.row)]
        for row, bend in enumerate(bends, source.row + 1):
            bend.row = row
        self.chain = [source, *bends, target]
        ports = [0.0] * len(bends) + [port(index, len(target.inputs))]
        for upper, lower, where in zip(self.chain, self.chain[1:], ports):
            upper.lowers.append((lower, where))
            lower.uppers.append((upper, where))
        self.start, self.end = 0.0, ports[-1]

    def departure(self, i):
        """The x where it leaves ``chain[i]``."""
        node = self.chain[i]
        return node.x + self.start * node.width if i == 0 else node.x

    def arrival(self, i):
        """The x where it meets ``chain[i]``."""
        node = self.chain[i]
        return node.x + self.end * node.width if node is self.chain[-1] else node.x


def port(index, count):
    """Where arrow ``index`` of ``count`` meets a box: from its middle, in widths of the box."""
    return (index + 1) / (count + 1) - 0.5


def lay_out(nodes):
    """Place ``nodes``, in which inputs come before their users, none of them linked yet.

    Rows are folded into columns, read one after the other, where there are too many of them.

    Returns:
        tuple: for each arrow a list of points (x, y), between which it is straight or, where
        both x and y change, an S; then the width and the height of everything.
    """
    assign_rows(nodes)
    rows, arrows = arrange(nodes)
    starts = fold(rows)
    if len(starts) > 1:
        starts = keep_with_users(nodes, starts)
        rows, arrows = arrange(nodes)
    width, height = place_columns(rows, starts)
    return route(arrows), width, height


def arrange(nodes):
    """Link nodes that have their rows, and place them in these; returns the rows and the Arrows."""
    for node in nodes:
        node.uppers, node.lowers = [], []
    arrows = [Arrow(source, node, index)
              for node in nodes for index, source in enumerate(node.inputs)]
    rows = [[] for _ in range(1 + max(node.row for node in nodes))]
    for node in dict.fromkeys(nodes + [node for arrow in arrows for node in arrow.chain]):
        rows[node.row].append(node)
    reduce_crossings(rows)
    place_in_rows(rows)
    return rows, arrows


def keep_with_users(nodes, starts):
    """Move leaves and constants at the end of a column, whose users are in the next, there too.

    They get a row of their own at its top. Returns the new numbers of the rows in ``starts``.
    """
    users = {node: [] for node in nodes}
    for node in nodes:
        for given in node.inputs:
            users[given].append(node)
    moved, grown = [starts[0]], 0
    for start in starts[1:]:
        start += grown
        leaving = [node for node in nodes if node.row == start - 1 and not node.inputs
                   and users[node] and all(user.row >= start for user in users[node])]
        if leaving:
            grown += 1
            for node in nodes:
                node.row += node.row >= start
            for node in leaving:
                node.row = start
        moved.append(start)
    return moved


def repeat_sources(nodes, again):
    """Give leaves and constants a further box where they are used far below, in high pictures.

    A weight that each step of a recurrent network uses would else send an arrow down past all
    the others.

    Args:
        nodes (list of Node): inputs before their users.
        again: called with a Node without inputs, returns one that stands for it.

    Returns:
        list: ``nodes`` and the new ones, inputs before their users.
    """
    assign_rows(nodes)
    if max(node.row for node in nodes) < ROWS_IN_ONE_COLUMN:
        return nodes
    nearest, result = {}, []  # nearest: of each source the box used last, and its first user's row
    for node in sorted(nodes, key=lambda node: node.row):
        for i, source in enumerate(node.inputs):
            if source.inputs:
                continue
            box, row = nearest.get(source, (source, node.row))
            if node.row - row >= FAR:
                box, row = again(source), node.row
                result.append(box)
            nearest[source] = box, row
            node.inputs[i] = box
        result.append(node)
    return result


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
    """Order each row by the means of its neighbours' places, swap neighbours, keep the best."""
    best = None
    for sweep in range(8):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            if sweep:
                row.sort(key=lambda node: mean_place(node, down))
            number(row)
        for row in rows:
            for i in range(len(row) - 1):
                if crossings(row[i + 1], row[i]) < crossings(row[i], row[i + 1]):
                    row[i], row[i + 1] = row[i + 1], row[i]
                    number(row)
        count = sum(crossings(*pair, ("lowers",)) for row in rows for pair in combinations(row, 2))
        if best is None or count < best[0]:
            best = count, [list(row) for row in rows]
    for row, order in zip(rows, best[1]):
        row[:] = order
        number(row)


def number(row):
    """Give each node of a row its place, counted from 0."""
    for place, node in enumerate(row):
        node.place = place


def mean_place(node, down):
    """Mean of the places a node is tied to, in the row above (``down``) or below."""
    places = ([upper.place for upper, _ in node.uppers] if down
              else [lower.place + where for lower, where in node.lowers])
    return sum(places) / len(places) if places else node.place


def crossings(left, right, sides=("uppers", "lowers")):
    """How many arrows of ``left`` and ``right``, in this order in their row, cross each other."""
    return sum(
        node.place + where * (side == "lowers") > other.place + other_where * (side == "lowers")
        for side in sides
        for node, where in getattr(left, side) for other, other_where in getattr(right, side))


def place_in_rows(rows):
    """Set each x: as near to where its arrows would be straight as the row has room."""
    for sweep in range(50):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            offsets = [0.0]
            for left, right in zip(row, row[1:]):
                offsets.append(offsets[-1] + (left.width + right.width) / 2 + SIDE_GAP)
            wishes = [wish(node) for node in row]
            places = increasing([(x - offset, weight)
                                 for (x, weight), offset in zip(wishes, offsets)])
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


def fold(rows):
    """Numbers of the rows that begin a column: about even, but where few arrows are cut."""
    columns = columns_for(rows)
    starts = [0]
    for column in range(1, columns):
        even = round(column * len(rows) / columns)
        starts.append(min(range(even - 2, even + 3), key=lambda row: (
            sum(len(node.lowers) for node in rows[row - 1]), abs(row - even))))
    return starts


def columns_for(rows):
    """How many columns make a picture that is wide rather than high; 1 where the rows are few."""
    left = min(row[0].x - row[0].width / 2 for row in rows)
    width = max(row[-1].x + row[-1].width / 2 for row in rows) - left
    height = sum(max(node.height for node in row) + ROW_GAP for row in rows)
    columns = min(round(math.sqrt(2.5 * height / width)), len(rows) // 5)
    return max(columns, 1) if len(rows) > ROWS_IN_ONE_COLUMN else 1


def place_columns(rows, starts):
    """Set each y, and move the rows of each column to its x; returns width and height."""
    cut = [sum(len(node.lowers) for node in rows[start - 1]) for start in starts[1:]]
    border = LANE * (max(cut) + 1) if cut else 0.0
    left = height = 0.0
    for start, end, lanes in zip(starts, starts[1:] + [len(rows)], cut + [0]):
        nodes = [node for row in rows[start:end] for node in row]
        shift = left - min(node.x - node.width / 2 for node in nodes)
        right = shift + max(node.x + node.width / 2 for node in nodes)
        top = border
        for row in rows[start:end]:
            bottom = top + max(node.height for node in row)
            for node in row:
                node.x, node.y, node.column_right = node.x + shift, (top + bottom) / 2, right
                node.row_top, node.row_bottom = top, bottom
            top = bottom + ROW_GAP
        left = right + COLUMN_GAP + LANE * lanes
        height = max(height, bottom + border)
    return right, height


def route(arrows):
    """The points of each arrow; where it passes a row it runs straight down."""
    for arrow in arrows:
        beside = [other for other in arrows if other.chain[0] is arrow.chain[0]]
        beside.sort(key=lambda other: other.arrival(1))
        arrow.start = port(beside.index(arrow), len(beside))
    return [points(arrow, arrows) for arrow in arrows]


def points(arrow, arrows):
    """Corners of the line that draws an arrow, from its source to its target."""
    source, target = arrow.chain[0], arrow.chain[-1]
    found = [(arrow.departure(0), source.y + source.height / 2)]
    for i, (upper, lower) in enumerate(zip(arrow.chain, arrow.chain[1:])):
        x, to_x = arrow.departure(i), arrow.arrival(i + 1)
        found.append((x, upper.row_bottom))
        if upper.column_right != lower.column_right:
            # Up to the next column, each arrow in a lane of its own, the rightmost innermost.
            cut = [other.departure(j) for other in arrows
                   for j, node in enumerate(other.chain[:-1]) if node.row == upper.row]
            lane = sum(other_x > x for other_x in cut)
            across = upper.column_right + COLUMN_GAP / 2 + LANE * lane
            down = upper.row_bottom + LANE * (lane + 1)
            up = lower.row_top - LANE * (len(cut) - lane)
            found += [(x, down), (across, down), (across, up), (to_x, up)]
        found.append((to_x, lower.row_top))
    return found + [(arrow.arrival(len(arrow.chain) - 1), target.y - target.height / 2)]
