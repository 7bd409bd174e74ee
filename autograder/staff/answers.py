"""Works out what the graded tests expect, from formulas in NumPy alone: no mytorch is imported.
python3 autograder/staff/answers.py [--seed N] [FILE] writes it; --referee asks PyTorch instead."""

import argparse
import json
import sys
import types
from pathlib import Path

import numpy as np

GRADER = Path(__file__).resolve().parents[1] / "hw1_autograder"
sys.path.insert(0, str(GRADER))

import test_autograd  # noqa: E402, F401  (registers its tests in graded.CASES)
import test_mlp  # noqa: E402, F401
from by_hand import (  # noqa: E402
    SGD, BatchNorm, CrossEntropy, Linear, ReLU, WeighedSum, differentiate, evaluate, forward,
    gradient, train_forward, wrong)
from graded import CASES  # noqa: E402
from judge import as_array, close  # noqa: E402
from problems import BY_KEY  # noqa: E402

SEED = 11785
FILE = GRADER / "answers.json"


def gradients(g, f, **formulas):
    """The labelled gradients of the sum of ``f()`` by the drawn inputs of these names."""
    return {f"gradient of {name}": gradient(formula, f, getattr(g, name))
            for name, formula in formulas.items()}


# From here on ``g`` is what the tests call ``given``: the drawn inputs of one test.
# 1.1 Operations of two tensors


def operation(g, f, by_a, by_b):
    """Results of the operation f(a, b), whose derivatives are ``by_a`` and ``by_b``."""
    upstream = np.ones_like(g.upstream) if wrong("the upstream gradient ignored") else g.upstream
    grad_a, grad_b = upstream * by_a, upstream * by_b
    if np.ndim(by_a) and wrong("the gradients of a and b in each other's place"):
        grad_a, grad_b = grad_b, grad_a
    overwritten = wrong("the gradient of a, written over the upstream gradient")
    return {"output of forward": f(g.a, g.b),
            **gradients(g, lambda: g.upstream * f(g.a, g.b), a=grad_a, b=grad_b),
            "a, afterwards": g.a, "b, afterwards": g.b,
            "upstream gradient, afterwards": grad_a if overwritten else g.upstream}


def minus(a, b):
    if wrong("a + b instead of a - b"):
        return a + b
    return b - a if wrong("b - a instead of a - b") else a - b


def times(a, b):
    square = a.shape == a.shape[::-1]
    return a @ b if square and wrong("the matrix product a @ b instead of a * b") else a * b


def divided_by(a, b):
    return b / a if wrong("b / a instead of a / b") else a / b


def division(g):
    by_b = -g.a / g.b**2
    if wrong("-a/b instead of -a/b²"):
        by_b = -g.a / g.b
    if wrong("-1/b² instead of -a/b²"):
        by_b = -1 / g.b**2
    by_a = g.b if wrong("times b instead of divided by b") else 1 / g.b
    return operation(g, divided_by, by_a, by_b)


OPERATIONS = {
    "test_addition": lambda g: operation(g, np.add, 1, 1),
    "test_operator_plus": lambda g: {"a + b": g.a + g.b},
    "test_operator_minus": lambda g: {
        "a - b": g.a + g.b if wrong("the operator - adds") else minus(g.a, g.b)},
    "test_subtraction": lambda g: operation(g, minus, 1, -1),
    "test_subtraction_of_three_axes": lambda g: operation(g, minus, 1, -1),
    "test_operator_times": lambda g: {
        "a * b": g.a + g.b if wrong("the operator * adds") else times(g.a, g.b)},
    "test_multiplication": lambda g: operation(g, times, g.b, g.a),
    "test_multiplication_of_square_matrices_is_by_entry":
        lambda g: operation(g, times, g.b, g.a),
    "test_multiplication_by_zero": lambda g: operation(g, times, g.b, g.a),
    "test_operator_divided_by": lambda g: {
        "a / b": g.a * g.b if wrong("the operator / multiplies") else divided_by(g.a, g.b)},
    "test_division": division,
    "test_division_by_small_numbers": division,
    "test_division_of_vectors": division,
}


# 1.2 Autograd


