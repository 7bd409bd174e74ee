"""Optimizer and SGD: steps worked out by hand, and what a step must leave alone.
The rule is v <- momentum v - lr grad, then W <- W + v."""

import numpy as np
import pytest

from central_differences import assert_raises, leaf
from mytorch.optim.optimizer import Optimizer
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor


def parameter(data):
    return Tensor(data, is_parameter=True)


def weights_after_steps(gradients, momentum, dtype=np.float64):
    """The weight, starting at 1, after each step of lr 0.5 with one of the gradients."""
    weight = parameter(np.array([1.0], dtype))
    optimizer = SGD([weight], lr=0.5, momentum=momentum)
    weights = []
    for gradient in gradients:
        weight.grad = None if gradient is None else Tensor(np.array([gradient], dtype))
        optimizer.step()
        weights.append(weight.data.tolist()[0])
    return weights


def test_momentum_keeps_a_share_of_the_previous_step():
    # v: -2, then 0.5 * -2 - 0.5 * -2 = 0, then 0 - 1 = -1, then -0.5
    assert weights_after_steps([4.0, -2.0, 2.0, 0.0], momentum=0.5) == [-1, -1, -2, -2.5]


def test_a_parameter_without_gradient_is_skipped_and_keeps_its_momentum():
    # Skipped, not taken for a zero gradient: v stays -2, and is halved by the third step only.
    assert weights_after_steps([4.0, None, 0.0], momentum=0.5) == [-1, -1, -2]


def test_momentums_start_at_zero_in_their_parameters_shape_and_dtype_and_the_default_is_none():
    optimizer = SGD([parameter(np.ones((2, 3))), parameter(np.ones(4, np.float32))], momentum=0.9)
    assert [(momentum.shape, momentum.dtype) for momentum in optimizer.momentums] == [
        ((2, 3), np.float64), ((4,), np.float32)]
    assert not any(momentum.any() for momentum in optimizer.momentums)
    assert (SGD([parameter([1.0])]).lr, SGD([parameter([1.0])]).momentum) == (0.001, 0.0)


def test_lr_may_be_changed_between_steps():
    weight = parameter([1.0])
    optimizer = SGD([weight], lr=1.0)
    optimizer.lr = 0.25
    weight.grad = Tensor([2.0])
    optimizer.step()
    assert weight.data.tolist() == [0.5]


def test_steps_leave_parameters_leaves_outside_any_graph_and_gradients_as_they_were():
    weight, without = parameter([2.0]), parameter([1.0])
    optimizer = SGD(iter([without, weight]), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        assert weight.grad is None
        (weight * weight).backward()
        node, gradient, values = weight.grad_fn, weight.grad, weight.grad.data.tolist()
        array, before = weight.data, weight.data.tolist()
        optimizer.step()
        assert weight.grad is gradient and gradient.data.tolist() == values
        assert array.tolist() == before  # an operation may have saved it
    assert optimizer.params[1] is weight and weight.grad_fn is node
    assert (weight.requires_grad, weight.is_leaf, weight.is_parameter) == (True, True, True)
    assert without.data.tolist() == [1]


@pytest.mark.parametrize("data, gradient, after", [
    (2.0, Tensor(4.0), 0), (np.ones(2), Tensor([1, 2]), [0.5, 0])], ids=["a number", "integers"])
def test_a_step_takes_single_numbers_and_a_gradient_of_integers(data, gradient, after):
    weight = parameter(data)
    weight.grad = gradient
    SGD([weight], lr=0.5).step()
    assert type(weight.data) is np.ndarray and weight.data.tolist() == after


@pytest.mark.parametrize("lr", [0.1, np.float64(0.1), 1])
def test_float32_parameters_and_momentums_stay_float32(lr):
    weight = parameter(np.ones(3, np.float32))
    optimizer = SGD([weight], lr=lr, momentum=0.9)
    for _ in range(2):
        (weight * weight).backward()
        optimizer.step()
    assert weight.data.dtype == optimizer.momentums[0].dtype == np.float32


@pytest.mark.parametrize("arguments, error, words", [
    (([],), ValueError, "SGD at least one parameter"),
    ((iter([]),), ValueError, "SGD at least one parameter"),
    (([leaf([1.0])], -0.1), ValueError, "SGD lr >= 0 -0.1"),
    (([leaf([1.0])], float("nan")), ValueError, "SGD lr >= 0 nan"),
    (([leaf([1.0])], 0.1, -0.5), ValueError, "SGD momentum >= 0 -0.5"),
    (([np.ones(2)],), TypeError, "SGD list of Tensors got ndarray in it"),
    ((["weight"],), TypeError, "SGD list of Tensors got str in it"),
    ((leaf([1.0]),), TypeError, "SGD a list of Tensors, got Tensor"),
    ((leaf([1.0]).backward,), TypeError, "SGD list of Tensors, model.parameters() parentheses, got method"),
    (([leaf([1.0]), leaf([1.0]) * 2.0],), ValueError, "SGD expected leaves result of <Mul>"),
    (([parameter([1.0])] * 2,), ValueError, "SGD each parameter once"),
], ids=["no parameters", "an empty iterator", "lr", "lr nan", "momentum", "an array", "a name",
        "a single Tensor", "a method not called", "a result", "one twice"])
def test_bad_arguments_are_refused_with_what_was_given_and_wanted(arguments, error, words):
    assert_raises(error, words, lambda: SGD(*arguments))


def test_repr_tells_rates_and_the_number_of_parameters():
    weights = [parameter([1.0]) for _ in range(6)]
    assert repr(SGD(weights, lr=0.1, momentum=0.9)) == "SGD(lr=0.1, momentum=0.9, 6 parameters)"


def test_the_base_class_says_that_step_is_missing():
    with pytest.raises(NotImplementedError, match="Optimizer.*step"):
        Optimizer([parameter([1.0])]).step()


@pytest.mark.parametrize("assigned, error, words", [
    (Tensor([[2.0], [2.0]]), ValueError, "(3,) (2, 1)"), (Tensor(2.0), ValueError, "(3,) ()"),
    (np.ones(3), TypeError, "ndarray p.grad = Tensor(")], ids=["column", "number", "ndarray"])
def test_a_gradient_assigned_by_hand_that_is_no_tensor_of_the_shape_stops_the_whole_step(
        assigned, error, words):
    first, w = parameter([1.0]), parameter([1.0, 2.0, 3.0])
    first.grad, w.grad = Tensor([1.0]), assigned
    assert_raises(error, words, SGD([first, w], lr=1).step)
    assert first.data.tolist() == [1] and w.shape == (3,)
    assert_raises(error, words, (w * 2.0).backward)


def test_data_assigned_as_a_list_is_refused_by_the_step():
    w = parameter([1.0])
    w.grad, w.data = Tensor([1.0]), [2.0]
    assert_raises(TypeError, "list, ndarray", SGD([w]).step)
