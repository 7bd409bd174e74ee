"""Figures recorded once from PyTorch for test_against_pytorch.py, in pytorch_figures.json.
To record them anew, where torch is installed: python3 pytorch_figures.py"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
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


def load():
    """The recorded figures: ``torch`` (its version), ``start``, ``batches`` and ``runs``."""
    return json.loads(FILE.read_text())


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
        "runs": [{"momentum": momentum, **run(torch, start, batches, momentum)}
                 for momentum in SGD_MOMENTUMS],
    }
    FILE.write_text(json.dumps(figures, indent=None).replace('{"', '\n{"') + "\n")


def run(torch, start, batches, momentum):
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
