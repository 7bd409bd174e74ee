"""Where the digits come from: search order, file forms, damage, and a mirror on 127.0.0.1.
Most tests shrink MNIST to 60 images, the first 50 of them to train."""

import gzip
import hashlib
import http.server
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from problem3 import mnist_data
from problem3.drawn_digits import draw
from problem3.mnist_data import IMAGES, LABELS, MnistError, load

REAL = Path(__file__).resolve().parents[4] / "shared" / "mnist"
rng = np.random.RandomState(0)
X = rng.randint(0, 256, (60, 28, 28)).astype(np.uint8)
Y = rng.permutation(np.arange(60) % 10).astype(np.uint8)
FILES = {IMAGES: struct.pack(">4I", 2051, 60, 28, 28) + X.tobytes(),
         LABELS: struct.pack(">2I", 2049, 60) + Y.tobytes()}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A MNIST of 60 images, an empty data/, no network, and no drawing."""
    monkeypatch.setattr(mnist_data, "SHAPES", {IMAGES: (60, 28, 28), LABELS: (60,)})
    monkeypatch.setattr(mnist_data, "MD5", {name: hashlib.md5(content).hexdigest()
                                            for name, content in FILES.items()})
    monkeypatch.setattr(mnist_data, "TRAIN", 50)
    monkeypatch.setattr(mnist_data, "DATA", tmp_path / "data")
    monkeypatch.setattr(mnist_data, "MIRRORS", ("http://127.0.0.1:1/a/", "http://127.0.0.1:1/b/"))
    flat = X.reshape(60, 784)
    monkeypatch.setattr(mnist_data, "draw", lambda: (flat[:9], Y[:9], flat[9:], Y[9:]))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("MYTORCH_MNIST", raising=False)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty directory that MYTORCH_MNIST names."""
    path = tmp_path / "named"
    path.mkdir()
    monkeypatch.setenv("MYTORCH_MNIST", str(path))
    return path


def write_idx(path, files=FILES, packed=False):
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


def write_npy(path, **changes):
    path.mkdir(exist_ok=True)
    arrays = dict(train_data=X[:50].reshape(50, 784), train_labels=Y[:50],
                  val_data=X[50:].reshape(10, 784), val_labels=Y[50:])
    for name, array in dict(arrays, **changes).items():
        np.save(str(path / (name + ".npy")), array)


def assert_is_the_split(data):
    assert [array.dtype for array in data[:4]] == [np.float32, np.int64] * 2
    assert [array.shape for array in data[:4]] == [(50, 784), (50,), (10, 784), (10,)]
    pixels = X.reshape(60, 784).astype(np.float32) / 255
    np.testing.assert_array_equal(np.concatenate([data.train_x, data.val_x]), pixels)
    np.testing.assert_array_equal(np.concatenate([data.train_y, data.val_y]), Y)
    assert data.name == "MNIST"


# Files and the order of the search

@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_gzipped_or_not(folder, packed):
    write_idx(folder, packed=packed)
    assert_is_the_split(load())


def test_the_courses_npy_files_are_read(folder):
    write_npy(folder)
    assert_is_the_split(load())


@pytest.mark.parametrize("write", [write_idx, write_npy])
def test_data_is_used_without_a_word_before_any_mirror_and_after_mytorch_mnist(
        tmp_path, write, capsys, monkeypatch):
    write(tmp_path / "data")
    monkeypatch.setenv("MYTORCH_MNIST", "")  # as none
    assert_is_the_split(load())
    assert capsys.readouterr().out == ""
    write(tmp_path / "named")
    (tmp_path / "data" / IMAGES).write_bytes(b"damaged")
    monkeypatch.setenv("MYTORCH_MNIST", str(tmp_path / "named"))
    assert_is_the_split(load())


