"""A third correct solution, in yet another style: the loss.
Applies the class cross_entropy of functional.py."""

import mytorch.nn.functional as F


class Loss:
    def __call__(self, predicted, target):
        return self.forward(predicted, target)


class CrossEntropyLoss(Loss):
    def forward(self, predicted, target):
        return F.cross_entropy.apply(predicted, target)
