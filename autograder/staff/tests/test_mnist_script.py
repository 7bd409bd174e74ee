"""Problem 3's script: what it shows while training, what it says afterwards, what it draws.
Trains on few digits and with stand-ins for a student's module; never asserts on a clock."""

import io
import types

import numpy as np
import pytest
import test_mnist
from hw1 import mnist as homework
from problem3.mnist_data import MnistData


@pytest.fixture
def digits():
    """A thousand images of two patterns that are easy to tell apart, and their labels."""
    random = np.random.RandomState(0)
    labels = np.arange(1000) % 2
    images = random.uniform(0, 0.3, (1000, 784)).astype(np.float32)
    images[labels == 1, :392] += 0.7
    return MnistData(images[:800], labels[:800], images[800:], labels[800:], "two patterns")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(test_mnist.mnist_data, "load", lambda: digits)
    monkeypatch.setattr(test_mnist, "ROOT", tmp_path)
    monkeypatch.setattr(test_mnist, "PLOT", tmp_path / "plot.png")
    status = test_mnist.main()
    return status, capsys.readouterr().out


def test_it_reports_the_accuracies_and_writes_the_plot(monkeypatch, tmp_path, digits, capsys):
    status, output = run(monkeypatch, tmp_path, digits, capsys)
    assert status == 0
    assert "Training on two patterns: 800 images, validating on 200." in output
    assert "final: 100.0%" in output and "The network is learning." in output
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_that_does_not_learn_is_told_so(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework, "mnist", lambda *data: [0.1, 0.12])
    assert "The network is NOT learning" in run(monkeypatch, tmp_path, digits, capsys)[1]


@pytest.mark.parametrize("returned", [None, [], [95.0], ["a"], [[0.5, 0.6]], [float("nan")]])
def test_what_is_no_list_of_accuracies_is_refused(returned, monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework, "mnist", lambda *data: returned)
    status, output = run(monkeypatch, tmp_path, digits, capsys)
    assert status == 1 and not (tmp_path / "plot.png").exists()
    assert "training stopped" in output


def test_an_unfinished_problem_is_said_in_one_line(monkeypatch, tmp_path, digits, capsys):
    def unfinished(*data):
        raise NotImplementedError("TODO (3): the training loop")
    monkeypatch.setattr(homework, "mnist", unfinished)
    output = run(monkeypatch, tmp_path, digits, capsys)[1]
    assert output.endswith("Problem 3 cannot run yet: TODO (3): the training loop\n")


def test_the_plot_says_what_it_shows(tmp_path, monkeypatch):
    from matplotlib.figure import Figure
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    test_mnist.plot(np.array([0.1, 0.9, 0.953]), [1, 101, 201], "some digits", tmp_path / "x.png")
    axes = drawn[0].axes[0]
    assert axes.get_title() == "some digits\nfinal validation accuracy 95.3%"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "batches of 100 images seen", "validation accuracy (%)")
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 10], [101, 90], [201, 95.3]])


def progress_lines(stream):
    """What a display that never pauses writes for two batches and a validation."""
    progress = test_mnist.Progress(num_batches=4, batches_per_epoch=2, stream=stream)
    progress.pause = 0.0
    progress.saw_loss(types.SimpleNamespace(data=np.array(0.25)))
    progress.saw_step(None)
    progress.saw_validation(0.5)
    progress.saw_step(None)
    progress.saw_step(None)
    return stream.getvalue()


def test_on_a_terminal_one_line_keeps_changing():
    text = progress_lines(Terminal())
    assert "\n" not in text and text.count("\r") == 3
    assert "epoch 2  batch   1/2  loss 0.250  validation accuracy  50.0%" in text


def test_elsewhere_it_writes_plain_lines():
    lines = progress_lines(io.StringIO()).splitlines()
    assert len(lines) == 3 and lines[1].startswith("epoch 1  batch   2/2  loss 0.250")
    assert all(len(line) < 80 for line in lines)


def test_watching_sees_every_step_and_leaves_the_students_code_as_it_was(digits):
    before = homework.validate
    progress = test_mnist.Progress(24, 8, io.StringIO())
    with progress.watching(homework):
        accuracies = homework.mnist(*digits[:4])
    assert (progress.batches, progress.validated_at) == (24, [1, 9, 17])
    assert progress.accuracy == accuracies[-1]
    assert homework.validate is before
