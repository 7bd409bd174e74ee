"""Functions as students write them: the forms that work, and the mistakes that are named.
What a wrong ``backward`` returns is reported where it happens, and never repaired."""

import gc
import inspect
import re
import weakref

import numpy as np
import pytest

from central_differences import assert_gradients, assert_raises, function, leaf, uneven
from mytorch import autograd_engine
from mytorch.autograd_engine import Function
from mytorch.tensor import Tensor


def double(ctx, a):
    return Tensor(2 * a.data)


def double_with_its_flags_set(ctx, a):
    return Tensor(2 * a.data, requires_grad=a.requires_grad, is_leaf=not a.requires_grad)


def double_with_flags_always_set(ctx, a):
    return Tensor(2 * a.data, requires_grad=True, is_leaf=False)


def double_by_operators(ctx, a):
    return a + a


BACKWARD_OF_DOUBLE = {
    "a Tensor": lambda ctx, grad_output: Tensor(2 * grad_output.data),
    "a tuple": lambda ctx, grad_output: (Tensor(2 * grad_output.data),),
    "a list": lambda ctx, grad_output: [Tensor(2 * grad_output.data)],
    "a result of operators": lambda ctx, grad_output: grad_output * 2,
}


@pytest.mark.parametrize("backward", BACKWARD_OF_DOUBLE)
@pytest.mark.parametrize("forward", [
    double, double_with_its_flags_set, double_with_flags_always_set, double_by_operators])
def test_a_students_function_of_either_form_is_differentiated(forward, backward):
    student = function(forward, BACKWARD_OF_DOUBLE[backward])
    assert_gradients(lambda a: student.apply(student.apply(a) * a), leaf(uneven(2, 3)))
    output = student.apply(Tensor([1.0]))  # a constant, whatever the function set
    assert (output.requires_grad, output.is_leaf, output.grad_fn) == (False, True, None)


@pytest.mark.parametrize("elsewhere", [Tensor([7.0]), leaf([7.0]), Tensor([7.0], is_parameter=True)],
                         ids=["constant", "leaf", "parameter"])
def test_a_tensor_that_forward_did_not_make_keeps_its_flags(elsewhere):
    before = dict(vars(elsewhere))
    student = function(lambda ctx, a: elsewhere, lambda ctx, grad_output: grad_output)
    for a in (leaf([3.0]), Tensor([3.0])):
        output = student.apply(a)
        assert output is not elsewhere and output.data is elsewhere.data
        assert (output.requires_grad, output.is_parameter) == (a.requires_grad, False)
    assert vars(elsewhere) == before


def test_a_function_that_saves_its_own_output_is_differentiated_and_leaves_no_ring():
    def forward(ctx, a):
        output = Tensor(np.exp(a.data))
        ctx.save_for_backward(output)
        return output

    exp = function(forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply
    assert_gradients(lambda a: exp(exp(a)), leaf([0.5, -1.0]))
    gc.collect()
    gc.disable()
    try:
        node = weakref.ref(exp(leaf([1.0])).grad_fn)
        assert node() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_gradients_of_constants_at_the_end_may_be_left_out(count):
    scale = function(lambda ctx, a, *constants: Tensor(a.data * 3.0),
                     lambda ctx, g: (g * 3.0, None, None, None)[:count])
    assert_gradients(lambda a: scale.apply(a, Tensor([1.0]), 2, "axis"), leaf(uneven(3)))


def test_none_on_one_path_leaves_the_gradient_of_the_other():
    a = leaf([2.0])
    shared = a * 5.0
    stop = function(lambda ctx, x: Tensor(x.data), lambda ctx, g: None)
    for output in (stop.apply(shared) + shared, shared + stop.apply(shared),
                   stop.apply(shared * 2.0) + shared, shared + stop.apply(shared * 2.0)):
        a.grad = None
        output.backward()
        assert a.grad.data.tolist() == [5]


def test_needs_input_grad_tells_which_arguments_need_a_gradient():
    seen = []
    student = function(
        lambda ctx, *args: Tensor(args[0].data),
        lambda ctx, g: seen.append(list(ctx.needs_input_grad)) or (g, None, None))
    student.apply(leaf([1.0]), Tensor([1.0]), "axis").backward()
    assert seen == [[True, False, False]]


# Wrong gradients of forward(a of shape (2, 3), b of shape (3,)) = a + b
WRONG_GRADIENTS = {
    "too few": (lambda g: g, ValueError, "2 gradients got 1"),
    "too few in a tuple": (lambda g: (g,), ValueError, "2 gradients got 1"),
    "too many": (lambda g: (g, g, None), ValueError, "2 gradients got 3"),
    "an ndarray": (lambda g: (g.data, None), TypeError, "argument 0 Tensor ndarray"),
    "a number": (lambda g: (g, 1.0), TypeError, "argument 1 Tensor float"),
    "a forgotten unbroadcast": (lambda g: (g, g), ValueError, "argument 1 (3,) (2, 3)"),
    "a transpose": (lambda g: (g.T(), None), ValueError, "argument 0 (2, 3) (3, 2)"),
    "an axis too much": (lambda g: (g, g.sum(axis=0, keepdims=True)), ValueError, "(3,) (1, 3)"),
    "a single number": (lambda g: (g, g.sum()), ValueError, "argument 1 (3,) ()"),
}


def run_wrong(gradients):
    """Backward through a student's Function that returns ``gradients(g)``: (Function, leaves)."""
    wrong = function(
        lambda ctx, a, b: Tensor(a.data + b.data), lambda ctx, g: gradients(g), name="Wrong")
    leaves = leaf(np.ones((2, 3))), leaf(np.ones(3))
    return wrong, leaves, wrong.apply(*leaves).backward


@pytest.mark.parametrize("mistake", WRONG_GRADIENTS)
def test_an_error_names_operation_expected_actual_file_and_line_and_no_leaf_gets_a_gradient_for(mistake):
    gradients, error, words = WRONG_GRADIENTS[mistake]
    wrong, leaves, backward = run_wrong(gradients)
    line = inspect.getsourcelines(wrong.backward)[1]
    with pytest.raises(error, match=re.escape(f"{__file__}:{line}")):
        backward()
    assert_raises(error, f"Wrong.backward {words}", backward)
    assert [tensor.grad for tensor in leaves] == [None, None]


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()], ids=str)
def test_an_accumulate_grad_refuses_a_gradient_of_another_shape(shape):
    a = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=re.escape(f"leaf's shape (2,), got {shape}")):
        autograd_engine.backward((a * 1.0).grad_fn.next_functions[0], Tensor(np.ones(shape)))
    assert a.grad is None


def test_a_forward_that_returns_no_tensor_is_a_type_error_with_its_name():
    with pytest.raises(TypeError, match=r"Wrong\.forward.*Tensor.*ndarray"):
        function(lambda ctx, a: a.data, lambda ctx, g: g, name="Wrong").apply(leaf([1.0]))


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_function_without_its_forward_or_backward_says_which(method):
    with pytest.raises(NotImplementedError, match=method):
        getattr(Function, method)(None, None)
