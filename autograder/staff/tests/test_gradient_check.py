"""check_gradients on what is right and wrong, and the comparisons that it is made of.
What it prints is what students read, so the words are tested."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from central_differences import assert_gradients, function, leaf
from mytorch.gradient_check import (
    against_torch, check_gradients, compare, compare_tensor, numerical_gradients, uneven)
from mytorch.nn import functional as F
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.tensor import Tensor

ROOT = Path(__file__).resolve().parents[3]


def scaled(*factors):
    """A Function ``a + b`` whose backward multiplies each gradient by a factor or array."""
    return function(lambda ctx, *args: Tensor(sum(arg.data for arg in args)),
                    lambda ctx, grad: tuple(Tensor(factor * grad.data) for factor in factors)).apply


def own(forward, backward):
    """A student's Function of one input, from two functions of ndarrays."""
    def kept(ctx, a):
        ctx.save_for_backward(a)
        return Tensor(forward(a.data))
    return function(kept, lambda ctx, grad: Tensor(
        backward(ctx.saved_tensors[0].data, grad.data))).apply


def zeros_for_the_last(backward):
    def wrong(ctx, grad):
        *rest, last = backward(ctx, grad)
        return (*rest, Tensor(0 * last.data))
    return staticmethod(wrong)


def test_check_gradients_names_an_entry(capsys):
    wrong = own(lambda a: 2 * a, lambda a, grad: 2 * np.ones(a.shape))  # of twice what arrives
    assert check_gradients(wrong, Tensor([[1.0, 2.0]])) is False
    output = capsys.readouterr().out
    assert re.search(r"gradient of input 0\[0, 0\]: expected -?[\d.]+, got 2; 2 of 2 differ, ", output)


@pytest.mark.parametrize("wrong, shown", [(np.nan, "nan"), (1.01, "1.01")])
def test_check_gradients_names_the_input_that_fails_not_the_one_with_large_numbers(
        wrong, shown, capsys):
    # Input 0 is a thousand times as large: what is tolerated there is more than input 1 is off.
    def function(a, b):
        return scaled(1 + 5e-5, 1)(a * Tensor(1e3), scaled(wrong)(b))
    assert check_gradients(function, Tensor([1.0]), Tensor([1.0]), upstream=np.ones(1)) is False
    assert f"gradient of input 1[0]: expected 1, got {shown}" in capsys.readouterr().out


# compare

ONE = np.ones((2, 3))


@pytest.mark.parametrize("expected, got, words", [
    (ONE, 2 * ONE, "x[0, 0]: expected 1, got 2; 6 of 6 differ, by up to 1"),
    (ONE, ONE + [0, 0, 1e-5], "x[0, 2]: expected 1, got 1.00001; 2 of 6 differ, by up to 1e-05"),
    (ONE, ONE + 2e-6, "x[0, 0]: expected 1, got 1.000002; 6 of 6 differ, by up to 2e-06"),
    (np.float64(1) * np.ones(()), np.array(1.5), "x: expected 1, got 1.5; off by 0.5"),
    (ONE, np.ones((3, 2)), "x: expected shape (2, 3), got (3, 2)"),
    (np.ones(3), np.array([9, np.nan, 1]),
     "x[0]: expected 1, got 9; 2 of 3 differ, 1 of them inf or nan"),
    (np.ones(1), np.array([np.inf]), "x[0]: expected 1, got inf"),
    (np.full(1, np.nan), np.full(1, np.nan), "x[0]: expected nan, got nan")])
def test_compare_says_where_arrays_differ_how_many_entries_do_and_by_how_much(expected, got, words):
    assert compare("x", expected, got) == words


@pytest.mark.parametrize("off, tolerance", [
    ([0, 0, 5e-7], {}), ([5e-10, 0, 0], {}), ([0, 0, 0.5], dict(relative=0.6)),
    ([0.5, 0, 0], dict(absolute=0.5)), ([0.5, 0, 0], dict(of_largest=0.6))])
def test_compare_is_content_with_what_each_tolerance_allows(off, tolerance):
    expected = np.array([0.0, 1.0, 1.0])
    assert compare("x", expected, expected + off, **tolerance) == ""
    assert compare("x", expected, expected + 10 * np.array(off), **tolerance) != ""


# check_gradients

def test_check_gradients_accepts_what_is_right_and_changes_no_gradient(capsys):
    a, b = Tensor([[1.0, -2.0]], requires_grad=True), Tensor([[3.0], [4.0]], requires_grad=True)
    assert check_gradients(lambda a, b: a * b / (a - b), a, b) is True
    assert "ok, 4 entries" in capsys.readouterr().out
    assert a.grad is None and b.grad is None


