"""How fast MyTorch is beside plain NumPy and PyTorch: trainings, single steps, large graphs.
Run by hand, never by the tests, on an idle machine or with --cpu; ratios tell most."""

import argparse
import itertools
import operator
import os
import statistics
import sys
import time
import tracemalloc

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import packages  # noqa: E402, F401
import numpy as np  # noqa: E402

from problem3 import mnist_data  # noqa: E402
from hw1.mnist import BATCH_SIZE, VALIDATE_EVERY  # noqa: E402
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


# The network of hw1/mnist.py, three times. ``width`` is that of the hidden layer.


class InMyTorch:
    """The network as hw1/mnist.py makes it."""

    def __init__(self, width):
        layers = Linear(784, width), BatchNorm1d(width), ReLU(), Linear(width, 10)
        self.model, self.criterion = Sequential(*layers).float(), CrossEntropyLoss()
        self.optimizer = SGD(self.model.parameters(), lr=LR)

    def step(self, x, labels):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(Tensor(x)), Tensor(labels))
        loss.backward()
        self.optimizer.step()

    def guess(self, x):
        self.model.eval()
        logits = self.model(Tensor(x)).data
        self.model.train()
        return logits.argmax(axis=1)


class ByHand:
    """The network differentiated by hand: what NumPy itself costs, the floor. It draws the same random
    numbers in the same order as MyTorch, so it computes the same thing."""

    def __init__(self, width):
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
        hidden = x @ self.w1.T
        hidden += self.b1 - self.mean
        hidden *= self.gamma / np.sqrt(self.var + EPS)
        hidden += self.beta
        np.maximum(hidden, 0, out=hidden)
        return (hidden @ self.w2.T + self.b2).argmax(axis=1)


class InPyTorch:
    """The network in PyTorch, on one thread."""

    def __init__(self, width):
        torch.set_num_threads(1)
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

    def guess(self, x):
        self.model.eval()
        with torch.inference_mode():
            logits = self.model(torch.as_tensor(x))
        self.model.train()
        return logits.argmax(dim=1).numpy()


NETWORKS = {"MyTorch": InMyTorch, "NumPy by hand": ByHand, **({"PyTorch": InPyTorch} if torch else {})}


def train(network, train_x, train_y, val_x, val_y):
    """Train as hw1/mnist.py does; returns the last validation accuracy."""
    for _ in range(EPOCHS):
        order = np.random.permutation(len(train_x))
        for index, start in enumerate(range(0, len(order), BATCH_SIZE)):
            batch = order[start:start + BATCH_SIZE]
            network.step(train_x[batch], train_y[batch])
            if index % VALIDATE_EVERY == 0:
                accuracy = np.mean(network.guess(val_x) == val_y)
    return accuracy


def compare_training(rounds, clock):
    """In each round all networks train from one seed; prints seconds and accuracies, and at last
    the medians of ratios, each formed within one round, where all met the same conditions."""
    data = mnist_data.load()
    print(f"Training on {data.name}: {EPOCHS} epochs in float32, batches of {BATCH_SIZE}; "
          "seconds and final validation accuracy\n")
    print("seed  " + "".join(f"{name:>20}" for name in NETWORKS))
    times = []
    for seed in range(rounds):
        times.append({})
        print(f"{seed:<6}", end="")
        for name, network in NETWORKS.items():
            np.random.seed(seed)
            start = clock()
            accuracy = train(network(20), *data[:4])
            times[-1][name] = clock() - start
            print(f"{times[-1][name]:10.2f} s {accuracy:7.2%}", end="", flush=True)
        print()
    for name, aim in (("NumPy by hand", "at most 1.45"), ("PyTorch", "at most 0.69")):
        if name in NETWORKS:
            ratio = statistics.median(seconds["MyTorch"] / seconds[name] for seconds in times)
            print(f"MyTorch's time is {ratio:.2f} times that of {name} (aim: {aim})")


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
    print("\nA training step of 784 -> width -> 10 in MyTorch, and as a multiple of the others'\n")
    print(" width  batch" + "".join(f"{name:>20}" for name in NETWORKS))
    for width, batch in itertools.product(WIDTHS, BATCHES):
        x, labels = np.random.rand(batch, 784).astype(np.float32), np.arange(batch) % 10
        times = [[microseconds_per_step(clock, network(width), x, labels)
                  for network in NETWORKS.values()] for _ in range(rounds)]
        ours, *others = map(min, zip(*times))
        print(f"{width:6}{batch:7}{ours:17,.0f} us"
              + "".join(f"{ours / other:18.2f} x" for other in others), flush=True)


def chain(leaf, operations, operation=operator.neg):
    """Each result is used once, by the next operation."""
    for _ in range(operations):
        leaf = operation(leaf)
    return leaf


def diamonds(leaf, operations):
    """Each level splits in two and joins again, which doubles the number of paths."""
    return chain(leaf, operations // 3, lambda level: 0.5 * level + 0.5 * level)


def fan(leaf, operations):
    """Half of the operations use the same leaf; the others add up the results, in pairs."""
    if operations < 3:
        return -leaf
    half = (operations - 1) // 2
    return fan(leaf, half) + fan(leaf, operations - 1 - half)


def microseconds_per_operation(build, operations):
    """CPU time of one backward over a new graph, which is freed when this returns."""
    result = build(Tensor(1.0, requires_grad=True), operations)
    start = time.process_time()
    result.backward()
    return (time.process_time() - start) / operations * 1e6


def compare_graphs(rounds, clock):
    """Prints what backward costs per operation as graphs grow: level where it is linear."""
    print("\nBackward, CPU microseconds per operation in graphs of so many operations\n")
    print(" " * 10 + "".join(f"{size:>12,}" for size in GRAPHS) + "     last / first")
    for build in (chain, diamonds, fan):
        costs = [statistics.median(microseconds_per_operation(build, size) for _ in range(graphs))
                 for size, graphs in GRAPHS.items()]
        print(f"{build.__name__:10}" + "".join(f"{cost:12.2f}" for cost in costs)
              + f"{costs[-1] / costs[0]:10.2f} x   (wanted: at most 4)", flush=True)


def compare_memory(rounds, clock, operations=20_000):
    """Prints what a recorded operation on single numbers holds, its result and all."""
    print("\nMemory held by a recorded operation on single numbers, in bytes\n")
    constant = Tensor(1.0)
    for name, operation in {"ReLU": ReLU(), "sum": lambda tensor: tensor + constant}.items():
        leaf = Tensor(1.0, requires_grad=True)
        chain(leaf, 10, operation)
        tracemalloc.start()
        result = chain(leaf, operations, operation)  # noqa: F841
        held = tracemalloc.get_traced_memory()[0] / operations
        tracemalloc.stop()
        print(f"{name:10}{held:12.0f}   (wanted: at most 650)", flush=True)


PARTS = {"training": compare_training, "steps": compare_steps, "graphs": compare_graphs,
         "memory": compare_memory}


def main():
    parser = argparse.ArgumentParser(description="Compare MyTorch with plain NumPy and PyTorch.")
    parser.add_argument("part", nargs="?", choices=PARTS, help="all by default")
    parser.add_argument("--rounds", type=int, default=12, help="how often the first two are repeated")
    parser.add_argument("--cpu", action="store_true", help="on a busy machine: measure processor "
                        "time; set OPENBLAS_NUM_THREADS=1 as well")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    for part in [options.part] if options.part else PARTS:
        PARTS[part](options.rounds, clock)


if __name__ == "__main__":
    main()
