"""A third correct solution, in yet another style: SGD.
Keeps the last step of each parameter in a dict."""

from mytorch.optim.optimizer import Optimizer


class SGD(Optimizer):
    def __init__(self, params, lr=0.001, momentum=0.0):
        super().__init__(params)
        self.lr = lr
        self.momentum = momentum
        self.momentums = {param: 0.0 for param in self.params}

    def step(self):
        for param in self.params:
            step = self.momentum * self.momentums[param] - self.lr * param.grad.data
            self.momentums[param] = step
            param.data = param.data + step
