"""Layers, loss and optimizer in plain NumPy with gradients derived by hand, for answers.py.
Each place also says how students get it wrong there; no mytorch is imported."""

import contextlib

import numpy as np


class Mistakes:
    """``wrong("...")`` is False, and notes that one can go wrong in this way at this place.
    Results are then worked out again ``with wrong.making`` each of them, when it is True.
    The words follow "looks like: " in a student's report."""

    def __init__(self):
        self.noted = {}  # used as an ordered set
        self.made = None

    def __call__(self, mistake):
        self.noted[mistake] = None
        return mistake == self.made

    @contextlib.contextmanager
    def making(self, mistake):
        self.made = mistake
        try:
            yield
        finally:
            self.made = None


wrong = Mistakes()
CHECKED = True  # whether ``gradient`` checks; a job of Autolab saves the time


def gradient(formula, f, by):
    """``formula``, if it agrees with central differences of the sum of ``f()`` by the array ``by``.

    Raises:
        ArithmeticError: it does not.
    """
    if CHECKED and wrong.made is None:
        step, numeric = 1e-6, np.empty(by.shape)
        for index in np.ndindex(*by.shape):
            value = by[index]
            by[index] = value + step
            above = np.sum(f())
            by[index] = value - step
            numeric[index] = (above - np.sum(f())) / (2 * step)
            by[index] = value
        largest = max(0.1, np.abs(numeric).max())
        if np.shape(formula) != by.shape or np.abs(formula - numeric).max() > 1e-5 * largest:
            raise ArithmeticError(f"wrong gradient:\n{formula}\ncentral differences:\n{numeric}")
    return formula


# The layers. ``backward`` returns the gradients of the parameters by name, and that of x.


class Linear:
    """y = x Wᵀ + b"""

    parameters, averages = ("weight", "bias"), ()

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def forward(self, x, training=True):
        self.x = x
        product = x @ (self.weight if wrong("x W instead of x Wᵀ") else self.weight.T)
        return product if wrong("the bias forgotten") else product + self.bias

    def backward(self, grad):
        if wrong("the upstream gradient ignored by Linear"):
            grad = np.ones_like(grad)
        by_row = wrong("the gradient of the bias not summed over the batch")
        by_bias = grad if by_row else grad.sum(axis=0)
        return {"weight": grad.T @ self.x, "bias": by_bias}, grad @ self.weight


class ReLU:
    """z where z > 0, else 0"""

    parameters = averages = ()

    def forward(self, z, training=True):
        self.z = z
        if wrong("1 where the input is above 0, not the input itself"):
            return 1.0 * (z > 0)
        return z if wrong("ReLU without effect") else np.where(z > 0, z, 0)

    def backward(self, grad):
        if wrong("the upstream gradient ignored by ReLU"):
            grad = np.ones_like(grad)
        if wrong("ReLU's gradient passed where the input is below 0 as well"):
            return {}, grad
        if wrong("the upstream gradient times the input, not times 1, where that is above 0"):
            grad = grad * self.z
        passes = self.z >= 0 if wrong("the gradient of ReLU at exactly 0 is 1") else self.z > 0
        return {}, np.where(passes, grad, 0)


class BatchNorm:
    """γ (x - μ) / √(s² + ε) + β"""

    parameters, averages = ("gamma", "beta"), ("running_mean", "running_var")

    def __init__(self, gamma, beta, eps=1e-5, momentum=0.1):
        self.gamma, self.beta, self.eps, self.momentum = gamma, beta, eps, momentum
        if eps != 1e-5 and wrong("eps always 1e-5, whatever is given"):
            self.eps = 1e-5
        if momentum != 0.1 and wrong("momentum always 0.1, whatever is given"):
            self.momentum = 0.1
        self.running_mean, self.running_var = np.zeros_like(gamma), np.ones_like(gamma)
        if wrong("running_var starting from 0, not from 1"):
            self.running_var = np.zeros_like(gamma)

    def forward(self, x, training=True):
        unbiased = training and wrong("normalised with the unbiased variance (m - 1)")
        self.x, self.m = x, len(x) - 1 if unbiased else len(x)
        mean = x.mean(axis=0)
        variance = ((x - mean)**2).sum(axis=0) / self.m
        if training:
            averages = wrong("normalised with the running averages in training as well")
        else:
            averages = not wrong("evaluated with the batch's own mean and variance")
        if averages:
            mean, variance = self.running_mean, self.running_var
        self.std = np.sqrt(variance + (0 if wrong("ε left out") else self.eps))
        if wrong("ε added after the root, not before"):
            self.std = np.sqrt(variance) + self.eps
        if wrong("divided by the variance, not by its root"):
            self.std = variance + self.eps
        self.x_hat = (x - mean) / self.std
        if wrong("gamma and beta not applied"):
            return self.x_hat
        if wrong("gamma not applied"):
            return self.x_hat + self.beta
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad):
        if wrong("the upstream gradient ignored by BatchNorm1d"):
            grad = np.ones_like(grad)
        by_x_hat, x_hat = grad * self.gamma, self.x_hat
        by_mean = by_x_hat.mean(axis=0)
        by_variance = x_hat * (by_x_hat * x_hat).sum(axis=0) / self.m
        if wrong("the mean treated as a constant in the gradient of x"):
            by_mean = 0
        if wrong("the variance treated as a constant in the gradient of x"):
            by_variance = 0
        if wrong("mean and variance treated as constants in the gradient of x"):
            by_mean = by_variance = 0
        by_gamma, by_beta = (grad * x_hat).sum(axis=0), grad.sum(axis=0)
        if wrong("the gradients of gamma and beta not summed over the batch"):
            by_gamma, by_beta = grad * x_hat, grad
        return {"gamma": by_gamma, "beta": by_beta}, (by_x_hat - by_mean - by_variance) / self.std

    def update_averages(self):
        """Take the batch of the last forward into the running averages."""
        new, m, mean = self.momentum, len(self.x) - 1, self.x.mean(axis=0)
        if wrong("the biased variance (m) in running_var"):
            m = len(self.x)
        if wrong("momentum the wrong way round (it weighs the new batch, not the old average)"):
            new = 1 - new
        if wrong("the last batch alone, not averaged with those before"):
            new = 1
        if wrong("the running averages never updated"):
            new = 0
        variance = ((self.x - mean)**2).sum(axis=0) / m
        self.running_mean = (1 - new) * self.running_mean + new * mean
        self.running_var = (1 - new) * self.running_var + new * variance