def test_check_gradients_checks_those_that_require_grad_or_all(capsys):
    a, b = Tensor([1.0], requires_grad=True), Tensor([2.0])
    assert check_gradients(scaled(1, 5), a, b) is True
    assert check_gradients(scaled(1, 5), b, b) is False


def test_check_gradients_of_a_module_checks_its_parameters_and_changes_nothing(monkeypatch, capsys):
    model = Sequential(Linear(2, 3), BatchNorm1d(3), Linear(3, 3)).float()
    before = [np.array(tensor.data) for tensor in model.parameters()] + [model[1].running_mean.data]
    held = model[0].bias.grad = Tensor(np.ones(3))
    assert check_gradients(model, Tensor(uneven(4, 2))) is True
    assert "ok, 35 entries" in capsys.readouterr().out
    after = [tensor.data for tensor in model.parameters()] + [model[1].running_mean.data]
    assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(before, after))
    assert model[0].bias.grad is held
    monkeypatch.setattr(F.Linear, "backward", zeros_for_the_last(F.Linear.backward))
    assert check_gradients(model, Tensor(uneven(4, 2))) is False
    assert "gradient of Sequential.2.bias[" in capsys.readouterr().out


def test_check_gradients_says_who_changed_an_array_in_place_and_compares_nothing_then(capsys):
    def changing(x):
        x.data[x.data < 0] = 0
        return x * x
    assert not check_gradients(changing, Tensor([-1.0, 2.0]))
    assert capsys.readouterr().out == (
        "check_gradients: forward changed input 0, in place: make a new array instead\n")


def test_check_gradients_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match="expected Tensors behind the function, got ndarray"):
        check_gradients(lambda x: x + x, np.ones(3))


def test_check_gradients_says_that_no_gradient_came(capsys):
    assert check_gradients(lambda a, b: a * 1, Tensor([1.0]), Tensor([1.0])) is False
    assert "gradient of input 1: expected a Tensor of shape (1,), got None" in capsys.readouterr().out
    assert check_gradients(lambda a: Tensor(a.data), Tensor([1.0])) is False
    assert "check_gradients: the result is cut off from the graph" in capsys.readouterr().out
    with pytest.raises(TypeError, match="a function that returns a Tensor, got ndarray"):
        check_gradients(lambda a: a.data, Tensor([1.0]))


@pytest.mark.parametrize("got, complaint", [
    (np.ones((2, 3)), "g: expected a Tensor of shape (2, 3), got ndarray of shape (2, 3)"),
    (Tensor(uneven(3, 2)), "g: expected shape (2, 3), got (3, 2)\n  looks like: the transpose"),
    (Tensor(np.zeros((2, 3))), "looks like: all zeros"),
])
def test_a_comparison_says_what_came(got, complaint):
    assert complaint in compare_tensor("g", uneven(3, 2).T, got)


ONE_TWO, LABELS, LOSS = Tensor([1.0, 2.0]), Tensor([0, 1]), CrossEntropyLoss()
CONFIDENT = {size: Tensor([[size, 0.0], [0.0, size]]) for size in (12.0, 40.0)}
DOUBLED = own(lambda a: a, lambda a, grad: 2 * grad)
REFUSED = {
    "a wrong log beside its pole": (own(np.log, lambda a, g: g), Tensor([1e-5, 1]), "beside a pole"),
    "a right log close to its pole": (lambda a: a.log(), Tensor([1.5e-5, 1]), "or close to a pole"),
    "a wrong ReLU beside its kink": (
        own(lambda a: np.maximum(a, 0), lambda a, g: 2 * g * (a > 0)), Tensor([1e-6, 1.0]),
        "gradient of input 0[0]: expected"),
    "a wrong square, made small": (lambda a: own(np.square, lambda a, g: 3 * a * g)(a) * 1e-6, ONE_TWO,
                                   "gradient of input 0[0]: expected -2.24844e-06, got -3.37266e-06"),
    "zeros for a small slope": (own(lambda a: 1e-7 * a, lambda a, g: 0 * g), ONE_TWO, "all zeros"),
    "a doubled cross entropy at confident logits": (
        lambda z: DOUBLED(LOSS(z, LABELS)), CONFIDENT[12.0], "twice the right answer"),
    "a gradient that rounding hides": (lambda z: LOSS(z, LABELS), CONFIDENT[40.0], "too small to judge"),
    "a random function": (lambda a: a * Tensor(np.random.rand(2)), ONE_TWO, "not repeatable"),
    "a right ReLU at its kink": (ReLU(), Tensor([0.0, 1.0]), "input 0[0] is at a kink"),
    "a wrong ReLU, elsewhere than at its kink": (
        own(lambda a: np.maximum(a, 0), lambda a, g: 2 * g * (a > 0)), Tensor([0.0, 1.0]),
        "gradient of input 0[1]: expected")}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", REFUSED)
