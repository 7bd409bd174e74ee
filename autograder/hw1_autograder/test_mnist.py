"""Problem 3, graded by hand: trains hw1/mnist.py and plots its validation accuracies.
Run by ./grade.sh m. problem3/ has the digits, the watch on the training, and the plot."""

import contextlib
import inspect
import os
import re
import signal
import sys
import tempfile
import textwrap
import time
import traceback
from pathlib import Path

# Batches are small: one thread is as fast as several, which wait for each other on a busy machine.
for library in ("OPENBLAS", "OMP", "MKL", "VECLIB"):
    os.environ.setdefault(library + "_NUM_THREADS", "1")
os.environ.pop("MPLBACKEND", None)  # a notebook's, perhaps, which this Python may not have

import numpy as np  # noqa: E402
from matplotlib import style  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from grader import errors  # noqa: E402
from problem3 import mnist_data  # noqa: E402
from problem3.progress import Progress  # noqa: E402
from problem3.result import LEARNED, USUAL, check_accuracies, plot, verdict  # noqa: E402
from problem3.watch import Watch  # noqa: E402

PLOT = ROOT / "hw1" / "validation_accuracy.png"
SEED = 11785
EPOCHS = 3
PLOT_BYTES = 100_000  # at most
SECONDS = 30  # of processor time in which a training calls no layer and no backward(), at most


class Stalled(Exception):
    """The training does not go on."""


def main():
    """Find the data, train, report, plot. Returns the exit status."""
    try:
        from hw1 import mnist as homework
    except Exception as error:  # before a download that would be of no use
        print_error(error)
        print("\nProblem 3: hw1/mnist.py cannot be imported, for the reason above.")
        return 1
    todo = re.search(r'raise NotImplementedError\("(TODO \(3\).*)"', inspect.getsource(homework))
    if todo:  # before a download too
        print(f"Problem 3 cannot run yet: {todo.group(1)}")
        return 1
    try:
        check_writable(PLOT)
    except OSError as error:  # before the training, not after it
        print(f"test_mnist.py: {PLOT} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    try:
        data = mnist_data.load()
    except mnist_data.MnistError as error:
        print(f"test_mnist.py: {error}", file=sys.stderr)
        return 1

    print(f"Training on {data.name}: {len(data.train_x):,} images, "
          f"validating on {len(data.val_x):,}.", flush=True)
    started = time.monotonic()
    try:
        watch, returned = train(homework, data)
    except NotImplementedError as error:
        print(f"Problem 3 cannot run yet: {error}")
        return 1
    except Exception as error:
        print_error(error)
        print("\nProblem 3: training stopped with the error above.")
        return 1
    seconds = time.monotonic() - started
    try:
        accuracies, in_percent = check_accuracies(returned)
    except ValueError as error:
        print(f"Problem 3: {error}")
        show(watch.complaints())
        return 1
    print(f"First validation accuracy: {accuracies[0]:.1%}   final: {accuracies[-1]:.1%}   "
          f"({seconds:.1f} s)")
    print(verdict(accuracies, watch.complaints()))
    batches = batches_per_epoch(homework, data)
    show(watch.complaints(),
         watch.notes() + unusual(accuracies, in_percent, EPOCHS * -(-batches // 100)))
    with style.context("default"):  # whatever the user has set for other plots
        plot(accuracies, watch.validated_at, batches, data.name, PLOT)
    print(f"Plot written to {PLOT.relative_to(ROOT)}")
    return 0


def check_writable(path):
    """Raise OSError if a plot could not be written to ``path`` now; leaves no trace."""
    if path.exists():
        open(str(path), "ab").close()
    with tempfile.TemporaryFile(dir=str(path.parent)) as file:
        file.write(bytes(PLOT_BYTES))


def print_error(error):
    """Print an exception of the student's code, without the lines of the grader in between, and
    what it means."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if HERE not in Path(frame.filename).resolve().parents]
    print("Traceback (most recent call last):")
    print("".join(traceback.format_list(frames) + traceback.format_exception_only(type(error), error)),
          end="")
    meaning = errors.what_it_means(type(error).__name__, str(error), {})
    if meaning:
        print(textwrap.fill(meaning, 90))


def train(homework, data):
    """Train under watch. Returns the Watch and what ``mnist()`` returned."""
    batches = batches_per_epoch(homework, data)
    progress = Progress(EPOCHS * batches, batches)
    watch = Watch(progress.update, data)
    np.random.seed(SEED)
    try:
        with watch.watching(homework), stopped_where_it_stalls(watch):
            returned = homework.mnist(data.train_x, data.train_y, data.val_x, data.val_y)
    finally:
        progress.close()
    return watch, returned


@contextlib.contextmanager
def stopped_where_it_stalls(watch):
    """Context in which Stalled is raised, at the line that is running, once nothing has gone on."""
    seen, seconds = watch.calls, 0

    def look(*_):
        nonlocal seen, seconds
        seconds = seconds + 1 if seen == watch.calls else 0
        seen = watch.calls
        if seconds >= SECONDS:
            raise Stalled(f"{SECONDS} s went by without a layer or backward() being called: an "
                          "endless loop?")

    before = signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def batches_per_epoch(homework, data):
    """How many batches hold all training images."""
    return -(-len(data.train_x) // getattr(homework, "BATCH_SIZE", 100))


def unusual(accuracies, in_percent, asked):
    """Notes on accuracies that are not quite what ``train`` is asked for: so many, as shares."""
    notes = []
    if in_percent:
        notes.append("The accuracies go from 0 to 100 and are read as percent; train() should "
                     "return shares from 0 to 1.")
    if len(accuracies) != asked:
        notes.append(f"Problem 3 asks for {asked} validations, at batches 0, 100, 200, ... of each "
                     f"epoch; {len(accuracies)} came back.")
    if LEARNED <= accuracies[-1] < USUAL:
        notes.append("This network usually ends at 95% or more. Is lr 0.1, are there 3 epochs, and "
                       "are the layers Linear(784, 20), BatchNorm1d(20), ReLU() and Linear(20, 10)?")
    return notes


def show(complaints, notes=()):
    """Print what the training does wrong, and what is unusual."""
    for text in complaints + [f"Note: {note}" for note in notes]:
        print(textwrap.fill(text, 90, initial_indent="- ", subsequent_indent="  "))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:  # a full disk, or whoever reads this has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"test_mnist.py: cannot write {error.filename or 'the report'}: {error.strerror}")
