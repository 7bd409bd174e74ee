"""Stochastic gradient descent, with momentum.
Polyak, Some methods of speeding up the convergence of iteration methods (1964)."""

import numpy as np

from mytorch.checks import check_grad
from mytorch.optim.optimizer import Optimizer


class SGD(Optimizer):
    """``v <- momentum v - lr grad``, then ``W <- W + v``.

    Args:
        params (iterable of Tensor): the parameters, usually ``model.parameters()``.
        lr (float): learning rate.
        momentum (float): share of the previous step that is kept; 0 for plain SGD.

    Attributes:
        momentums (list of ndarray): the v of each parameter, starting at 0.

    Raises:
        ValueError: if ``lr`` or ``momentum`` is negative; others as Optimizer.
    """

    def __init__(self, params, lr=0.001, momentum=0.0):
        super().__init__(params)
        for name, value in (("lr", lr), ("momentum", momentum)):
            if not value >= 0:
                raise ValueError(f"SGD: expected {name} >= 0, got {value}")
        self.lr = lr
        self.momentum = momentum
        self.momentums = [np.zeros_like(param.data) for param in self.params]

    def __repr__(self):
        return f"SGD(lr={self.lr}, momentum={self.momentum}, {len(self.params)} parameters)"

    def step(self):
        """Update every parameter that has a gradient, and leave the others alone.

        Works on the data alone, so that no graph records it and the parameters stay leaves. Raises
        TypeError or ValueError, before any update, for a gradient that is not a Tensor of the
        parameter's shape.
        """
        moving = [(i, p) for i, p in enumerate(self.params) if p.grad is not None]
        for _, param in moving:  # before any of them is changed
            check_grad(param)
        for i, param in moving:
            # BEGIN SOLUTION 2.3: the step against the gradient
            step = -self.lr * param.grad.data
            # END SOLUTION 2.3
            # BEGIN SOLUTION 2.6: add what momentum keeps of the previous step
            if self.momentum:
                step = self.momentum * self.momentums[i] + step
            self.momentums[i] = step = np.asarray(step, param.data.dtype)
            # END SOLUTION 2.6
            # BEGIN SOLUTION 2.3: take the step, on the data alone
            param.data = np.asarray(param.data + step)
            # END SOLUTION 2.3
