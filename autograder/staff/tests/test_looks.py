"""looks.py: what is odd about a plot, and which solutions are alike."""

from pathlib import Path

import looks
import pytest
from handin import packing
from pictures import png


@pytest.mark.parametrize("plot, wrong", [
    (png(), ""),
    (b"", "no plot"),
    (b"GIF89a", "the plot is not a PNG file"),
    (png()[:20], "the plot is not a PNG file"),
    (png(width=100_000), "the plot is too large"),
    (png(text=bytes(1 << 20)), "the plot is too large"),
])
def test_it_says_what_is_wrong_with_a_plot_and_shows_it_if_nothing_is(plot, wrong):
    assert looks.plot_of({packing.PLOT: plot}) == (b"" if wrong else plot, wrong)


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
