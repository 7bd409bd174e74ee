"""Works out what the graded tests expect, from formulas in NumPy alone: no mytorch is imported.
python3 autograder/staff/answers.py [--seed N] [FILE] writes it; referee.py asks PyTorch."""

import argparse
import json
import sys
import types
from pathlib import Path

import packages  # noqa: F401
import numpy as np

GRADER = Path(__file__).resolve().parents[1] / "hw1_autograder"
sys.path.insert(0, str(GRADER))

from answers_autograd import AUTOGRAD, OPERATIONS  # noqa: E402
import test_mlp  # noqa: E402, F401  (registers its tests in graded.CASES)
from by_hand import (  # noqa: E402
    SGD, BatchNorm, CrossEntropy, Linear, ReLU, WeighedSum, differentiate, evaluate, forward,
    gradient, train_forward, wrong)
from grader.graded import CASES  # noqa: E402
from grader.judge import as_array, close  # noqa: E402
from problems import BY_KEY  # noqa: E402

SEED = 11785
FILE = GRADER / "grader" / "answers.json"

# From here on ``g`` is what the tests call ``given``: the drawn inputs of one test.

# 2.1 to 2.4 and 2.6 Layers and SGD: the networks that the tests build, by the names in their labels


def linear(g):
    return {"layer": Linear(g.weight, g.bias)}


def linear_relu(g):
    return {**linear(g), "relu": ReLU()}


def batchnorm(g, **options):
    return {"layer": BatchNorm(g.gamma, g.beta, **options)}


def linear_batchnorm_relu(g):
    return {"linear": Linear(g.weight, g.bias), "batchnorm": BatchNorm(g.gamma, g.beta),
            "relu": ReLU()}


def two_linears(g):
    return {"layer1": Linear(g.weight, g.bias), "layer2": Linear(g.weight2, g.bias2)}


def three_linears(g):
    return {**two_linears(g), "layer3": Linear(g.weight3, g.bias3)}


def in_sequential(layers):
    """What a Sequential makes of layers: itself, or what a mistake in its forward leaves."""
    names = list(layers)
    if wrong("Sequential: only the first layer called (return inside the loop?)"):
        names = names[:1]
    if wrong("Sequential: the last layer left out"):
        names = names[:-1]
    if wrong("Sequential: only the last layer called (each gets the input, not what the one before "
             "it gave?)"):
        names = names[-1:]
    if wrong("Sequential: the layers in reversed order"):
        names = names[::-1]
    return {name: layers[name] for name in names}


def two_layers(g):
    layer1, layer2 = two_linears(g).values()
    return {"layer1": layer1, "relu1": ReLU(), "layer2": layer2, "relu2": ReLU()}


def big_network(g):
    return {"linear1": Linear(g.weight, g.bias), "batchnorm1": BatchNorm(g.gamma, g.beta),
            "relu1": ReLU(), "linear2": Linear(g.weight2, g.bias2),
            "batchnorm2": BatchNorm(g.gamma2, g.beta2), "relu2": ReLU()}


def sequential_backward(g):
    layers = three_linears(g)
    through = in_sequential(layers)
    found = {"output of the Sequential": forward(through, g.x), **weighed(through, g)}
    for name in set(layers) - set(through):  # which a mistake leaves without a gradient
        for parameter in Linear.parameters:
            found[f"gradient of {name}.{parameter}"] = np.array(np.nan)
    return found


def values(network):
    """Parameters, then running averages, with the labels of the report."""
    def labelled(kind):
        return {f"{name}.{value}": getattr(layer, value)
                for name, layer in network.items() for value in getattr(layer, kind)}
    return {**labelled("parameters"), **labelled("averages")}


def averages(network):
    return {label: value for label, value in values(network).items() if ".running_" in label}


def flags(*parameters):
    return {f"{parameter}.{flag}": True for parameter in parameters
            for flag in ("is_leaf", "requires_grad")}


def weighed(network, g, **options):
    return differentiate(network, g.x, WeighedSum(g.upstream), **options)


def linear_used_twice(g):
    first, last = Linear(g.weight, g.bias), Linear(g.weight, g.bias)
    last.forward(first.forward(g.x))
    if wrong("the input of the last call taken for both (kept on the layer, not in ctx?)"):
        first.x = last.x
    by_last, grad = last.backward(g.upstream)
    by_first, _ = first.backward(grad)
    return {f"gradient of layer.{name}": gradient(
        by_last[name] + by_first[name],
        lambda: last.forward(first.forward(g.x)) * g.upstream, getattr(first, name))
        for name in Linear.parameters}


