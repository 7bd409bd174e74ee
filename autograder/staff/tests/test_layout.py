"""Where layout.py puts boxes of known sizes: what touches what, what is straight, what is folded.
The figures are inches, as a person found them good on the pictures."""

import random
from itertools import combinations

import pytest

from mytorch.show.layout import Node, crossings, lay_out, repeat_sources

WIDTH, HEIGHT = 1.0, 0.5


def source(width=WIDTH):
    return sized(Node([("leaf", "")]), width)


def operation(*inputs, width=WIDTH):
    return sized(Node([("operation", "")], inputs), width)


def sized(node, width):
    node.width, node.height = width, HEIGHT
    return node


def chain(length, start=None):
    """A source, unless given, and so many operations, each on the one before, as a list."""
    nodes = [start or source()]
    for _ in range(length):
        nodes.append(operation(nodes[-1]))
    return nodes


def spine(length):
    """Operations on the one before and a source of their own; (the operations, the sources)."""
    operations, sources = [operation(source(), source())], []
    sources += operations[0].inputs
    for _ in range(length - 1):
        sources.append(source())
        operations.append(operation(operations[-1], sources[-1]))
    return operations, sources


def ends(arrow):
    return arrow[0], arrow[-1]


def test_neighbours_that_push_each_other_stand_a_quarter_of_an_inch_apart():
    inputs = [source() for _ in range(3)]
    lay_out([*inputs, operation(*inputs)])
    left, middle, right = sorted(node.x for node in inputs)
    assert middle - left == pytest.approx(WIDTH + 0.24) == right - middle


def test_the_next_row_begins_a_third_of_an_inch_below_the_last():
    nodes = chain(4)
    _, width, height = lay_out(nodes)
    assert [node.y for node in nodes] == pytest.approx([0.25 + 0.84 * row for row in range(5)])
    assert width == pytest.approx(WIDTH) and height == pytest.approx(5 * HEIGHT + 4 * 0.34)


def test_an_operation_with_one_input_stands_straight_below_it():
    nodes = chain(6)
    arrows, _, _ = lay_out(nodes)
    assert {round(node.x, 6) for node in nodes} == {0.5}
    assert all(x == pytest.approx(0.5) for arrow in arrows for x, _ in arrow)


def test_the_arrows_of_an_operation_meet_it_evenly_in_the_order_of_its_arguments():
    inputs = [source() for _ in range(3)]
    last = operation(*inputs)
    arrows, _, _ = lay_out([*inputs, last])
    assert [ends(arrow)[1][0] - last.x for arrow in arrows] == pytest.approx([-0.25, 0.0, 0.25])
    assert [node.x for node in inputs] == sorted(node.x for node in inputs)


def test_an_arrow_that_passes_rows_keeps_a_tenth_of_an_inch_for_itself_and_runs_straight():
    skipped = chain(3)
    last = operation(skipped[0], skipped[-1])
    (_, _, _, skip, _), _, _ = lay_out([*skipped, last])
    passing = [x for x, y in skip[2:-2]]
    assert max(passing) - min(passing) < 0.02
    gap = min(abs(x - node.x) - WIDTH / 2 for x in passing for node in skipped[1:])
    assert gap == pytest.approx(0.24 + 0.1 / 2, abs=0.02)


def test_arrows_between_operations_are_four_times_as_straight_as_those_of_sources():
    operations, sources = spine(6)
    arrows, _, _ = lay_out([*sources, *operations])
    bent = {True: [], False: []}  # whether it comes from an operation
    for (start, end), node in zip(map(ends, arrows), [
            node for user in operations for node in user.inputs]):
        bent[node in operations].append(abs(start[0] - end[0]))
    assert bent[True] == pytest.approx([0.18] * 5, abs=0.01)  # a quarter of what sources bend
    assert bent[False][2:] == pytest.approx([0.725] * 5, abs=0.01)


def test_sources_stand_in_the_row_above_their_first_use():
    late, nodes = source(), chain(4)
    last = operation(nodes[-1], late)
    lay_out([late, *nodes, last])
    assert late.row == nodes[-1].row == last.row - 1


