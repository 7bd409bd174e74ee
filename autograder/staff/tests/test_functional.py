"""The operations of nn/functional.py: values, gradients by central differences, float32, errors.
Every upstream gradient is uneven and of mixed sign (central_differences.uneven), never ones."""

import itertools
import operator

import numpy as np
import pytest

import mytorch.nn.functional as F
from central_differences import assert_gradients, assert_raises, leaf, uneven
from mytorch.autograd_engine import ContextManager, Function, backward
from mytorch.tensor import Tensor


def positive(*shape):
    """Uneven numbers between 0.5 and 2.5, as ndarray: in reach of log, sqrt and division."""
    return np.asarray(1.5 + uneven(*shape) / 3)


BINARY = {F.Add: np.add, F.Sub: np.subtract, F.Mul: np.multiply, F.Div: np.true_divide}
BROADCAST_SHAPES = [
    ((), ()), ((), (3,)), ((2, 3), ()), ((3,), (2, 3)), ((2, 3), (3,)), ((2, 3), (2, 3)),
    ((2, 3), (1, 3)), ((2, 1), (1, 3)), ((1,), (2, 3)), ((4, 2, 3), (2, 1)), ((2, 1, 3), (4, 1)),
    ((1, 1), (3,)), ((0, 3), (3,)),
]
PRODUCT_SHAPES = [
    ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((1, 1), (1, 1)),
    ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)),
]
# Every operation, the ways its forward is called: ndarrays become leaves, the rest constants.
CALLS = {
    "Add": (F.Add, positive(2, 3), positive(3)),
    "Add of numbers": (F.Add, positive(), uneven()),
    "Sub": (F.Sub, positive(3), positive(2, 3)),
    "Sub of numbers": (F.Sub, positive(), uneven()),
    "Mul": (F.Mul, positive(2, 3), uneven(2, 1)),
    "Mul of numbers": (F.Mul, positive(), uneven()),
    "Div": (F.Div, uneven(2, 3), positive(3)),
    "Div of numbers": (F.Div, uneven(), positive()),
    "MatMul": (F.MatMul, positive(2, 3), uneven(3, 4)),
    "MatMul of stacks": (F.MatMul, positive(2, 1, 2, 3), uneven(4, 3, 2)),
    "Transpose": (F.Transpose, uneven(2, 3)),
    "Reshape": (F.Reshape, uneven(2, 3), (3, 2)),
    "Reshape with -1": (F.Reshape, uneven(2, 3), (2, -1, 1)),
    "Reshape of a number": (F.Reshape, uneven(), (1, 1)),
    "Log": (F.Log, positive(2, 3)),
    "Log of a number": (F.Log, positive()),
    "Sqrt": (F.Sqrt, positive(2, 3)),
    "Sqrt of a number": (F.Sqrt, positive()),
    "Sum": (F.Sum, uneven(2, 3), None, False),
    "Sum over rows": (F.Sum, uneven(2, 3), 0, False),
    "Sum over two axes": (F.Sum, uneven(2, 3, 4), (0, -1), False),
    "Sum over an axis of one": (F.Sum, uneven(1, 1, 3), 1, False),
    "Sum keeping axes": (F.Sum, uneven(2, 3), 1, True),
    "Sum of a number": (F.Sum, uneven(), None, False),
    "Linear": (F.Linear, uneven(4, 3), positive(2, 3), uneven(2)),
    "Linear of one row": (F.Linear, positive(1, 3), uneven(1, 3), positive(1)),
    "BatchNorm": (F.BatchNorm, uneven(5, 3), positive(3), uneven(3), 1e-5),
    "BatchNorm with a large eps": (F.BatchNorm, uneven(4, 2), uneven(2), positive(2), 0.5),
    "ReLU": (F.ReLU, uneven(2, 3)),
    "ReLU of a number": (F.ReLU, positive()),
    "CrossEntropy": (F.CrossEntropy, uneven(4, 3), Tensor([2, 0, 2, 1])),
}


# An operation that is not among them is called with a matrix.
CALLED = [operation for operation, *_ in CALLS.values()]
CALLS.update({name: (value, uneven(2, 3)) for name, value in vars(F).items()
              if isinstance(value, type) and issubclass(value, Function)
              and value not in (Function, *CALLED)})


