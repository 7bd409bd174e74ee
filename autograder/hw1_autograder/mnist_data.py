"""MNIST as the course splits it: found on disk, else downloaded once, else drawn.
`load()` does it all; whatever is wrong with a file is a MnistError that names it."""
import gzip
import hashlib
import io
import os
import queue
import struct
import sys
import threading
import time
import urllib.request
import zlib
from typing import NamedTuple, Optional

import numpy as np

from drawn_digits import draw

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
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
    """What a network is trained and validated on; `name` describes it, for titles."""
    train_x: np.ndarray  # (N, 784) float32, 0 (paper) to 1 (ink)
    train_y: np.ndarray  # (N,) int64, 0 to 9
    val_x: np.ndarray    # (M, 784) float32
    val_y: np.ndarray    # (M,) int64
    name: str


def load(progress=print) -> MnistData:
    """Return the digits for problem 3, from the first of these that there is:

    1. the directory named by the environment variable MYTORCH_MNIST,
    2. `data/` beside this file,
    3. a public mirror (10 MB, checked, and kept in `data/`),
    4. digits drawn from matplotlib's fonts, which are not MNIST.

    A directory holds either MNIST's own two training files, gzipped or not (the
    first 55,000 images train, the last 5,000 validate), or the course's four .npy.

    Arguments:
        progress: called with each line of text to show. With `print` itself on
            a terminal, the progress of a download is one line that keeps changing.

    Raises MnistError where MYTORCH_MNIST is set but holds no MNIST, and for any
    damaged file in 1. and 2.: the next source never stands in for it silently.
    """
    named = os.environ.get("MYTORCH_MNIST")
    if named:
        return _from_named(os.path.abspath(os.path.expanduser(named)), progress)
    try:
        data = _from_directory(DATA, progress) or _from_mirrors(progress)
    except MnistError as problem:
        raise MnistError("%s\nDelete that file, and MNIST will be downloaded." % problem) from None
    return data or _drawn(progress)


def _from_named(directory: str, progress) -> MnistData:
    if not os.path.isdir(directory):
        raise MnistError("MYTORCH_MNIST: expected a directory, found none at %s" % directory)
    data = _from_directory(directory, progress)
    if data is None:
        raise MnistError("MYTORCH_MNIST: expected %s and %s (gzipped or not), or %s in %s, found %s"
                         % (IMAGES, LABELS, ", ".join(COURSE_FILES), directory,
                            ", ".join(sorted(os.listdir(directory))[:10]) or "nothing"))
    return data


def _from_directory(directory: str, progress) -> Optional[MnistData]:
    """The data in `directory`, or None if no set of files is complete there."""
    paths = [_find(directory, name) for name in (IMAGES, LABELS)]
    if all(paths):
        return _from_idx([_read(path) for path in paths], paths, progress)
    paths = [os.path.join(directory, name) for name in COURSE_FILES]
    if all(os.path.isfile(path) for path in paths):
        arrays = [_load_npy(path) for path in paths]
        train, val = _checked(*arrays[:2], *paths[:2]), _checked(*arrays[2:], *paths[2:])
        return MnistData(*train, *val, "MNIST")
    return None


def _find(directory: str, name: str) -> Optional[str]:
    for path in (os.path.join(directory, name), os.path.join(directory, name + ".gz")):
        if os.path.isfile(path):
            return path
    return None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise MnistError("%s: cannot be read: %s" % (path, problem)) from None


def _from_idx(raw, sources, progress) -> MnistData:
    """The split of the images and labels in the files' bytes `raw`; `sources` name them."""
    unpacked = [_unpack(*each) for each in zip((IMAGES, LABELS), raw, sources)]
    arrays = [_parse_idx(*each) for each in zip((IMAGES, LABELS), unpacked, sources)]
    x, y = _checked(*arrays, *sources)
    name = "MNIST"
    if [_md5(content) for content in unpacked] != [MD5[IMAGES], MD5[LABELS]]:
        name = "digits other than the published MNIST"
        progress("Note: %s and %s hold %s." % (sources[0], sources[1], name))
    return MnistData(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], name)


