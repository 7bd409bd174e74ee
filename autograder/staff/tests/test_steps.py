"""The backward pass in motion: what each picture shows of the student's own engine."""

import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from central_differences import leaf
from mytorch import autograd_engine, show
from mytorch.show import draw_backward, paint, tracebacks
from mytorch.show.steps import Pass
from mytorch.tensor import Tensor
from test_trace import chain, diamond, example, network, per_path, traced

ROOT = Path(__file__).resolve().parents[3]


def texts(figure):
    """All texts of a figure, as a list; each wrapped one in one line."""
    return [" ".join(text.get_text().split()) for text in figure.axes[0].texts]


def last_picture(tensor, **names):
    return texts(paint.paint([Pass(tensor, names).panel()]))


@pytest.fixture(scope="module")
def strip():
    """The example's figure with all steps."""
    e, names = example()
    return draw_backward(e, None, **names)


def test_there_is_a_picture_for_each_step_with_the_words_of_trace_below(strip, capsys):
    e, names = example()
    told = traced(capsys, e, **names).split("\n\n")
    shown = texts(strip)
    for part in told[:-1]:
        assert " ".join(part.split()) in shown
    assert shown[-1] == "That is what backward() did: each gradient that was passed on has arrived."


def test_gradients_are_written_as_they_arrive_and_no_box_moves(strip):
    shown = [text for text in texts(strip) if text.startswith("a = 1")]
    assert shown == ["a = 1 grad = None"] * 4 + ["a = 1 grad = 1 + 2 = 3"] * 3
    left = np.array([text.get_position()[0] for text in strip.axes[0].texts
                     if text.get_text().startswith("b = 2")])
    assert len(left) == 7 and np.allclose(np.diff(left[:4]), np.diff(left[:4])[0])


@pytest.mark.slow
def test_the_pictures_move_a_second_and_a_half_each_and_the_last_one_longer(tmp_path, monkeypatch):
    Image = pytest.importorskip("PIL.Image", reason="matplotlib of 2020 may come without Pillow")
    monkeypatch.setattr(paint, "LEAST_DPI", 50)
    monkeypatch.setattr(paint, "PIXELS", 50)
    a = leaf(1.0)
    draw_backward(a + a, str(tmp_path / "steps.gif"), a=a)
    with Image.open(str(tmp_path / "steps.gif")) as moving:
        assert moving.n_frames == 3
        durations = []
        for number in range(moving.n_frames):
            moving.seek(number)
            durations.append(moving.info["duration"])
    assert durations == [1500, 1500, 4500]


def test_the_last_picture_has_the_numbers_of_the_steps_and_the_gradients_on_the_arrows():
    e, names = example()
    shown = last_picture(e, **names)
    assert "a = 1 grad = 1 + 2 = 3" in shown and "c = 3 grad = 1" in shown
    assert {"1", "2", "3", "4", "5", "6"} <= set(shown)
    loss, names = network()
    assert any(text.startswith("model.0.weight (20, 784) grad of norm")
               for text in last_picture(loss, **names))


def test_a_wrong_engine_is_shown_where_it_goes_wrong(monkeypatch):
    def first_only(node, grad):
        grads = node.apply(grad)
        if node.next_functions and node.next_functions[0] is not None:
            first_only(node.next_functions[0], grads[0])
    monkeypatch.setattr(autograd_engine, "backward", first_only)
    e, names = example()
    shown = texts(draw_backward(e, None, **names))
    assert "passes 1 to c, where it never arrives" in str(shown)
    assert shown[-1].startswith("What is wrong: * c and Mul were never visited")


def test_one_visit_for_each_path_is_shown_so(monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", per_path)
    a, b, c = diamond(2)
    shown = last_picture(c, a=a, b=b, c=c)
    assert "2,5" in shown and "1 + 1" in shown and "a = 1 grad = 4" in shown


def test_a_backward_that_is_not_written_yet_is_one_picture_that_says_so(monkeypatch):
    def unwritten(node, grad):
        raise NotImplementedError("TODO (1.2)")
    monkeypatch.setattr(autograd_engine, "backward", unwritten)
    e, names = example()
    shown = texts(draw_backward(e, None, **names))
    assert shown[-1] == "backward() is not written yet: TODO (1.2)."


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(ValueError, match="40 boxes"):
        draw_backward(chain(100))
    with pytest.raises(RuntimeError, match="outside any graph"):
        draw_backward(Tensor(1.0))


def test_without_pillow_one_sentence_says_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Pillow is needed .* ends in \.png"):
        draw_backward(leaf(1.0) * 2.0, str(tmp_path / "steps.gif"))


@pytest.mark.parametrize("line, kind", [
    ("trace(a * 2.0, a=3)", TypeError), ("draw(Tensor(1.0))", RuntimeError),
    ("draw(a * 2.0, 'nowhere/graph.png')", FileNotFoundError)])
def test_a_traceback_is_cut_behind_the_students_own_line(line, kind):
    names = dict(vars(show), a=leaf(1.0), Tensor=Tensor)
    with pytest.raises(kind) as raised:
        exec(compile(line, "mine.py", "exec"), names)
    last = traceback.extract_tb(tracebacks.cut(raised.value).__traceback__)[-1]
    assert last.filename == "mine.py"


@pytest.mark.slow
def test_a_traceback_that_is_printed_ends_in_the_students_own_line(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
                      "from mytorch.show import trace\ntrace(3)\n")
    ended = subprocess.run([sys.executable, "-B", str(script)], stderr=subprocess.PIPE,
                           universal_newlines=True)
    files = [text for text in ended.stderr.splitlines() if text.startswith("  File ")]
    assert str(script) in files[-1] and "TypeError: expected a Tensor, got int" in ended.stderr
