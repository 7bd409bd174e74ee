"""Holds the gradients of autograd against central differences, more strictly than check_gradients.
A test of its own shows that wrong ones are noticed. With it, what else these tests share."""

import numpy as np
import pytest

from mytorch import autograd_engine
from mytorch.autograd_engine import Function
from mytorch.gradient_check import numerical_gradients, uneven
from mytorch.tensor import Tensor


def leaf(data):
    return Tensor(data, requires_grad=True)


def function(forward, backward, name="Student"):
    """A Function as a student writes it, from its two static methods."""
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (Function,), methods)


def assert_gradients(f, *tensors):
    """Fail unless ``backward`` gives each tensor the gradient that central differences give."""
    for tensor in tensors:
        tensor.grad = None
    output = f(*tensors)
    upstream = uneven(*output.shape)
    autograd_engine.backward(output.grad_fn, Tensor(upstream))
    expected = numerical_gradients(lambda *_: f(*tensors).data,
                                   [tensor.data for tensor in tensors], upstream)
    for position, (tensor, gradient) in enumerate(zip(tensors, expected)):
        assert tensor.grad is not None, f"argument {position} received no gradient"
        np.testing.assert_allclose(
            tensor.grad.data, gradient, rtol=1e-6, atol=1e-7, err_msg=f"argument {position}")


def assert_raises(error, words, call):
    """Fail unless ``call()`` raises that error with each of the words in its message."""
    with pytest.raises(error) as raised:
        call()
    missing = [word for word in words.split() if word not in str(raised.value)]
    assert not missing, f"{missing} not in {raised.value}"
