"""A network trained for several batches against PyTorch's figures, recorded in pytorch_figures.json.
To record them anew, where torch is installed: python3 test_against_pytorch.py"""

import json
import types
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

MYTORCH = types.SimpleNamespace(
    Linear=Linear, BatchNorm1d=BatchNorm1d, ReLU=ReLU, Sequential=Sequential,
    CrossEntropyLoss=CrossEntropyLoss, SGD=SGD, tensor=Tensor)
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


def train(library, momentum):
    """The figures of one run: of each step, and the logits of evaluation after them. ``library``
    is MYTORCH or PyTorch, under the same names; only gamma and beta are called otherwise there."""
    first, second = library.Linear(FEATURES, HIDDEN), library.Linear(HIDDEN, CLASSES)
    norm = library.BatchNorm1d(HIDDEN, EPS, BATCHNORM_MOMENTUM)
    gamma, beta = (norm.gamma, norm.beta) if library is MYTORCH else (norm.weight, norm.bias)
    model = library.Sequential(first, norm, library.ReLU(), second)
    criterion = library.CrossEntropyLoss()
    tensors = dict(zip(SHAPES, [first.weight, first.bias, gamma, beta, second.weight, second.bias,
                                norm.running_mean, norm.running_var]))
    for name, tensor in tensors.items():
        tensor.data = library.tensor(FIGURES["start"][name]).data
    optimizer = library.SGD(model.parameters(), LEARNING_RATE, momentum)
    steps = []
    for batch in FIGURES["batches"]:
        x = library.tensor(batch["x"], requires_grad=True)
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, library.tensor(batch["labels"]))
        loss.backward()
        optimizer.step()
        gradients = {"x": x.grad, **{name: tensors[name].grad for name in PARAMETERS}}
        steps.append(as_list({"logits": logits, "loss": loss, "gradients": gradients,
                              "after": tensors}))
    return {"momentum": momentum, "steps": steps,
            "evaluation": as_list(model.eval()(library.tensor(FIGURES["batches"][0]["x"])))}


def as_list(tensors):
    """The numbers of a tensor, or of each in a dict of them."""
    if isinstance(tensors, dict):
        return {name: as_list(tensor) for name, tensor in tensors.items()}
    return np.asarray(tensors.data).tolist()


def assert_equal(where, computed, recorded):
    """Whether all figures are equal up to the rounding of float64, summed up over the batches."""
    if isinstance(computed, dict):
        for name, part in computed.items():
            assert_equal(f"{where}, {name}", part, recorded[name])
    else:
        np.testing.assert_allclose(computed, recorded, rtol=1e-9, atol=1e-12, err_msg=where)


@pytest.mark.parametrize("run", FIGURES["runs"], ids=lambda run: f"momentum {run['momentum']}")
def test_values_gradients_parameters_and_averages_equal_pytorchs_at_every_step(run):
    computed = train(MYTORCH, run["momentum"])
    assert len(computed["steps"]) == len(run["steps"]) == BATCHES
    for number, step in enumerate(computed["steps"]):
        assert_equal(f"step {number}", step, run["steps"][number])
    assert_equal("evaluation", computed["evaluation"], run["evaluation"])


def record():
    """Write the figures of PyTorch's Linear -> BatchNorm1d -> ReLU -> Linear in float64."""
    import torch

    torch.set_default_dtype(torch.float64)
    library = types.SimpleNamespace(
        **{**vars(torch.nn), "SGD": torch.optim.SGD, "tensor": torch.tensor})
    random = np.random.RandomState(11785)
    start = {name: random.uniform(-1, 1, shape).round(3) for name, shape in SHAPES.items()}
    start["running_var"] += 1.5
    batches = [{"x": random.normal(0.5, 2, (BATCH_SIZE, FEATURES)).round(3).tolist(),
                "labels": random.randint(0, CLASSES, BATCH_SIZE).tolist()} for _ in range(BATCHES)]
    FIGURES.update(torch=torch.__version__, batches=batches,
                   start={name: values.tolist() for name, values in start.items()})
    FIGURES["runs"] = [train(library, momentum) for momentum in SGD_MOMENTUMS]
    FILE.write_text(json.dumps(FIGURES, indent=None).replace('{"', '\n{"') + "\n")


if __name__ == "__main__":
    record()
    print(f"wrote {FILE}")
