"""Shows how a training goes: one line that keeps changing on a terminal, a line now and then
elsewhere."""

import math
import sys
import time


class Progress:
    """Writes a line about a training, at most every so often.

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

    def update(self, watch):
        """Show where the training that ``watch`` (Watch) sees has come to, if it is time to."""
        if time.monotonic() - self.shown < self.pause:
            return
        self.shown = time.monotonic()
        left = (self.shown - self.started) * (self.num_batches / watch.batches - 1)
        epoch, batch = divmod(watch.batches - 1, self.batches_per_epoch)
        line = (f"epoch {epoch + 1}  batch {batch + 1:3}/{self.batches_per_epoch}  "
                f"loss {watch.loss:.3f}  {self.accuracy(watch.accuracy)}{max(left, 0):3.0f} s left")
        self.stream.write(f"\r{line}  " if self.live else f"{line}\n")
        self.stream.flush()

    @staticmethod
    def accuracy(value):
        """In percent, be it a share or already percent; nothing where it is not known."""
        if math.isnan(value):
            return ""
        return f"validation accuracy {value if value > 1 else 100 * value:5.1f}%  "

    def close(self):
        """End the line that keeps changing."""
        if self.live:
            self.stream.write("\n")
