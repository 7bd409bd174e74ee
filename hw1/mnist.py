"""Problem 3: a network that learns to read the handwritten digits of MNIST.
./grade.sh m finds the data, calls mnist() and plots the accuracies it returns."""

if __name__ == "__main__":
    raise SystemExit("hw1/mnist.py is run by ./grade.sh m")

import numpy as np

from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

BATCH_SIZE = 100
VALIDATE_EVERY = 100  # batches


def mnist(train_x, train_y, val_x, val_y):
    """Build the network 784 → 20 → 10 and train it for three epochs, in float32.

    Args:
        train_x, val_x (ndarray): images, shape (N, 784), pixels from 0 to 1.
        train_y, val_y (ndarray): labels, shape (N,), integers from 0 to 9.

    Returns:
        list of float: the validation accuracies that ``train`` measured.
    """
    # BEGIN SOLUTION 3: build model, optimizer and criterion, and call train
    model = Sequential(Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10)).float()
    optimizer = SGD(model.parameters(), lr=0.1)
    criterion = CrossEntropyLoss()
    train_x, val_x = np.float32(train_x), np.float32(val_x)
    return train(model, optimizer, criterion, train_x, train_y, val_x, val_y)
    # END SOLUTION 3


def train(model, optimizer, criterion, train_x, train_y, val_x, val_y, num_epochs=3):
    """Train on shuffled batches of BATCH_SIZE, validating at every 100th batch of an epoch.

    Args:
        model (Module), optimizer (Optimizer), criterion (Loss): what to train, and how.
        train_x, val_x (ndarray): images, shape (N, features).
        train_y, val_y (ndarray): labels, shape (N,), integers.
        num_epochs (int): how many times each training image is used.

    Returns:
        list of float: the accuracies, in [0, 1], in the order they were measured.
    """
    # BEGIN SOLUTION 3: the training loop
    accuracies = []
    model.train()
    for _ in range(num_epochs):
        order = np.random.permutation(len(train_x))
        for index, start in enumerate(range(0, len(order), BATCH_SIZE)):
            batch = order[start:start + BATCH_SIZE]
            optimizer.zero_grad()
            loss = criterion(model(Tensor(train_x[batch])), Tensor(train_y[batch]))
            loss.backward()
            optimizer.step()
            del loss  # with it the graph goes, and the next batch finds its memory free
            if index % VALIDATE_EVERY == 0:
                accuracies.append(validate(model, val_x, val_y))
                model.train()
    return accuracies
    # END SOLUTION 3


def validate(model, val_x, val_y):
    """Accuracy of the model on images it was not trained on; leaves it in evaluation mode.

    Args:
        model (Module): maps images to logits.
        val_x (ndarray): images, shape (N, features).
        val_y (ndarray): labels, shape (N,).

    Returns:
        float: the share of images, from 0 to 1, whose largest logit is that of their label.

    Raises:
        ValueError: if there are no images, or not one label for each.
    """
    # BEGIN SOLUTION 3: count the images whose largest logit is the right one
    val_y = np.asarray(val_y)
    if val_y.shape != (len(val_x),) or not len(val_x):
        raise ValueError(f"validate: expected one label for each of {len(val_x)} images, at least "
                         f"one, got labels of shape {val_y.shape}")
    model.eval()
    logits = model(Tensor(val_x))
    return float(np.mean(logits.data.argmax(axis=1) == val_y))
    # END SOLUTION 3
