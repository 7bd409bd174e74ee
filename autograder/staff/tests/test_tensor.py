"""Tensor: what it holds, which flags it takes on, what its operators accept and refuse.
The gradients of the operations are in test_functional.py."""

import operator
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from central_differences import assert_raises, leaf, uneven
from mytorch.tensor import Tensor

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
             "@": operator.matmul}


def flags(tensor):
    return tensor.requires_grad, tensor.is_leaf, tensor.is_parameter


@pytest.mark.parametrize("data, expected", [
    ([[1.0, 2.0]], [[1.0, 2.0]]), (3, 3), (2.5, 2.5), (np.float32(0.5), 0.5), (np.array([1, 2]), [1, 2]),
    (Tensor([1.0]), [1.0]), ((1, 2), [1, 2]), ([True, False], [True, False]), ([], [])], ids=repr)
def test_data_is_an_ndarray_whatever_was_given(data, expected):
    tensor = Tensor(data)
    assert type(tensor.data) is np.ndarray and tensor.data.tolist() == expected


def test_an_array_is_wrapped_and_not_copied():
    array = uneven(2, 3)
    assert Tensor(array).data is array


@pytest.mark.parametrize("data", ["one", None, 1j, [1j], ["1", "2"], {}, object(), lambda: 1], ids=repr)
def test_data_that_is_not_real_numbers_is_a_type_error(data):
    with pytest.raises(TypeError, match="Tensor: expected real numbers"):
        Tensor(data)


@pytest.mark.parametrize("given, expected", [
    ({}, (False, True, False)),
    ({"requires_grad": True}, (True, True, False)),
    ({"requires_grad": True, "is_leaf": False}, (True, False, False)),
    ({"is_leaf": False}, (False, True, False)),
    ({"is_parameter": True}, (True, True, True)),
    ({"is_parameter": True, "is_leaf": False}, (True, True, True)),
    ({"is_parameter": True, "requires_grad": False}, (True, True, True)),
], ids=str)
def test_flags_are_one_of_the_kinds_that_can_occur(given, expected):
    assert flags(Tensor([1.0], **given)) == expected


def test_a_new_tensor_has_neither_gradient_nor_node():
    assert (leaf([1.0]).grad, leaf([1.0]).grad_fn) == (None, None)


@pytest.mark.parametrize("dtype", [
    np.float16, np.float32, np.float64, np.int64, np.int8, np.uint8, bool])
@pytest.mark.parametrize("flags", [{}, {"requires_grad": True}, {"is_parameter": True}], ids=str)
def test_the_dtype_is_kept_but_integers_that_require_grad_become_float64(dtype, flags):
    floating = np.dtype(dtype).kind == "f" or not flags
    tensor = Tensor(np.ones(2, dtype), **flags)
    assert tensor.data.dtype == (dtype if floating else np.float64)


@pytest.mark.parametrize("shape", [(2, 3), ((2, 3),), ([2, 3],), (3,), (), ((),)], ids=str)
@pytest.mark.parametrize("make", [Tensor.zeros, Tensor.ones, Tensor.empty, Tensor.randn])
def test_constructors_take_numbers_or_one_tuple_and_give_float64_constants(make, shape):
    tensor = make(*shape)
    expected = tuple(shape[0]) if shape and not isinstance(shape[0], int) else shape
    assert (tensor.shape, tensor.data.dtype) == (expected, np.float64)
    assert flags(tensor) == (False, True, False)


def test_zeros_and_ones_hold_zeros_and_ones():
    assert Tensor.zeros(2).data.tolist() == [0, 0] and Tensor.ones(1, 2).data.tolist() == [[1, 1]]


def test_randn_is_repeatable_from_numpys_seed():
    np.random.seed(7)
    first = Tensor.randn(3, 2)
    np.random.seed(7)
    assert (Tensor.randn(3, 2).data == first.data).all() and len(set(first.data.ravel())) == 6


