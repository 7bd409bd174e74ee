"""Holds the answers to some graded tests against PyTorch, where it is installed.
python3 autograder/staff/referee.py prints the largest relative difference for each."""

import sys

import packages  # noqa: F401
import numpy as np

from answers import CASES, SEED, WORKED_OUT_BY

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("referee.py needs PyTorch, which is not installed here")


def referee(seed):
    """Print how far some large cases, with the inputs of a seed, are from what PyTorch finds."""
    def tensor(array):
        return torch.tensor(array, requires_grad=array.dtype == np.float64)

    def filled(network, *arrays):
        for parameter, array in zip(network.double().parameters(), arrays):
            parameter.data = torch.tensor(array)
        return network

    def differentiated(network, x, loss):
        x = tensor(x)
        loss(network(x)).backward()
        return [parameter.grad for parameter in network.parameters()] + [x.grad]

    def cross_entropy(labels):
        return lambda logits: nn.functional.cross_entropy(logits, tensor(labels))

    def trained(g, **options):
        network = filled(
            nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(),
                          nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()),
            g.weight, g.bias, g.gamma, g.beta, g.weight2, g.bias2, g.gamma2, g.beta2)
        optimizer, losses = torch.optim.SGD(network.parameters(), **options), []
        for x, labels in zip(g.x, g.labels.reshape(len(g.x), -1)):
            optimizer.zero_grad()
            losses.append(cross_entropy(labels)(network(tensor(x))))
            losses[-1].backward()
            optimizer.step()
        averages = [buffer for buffer in network.buffers() if buffer.shape]  # and no counters
        return [*losses, *network.parameters(), *averages, network.eval()(tensor(g.other))]

    by_pytorch = {
        "test_batchnorm_backward": lambda g: differentiated(
            filled(nn.BatchNorm1d(3), g.gamma, g.beta), g.x,
            lambda output: (output * tensor(g.upstream)).sum()),
        "test_linear_cross_entropy_backward": lambda g: differentiated(
            filled(nn.Linear(4, 3), g.weight, g.bias), g.x, cross_entropy(g.labels)),
        "test_big_network_trained_with_cross_entropy": lambda g: trained(g, lr=0.2),
        "test_big_network_trained_with_momentum": lambda g: trained(g, lr=0.1, momentum=0.7),
    }
    for name, results in by_pytorch.items():
        ours = list(WORKED_OUT_BY[name](CASES[name].draw(seed)).values())
        theirs = [result.detach().numpy() for result in results(CASES[name].draw(seed))]
        assert len(ours) == len(theirs)
        apart = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)
                    for a, b in zip(ours, theirs))
        print(f"{name:44} largest relative difference {apart:.1e}")


if __name__ == "__main__":
    referee(SEED)