def test_arrows_do_not_cross_where_they_need_not():
    inputs = [source() for _ in range(8)]
    level = inputs[::-1]
    nodes = list(inputs)
    while len(level) > 1:
        level = [operation(a, b) for a, b in zip(level[::2], level[1::2])][::-1]
        nodes += level
    arrows, _, _ = lay_out(nodes)
    for row in {node.row for node in nodes}:
        pairs = sorted((start[0], end[0]) for (start, end), node in zip(
            map(ends, arrows), [node for user in nodes for node in user.inputs]) if node.row == row)
        assert [end for _, end in pairs] == sorted(end for _, end in pairs)


def test_the_order_of_boxes_is_improved_until_few_arrows_cross():
    draws = random.Random(2)
    nodes = [source() for _ in range(4)]
    for _ in range(20):
        nodes.append(operation(*[nodes[-1 - draws.randrange(min(len(nodes), 6))] for _ in range(2)]))
    lay_out(nodes)
    for node in nodes:  # and so on into the bends, where an arrow passes a row
        nodes += [lower for lower, _ in node.lowers if not lower.parts]
    crossed = sum(crossings(*sorted(pair, key=lambda node: node.place), ("lowers",))
                  for pair in combinations(nodes, 2) if pair[0].row == pair[1].row)
    assert crossed == 12  # 29 in the order given, 21 after four sweeps


@pytest.mark.parametrize("operations, box_width, columns", [
    (9, 1.0, 1), (10, 1.0, 2), (16, 1.0, 3), (40, 1.0, 8), (40, 3.5, 5), (30, 6.0, 3)])
def test_more_than_ten_rows_are_folded_into_a_wide_picture_of_columns_of_at_least_five(
        operations, box_width, columns):
    nodes = [sized(node, box_width) for node in chain(operations)]
    _, width, _ = lay_out(nodes)
    assert len({node.column_right for node in nodes}) == columns
    assert width == pytest.approx(columns * box_width + (columns - 1) * (0.4 + 0.14))


def test_an_arrow_goes_to_the_next_column_in_a_lane_of_its_own_beside_and_above():
    nodes = chain(10)
    arrows, _, height = lay_out(nodes)
    (crossing,) = [arrow for arrow in arrows if len(arrow) > 5]
    start, _, down, across, up, *_ = [(round(x, 6), round(y, 6)) for x, y in crossing]
    last = [node for node in nodes if node.column_right == 1.0][-1]
    assert down == (0.5, pytest.approx(last.y + HEIGHT / 2 + 0.14))
    assert across[0] == up[0] == pytest.approx(1.0 + 0.2)
    assert up[1] == pytest.approx(0.14) and start[0] == 0.5
    assert height == pytest.approx(last.y + HEIGHT / 2 + 2 * 0.14)


def test_a_column_ends_where_few_arrows_are_cut():
    nodes = chain(4)
    for _ in range(2):  # two diamonds, each four rows high
        side = operation(nodes[-1])
        nodes += [side, operation(nodes[-1], side), ]
        nodes.append(operation(nodes[-1], side))
        nodes.append(operation(nodes[-1]))
    arrows, _, _ = lay_out(nodes)
    assert sum(len(arrow) > 5 and max(y for _, y in arrow) > arrow[0][1] + 0.1
               and arrow[-1][0] - arrow[0][0] > 0.5 for arrow in arrows) == 1


def test_a_source_at_the_end_of_a_column_goes_to_its_user_in_the_next():
    operations, sources = spine(24)
    arrows, _, _ = lay_out([*sources, *operations])
    columns = sorted({node.column_right for node in operations})
    assert len(columns) == 3
    for user, given in zip(operations[1:], sources[2:]):
        assert given.column_right == user.column_right and given.row == user.row - 1
    assert sum(len(arrow) > 6 for arrow in arrows) == 2  # from column to column, the results alone
    heights = [sum(node.column_right == right for node in operations) for right in columns]
    assert max(heights) - min(heights) <= 2


