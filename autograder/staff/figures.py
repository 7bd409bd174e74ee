"""Makes the pictures of the text, hw1/figures/*.png, by running what they show on the reference.
`python3 autograder/staff/figures.py [FOLDER]` writes all of them, there or into FOLDER."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from packages import ROOT  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

import sandbox  # noqa: E402
import test_mnist  # noqa: E402
from hw1 import mnist  # noqa: E402
from mytorch.nn.functional import unbroadcast  # noqa: E402
from mytorch.optim.sgd import SGD  # noqa: E402
from mytorch.show.paint import DARK, KINDS, paint  # noqa: E402
from mytorch.show.steps import Pass  # noqa: E402
from mytorch.tensor import Tensor  # noqa: E402
from problem3 import mnist_data  # noqa: E402
from problem3.result import plot  # noqa: E402

FOLDER = ROOT / "hw1" / "figures"
GREEN, ORANGE, BLUE, GREY = (KINDS[kind][0] for kind in ("leaf", "operation", "result", "constant"))


def new_axes(width, height):
    """Axes without frame over a whole figure; all lengths are inches, y grows downward."""
    axes = Figure(figsize=(width, height), dpi=150).add_axes([0, 0, 1, 1])
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
    paint([Pass(result, names).panel()]).savefig(str(path), dpi=120)


def broadcasting(path):
    """A gradient of shape (3, 4), and what unbroadcast makes of it for each smaller operand."""
    grad, axes = np.arange(12.0).reshape(3, 4), new_axes(7.2, 3.9)
    for left, top, shape, colour, text in (
            (0.6, 0.6, (3, 4), BLUE, "gradient of the result, (3, 4)"),
            (4.7, 0.6, (3, 1), GREEN, "for (3, 1): sum over axis 1"),
            (0.6, 3.1, (4,), GREEN, "for an operand (4,): sum over axis 0"),
            (4.7, 3.1, (), GREEN, "for (): sum over both")):
        axes.text(left, top - 0.15, text, fontsize=11)
        for (row, column), number in np.ndenumerate(np.atleast_2d(unbroadcast(grad, shape))):
            box(axes, left + 0.7 * column, top + 0.55 * row, 0.7, 0.55, colour, f"{number:g}")
    for start, end in (((3.4, 1.425), (4.7, 1.425)), ((2.0, 2.25), (2.0, 2.8)),
                       ((3.4, 2.25), (4.7, 2.8))):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": DARK, "lw": 1.5})
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
        (5.3, 3.0, (("∂L/∂b", "", "out", ORANGE), "= sum of the rows of", g)))
    axes = new_axes(9.2, 4.1)
    for left, middle, parts in equations:
        for part in parts:
            if isinstance(part, str):
                width = 0.2 + 0.09 * len(part)
                axes.text(left + width / 2, middle, part, ha="center", va="center", fontsize=12)
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
    steepness = Tensor([1.0, 40.0])
    axes = Figure(figsize=(7.2, 3.4), dpi=120).add_subplot()
    x, y = np.meshgrid(np.linspace(-9, 2, 200), np.linspace(-1.6, 1.3, 200))
    axes.contour(x, y, x * x + 40 * y * y, levels=[1, 5, 15, 30, 50, 80, 120], colors="0.8",
                 linewidths=1)
    for share, label in ((0.0, "plain SGD"), (0.6, "momentum 0.6")):
        w = Tensor([-8.0, 1.0], is_parameter=True)
        optimizer, path_taken = SGD([w], lr=0.0245, momentum=share), [w.data]
        for _ in range(20):
            optimizer.zero_grad()
            (w * w * steepness).backward()
            optimizer.step()
            path_taken.append(w.data)
        axes.plot(*np.transpose(path_taken), marker="o", markersize=3, label=label,
                  color="tab:blue" if share else "tab:red")
    axes.plot(0, 0, marker="*", markersize=14, color="k", linestyle="", label="the minimum")
    axes.legend(loc="lower left", ncol=3)
    axes.set(xticks=[], yticks=[])
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
