"""Activation functions as layers.
Each wraps the operation of the same name in functional.py."""

import mytorch.nn.functional as F
from mytorch.nn.module import Module


class ReLU(Module):
    """``z`` where ``z > 0``, else 0, entry by entry; see functional.ReLU for its gradient."""

    def forward(self, x):
        """x (Tensor): any shape. Returns a Tensor of the same shape."""
        # BEGIN SOLUTION 2.2: apply your Function for ReLU
        return F.ReLU.apply(x)
        # END SOLUTION 2.2
