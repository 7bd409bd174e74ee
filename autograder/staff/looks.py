"""What a person should look at in a handin: its plot, and whether others have the same. collect.py's.
Files are read, never run; what is in them may be hostile."""

import collections
import functools
import hashlib
import io
import keyword
import struct
import tokenize

import handout
from packages import ROOT
from handin import packing

PLOT_BYTES, PLOT_LARGEST, PLOT_SMALLEST = 500_000, 4000, 150  # at most; pixels each way
END = b"IEND\xaeB`\x82"  # of a PNG file
FILE_BYTES = 200_000  # of a file that is compared with others'
OWN_WORDS = 100  # that a file needs beside the handout's, to be compared with others'


# The plot


def plot_of(files):
    """The plot of a handin (bytes, b"" if it cannot be shown), and what is wrong with it, or ""."""
    plot = files.get(packing.PLOT, b"")
    if not plot:
        return b"", "no plot"
    if len(plot) > PLOT_BYTES:
        return b"", "the plot is too large"
    if plot[:8] != b"\x89PNG\r\n\x1a\n" or plot[12:16] != b"IHDR" or len(plot) < 33:
        return b"", "the plot is not a PNG file"
    width, height = struct.unpack(">II", plot[16:24])
    if not 0 < width <= PLOT_LARGEST or not 0 < height <= PLOT_LARGEST:
        return b"", "the plot is too large"
    if min(width, height) < PLOT_SMALLEST:
        return plot, "the plot is tiny"
    if not plot.endswith(END):
        return plot, "the plot is cut off"
    # One colour all over takes 0.005 bytes a pixel, and a curve three times as many.
    is_small = len(plot) < 1500 + 0.006 * width * height
    return plot, "the plot's file is so small that the plot may be empty" * is_small


# Solutions that are alike


def words_of(source, names=False):
    """The words of a Python file, without white space, comments and docstrings.

    Args:
        source (bytes): anything; what is not Python counts as one word.
        names (bool): whether names of one's own choice count: else each is numbered by where it
            comes first, so that to rename one changes nothing.
    """
    text, words, starts, after, numbers = source.decode("utf-8", "replace"), [], True, "", {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.COMMENT, tokenize.NL):
                continue
            word = token.string
            if word.strip() and not (starts and token.type == tokenize.STRING):
                if token.type == tokenize.NAME and not names and after != "." and (
                        not keyword.iskeyword(word)):
                    word = f"name{numbers.setdefault(word, len(numbers))}"
                words.append(word)
                after = token.string
            starts = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    except Exception:  # hostile or broken; which errors there are depends on the version
        return ["".join(text.split())]
    return words


@functools.lru_cache(maxsize=None)
def given():
    """The Python files of the handout that students hand in: name → bytes."""
    return {name: text.encode() for name, text in handout.make(ROOT).items()
            if name.endswith(".py") and name.startswith(packing.FOLDERS)}


@functools.lru_cache(maxsize=None)
def words_given(name):
    """How often each word stands in that file of the handout, as a Counter."""
    return collections.Counter(words_of(given()[name], names=True))


def fingerprints(files):
    """Digest of each file (name → str) that holds enough beside the handout's to compare."""
    found = {}
    for name in given():
        source = files.get(name, b"")
        if len(source) <= FILE_BYTES:
            own = collections.Counter(words_of(source, names=True)) - words_given(name)
            if sum(own.values()) >= OWN_WORDS:
                found[name] = hashlib.sha256("\n".join(words_of(source)).encode()).hexdigest()
    return found


def own_parts(files):
    """All Python files of a handin that differ from the handout's, as one text (bytes)."""
    return b"\n".join(b"# " + name.encode("ascii", "replace") + b"\n" + content
                      for name, content in sorted(files.items())
                      if name.endswith(".py") and content != given().get(name)
                      and len(content) <= FILE_BYTES)
