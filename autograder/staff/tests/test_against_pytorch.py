"""A network trained for several batches against PyTorch's figures, recorded in pytorch_figures.json.
To record them anew, where torch is installed: python3 test_against_pytorch.py"""

import json
from pathlib import Path

import numpy as np
import pytest

from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

FILE = Path(__file__).with_name("pytorch_figures.json")
FIGURES = json.loads(FILE.read_text())  # torch (its version), start, batches and runs
FEATURES, HIDDEN, CLASSES = 4, 3, 3
BATCH_SIZE, BATCHES = 5, 6
LEARNING_RATE, EPS, BATCHNORM_MOMENTUM = 0.3, 1e-5, 0.1
SGD_MOMENTUMS = [0.0, 0.9]

# The parameters and running averages of the network, under their names in the figures.
SHAPES = {
    "weight1": (HIDDEN, FEATURES), "bias1": (HIDDEN,), "gamma": (HIDDEN,), "beta": (HIDDEN,),
    "weight2": (CLASSES, HIDDEN), "bias2": (CLASSES,),
    "running_mean": (HIDDEN,), "running_var": (HIDDEN,),
}
PARAMETERS = list(SHAPES)[:6]


def train(momentum):
    """The figures that MyTorch computes for one run, in the form of the recorded ones."""
    first, norm = Linear(FEATURES, HIDDEN), BatchNorm1d(HIDDEN, EPS, BATCHNORM_MOMENTUM)
    second = Linear(HIDDEN, CLASSES)
    model, criterion = Sequential(first, norm, ReLU(), second), CrossEntropyLoss()
    tensors = dict(zip(SHAPES, [first.weight, first.bias, norm.gamma, norm.beta, second.weight,
                                second.bias, norm.running_mean, norm.running_var]))
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
        gradients = {name: tensors[name].grad.data for name in PARAMETERS}
        steps.append({
            "logits": logits.data, "loss": loss.data, "gradients": {"x": x.grad.data, **gradients},
            "after": {name: tensor.data.copy() for name, tensor in tensors.items()},
        })
    return {"steps": steps, "evaluation": model.eval()(Tensor(FIGURES["batches"][0]["x"])).data}


def assert_equal(where, computed, recorded):
    """Whether all figures are equal up to the rounding of float64, summed up over the batches."""
    if isinstance(computed, dict):
        for name, part in computed.items():
            assert_equal(f"{where}, {name}", part, recorded[name])
    else:
        np.testing.assert_allclose(computed, recorded, rtol=1e-9, atol=1e-12, err_msg=where)


@pytest.mark.parametrize("run", FIGURES["runs"], ids=lambda run: f"momentum {run['momentum']}")
def test_values_gradients_parameters_and_averages_equal_pytorchs_at_every_step(run):
    computed = train(run["momentum"])
    assert len(computed["steps"]) == len(run["steps"]) == BATCHES
    for number, step in enumerate(computed["steps"]):
        assert_equal(f"step {number}", step, run["steps"][number])
    assert_equal("evaluation", computed["evaluation"], run["evaluation"])


def record():
    """Write the figures of PyTorch's Linear -> BatchNorm1d -> ReLU -> Linear in float64."""
    import torch

    random = np.random.RandomState(11785)
    start = {name: random.uniform(-1, 1, shape).round(3) for name, shape in SHAPES.items()}
    start["running_var"] += 1.5
    batches = [{"x": random.normal(0.5, 2, (BATCH_SIZE, FEATURES)).round(3).tolist(),
                "labels": random.randint(0, CLASSES, BATCH_SIZE).tolist()} for _ in range(BATCHES)]
    figures = {
        "torch": torch.__version__,
        "start": {name: values.tolist() for name, values in start.items()},
        "batches": batches,
        "runs": [{"momentum": momentum, **pytorchs_figures(torch, start, batches, momentum)}
                 for momentum in SGD_MOMENTUMS],
    }
    FILE.write_text(json.dumps(figures, indent=None).replace('{"', '\n{"') + "\n")


def pytorchs_figures(torch, start, batches, momentum):
    """Train on the batches: the figures of each step, and the logits of evaluation after them."""
    torch.set_default_dtype(torch.float64)
    norm = torch.nn.BatchNorm1d(HIDDEN, eps=EPS, momentum=BATCHNORM_MOMENTUM)
    first, second = torch.nn.Linear(FEATURES, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    model = torch.nn.Sequential(first, norm, torch.nn.ReLU(), second)
    tensors = dict(zip(SHAPES, [first.weight, first.bias, norm.weight, norm.bias, second.weight,
                                second.bias, norm.running_mean, norm.running_var]))
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.tensor(start[name]))
    optimizer = torch.optim.SGD([tensors[name] for name in PARAMETERS], LEARNING_RATE, momentum)
    steps = []
    for batch in batches:
        x = torch.tensor(batch["x"], requires_grad=True)
        optimizer.zero_grad()
        logits = model(x)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch["labels"]))
        loss.backward()
        optimizer.step()
        gradients = {name: tensors[name].grad.tolist() for name in PARAMETERS}
        steps.append({
            "logits": logits.tolist(), "loss": loss.item(),
            "gradients": {"x": x.grad.tolist(), **gradients},
            "after": {name: tensor.tolist() for name, tensor in tensors.items()},
        })
    model.eval()
    x = torch.tensor(batches[0]["x"])
    return {"steps": steps, "evaluation": model(x).tolist()}


if __name__ == "__main__":
    record()
    print(f"wrote {FILE}")