def test_without_files_and_network_digits_are_drawn_and_words_say_so(capsys, monkeypatch):
    monkeypatch.setattr(mnist_data, "draw", lambda: draw(train=40, val=20))
    data = load()
    assert [array.shape for array in data[:4]] == [(40, 784), (40,), (20, 784), (20,)]
    assert [array.dtype for array in data[:4]] == [np.float32, np.int64] * 2
    assert data.train_x.min() == 0 and data.train_x.max() == 1
    assert data.name == "digits drawn from matplotlib's fonts (MNIST could not be found)"
    words = capsys.readouterr().out
    assert words.count("No luck with http://127.0.0.1:1/") == 2 and "refused" in words
    assert "drawn from matplotlib's fonts" in words and "not MNIST" in words
    assert not mnist_data.DATA.exists()


def test_other_digits_in_mnists_form_are_taken_but_not_called_mnist(folder, capsys):
    files = dict(FILES)
    files[IMAGES] = files[IMAGES][:-1] + bytes([files[IMAGES][-1] ^ 1])
    write_idx(folder, files)
    assert load().name == "digits other than the published MNIST"
    assert IMAGES in capsys.readouterr().out


# Files that cannot be used

def fails_naming(*parts):
    with pytest.raises(MnistError) as caught:
        load()
    for part in parts:
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("name", [LABELS, "train-images.idx3-ubyte", "raw", "mnist.npz"])
def test_digits_are_never_drawn_beside_files_that_are_there(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("which files")
    assert load().name.startswith("digits drawn")
    (tmp_path / "data" / name).write_bytes(FILES.get(name, b"else"))
    fails_naming("data, found " + name, "could not be downloaded either")


@pytest.mark.parametrize("name", ["nowhere", "named"])
def test_a_directory_without_all_the_files_is_an_error_that_lists_them(folder, tmp_path, name, monkeypatch):
    write_idx(tmp_path / "data")
    (folder / LABELS).write_bytes(FILES[LABELS])
    monkeypatch.setenv("MYTORCH_MNIST", str(tmp_path / name))
    fails_naming("MYTORCH_MNIST", tmp_path / name, IMAGES, "train_data.npy")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name, damage, found", [
    pytest.param(IMAGES, lambda raw: b"", "found 0", id="empty"),
    pytest.param(LABELS, lambda raw: raw[:5], "found 5", id="cut in the header"),
    pytest.param(IMAGES, lambda raw: raw[:-1], "of 47056 bytes|found 47055", id="cut"),
    pytest.param(IMAGES, lambda raw: raw + b"!", "found 47057", id="too long"),
    pytest.param(IMAGES, lambda raw: b"<html>404 Not Found", "found 19", id="a web page"),
    pytest.param(LABELS, lambda raw: b"\0\0\x08\x01\0\0\0\x3b" + raw[8:-1],
                 "[2049, 60], found 67 that begin with [2049, 59]", id="one label short"),
    pytest.param(LABELS, lambda raw: raw[:-1] + b"\x0a", "from 0 to 9|from 0 to 10", id="a label of 10"),
    pytest.param(LABELS, lambda raw: FILES[IMAGES][:len(raw)], "begin with [2051, 60]", id="the other file"),
])
def test_a_damaged_idx_file_is_an_error_that_names_it(folder, name, damage, found, packed):
    write_idx(folder, dict(FILES, **{name: damage(FILES[name])}), packed)
    fails_naming(folder / (name + ".gz" * packed), "expected", *found.split("|"))


@pytest.mark.parametrize("damage", [
    lambda raw: raw[:-9], lambda raw: raw[:5], lambda raw: raw[:20000] + bytes(100) + raw[20100:],
    lambda raw: raw[:-8] + bytes(4) + raw[-4:],
], ids=["cut at the end", "cut in the header", "overwritten", "wrong CRC"])
def test_a_damaged_gzip_file_is_an_error_that_names_it(folder, damage):
    write_idx(folder, packed=True)
    path = folder / (IMAGES + ".gz")
    path.write_bytes(damage(path.read_bytes()))
    fails_naming(path, "expected a whole gzip file, found")