def with_x(g, x):
    """The same drawn inputs, with ``x`` as the input of a layer."""
    return types.SimpleNamespace(**vars(g), x=x)


def backward_twice(layer, g):
    once = weighed({"layer": layer}, g)
    found = {"gradient of x after two backward()": 2 * once.pop("gradient of x"),
             "output, after backward()": layer.forward(g.x)}
    return {**found, **{label: 2 * grad for label, grad in once.items()}}


def beside_another(layer, g):
    """Of ``layer(x) + c`` and ``c + layer(x)``."""
    found = weighed({"layer": layer}, g)
    by_x = found["gradient of x"]
    written_into = wrong("the layer's backward writes into the gradient that c is given too")
    results = {}
    for sum_of in "layer(x) + c", "c + layer(x)":
        results[f"{sum_of}: gradient of c"] = by_x if written_into and (
            by_x.shape == g.c.shape) else g.upstream
        results[f"{sum_of}: gradient of x"] = by_x
    return results


def used_twice(layer, again, g, x, x2, names):
    """The gradients of ``layer(x) * layer(x2)``, where ``again`` is the same layer once more."""
    def f():
        return layer.forward(x) * again.forward(x2) * g.upstream

    output, output2 = layer.forward(x), again.forward(x2)
    if wrong("the input of the last call taken for both (kept on the layer, not in ctx?)"):
        layer.forward(x2)
    by, by_x = layer.backward(g.upstream * output2)
    by2, by_x2 = again.backward(g.upstream * output)
    found = {f"gradient of layer.{name}": gradient(grad + by2[name], f, getattr(layer, name))
             for name, grad in by.items()}
    return {**found, **{f"gradient of {name}": gradient(grad, f, array)
                        for name, grad, array in zip(names, (by_x, by_x2), (x, x2))}}


def relu_used_twice(g):
    return used_twice(ReLU(), ReLU(), g, g.z, g.z2, ("z", "z2"))


def batchnorm_used_twice(g):
    layers = BatchNorm(g.gamma, g.beta), BatchNorm(g.gamma, g.beta)
    return used_twice(*layers, g, g.x, g.x2, ("x", "x2"))


def relu_of_one_sign(g):
    found = {}
    for name, z in {"positive": g.above, "negative": -g.above}.items():
        by_z = weighed({"relu": ReLU()}, with_x(g, z))["gradient of x"]
        found.update({f"output of {name} numbers": ReLU().forward(z),
                      f"gradient of {name} numbers": by_z})
    return found


def relu_backward(g):
    relu = ReLU()
    relu.forward(g.z)
    _, grad = relu.backward(g.upstream)
    # At 0 there is no derivative; by definition it shall be the one of z < 0.
    below = np.where(g.z == 0, -1, g.z)
    return {"gradient of z": gradient(grad, lambda: relu.forward(below) * g.upstream, below)}


def train(network, g, **options):
    """Take a step with each batch of g.x; returns the gradients of the last."""
    optimizer = SGD(network, **options)
    for x, upstream in zip(g.x, g.upstream):
        found = optimizer.step(x, WeighedSum(upstream))
    return found


def trained(g, network, *parameters, **options):
    """What training makes of the network, and the flags that the parameters keep."""
    train(network, g, **options)
    return {**values(network), **flags(*parameters)}


def one_step(g):
    network = linear_relu(g)
    SGD(network, lr=0.3).step(g.x, WeighedSum(g.upstream))
    return {**values(network), **flags("weight", "bias"),
            "model.parameters() the same after the step": True}


def zero_grad(g):
    network = linear_relu(g)
    train(network, g, lr=0.3)
    return values(network)


def three_batches(g):
    network, results = batchnorm(g), {}
    for batch, x in enumerate(g.x * [3.0, 1.0, 0.2] + [1.0, -2.0, 0.5], start=1):
        train_forward(network, x)
        results.update({f"after batch {batch}, {label}": value
                        for label, value in averages(network).items()})
    return results


def two_optimizers(g):
    network = two_layers(g)
    found = weighed(network, g, also_by_x=False)
    results = {}
    for name, lr in {"layer1": 0.1, "layer2": 0.3}.items():
        layer = network[name]
        for parameter in layer.parameters:
            stepped = getattr(layer, parameter) - lr * found[f"gradient of {name}.{parameter}"]
            setattr(layer, parameter, stepped)
        if name == "layer1":
            results = {f"after the step of the first, {label}": np.ravel(value)
                       for label, value in values(network).items()}
    return {**results, **values(network)}


