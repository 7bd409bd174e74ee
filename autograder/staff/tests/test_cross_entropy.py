"""Cross entropy and one-hot labels: values and gradients by hand, huge logits, wrong labels.
Odds of 1 : 2 : 3 are probabilities of 1/6, 1/3 and 1/2."""

import numpy as np
import pytest

import mytorch.nn.functional as F
from central_differences import assert_raises, leaf, uneven
from mytorch.autograd_engine import backward
from mytorch.tensor import Tensor

LABELS = np.array([2, 0, 2, 1])
LOGITS, ONE_AXIS = Tensor(np.zeros((2, 3))), Tensor([1.0, 2.0])


def loss_of(labels, logits=LOGITS):
    return lambda: F.cross_entropy(logits, Tensor(labels))


MISTAKES = {
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


def test_cross_entropy_of_odds_one_two_three_is_log_two_for_the_last():
    logits = leaf(np.log([[1.0, 2.0, 3.0]]))
    loss = F.cross_entropy(logits, Tensor([2]))
    backward(loss.grad_fn, Tensor(-6.0))
    assert loss.shape == () and np.isclose(loss.data, np.log(2))
    np.testing.assert_allclose(logits.grad.data, [[-1, -2, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_of_huge_logits_neither_overflows_nor_divides_by_zero(dtype):
    logits = leaf(np.array([[1000, -1000], [-1000, 1000]], dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = F.cross_entropy(logits, Tensor([0, 0]))
        loss.backward()
    assert loss.data == 1000 and logits.grad.data.tolist() == [[0, 0], [-0.5, 0.5]]


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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_says_operation_expected_and_actual_for(mistake):
    call, error, words = MISTAKES[mistake]
    assert_raises(error, words, call)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_logits_of_small_integers_are_computed_in_floats(dtype):
    low, high = (3, 250) if dtype is not np.int8 else (-120, 127)
    loss = F.cross_entropy(Tensor(np.array([[low, high]], dtype)), Tensor([0]))
    assert loss.item() == high - low and loss.data.dtype.kind == "f"