def test_arange_takes_the_arguments_of_numpys():
    assert Tensor.arange(3).data.tolist() == [0, 1, 2]
    assert Tensor.arange(1, 8, 3).data.tolist() == [1, 4, 7]


def test_a_copy_is_a_constant_in_memory_of_its_own():
    a = leaf([1.0, 2.0]) * 3.0
    b = a.copy()
    b.data[0] = 10
    assert a.data.tolist() == [3, 6] and flags(b) == (False, True, False) and b.grad_fn is None


def test_fill_sets_every_entry_and_returns_the_tensor():
    a = leaf(uneven(2, 3))
    assert a.fill_(7) is a and (a.data == 7).all() and flags(a) == (True, True, False)


@pytest.mark.parametrize("arguments", [(3, 2), ((3, 2),), ([3, 2],), (-1, 2), (6,), (1, 6, 1)], ids=str)
def test_reshape_takes_numbers_or_one_tuple(arguments):
    a = Tensor(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(a.reshape(*arguments).data, a.data.reshape(*arguments))


def test_transpose_swaps_rows_and_columns():
    assert Tensor([[1, 2, 3], [4, 5, 6]]).T().data.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_unary_minus_log_sqrt_and_sum_have_numpys_values():
    a = Tensor([[1.0, 4.0], [9.0, 16.0]])
    assert (-a).data.tolist() == [[-1, -4], [-9, -16]] and a.sqrt().data.tolist() == [[1, 2], [3, 4]]
    assert a.sum().data == 30 and a.sum(axis=0).data.tolist() == [10, 20]
    assert a.sum(axis=1, keepdims=True).data.tolist() == [[5], [25]]
    np.testing.assert_array_equal(a.log().data, np.log(a.data))


def test_unary_minus_has_gradient_minus_one():
    a = leaf([2.0, -3.0])
    (-a).backward()
    assert a.grad.data.tolist() == [-1, -1]


def test_operators_of_integer_constants_compute_as_numpy_does():
    a, b = Tensor([4, 9]), Tensor([2, 2])
    results = [(a + b).data, (a - 1).data, (3 * b).data, (a / b).data, (a * 0.5).data]
    assert [result.tolist() for result in results] == [[6, 11], [3, 8], [6, 6], [2, 4.5], [2, 4.5]]


@pytest.mark.parametrize("other", ["text", None, [1.0, 2.0], (1.0,), {}, 1j, object], ids=repr)
@pytest.mark.parametrize("symbol", OPERATORS)
def test_an_operand_that_is_no_tensor_array_or_number_is_a_type_error_on_either_side(symbol, other):
    for operands in ((leaf([1.0, 2.0]), other), (other, leaf([1.0, 2.0]))):
        with pytest.raises(TypeError) as raised:
            OPERATORS[symbol](*operands)
        assert f"Tensor {symbol}: expected a Tensor" in str(raised.value)
        assert f"got {type(other).__name__}" in str(raised.value)


MISFITS = [(OPERATORS[symbol], name, shapes) for symbol, name, *shapes in (
    ("+", "Add", (2, 3), (2,)), ("-", "Sub", (3,), (4,)), ("*", "Mul", (2, 3), (3, 2)),
    ("/", "Div", (5, 2, 3), (5, 3)), ("@", "MatMul", (2, 3), (2, 3)), ("@", "MatMul", (2, 3), ()),
    ("@", "MatMul", (3,), (4, 2)), ("@", "MatMul", (2, 3), (4,)), ("@", "MatMul", (2, 3, 4), (3, 4, 5)))]
MISFITS += [(Tensor.T, "Transpose", [shape]) for shape in ((), (3,), (2, 3, 4), (1, 1, 1))]
MISFITS += [(lambda a, b=b: a.reshape(*b), f"Reshape {b}", [(2, 3)])
            for b in ((4, 2), (5,), (), (-1, 4), (-1, -1), (-2, 3))]


@pytest.mark.parametrize("operation, words, shapes", MISFITS, ids=str)
def test_shapes_that_do_not_fit_are_a_value_error_with_operation_and_shapes(operation, words, shapes):
    operands = [leaf(np.ones(shape)) for shape in shapes]
    assert_raises(ValueError, " ".join([words, *map(str, shapes)]), lambda: operation(*operands))


def test_a_failed_operation_leaves_its_operands_as_they_were():
    a, b = leaf([1.0, 2.0]), leaf([1.0, 2.0, 3.0])
    with pytest.raises(ValueError):
        a * b
    assert (a.grad_fn, b.grad_fn) == (None, None)
    assert (a.data.tolist(), b.data.tolist()) == ([1, 2], [1, 2, 3])


# What a Tensor is not: an array, a truth value, something to compare

@pytest.mark.parametrize("call", [
    lambda t: np.mean(t), lambda t: np.argmax(t), lambda t: np.asarray(t),
    lambda t: np.array(t, dtype=np.float32), lambda t: np.zeros(2).__setitem__(slice(None), t),
    lambda t: np.mean(t == np.ones(2)), lambda t: np.ones(2) == t, lambda t: t == t, lambda t: t != 1,
    lambda t: 1.0 < t, lambda t: t <= t, lambda t: np.ones(2) > t, lambda t: t >= 0, lambda t: t == [1.0]])
def test_numpy_functions_and_comparisons_refuse_a_tensor_and_name_its_data(call):
    with pytest.raises(TypeError, match=r"\.data"):
        call(leaf([1.0, 2.0]))


def test_a_tensor_compared_with_none_is_not_none():
    t = leaf([1.0])
    assert not t == None and t != None and not None == t  # noqa: E711 (as students write it)
    assert t.grad == None  # noqa: E711


def test_tensors_are_keys_told_apart_by_who_they_are():
    a, b = leaf([1.0]), leaf([1.0])
    assert {a: "a", b: "b"}[b] == "b" and len({a, b, a}) == 2


@pytest.mark.parametrize("data", [2.5, [2.5], [[2.5]], np.float32(2.5)], ids=str)
def test_a_tensor_of_one_entry_is_a_number_on_request(data):
    t = leaf(np.array(data))
    assert (t.item(), float(t), bool(t)) == (2.5, 2.5, True) and type(t.item()) is float


def test_an_item_of_an_integer_tensor_is_an_integer():
    assert Tensor([3]).item() == 3 and type(Tensor([3]).item()) is int


@pytest.mark.parametrize("data, truth", [(0.0, False), ([-1.0], True), ([[0]], False), (True, True)])
def test_the_truth_of_a_tensor_of_one_entry_is_that_of_the_entry(data, truth):
    assert bool(Tensor(data)) is truth


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 3)], ids=str)
@pytest.mark.parametrize("ask", [Tensor.item, float, bool], ids=["item", "float", "bool"])
def test_only_a_tensor_of_one_entry_is_a_number_or_a_truth_value(ask, shape):
    with pytest.raises(ValueError) as raised:
        ask(Tensor(np.ones(shape)))
    assert str(shape) in str(raised.value)


