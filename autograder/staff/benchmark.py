"""How fast MyTorch is: training beside plain NumPy and PyTorch, then backward on large graphs.
Run by hand on an idle machine, never by the tests; the ratios tell more than the seconds."""

import argparse
import os
import statistics
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [ROOT, os.path.join(ROOT, "autograder", "hw1_autograder")]

from problem3 import mnist_data  # noqa: E402
from hw1.mnist import BATCH_SIZE, VALIDATE_EVERY, mnist  # noqa: E402
from mytorch.tensor import Tensor  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

EPOCHS, LR, EPS, MOMENTUM = 3, 0.1, 1e-5, 0.1  # as in hw1/mnist.py, the last two BatchNorm's
GRAPHS = {10**3: 101, 10**4: 21, 10**5: 5, 10**6: 1}  # operations in a graph: graphs to time


class ByHand:
    """The network of hw1/mnist.py differentiated by hand: what NumPy itself costs, the floor.

    Draws the same random numbers in the same order as MyTorch, so it computes the same thing.
    """

    def __init__(self):
        self.w1, self.b1 = self.linear(784, 20)
        self.w2, self.b2 = self.linear(20, 10)
        self.gamma, self.beta = np.ones(20, np.float32), np.zeros(20, np.float32)
        self.mean, self.var = np.zeros(20, np.float32), np.ones(20, np.float32)

    @staticmethod
    def linear(in_features, out_features):
        bound = 1 / np.sqrt(in_features)
        weight = np.random.uniform(-bound, bound, (out_features, in_features))
        return np.float32(weight), np.float32(np.random.uniform(-bound, bound, out_features))

    def step(self, x, labels):
        """Forward, backward and update on one batch, in place where that saves a copy."""
        m, rows = len(x), np.arange(len(x))
        z = x @ self.w1.T
        z += self.b1
        mean = z.sum(axis=0) / m
        z -= mean
        var = (z * z).sum(axis=0) / m
        self.mean += MOMENTUM * (mean - self.mean)
        self.var += MOMENTUM * (var * (m / (m - 1)) - self.var)
        inverse_std = 1 / np.sqrt(var + EPS)
        z *= inverse_std  # from here on the normalised z
        hidden = self.gamma * z
        hidden += self.beta
        np.maximum(hidden, 0, out=hidden)
        logits = hidden @ self.w2.T
        logits += self.b2
        logits -= logits.max(axis=1, keepdims=True)
        label_logits = logits[rows, labels]
        softmax = np.exp(logits, out=logits)
        sums = softmax.sum(axis=1, keepdims=True)
        loss = (np.log(sums[:, 0]) - label_logits).sum() / m

        softmax /= sums
        softmax[rows, labels] -= 1
        softmax /= m  # from here on the gradient of the logits
        grad = softmax @ self.w2
        grad *= hidden > 0
        grad_gamma, grad_beta = (grad * z).sum(axis=0), grad.sum(axis=0)
        grad -= grad_beta / m
        z *= grad_gamma / m
        grad -= z
        grad *= self.gamma * inverse_std
        self.w1 -= LR * (grad.T @ x)
        self.b1 -= LR * grad.sum(axis=0)
        self.gamma -= LR * grad_gamma
        self.beta -= LR * grad_beta
        self.w2 -= LR * (softmax.T @ hidden)
        self.b2 -= LR * softmax.sum(axis=0)
        return loss

    def guess(self, x):
        """The labels of x, in evaluation mode."""
        hidden = x @ self.w1.T
        hidden += self.b1 - self.mean
        hidden *= self.gamma / np.sqrt(self.var + EPS)
        hidden += self.beta
        np.maximum(hidden, 0, out=hidden)
        return (hidden @ self.w2.T + self.b2).argmax(axis=1)


def train_by_hand(train_x, train_y, val_x, val_y):
    """As hw1.mnist.mnist, with ByHand."""
    network, accuracies = ByHand(), []
    for _ in range(EPOCHS):
        order = np.random.permutation(len(train_x))
        for index, start in enumerate(range(0, len(order), BATCH_SIZE)):
            batch = order[start:start + BATCH_SIZE]
            network.step(train_x[batch], train_y[batch])
            if index % VALIDATE_EVERY == 0:
                accuracies.append(np.mean(network.guess(val_x) == val_y))
    return accuracies


