"""The backward pass in motion: what each picture shows of the student's own engine."""

import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from central_differences import leaf
from mytorch import autograd_engine, show
from mytorch.show import draw_after_backward, draw_backward, tracebacks
from mytorch.tensor import Tensor
from test_trace import chain, diamond, example, network, per_path

ROOT = Path(__file__).resolve().parents[3]


def texts(figure):
    """All texts of a figure, as a list; each wrapped one in one line."""
    return [" ".join(text.get_text().split()) for text in figure.axes[0].texts]


def captions(tensor, names, tmp_path):
    """What is written below the pictures, in their order."""
    figure = draw_backward(tensor, str(tmp_path / "steps.png"), **names)
    return [text for text in texts(figure) if text.startswith(("step", "all", "What", "backward"))]


def test_there_is_a_picture_for_each_step_that_says_what_happens(tmp_path):
    e, names = example()
    assert captions(e, names, tmp_path) == [
        "step 1: Add -> e passes 1 to Add", "step 2: Add passes 1 to Add -> d, and 1 to c",
        "step 3: Add -> d passes 1 to a, which waits for another, and 1 to Mul",
        "step 4: Mul passes 2 to a; a has waited for it: 1 + 2 = 3",
        "step 5: a stores what has arrived: a.grad = 3",
        "step 6: c stores what has arrived: c.grad = 1",
        "all 6 steps: each gradient that was passed on has arrived"]
    assert names["a"].grad is None


def test_the_pictures_move_a_second_and_a_half_each_and_the_last_one_longer(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="matplotlib of 2020 may come without Pillow")
    a, b, c = diamond(2)
    draw_backward(c, str(tmp_path / "steps.gif"), a=a, b=b, c=c)
    with Image.open(str(tmp_path / "steps.gif")) as moving:
        assert moving.n_frames == 4 and moving.size[0] == 1600
        durations = []
        for number in range(moving.n_frames):
            moving.seek(number)
            durations.append(moving.info["duration"])
    assert durations == [1500, 1500, 1500, 4500]


def test_the_last_picture_has_the_numbers_of_the_steps_and_the_gradients_on_the_arrows():
    e, names = example()
    shown = texts(draw_after_backward(e, **names))
    assert "a = 1 grad = 1 + 2 = 3" in shown and "c = 3 grad = 1" in shown
    assert {"1", "2", "3", "4", "5", "6"} <= set(shown)


def test_gradients_are_written_as_they_arrive(tmp_path):
    a, b = leaf(2.0), leaf(3.0)
    shown = texts(draw_backward(a * b, str(tmp_path / "steps.png"), a=a, b=b))
    assert [text for text in shown if text.startswith("a = 2")] == [
        "a = 2 grad = None", "a = 2 grad = 3", "a = 2 grad = 3", "a = 2 grad = 3"]


def test_no_box_moves_from_step_to_step(tmp_path):
    e, names = example()
    figure = draw_backward(e, str(tmp_path / "steps.svg"), **names)
    places = [text.get_position() for text in figure.axes[0].texts
              if text.get_text().startswith("b = 2")]
    left = np.array([x for x, _ in places])
    assert len(places) == 7 and np.allclose(np.diff(left[:4]), np.diff(left[:4])[0])


def test_a_wrong_engine_is_shown_where_it_goes_wrong(tmp_path, monkeypatch):
    def first_only(node, grad):
        grads = node.apply(grad)
        if node.next_functions and node.next_functions[0] is not None:
            first_only(node.next_functions[0], grads[0])
    monkeypatch.setattr(autograd_engine, "backward", first_only)
    e, names = example()
    said = captions(e, names, tmp_path)
    assert said[1] == "step 2: Add passes 1 to Add -> d, and 1 to c, where it never arrives"
    assert said[-1].startswith("What is wrong: c and Mul were never visited")


def test_an_engine_that_sets_leaves_by_itself_loses_nothing(tmp_path, monkeypatch):
    def sets_leaves(node, grad):
        if isinstance(node, autograd_engine.AccumulateGrad):
            leaf, held = node.variable, node.variable.grad
            leaf.grad = Tensor(grad.data if held is None else held.data + grad.data)
            return
        for parent, share in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                sets_leaves(parent, share)
    monkeypatch.setattr(autograd_engine, "backward", sets_leaves)
    e, names = example()
    said = captions(e, names, tmp_path)
    assert "never" not in str(said) and said[-1].startswith("all 4 steps: each gradient")


def test_one_visit_for_each_path_is_shown_so(monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", per_path)
    a, b, c = diamond(2)
    shown = texts(draw_after_backward(c, a=a, b=b, c=c))
    assert "2,5" in shown and "1 + 1" in shown and "a = 1 grad = 4" in shown


def test_a_backward_that_is_not_written_yet_is_one_picture_that_says_so(tmp_path, monkeypatch):
    def unwritten(node, grad):
        raise NotImplementedError("TODO (1.2)")
    monkeypatch.setattr(autograd_engine, "backward", unwritten)
    e, names = example()
    assert captions(e, names, tmp_path) == ["backward() is not written yet: TODO (1.2)"]


def test_a_network_is_shown_with_the_norms_of_its_gradients():
    loss, names = network()
    shown = texts(draw_after_backward(loss, **names))
    assert any(text.startswith("model.0.weight (20, 784) grad of norm") for text in shown)
    assert "all 11 steps: each gradient that was passed on has arrived" in shown


def test_what_cannot_be_watched_is_refused(tmp_path):
    with pytest.raises(ValueError, match="40 boxes"):
        draw_backward(chain(100), str(tmp_path / "steps.gif"))
    with pytest.raises(RuntimeError, match="outside any graph"):
        draw_backward(Tensor(1.0), str(tmp_path / "steps.gif"))


def test_without_pillow_one_sentence_says_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow.*ends in \.png"):
        draw_backward(leaf(1.0) * 2.0, str(tmp_path / "steps.gif"))


@pytest.mark.parametrize("line, kind", [
    ("trace(a * 2.0, a=3)", TypeError), ("draw(Tensor(1.0))", RuntimeError),
    ("draw(a * 2.0, 'nowhere/graph.png')", FileNotFoundError),
    ("draw_backward(a * 2.0, 'graph.xyz')", ValueError)])
def test_a_traceback_is_cut_behind_the_students_own_line(line, kind):
    names = dict(vars(show), a=leaf(1.0), Tensor=Tensor)
    with pytest.raises(kind) as raised:
        exec(compile(line, "mine.py", "exec"), names)
    last = traceback.extract_tb(tracebacks.cut(raised.value).__traceback__)[-1]
    assert last.filename == "mine.py"


def test_a_traceback_that_is_printed_ends_in_the_students_own_line(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                      "from mytorch.show import trace\ntrace(3)\n")
    ended = subprocess.run([sys.executable, "-B", str(script)], stderr=subprocess.PIPE,
                           universal_newlines=True)
    files = [text for text in ended.stderr.splitlines() if text.startswith("  File ")]
    assert str(script) in files[-1] and "TypeError: expected a Tensor, got int" in ended.stderr