def test_a_method_without_its_parentheses_as_operand_is_named():
    w = leaf([[1.0]])
    with pytest.raises(TypeError, match=r"got method; .*parentheses.*T\(\)"):
        w @ w.T


@pytest.mark.parametrize("make, words", [
    (lambda: Tensor([1.5, -2.0]), ["1.5", "-2.", "shape=(2,)", "float64"]),
    (lambda: Tensor(np.float32(2.5)), ["2.5", "shape=()", "float32"]),
    (lambda: leaf([[1.5]]), ["1.5", "shape=(1, 1)", "requires_grad=True"]),
    (lambda: Tensor([1.5], is_parameter=True), ["1.5", "is_parameter=True"]),
    (lambda: leaf([1.5]) * 2.0, ["3.", "grad_fn=Mul"]),
], ids=["constant", "number", "leaf", "parameter", "result"])
def test_repr_tells_values_shape_dtype_and_origin(make, words):
    missing = [word for word in words if word not in repr(make())]
    assert not missing, f"{missing} not in {make()!r}"


def test_repr_of_a_large_tensor_is_short():
    assert len(repr(Tensor.zeros(1000, 1000))) < 500


@pytest.mark.parametrize("of", ["log", "sqrt"])
def test_a_root_or_logarithm_of_small_integers_is_computed_in_float64(of):
    result = getattr(Tensor(np.array([3], np.uint8)), of)()
    assert result.dtype == np.float64 and result.item() == getattr(np, of)(3.0)


