"""MNIST as the course splits it: found on disk, else downloaded once, else drawn.
`load()` does it all; whatever is wrong with a file is a MnistError that names it."""

import gzip
import hashlib
import http.client
import io
import os
import sys
import time
import urllib.request
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from problem3.drawn_digits import draw

DATA = Path(__file__).resolve().parents[1] / "data"
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/",
           "https://storage.googleapis.com/cvdf-datasets/mnist/")

# The split is made of the training files alone, so MNIST's t10k files are not needed.
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
SHAPES = {IMAGES: (60000, 28, 28), LABELS: (60000,)}
MD5 = {IMAGES: "6bbc9ace898e44ae57da46a324031adb", LABELS: "a25bea736e30d166cdddb491f175f624"}
TRAIN = 55000  # images to train on; the others are to validate
COURSE_FILES = ("train_data.npy", "train_labels.npy", "val_data.npy", "val_labels.npy")

PATIENCE = 5           # seconds without a byte after which a mirror is given up
SLOWEST = 20 * 1000    # bytes per second; a mirror that stays below this is given up
LARGEST = 16 * 10**6   # bytes; a download that grows larger (10 MB are due) is given up

NO_MNIST = """MNIST is not on this machine and could not be downloaded.
Instead, these digits are drawn from matplotlib's fonts: good enough to see your
network learn, but they are not MNIST. For MNIST, connect to the internet, or set
MYTORCH_MNIST to a directory that holds its files, and start again."""


class MnistError(ValueError):
    """A file of MNIST is missing, damaged, or not what its name says."""


class MnistData(NamedTuple):
    """What a network is trained and validated on; ``name`` describes it, for titles."""

    train_x: np.ndarray  # (N, 784) float32, 0 (paper) to 1 (ink)
    train_y: np.ndarray  # (N,) int64, 0 to 9
    val_x: np.ndarray    # (M, 784) float32
    val_y: np.ndarray    # (M,) int64
    name: str


def load(progress=print):
    """The digits for problem 3, from the first of these that there is:

    1. the directory named by the environment variable MYTORCH_MNIST,
    2. ``data/`` of the autograder,
    3. a public mirror (10 MB, checked, and kept in ``data/``),
    4. digits drawn from matplotlib's fonts, which are not MNIST.

    A directory holds MNIST's own two training files, gzipped or not (the first 55,000 images
    train, the last 5,000 validate), or the course's four .npy. Digits are never drawn beside
    other files.

    Args:
        progress: called with each line of text to show. With ``print`` itself on
            a terminal, the progress of a download is one line that keeps changing.

    Returns:
        MnistData: images and labels.

    Raises:
        MnistError: where MYTORCH_MNIST is set but holds no MNIST, and for any damaged
            file in 1. and 2., or any other that MNIST may be in: the next source never
            stands in for it silently.
    """
    named = os.environ.get("MYTORCH_MNIST")
    if named:
        directory = Path(named).expanduser().absolute()
        data = from_directory(directory, progress)
        if data is None:
            raise MnistError(f"MYTORCH_MNIST: {wanted_in(directory)}")
        return data
    try:
        data = from_directory(DATA, progress) or from_mirrors(progress)
    except MnistError as error:
        raise MnistError(f"{error}\nDelete that file, and MNIST will be downloaded.") from None
    if data is None and names_in(DATA):
        raise MnistError(f"{wanted_in(DATA)}\nMNIST could not be downloaded either. Rename its files, "
                         "or delete what is there to train on drawn digits.")
    return data or drawn(progress)


def wanted_in(directory):
    """What was looked for in a directory without MNIST, and what is there, in words."""
    return (f"expected {IMAGES} and {LABELS} (gzipped or not), or {', '.join(COURSE_FILES)} in "
            f"{directory}, found {', '.join(names_in(directory)[:10]) or 'nothing'}")


def names_in(directory):
    """The names of the files in a directory, without our README and unfinished downloads."""
    return sorted(path.name for path in directory.glob("*")
                  if path.name[0] != "." and path.name != "README.md" and path.suffix != ".part")


def from_directory(directory, progress):
    """The data in ``directory``, or None if no set of files is complete there."""
    paths = [find(directory, name) for name in (IMAGES, LABELS)]
    if all(paths):
        return from_idx([read(path) for path in paths], paths, progress)
    paths = [directory / name for name in COURSE_FILES]
    if all(path.is_file() for path in paths):
        arrays = [load_npy(path) for path in paths]
        train, val = checked(*arrays[:2], *paths[:2]), checked(*arrays[2:], *paths[2:])
        return MnistData(*train, *val, "MNIST")
    return None


def find(directory, name):
    """The Path of a file of MNIST in ``directory``, packed or not; None if it is not there."""
    paths = directory / name, directory / f"{name}.gz"
    return next((path for path in paths if path.is_file()), None)


def read(path):
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise MnistError(f"{path}: cannot be read: {error}") from None


def from_idx(raw, sources, progress):
    """The split of the images and labels in the files' bytes ``raw``; ``sources`` name them."""
    unpacked = [unpack(*each) for each in zip((IMAGES, LABELS), raw, sources)]
    images, labels = (parse_idx(*each) for each in zip((IMAGES, LABELS), unpacked, sources))
    x, y = checked(images.reshape(len(images), -1), labels, *sources)
    name = "MNIST"
    if [hashlib.md5(content).hexdigest() for content in unpacked] != [MD5[IMAGES], MD5[LABELS]]:
        name = "digits other than the published MNIST"
        progress(f"Note: {sources[0]} and {sources[1]} hold {name}.")
    return MnistData(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], name)


