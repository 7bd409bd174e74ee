"""The autograd engine: which nodes it makes, how it walks them, where gradients are stored.
Depth and memory are tested in test_autograd_depth.py, what students add in the file beside it."""

import numpy as np
import pytest

import mytorch.nn.functional as F
from central_differences import function, leaf, uneven
from mytorch import autograd_engine
from mytorch.autograd_engine import AccumulateGrad, BackwardFunction, ContextManager
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor


# Nodes

def test_a_result_has_a_backward_function_whose_parents_are_its_inputs_nodes():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    c = a * b
    d = c + a
    assert isinstance(d.grad_fn, BackwardFunction) and isinstance(a.grad_fn, AccumulateGrad)
    assert d.grad_fn.next_functions == [c.grad_fn, a.grad_fn]
    assert c.grad_fn.next_functions == [a.grad_fn, b.grad_fn] and a.grad_fn.variable is a
    assert [node.function_name for node in (d.grad_fn, c.grad_fn, a.grad_fn)] == [
        "Add", "Mul", "AccumulateGrad"]


@pytest.mark.parametrize("constant", [Tensor([1.0]), np.ones(1), 1.0], ids=["Tensor", "array", "number"])
def test_a_constant_is_recorded_as_none_among_the_parents(constant):
    a = leaf([2.0])
    parents = [(a * constant).grad_fn.next_functions, (constant * a).grad_fn.next_functions]
    assert parents == [[a.grad_fn, None], [None, a.grad_fn]]


@pytest.mark.parametrize("flags", [(False, False), (False, True), (True, False), (True, True)])
def test_a_result_requires_grad_exactly_when_an_input_does_and_is_then_no_leaf(flags):
    a, b = [Tensor([2.0], requires_grad=flag) for flag in flags]
    c = a * b
    needed = any(flags)
    assert (c.requires_grad, c.is_leaf, c.grad_fn is None) == (needed, not needed, not needed)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)], ids=str)
def test_backward_starts_from_ones_of_any_shape_and_only_leaves_store_a_gradient(shape):
    a, constant = leaf(np.full(shape, 2.0)), Tensor([3.0])
    b = a.reshape(*shape, 1) * constant
    (b * b).backward()
    assert b.grad is None and constant.grad is None
    assert a.grad.shape == shape and (a.grad.data == 36).all()


def test_nodes_made_by_hand_store_what_is_applied_and_run_on_their_context():
    a, node = leaf([2.0]), BackwardFunction(F.Mul)
    for gradient in (5.0, -1.0):
        AccumulateGrad(a).apply(Tensor([gradient]))
    F.Mul.forward(node.ctx, Tensor([2.0]), Tensor([3.0]))
    assert a.grad.data.tolist() == [4]
    assert [grad.data.tolist() for grad in node.apply(Tensor([-1.0]))] == [[-3], [-2]]


def test_nodes_show_what_they_are():
    a = leaf(np.ones((3, 4)))
    node = (a * 2.0).grad_fn
    assert (repr(node), repr(node.next_functions)) == ("<Mul>", "[<AccumulateGrad of (3, 4)>, None]")


@pytest.mark.parametrize("value", [np.ones(2), 1.0, [1.0], None])
def test_save_for_backward_refuses_what_is_no_tensor(value):
    with pytest.raises(TypeError, match=f"save_for_backward.*{type(value).__name__}"):
        ContextManager().save_for_backward(Tensor([1.0]), value)


# What is saved, and data that was replaced

def test_what_is_saved_keeps_array_shape_and_flags_and_is_in_no_graph():
    a, ctx = leaf(uneven(2, 3)) * 2.0, ContextManager()
    ctx.save_for_backward(a, Tensor([1.0]))
    saved, constant = ctx.saved_tensors
    assert saved.data is a.data and constant.data.tolist() == [1]
    assert (saved.requires_grad, saved.is_leaf, saved.grad, saved.grad_fn) == (True, False, None, None)
    assert (constant.requires_grad, constant.is_leaf) == (False, True)


def test_an_integer_leaf_that_was_enabled_later_is_refused_at_its_use_and_its_gradient():
    t, replaced = Tensor([1, 2]), leaf([1.0, 2.0])
    result = replaced * 0.5
    t.requires_grad, replaced.data = True, np.array([1, 2])
    for use in (lambda: t * 0.5, t.sum, lambda: 1.0 - t, result.backward):
        with pytest.raises(TypeError, match="requires grad must hold floats.*int64"):
            use()
    assert replaced.grad is None


