"""hw1/mnist.py itself: the protocol of the contract, on few digits, and on MNIST where it is.
The real files lie in ../shared/mnist beside the project on some machines."""

import os
from pathlib import Path

import numpy as np
import pytest
from hw1 import mnist as homework
from hw1.mnist import mnist, train, validate
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor
from problem3 import drawn_digits, mnist_data

REAL = Path(__file__).resolve().parents[4] / "shared" / "mnist"


def random_digits(count, seed=0):
    random = np.random.RandomState(seed)
    return random.uniform(0, 1, (count, 784)), random.randint(0, 10, count)


@pytest.fixture
def spy(monkeypatch):
    """What optimizer steps and validations saw, in order."""
    seen = []
    step = SGD.step
    monkeypatch.setattr(SGD, "step", lambda self: (seen.append(("step", self)), step(self)))
    return seen


def test_it_validates_at_every_100th_batch_of_an_epoch(spy, monkeypatch):
    monkeypatch.setattr(homework, "BATCH_SIZE", 2)
    accuracies = mnist(*random_digits(402), *random_digits(50, seed=1))
    assert len(accuracies) == 3 * 3 and len(spy) == 3 * 201
    assert all(type(a) is float and 0 <= a <= 1 for a in accuracies)


def test_it_trains_in_float32(spy):
    mnist(*random_digits(200), *random_digits(50))
    assert {p.data.dtype for p in spy[0][1].params} == {np.dtype(np.float32)}
    assert [p.shape for p in spy[0][1].params] == [(20, 784), (20,), (20,), (20,), (10, 20), (10,)]


def test_each_epoch_uses_every_image_once_in_another_order():
    batches = []

    class Recording(Sequential):
        def forward(self, x):
            if self.is_train:
                batches.append(x.data[:, 0].copy())
            return super().forward(x)

    x = np.arange(250.0)[:, np.newaxis] * np.ones(3)
    model = Recording(Linear(3, 2))
    train(model, SGD(model.parameters(), lr=0.0), CrossEntropyLoss(), x,
          np.zeros(250, int), x[:5], np.zeros(5, int), num_epochs=2)
    assert [len(batch) for batch in batches] == [100, 100, 50] * 2
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    assert sorted(first) == sorted(second) == sorted(x[:, 0])
    assert (first != second).any() and (first != x[:, 0]).any()


def test_validation_counts_in_evaluation_mode_and_training_goes_on_in_training_mode():
    class Fixed(Sequential):
        def forward(self, x):
            assert not self.is_train
            return Tensor(x.data)

    logits = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 9.0]])
    assert validate(Fixed(), logits, np.array([0, 1, 1, 1])) == 0.75
    model = Sequential(Linear(2, 2))
    train(model, SGD(model.parameters()), CrossEntropyLoss(), logits, np.array([0, 1, 1, 1]),
          logits, np.array([0, 1, 1, 1]), num_epochs=1)
    assert model.is_train


@pytest.mark.parametrize("count, labels, error, says", [
    (3, np.zeros(2, int), ValueError, "validate: .* 3 images"),
    (3, np.zeros((3, 1), int), ValueError, "validate: .* 3 images"),
    (3, Tensor([0, 0, 0]), TypeError, ".data"),
    (0, np.zeros(0, int), ValueError, "validate: .* at least one")],
    ids=["too few", "a column", "a Tensor", "none"])
def test_validation_refuses_labels_that_do_not_fit_the_images(count, labels, error, says):
    with pytest.raises(error, match=says):
        validate(Sequential(Linear(2, 2)), np.zeros((count, 2)), labels)


def test_the_same_seed_gives_the_same_accuracies():
    runs = []
    for _ in range(2):
        np.random.seed(7)
        runs.append(mnist(*random_digits(500), *random_digits(100, seed=1)))
    assert runs[0] == runs[1]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/mnist beside the project")
def test_on_mnist_it_reaches_95_percent(monkeypatch):
    monkeypatch.setitem(os.environ, "MYTORCH_MNIST", str(REAL))
    data = mnist_data.load(progress=lambda text: None)
    np.random.seed(11785)
    accuracies = mnist(*data[:4])
    assert len(accuracies) == 18 and accuracies[-1] >= 0.95


@pytest.mark.slow
def test_on_drawn_digits_it_learns_fonts_it_has_not_seen(monkeypatch):
    monkeypatch.setattr(mnist_data, "draw", lambda: drawn_digits.draw(train=12000, val=1000))
    data = mnist_data.drawn(lambda text: None)
    np.random.seed(11785)
    assert mnist(*data[:4])[-1] >= 0.9
