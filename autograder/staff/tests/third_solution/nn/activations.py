"""A third correct solution, in yet another style: the ReLU layer.
The operation is in functional.py."""

import mytorch.nn.functional as F
from mytorch.nn.module import Module


class ReLU(Module):
    def forward(self, z):
        return F.ReLU.apply(z)