def another_momentum(g):
    network = batchnorm(g, momentum=0.4)
    train_forward(network, g.x)
    return averages(network)


def evaluation(g):
    network = batchnorm(g)
    train_forward(network, g.x)
    return {"output in evaluation": evaluate(network, g.other),
            "x in evaluation, afterwards": g.other,
            "output in evaluation, one row": evaluate(network, g.row), **averages(network)}


def one_in_evaluation(g):
    network, evaluated = batchnorm(g, eps=0.5), batchnorm(g, eps=0.5)
    outputs = {"output in training": train_forward(network, g.x),
               "output in evaluation, never trained": evaluate(evaluated, g.other)}
    labelled = {**averages({"trained": network["layer"]}),
                **averages({"evaluated": evaluated["layer"]})}
    return {**outputs, **labelled}


def trained_and_evaluated(g):
    network = linear_batchnorm_relu(g)
    train(network, g, lr=0.1)
    outputs = {"output in evaluation": evaluate(network, g.other),
               "output in training again": train_forward(network, g.other)}
    return {**values(network), **outputs}


def big_network_trained_and_evaluated(g):
    network = big_network(g)
    optimizer = SGD(network, lr=0.05)
    for x, upstream in zip(g.x, g.upstream):
        optimizer.step(x, WeighedSum(upstream))
        outputs = {"output in evaluation": evaluate(network, g.other),
                   "output in evaluation, one row": evaluate(network, g.row)}
    return {**values(network), **outputs}


def given_operation(g, name, f, derivative):
    """Of an operation of Tensor; not every solution has it as a method that takes part in graphs."""
    results = {f"a.{name}": f(g.a), f"gradient of a through a.{name}": gradient(
        derivative(g.upstream), lambda: f(g.a) * g.upstream, g.a)}
    return {label: Optional(result) for label, result in results.items()}


def transpose(g):
    def derivative(upstream):
        if wrong("the gradient of T() reshaped, not transposed"):
            return upstream.reshape(g.a.shape)
        return upstream.T
    return given_operation(g, "T", np.transpose, derivative)


LAYERS = {
    "test_linear_forward":
        lambda g: {"output": forward(linear(g), g.x), "x, afterwards": g.x},
    "test_linear_forward_of_one_row": lambda g: {"output": forward(linear(g), g.x)},
    "test_linear_forward_after_its_weights_have_changed":
        lambda g: {"output": Linear(g.changed, g.bias).forward(g.x)},
    "test_linear_forward_in_a_sequential":
        lambda g: {"output of the Sequential": forward(linear(g), g.x)},
    "test_sequential_forward_of_three_linears":
        lambda g: {label: forward(in_sequential(three_linears(g)), x) for label, x in
                   {"output of the Sequential": g.x,
                    "output of the Sequential, another batch": g.other}.items()},
    "test_transpose": transpose,
    "test_linear_backward": lambda g: weighed(linear(g), g),
    "test_linear_backward_of_one_row": lambda g: weighed(linear(g), g, also_by_x=False),
    "test_linear_used_twice": linear_used_twice,
    "test_linear_backward_twice": lambda g: backward_twice(Linear(g.weight, g.bias), g),
    "test_linear_beside_another_operand":
        lambda g: beside_another(Linear(g.weight, g.bias), g),
    "test_linear_backward_in_a_sequential": lambda g: weighed(linear(g), g),
    "test_sequential_backward_of_three_linears": sequential_backward,
    "test_relu_forward": lambda g: {"ReLU()(z)": ReLU().forward(g.z), "z, afterwards": g.z},
    "test_linear_relu_forward": lambda g: {"output": forward(linear_relu(g), g.x)},
    "test_relu_backward_at_and_around_zero": relu_backward,
    "test_relu_backward_twice": lambda g: backward_twice(ReLU(), with_x(g, g.z)),
    "test_relu_beside_another_operand": lambda g: beside_another(ReLU(), with_x(g, g.z)),
    "test_relu_used_twice": relu_used_twice,
    "test_relu_of_one_sign": relu_of_one_sign,
    "test_linear_relu_backward": lambda g: weighed(linear_relu(g), g),
    "test_two_layers_forward": lambda g: {"output": forward(two_layers(g), g.x)},
    "test_two_layers_backward": lambda g: weighed(two_layers(g), g),
    "test_one_step": one_step,
    "test_zero_grad_between_steps": zero_grad,
    "test_steps_of_two_layers": lambda g: trained(g, two_layers(g), "weight1", "weight2", lr=0.1),
    "test_two_optimizers_of_two_layers": two_optimizers,
    "test_batchnorm_forward":
        lambda g: {"output": forward(batchnorm(g), g.x), "x, afterwards": g.x},
    "test_batchnorm_forward_with_another_eps":
        lambda g: {"output": forward(batchnorm(g, eps=0.1), g.x)},
    "test_linear_batchnorm_relu_forward":
        lambda g: {"output": forward(linear_batchnorm_relu(g), g.x)},
    "test_batchnorm_backward": lambda g: weighed(batchnorm(g), g),
    "test_batchnorm_backward_twice": lambda g: backward_twice(BatchNorm(g.gamma, g.beta), g),
    "test_batchnorm_beside_another_operand":
        lambda g: beside_another(BatchNorm(g.gamma, g.beta), g),
    "test_batchnorm_used_twice": batchnorm_used_twice,
    "test_linear_batchnorm_relu_backward": lambda g: weighed(linear_batchnorm_relu(g), g),
    "test_running_averages_over_three_batches": three_batches,
    "test_running_averages_with_another_momentum": another_momentum,
    "test_evaluation_uses_the_running_averages_and_keeps_them": evaluation,
    "test_one_layer_in_evaluation_and_another_in_training": one_in_evaluation,
    "test_linear_batchnorm_relu_trained_and_evaluated": trained_and_evaluated,
    "test_two_layers_with_batchnorm_trained_and_evaluated": big_network_trained_and_evaluated,
    "test_momentum_over_four_steps":
        lambda g: trained(g, linear(g), "weight", "bias", lr=0.1, momentum=0.8),
    "test_each_parameter_has_a_momentum_of_its_own":
        lambda g: trained(g, two_linears(g), lr=0.1, momentum=0.5),
    "test_a_second_optimizer_starts_without_momentum":
        lambda g: trained(g, linear(g), lr=0.1, momentum=0.5),
}