def leaves_and_arguments(call, dtype=np.float64):
    """New leaves of that dtype for the ndarrays of a call, and all its arguments."""
    arguments = [leaf(arg.astype(dtype)) if isinstance(arg, np.ndarray) else arg
                 for arg in CALLS[call][1:]]
    return [arg for arg in arguments if getattr(arg, "requires_grad", False)], arguments


@pytest.mark.parametrize("call", CALLS)
def test_gradients_equal_central_differences_for(call):
    leaves, arguments = leaves_and_arguments(call)
    assert_gradients(lambda *_: CALLS[call][0].apply(*arguments), *leaves)


@pytest.mark.parametrize("call", CALLS)
def test_float32_stays_float32_forward_and_backward_for(call):
    leaves, arguments = leaves_and_arguments(call, np.float32)
    output = CALLS[call][0].apply(*arguments)
    output.backward()
    passed_on = output.grad_fn.apply(Tensor(np.ones(output.shape, np.float32)))
    arrays = [output.data] + [tensor.grad.data for tensor in leaves] + [
        grad.data for grad in passed_on if grad is not None]
    assert [(type(array), array.dtype) for array in arrays] == [(np.ndarray, np.float32)] * len(arrays)


@pytest.mark.parametrize("call", CALLS)
def test_backward_gives_the_same_twice_and_without_apply_and_modifies_nothing_for(call):
    operation, ctx = CALLS[call][0], ContextManager()
    leaves, arguments = leaves_and_arguments(call)
    upstream = Tensor(uneven(*operation.forward(ctx, *arguments).shape))
    direct = operation.backward(ctx, upstream)
    node = operation.apply(*arguments).grad_fn
    backward(node, upstream)
    backward(node, upstream)
    np.testing.assert_array_equal(upstream.data, uneven(*upstream.shape))
    for tensor, grad in zip(leaves, direct if isinstance(direct, tuple) else (direct,)):
        np.testing.assert_array_equal(tensor.grad.data, 2 * grad.data)


@pytest.mark.parametrize("call", CALLS)
def test_a_change_of_the_inputs_between_forward_and_backward_changes_no_gradient_for(call):
    gradients = []
    for change in (Tensor.detach, lambda tensor: tensor.fill_(7.0)):
        leaves, arguments = leaves_and_arguments(call)
        output = CALLS[call][0].apply(*arguments)
        for tensor in leaves:
            change(tensor)
        output.backward()
        gradients.append([tensor.grad.data for tensor in leaves])
    for expected, gradient in zip(*gradients):
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shapes", BROADCAST_SHAPES, ids=str)
@pytest.mark.parametrize("function", BINARY, ids=lambda function: function.__name__)
def test_binary_operations_broadcast_as_numpy_does(function, shapes):
    a, b = leaf(uneven(*shapes[0])), leaf(positive(*shapes[1]))
    np.testing.assert_array_equal(function.apply(a, b).data, BINARY[function](a.data, b.data))
    assert_gradients(function.apply, a, b)


@pytest.mark.parametrize("shapes", PRODUCT_SHAPES, ids=str)
def test_matmul_takes_vectors_matrices_and_batches_as_numpy_does(shapes):
    a, b = leaf(uneven(*shapes[0])), leaf(positive(*shapes[1]))
    np.testing.assert_array_equal((a @ b).data, np.matmul(a.data, b.data))
    assert_gradients(operator.matmul, a, b)


OTHERS = [2, -2.5, True, np.float64(2.5), np.float32(0.5), np.int64(3), np.array(2.5),
          positive(3), positive(3, 1), np.array([1, 2, 3])]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]


@pytest.mark.parametrize("operate, other", [
    *itertools.product(OPERATORS, OTHERS), (operator.matmul, uneven(3, 3))], ids=str)
def test_operators_take_numbers_and_arrays_on_either_side(operate, other):
    a = leaf(positive(3, 3))
    np.testing.assert_array_equal(operate(a, other).data, operate(a.data, other))
    np.testing.assert_array_equal(operate(other, a).data, operate(other, a.data))
    assert_gradients(lambda a: operate(a, other), a)
    assert_gradients(lambda a: operate(other, a), a)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)], ids=str)
@pytest.mark.parametrize("number", [2, 0.1, np.float64(0.1), np.float32(0.1), np.int64(2)], ids=repr)
@pytest.mark.parametrize("operate", OPERATORS)
def test_a_number_on_either_side_keeps_float32(operate, number, shape):
    a = leaf(positive(*shape).astype(np.float32))
    output = operate(operate(number, a), number)
    output.backward()
    assert output.data.dtype == a.grad.data.dtype == np.float32


