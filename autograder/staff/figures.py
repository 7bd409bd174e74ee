"""Makes the pictures of the text, hw1/figures/*.png, by running what they show on the reference.
`python3 autograder/staff/figures.py [FOLDER]` writes all of them, there or into FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from packages import ROOT  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

import sandbox  # noqa: E402
import test_mnist  # noqa: E402
from hw1 import mnist  # noqa: E402
from mytorch.nn.functional import unbroadcast  # noqa: E402
from mytorch.optim.sgd import SGD  # noqa: E402
from mytorch.show import draw_after_backward  # noqa: E402
from mytorch.show.paint import DARK, KINDS  # noqa: E402
from mytorch.tensor import Tensor  # noqa: E402
from problem3 import mnist_data  # noqa: E402
from problem3.result import plot  # noqa: E402

FOLDER = ROOT / "hw1" / "figures"
GREEN, ORANGE, BLUE, GREY = (KINDS[kind][0] for kind in ("leaf", "operation", "result", "constant"))


def new_axes(width, height):
    """Axes without frame and ticks over a whole figure; all lengths are inches, y grows downward."""
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return axes


def box(axes, left, top, width, height, colour, text):
    """A rectangle with a text in its middle."""
    axes.add_patch(Rectangle((left, top), width, height, facecolor=colour, edgecolor=DARK))
    axes.text(left + width / 2, top + height / 2, text, ha="center", va="center", fontsize=12)


def example(path):
    """The backward pass of the example: its steps, and the gradients on the arrows."""
    result, names = sandbox.example()
    draw_after_backward(result, **names).savefig(str(path), dpi=120)


def broadcasting(path):
    """A gradient of shape (3, 4), and what unbroadcast makes of it for each smaller operand."""
    grad = np.arange(12.0).reshape(3, 4)
    axes = new_axes(7.2, 4.1)

    def cells(left, top, numbers, colour):
        """An array as a grid of boxes."""
        for row, line in enumerate(np.atleast_2d(numbers)):
            for column, number in enumerate(line):
                box(axes, left + 0.7 * column, top + 0.55 * row, 0.7, 0.55, colour, f"{number:g}")

    def arrow(start, end):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": DARK, "lw": 1.5})

    left, top, right, below = 0.6, 0.6, 4.7, 3.1
    cells(left, top, grad, BLUE)
    cells(left, below, unbroadcast(grad, (4,)), GREEN)
    cells(right, top, unbroadcast(grad, (3, 1)), GREEN)
    cells(right, below, unbroadcast(grad, ()), GREEN)
    arrow((left + 2.8, top + 0.825), (right, top + 0.825))
    arrow((left + 1.4, top + 1.65), (left + 1.4, below))
    arrow((left + 2.8, top + 1.65), (right, below))
    for x, y, text, align in (
            (left + 1.4, top - 0.2, "gradient of the result, (3, 4)", "center"),
            (left + 1.4, below + 0.78, "for an operand (4,): sum over axis 0", "center"),
            (right, top - 0.2, "for (3, 1): sum over axis 1", "left"),
            (right, below + 0.78, "for (): sum over both", "left")):
        axes.text(x, y, text, ha=align, va="center", fontsize=11)
    axes.figure.savefig(str(path))


def linear(path):
    """The shapes of a linear layer: what it computes, and its three gradients."""
    length = {"N": 1.4, "in": 1.0, "out": 0.7, "": 0.3}
    x, g = ("x", "N", "in", GREY), ("G", "N", "out", ORANGE)
    equations = (  # where, and its parts: signs, and arrays as (name, rows, columns, colour)
        (0.3, 0.9, (("y", "N", "out", BLUE), "=", x, ("Wᵀ", "in", "out", GREEN), "+",
                    ("b", "", "out", GREEN))),
        (5.3, 0.9, (("∂L/∂x", "N", "in", ORANGE), "=", g, ("W", "out", "in", GREEN))),
        (0.3, 3.0, (("∂L/∂W", "out", "in", ORANGE), "=", ("Gᵀ", "out", "N", ORANGE), x)),
        (5.3, 3.0, (("∂L/∂b", "", "out", ORANGE), "=", "sum of the rows of", g)))
    axes = new_axes(9.2, 4.1)
    for left, middle, parts in equations:
        for part in parts:
            if isinstance(part, str):
                width = 0.3 if len(part) == 1 else 1.65
                axes.text(left + width / 2 - 0.05, middle, part, ha="center", va="center",
                          fontsize=12)
            else:
                name, rows, columns, colour = part
                width, height = length[columns], length[rows]
                box(axes, left, middle - height / 2, width, height, colour, name)
                axes.text(left + width / 2, middle + height / 2 + 0.13, ha="center", va="center",
                          s=f"({rows}, {columns})" if rows else f"({columns},)", fontsize=9)
            left += width + 0.1
    axes.figure.savefig(str(path))


def momentum(path):
    """Paths of SGD down a narrow valley, without and with momentum, as many steps of each."""
    start, steepness, steps = [-8.0, 1.0], Tensor([1.0, 40.0]), 20

    def height(w):
        return w * w * steepness

    axes = Figure(figsize=(7.2, 3.4), dpi=120).add_subplot()
    FigureCanvasAgg(axes.figure)
    x, y = np.meshgrid(np.linspace(-9, 2, 200), np.linspace(-1.6, 1.3, 200))
    axes.contour(x, y, height(Tensor(np.stack([x, y], axis=-1))).data.sum(axis=-1),
                 levels=[1, 5, 15, 30, 50, 80, 120], colors="0.8", linewidths=1)
    for share, colour in ((0.0, "tab:red"), (0.6, "tab:blue")):
        w = Tensor(start, is_parameter=True)
        optimizer, path_taken = SGD([w], lr=0.0245, momentum=share), [w.data]
        for _ in range(steps):
            optimizer.zero_grad()
            height(w).backward()
            optimizer.step()
            path_taken.append(w.data)
        label = f"momentum {share}" if share else "plain SGD"
        axes.plot(*np.transpose(path_taken), marker="o", markersize=3, color=colour, label=label)
    axes.plot(0, 0, marker="*", markersize=14, color="k", linestyle="", label="the minimum")
    axes.legend(loc="lower left", ncol=3)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.tight_layout()
    axes.figure.savefig(str(path))


def accuracy(path, data=None):
    """The curve that the reference's training draws, on MNIST if ``data`` is not given."""
    data = data or mnist_data.load()
    watch, accuracies = test_mnist.train(mnist, data)
    plot(np.array(accuracies), watch.validated_at, test_mnist.batches_per_epoch(mnist, data),
         data.name, path)


FIGURES = (example, broadcasting, linear, momentum, accuracy)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES:
        figure(folder / f"{figure.__name__}.png")
        print(folder / f"{figure.__name__}.png")