# 2.5 Cross entropy


def by_logits(logits, loss, times=1):
    return {"gradient of the logits": gradient(
        times * loss.backward(logits), lambda: times * loss.forward(logits), logits)}


def of_unlikely_labels(g):
    results = {}
    for by in 60, 1000:
        logits = g.logits - by * np.eye(g.logits.shape[1])[g.labels]
        results[f"loss of labels whose logits are lower by {by}"] = (
            CrossEntropy(g.labels).forward(logits))
    return results


def within_a_larger_computation(g):
    by = by_logits(g.logits, CrossEntropy(g.labels, g.factor))["gradient of the logits"]
    return {f"{product}: gradient of the logits": by
            for product in ("loss * factor", "factor * loss")}


def sum_of_two_losses(g):
    losses = {"first": (g.logits, g.labels), "second": (g.logits2, g.labels2)}
    return {f"gradient of the {name} logits":
            by_logits(logits, CrossEntropy(labels))["gradient of the logits"]
            for name, (logits, labels) in losses.items()}


def trained_with_cross_entropy(g, **options):
    network, results = big_network(g), {}
    optimizer = SGD(network, **options)
    for step, (x, labels) in enumerate(zip(g.x, g.labels.reshape(len(g.x), -1)), start=1):
        criterion = CrossEntropy(labels)
        results[f"loss of batch {step}"] = criterion.forward(forward(network, x))
        optimizer.step(x, criterion)
    return {**results, **values(network), "output in evaluation": evaluate(network, g.other)}


CROSS_ENTROPY = {
    "test_cross_entropy_forward":
        lambda g: {"loss": CrossEntropy(g.labels).forward(forward(linear(g), g.x))},
    "test_cross_entropy_leaves_its_inputs_as_they_are": lambda g: {
        "loss": CrossEntropy(g.labels).forward(g.logits),
        "logits, afterwards": g.logits, "labels, afterwards": g.labels},
    "test_cross_entropy_of_large_logits":
        lambda g: {"loss": CrossEntropy(g.labels).forward(g.logits)},
    "test_cross_entropy_of_unlikely_labels": of_unlikely_labels,
    "test_cross_entropy_of_one_row":
        lambda g: {"loss": CrossEntropy(g.labels).forward(g.logits)},
    "test_log": lambda g: given_operation(g, "log", np.log, lambda upstream: upstream / g.a),
    "test_reshape": lambda g: given_operation(
        g, "reshape", np.ravel, lambda upstream: upstream.reshape(g.a.shape)),
    "test_cross_entropy_backward": lambda g: by_logits(g.logits, CrossEntropy(g.labels)),
    "test_cross_entropy_backward_twice":
        lambda g: by_logits(g.logits, CrossEntropy(g.labels), times=2),
    "test_linear_cross_entropy_backward":
        lambda g: differentiate(linear(g), g.x, CrossEntropy(g.labels)),
    "test_cross_entropy_within_a_larger_computation": within_a_larger_computation,
    "test_the_sum_of_two_losses": sum_of_two_losses,
    "test_where_a_loss_is_finite_its_gradient_is":
        lambda g: {"finite gradient of large logits whose loss is finite": True},
    "test_big_network_trained_with_cross_entropy":
        lambda g: trained_with_cross_entropy(g, lr=0.2),
    "test_big_network_trained_with_momentum":
        lambda g: trained_with_cross_entropy(g, lr=0.1, momentum=0.7),
}