@pytest.mark.parametrize("needed", [0, 1, 2])
@pytest.mark.parametrize("shapes, operation", [
    (((3, 3), (3, 3)), F.MatMul), (((4, 3), (2, 3), (2,)), F.Linear)], ids=["MatMul", "Linear"])
def test_no_matrix_product_is_computed_for_a_constant_input_of(operation, shapes, needed):
    needs = [position == needed % len(shapes) for position in range(len(shapes))]
    inputs = [Tensor(positive(*shape), requires_grad=need) for shape, need in zip(shapes, needs)]
    output = operation.apply(*inputs)
    grads = output.grad_fn.apply(Tensor(uneven(*output.shape)))
    assert [grad is not None for grad in grads] == needs


@pytest.mark.parametrize("call, saved", [
    ("Add", 2), ("Sub", 2), ("Mul", 2), ("Div", 2), ("MatMul", 2), ("Reshape", 0), ("Sum", 0)])
def test_only_what_backward_needs_is_saved_and_without_a_copy(call, saved):
    leaves, arguments = leaves_and_arguments(call)
    kept = CALLS[call][0].apply(*arguments).grad_fn.ctx.saved_tensors
    assert [id(tensor.data) for tensor in kept] == [id(tensor.data) for tensor in leaves[:saved]]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (-1, 1)], ids=str)
def test_sum_takes_the_axes_that_numpys_takes(axis, keepdims):
    a = uneven(1, 1, 3)
    result = F.Sum.apply(Tensor(a), axis, keepdims).data
    expected = a.sum(axis=axis, keepdims=keepdims)
    assert result.shape == expected.shape and (result == expected).all()


@pytest.mark.filterwarnings("ignore:invalid value")  # older NumPy: of any comparison with nan
@pytest.mark.parametrize("z, upstream, output, gradient", [
    ([-1.0, -0.0, 0.0, 2.0], [3.0, 5.0, -7.0, -9.0], [0, 0, 0, 2], [0, 0, 0, -9]),
    ([-1.0, 2.0], [-np.inf, 0.5], [0, 2], [0, 0.5]),
    ([np.nan, 1.0, -1.0], [5.0, np.nan, np.nan], [np.nan, 1, 0], [5, np.nan, 0])])
def test_relu_has_derivative_zero_at_zero_and_below_and_passes_nan_on(z, upstream, output, gradient):
    z = leaf(z)
    result = F.ReLU.apply(z)
    backward(result.grad_fn, Tensor(upstream))
    np.testing.assert_array_equal(result.data, output)
    np.testing.assert_array_equal(z.grad.data, gradient)


@pytest.mark.parametrize("shape, expected", [
    ((2, 2), [[1, 2], [3, 5]]), ((2,), [4, 7]), ((1, 2), [[4, 7]]), ((2, 1), [[3], [8]]),
    ((1,), [11]), ((1, 1), [[11]])])
def test_unbroadcast_sums_over_the_repeated_axes(shape, expected):
    result = F.unbroadcast(np.array([[1.0, 2.0], [3.0, 5.0]]), shape)
    assert (type(result), result.shape, result.tolist()) == (np.ndarray, shape, expected)


@pytest.mark.parametrize("shape", [(2,), (4,), (2, 3), (4, 3, 1), (1, 4, 3)], ids=str)
def test_unbroadcast_refuses_a_shape_that_does_not_broadcast(shape):
    with pytest.raises(ValueError, match="unbroadcast"):
        F.unbroadcast(np.ones((4, 3)), shape)


# Cross entropy: odds of 1 : 2 : 3 are probabilities of 1/6, 1/3 and 1/2.

LABELS = np.array([2, 0, 2, 1])
LOGITS, ONE_AXIS = Tensor(np.zeros((2, 3))), Tensor([1.0, 2.0])


def loss_of(labels, logits=LOGITS):
    return lambda: F.cross_entropy(logits, Tensor(labels))


def test_cross_entropy_of_odds_one_two_three_is_log_two_for_the_last():
    logits = leaf(np.log([[1.0, 2.0, 3.0]]))
    loss = F.cross_entropy(logits, Tensor([2]))
    backward(loss.grad_fn, Tensor(-6.0))
    assert loss.shape == () and np.isclose(loss.data, np.log(2))
    np.testing.assert_allclose(logits.grad.data, [[-1, -2, 3]])


