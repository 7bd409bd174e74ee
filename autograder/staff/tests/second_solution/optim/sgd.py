"""A second correct solution, in another style than the reference: SGD.
Keeps the sum of gradients and multiplies by the learning rate at the end, all in place."""

import numpy as np

from mytorch.optim.optimizer import Optimizer


class SGD(Optimizer):
    def __init__(self, params, lr=0.001, momentum=0.0):
        super().__init__(params)
        self.lr = lr
        self.momentum = momentum
        self.momentums = [np.zeros(p.shape) for p in self.params]

    def step(self):
        for p, v in zip(self.params, self.momentums):
            v *= self.momentum
            v += p.grad.data
            p.data -= self.lr * v

    def zero_grad(self):
        for p in self.params:
            p.grad = None
