"""How fast MyTorch is beside plain NumPy and PyTorch: trainings, single steps, large graphs.
Run by hand, never by the tests, on an idle machine or with --cpu; ratios tell most."""

import argparse
import functools
import itertools
import os
import statistics
import sys
import time
import tracemalloc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import packages  # noqa: E402, F401
import numpy as np  # noqa: E402

from problem3 import mnist_data  # noqa: E402
from hw1.mnist import BATCH_SIZE, VALIDATE_EVERY, mnist  # noqa: E402
from mytorch.nn.activations import ReLU  # noqa: E402
from mytorch.nn.batchnorm import BatchNorm1d  # noqa: E402
from mytorch.nn.linear import Linear  # noqa: E402
from mytorch.nn.loss import CrossEntropyLoss  # noqa: E402
from mytorch.nn.sequential import Sequential  # noqa: E402
from mytorch.optim.sgd import SGD  # noqa: E402
from mytorch.tensor import Tensor  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

EPOCHS, LR, EPS, MOMENTUM = 3, 0.1, 1e-5, 0.1  # as in hw1/mnist.py, the last two BatchNorm's
WIDTHS, BATCHES = (20, 256, 1024), (10, 100, 1000)  # of the networks whose steps are timed
GRAPHS = {10**3: 101, 10**4: 21, 10**5: 5, 10**6: 1}  # operations in a graph: graphs to time


class ByHand:
    """The network of hw1/mnist.py differentiated by hand: what NumPy itself costs, the floor.

    Draws the same random numbers in the same order as MyTorch, so it computes the same thing.
    ``width`` is that of the hidden layer.
    """

    def __init__(self, width=20):
        self.w1, self.b1 = self.linear(784, width)
        self.w2, self.b2 = self.linear(width, 10)
        self.gamma, self.beta = np.ones(width, np.float32), np.zeros(width, np.float32)
        self.mean, self.var = np.zeros(width, np.float32), np.ones(width, np.float32)

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


