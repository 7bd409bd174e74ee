"""A network trained for several batches against the figures recorded from PyTorch.
pytorch_figures.py made them; PyTorch is not needed here."""

import numpy as np
import pytest

import pytorch_figures
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor
from pytorch_figures import BATCHNORM_MOMENTUM, CLASSES, EPS, FEATURES, HIDDEN, LEARNING_RATE

FIGURES = pytorch_figures.load()


def train(momentum):
    """The figures that MyTorch computes for one run, in the form of the recorded ones."""
    first, norm = Linear(FEATURES, HIDDEN), BatchNorm1d(HIDDEN, EPS, BATCHNORM_MOMENTUM)
    second = Linear(HIDDEN, CLASSES)
    model, criterion = Sequential(first, norm, ReLU(), second), CrossEntropyLoss()
    tensors = dict(zip(pytorch_figures.SHAPES, [
        first.weight, first.bias, norm.gamma, norm.beta, second.weight, second.bias,
        norm.running_mean, norm.running_var]))
    for name, tensor in tensors.items():
        tensor.data = np.array(FIGURES["start"][name])
    optimizer = SGD(model.parameters(), LEARNING_RATE, momentum)
    steps = []
    for batch in FIGURES["batches"]:
        x = Tensor(batch["x"], requires_grad=True)
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, Tensor(batch["labels"]))
        loss.backward()
        optimizer.step()
        gradients = {name: tensors[name].grad.data for name in pytorch_figures.PARAMETERS}
        steps.append({
            "logits": logits.data, "loss": loss.data, "gradients": {"x": x.grad.data, **gradients},
            "after": {name: tensor.data.copy() for name, tensor in tensors.items()},
        })
    return {"steps": steps, "evaluation": model.eval()(Tensor(FIGURES["batches"][0]["x"])).data}


@pytest.fixture(scope="module", params=FIGURES["runs"], ids=lambda run: f"momentum {run['momentum']}")
def runs(request):
    """(computed, recorded) for each momentum."""
    return train(request.param["momentum"]), request.param


def assert_equal(computed, recorded):
    """Up to the rounding of float64, summed up over the batches."""
    np.testing.assert_allclose(computed, recorded, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", ["logits", "loss"])
def test_values_equal_pytorchs_at_every_step(runs, value):
    for computed, recorded in zip(runs[0]["steps"], runs[1]["steps"]):
        assert_equal(computed[value], recorded[value])


@pytest.mark.parametrize("name", ["x", *pytorch_figures.PARAMETERS])
def test_gradients_equal_pytorchs_at_every_step_for(runs, name):
    for computed, recorded in zip(runs[0]["steps"], runs[1]["steps"]):
        assert_equal(computed["gradients"][name], recorded["gradients"][name])


@pytest.mark.parametrize("name", pytorch_figures.SHAPES)
def test_parameters_and_running_averages_equal_pytorchs_after_every_step_for(runs, name):
    for computed, recorded in zip(runs[0]["steps"], runs[1]["steps"]):
        assert_equal(computed["after"][name], recorded["after"][name])


def test_evaluation_after_training_equals_pytorchs(runs):
    assert_equal(runs[0]["evaluation"], runs[1]["evaluation"])


def test_the_figures_say_which_pytorch_made_them():
    assert FIGURES["torch"][0].isdigit() and len(FIGURES["batches"]) == pytorch_figures.BATCHES