def flags_of_results(g):
    requires = {"leaf + leaf": True, "leaf + constant": True, "constant + leaf": True,
                "constant + constant": False, "result + constant": True,
                "constant + result": True}
    return {f"({result}).{flag}": required == (flag == "requires_grad")
            for result, required in requires.items() for flag in ("requires_grad", "is_leaf")}


def chain(g):
    grad = g.weights
    if wrong("the gradient not handed down: each operation starts from ones"):
        grad = np.ones_like(g.a)
    return gradients(g, lambda: (g.a * g.b + g.c) * g.weights, a=grad * g.b, b=grad * g.a, c=grad)


def used_twice_by_one(g):
    once = wrong("only one of the two gradients kept where a tensor is both operands")
    return gradients(g, lambda: g.a**2 * g.weights, a=g.weights * g.a * (1 if once else 2))


def used_early_and_late(g):
    shared = (g.p * g.q + 1) * g.r
    found = gradients(g, lambda: (g.a * g.b * g.p * g.q + g.a * g.b) * g.r,
                      a=shared * g.b, b=shared * g.a)
    return {f"{label}, used {order} first": grad
            for order in ("late", "early") for label, grad in found.items()}


def without_rounding(f, a):
    """The derivative of ``f``, which works entry by entry, from one step along the imaginary axis:
    no difference is taken, so that it may be as small as 1e-200."""
    return f(a + 1e-200j).imag / 1e-200


def given_one_gradient(g, scale, labels):
    """Of ``(b * p + a * q) + (a + b)``, where a and b may be results of a multiplication."""
    def f():
        return g.b * scale * (g.p + 1) + g.a * scale * (g.q + 1)

    return {f"{name}, with {label}": array for label in labels for name, array in gradients(
        g, f, a=scale * (g.q + 1), b=scale * (g.p + 1)).items()}


def larger_computation(g):
    found = {}
    for order, exchanged in {"": False, ", operands exchanged": True}.items():
        arrays = {name: getattr(g, name) for name in "abcpq"}
        for name in "abc":
            def f(array, name=name):
                return test_autograd.larger_computation(
                    **{**arrays, name: array}, exchanged=exchanged)
            found[f"gradient of {name}{order}"] = without_rounding(f, arrays[name])
    return found


def operators_that_take_part(g):
    kinds = {"leaf {} leaf": "ab", "leaf {} constant": "a", "constant {} leaf": "b"}
    return {f"{operands.format(sign)}: a gradient of {name}": True
            for sign in "-*/" for operands, names in kinds.items() for name in names}


AUTOGRAD = {
    "test_a_result_requires_grad_when_an_operand_does": flags_of_results,
    "test_backward_starts_from_ones": lambda g: gradients(
        g, lambda: g.a + g.b, a=np.ones_like(g.a), b=np.ones_like(g.b)),
    "test_a_chain_of_operations": chain,
    "test_the_example_of_the_handout": lambda g: {
        "e": g.a + g.a * g.b + g.c + 3, **gradients(
            g, lambda: g.a + g.a * g.b + g.c + 3,
            a=1 + g.b, b=g.a, c=np.ones_like(g.c))},
    "test_a_leaf_used_twice_by_one_operation": used_twice_by_one,
    "test_a_result_used_twice": lambda g: gradients(
        g, lambda: g.a * g.b * g.p + g.a * g.b * g.q,
        a=(g.p + g.q) * g.b, b=(g.p + g.q) * g.a),
    "test_a_result_used_early_and_late": used_early_and_late,
    "test_six_results_each_used_twice": lambda g: gradients(
        g, lambda: g.a * (g.weights + 1).prod(axis=0), a=(g.weights + 1).prod(axis=0)),
    "test_a_constant_gets_no_gradient": lambda g: {
        **gradients(g, lambda: g.a * g.c + g.c, a=g.c), "gradient of the constant": None},
    "test_a_constant_as_the_first_operand": lambda g: gradients(g, lambda: g.c * g.a, a=g.c),
    "test_constants_as_first_operands_of_a_chain": lambda g: gradients(
        g, lambda: g.p * (g.c + g.q * g.a**2), a=g.p * g.q * 2 * g.a),
    "test_every_operator_takes_part": operators_that_take_part,
    "test_gradients_are_stored_on_leaves_only": lambda g: {
        **gradients(g, lambda: g.a * g.b * g.weights, a=g.weights * g.b),
        "(a * b).grad": None, "(a * b * weights).grad": None},
    "test_backward_twice_adds_the_gradients_twice": lambda g: gradients(
        g, lambda: 2 * g.a * g.b * (g.weights + 1),
        a=2 * (g.weights + 1) * g.b, b=2 * (g.weights + 1) * g.a),
    "test_gradients_of_two_computations_add_up": lambda g: gradients(
        g, lambda: (g.a + g.b) * g.p + g.a * g.q, a=g.p + g.q, b=g.p),
    "test_a_gradient_set_back_to_none": lambda g: {
        "gradient of a, of the second backward() alone": gradient(g.p, lambda: g.a * g.p, g.a),
        "gradient of b": gradient(g.a, lambda: g.a * g.b, g.b)},
    "test_two_results_that_share_a_part": lambda g: {
        **gradients(g, lambda: g.a * g.b * (g.p + g.q) + g.a, a=g.b * (g.p + g.q) + 1,
                    b=g.a * (g.p + g.q)), "a, after backward()": g.a},
    "test_leaves_that_are_given_one_gradient": lambda g: given_one_gradient(
        g, np.ones_like(g.a), ("a + b last", "a + b first")),
    "test_results_that_are_given_one_gradient": lambda g: given_one_gradient(
        g, g.r, ("the sum last", "the sum first")),
    "test_a_larger_computation": larger_computation,
}


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


