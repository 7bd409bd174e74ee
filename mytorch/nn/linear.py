"""Linear, the fully connected layer.
A matrix product and a broadcast addition; autograd does the rest."""

import numpy as np

import mytorch.nn.functional as F
from mytorch.nn.module import Module
from mytorch.tensor import Tensor


class Linear(Module):
    """``y = x Wᵀ + b``.

    Weight and bias start uniformly distributed in ±1/sqrt(in_features), as in PyTorch. They are
    float64, drawn from NumPy's global generator (``np.random.seed`` makes them repeatable).

    Args:
        in_features (int): features of each input row.
        out_features (int): features of each output row.

    Attributes:
        weight (Tensor): parameter of shape (out_features, in_features).
        bias (Tensor): parameter of shape (out_features,).

    Raises:
        ValueError: at the call, for an input that is not (N, in_features).
    """

    def __init__(self, in_features, out_features):
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError("Linear: expected at least 1 in_feature and 1 out_feature, "
                             f"got {in_features} and {out_features}")
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / np.sqrt(in_features)
        weight = np.random.uniform(-bound, bound, (out_features, in_features))
        bias = np.random.uniform(-bound, bound, out_features)
        self.weight = Tensor(weight, is_parameter=True)
        self.bias = Tensor(bias, is_parameter=True)

    def forward(self, x):
        """x (Tensor): shape (N, in_features). Returns a Tensor of shape (N, out_features)."""
        F.check_features("Linear", x, self.in_features)
        # BEGIN SOLUTION 2.1: y = x Wᵀ + b
        return F.Linear.apply(x, self.weight, self.bias)
        # END SOLUTION 2.1

    def extra_repr(self):
        """The sizes and options of the layer, for ``repr``."""
        return f"{self.in_features}, {self.out_features}"
