"""The gradient checker is itself checked: it passes a right gradient, and fails on wrong ones.
The operation is ``a * b`` for a square a and a row b, with mistakes that students make."""

import numpy as np
import pytest

from central_differences import assert_gradients, function, leaf
from mytorch.gradient_check import numerical_gradients, uneven
from mytorch.tensor import Tensor


def product_with(gradients):
    """A Function ``a * b`` whose backward returns ``gradients(g, a, b)``, given ndarrays."""

    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return Tensor(a.data * b.data)

    def backward(ctx, grad_output):
        a, b = (tensor.data for tensor in ctx.saved_tensors)
        return tuple(None if grad is None else Tensor(grad)
                     for grad in gradients(grad_output.data, a, b))

    return function(forward, backward)


def check(gradients):
    assert_gradients(product_with(gradients).apply, leaf(uneven(3, 3)), leaf(uneven(3) + 0.5))


def off_in_one_entry(g, a, b):
    grad_a = g * b
    grad_a[1, 2] *= 1.001
    return grad_a, (g * a).sum(axis=0)


MISTAKES = {
    "the upstream gradient ignored": lambda g, a, b: (b + 0 * a, a.sum(axis=0)),
    "the upstream gradient ignored for one input": lambda g, a, b: (g * b, a.sum(axis=0)),
    "the upstream gradient summed up": lambda g, a, b: (g.sum() * b + 0 * a, (g * a).sum(axis=0)),
    "the sign of one flipped": lambda g, a, b: (g * b, -(g * a).sum(axis=0)),
    "one doubled": lambda g, a, b: (2 * g * b, (g * a).sum(axis=0)),
    "one transposed": lambda g, a, b: ((g * b).T.copy(), (g * a).sum(axis=0)),
    "the upstream gradient transposed": lambda g, a, b: (g.T * b, (g * a).sum(axis=0)),
    "the wrong operand": lambda g, a, b: (g * a, (g * b).sum(axis=0)),
    "one row in place of the sum over rows": lambda g, a, b: (g * b, (g * a)[0]),
    "the mean over rows in place of the sum": lambda g, a, b: (g * b, (g * a).mean(axis=0)),
    "the sum over columns in place of rows": lambda g, a, b: (g * b, (g * a).sum(axis=1)),
    "the sum left out": lambda g, a, b: (g * b, g * a),
    "one zero": lambda g, a, b: (g * b, 0 * b),
    "one missing": lambda g, a, b: (g * b, None),
    "one entry wrong by a thousandth": off_in_one_entry,
}


def test_the_checker_passes_a_right_gradient():
    check(lambda g, a, b: (g * b, (g * a).sum(axis=0)))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_checker_fails_on(mistake):
    with pytest.raises((AssertionError, ValueError)):
        check(MISTAKES[mistake])


def test_central_differences_of_a_square_are_twice_the_upstream_times_the_number():
    a = np.array([3.0, -1.0])
    (gradient,) = numerical_gradients(lambda x: x * x, [a], np.array([10.0, -1.0]))
    np.testing.assert_allclose(gradient, [60.0, 2.0])


def test_central_differences_may_be_taken_of_a_view_of_the_input():
    (gradient,) = numerical_gradients(lambda x: x.T, [np.ones((2, 3))], uneven(3, 2))
    np.testing.assert_allclose(gradient, uneven(3, 2).T)


@pytest.mark.parametrize("shape", [(), (2, 3), (10, 10)])
def test_the_upstream_gradient_is_uneven_and_never_one(shape):
    numbers = np.abs(uneven(*shape)).ravel()
    assert len(set(numbers.round(9))) == numbers.size and not np.isclose(numbers, 1).any()


def test_the_upstream_gradient_has_both_signs_in_every_row_and_column():
    signs = np.sign(uneven(4, 5))
    assert all(set(line) == {-1.0, 1.0} for line in [*signs, *signs.T])
