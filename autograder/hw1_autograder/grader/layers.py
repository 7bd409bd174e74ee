"""What the tests of problems 2.1 to 2.6 build of the student's layers, and what they read off them.
Weights are drawn, so that nothing depends on how a layer starts."""

import numpy as np

from grader.graded import (
    Numbers, away_from_zero, constant, leaf, my, noted, positive, times, truth)
from grader.operations import plus, weigh

ONE_LAYER = dict(weight=(3, 4), bias=(3,))
TWO_LAYERS = dict(weight=(4, 5), bias=(4,), weight2=(3, 4), bias2=(3,))
THREE_LAYERS = dict(weight=(3, 3), bias=(3,), weight2=(3, 3), bias2=(3,), weight3=(3, 3),
                    bias3=(3,))
BATCHNORM = dict(gamma=(3,), beta=(3,))
# The second one multiplies, so that gradients are above 1, and adds little, but not nothing, so that
# ReLU has entries of both signs.
TWO_BATCHNORMS = dict(gamma=(4,), beta=(4,), gamma2=times(4, away_from_zero(3)),
                      beta2=times(0.2, positive(3)))


def with_values(layer, **parameters):
    """The layer with copies of these arrays as its parameters, in the precision it works in; a
    bias, gamma or beta may also have the shape (1, F)."""
    for name, array in parameters.items():
        data = getattr(layer, name).data
        dtype = np.float32 if data.dtype == np.float32 else np.float64
        shape = data.shape if data.shape == (1, *array.shape) else array.shape
        getattr(layer, name).data = array.astype(dtype).reshape(shape)
    return layer


def linear(weight, bias):
    """The student's Linear with these weights, so that nothing depends on how it starts."""
    return with_values(my.Linear(weight.shape[1], weight.shape[0]), weight=weight, bias=bias)


def batchnorm(gamma, beta, **options):
    """The student's BatchNorm1d with these parameters."""
    return with_values(my.BatchNorm1d(len(gamma), **options), gamma=gamma, beta=beta)


class Network:
    """Layers that a test calls one after another, so that a mistake in Sequential.forward costs
    once. A Sequential holds them, for parameters(), train() and eval().

    Args:
        layers (dict): by name; those without parameters too.
        call: takes the input; calls the layers.
    """

    def __init__(self, layers, call):
        self.model = my.Sequential(*layers.values())
        self.with_parameters = {name: layer for name, layer in layers.items()
                                if not name.startswith("relu")}
        self.call = call

    def __call__(self, x):
        return self.call(x)


def two_layers(given):
    """The network Linear, ReLU, Linear, ReLU."""
    layer1, layer2 = linear(given.weight, given.bias), linear(given.weight2, given.bias2)
    relu1, relu2 = my.ReLU(), my.ReLU()
    return Network(dict(layer1=layer1, relu1=relu1, layer2=layer2, relu2=relu2),
                   lambda x: relu2(layer2(relu1(layer1(x)))))


def two_layers_with_batchnorm(given):
    """The network Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d, ReLU."""
    linear1, linear2 = linear(given.weight, given.bias), linear(given.weight2, given.bias2)
    batchnorm1 = batchnorm(given.gamma, given.beta, eps=0.1)  # so large that each ε counts
    batchnorm2 = batchnorm(given.gamma2, given.beta2, eps=0.1)
    relu1, relu2 = my.ReLU(), my.ReLU()
    return Network(
        dict(linear1=linear1, batchnorm1=batchnorm1, relu1=relu1,
             linear2=linear2, batchnorm2=batchnorm2, relu2=relu2),
        lambda x: relu2(batchnorm2(linear2(relu1(batchnorm1(linear1(x)))))))


def parameters_of(layers):
    """The parameters of layers, by "layer.weight" and the like."""
    names = ("weight", "bias", "gamma", "beta")
    return {f"{layer_name}.{name}": getattr(layer, name)
            for layer_name, layer in layers.items() for name in names if hasattr(layer, name)}


def as_the_formulas(label, parameter, result):
    """A parameter, or its gradient, as the formulas have it: of shape (F,) where both are (1, F)."""
    if label.endswith(".weight") or getattr(parameter.data, "ndim", 0) != 2 or (
            np.shape(getattr(result, "data", None)) != parameter.data.shape):
        return result
    return Numbers(result)


def gradients(**layers):
    """The gradients of the parameters of layers, labelled for the report."""
    return {f"gradient of {label}": as_the_formulas(label, parameter, parameter.grad)
            for label, parameter in parameters_of(layers).items()}


def values(**layers):
    """The parameters and running averages of layers, labelled for the report."""
    found = {label: as_the_formulas(label, parameter, parameter)
             for label, parameter in parameters_of(layers).items()}
    return {**found, **running_averages(
        **{name: layer for name, layer in layers.items() if hasattr(layer, "running_mean")})}


def running_averages(**layers):
    """The running averages of BatchNorm1d layers, labelled for the report."""
    return {f"{name}.{average}": Numbers(getattr(layer, average))
            for name, layer in layers.items() for average in ("running_mean", "running_var")}


def three_linears(given):
    """Three Linear layers by name, all from 3 features to 3, so that any order of them fits."""
    return {"layer1": linear(given.weight, given.bias),
            "layer2": linear(given.weight2, given.bias2),
            "layer3": linear(given.weight3, given.bias3)}


def backward_twice(layer, x, upstream):
    """The gradient of x after two calls of backward() on one output, and that output."""
    x = leaf(x)
    output = layer(x)
    weigh(output, upstream)
    weigh(output, upstream)
    return {"gradient of x after two backward()": x.grad, "output, after backward()": output}


def beside_another(layer, x, c, upstream):
    """The gradients of ``layer(x) + c`` and ``c + layer(x)``: a sum may give one and the same
    gradient to both, so neither may write into it."""
    found = {}
    for sum_of in "layer(x) + c", "c + layer(x)":
        x_leaf, c_leaf = leaf(x), leaf(c)
        output = layer(x_leaf)
        weigh(plus(c_leaf, output) if sum_of.startswith("c") else plus(output, c_leaf), upstream)
        found[f"{sum_of}: gradient of c"] = c_leaf.grad
        found[f"{sum_of}: gradient of x"] = x_leaf.grad
    return found


def parameters(given, *names):
    """Leaves with drawn numbers, as an optimizer gets them; by name."""
    return {name: noted(my.Tensor(getattr(given, name).copy(), requires_grad=True,
                                  is_parameter=True)) for name in names}


def set_gradients(parameters, given, step):
    """Give each parameter the gradient that was drawn for it and this step."""
    for name, parameter in parameters.items():
        parameter.grad = constant(getattr(given, f"grad_{name}")[step])


def take_steps(optimizer, parameters, given, count):
    """Take steps with the drawn gradients, each after zero_grad()."""
    for step in range(count):
        optimizer.zero_grad()
        set_gradients(parameters, given, step)
        optimizer.step()


def flags(**parameters):
    """What a parameter must stay, labelled for the report."""
    return {f"{name}.{flag}": truth(getattr(parameter, flag))
            for name, parameter in parameters.items() for flag in ("is_leaf", "requires_grad")}


def train(network, optimizer, given):
    """Take a step with each batch of ``given.x``."""
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        weigh(network(constant(x)), upstream)
        optimizer.step()
