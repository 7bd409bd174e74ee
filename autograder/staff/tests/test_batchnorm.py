"""BatchNorm1d: its formulas with numbers worked out by hand, its two modes, its running averages.
The batch of these tests has means 2 and 0, biased variances 1 and 16, unbiased 2 and 32."""

import numpy as np
import pytest

from central_differences import assert_gradients, leaf, uneven
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.module import Module
from mytorch.tensor import Tensor

EXACT = 0.0  # an eps with which the numbers come out whole
BATCH = [[1.0, 4.0], [3.0, -4.0]]


def averages(layer):
    return layer.running_mean.data.tolist(), layer.running_var.data.tolist()


def test_batchnorm_in_training_normalises_with_the_biased_variance():
    layer = BatchNorm1d(2, eps=EXACT)
    layer.gamma.data, layer.beta.data = np.array([10.0, 1.0]), np.array([0.0, 0.5])
    assert layer(Tensor(BATCH)).data.tolist() == [[-10, 1.5], [10, -0.5]]


def test_batchnorm_averages_the_mean_and_the_unbiased_variance():
    layer = BatchNorm1d(2, momentum=0.25)
    layer(Tensor(BATCH))
    assert averages(layer) == ([0.5, 0], [1.25, 8.75])
    layer(Tensor(BATCH))
    assert averages(layer) == ([0.875, 0], [1.4375, 14.5625])


def test_batchnorm_evaluates_with_its_averages_and_leaves_them():
    layer = BatchNorm1d(2, eps=EXACT).eval()
    layer.running_mean.data, layer.running_var.data = np.array([1.0, 2.0]), np.array([4.0, 0.25])
    assert layer(Tensor([[5.0, 1.0]])).data.tolist() == [[2, -2]]
    assert averages(layer) == ([1, 2], [4, 0.25])


def test_batchnorm_adds_eps_to_the_variance_in_both_modes():
    layer = BatchNorm1d(1, eps=3.0)
    trained = layer(Tensor([[-1.0], [1.0]]))
    layer.eval().running_var.data, layer.running_mean.data = np.array([1.0]), np.array([0.0])
    assert trained.data.tolist() == [[-0.5], [0.5]] and layer(Tensor([[1.0]])).data.tolist() == [[0.5]]


@pytest.mark.parametrize("mode", [Module.train, Module.eval], ids=["training", "evaluation"])
def test_batchnorm_has_the_gradients_of_central_differences_in(mode):
    layer = mode(BatchNorm1d(3))
    layer.gamma.data, layer.running_var.data = uneven(3), np.array([0.5, 2.0, 3.0])
    assert_gradients(lambda x, *_: layer(x), leaf(uneven(5, 3)), layer.gamma, layer.beta)


def test_batchnorms_averages_stay_the_same_constants_outside_any_graph():
    layer = BatchNorm1d(2)
    mean, var = layer.running_mean, layer.running_var
    for _ in range(2):
        layer(leaf(BATCH)).backward()
    assert layer.running_mean is mean and layer.running_var is var
    assert [(t.requires_grad, t.grad_fn, t.grad) for t in (mean, var)] == [(False, None, None)] * 2


def test_batchnorm_stays_float32_whatever_kind_of_number_eps_is():
    layer = BatchNorm1d(2, eps=np.float64(1e-5)).float()
    x = Tensor(np.ones((3, 2), np.float32))
    assert layer(x).data.dtype == layer.eval()(x).data.dtype == np.float32


@pytest.mark.parametrize("layer, dtype", [
    (BatchNorm1d(2).float(), np.float32), (BatchNorm1d(2), np.float64)], ids=["float32", "float64"])
def test_batchnorms_averages_keep_their_dtype_whatever_the_input_has(layer, dtype):
    for given in (np.float64, np.float32):
        layer(Tensor(np.array(BATCH, given)))
    assert layer.running_mean.data.dtype == layer.running_var.data.dtype == dtype


def test_batchnorm_averages_also_where_nothing_requires_grad():
    layer = BatchNorm1d(2, momentum=0.25)
    layer.gamma, layer.beta = Tensor([1.0, 1.0]), Tensor([0.0, 0.0])
    assert layer(Tensor(BATCH)).grad_fn is None and averages(layer) == ([0.5, 0], [1.25, 8.75])


def test_batchnorm_has_defaults_and_starts_of_pytorch():
    layer = BatchNorm1d(2)
    assert (layer.eps, layer.momentum, averages(layer)) == (1e-5, 0.1, ([0, 0], [1, 1]))
    assert [p.data.tolist() for p in layer.parameters()] == [[1, 1], [0, 0]]


def test_training_batchnorm_on_one_row_is_a_value_error_and_evaluating_works():
    layer = BatchNorm1d(3)
    with pytest.raises(ValueError, match=r"BatchNorm1d.*2 rows.*\(1, 3\)"):
        layer(Tensor(np.ones((1, 3))))
    assert layer.eval()(Tensor(np.ones((1, 3)))).shape == (1, 3)


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (2,)], ids=str)
def test_a_failed_call_leaves_batchnorms_averages_as_they_were(shape):
    layer = BatchNorm1d(3)
    with pytest.raises(ValueError):
        layer(Tensor(np.ones(shape)))
    assert averages(layer) == ([0, 0, 0], [1, 1, 1])