class InPyTorch:
    """The same network in PyTorch, on that many threads."""

    def __init__(self, threads, width=20):
        torch.set_num_threads(threads)
        nn = torch.nn
        self.model = nn.Sequential(nn.Linear(784, width), nn.BatchNorm1d(width), nn.ReLU(),
                                   nn.Linear(width, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)

    def step(self, x, labels):
        self.optimizer.zero_grad()
        logits = self.model(torch.as_tensor(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
        loss.backward()
        self.optimizer.step()

    def accuracy(self, x, labels):
        self.model.eval()
        with torch.inference_mode():
            correct = (self.model(x).argmax(dim=1) == labels).sum()
        self.model.train()
        return correct.item() / len(x)


def train_pytorch(threads, *arrays):
    """As hw1.mnist.mnist, with InPyTorch."""
    torch.manual_seed(np.random.randint(2**31))
    train_x, train_y, val_x, val_y = map(torch.from_numpy, arrays)
    network, accuracies = InPyTorch(threads), []
    for _ in range(EPOCHS):
        order = torch.randperm(len(train_x))
        for index, batch in enumerate(order.split(BATCH_SIZE)):
            network.step(train_x[batch], train_y[batch])
            if index % VALIDATE_EVERY == 0:
                accuracies.append(network.accuracy(val_x, val_y))
    return accuracies


def threads_to_try(clock):
    """Numbers of threads to run PyTorch on: one and all; none where it is not installed, and
    only one where the clock adds up what all threads take."""
    most = 1 if clock is time.process_time else os.cpu_count()
    return sorted({1, most}) if torch else []


def named(threads):
    return f"PyTorch, {threads} thread{'s' * (threads > 1)}"


def turns(number, contenders):
    """The order of contenders in that round. Another begins in each, as threads of PyTorch's that
    still spin slow down who comes next."""
    return [(number + turn) % contenders for turn in range(contenders)]


def compare_training(rounds, clock):
    """In each round all contenders train from one seed; prints seconds and accuracies."""
    data = mnist_data.load()
    contenders = {"MyTorch": mnist, "NumPy by hand": train_by_hand}
    for threads in threads_to_try(clock):
        contenders[named(threads)] = functools.partial(train_pytorch, threads)
    print(f"Training on {data.name}: {EPOCHS} epochs in float32, batches of {BATCH_SIZE}; "
          "seconds and final validation accuracy\n")
    print("seed  " + "".join(f"{name:>20}" for name in contenders))
    seconds, finals = [[] for _ in contenders], [[] for _ in contenders]
    for seed in range(rounds):
        for i in turns(seed, len(contenders)):
            train = list(contenders.values())[i]
            np.random.seed(seed)
            start = clock()
            finals[i].append(train(*data[:4])[-1])
            seconds[i].append(clock() - start)
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
    print(f"\nMyTorch's time / NumPy by hand's:    {to_floor:5.2f} x   (aim: at most 1.45)")
    if rivals:
        speed = statistics.median(min(times) / a for a, *times in zip(ours, *rivals))
        print(f"faster PyTorch's time / MyTorch's:   {speed:5.2f} x   (aim: at least 1.45)"
              f"   PyTorch {torch.__version__}")
    else:
        print("PyTorch is not installed for this Python, so it was not compared.")


class InMyTorch:
    """The same network in MyTorch, as hw1/mnist.py makes it."""

    def __init__(self, width):
        layers = Linear(784, width), BatchNorm1d(width), ReLU(), Linear(width, 10)
        self.model, self.criterion = Sequential(*layers).float(), CrossEntropyLoss()
        self.optimizer = SGD(self.model.parameters(), lr=LR)

    def step(self, x, labels):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(Tensor(x)), Tensor(labels))
        loss.backward()
        self.optimizer.step()


def microseconds_per_step(clock, network, *batch):
    """What a training step takes: the mean of as many as fit into 20 ms, after one unmeasured."""
    network.step(*batch)
    count, start = 0, clock()
    while clock() - start < 0.02:
        network.step(*batch)
        count += 1
    return (clock() - start) / count * 1e6


def compare_steps(rounds, clock):
    """Prints what a step takes as layer and batch grow, and how many times that of the others.

    Each figure is the lowest of all rounds: whatever else the machine does only adds to it.
    """
    threads = threads_to_try(clock)
    makers = [InMyTorch, ByHand] + [functools.partial(InPyTorch, number) for number in threads]
    names = ["NumPy by hand"] + [named(number) for number in threads]
    print("\nA training step of 784 -> width -> 10 in MyTorch, and as a multiple of the others'\n")
    print(" width  batch" + "".join(f"{name:>20}" for name in ["MyTorch"] + names))
    for width, batch in itertools.product(WIDTHS, BATCHES):
        x, labels = np.random.rand(batch, 784).astype(np.float32), np.arange(batch) % 10
        times = [[] for _ in makers]
        for number in range(rounds):
            for i in turns(number, len(makers)):
                times[i].append(microseconds_per_step(clock, makers[i](width), x, labels))
        ours, *others = map(min, times)
        print(f"{width:6}{batch:7}{ours:17,.0f} us"
              + "".join(f"{ours / other:18.2f} x" for other in others), flush=True)


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


def relus(leaf, operations):
    """Each operation has one operand and saves it."""
    for _ in range(operations):
        leaf = ReLU()(leaf)
    return leaf


def sums(leaf, operations):
    """Each operation has two operands, one of them a constant."""
    constant = Tensor(1.0)
    for _ in range(operations):
        leaf = leaf + constant
    return leaf


def compare_memory(operations=20_000):
    """Prints what a recorded operation on single numbers holds, its result and all."""
    print("\nMemory held by a recorded operation on single numbers, in bytes\n")
    for build in (relus, sums):
        leaf = Tensor(1.0, requires_grad=True)
        build(leaf, 10)
        tracemalloc.start()
        result = build(leaf, operations)  # noqa: F841
        held = tracemalloc.get_traced_memory()[0] / operations
        tracemalloc.stop()
        print(f"{build.__name__:10}{held:12.0f}   (wanted: at most 650)", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Compare MyTorch with plain NumPy and PyTorch.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="training, steps, graphs, memory; or all")
    parser.add_argument("--rounds", type=int, default=12, help="how often the first two are repeated")
    parser.add_argument("--cpu", action="store_true", help="on a busy machine: measure processor "
                        "time, with PyTorch on one thread; set OPENBLAS_NUM_THREADS=1 as well")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    parts = {"training": lambda: compare_training(options.rounds, clock),
             "steps": lambda: compare_steps(options.rounds, clock), "graphs": compare_graphs,
             "memory": compare_memory}
    for part in options.parts or parts:
        if part not in parts:
            parser.error(f"there is no part {part!r}, only {', '.join(parts)}")
        parts[part]()


if __name__ == "__main__":
    main()
