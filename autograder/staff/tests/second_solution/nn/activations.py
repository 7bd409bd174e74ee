"""A second correct solution, in another style than the reference: the ReLU layer.
The operation is in functional.py."""

from mytorch.nn import functional
from mytorch.nn.module import Module


class ReLU(Module):
    def forward(self, x):
        return functional.ReLU.apply(x)
