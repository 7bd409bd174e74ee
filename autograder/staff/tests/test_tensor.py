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
def test_data_is_an_ndarray_whatever_was_given_and_that_one_if_it_was_one(data, expected):
    tensor = Tensor(data)
    assert type(tensor.data) is np.ndarray and tensor.data.tolist() == expected
    assert (tensor.grad, tensor.grad_fn) == (None, None)
    assert Tensor(tensor.data).data is tensor.data


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


def test_randn_is_repeatable_from_numpys_seed():
    np.random.seed(7)
    first = Tensor.randn(3, 2)
    np.random.seed(7)
    assert (Tensor.randn(3, 2).data == first.data).all() and len(set(first.data.ravel())) == 6


SQUARES, FOUR, TWO = Tensor([[1.0, 4.0], [9.0, 16.0]]), Tensor([4, 9]), Tensor([2, 2])
VALUES = [
    (Tensor.zeros(2), [0, 0]), (Tensor.ones(1, 2), [[1, 1]]), (Tensor.arange(3), [0, 1, 2]),
    (Tensor.arange(1, 8, 3), [1, 4, 7]), (SQUARES.T(), [[1, 9], [4, 16]]),
    (-SQUARES, [[-1, -4], [-9, -16]]), (SQUARES.sqrt(), [[1, 2], [3, 4]]), (SQUARES.sum(), 30),
    (SQUARES.sum(axis=0), [10, 20]), (SQUARES.sum(axis=1, keepdims=True), [[5], [25]]),
    (Tensor([1.0]).log(), [0]), (FOUR + TWO, [6, 11]), (FOUR - 1, [3, 8]), (3 * TWO, [6, 6]),
    (FOUR / TWO, [2, 4.5]), (FOUR * 0.5, [2, 4.5])]


@pytest.mark.parametrize("result, values", VALUES, ids=repr)
def test_constructors_methods_and_operators_have_numpys_values(result, values):
    assert result.data.tolist() == values


def test_a_copy_is_a_constant_in_memory_of_its_own():
    a = leaf([1.0, 2.0]) * 3.0
    b = a.copy()
    b.data[0] = 10
    assert a.data.tolist() == [3, 6] and flags(b) == (False, True, False) and b.grad_fn is None


def test_fill_sets_every_entry_and_returns_the_tensor():
    a = leaf(uneven(2, 3).astype(np.float32))
    assert a.fill_(7) is a and (a.data == 7).all() and flags(a) == (True, True, False)
    assert a.dtype == np.float32


@pytest.mark.parametrize("arguments", [(3, 2), ((3, 2),), ([3, 2],), (-1, 2), (6,), (1, 6, 1)], ids=str)
def test_reshape_takes_numbers_or_one_tuple(arguments):
    a = Tensor(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(a.reshape(*arguments).data, a.data.reshape(*arguments))


def test_unary_minus_has_gradient_minus_one():
    a = leaf([2.0, -3.0])
    (-a).backward()
    assert a.grad.data.tolist() == [-1, -1]


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
    assert all(operand.grad_fn is None for operand in operands)


# What a Tensor is not: an array, a truth value, something to compare

@pytest.mark.parametrize("call, name", [
    (np.exp, "np.exp"), (np.sum, "np.sum"), (np.isnan, "np.isnan"), (np.argmax, "np.argmax"),
    (lambda t: np.maximum(0, t), "np.maximum"), (lambda t: np.stack([t, t]), "np.stack"),
    (lambda t: np.add.reduce(t), "np.add"), (lambda t: np.add(t, 1, out=np.ones(2)), "np.add"),
    (np.asarray, "NumPy"), (lambda t: np.array(t, dtype=np.float32), "NumPy"),
    (lambda t: np.zeros(2).__setitem__(slice(None), t), "NumPy")])
def test_a_function_of_numpys_refuses_a_tensor_by_name_and_asks_for_its_data(call, name):
    with pytest.raises(TypeError, match=rf"{name} cannot take a Tensor.*: pass its \.data"):
        call(leaf([1.0, 2.0]))


def test_a_tensor_of_one_entry_is_formatted_rounded_and_made_an_integer_as_a_number():
    t = Tensor([2.71828])
    assert (f"{t:.3f}", int(t), round(t, 2), round(t)) == ("2.718", 2, 2.72, 3)
    with pytest.raises(ValueError, match=r"one entry, got shape \(2,\)"):
        f"{Tensor([1.0, 2.0]):.3f}"


def test_a_detached_tensor_is_of_the_same_subclass():
    class Named(Tensor):
        def __init__(self, name, data):
            super().__init__(data)
            self.name = name

    assert type(Named("loss", [1.0]).detach()) is Named


@pytest.mark.parametrize("compare", [
    lambda t: np.mean(t == np.ones(2)), lambda t: np.ones(2) == t, lambda t: t == t, lambda t: t != 1,
    lambda t: 1.0 < t, lambda t: t <= t, lambda t: np.ones(2) > t, lambda t: t >= 0,
    lambda t: t == [1.0]])
def test_a_comparison_refuses_a_tensor_and_names_its_data(compare):
    with pytest.raises(TypeError, match=r"compare their arrays, as in a\.data == b\.data"):
        compare(leaf([1.0, 2.0]))


def test_a_tensor_is_not_none_and_a_key_told_apart_by_who_it_is():
    a, b = leaf([1.0]), leaf([1.0])
    assert np.shape(a) == (1,)
    assert not a == None and a != None and not None == a  # noqa: E711 (as students write it)
    assert {a: "a", b: "b"}[b] == "b" and len({a, b, a}) == 2


@pytest.mark.parametrize("data", [2.5, [2.5], [[2.5]], np.float32(2.5)], ids=str)
def test_a_tensor_of_one_entry_is_a_number_on_request(data):
    t = leaf(np.array(data))
    assert (t.item(), float(t), bool(t)) == (2.5, 2.5, True)
    assert (type(t.item()), type(Tensor([3]).item())) == (float, int)
    assert (f"{t:.3f}", f"{t:>6.1f}", f"{t}") == ("2.500", "   2.5", str(t))


@pytest.mark.parametrize("data, truth", [(0.0, False), ([-1.0], True), ([[0]], False), (True, True)])
def test_the_truth_of_a_tensor_of_one_entry_is_that_of_the_entry(data, truth):
    assert bool(Tensor(data)) is truth


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 3)], ids=str)
@pytest.mark.parametrize("ask", [Tensor.item, float, bool, "{:.3f}".format],
                         ids=["item", "float", "bool", "format"])
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
    (lambda: Tensor.zeros(1000, 1000), ["..., 0."]),
], ids=["constant", "number", "leaf", "parameter", "result", "large"])
def test_repr_tells_values_shape_dtype_and_origin_in_a_few_lines(make, words):
    missing = [word for word in words if word not in repr(make())]
    assert not missing and len(repr(make())) < 500, f"{missing} not in {make()!r}"


@pytest.mark.parametrize("of", ["log", "sqrt"])
def test_a_root_or_logarithm_of_small_integers_is_computed_in_float64(of):
    result = getattr(Tensor(np.array([3], np.uint8)), of)()
    assert result.dtype == np.float64 and result.item() == getattr(np, of)(3.0)


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
