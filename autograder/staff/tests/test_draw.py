"""The drawn graph, read back from the figure's boxes and arrows by where they are drawn.
What a box is, its colour says, by the legend; an arrow belongs to the boxes its ends touch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon

import student_engine
from central_differences import leaf
from mytorch.nn.activations import ReLU
from mytorch.nn.linear import Linear
from mytorch.nn.sequential import Sequential
from mytorch.show.draw import draw
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
        self.renderer = FigureCanvasAgg(figure).get_renderer()
        self.axes = figure.axes[0]
        self.legend = self.axes.get_legend()
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
    """20 operations on results one, two and seven operations before: many arrows to keep apart."""
    tensors = [leaf(1.0) for _ in range(8)]
    for i in range(20):
        tensors.append(tensors[-1] * tensors[-7 if i % 3 else -2])
    return tensors[-1]


def residual():
    """Two residual blocks on a batch that is not a leaf, and the names of what is in them."""
    x, layer = Tensor(np.ones((4, 3))), Sequential(Linear(3, 3), ReLU())
    y = x + layer(x)
    return y + layer(y), dict(x=x, layer=layer, y=y)


GRAPHS = {
    "the example": example,
    "Problem 3's network": network,
    "two residual blocks": residual,
    "20 operations with many arrows": lambda: (ladder(), {}),
}


@pytest.fixture(scope="module")
def picture_of():
    """Each picture of GRAPHS, drawn once."""
    drawn = {}

    def get(name):
        if name not in drawn:
            tensor, names = GRAPHS[name]()
            drawn[name] = Picture(draw(tensor, **names))
        return drawn[name]
    return get


# What is drawn

def test_the_example_has_each_tensor_and_operation_in_the_colour_of_its_kind(picture_of):
    picture = picture_of("the example")
    assert picture.texts(LEAF) == ["a = 1\ngrad = None", "c = 3\ngrad = None"]
    assert picture.texts(CONSTANT) == ["b = 2", "constant 3"]
    assert picture.texts(OPERATION) == ["Add", "Add", "Add", "Mul"]
    assert picture.texts(RESULT) == ["2", "6", "d = 3", "e = 9"]
    assert picture.edges() == [
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


def test_after_backward_leaves_show_what_they_hold_of_many_numbers_the_norm():
    x, w, k = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf(np.full((3, 3), np.inf)), Tensor(2.0)
    total = (x * k).sum(axis=0).sum() * w * k
    x.grad, w.grad = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor(np.full((3, 3), 3.0))
    picture = Picture(draw(total, x=x, w=w))
    assert picture.texts(LEAF) == [
        "w (3, 3)\ngrad of norm 9", "x = [[1, 2], [3, 4]]\ngrad = [[1, 2], [3, 4]]"]
    assert picture.texts(CONSTANT) == ["constant 2"]  # used twice, and an axis has no box


def test_the_parameters_of_a_module_and_constants_whose_array_is_kept_have_their_names(picture_of):
    picture = picture_of("Problem 3's network")
    names = ["model.0.bias", "model.0.weight", "model.1.beta", "model.1.gamma", "model.3.bias",
             "model.3.weight"]
    assert [text.split()[0] for text in picture.texts(LEAF)] == names
    assert "labels = [1, 0, 9, 1]" in picture.texts(CONSTANT)
    assert picture.frame_texts == ["model.0", "model.1", "model.3"]
    for frame, layer in zip(picture.frames, picture.frame_texts):
        inside = {box["text"].split()[0] for box in picture.boxes if within(box["extent"], frame)}
        assert {name for name in names if name.startswith(layer)} < inside
    assert picture_of("two residual blocks").frames == []  # one layer is used twice


def test_a_leaf_by_itself_is_one_box():
    a = leaf(2.0)
    picture = Picture(draw(a, a=a))
    assert [box["text"] for box in picture.boxes] == ["a = 2\ngrad = None"] and not picture.arrows


# That it is readable

@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_overlaps_or_lies_outside_and_no_arrow_runs_through_a_box_in(name, picture_of):
    picture = picture_of(name)
    extents = [box["extent"] for box in picture.boxes]
    extents += [picture.legend.get_window_extent(picture.renderer)]
    assert not [(a, b) for i, a in enumerate(extents) for b in extents[:i] if a.overlaps(b)]
    assert all(within(extent, picture.axes.figure.bbox) for extent in extents)
    x, y = np.concatenate(picture.lines).T
    width, height = picture.axes.figure.bbox.size
    assert (0 < x).all() and (x < width).all() and (0 < y).all() and (y < height).all()
    for box in picture.boxes:
        extent = box["extent"]
        inside = ((extent.x0 + 1 < x) & (x < extent.x1 - 1)
                  & (extent.y0 + 1 < y) & (y < extent.y1 - 1))
        assert not inside.any(), box["text"]
    for source, target in picture.arrows:
        assert source["extent"].y0 > target["extent"].y1  # the way of forward is down


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
    with pytest.raises(ValueError, match="21 leaves and operations.*40 boxes.*draw a part.*one la"):
        draw(chain(20))


def test_what_is_in_no_graph_and_what_is_not_a_tensor_is_refused():
    for wrong, error in ((lambda: draw(Tensor(1.0)), RuntimeError), (lambda: draw(1.0), TypeError),
                         (lambda: draw(leaf(1.0) * 2.0, a=1), TypeError)):
        with pytest.raises(error, match="outside any graph|expected a Tensor"):
            wrong()


def test_a_dollar_sign_starts_no_formula():
    a = leaf([np.inf, np.nan])
    (box,) = [box for box in Picture(draw(a * 2.0, **{"a$x$": a})).boxes if box["kind"] == LEAF]
    assert box["text"].replace(r"\$", "$") == "a$x$ = [inf, nan]\ngrad = None"


# Where it goes

@pytest.mark.slow
def test_the_picture_does_not_follow_the_users_settings(tmp_path):
    code = ("import sys, mytorch.show; from mytorch.tensor import Tensor\n"
            "assert 'matplotlib' not in sys.modules\n"
            "a = Tensor([1.0], requires_grad=True); mytorch.show.draw(a + a, sys.argv[1], a=a)")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: red\n")
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "user.png")], cwd=str(ROOT), check=True,
        env={**os.environ, "MATPLOTLIBRC": str(tmp_path)})
    a = leaf([1.0])
    figure = draw(a + a, str(tmp_path / "plain.png"), a=a)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "user.png").read_bytes()
    assert figure._repr_png_().startswith(b"\x89PNG")  # which a notebook shows


# A student's own engine

def test_a_students_engine_is_drawn_with_one_box_for_a_leaf_of_several_nodes(monkeypatch):
    student_engine.install(monkeypatch)
    e, names = example()
    picture = Picture(draw(e, **names))
    sources = [edge.split(" > ")[:2] for edge in picture.edges()]
    for pair in (["a = 1", "Add"], ["a = 1", "Mul"], ["b = 2", "Mul"], ["d = 3", "Add"]):
        assert pair in sources
    assert len(sources) == 8 and len(picture.texts(LEAF)) == 2
