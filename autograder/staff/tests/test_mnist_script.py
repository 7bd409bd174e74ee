"""Problem 3's script: what it shows while training, what it says afterwards, what it draws.
Trains on few digits and with stand-ins for a student's module; never asserts on a clock."""

import io
import struct
import types

import matplotlib
import numpy as np
import pytest
import test_mnist
from hw1 import mnist as homework
from problem3.progress import Progress
from problem3.result import plot


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(test_mnist.mnist_data, "load", lambda: digits)
    monkeypatch.setattr(test_mnist, "ROOT", tmp_path)
    monkeypatch.setattr(test_mnist, "PLOT", tmp_path / "plot.png")
    status = test_mnist.main()
    return status, capsys.readouterr().out


@pytest.mark.slow
def test_it_reports_the_accuracies_and_writes_the_plot(monkeypatch, tmp_path, digits, capsys):
    status, output = run(monkeypatch, tmp_path, digits, capsys)
    assert status == 0
    assert "Training on two patterns: 800 images, validating on 200." in output
    assert "final: 100.0%" in output and "The network is learning." in output
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_written_is_told_before_the_training(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework, "mnist", lambda *data: pytest.fail("it trained"))
    (tmp_path / "plot.png").mkdir()
    monkeypatch.setattr(test_mnist, "PLOT", tmp_path / "plot.png")
    assert test_mnist.main() == 1
    assert capsys.readouterr().err == (
        f"test_mnist.py: {tmp_path / 'plot.png'} cannot be written: Is a directory\n")


def test_before_any_download_it_is_told_that_mnist_is_not_written(monkeypatch, capsys):
    monkeypatch.setattr(test_mnist.mnist_data, "load", lambda: pytest.fail("it looked for digits"))
    monkeypatch.setattr(test_mnist.inspect, "getsource", lambda module: (
        'def mnist():\n    raise NotImplementedError("TODO (3): build the network")\n'))
    assert test_mnist.main() == 1
    assert capsys.readouterr().out == "Problem 3 cannot run yet: TODO (3): build the network\n"


def test_the_plot_does_not_follow_the_users_settings(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 10.0)
    run(monkeypatch, tmp_path, digits, capsys)
    assert struct.unpack(">II", (tmp_path / "plot.png").read_bytes()[16:24]) == (960, 600)


@pytest.mark.parametrize("accuracies, words", [
    ([0.1, 0.9, 0.93], "The network is learning.\n"),
    ([0.1, 0.96, 0.95], "The network is learning.\n"),
    ([0.1, 0.6, 0.92], "The network is learning.\n- Note: This network usually ends at 95% or more."),
    ([0.9, 50, 95.3], "First validation accuracy: 0.9%   final: 95.3%|go from 0 to 100|- Note: "),
    ([0.5, 0.95], "- Note: Problem 3 asks for 3 validations, at batches 0, 100, 200, ... of each epoch; 2"),
    ([0.1, 0.88, 0.44], "The network is NOT learning: it ends at 44.0%, and guessing alone gives 10%."),
])
def test_it_says_whether_the_network_learns_and_what_else_is_odd(accuracies, words, monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework, "mnist", lambda *data: accuracies)
    monkeypatch.setattr(test_mnist, "plot", lambda *_: None)
    output = run(monkeypatch, tmp_path, digits, capsys)[1]
    assert all(part in output for part in words.split("|"))
    assert output.count("- Note: ") == words.count("- Note: ")


def test_a_mistake_in_the_loop_is_said_in_place_of_learning(monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework.SGD, "zero_grad", lambda self: None)
    monkeypatch.setattr(test_mnist, "plot", lambda *_: None)
    output = run(monkeypatch, tmp_path, digits, capsys)[1]
    assert "final: 100.0%" in output and "The network is learning" not in output
    assert "The training is not right yet:\n- zero_grad() is missing or has no effect: after 23 of 23" in output


@pytest.mark.parametrize("returned", [None, [], [101], [-0.1], ["a"], [[0.5, 0.6]], [float("nan")]])
def test_what_is_no_list_of_accuracies_is_refused(returned, monkeypatch, tmp_path, digits, capsys):
    monkeypatch.setattr(homework, "mnist", lambda *data: returned)
    status, output = run(monkeypatch, tmp_path, digits, capsys)
    assert status == 1 and not (tmp_path / "plot.png").exists()
    assert "Problem 3: mnist(): expected a list of validation accuracies" in output
    assert "Traceback" not in output