@pytest.mark.parametrize("dtype, size", [(np.float32, 1e3), (np.float64, 1e3), (np.float32, 1e38)])
def test_cross_entropy_of_huge_logits_neither_overflows_nor_divides_by_zero(dtype, size):
    logits = leaf(np.array([[size, -size]] + 3 * [[-size, size]], dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = F.cross_entropy(logits, Tensor([0, 0, 0, 0]))
        loss.backward()
    assert np.isclose(loss.item(), 1.5 * size)
    assert logits.grad.data.tolist() == [[0, 0]] + 3 * [[-0.25, 0.25]]


def test_rows_of_very_different_sizes_do_not_hide_each_other():
    logits = leaf([[0.0, 1.0], [5000.0, 5001.0], [-5000.0, -5001.0]])
    loss = F.cross_entropy(logits, Tensor([1, 1, 0]))
    loss.backward()
    share = 1 / (1 + np.e)  # of the smaller of two logits that differ by 1
    assert np.isclose(loss.data, np.log(1 + np.exp(-1)))
    np.testing.assert_allclose(logits.grad.data * 3, np.outer([1, 1, -1], [share, -share]))


@pytest.mark.parametrize("labels", [
    Tensor(LABELS), LABELS, LABELS.tolist(), LABELS.astype(np.uint8)])
def test_labels_may_be_any_integers(labels):
    logits = uneven(4, 3)
    expected = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, LABELS)])
    assert np.isclose(F.cross_entropy(Tensor(logits), labels).data, expected)
    assert F.to_one_hot(labels, 3).data.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_logits_of_small_integers_are_computed_in_floats(dtype):
    low, high = (3, 250) if dtype is not np.int8 else (-120, 127)
    loss = F.cross_entropy(Tensor(np.array([[low, high]], dtype)), Tensor([0]))
    assert loss.item() == high - low and loss.data.dtype.kind == "f"


# What is refused.

MATRIX = Tensor(np.zeros((2, 3)))
BAD_CALLS = {
    "a list": (lambda: F.Add.apply(MATRIX, [1.0]), TypeError, "Add Tensor list"),
    "Sum": (lambda: F.Sum.apply(MATRIX, 5), ValueError, "Sum over axis 5: (2, 3)"),
    **{f"{operation.__name__} of an array": (
        lambda operation=operation, count=count: operation.apply(*[np.ones((2, 2))] * count),
        TypeError, f"{operation.__name__} expected a Tensor, got ndarray")
       for operation, count in [(F.Add, 2), (F.Sub, 2), (F.Mul, 2), (F.Div, 2), (F.MatMul, 2),
                                (F.Log, 1), (F.ReLU, 1), (F.Sum, 1)]},
    "label too large": (loss_of([0, 3]), IndexError, "cross_entropy 0 2 3"),
    "label negative": (loss_of([0, -1]), IndexError, "cross_entropy 0 2 -1"),
    "labels too few": (loss_of([0]), ValueError, "cross_entropy (2, 3) (1,)"),
    "labels as a column": (loss_of([[0], [1]]), ValueError, "cross_entropy (N,) (2, 1)"),
    "labels one-hot": (loss_of(LOGITS), ValueError, "cross_entropy (N,) (2, 3)"),
    "labels floating": (loss_of([0.0, 1.0]), TypeError, "cross_entropy integer float64"),
    "logits true or false": (loss_of([0], Tensor([[True, False]])), TypeError, "logits numbers bool"),
    "labels true or false": (loss_of([True, False]), TypeError, "cross_entropy integer bool"),
    "logits 1-D": (loss_of([0, 1], ONE_AXIS), ValueError, "cross_entropy (N, C) (2,)"),
    "no rows": (loss_of(np.arange(0), Tensor.zeros(0, 3)), ValueError, "cross_entropy N > 0 (0, 3)"),
    "one-hot too large": (lambda: F.to_one_hot([0, 3], 3), IndexError, "to_one_hot 0 2 3"),
    "one-hot negative": (lambda: F.to_one_hot([-1], 3), IndexError, "to_one_hot 0 2 -1"),
    "one-hot floating": (lambda: F.to_one_hot([0.5], 3), TypeError, "to_one_hot integer float64"),
}


@pytest.mark.parametrize("mistake", BAD_CALLS)
def test_an_error_says_operation_expected_and_actual_for(mistake):
    call, error, words = BAD_CALLS[mistake]
    assert_raises(error, words, call)