def test_data_replaced_by_a_tensor_is_refused_at_the_next_use_with_the_right_way():
    w, constant = Tensor([1.0, 2.0], is_parameter=True), Tensor([1.0])
    (w * w).backward()
    w.data, constant.data = w.data - 0.1 * w.grad, constant * 2
    for use in (lambda: 2.0 - w, w.log, lambda: F.Linear.apply(w, w, w)):
        with pytest.raises(TypeError, match=r"w\.data - lr \* w\.grad\.data"):
            use()
    assert "w.grad.data" in repr(w)
    with pytest.raises(TypeError, match="Add: the data of an input is a Tensor"):
        constant + 1.0


# The walk

def test_a_node_shared_by_long_and_short_paths_waits_for_all_of_them():
    calls, a = [], leaf([1.0])

    def backward(ctx, grad_output):
        calls.append(1)
        return grad_output, grad_output

    add, shared = function(lambda ctx, a, b: Tensor(a.data + b.data), backward), a
    for _ in range(3):
        shared = add.apply(shared, shared)
    output = shared + (shared + 2.0 + 3.0) * shared  # 8a + (8a + 5) 8a, derivative 48 + 128a
    output.backward()
    assert calls == [1, 1, 1] and a.grad.data.tolist() == [176]


def test_the_walk_is_depth_first_in_the_order_of_the_arguments():
    order = []

    def named(name):
        def backward(ctx, *grads):
            order.append(name)
            return (grads[0],) * ctx.count

        def forward(ctx, *args):
            ctx.count = len(args)
            return Tensor(sum(arg.data for arg in args))
        return function(forward, backward).apply

    named("top")(named("left")(named("left below")(leaf(1.0))), named("right")(leaf(1.0))).backward()
    assert order == ["top", "left", "left below", "right"]


@pytest.mark.parametrize("dtype, start", [(np.float32, np.float32), (int, np.float64)])
def test_backward_starts_from_floats_of_the_precision_that_a_function_returned(dtype, start):
    upstream = []
    step = function(lambda ctx, a: Tensor(a.data.astype(dtype)), lambda ctx, g: upstream.append(g))
    step.apply(leaf([2.0])).backward()
    assert (upstream[0].data.dtype, upstream[0].data.tolist()) == (start, [1])


def test_backward_of_a_leaf_itself_stores_ones_which_are_in_no_graph():
    a = leaf(np.ones(2, np.float32))
    a.backward()
    grad = a.grad
    assert (type(grad), grad.data.tolist(), grad.dtype) == (Tensor, [1, 1], np.float32)
    assert (grad.requires_grad, grad.is_leaf, grad.grad_fn) == (False, True, None)


@pytest.mark.parametrize("start", [
    lambda: Tensor([1.0]).backward(), lambda: (Tensor([1.0]) * 2).backward(),
    lambda: autograd_engine.backward(None, Tensor([1.0]))], ids=["constant", "result", "None"])
def test_backward_outside_any_graph_is_a_runtime_error(start):
    with pytest.raises(RuntimeError, match="requires_grad"):
        start()


# Gradients are nobody's to modify

@pytest.mark.parametrize("combine", [
    lambda x, z: x * 2.0 + z, lambda x, z: z + x * 2.0, lambda x, z: x + z, lambda x, z: z + x])
def test_a_gradient_handed_to_two_parents_stays_apart_when_one_accumulates(combine):
    a, b = leaf([1.0]), leaf([1.0])
    x, y = a * 1.0, b * 1.0
    autograd_engine.backward(combine(x, x + y).grad_fn, Tensor([-5.0]))
    assert b.grad.data.tolist() == [-5]


@pytest.mark.parametrize("operation", [
    lambda a, b: a + b, lambda a, b: (a + b).reshape(2, 1),
    lambda a, b: a.reshape(2, 1) + b.reshape(2, 1)])
def test_leaves_share_the_memory_of_their_gradients_with_nobody(operation):
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    output = operation(a, b)
    upstream = Tensor(uneven(*output.shape))
    autograd_engine.backward(output.grad_fn, upstream)
    arrays = [upstream.data, a.grad.data, b.grad.data]
    assert not any(np.shares_memory(arrays[i], arrays[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


def test_a_stored_gradient_has_the_dtype_of_its_leaf():
    a = leaf(np.ones(3, np.float32))
    for _ in range(2):
        (a * Tensor([1.0, 2.0, 3.0])).backward()
        assert a.grad.data.dtype == np.float32


# What changes between forward and backward

def test_a_leaf_whose_requires_grad_was_switched_off_after_forward_gets_no_gradient():
    p, x = Tensor([2.0], is_parameter=True), leaf([3.0])
    result = p * x
    p.requires_grad = False
    result.backward()
    assert p.grad is None and x.grad.data.tolist() == [2]
