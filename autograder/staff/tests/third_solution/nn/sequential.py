"""A third correct solution, in yet another style: Sequential.
Folds the list of layers over the input."""

import functools

from mytorch.nn.module import Module


class Sequential(Module):
    def __init__(self, *layers):
        self.layers = list(layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, index):
        return self.layers[index]

    def forward(self, x):
        return functools.reduce(lambda output, layer: layer(output), self.layers, x)
