"""What the tests of problems 2.1 to 2.6 build of the student's layers, and what they read off them.
Weights are drawn, so that nothing depends on how a layer starts."""

import numpy as np

from grader.graded import Numbers, constant, leaf, my, truth

ONE_LAYER = dict(weight=(3, 4), bias=(3,))
TWO_LAYERS = dict(weight=(4, 5), bias=(4,), weight2=(3, 4), bias2=(3,))
THREE_LAYERS = dict(weight=(3, 3), bias=(3,), weight2=(3, 3), bias2=(3,), weight3=(3, 3),
                    bias3=(3,))
BATCHNORM = dict(gamma=(3,), beta=(3,))
TWO_BATCHNORMS = dict(gamma=(4,), beta=(4,), gamma2=(3,), beta2=(3,))


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


def two_layers(given):
    """Sequential of Linear, ReLU, Linear, ReLU; and the layers with parameters, by name."""
    layers = {"layer1": linear(given.weight, given.bias),
              "layer2": linear(given.weight2, given.bias2)}
    first, second = layers.values()
    return my.Sequential(first, my.ReLU(), second, my.ReLU()), layers


def two_layers_with_batchnorm(given):
    """Sequential of Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d, ReLU; and those with
    parameters, by name."""
    layers = {"linear1": linear(given.weight, given.bias),
              "batchnorm1": batchnorm(given.gamma, given.beta),
              "linear2": linear(given.weight2, given.bias2),
              "batchnorm2": batchnorm(given.gamma2, given.beta2)}
    linear1, batchnorm1, linear2, batchnorm2 = layers.values()
    return my.Sequential(linear1, batchnorm1, my.ReLU(),
                         linear2, batchnorm2, my.ReLU()), layers


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
    product = output * constant(upstream)
    product.backward()
    product.backward()
    return {"gradient of x after two backward()": x.grad, "output, after backward()": output}


def beside_another(layer, x, c, upstream):
    """The gradients of ``layer(x) + c`` and ``c + layer(x)``: an Add may give one and the same
    gradient to both, so neither may write into it."""
    found = {}
    for sum_of in "layer(x) + c", "c + layer(x)":
        x_leaf, c_leaf = leaf(x), leaf(c)
        output = layer(x_leaf)
        total = c_leaf + output if sum_of.startswith("c") else output + c_leaf
        (total * constant(upstream)).backward()
        found[f"{sum_of}: gradient of c"] = c_leaf.grad
        found[f"{sum_of}: gradient of x"] = x_leaf.grad
    return found


def flags(**parameters):
    """What a parameter must stay, labelled for the report."""
    return {f"{name}.{flag}": truth(getattr(parameter, flag))
            for name, parameter in parameters.items() for flag in ("is_leaf", "requires_grad")}


def train(model, optimizer, given):
    """Take a step with each batch of ``given.x``."""
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