@pytest.mark.parametrize("name, array, expected, found", [
    ("train_data", X[:50].reshape(50, 784) / 255, "uint8 images", "float64 (50, 784)"),
    ("train_data", X[:50], "of shape (N, 784)", "uint8 (50, 28, 28)"),
    ("val_data", X[:0].reshape(0, 784), "uint8 images", "(0, 784)"),
    ("val_data", np.uint8(5), "uint8 images", "()"),
    ("train_labels", Y[:49], "integers of shape (50,)", "uint8 (49,)"),
    ("train_labels", Y[:50] / 1, "integers of shape (50,)", "float64"),
    ("val_labels", np.arange(1, 11), "labels from 0 to 9", "from 1 to 10"),
    ("val_labels", np.array([None] * 10), "a NumPy .npy file", "pickle"),
])
def test_an_unfit_npy_array_is_an_error_that_names_its_file(folder, name, array, expected, found):
    write_npy(folder, **{name: array})
    fails_naming(folder / (name + ".npy"), "expected", expected, found)


@pytest.mark.parametrize("damage", [
    lambda raw: b"", lambda raw: raw[:20], lambda raw: raw[:-1], lambda raw: b"garbage" + raw,
], ids=["empty", "cut in the header", "cut", "no header"])
def test_a_damaged_npy_file_is_an_error_that_names_it(folder, damage):
    write_npy(folder)
    path = folder / "val_data.npy"
    path.write_bytes(damage(path.read_bytes()))
    fails_naming(path, "expected")


@pytest.mark.parametrize("write, name", [(write_idx, IMAGES), (write_npy, "val_labels.npy")])
def test_a_damaged_file_in_data_is_an_error_that_says_how_to_get_a_new_one(tmp_path, write, name):
    write(tmp_path / "data")
    path = tmp_path / "data" / name
    path.write_bytes(path.read_bytes()[:-1])
    fails_naming(path, "Delete that file, and MNIST will be downloaded")


# The mirrors

@pytest.fixture
def serve(monkeypatch):
    """A function that serves each URL path by an answer below, and lists what was asked for."""
    answers, asked, finished = {}, [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            directory, name = self.path.rsplit("/", 1)
            try:
                answers[directory + "/"](self, gzip.compress(FILES[name[:-3]]), finished)
            except OSError:
                self.close_connection = True  # whoever asked has gone away

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01))
    thread.start()

    def start(first, second):
        answers.update({"/first/": first, "/second/": second})
        root = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(mnist_data, "MIRRORS", (root + "/first/", root + "/second/"))
        return asked

    yield start
    finished.set()
    server.shutdown()
    thread.join()
    server.server_close()


def send(handler, content, length=None):
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(content)


def good(handler, content, finished):
    send(handler, content, len(content))


def of_another_digest(handler, content, finished):
    raw = gzip.decompress(content)
    good(handler, gzip.compress(raw[:-1] + bytes([raw[-1] ^ 1])), finished)


def dripping(handler, content, finished):
    send(handler, b"", len(content))
    while not finished.wait(0.01):
        handler.wfile.write(b"\x1f")


def never_ending(handler, content, finished):
    send(handler, b"")
    while not finished.is_set():
        handler.wfile.write(bytes(10**5))


BAD = {  # answers of a mirror, and what is said of them
    "truncated": (lambda handler, content, _: send(handler, content[:-100], len(content)),
                  "expected a whole gzip file"),
    "corrupt": (lambda handler, content, _: send(
        handler, content[:99] + bytes(20) + content[119:], len(content)), "expected a whole gzip file"),
    "of another digest": (of_another_digest, "expected MD5"),
    "a bomb": (lambda handler, *_: send(handler, gzip.compress(bytes(10**7))), "expected MD5"),
    "not found": (lambda handler, *_: handler.send_error(404), "404"),
    "silent": (lambda handler, content, finished: finished.wait(), "timed out"),
    "dripping": (dripping, "too slow"),
    "never ending": (never_ending, "too much: ")}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(mnist_data, "PATIENCE", 0.5)
    monkeypatch.setattr(mnist_data, "SLOWEST", 10**6)
    monkeypatch.setattr(mnist_data, "LARGEST", 2 * 10**5)