# What makes one number of an output; ``backward`` returns the gradient of the output.


class WeighedSum:
    def __init__(self, weights):
        self.weights = weights

    def forward(self, output):
        return np.sum(output * self.weights)

    def backward(self, output):
        return self.weights


def log_softmax(logits):
    """z - max - log Σ exp(z - max) of each row"""
    axis = 0 if wrong("softmax over the batch (axis 0), not over the classes (axis 1)") else 1
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


class CrossEntropy:
    """Mean over the rows of -log softmax(logits)[label], times a factor."""

    def __init__(self, labels, factor=1.0):
        self.labels, self.factor = labels, factor

    def weight_of_a_row(self, logits):
        if wrong("summed over the batch, not averaged"):
            return self.factor
        if wrong("divided by all N · C entries, not by the N rows"):
            return self.factor / logits.size
        if wrong("divided by the number of classes, not of rows"):
            return self.factor / logits.shape[1]
        return self.factor / len(logits)

    def forward(self, logits):
        picked = log_softmax(logits)[np.arange(len(logits)), self.labels]
        if wrong("the softmax of the labels, without the log"):
            picked = np.exp(picked)
        return -self.weight_of_a_row(logits) * picked.sum()

    def backward(self, logits):
        one_hot = np.eye(logits.shape[1])[self.labels]
        if wrong("the one-hot labels not subtracted from the softmax"):
            one_hot = 0
        grad = self.weight_of_a_row(logits) * (np.exp(log_softmax(logits)) - one_hot)
        return grad / self.factor if wrong("the upstream gradient of the loss ignored") else grad


# A network is a dict of name → layer, in their order.


def forward(network, x, training=True):
    """The network's output; the running averages stay as they are."""
    for layer in network.values():
        x = layer.forward(x, training)
    return x


def update_averages(network):
    for layer in network.values():
        if isinstance(layer, BatchNorm):
            layer.update_averages()


def train_forward(network, x):
    """The network's output in training, and what that does to the running averages."""
    output = forward(network, x)
    update_averages(network)
    return output


def evaluate(network, x):
    """The network's output in evaluation."""
    output = forward(network, x, training=False)
    if wrong("the running averages updated in evaluation as well"):
        update_averages(network)
    return output


def differentiate(network, x, loss, also_by_x=True):
    """The gradients of loss(network(x)) in training, checked, with the labels of the report."""
    grad, by = loss.backward(train_forward(network, x)), {}
    for name, layer in reversed(list(network.items())):
        by_parameter, grad = layer.backward(grad)
        by = {**{f"gradient of {name}.{parameter}": (formula, getattr(layer, parameter))
                 for parameter, formula in by_parameter.items()}, **by}
    if also_by_x:
        by["gradient of x"] = grad, x
    return {label: gradient(formula, lambda: loss.forward(forward(network, x)), array)
            for label, (formula, array) in by.items()}


class SGD:
    """v ← momentum · v - lr · gradient, W ← W + v"""

    def __init__(self, network, lr, momentum=0.0):
        self.network, self.lr, self.momentum = network, lr, momentum
        self.velocity, self.earlier = {}, {}

    def step(self, x, loss):
        """Train on one batch; returns its gradients."""
        found = differentiate(self.network, x, loss, also_by_x=False)
        lr, momentum, shared = self.lr, self.momentum, False
        if wrong("the learning rate forgotten"):
            lr = 1
        if wrong("the learning rate applied twice"):
            lr = lr**2
        if wrong("the default learning rate 0.001, whatever is given"):
            lr = 0.001
        if wrong("a step up, not down: W + lr · gradient"):
            lr = -lr
        if wrong("parameters as they were before the step"):
            lr = 0
        if momentum and wrong("the gradient damped by 1 - momentum"):
            lr = lr * (1 - momentum)
        if momentum and wrong("one momentum shared by parameters of different layers"):
            shared = True
        if momentum and wrong("momentum taken off instead of added"):
            momentum = -momentum
        if momentum and wrong("momentum forgotten"):
            momentum = 0
        applied_twice = momentum and wrong("momentum applied twice: to what is remembered, and to "
                                           "the step itself")
        of_gradient = momentum and wrong("the last gradient remembered, not the last step")
        if wrong("the gradients of earlier steps added (no zero_grad?)"):
            found = {label: grad + self.earlier.get(label, 0) for label, grad in found.items()}
        for name, layer in self.network.items():
            for parameter in layer.parameters:
                label = f"gradient of {name}.{parameter}"
                place = parameter if shared else label
                velocity = momentum * self.velocity.get(place, 0) - lr * found[label]
                self.velocity[place] = -lr * found[label] if of_gradient else velocity
                if applied_twice:
                    velocity = momentum * velocity - lr * found[label]
                setattr(layer, parameter, getattr(layer, parameter) + velocity)
        self.earlier = found
        return found