def test_a_tensor_of_one_entry_is_formatted_rounded_and_made_an_integer_as_a_number():
    t = Tensor([2.71828])
    assert (f"{t:.3f}", f"{t:>6.1f}", int(t), round(t, 2), round(t)) == ("2.718", "   2.7", 2, 2.72, 3)
    assert f"{t}" == str(t) and f"{Tensor([1.0, 2.0])}".startswith("Tensor([1., 2.]")
    with pytest.raises(ValueError, match=r"one entry, got shape \(2,\)"):
        f"{Tensor([1.0, 2.0]):.3f}"


@pytest.mark.parametrize("call, name", [
    (np.exp, "np.exp"), (np.sum, "np.sum"), (np.mean, "np.mean"), (np.isnan, "np.isnan"),
    (lambda t: np.maximum(0, t), "np.maximum"), (lambda t: np.stack([t, t]), "np.stack"),
    (lambda t: np.add.reduce(t), "np.add"), (lambda t: np.add(t, 1, out=np.ones(2)), "np.add")])
def test_a_function_of_numpys_refuses_a_tensor_by_name_and_asks_for_its_data(call, name):
    with pytest.raises(TypeError, match=rf"{name} cannot take a Tensor: pass its \.data"):
        call(leaf([1.0, 2.0]))


def test_an_array_that_adds_a_tensor_in_place_becomes_a_new_tensor():
    array = kept = np.array([1.0, 2.0])
    array += leaf([1.0, 1.0])
    assert type(array) is Tensor and array.data.tolist() == [2, 3] and kept.tolist() == [1, 2]


def test_data_assigned_as_a_list_is_refused_at_the_next_use_and_shown():
    t = leaf([1.0, 2.0])
    t.data = [3.0, 4.0]
    with pytest.raises(TypeError, match="Mul: the data of an input is a list, expected an ndarray"):
        t * 2.0
    assert "data is a list" in repr(t)


def test_operands_of_a_dtype_that_numpy_refuses_are_a_type_error_with_both_dtypes():
    with pytest.raises(TypeError, match="Sub: not possible for dtype bool and bool"):
        Tensor([True]) - Tensor([True])


def test_detach_is_a_constant_around_the_same_array_outside_any_graph():
    result = leaf([1.0, 2.0]) * 2.0
    constant = result.detach()
    assert constant.data is result.data and flags(constant) == (False, True, False)
    assert constant.grad_fn is None and (constant * 2.0).requires_grad is False


@pytest.mark.parametrize("module", ["mytorch.tensor", "mytorch.nn.module"])
def test_after_a_reload_the_error_says_why_and_what_to_do(module):
    code = f"""if True:
        import importlib, sys
        import mytorch.tensor
        from mytorch.nn.linear import Linear
        from mytorch.nn.sequential import Sequential
        importlib.reload(sys.modules[{module!r}])
        Sequential(Linear(1, 1))(mytorch.tensor.Tensor([[1.0]]))"""
    ran = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, universal_newlines=True,
                         cwd=str(Path(__file__).resolve().parents[3]))
    assert "imported again (importlib.reload?)" in ran.stderr and "restart Python" in ran.stderr