# All of them, and the file

WORKED_OUT_BY = {**OPERATIONS, **AUTOGRAD, **LAYERS, **CROSS_ENTROPY}


class Optional:
    """A result that a test may leave out."""

    def __init__(self, array):
        self.array = array


def numbers(result):
    """The float64 array of a result that is none of None, True and False."""
    return np.asarray(result.array if isinstance(result, Optional) else result, dtype=np.float64)


def recorded(result):
    """A result as it stands in the file: None, a flag, or shape and values of an array."""
    if result is None or isinstance(result, bool):
        return result
    array = numbers(result)
    digits = [float(f"{value:.10g}") for value in array.ravel()]  # far more than are compared
    optional = {"optional": True} if isinstance(result, Optional) else {}
    return {**optional, "shape": list(array.shape), "values": digits}


def same(array, other):
    return array.shape == other.shape and close(array, other).all()


def add_mistake(answer, mistake, right, result):
    """Note beside an answer what the mistake makes of it, if it changes it: as the numbers, as the
    name of another mistake with the same numbers, or as None where it makes inf or nan.

    Args:
        answer: as recorded; added to, if it is a dict.
        mistake (str): its words.
        right, result: what is recorded, and what the mistake makes of it.
    """
    if not isinstance(answer, dict) or same(numbers(right), numbers(result)):
        return
    others = answer.setdefault("mistakes", {})
    made = recorded(result) if np.isfinite(numbers(result)).all() else None
    for name, other in others.items():
        if isinstance(made, dict) and isinstance(other, dict) and (
                same(numbers(result), as_array(other))):
            made = name
    others[mistake] = made


def work_out(case, seed, sections):
    """The answers to one graded test: label → answer, with its mistakes.

    Args:
        case (graded.Case): the test.
        seed (int): of its inputs.
        sections (dict): mistake → the part of the homework, such as "2.4", where it was first
            noted; added to. Later parts, which only build on that one, do not record it again.
    """
    given = case.draw(seed)

    def results():
        return WORKED_OUT_BY[case.name](given)

    wrong.noted = {}
    right = results()
    answers = {label: recorded(result) for label, result in right.items()}
    section = BY_KEY[case.key].number[:3]
    for mistake in [m for m in wrong.noted if sections.setdefault(m, section) == section]:
        try:
            with wrong.making(mistake):
                mistaken = results()
        except ValueError:  # shapes that do not fit: it ends there, not in wrong numbers
            continue
        for label, answer in answers.items():
            add_mistake(answer, mistake, right[label], mistaken[label])
    return answers


def work_out_all(seed):
    """What the file holds: the seed, and the answers to every graded test."""
    sections = {}
    with np.errstate(all="ignore"):  # some mistakes divide by zero
        return {"seed": seed, "answers": {name: work_out(case, seed, sections)
                                          for name, case in CASES.items() if case.scored}}


def as_json(seed):
    """The text of the file, with one label to a line, so that a person can compare two of them."""
    cases = []
    for name, answers in work_out_all(seed)["answers"].items():
        lines = [f" {json.dumps(label)}: {json.dumps(answer, allow_nan=False)}"
                 for label, answer in answers.items()]
        cases.append(json.dumps(name) + ": {\n" + ",\n".join(lines) + "}")
    return f'{{"seed": {seed}, "answers": {{\n' + ",\n".join(cases) + "}}\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Write the answers to the graded tests.")
    parser.add_argument("file", nargs="?", default=str(FILE), metavar="FILE")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the inputs; default {SEED}")
    options = parser.parse_args(arguments)
    Path(options.file).write_text(as_json(options.seed), encoding="ascii")


if __name__ == "__main__":
    main()
