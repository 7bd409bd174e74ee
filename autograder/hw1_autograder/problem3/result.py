"""What came of a training: whether these are accuracies, whether it learned, and the plot."""

import numpy as np

LEARNED = 0.45  # ten digits: guessing gives 0.1
USUAL = 0.93  # the network of Problem 3 ends at 0.95 to 0.96 on MNIST, at 0.97 on drawn digits


def check_accuracies(returned):
    """The accuracies that ``mnist()`` returned.

    Args:
        returned: a list of numbers from 0 to 1, or from 0 to 100, should one be above 1.

    Returns:
        tuple: ndarray of shape (V,), from 0 to 1; and whether they came from 0 to 100.

    Raises:
        ValueError: for anything else.
    """
    try:
        values = np.asarray(returned, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 100)).all():
        raise ValueError("mnist(): expected a list of validation accuracies, each from 0 to 1, "
                         f"got {str(returned)[:80]}")
    in_percent = bool(values.max() > 1)
    return values / 100 if in_percent else values, in_percent


def verdict(accuracies, complaints):
    """Whether the network learns as it should, in words.

    Args:
        accuracies (ndarray): from 0 to 1, shape (V,), V > 0.
        complaints (list of str): what the training does wrong.
    """
    if complaints:
        return "The training is not right yet:"
    if accuracies[-1] >= LEARNED:
        return "The network is learning."
    return (f"The network is NOT learning: it ends at {accuracies[-1]:.1%}, and guessing alone gives 10%. "
            "Is the learning rate right? Do images and labels stay together when they are shuffled?")


def plot(accuracies, batches, epoch, data_name, path):
    """Draw accuracy (in percent) against batches seen into a PNG; needs no display.

    Once a network has learned, 0 to 100 would be nearly all empty: the axis then begins where the
    curve can be read, and a second, narrow one beside it shows the whole range.

    Args:
        accuracies (ndarray): from 0 to 1, shape (V,).
        batches (sequence of int): batches seen at each validation, length V; where it has
            another length, they are not known, and the validations are numbered.
        epoch (int): batches in an epoch.
        data_name (str): what the network was trained on, for the title.
        path (Path): the file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: that one looks for a display

    known = len(batches) == len(accuracies)
    x, percent = batches if known else np.arange(1, len(accuracies) + 1), 100 * accuracies
    figure = Figure(figsize=(8, 5), dpi=120)
    FigureCanvasAgg(figure)  # matplotlib 3.2 warns where a figure has no canvas
    lowest = lowest_shown(percent)
    axes = figure.add_subplot(1, 6, (1, 5)) if lowest else figure.add_subplot()
    axes.plot(x, percent, marker="o", markersize=4)
    axes.set_ylim(lowest, 100)
    for number, start in enumerate(range(0, int(x[-1]), epoch) if known else (), start=1):
        axes.axvline(start, color="0.6", linestyle=":", linewidth=1)
        axes.annotate(f" epoch {number}", (start, 1), xycoords=("data", "axes fraction"),
                      xytext=(0, -4), textcoords="offset points", va="top", color="0.4")
    axes.set_xlabel("batches seen" if known else "number of the validation")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(alpha=0.3)
    axes.set_title(f"{data_name}\nfinal validation accuracy {accuracies[-1]:.1%}")
    if lowest:
        whole = figure.add_subplot(1, 6, 6)
        whole.plot(x, percent)
        whole.set(ylim=(0, 100), yticks=[0, 50, 100], xticks=[])
        whole.grid(alpha=0.3)
        whole.set_title("from 0 to 100", fontsize="small")
    figure.tight_layout()
    figure.savefig(str(path))


def lowest_shown(percent):
    """Where the axis of accuracies begins: a multiple of 10 below all but the first quarter of
    them; 0 unless those are all high."""
    later = percent[len(percent) // 4:]
    lowest = 10 * int((later.min() - 1) // 10)
    return lowest if lowest >= 50 else 0