def train_pytorch(threads, *arrays):
    """As hw1.mnist.mnist, with PyTorch on that many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(np.random.randint(2**31))
    train_x, train_y, val_x, val_y = map(torch.from_numpy, arrays)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(784, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    accuracies = []
    for _ in range(EPOCHS):
        order = torch.randperm(len(train_x))
        for index, batch in enumerate(order.split(BATCH_SIZE)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
            loss.backward()
            optimizer.step()
            if index % VALIDATE_EVERY == 0:
                model.eval()
                with torch.inference_mode():
                    correct = (model(val_x).argmax(dim=1) == val_y).sum()
                accuracies.append(correct.item() / len(val_x))
                model.train()
    return accuracies


def compare_training(rounds):
    """In each round all contenders train from one seed; prints seconds and accuracies.

    Another begins in each round: threads of PyTorch's that still spin slow down who comes next.
    """
    data = mnist_data.load()
    contenders = {"MyTorch": mnist, "NumPy by hand": train_by_hand}
    for threads in sorted({1, torch.get_num_threads()}) if torch else ():
        contenders["PyTorch, %d thread%s" % (threads, "s" * (threads > 1))] = (
            lambda *arrays, threads=threads: train_pytorch(threads, *arrays))
    print(f"Training on {data.name}: {EPOCHS} epochs in float32, batches of {BATCH_SIZE}; "
          "seconds and final validation accuracy\n")
    print("seed  " + "".join(f"{name:>20}" for name in contenders))
    seconds, finals = [[] for _ in contenders], [[] for _ in contenders]
    for seed in range(rounds):
        for turn in range(len(contenders)):
            i = (seed + turn) % len(contenders)
            train = list(contenders.values())[i]
            np.random.seed(seed)
            start = time.perf_counter()
            finals[i].append(train(*data[:4])[-1])
            seconds[i].append(time.perf_counter() - start)
        print_row(seed, lambda values: values[-1], seconds, finals)
    print_row("median", statistics.median, seconds, finals)
    print_row("lowest", min, seconds, finals)
    print_ratios(*seconds)


def print_row(head, figure, seconds, finals):
    cells = (f"{figure(s):10.2f} s {figure(f):7.2%}" for s, f in zip(seconds, finals))
    print(f"{head!s:6}" + "".join(cells), flush=True)


def print_ratios(ours, floor, *rivals):
    """Medians of ratios, each formed within one round, where all met the same conditions."""
    to_floor = statistics.median(a / b for a, b in zip(ours, floor))
    print(f"\nMyTorch's time / NumPy by hand's:    {to_floor:5.2f} x   (wanted: at most 1.5)")
    if rivals:
        speed = statistics.median(min(times) / a for a, *times in zip(ours, *rivals))
        print(f"faster PyTorch's time / MyTorch's:   {speed:5.2f} x   (wanted: at least 1.2)"
              f"   PyTorch {torch.__version__}")
    else:
        print("PyTorch is not installed for this Python, so it was not compared.")


def chain(leaf, operations):
    """Each result is used once, by the next operation."""
    for _ in range(operations):
        leaf = -leaf
    return leaf


def diamonds(leaf, operations):
    """Each level splits in two and joins again, which doubles the number of paths."""
    for _ in range(operations // 3):
        leaf = 0.5 * leaf + 0.5 * leaf
    return leaf


def fan(leaf, operations):
    """Half of the operations use the same leaf; the others add up the results, in pairs."""
    terms = [-leaf for _ in range(operations // 2)]
    while len(terms) > 1:
        odd = terms[len(terms) & ~1:]
        terms = [a + b for a, b in zip(terms[::2], terms[1::2])] + odd
    return terms[0]


def microseconds_per_operation(build, operations):
    """CPU time of one backward over a new graph, which is freed when this returns."""
    result = build(Tensor(1.0, requires_grad=True), operations)
    start = time.process_time()
    result.backward()
    return (time.process_time() - start) / operations * 1e6


def compare_graphs():
    """Prints what backward costs per operation as graphs grow: level where it is linear."""
    print("\nBackward, CPU microseconds per operation in graphs of so many operations\n")
    print(" " * 10 + "".join(f"{size:>12,}" for size in GRAPHS) + "     last / first")
    for build in (chain, diamonds, fan):
        costs = [statistics.median(microseconds_per_operation(build, size) for _ in range(graphs))
                 for size, graphs in GRAPHS.items()]
        print(f"{build.__name__:10}" + "".join(f"{cost:12.2f}" for cost in costs)
              + f"{costs[-1] / costs[0]:10.2f} x   (wanted: at most 4)", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Compare MyTorch with plain NumPy and PyTorch.")
    parser.add_argument("--rounds", type=int, default=12, help="seeds to train from")
    parser.add_argument("--skip-training", action="store_true", help="only time large graphs")
    parser.add_argument("--skip-graphs", action="store_true", help="only time training")
    options = parser.parse_args()
    if not options.skip_training:
        compare_training(options.rounds)
    if not options.skip_graphs:
        compare_graphs()


if __name__ == "__main__":
    main()