def _unpack(name: str, raw: bytes, source: str) -> bytes:
    """`raw` without its gzip compression, if it has any."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            return file.read(int(np.prod(SHAPES[name])) + 100)  # no more than a header beyond
    except (OSError, EOFError, zlib.error) as problem:
        raise MnistError("%s: expected a whole gzip file, found %d damaged bytes (%s)"
                         % (source, len(raw), problem)) from None


def _parse_idx(name: str, content: bytes, source: str) -> np.ndarray:
    """The uint8 array in an IDX file: a big-endian header of magic number and shape, then it."""
    expected = (0x800 + len(SHAPES[name]),) + SHAPES[name]  # 0x8..: of unsigned bytes
    header = struct.Struct(">%dI" % len(expected))
    found = header.unpack_from(content) if len(content) >= header.size else content
    if found != expected:
        raise MnistError("%s: expected an IDX file that begins with the numbers %s, found %s"
                         % (source, expected, found))
    size = header.size + int(np.prod(SHAPES[name]))
    if len(content) != size:
        raise MnistError("%s: expected %d bytes, found %s" % (
            source, size, len(content) if len(content) < size else "more"))
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(SHAPES[name])


def _load_npy(path: str) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
            rest = len(file.read(1))
    except Exception as problem:  # a damaged header can raise nearly anything
        raise MnistError("%s: expected a NumPy .npy file: %s" % (path, problem)) from None
    if not isinstance(array, np.ndarray) or rest:
        raise MnistError("%s: expected one NumPy array and nothing after it" % path)
    return array


def _checked(images: np.ndarray, labels: np.ndarray, images_source: str, labels_source: str):
    """Pixels (N, 784) as float32 from 0 to 1, and labels (N,) as int64, if they can be such."""
    shapes = (784,), (28, 28)
    if images.dtype != np.uint8 or images.shape[1:] not in shapes or len(images) == 0:
        raise MnistError("%s: expected uint8 images of shape (N, 784) or (N, 28, 28), found %s %s"
                         % (images_source, images.dtype, images.shape))
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
        raise MnistError("%s: expected integers of shape (%d,) as %s has images, found %s %s" % (
            labels_source, len(images), images_source, labels.dtype, labels.shape))
    if labels.min() < 0 or labels.max() > 9:
        raise MnistError("%s: expected labels from 0 to 9, found labels from %d to %d"
                         % (labels_source, labels.min(), labels.max()))
    return _pixels(images), labels.astype(np.int64)


def _pixels(images: np.ndarray) -> np.ndarray:
    return np.divide(images.reshape(-1, 784), np.float32(255), dtype=np.float32)


def _md5(content: bytes) -> str:
    try:
        return hashlib.md5(content).hexdigest()
    except ValueError:  # a machine in FIPS mode wants to hear that this protects no secret
        return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _from_mirrors(progress) -> Optional[MnistData]:
    """Download what DATA lacks, and keep it there; None if it cannot be had."""
    sources = {name: _find(DATA, name) for name in (IMAGES, LABELS)}
    raw = {name: _read(path) for name, path in sources.items() if path}
    progress("MNIST is not in %s yet: downloading it, once." % DATA)
    for mirror in MIRRORS:
        try:
            for name in sources:
                if name not in raw:
                    sources[name] = mirror + name + ".gz"
                    raw[name] = _download(name, sources[name], progress)
                    _keep(name, raw[name], progress)
        except OSError as problem:
            progress("No luck with %s: %s" % (sources[name], problem))
        else:
            return _from_idx([raw[IMAGES], raw[LABELS]], list(sources.values()), progress)
    return None


def _download(name: str, url: str, progress) -> bytes:
    """The file at `url`, checked; OSError if it does not come, or is not the published one."""
    # In a thread, because no time-out of urllib's ends the wait for a slow name
    # server or for an answer that drips in.
    arrivals, stop = queue.Queue(), threading.Event()
    threading.Thread(target=_receive, args=(url, arrivals, stop), daemon=True).start()
    try:
        raw = b"".join(_arriving(name, arrivals, progress))
    finally:
        stop.set()
    try:
        digest = _md5(_unpack(name, raw, "the answer"))
    except MnistError as problem:
        raise OSError(problem) from None
    if digest != MD5[name]:
        raise OSError("expected MD5 %s, came %s" % (MD5[name], digest))
    return raw


def _receive(url: str, arrivals: queue.Queue, stop: threading.Event):
    """Put pairs (bytes, size of it all) into `arrivals`, at the end empty bytes or an error."""
    try:
        # the time-out only ends this thread; the one that waits has given up before
        with urllib.request.urlopen(url, timeout=2 * PATIENCE) as answer:
            size, chunk = int(answer.headers.get("Content-Length", 0)), None
            while chunk != b"" and not stop.is_set():
                chunk = answer.read1(1 << 16)
                arrivals.put((chunk, size))
    except Exception as problem:  # whatever it is, it belongs to the thread that waits
        arrivals.put((problem, 0))


def _arriving(name: str, arrivals: queue.Queue, progress):
    """Yield the chunks of a download, with a progress line, as long as it is worth waiting."""
    live = progress is print and sys.stdout.isatty()
    start, count, shown = time.monotonic(), 0, None
    while True:
        left = start + PATIENCE + count / SLOWEST - time.monotonic()
        try:
            chunk, size = arrivals.get(timeout=max(0, min(PATIENCE, left)))
        except queue.Empty:
            raise OSError("no answer, or too slow a one (%d bytes came)" % count) from None
        if isinstance(chunk, Exception):
            raise OSError(chunk)
        count += len(chunk)
        if count > LARGEST:
            raise OSError("expected some 10 MB, more than %d bytes came" % LARGEST)
        if shown is None or not chunk or count - shown >= (10**5 if live else 5 * 10**6):
            shown = count
            text = "%s: %d of %s kB" % (name, count // 1000, size // 1000 or "?")
            if live:  # ends with \r, so that whatever is printed next takes the line's place
                print(text, end="\r" if chunk else "\n", flush=True)
            else:
                progress(text)
        if not chunk:
            return
        yield chunk


def _keep(name: str, raw: bytes, progress):
    """Write a downloaded file to DATA: all of it or, however this ends, nothing."""
    path = os.path.join(DATA, name + ".gz")
    part = "%s.%d.part" % (path, os.getpid())
    try:
        os.makedirs(DATA, exist_ok=True)
        try:
            with open(part, "wb") as file:
                file.write(raw)
            os.replace(part, path)
        finally:
            if os.path.exists(part):
                os.remove(part)
    except OSError as problem:
        progress("It could not be kept for the next time: %s" % problem)


def _drawn(progress) -> MnistData:
    progress(NO_MNIST)
    train_images, train_labels, val_images, val_labels = draw()
    name = "digits drawn from matplotlib's fonts (MNIST could not be found)"
    return MnistData(_pixels(train_images), train_labels, _pixels(val_images), val_labels, name)