def test_an_unfinished_problem_is_said_in_one_line(monkeypatch, tmp_path, digits, capsys):
    def unfinished(*data):
        raise NotImplementedError("TODO (3): the training loop")
    monkeypatch.setattr(homework, "mnist", unfinished)
    output = run(monkeypatch, tmp_path, digits, capsys)[1]
    assert output.endswith("Problem 3 cannot run yet: TODO (3): the training loop\n")


def test_an_error_is_shown_with_the_students_lines_alone_and_what_it_means(
        monkeypatch, tmp_path, digits, capsys):
    def mnist(train_x, *_):
        return homework.Linear(784, 10)(homework.Tensor(train_x)).mean()
    monkeypatch.setattr(homework, "mnist", mnist)
    status, output = run(monkeypatch, tmp_path, digits, capsys)
    assert status == 1
    assert "in mnist\n    return homework.Linear(784, 10)" in output
    assert "hw1_autograder" not in output
    assert "mytorch/tensor.py gives a Tensor no mean\n\nProblem 3: training stopped" in output


def plotted(monkeypatch, accuracies, batches):
    """The axes of a plot of accuracies (a list), measured at ``batches``, in epochs of 150."""
    from matplotlib.figure import Figure
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    plot(np.array(accuracies), batches, 150, "some digits", "x.png")
    return drawn[0].axes


def test_the_plot_says_what_it_shows(monkeypatch):
    axes = plotted(monkeypatch, [0.1, 0.9, 0.953], [1, 101, 201])[0]
    assert axes.get_title() == "some digits\nfinal validation accuracy 95.3%"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "batches seen", "validation accuracy (%)")
    assert [(mark.get_text().strip(), mark.xy[0]) for mark in axes.texts] == [
        ("epoch 1", 0), ("epoch 2", 150)]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 10], [101, 90], [201, 95.3]])


@pytest.mark.parametrize("accuracies, ranges", [
    ([0.1, 0.91, 0.94, 0.95, 0.96], [(90, 100), (0, 100)]),
    ([0.1, 0.95, 0.95, 0.71, 0.96], [(70, 100), (0, 100)]),
    ([0.1, 0.95, 0.95, 0.95, 0.3], [(0, 100)]),
    ([0.1], [(0, 100)]),
])
def test_the_plot_shows_what_was_learned_enlarged_beside_the_whole_range(
        accuracies, ranges, monkeypatch):
    axes = plotted(monkeypatch, accuracies, range(1, 100 * len(accuracies), 100))
    assert [one.get_ylim() for one in axes] == ranges


def test_where_it_is_not_known_when_they_were_measured_the_plot_numbers_them(monkeypatch):
    axes = plotted(monkeypatch, [0.1, 0.9], [])[0]
    assert axes.get_xlabel() == "number of the validation"
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 10], [2, 90]])


def progress_lines(stream, accuracy=0.5):
    """What a display that never pauses writes for three batches, the last two after a validation."""
    progress = Progress(num_batches=4, batches_per_epoch=2, stream=stream)
    progress.pause = 0.0
    for batches in (1, 2, 3):
        progress.update(types.SimpleNamespace(
            batches=batches, loss=0.25, accuracy=float("nan") if batches == 1 else accuracy))
    progress.close()
    return stream.getvalue()


def test_on_a_terminal_one_line_keeps_changing():
    text = progress_lines(Terminal())
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") == 3
    assert "epoch 2  batch   1/2  loss 0.250  validation accuracy  50.0%" in text


@pytest.mark.parametrize("accuracy", [0.953, 95.3])
def test_elsewhere_it_writes_plain_lines(accuracy):
    lines = progress_lines(io.StringIO(), accuracy).splitlines()
    assert len(lines) == 3 and all(len(line) < 80 for line in lines)
    assert lines[0].startswith("epoch 1  batch   1/2  loss 0.250  ") and "accuracy" not in lines[0]
    assert lines[1].startswith("epoch 1  batch   2/2  loss 0.250  validation accuracy  95.3%  ")
