"""Copies and pickles of Tensors, graphs and Modules: whole, and apart from their originals.
A gradient that goes to the original's leaf is the mistake that all of these look for."""

import copy
import pickle

import numpy as np
import pytest

from central_differences import leaf, uneven
from mytorch.autograd_engine import AccumulateGrad
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.module import Module
from mytorch.nn.sequential import Sequential
from mytorch.tensor import Tensor


def pickled(value):
    return pickle.loads(pickle.dumps(value))


DUPLICATE = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickled}
WHOLE = {"deepcopy": copy.deepcopy, "pickle": pickled}


@pytest.fixture(params=DUPLICATE)
def duplicate(request):
    return DUPLICATE[request.param]


@pytest.fixture(params=WHOLE)
def whole(request):
    return WHOLE[request.param]


def test_a_copy_of_a_used_leaf_collects_its_own_gradients(duplicate):
    a = leaf([2.0, 3.0])
    (a * a).backward()
    b = duplicate(a)
    assert b.grad.data.tolist() == [4, 6] and b.data.tolist() == [2, 3]
    b.grad = None
    (b * 5.0).backward()
    assert (a.grad.data.tolist(), b.grad.data.tolist()) == ([4, 6], [5, 5])
    assert (b.requires_grad, b.is_leaf, b.is_parameter) == (True, True, False)


def test_a_copy_of_a_parameter_is_one_and_a_copy_of_a_constant_is_a_constant(duplicate):
    parameter, constant = duplicate(Tensor([1.0], is_parameter=True)), duplicate(Tensor([1.0]))
    assert parameter.is_parameter and parameter.requires_grad
    assert (constant.requires_grad, constant.grad_fn, constant.grad) == (False, None, None)


def test_a_deep_copy_of_a_result_brings_its_leaves_and_leaves_the_original_alone(whole):
    a, b = leaf([2.0]), leaf([3.0])
    shared = a * b
    result, copied_a, copied_b = whole((shared * shared + a, a, b))
    result.backward()
    assert a.grad is b.grad is None
    assert copied_a.grad.data.tolist() == [2 * 6 * 3 + 1] and copied_b.grad.data.tolist() == [2 * 6 * 2]


def test_a_deep_copy_of_a_node_belongs_to_a_copy_of_its_leaf(whole):
    a = leaf([2.0])
    node, copied = whole((AccumulateGrad(a), a))
    node.apply(Tensor([5.0]))
    assert node.variable is copied and a.grad is None and copied.grad.data.tolist() == [5]


def test_a_shallow_copy_of_a_result_is_another_view_of_the_same_graph():
    a = leaf([2.0])
    copy.copy(a * 3.0).backward()
    assert a.grad.data.tolist() == [3]


def test_a_leaf_goes_on_collecting_after_it_was_copied_with_a_graph(whole):
    result, a = whole((leaf([2.0]) * 1.0, leaf([2.0])))
    total = a * 3.0 + a
    copied_total, copied = whole((total, a))
    (copied_total + copied * 10.0).backward()
    assert copied.grad.data.tolist() == [14] and a.grad is None


class Remembering(Module):
    """A module that keeps its last result, as one does to look at it later."""

    def __init__(self):
        super().__init__()
        self.layer = Linear(2, 2)
        self.last = None

    def forward(self, x):
        self.last = self.layer(x)
        return self.last


def test_a_copy_of_a_module_that_keeps_a_result_is_trained_apart(whole):
    model = Remembering()
    model(Tensor([[1.0, 2.0]]))
    other = whole(model)
    other.last.backward()
    assert model.layer.weight.grad is None and other.layer.weight.grad.data.tolist() == [[1, 2], [1, 2]]


def test_a_pickled_network_computes_the_same_also_in_evaluation():
    model = Sequential(Linear(3, 2), BatchNorm1d(2))
    model(Tensor(uneven(4, 3)))
    other = pickled(model)
    assert [p.is_parameter for p in other.parameters()] == [True] * 4 and len(other) == 2
    x = Tensor(uneven(5, 3))
    np.testing.assert_array_equal(other.eval()(x).data, model.eval()(x).data)