def unpack(name, raw, source):
    """``raw`` (bytes) without its gzip compression, if it has any."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            return file.read(int(np.prod(SHAPES[name])) + 100)  # no more than a header beyond
    except (OSError, EOFError, zlib.error) as error:
        raise MnistError(f"{source}: expected a whole gzip file, found {len(raw)} damaged bytes "
                         f"({error})") from None


def parse_idx(name, content, source):
    """The uint8 array in an IDX file: a big-endian header of magic number and shape, then it."""
    header = [0x800 + len(SHAPES[name]), *SHAPES[name]]  # 0x8..: of unsigned bytes
    found = np.frombuffer(content[:4 * len(header)].ljust(4 * len(header), b"\0"), ">u4").tolist()
    size = 4 * len(header) + int(np.prod(SHAPES[name]))
    if found != header or len(content) != size:
        raise MnistError(f"{source}: expected an IDX file of {size} bytes that begins with the "
                         f"numbers {header}, found {len(content)} that begin with {found}")
    return np.frombuffer(content, np.uint8, offset=4 * len(header)).reshape(SHAPES[name])


def load_npy(path):
    """The array in a .npy file."""
    try:
        return np.asarray(np.load(str(path), allow_pickle=False))
    except Exception as error:  # a damaged header can raise nearly anything
        raise MnistError(f"{path}: expected a NumPy .npy file: {error}") from None


def checked(images, labels, images_source, labels_source):
    """Pixels (N, 784) as float32 from 0 to 1, and labels (N,) as int64, if they can be such."""
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 784 or not len(images):
        raise MnistError(f"{images_source}: expected uint8 images of shape (N, 784), "
                         f"found {images.dtype} {images.shape}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise MnistError(f"{labels_source}: expected integers of shape ({len(images)},) as "
                         f"{images_source} has images, found {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise MnistError(f"{labels_source}: expected labels from 0 to 9, "
                         f"found labels from {labels.min()} to {labels.max()}")
    return pixels(images), labels.astype(np.int64)


def pixels(images):
    """uint8 images as float32 from 0 to 1."""
    return np.divide(images, np.float32(255), dtype=np.float32)


def from_mirrors(progress):
    """Download what DATA lacks, and keep it there; None if it cannot be had."""
    sources = {name: find(DATA, name) for name in (IMAGES, LABELS)}
    raw = {name: read(path) for name, path in sources.items() if path}
    progress(f"MNIST is not in {DATA} yet: downloading it, once.")
    for mirror in MIRRORS:
        try:
            for name in sources:
                if name not in raw:
                    sources[name] = f"{mirror}{name}.gz"
                    raw[name] = download(name, sources[name], progress)
                    keep(name, raw[name], progress)
        except (OSError, http.client.HTTPException, MnistError) as error:
            progress(f"No luck with {sources[name]}: {error}")
        else:
            return from_idx([raw[IMAGES], raw[LABELS]], list(sources.values()), progress)
    return None


def download(name, url, progress):
    """The bytes at ``url``, with a progress line; OSError or MnistError if they do not come, come
    too slowly, or are not the published ones."""
    live = progress is print and sys.stdout.isatty()
    raw, chunk, shown, began = bytearray(), None, -LARGEST, time.monotonic()
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        size = int(answer.headers.get("Content-Length", 0))
        while chunk != b"":
            chunk = answer.read1(1 << 16)
            raw += chunk
            if len(raw) > LARGEST or time.monotonic() > began + PATIENCE + len(raw) / SLOWEST:
                raise OSError(f"too slow, or too much: {len(raw)} bytes came")
            if not chunk or len(raw) - shown >= (10**5 if live else 5 * 10**6):
                shown = len(raw)
                text = f"{name}: {shown // 1000} of {size // 1000 or '?'} kB"
                if live:  # ends with \r, so that whatever is printed next takes the line's place
                    print(text, end="\r" if chunk else "\n", flush=True)
                else:
                    progress(text)
    digest = hashlib.md5(unpack(name, raw, "the answer")).hexdigest()
    if digest != MD5[name]:
        raise OSError(f"expected MD5 {MD5[name]}, came {digest}")
    return bytes(raw)


def keep(name, raw, progress):
    """Write a downloaded file to DATA: all of it or, however this ends, nothing."""
    path = DATA / f"{name}.gz"
    part = DATA / f"{name}.gz.{os.getpid()}.part"
    try:
        DATA.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(raw)
            os.replace(str(part), str(path))
        finally:
            if part.exists():
                part.unlink()
    except OSError as error:
        progress(f"It could not be kept for the next time: {error}")


def drawn(progress):
    """Digits drawn on this machine, with words that say so."""
    progress(NO_MNIST)
    train_images, train_labels, val_images, val_labels = draw()
    name = "digits drawn from matplotlib's fonts (MNIST could not be found)"
    return MnistData(pixels(train_images), train_labels, pixels(val_images), val_labels, name)