@pytest.mark.parametrize("answer", [good, lambda handler, content, _: send(handler, content)])
def test_a_download_is_kept_in_data_and_not_repeated(serve, answer, monkeypatch):
    asked = serve(answer, BAD["not found"][0])
    assert_is_the_split(load())
    assert sorted(path.name for path in mnist_data.DATA.iterdir()) == [IMAGES + ".gz", LABELS + ".gz"]
    assert_is_the_split(load())
    assert asked == [f"/first/{IMAGES}.gz", f"/first/{LABELS}.gz"]


@pytest.mark.slow
@pytest.mark.parametrize("answer, says", BAD.values(), ids=list(BAD))
def test_the_second_mirror_helps_and_nothing_bad_is_kept_where_the_answer_of_the_first_is(
        serve, impatient, answer, says, capsys, monkeypatch):
    serve(answer, good)
    first, second = mnist_data.MIRRORS
    monkeypatch.setattr(mnist_data, "MIRRORS", (first,))
    assert load().name.startswith("digits drawn")
    assert not mnist_data.DATA.exists()
    words = capsys.readouterr().out
    assert f"No luck with {first}{IMAGES}.gz: " in words and says in words
    monkeypatch.setattr(mnist_data, "MIRRORS", (first, second))
    assert_is_the_split(load())


def test_the_second_mirror_is_not_asked_for_what_the_first_has_given(serve):
    def images_only(handler, content, finished):
        (good if IMAGES in handler.path else BAD["not found"][0])(handler, content, finished)

    asked = serve(images_only, good)
    assert_is_the_split(load())
    assert asked[1:] == [f"/first/{LABELS}.gz", f"/second/{LABELS}.gz"]


def test_an_interruption_while_the_file_is_written_leaves_no_file(serve, monkeypatch):
    serve(good, good)

    def interrupt(source, target):
        assert os.path.getsize(source) > 1000 and not os.path.exists(target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load()
    assert not list(mnist_data.DATA.iterdir())


def test_a_download_that_cannot_be_kept_is_used_all_the_same(serve, tmp_path, capsys):
    serve(good, good)
    (tmp_path / "data").write_bytes(b"a file where the directory should be")
    assert_is_the_split(load())
    assert "could not be kept" in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [False, True])
def test_the_progress_is_one_changing_line_on_a_terminal_and_a_few_elsewhere(
        serve, capsys, monkeypatch, terminal):
    serve(good, good)
    monkeypatch.setattr(mnist_data.sys.stdout, "isatty", lambda: terminal, raising=False)
    load()
    words = capsys.readouterr().out
    size = len(gzip.compress(FILES[IMAGES])) // 1000
    assert "downloading it, once" in words and f"{IMAGES}: {size} of {size} kB\n" in words
    assert ("\r" in words) == terminal and words.count("\n") <= 5


# The real thing

@pytest.mark.skipif(not REAL.is_dir(), reason="MNIST is not on this machine")
def test_the_real_mnist_is_split_as_the_course_splits_it(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("MYTORCH_MNIST", str(REAL))
    data = load()
    assert [array.shape for array in data[:4]] == [(55000, 784), (55000,), (5000, 784), (5000,)]
    assert data.name == "MNIST"
    assert data.train_y[:5].tolist() == [5, 0, 4, 1, 9] and data.val_y[-1] == 8
    assert data.train_x.mean() == pytest.approx(0.1307, abs=0.0005)
    assert data.train_x.dtype == data.val_x.dtype == np.float32
