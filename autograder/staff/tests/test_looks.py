"""looks.py: what is odd about a plot, and which solutions are alike."""

import itertools
from pathlib import Path

import looks
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from handin import packing
from pictures import png
from problem3 import result


@pytest.mark.parametrize("plot, wrong", [
    (png(), ""),
    (b"", "no plot"),
    (b"GIF89a", "the plot is not a PNG file"),
    (b"\x89PNG\r\n\x1a\n0000IHDR", "the plot is not a PNG file"),
    (png(width=100_000, height=2), "the plot is too large"),
    (png(text=bytes(1 << 20)), "the plot is too large"),
    (png(width=100), "the plot is tiny"),
    (png()[:-5], "the plot is cut off"),
])
def test_it_says_what_is_wrong_with_a_plot(plot, wrong):
    shown, said = looks.plot_of({packing.PLOT: plot})
    assert said == wrong
    assert shown == (b"" if "PNG" in wrong or "large" in wrong else plot)


def test_an_empty_plot_is_named_and_a_curve_is_not(tmp_path):
    result.plot(np.linspace(0.1, 0.95, 18), range(1, 1800, 100), 550, "MNIST", tmp_path / "plot.png")
    assert looks.plot_of({packing.PLOT: (tmp_path / "plot.png").read_bytes()})[1] == ""
    for inches, curve in itertools.product(((6.4, 4.8), (3, 2), (20, 20)), ([], [1, 3, 2])):
        figure = Figure(figsize=inches)
        if curve:
            figure.add_subplot().plot(curve)
        FigureCanvasAgg(figure).print_png(str(tmp_path / "plot.png"))
        said = looks.plot_of({packing.PLOT: (tmp_path / "plot.png").read_bytes()})[1]
        assert said.endswith("the plot may be empty") == (not curve) and (said == "") == bool(curve)


def test_words_leave_out_white_space_comments_docstrings_and_the_choice_of_names():
    source = b'"""Doc."""\ndef f(x):  # why\n    """Doc."""\n\n    return  x +1\n'
    assert looks.words_of(source) == looks.words_of(b"def g(yy):\n  return yy + 1")
    assert looks.words_of(source) != looks.words_of(b"def f(x):\n  return x + 2")
    assert looks.words_of(b"a.data + b") != looks.words_of(b"a.grad + b")
    assert looks.words_of(b"x = 'a'") != looks.words_of(b"x = 'b'")


@pytest.mark.parametrize("source", [b"", b"\0\xff\xfe", b"(" * 50_000, b"'''never closed"])
def test_words_of_what_is_not_python_are_found_all_the_same(source):
    assert isinstance(looks.words_of(source), list)


def test_only_files_with_enough_of_ones_own_are_compared():
    given = looks.given()
    assert looks.fingerprints(given) == {}
    solved = {name: (Path(looks.ROOT) / name).read_bytes() for name in given}
    found = looks.fingerprints(solved)
    assert "mytorch/nn/functional.py" in found and "mytorch/nn/loss.py" not in found
    assert looks.own_parts(given) == b""
    assert looks.own_parts(solved).count(b"\nclass Sub(") == 1
