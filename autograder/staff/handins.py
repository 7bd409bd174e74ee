"""What lies in a folder of downloaded handins: whose each is, and what is in it. collect.py's.
Names are read as Autolab, Canvas and Moodle give them; nothing here runs a student's code."""

import collections
import functools
import gzip
import hashlib
import io
import keyword
import os
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

import handout
from packages import ROOT
from handin import packing

ARCHIVE = r"\.(?:tar|tar\.gz|tgz|zip)"
NAMES = [re.compile(pattern + ARCHIVE) for pattern in (
    r"(?P<student>[^_]+(?:_LATE)?_\d+)_(?P<version>\d+)_.+",  # Canvas: name_user_file_name.tar
    r"(?P<student>.+)_(?P<version>\d+)_handin",               # Autolab: email_version_handin.tar
    r"(?P<student>.+)_assignsubmission_file_.*")]             # Moodle: Name_number_...
MOODLE_FOLDER = re.compile(r"(?P<student>.+)_assignsubmission_file_?")
WRITTEN = ("scores.csv", "plots.html", "reports", "for-comparison")  # by collect.py
LONGEST_NAME = 200  # bytes; the names of what is written about a handin are longer

PLOT_BYTES, PLOT_LARGEST, PLOT_SMALLEST = 500_000, 4000, 150  # at most; pixels each way
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's colour types
FILE_BYTES = 200_000  # of a file that is compared with others'
OWN_WORDS = 100  # that a file needs beside the handout's, to be compared with others'


class Submission(NamedTuple):
    """A downloaded handin: whose it is, which of theirs, and where: a tar, zip or folder."""

    student: str
    version: int
    path: Path


def find(folder, every_version=False):
    """The Submissions in a folder, sorted by student, and the names of what was passed over with
    the reason: a list of (reason, name).

    Args:
        folder (Path): where they were unpacked.
        every_version (bool): all of each student, not the newest alone.
    """
    found, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name in WRITTEN or path.name[0] == "." or packing.is_litter(PurePosixPath(path.name)):
            continue
        named = next(filter(None, (name.fullmatch(path.name) for name in NAMES)), None)
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            others.append(("its name is too long", path.name))
        elif path.is_dir():
            inside = in_folder(path)
            if isinstance(inside, Path):
                named = MOODLE_FOLDER.fullmatch(path.name)
                found.append(Submission(named["student"] if named else path.name, 1, inside))
            else:
                others.append((inside, path.name))
        elif named:
            known = named.groupdict()
            student = re.sub(r"_LATE(_\d+)$", r"\1", known["student"])
            found.append(Submission(student, int(known.get("version", 1)), path))
        else:
            others.append(("its name does not say whose it is", path.name))
    found.sort(key=lambda one: (one.student, one.version))
    newest = {one.student: one for one in found}
    return found if every_version else list(newest.values()), others


def in_folder(folder):
    """The Path of the handin in a student's folder: an archive, or the folder that holds mytorch/.
    A reason (str) where there is none, or more than one."""
    inside = [path for path in sorted(folder.iterdir())
              if path.name[0] != "." and not packing.is_litter(PurePosixPath(path.name))]
    folders = [path for path in (folder, *inside) if (path / "mytorch").is_dir()]
    archives = [path for path in inside if re.search(ARCHIVE + "$", path.name) and path.is_file()]
    found = folders[:1] or [path for path in archives if path.name == "handin.tar"] or archives
    if not found:
        return "this folder holds neither mytorch/ nor a tar or zip file"
    return found[0] if len(found) == 1 else "this folder holds several tar or zip files"


def as_tar(submission, folder):
    """The Path of a handin as the plain tar file that the grader reads: itself, or one that is
    written into ``folder`` from a zip file, a compressed tar or a folder with its files.

    Raises:
        packing.HandinError: where it cannot be read so; the message names the reason.
    """
    path, files = submission.path, None
    try:
        if path.is_dir():
            files = files_below(path)
        else:
            with path.open("rb") as file:
                start = file.read(4)
            if start == b"PK\x03\x04":
                files = zipped(path)
            elif start[:2] != b"\x1f\x8b":
                return path
        content = packing.tar_bytes(files) if files is not None else unzipped(path)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error,
            zipfile.BadZipFile) as error:
        raise packing.HandinError(f"{path.name} cannot be read: {error}") from None
    tarball = folder / f"{hashlib.sha256(os.fsencode(str(path))).hexdigest()}.tar"
    tarball.write_bytes(content)
    return tarball


def files_below(folder):
    """The files in a folder (name → bytes), links not followed."""
    paths = [Path(where, name) for where, folders, names in os.walk(str(folder)) for name in names]
    paths = [path for path in sorted(paths) if path.is_file() and not path.is_symlink()]
    if len(paths) > packing.MAX_FILES or sum(path.stat().st_size for path in paths) > packing.MAX_BYTES:
        raise ValueError("too many files, or too large ones")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def zipped(path):
    """The files in a zip file (name → bytes)."""
    with zipfile.ZipFile(str(path)) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        if len(members) > packing.MAX_FILES or (  # sizes that lie end in a BadZipFile
                sum(member.file_size for member in members) > packing.MAX_BYTES):
            raise ValueError("too many files, or too large ones")
        return {member.filename: archive.read(member) for member in members}


def unzipped(path):
    """The content of a file compressed with gzip."""
    with gzip.open(str(path)) as file:
        content = file.read(packing.MAX_BYTES + 1)
    if len(content) > packing.MAX_BYTES:
        raise ValueError(f"it holds more than {packing.MAX_BYTES >> 20} MiB")
    return content


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
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", plot[16:29])
    if not 0 < width <= PLOT_LARGEST or not 0 < height <= PLOT_LARGEST:
        return b"", "the plot is too large"
    if min(width, height) < PLOT_SMALLEST:
        return plot, "the plot is tiny"
    if interlaced:
        return plot, ""
    bits = depth * CHANNELS.get(colour, 1)
    rows = pixels_of(plot, height * (1 + (width * bits + 7) // 8))
    if rows is None:
        return plot, "the plot is cut off"
    return plot, "the plot is empty" * is_empty(rows.reshape(height, -1), max(bits // 8, 1))


def pixels_of(plot, size):
    """The ``size`` bytes that a PNG's image data unpack to, as an array; None if they do not."""
    packed, position = b"", 8
    while position + 12 <= len(plot):
        length, kind = struct.unpack(">I4s", plot[position:position + 8])
        if kind == b"IDAT":
            packed += plot[position + 8:position + 8 + length]
        elif kind == b"IEND":
            break
        position += 12 + length
    else:
        return None
    try:
        unpacked = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error:
        return None
    return np.frombuffer(unpacked, np.uint8) if len(unpacked) == size else None


def is_empty(rows, step):
    """Whether each row of a PNG (filtered, ``step`` bytes a pixel) is of one colour: after its
    first pixel it then says the same again and again, whatever its filter."""
    return bool((rows[:, 1 + 2 * step:] == rows[:, 1 + step:-step]).all())


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