def test_check_gradients_is_never_content_with(case, capsys):
    function, tensor, words = REFUSED[case]
    assert check_gradients(function, tensor) is False
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("function, tensor", [
    (lambda a: a * a * 1e-6, ONE_TWO), (lambda a: a * a * 1e6, ONE_TWO), (lambda a: a.log(), ONE_TWO),
    (lambda a: a * a, Tensor([1e4, 2e5])), (lambda z: LOSS(z, LABELS), CONFIDENT[12.0]),
    (ReLU(), Tensor([-1.0, -2.0])), (Sequential(Linear(2, 3), BatchNorm1d(3)), Tensor(uneven(4, 2)))])
def test_check_gradients_is_content_with_what_is_right_at_any_size(function, tensor, capsys):
    assert check_gradients(function, tensor) is True
    assert "largest relative difference" in capsys.readouterr().out


def test_inputs_that_are_not_checked_and_integers_stay_as_they_are(capsys):
    assert check_gradients(LOSS, Tensor(uneven(2, 3)), LABELS) is True
    seen = []
    check_gradients(lambda a, b: seen.append(b.dtype) or a * b, leaf([1.0]), Tensor(np.float32([2])))
    assert set(seen) == {np.dtype(np.float32)}
    with pytest.raises(TypeError, match="expected an input of floats"):
        check_gradients(lambda a: a * 1.0, LABELS)


def test_a_model_inside_the_function_is_left_as_it_was(capsys):
    model, x = Sequential(Linear(2, 3), BatchNorm1d(3)).float(), Tensor(uneven(2, 2))
    model[0].bias.grad = Tensor(np.ones(3, np.float32))
    tensors = [value for part in model.modules() for value in vars(part).values()
               if isinstance(value, Tensor)]
    before = [(tensor.data, tensor.grad) for tensor in tensors]
    assert check_gradients(lambda x: CrossEntropyLoss()(model(x), Tensor([2, 0])), x) is True
    assert all(tensor.data is data and tensor.grad is grad
               for tensor, (data, grad) in zip(tensors, before))


def test_a_leaf_inside_the_function_keeps_its_gradient(capsys):
    weight, x = leaf([2.0]), leaf([3.0])
    held = weight.grad = Tensor(np.ones(1))
    assert check_gradients(lambda x: x * weight, x) is True
    assert weight.grad is held and held.data == 1 and x.grad is None


def test_against_torch_says_where_there_is_no_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert against_torch(lambda a: a * a, Tensor([1.0])) is None
    assert "PyTorch is not installed here" in capsys.readouterr().out


@pytest.mark.slow
def test_compare_is_loaded_alone_and_the_library_needs_nothing_of_the_grader(tmp_path):
    (tmp_path / "alone.py").write_bytes((ROOT / "mytorch" / "gradient_check.py").read_bytes())
    code = ("import sys, alone; print(alone.compare, [m for m in sys.modules if 'mytorch' in m])\n"
            f"sys.path.insert(0, {str(ROOT)!r})\n"
            "import mytorch.gradient_check, mytorch.show, mytorch.optim.sgd, mytorch.nn.loss\n"
            "print([m for m in sys.modules.values() if 'autograder' in str(vars(m).get('__file__'))])")
    ran = subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE,
                         universal_newlines=True)
    assert ran.stdout.endswith(" []\n[]\n")


# assert_gradients of the other tests is itself checked, by ``a * b`` for a square a and a row b

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
    "the sign of one flipped": lambda g, a, b: (g * b, -(g * a).sum(axis=0)),
    "one transposed": lambda g, a, b: ((g * b).T.copy(), (g * a).sum(axis=0)),
    "the wrong operand": lambda g, a, b: (g * a, (g * b).sum(axis=0)),
    "the mean over rows in place of the sum": lambda g, a, b: (g * b, (g * a).mean(axis=0)),
    "the sum left out": lambda g, a, b: (g * b, g * a),
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
