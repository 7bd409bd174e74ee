"""The drawn graph, read back from the figure's boxes and arrows by where they are drawn.
What a box is, its colour says, by the legend; an arrow belongs to the boxes its ends touch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon

import student_engine
from central_differences import function, leaf
from mytorch.show.draw import draw, draw_before_and_after
from mytorch.nn.activations import ReLU
from mytorch.nn.functional import Add
from mytorch.nn.linear import Linear
from mytorch.nn.sequential import Sequential
from mytorch.tensor import Tensor
from test_trace import chain, example, network

LEAF, OPERATION = "leaf, collects .grad", "operation"
RESULT, CONSTANT = "result of an operation", "constant, gets no gradient"
ROOT = Path(__file__).resolve().parents[3]


class Picture:
    """A figure as a person sees it; all places are those drawn, in pixels from the bottom left.

    Attributes:
        boxes (list of dict): ``kind`` (what the legend says of the colour), ``text``, ``extent``.
        lines (list of ndarray): points along each arrow, shape (n, 2).
        arrows (list of tuple): the box each of them leaves, and the one its head touches.
    """

    def __init__(self, figure):
        self.renderer = figure.canvas.get_renderer()
        self.axes = figure.axes[0]
        self.legend = self.axes.get_legend()
        self.titles = [text for text in self.axes.texts if "backward()" in text.get_text()]
        texts = [(text.get_text(), text.get_window_extent(self.renderer))
                 for text in self.axes.texts if text.get_text() and text.get_zorder() == 4]
        self.boxes = [self.box(patch, texts) for patch in self.patches(FancyBboxPatch)]
        self.lines = [self.points(patch) for patch in self.patches(PathPatch)]
        heads = [self.points(patch) for patch in self.patches(Polygon) if patch.get_zorder() == 2]
        self.frames = [patch.get_window_extent(self.renderer) for patch in self.patches(Polygon)
                       if patch.get_zorder() == 0]
        self.frame_texts = [text.get_text() for text in self.axes.texts if text.get_zorder() == 1]
        tips = [head[head[:, 1].argmin()] for head in heads]
        self.arrows = [(self.touched(line[0], "y0"), self.touched(tip, "y1"))
                       for line, tip in zip(self.lines, tips)]
        assert np.allclose([line[-1][0] for line in self.lines], [tip[0] for tip in tips])

    def patches(self, cls):
        return [patch for patch in self.axes.get_children() if type(patch) is cls]

    def box(self, patch, texts):
        extent = patch.get_window_extent(self.renderer)
        kinds = {sample.get_facecolor(): text.get_text()
                 for sample, text in zip(self.legend.get_patches(), self.legend.get_texts())}
        (text,) = [text for text, inner in texts if within(inner, extent)]
        return {"kind": kinds[patch.get_facecolor()], "text": text, "extent": extent}

    def points(self, patch):
        corners = np.concatenate(patch.get_path().to_polygons(closed_only=False))
        between = [np.linspace(a, b, 20) for a, b in zip(corners, corners[1:])]
        return self.axes.transData.transform(np.concatenate(between))

    def touched(self, point, side):
        x, y = point
        (box,) = [box for box in self.boxes if box["extent"].x0 < x < box["extent"].x1
                  and abs(getattr(box["extent"], side) - y) < 2]
        return box

    def result_below(self, operation):
        above = operation["extent"]
        (box,) = [box for box in self.boxes if box["kind"] == RESULT
                  and abs(box["extent"].x0 - above.x0) < 2 and 0 <= above.y0 - box["extent"].y1 < 20]
        return box

    def texts(self, kind):
        return sorted(box["text"] for box in self.boxes if box["kind"] == kind)

    def edges(self):
        """Sorted "first line of the box it leaves > operation > its result" of all arrows."""
        assert {target["kind"] for _, target in self.arrows} <= {OPERATION}
        return sorted(
            f"{source['text'].splitlines()[0]} > {target['text']} > {self.result_below(target)['text']}"
            for source, target in self.arrows)

def within(inner, outer):
    return (outer.x0 <= inner.x0 and inner.x1 <= outer.x1
            and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)


def ladder():
    """30 operations on results one, two and seven operations before: many arrows to keep apart."""
    tensors = [leaf(1.0) for _ in range(8)]
    for i in range(30):
        tensors.append(tensors[-1] * tensors[-7 if i % 3 else -2])
    return tensors[-1]


def residual():
    """Two residual blocks on a batch that is not a leaf, and the names of what is in them."""
    x, layer = Tensor(np.ones((4, 3))), Sequential(Linear(3, 3), ReLU())
    y = x + layer(x)
    return y + layer(y), dict(x=x, layer=layer, y=y)


def recurrent(steps):
    """h = relu(wx(x) + wh(h)), so many times, and the names of what is in it."""
    wx, wh, h = Linear(3, 5), Linear(5, 5), Tensor(np.zeros((4, 5)))
    names = dict(wx=wx, wh=wh, h0=h)
    for step in range(1, steps + 1):
        names[f"x{step}"] = Tensor(np.ones((4, 3)))
        names[f"h{step}"] = h = ReLU()(wx(names[f"x{step}"]) + wh(h))
    return h.sum(), names


GRAPHS = {
    "the example": example,
    "before and after": lambda: (example()[0], {}),
    "Problem 3's network": network,
    "two residual blocks": residual,
    "a recurrent network of 3 steps": lambda: recurrent(3),
    "30 operations with many arrows": lambda: (ladder(), {}),
}


@pytest.fixture(scope="module")
def picture_of():
    """Each picture of GRAPHS, drawn once."""
    drawn = {}

    def get(name):
        if name not in drawn:
            tensor, names = GRAPHS[name]()
            drawing = draw_before_and_after if name == "before and after" else draw
            drawn[name] = Picture(drawing(tensor, **names))
        return drawn[name]
    return get


# What is drawn

def test_the_example_has_each_tensor_and_operation_in_the_colour_of_its_kind():
    e, names = example()
    picture = Picture(draw(e, **names))
    assert picture.texts(LEAF) == ["a = 1\ngrad = None", "c = 3\ngrad = None"]
    assert picture.texts(CONSTANT) == ["b = 2", "constant 3"]
    assert picture.texts(OPERATION) == ["Add", "Add", "Add", "Mul"]
    assert picture.texts(RESULT) == ["2", "6", "d = 3", "e = 9"]


def test_the_arrows_of_the_example_run_from_each_argument_to_its_operation():
    e, names = example()
    assert Picture(draw(e, **names)).edges() == [
        "2 > Add > d = 3", "6 > Add > e = 9", "a = 1 > Add > d = 3", "a = 1 > Mul > 2",
        "b = 2 > Mul > 2", "c = 3 > Add > 6", "constant 3 > Add > e = 9", "d = 3 > Add > 6"]


def test_a_diamond_has_two_arrows_for_two_uses():
    a = leaf(1.0)
    b = a + a
    c = b + b
    assert Picture(draw(c, a=a, b=b, c=c)).edges() == (
        ["a = 1 > Add > b = 2"] * 2 + ["b = 2 > Add > c = 4"] * 2)


def test_arrows_reach_an_operation_from_left_to_right_in_the_order_of_its_arguments():
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    picture = Picture(draw((c - a) / (a - b), a=a, b=b, c=c))
    by_place = sorted((line[-1][0], source["text"][0])
                      for line, (source, target) in zip(picture.lines, picture.arrows)
                      if target["text"] == "Sub")
    assert "".join(name for _, name in by_place) in ("caab", "abca")


def test_every_arrow_goes_the_way_of_forward_and_down(picture_of):
    for source, target in picture_of("Problem 3's network").arrows:
        assert source["extent"].y0 > target["extent"].y1


def test_after_backward_leaves_show_what_they_hold_and_results_what_arrives_there():
    x, w = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf(np.ones((3, 3)))
    total = (x * x).sum() * w
    assert "grad" not in str(Picture(draw(total, x=x, w=w)).texts(RESULT))
    total.backward()
    x.grad.data += 1
    picture = Picture(draw(total, x=x, w=w))
    assert picture.texts(LEAF) == [
        "w (3, 3)\ngrad of norm 90", "x = [[1, 2], [3, 4]]\ngrad = [[19, 37], [55, 73]]"]
    assert picture.texts(RESULT) == [
        "(3, 3)\ngradient of norm 3", "30\ngradient 9",
        "[[1, 4], [9, 16]]\ngradient [[9, 9], [9, 9]]"]
    assert x.grad.data[0, 0] == 19


def keeping(saved):
    """An operation of one Tensor that gives it back, and saves it for backward or not."""
    def forward(ctx, a):
        if saved:
            ctx.save_for_backward(a)
        return Tensor(a.data.copy())
    return function(forward, lambda ctx, grad: grad, name="Keep").apply


def test_an_unnamed_result_shows_its_values_where_an_operation_saved_it_else_its_shape():
    def boxes(saved, data):  # not in the assert: pytest keeps what is there
        return Picture(draw(keeping(saved)(keeping(saved)(leaf(data))))).texts(RESULT)
    assert boxes(True, [1.0, 2.0]) == ["[1, 2]", "[1, 2]"]
    assert boxes(False, [1.0, 2.0]) == ["(2,)", "[1, 2]"]
    assert boxes(False, 1.0) == ["1"]  # of the other there is the operation alone
    assert boxes(True, np.ones((3, 5))) == ["(3, 5)", "(3, 5)"]


def test_what_is_not_a_tensor_such_as_an_axis_has_no_box():
    picture = Picture(draw(leaf([1.0, 2.0]).sum(axis=0)))
    assert picture.texts(CONSTANT) == [] and len(picture.arrows) == 1


def test_a_constant_used_twice_is_one_box():
    k = Tensor(2.0)
    assert Picture(draw(leaf(1.0) * k + leaf(3.0) * k)).texts(CONSTANT) == ["constant 2"]


def test_a_named_constant_whose_array_an_operation_has_kept_is_drawn():
    loss, names = network()
    assert "labels = [1, 0, 9, 1]" in Picture(draw(loss, **names)).texts(CONSTANT)


def test_the_leaves_of_a_module_are_named_in_one_go_and_its_layers_have_frames(picture_of):
    picture = picture_of("Problem 3's network")
    texts = [text.split()[0] for text in picture.texts(LEAF)]
    assert texts == ["model.0.bias", "model.0.weight", "model.1.beta", "model.1.gamma",
                     "model.3.bias", "model.3.weight"]
    assert picture.frame_texts == ["model.0: Linear", "model.1: BatchNorm1d", "model.3: Linear"]
    for frame, layer in zip(picture.frames, "013"):
        inside = {box["text"].split()[0] for box in picture.boxes if within(box["extent"], frame)
                  and box["kind"] in (LEAF, OPERATION)}
        assert {text for text in texts if text.startswith(f"model.{layer}")} < inside
        assert len(inside & {"Linear", "BatchNorm", "ReLU", "CrossEntropy"}) == 1


def test_a_layer_that_is_used_again_and_again_has_no_frame(picture_of):
    assert picture_of("a recurrent network of 3 steps").frames == []


def test_before_and_after_stand_side_by_side_and_backward_has_run():
    e, names = example()
    picture = Picture(draw_before_and_after(e, **names))
    assert [title.get_text() for title in picture.titles] == ["before e.backward()", "after e.backward()"]
    assert picture.texts(LEAF) == ["a = 1\ngrad = 3", "a = 1\ngrad = None",
                                   "c = 3\ngrad = 1", "c = 3\ngrad = None"]
    left, right = [[box["extent"].x0 for box in picture.boxes if ("= None" in box["text"]) == is_left
                    and box["kind"] == LEAF] for is_left in (True, False)]
    assert max(left) < min(right) and names["a"].grad.data == 3


def test_a_leaf_by_itself_is_one_box():
    a = leaf(2.0)
    picture = Picture(draw(a, a=a))
    assert [box["text"] for box in picture.boxes] == ["a = 2\ngrad = None"] and not picture.arrows


# That it is readable

@pytest.mark.parametrize("name", GRAPHS)
def test_no_box_overlaps_another_or_the_legend_in(name, picture_of):
    picture = picture_of(name)
    extents = [box["extent"] for box in picture.boxes]
    extents += [picture.legend.get_window_extent(picture.renderer)]
    extents += [title.get_window_extent(picture.renderer) for title in picture.titles]
    overlapping = [(a, b) for i, a in enumerate(extents) for b in extents[:i] if a.overlaps(b)]
    assert not overlapping


@pytest.mark.parametrize("name", GRAPHS)
def test_everything_lies_inside_the_figure_in(name, picture_of):
    picture = picture_of(name)
    extents = [box["extent"] for box in picture.boxes]
    extents += [picture.legend.get_window_extent(picture.renderer)]
    assert all(within(extent, picture.axes.figure.bbox) for extent in extents)
    width, height = picture.axes.figure.bbox.size
    points = np.concatenate(picture.lines)
    assert (points > 0).all() and (points < [width, height]).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_no_arrow_runs_through_a_box_in(name, picture_of):
    picture = picture_of(name)
    x, y = np.concatenate(picture.lines).T
    for box in picture.boxes:
        extent = box["extent"]
        inside = ((extent.x0 + 1 < x) & (x < extent.x1 - 1) & (extent.y0 + 1 < y) & (y < extent.y1 - 1))
        assert not inside.any(), box["text"]


def test_problem_3s_network_fits_a_slide(picture_of):
    figure = picture_of("Problem 3's network").axes.figure
    width, height = figure.get_size_inches()
    assert width < 14 and height < 8  # so that 9 point text can be read
    assert round(width * figure.dpi) == 1600


def test_a_skip_connection_stays_an_arrow_of_its_own(picture_of):
    picture = picture_of("two residual blocks")
    ends = [source["text"] for source, target in picture.arrows if target["text"] == "Add"]
    assert sorted(ends) == ["(4, 3)", "(4, 3)", "x (4, 3)", "y (4, 3)"]


def test_a_graph_that_can_be_drawn_without_crossings_is():
    tensors = [leaf(float(i)) for i in range(8)]
    while len(tensors) > 1:  # a tree whose inputs come shuffled
        tensors = [a * b for a, b in zip(tensors[::2], tensors[1::2])][::-1]
    picture = Picture(draw(tensors[0]))
    rows = {}
    for line in picture.lines:
        rows.setdefault(round(line[-1][1]), []).append((line[0][0], line[-1][0]))
    assert len(rows) == 3
    for ends in rows.values():
        assert [end for _, end in sorted(ends)] == sorted(end for _, end in ends)


def test_of_more_than_40_boxes_it_is_said_what_to_draw_instead():
    with pytest.raises(ValueError, match="21 leaves and operations.*40 boxes.*draw a part.*one layer"):
        draw(chain(20))
    with pytest.raises(ValueError, match="3001 leaves and operations"):
        draw(chain(3000))


def test_a_constant_is_outside_any_graph_and_what_is_not_a_tensor_is_refused():
    with pytest.raises(RuntimeError, match="outside any graph"):
        draw(Tensor(1.0))
    with pytest.raises(TypeError, match="Tensor.*float"):
        draw(1.0)
    with pytest.raises(TypeError, match="a=.*Tensor.*int"):
        draw(leaf(1.0) * 2.0, a=1)


# Texts that are not plain

@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name, shown", [
    ("$x$", "$x$"), ("a$", "a$"), (r"\$", r"\$"), ("x_1^2", "x_1^2"), ("\u8f93\u5165", r"\u8f93\u5165"),
    ("\N{GREEK SMALL LETTER BETA}", "\N{GREEK SMALL LETTER BETA}"),
    ("a_very_long_name_of_a_leaf_that_goes_on_and_on", "a_very_long_nam ... _on_and_on"),
    ("two\nlines", "two lines")])
def test_any_name_is_drawn_as_it_is(name, shown, tmp_path):
    a = leaf([np.inf, np.nan])
    figure = draw(a * 2.0, str(tmp_path / "graph.png"), **{name: a})
    (box,) = [box for box in Picture(figure).boxes if box["kind"] == LEAF]
    assert box["text"].replace(r"\$", "$") == f"{shown} = [inf, nan]\ngrad = None"


@pytest.mark.filterwarnings("error")
def test_large_and_infinite_gradients_are_drawn(tmp_path):
    a, b = leaf(np.full((3, 3), 1e200)), leaf(np.full((3, 3), np.inf))
    a.grad, b.grad = Tensor(np.full((3, 3), 1e300)), Tensor(np.full((3, 3), np.inf))
    with np.errstate(all="ignore"):
        product = a * b
    assert Picture(draw(product, a=a, b=b)).texts(LEAF) == [
        "a (3, 3)\ngrad of norm inf", "b (3, 3)\ngrad of norm inf"]


def test_titles_of_narrow_pictures_do_not_meet():
    a = leaf(2.0)
    product = a * a
    picture = Picture(draw_before_and_after(product, **{"a_name_of_some_length": product}))
    left, right = [title.get_window_extent(picture.renderer) for title in picture.titles]
    assert left.x1 + 20 < right.x0
    for title, box in zip((left, right), sorted(
            (box["extent"] for box in picture.boxes if box["kind"] == LEAF), key=lambda box: box.x0)):
        assert title.x0 < box.x0 and box.x1 < title.x1


# Where it goes

@pytest.mark.parametrize("ending, start", [
    ("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_files_ending_decides_between_png_svg_and_pdf(ending, start, tmp_path):
    path = tmp_path / f"graph.{ending}"
    draw(leaf(1.0) * 2.0, str(path))
    assert path.read_bytes().startswith(start)


def test_a_notebook_gets_a_png():
    assert draw(leaf(1.0) * 2.0)._repr_png_().startswith(b"\x89PNG")


def test_matplotlib_is_imported_only_when_drawing_and_never_to_open_a_window():
    code = ("import sys, mytorch.show; from mytorch.tensor import Tensor\n"
            "assert 'matplotlib' not in sys.modules\n"
            "mytorch.show.draw(Tensor(1., requires_grad=True) * 2.)\n"
            "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, check=True)


def test_the_picture_follows_neither_the_users_settings_nor_a_notebooks_backend(tmp_path):
    code = ("import sys; from mytorch.tensor import Tensor; from mytorch.show import draw\n"
            "a = Tensor([1.0], requires_grad=True); draw(a + a, sys.argv[1], a=a)")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: red\nsavefig.dpi: 30\n")
    for name, changes in (("plain.png", {}), ("user.png", {"MATPLOTLIBRC": str(tmp_path)}),
                          ("notebook.png", {"MPLBACKEND": "module://no_such.notebook"})):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], cwd=str(ROOT), check=True,
                       env={**os.environ, **changes})
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 1


def test_without_matplotlib_one_sentence_says_which_python_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib.*\.venv/bin/python") as raised:
        draw(leaf(1.0) * 2.0)
    assert "\n" not in str(raised.value)


# A student's own engine

def test_a_students_engine_is_drawn_with_one_box_for_a_leaf_of_several_nodes(monkeypatch):
    student_engine.install(monkeypatch)
    e, names = example()
    picture = Picture(draw(e, **names))
    assert sorted(edge.split(" > ")[:2] for edge in picture.edges()) == sorted([
        [source, operation] for source, operation in (
            ("a = 1", "Add"), ("a = 1", "Mul"), ("b = 2", "Mul"), ("c = 3", "Add"),
            ("d = 3", "Add"), *([text, "Add"] for text in picture.texts(RESULT)
                                if text[0] not in "de"), (picture.texts(CONSTANT)[1], "Add"))])
    assert len(picture.texts(LEAF)) == 2


def test_a_graph_is_drawn_before_its_backward_is_written(monkeypatch):
    def unfinished(ctx, grad_output):
        raise NotImplementedError
    monkeypatch.setattr(Add, "backward", unfinished)
    a = leaf(1.0)
    assert Picture(draw((a + a) + 1.0, a=a)).texts(RESULT) == ["2", "3"]
