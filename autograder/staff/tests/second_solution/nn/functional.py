"""A second correct solution, in another style than the reference: the operations.
Every forward sets the flags of its output itself; only Add broadcasts."""

import numpy as np

from mytorch import tensor
from mytorch.autograd_engine import Function


def result(array, *inputs):
    grad_needed = False
    for i in inputs:
        if i.requires_grad:
            grad_needed = True
    return tensor.Tensor(array, requires_grad=grad_needed, is_leaf=not grad_needed)


def check_same_shape(a, b):
    if a.shape != b.shape:
        raise Exception("shapes differ: " + str(a.shape) + ", " + str(b.shape))


def unbroadcast(grad, shape):
    while len(grad.shape) > len(shape):
        grad = grad.sum(axis=0)
    for axis in range(len(shape)):
        if shape[axis] == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad


class Transpose(Function):
    @staticmethod
    def forward(ctx, a):
        if len(a.shape) != 2:
            raise Exception("only 2d")
        return result(a.data.T.copy(), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data.T.copy())


class Reshape(Function):
    @staticmethod
    def forward(ctx, a, shape):
        ctx.shape = a.shape
        return result(a.data.reshape(shape), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data.reshape(ctx.shape))


class Log(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return result(np.log(a.data), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data / ctx.saved_tensors[0].data)


class Exp(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.exp = np.exp(a.data)
        return result(ctx.exp, a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data * ctx.exp)


class SumKeepingAxes(Function):
    @staticmethod
    def forward(ctx, a, axis):
        ctx.shape = a.shape
        ctx.keep = axis is not None
        return result(np.sum(a.data, axis=axis, keepdims=ctx.keep), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(np.ones(ctx.shape) * grad_output.data)


class Add(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.a_shape = a.shape
        ctx.b_shape = b.shape
        return result(a.data + b.data, a, b)

    @staticmethod
    def backward(ctx, grad_output):
        return (tensor.Tensor(unbroadcast(grad_output.data, ctx.a_shape)),
                tensor.Tensor(unbroadcast(grad_output.data, ctx.b_shape)))


class Sub(Function):
    @staticmethod
    def forward(ctx, a, b):
        check_same_shape(a, b)
        return result(a.data - b.data, a, b)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.copy(), tensor.Tensor(-grad_output.data)


class Mul(Function):
    @staticmethod
    def forward(ctx, a, b):
        check_same_shape(a, b)
        ctx.save_for_backward(a, b)
        return result(a.data * b.data, a, b)

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        return tensor.Tensor(b.data * grad_output.data), tensor.Tensor(a.data * grad_output.data)


class Div(Function):
    @staticmethod
    def forward(ctx, a, b):
        check_same_shape(a, b)
        ctx.save_for_backward(a, b)
        return result(a.data / b.data, a, b)

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        grad_a = np.ones(a.shape) / b.data * grad_output.data
        grad_b = -a.data * b.data ** -2 * grad_output.data
        return tensor.Tensor(grad_a), tensor.Tensor(grad_b)


class MatMul(Function):
    @staticmethod
    def forward(ctx, a, b):
        if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
            raise Exception("cannot multiply " + str(a.shape) + " and " + str(b.shape))
        ctx.save_for_backward(a, b)
        return result(np.dot(a.data, b.data), a, b)

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        return (tensor.Tensor(np.dot(grad_output.data, b.data.T)),
                tensor.Tensor(np.dot(a.data.T, grad_output.data)))


class ReLU(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.positive = np.where(a.data > 0, 1.0, 0.0)
        return result(a.data * ctx.positive, a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data * ctx.positive)


class BatchNorm(Function):
    """mean and var are given in evaluation (ndarrays) and None in training."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, mean=None, var=None):
        ctx.save_for_backward(gamma)
        ctx.train = mean is None
        if ctx.train:
            mean = np.mean(x.data, axis=0)
            var = np.var(x.data, axis=0)
        ctx.std = np.sqrt(var + eps)
        ctx.x_hat = (x.data - mean) / ctx.std
        return result(ctx.x_hat * gamma.data + beta.data, x, gamma, beta)

    @staticmethod
    def backward(ctx, grad_output):
        g = grad_output.data
        grad_gamma = np.sum(g * ctx.x_hat, axis=0)
        grad_beta = np.sum(g, axis=0)
        d_hat = g * ctx.saved_tensors[0].data
        if ctx.train:
            d_hat = d_hat - d_hat.mean(axis=0) - ctx.x_hat * np.mean(d_hat * ctx.x_hat, axis=0)
        return tensor.Tensor(d_hat / ctx.std), tensor.Tensor(grad_gamma), tensor.Tensor(grad_beta)


def cross_entropy(predicted, target):
    batch_size, num_classes = predicted.shape
    biggest = np.max(predicted.data, axis=1).reshape(batch_size, 1)
    shifted = predicted + tensor.Tensor(-biggest)
    log_sums = shifted.exp().sum(axis=1).log()
    minus = tensor.Tensor(-np.ones(log_sums.shape))
    log_probabilities = shifted + log_sums * minus
    chosen = (log_probabilities * to_one_hot(target, num_classes)).sum()
    return chosen * tensor.Tensor(-1.0 / batch_size)


def to_one_hot(arr, num_classes):
    one_hot = np.zeros((len(arr.data), num_classes))
    for row, label in enumerate(arr.data):
        one_hot[row, label] = 1
    return tensor.Tensor(one_hot)