def referee(seed):
    """Print how far some large cases are from what PyTorch makes of the same inputs."""
    try:
        import torch
        from torch import nn
    except ImportError:
        sys.exit("--referee needs PyTorch, which is not installed here")

    def tensor(array):
        return torch.tensor(array, requires_grad=array.dtype == np.float64)

    def filled(network, *arrays):
        for parameter, array in zip(network.double().parameters(), arrays):
            parameter.data = torch.tensor(array)
        return network

    def differentiated(network, x, loss):
        x = tensor(x)
        loss(network(x)).backward()
        return [parameter.grad for parameter in network.parameters()] + [x.grad]

    def cross_entropy(labels):
        return lambda logits: nn.functional.cross_entropy(logits, tensor(labels))

    def trained(g, **options):
        network = filled(
            nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(),
                          nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()),
            g.weight, g.bias, g.gamma, g.beta, g.weight2, g.bias2, g.gamma2, g.beta2)
        optimizer, losses = torch.optim.SGD(network.parameters(), **options), []
        for x, labels in zip(g.x, g.labels.reshape(len(g.x), -1)):
            optimizer.zero_grad()
            losses.append(cross_entropy(labels)(network(tensor(x))))
            losses[-1].backward()
            optimizer.step()
        state = [v for k, v in network.state_dict().items() if "num_batches" not in k]
        return losses + state + [network.eval()(tensor(g.other))]

    by_pytorch = {
        "test_batchnorm_backward": lambda g: differentiated(
            filled(nn.BatchNorm1d(3), g.gamma, g.beta), g.x,
            lambda output: (output * tensor(g.upstream)).sum()),
        "test_linear_cross_entropy_backward": lambda g: differentiated(
            filled(nn.Linear(4, 3), g.weight, g.bias), g.x, cross_entropy(g.labels)),
        "test_big_network_trained_with_cross_entropy": lambda g: trained(g, lr=0.2),
        "test_big_network_trained_with_momentum": lambda g: trained(g, lr=0.1, momentum=0.7),
    }
    for name, results in by_pytorch.items():
        ours = list(WORKED_OUT_BY[name](CASES[name].draw(seed)).values())
        theirs = [result.detach().numpy() for result in results(CASES[name].draw(seed))]
        assert len(ours) == len(theirs)
        apart = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6)
                    for a, b in zip(ours, theirs))
        print(f"{name:44} largest relative difference {apart:.1e}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Write the answers to the graded tests.")
    parser.add_argument("file", nargs="?", default=str(FILE), metavar="FILE")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the inputs; default {SEED}")
    parser.add_argument("--referee", action="store_true",
                        help="write nothing; print the largest relative differences from PyTorch")
    options = parser.parse_args(arguments)
    if options.referee:
        referee(options.seed)
    else:
        Path(options.file).write_text(as_json(options.seed), encoding="ascii")


if __name__ == "__main__":
    main()
