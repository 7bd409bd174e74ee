"""Losses: how far predictions are from their targets, as one number to minimise.
Loss is the base class; the formulas live in functional.py."""

import mytorch.nn.functional as F
from mytorch.nn.module import Module


class Loss(Module):
    """Base class of losses, called with predictions and targets."""

    def forward(self, predicted, target):
        """predicted, target (Tensor): of the batch. Returns a Tensor of shape ()."""
        raise NotImplementedError(f"{type(self).__name__}: must define forward")


class CrossEntropyLoss(Loss):
    """Mean cross entropy between logits and integer labels; see functional.cross_entropy."""

    def forward(self, predicted, target):
        """predicted: logits (N, C); target: labels (N,), integers. Returns shape ()."""
        return F.cross_entropy(predicted, target)
