"""What holds for all tests. One thread for NumPy: arrays here are small, and threads that wait for
each other on a busy machine cost six times the processor time. And a start under nohup or with &."""

import os
import signal

import pytest

for library in ("OPENBLAS", "OMP", "MKL", "VECLIB"):  # before NumPy is imported
    os.environ[library + "_NUM_THREADS"] = "1"

# There SIGHUP or SIGINT is ignored, which programs that the tests start would inherit, and so would
# the tests of what an interrupt does. A handler that does nothing ignores SIGHUP for pytest alone.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def digits():
    """A thousand images of two patterns that are easy to tell apart, and their labels."""
    import numpy as np
    from problem3.mnist_data import MnistData

    random = np.random.RandomState(0)
    labels = np.arange(1000) % 2
    images = random.uniform(0, 0.3, (1000, 784)).astype(np.float32)
    images[labels == 1, :392] += 0.7
    return MnistData(images[:800], labels[:800], images[800:], labels[800:], "two patterns")