@pytest.mark.parametrize("rows_between, users_of_a_box", [(2, [2, 2, 2]), (3, [1] * 6), (4, [1] * 6)])
def test_in_high_pictures_a_source_used_three_rows_below_gets_a_box_there_again(
        rows_between, users_of_a_box):
    weight, nodes, users = source(), [source()], []
    for _ in range(6):
        users.append(operation(nodes[-1], weight))
        nodes += [users[-1], *chain(rows_between - 1, users[-1])[1:]]
    result = repeat_sources([weight, *nodes], lambda node: source())
    boxes = [node.inputs[1] for node in users]
    assert [boxes.count(box) for box in dict.fromkeys(boxes)] == users_of_a_box
    assert boxes[0] is weight and set(result) == {*nodes, *boxes}
    assert all(result.index(given) < result.index(node) for node in nodes for given in node.inputs)


def test_a_low_picture_has_each_source_once():
    weight, nodes = source(), chain(8)
    nodes.append(operation(nodes[-1], weight, nodes[1]))
    nodes[2].inputs.append(weight)
    assert repeat_sources([weight, *nodes], lambda node: 1 / 0) == [weight, *nodes]


def test_arrows_leave_a_box_in_the_order_in_which_they_arrive():
    shared, others = source(), [source() for _ in range(3)]
    users = [operation(other, shared) for other in others]
    last = operation(users[2], users[0], users[1])
    arrows, _, _ = lay_out([shared, *others, *users, last])
    from_shared = sorted(ends(arrow) for arrow in arrows[1:6:2])
    assert [start[0] for start, _ in from_shared] == pytest.approx(
        [shared.x - 0.25, shared.x, shared.x + 0.25])
    assert [end[0] for _, end in from_shared] == sorted(end[0] for _, end in from_shared)


def test_an_operation_of_two_results_stays_below_them_and_one_of_one_moves_to_its_user():
    first, second = chain(1), chain(1)
    of_two, of_one = operation(first[1], second[1]), operation(first[1])
    long = chain(5)
    last = operation(of_two, of_one, long[-1])
    lay_out([*first, *second, of_two, of_one, *long, last])
    assert (of_two.row, of_one.row, last.row) == (2, 5, 6)


def tangled():
    """Three blocks that skip connections pass and two weights are used in, on a tree."""
    inputs = [source(0.6 + 0.2 * i) for i in range(5)]
    weights = [source(1.4), source(0.8)]
    level = [operation(inputs[0], inputs[3]), operation(inputs[1], inputs[4], inputs[2], width=1.6)]
    nodes = [*inputs, *weights, *level]
    x = operation(*level, width=0.7)
    nodes.append(x)
    for block in range(3):
        layer = operation(x, *weights, width=0.9)
        active = operation(layer, width=0.5)
        x = operation(x, active, *level[:block], width=1.1)
        nodes += [layer, active, x]
    return nodes


def test_a_tangled_graph_is_laid_out_as_it_was_when_a_person_last_looked_at_it():
    nodes = tangled()
    arrows, width, height = lay_out(nodes)
    assert [node.x for node in nodes] == pytest.approx([
        0.43, 2.81, 5.59, 1.57, 4.15, 1.64, 2.98, 1.99, 3.53, 0.35, 1.38, 1.49, 1.41,
        2.37, 8.36, 8.49, 9.28, 9.37, 9.57], abs=0.02)
    assert [arrow[2][0] for arrow in arrows] == pytest.approx([
        1.82, 2.15, 3.13, 3.53, 3.93, 0.23, 0.47, 1.16, 1.38, 1.61, 1.49, 0.64, 1.59,
        2.15, 2.18, 2.83, 2.37, 1.63, 8.49, 3.67, 9.05, 3.57, 3.91, 9.37, 8.54, 9.46,
        4.11, 4.53], abs=0.02)
    assert (width, height) == pytest.approx((10.43, 7.78), abs=0.02)
