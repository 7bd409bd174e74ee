"""Problem 3, graded by hand: trains hw1/mnist.py and plots its validation accuracies.
Run by ./grade.sh m. It watches the student's train() from outside, which needs no hook in it."""

import contextlib
import sys
import time
import traceback
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from problem3 import mnist_data  # noqa: E402

PLOT = ROOT / "hw1" / "validation_accuracy.png"
SEED = 11785
LEARNED = 0.5  # ten classes: guessing gives 0.1


class Progress:
    """Counts batches and shows how training goes: live on a terminal, now and then elsewhere.

    Args:
        num_batches (int): how many batches the whole training has.
        batches_per_epoch (int): how many an epoch has.
        stream: where to write; a terminal is recognised by ``isatty``.
    """

    def __init__(self, num_batches, batches_per_epoch, stream=sys.stdout):
        self.num_batches = num_batches
        self.batches_per_epoch = batches_per_epoch
        self.stream = stream
        self.live = stream.isatty()
        self.pause = 0.1 if self.live else 2.0  # seconds between two lines
        self.started = self.shown = time.monotonic()
        self.batches = 0
        self.loss = self.accuracy = float("nan")
        self.validated_at = []

    @contextlib.contextmanager
    def watching(self, mnist_module):
        """While this context lasts, see each loss, step and validation of the training."""
        from mytorch.nn.loss import CrossEntropyLoss
        from mytorch.optim.sgd import SGD

        with after_each(CrossEntropyLoss, "forward", self.saw_loss), \
                after_each(SGD, "step", self.saw_step), \
                after_each(mnist_module, "validate", self.saw_validation):
            yield
        if self.live:
            self.stream.write("\n")

    def saw_loss(self, loss):
        self.loss = float(np.mean(loss.data))

    def saw_step(self, _):
        self.batches += 1
        if time.monotonic() - self.shown >= self.pause:
            self.show()

    def saw_validation(self, accuracy):
        self.accuracy = float(accuracy)
        self.validated_at.append(self.batches)

    def show(self):
        """Write one line: epoch, batch, loss, validation accuracy, time left."""
        self.shown = time.monotonic()
        left = (self.shown - self.started) * (self.num_batches / self.batches - 1)
        epoch, batch = divmod(self.batches - 1, self.batches_per_epoch)
        line = (
            f"epoch {epoch + 1}  batch {batch + 1:3}/{self.batches_per_epoch}  loss {self.loss:.3f}  "
            f"validation accuracy {self.accuracy:6.1%}  {max(left, 0):3.0f} s left"
        )
        self.stream.write(f"\r{line}  " if self.live else f"{line}\n")
        self.stream.flush()


def after_each(owner, name, callback):
    """Context in which every call of ``owner.name`` also passes its result to ``callback``."""
    original = getattr(owner, name)

    def watched(*args, **kwargs):
        result = original(*args, **kwargs)
        with contextlib.suppress(Exception):  # a strange result is for the caller to judge
            callback(result)
        return result

    return mock.patch.object(owner, name, watched)


def check_accuracies(accuracies):
    """Raise ValueError unless ``mnist()`` returned a list of numbers from 0 to 1."""
    try:
        values = np.asarray(accuracies, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            "mnist(): expected a list of validation accuracies, each from 0 to 1, "
            f"got {str(accuracies)[:80]}"
        )
    return values


def plot(accuracies, batches, data_name, path):
    """Draw accuracy (in percent) against batches seen into a PNG; needs no display.

    Args:
        accuracies (ndarray): from 0 to 1, shape (V,).
        batches (sequence of int): batches seen at each validation, length V.
        data_name (str): what the network was trained on, for the title.
        path (Path): the file to write.
    """
    from matplotlib.figure import Figure  # not pyplot: that one looks for a display

    figure = Figure(figsize=(8, 5), dpi=120)
    axes = figure.add_subplot()
    axes.plot(batches, 100 * accuracies, marker="o")
    axes.set_xlabel("batches of 100 images seen")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.set_title(f"{data_name}\nfinal validation accuracy {accuracies[-1]:.1%}")
    figure.tight_layout()
    figure.savefig(str(path))


def main():
    """Find the data, train, report, plot. Returns the exit status."""
    try:
        from hw1 import mnist as homework
    except Exception:  # before a download, which would be in vain
        traceback.print_exc(limit=0)
        print("\nProblem 3: hw1/mnist.py cannot be imported, for the reason above.")
        return 1
    try:
        data = mnist_data.load()
    except mnist_data.MnistError as error:
        print(f"test_mnist.py: {error}", file=sys.stderr)
        return 1

    batch_size = getattr(homework, "BATCH_SIZE", 100)
    batches_per_epoch = -(-len(data.train_x) // batch_size)
    progress = Progress(3 * batches_per_epoch, batches_per_epoch)
    print(f"Training on {data.name}: {len(data.train_x):,} images, "
          f"validating on {len(data.val_x):,}.")
    np.random.seed(SEED)
    try:
        with progress.watching(homework):
            accuracies = homework.mnist(data.train_x, data.train_y, data.val_x, data.val_y)
        accuracies = check_accuracies(accuracies)
    except NotImplementedError as error:
        print(f"Problem 3 cannot run yet: {error}")
        return 1
    except Exception:
        traceback.print_exc()
        print("\nProblem 3: training stopped with the error above.")
        return 1

    seconds = time.monotonic() - progress.started
    print(f"First validation accuracy: {accuracies[0]:.1%}   final: {accuracies[-1]:.1%}   "
          f"({seconds:.1f} s)")
    if accuracies[-1] > max(LEARNED, accuracies[0]):
        print("The network is learning.")
    else:
        print("The network is NOT learning: the accuracy should rise far above 10%, "
              "which is guessing.")
    seen = progress.validated_at
    if len(seen) != len(accuracies):  # validated in a way this file does not see
        seen = np.linspace(1, max(progress.batches, 2), len(accuracies))
    plot(accuracies, seen, data.name, PLOT)
    print(f"Plot written to {PLOT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
