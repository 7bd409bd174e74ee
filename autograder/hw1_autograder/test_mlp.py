"""The graded tests of problems 2.1 to 2.6: layers, loss and optimizer.
Each says what it draws and what it calls; ./grade.sh 1 compares what it returns."""

import numpy as np

from graded import constant, graded, labels, leaf, my, with_zeros

ONE_LAYER = dict(weight=(3, 4), bias=(3,))
TWO_LAYERS = dict(weight=(4, 5), bias=(4,), weight2=(3, 4), bias2=(3,))
BATCHNORM = dict(gamma=(3,), beta=(3,))
TWO_BATCHNORMS = dict(gamma=(4,), beta=(4,), gamma2=(3,), beta2=(3,))


def linear(weight, bias):
    """The student's Linear with these weights, so that nothing depends on how it starts."""
    layer = my.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight.copy()
    layer.bias.data = bias.copy()
    return layer


def batchnorm(gamma, beta, **options):
    """The student's BatchNorm1d with these parameters."""
    layer = my.BatchNorm1d(len(gamma), **options)
    layer.gamma.data = gamma.copy()
    layer.beta.data = beta.copy()
    return layer


def two_layers(given):
    """Sequential of Linear, ReLU, Linear, ReLU."""
    return my.Sequential(linear(given.weight, given.bias), my.ReLU(),
                         linear(given.weight2, given.bias2), my.ReLU())


def two_layers_with_batchnorm(given):
    """Sequential of Linear, BatchNorm1d, ReLU, Linear, BatchNorm1d, ReLU."""
    return my.Sequential(
        linear(given.weight, given.bias), batchnorm(given.gamma, given.beta), my.ReLU(),
        linear(given.weight2, given.bias2), batchnorm(given.gamma2, given.beta2), my.ReLU())


def gradients(**layers):
    """The gradients of the parameters of layers, labelled for the report."""
    return {f"gradient of {name}.{parameter}": getattr(layer, parameter).grad
            for name, layer in layers.items()
            for parameter in ("weight", "bias", "gamma", "beta") if hasattr(layer, parameter)}


def values(**layers):
    """The parameters and running averages of layers, labelled for the report."""
    names = ("weight", "bias", "gamma", "beta", "running_mean", "running_var")
    return {f"{layer_name}.{name}": getattr(layer, name)
            for layer_name, layer in layers.items() for name in names if hasattr(layer, name)}


def running_averages(**layers):
    """The running averages of BatchNorm1d layers, labelled for the report."""
    return {f"{name}.{average}": my.Tensor(getattr(layer, average).data.copy())
            for name, layer in layers.items() for average in ("running_mean", "running_var")}


# 2.1 Linear


@graded("Linear Forward", x=(5, 4), **ONE_LAYER)
def test_linear_forward(given):
    return {"output": linear(given.weight, given.bias)(constant(given.x))}


@graded("Linear Forward", x=(1, 4), **ONE_LAYER)
def test_linear_forward_of_one_row(given):
    return {"output": linear(given.weight, given.bias)(constant(given.x))}


@graded("Linear Forward", x=(5, 4), changed=(3, 4), **ONE_LAYER)
def test_linear_forward_after_its_weights_have_changed(given):
    layer = linear(given.weight, given.bias)
    layer(constant(given.x))
    layer.weight.data = given.changed.copy()
    return {"output": layer(constant(given.x))}


@graded("Linear Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    (layer(x) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Backward", x=(1, 4), upstream=(1, 3), **ONE_LAYER)
def test_linear_backward_of_one_row(given):
    layer = linear(given.weight, given.bias)
    (layer(constant(given.x)) * constant(given.upstream)).backward()
    return gradients(layer=layer)


@graded("Linear Backward", x=(3, 4), weight=(4, 4), bias=(4,), upstream=(3, 4))
def test_linear_used_twice(given):
    layer = linear(given.weight, given.bias)
    (layer(layer(constant(given.x))) * constant(given.upstream)).backward()
    return gradients(layer=layer)


# 2.2 ReLU and Sequential


@graded("Linear ReLU Forward", z=with_zeros(4, 3))
def test_relu_forward(given):
    z = constant(given.z)
    return {"ReLU()(z)": my.ReLU()(z), "z, afterwards": z}


@graded("Linear ReLU Forward", x=(5, 4), **ONE_LAYER)
def test_linear_relu_forward(given):
    model = my.Sequential(linear(given.weight, given.bias), my.ReLU())
    return {"output": model(constant(given.x))}


@graded("Linear ReLU Backward", z=(4, 3), c=(4, 3), upstream=(4, 3))
def test_relu_leaves_the_upstream_gradient_to_others(given):
    c = leaf(given.c)
    ((my.ReLU()(leaf(given.z)) + c) * constant(given.upstream)).backward()
    return {"gradient of c": c.grad}


@graded("Linear ReLU Backward", z=with_zeros(4, 3), upstream=(4, 3))
def test_relu_backward_at_and_around_zero(given):
    z = leaf(given.z)
    (my.ReLU()(z) * constant(given.upstream)).backward()
    return {"gradient of z": z.grad}


@graded("Linear ReLU Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_relu_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    model = my.Sequential(layer, my.ReLU())
    (model(x) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Big Linear ReLU Forward", x=(6, 5), **TWO_LAYERS)
def test_two_layers_forward(given):
    return {"output": two_layers(given)(constant(given.x))}


@graded("Big Linear ReLU Backward", x=(6, 5), upstream=(6, 3), **TWO_LAYERS)
def test_two_layers_backward(given):
    model, x = two_layers(given), leaf(given.x)
    (model(x) * constant(given.upstream)).backward()
    return {**gradients(layer1=model[0], layer2=model[2]), "gradient of x": x.grad}


# 2.3 SGD


def flags(**parameters):
    """What a parameter must stay, labelled for the report."""
    return {f"{name}.{flag}": getattr(parameter, flag) for name, parameter in parameters.items()
            for flag in ("is_leaf", "requires_grad", "is_parameter")}


@graded("Linear ReLU SGD Step", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_one_step(given):
    layer = linear(given.weight, given.bias)
    model = my.Sequential(layer, my.ReLU())
    optimizer = my.SGD(model.parameters(), lr=0.3)
    (model(constant(given.x)) * constant(given.upstream)).backward()
    optimizer.step()
    return {**values(layer=layer), **flags(weight=layer.weight, bias=layer.bias)}


@graded("Linear ReLU SGD Step", x=(3, 5, 4), upstream=(3, 5, 3), **ONE_LAYER)
def test_zero_grad_between_steps(given):
    layer = linear(given.weight, given.bias)
    model = my.Sequential(layer, my.ReLU())
    optimizer = my.SGD(model.parameters(), lr=0.3)
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
    return values(layer=layer)


@graded("Big Linear ReLU SGD Step", x=(3, 6, 5), upstream=(3, 6, 3), **TWO_LAYERS)
def test_steps_of_two_layers(given):
    model = two_layers(given)
    optimizer = my.SGD(model.parameters(), lr=0.1)
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
    return {**values(layer1=model[0], layer2=model[2]),
            **flags(weight1=model[0].weight, weight2=model[2].weight)}


# 2.4 BatchNorm


def uneven_scales(rows, features):
    """A batch whose features differ in mean and scale; the variance of the last is below ε."""
    scales = 10.0 ** np.linspace(0.5, -3, features)
    return lambda random: (random.standard_normal((rows, features)) + 2) * scales


@graded("Linear Batchnorm ReLU Forward (Train)", x=uneven_scales(6, 3), **BATCHNORM)
def test_batchnorm_forward(given):
    x = constant(given.x)
    return {"output": batchnorm(given.gamma, given.beta)(x), "x, afterwards": x}


@graded("Linear Batchnorm ReLU Forward (Train)", x=uneven_scales(6, 3), **BATCHNORM)
def test_batchnorm_forward_with_another_eps(given):
    return {"output": batchnorm(given.gamma, given.beta, eps=0.1)(constant(given.x))}


@graded("Linear Batchnorm ReLU Forward (Train)", x=(5, 4), **ONE_LAYER, **BATCHNORM)
def test_linear_batchnorm_relu_forward(given):
    model = my.Sequential(linear(given.weight, given.bias),
                          batchnorm(given.gamma, given.beta), my.ReLU())
    return {"output": model(constant(given.x))}


@graded("Linear Batchnorm ReLU Backward (Train)", x=uneven_scales(6, 3), upstream=(6, 3),
        **BATCHNORM)
def test_batchnorm_backward(given):
    layer, x = batchnorm(given.gamma, given.beta), leaf(given.x)
    (layer(x) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 4), upstream=(5, 3), **ONE_LAYER,
        **BATCHNORM)
def test_linear_batchnorm_relu_backward(given):
    layer, norm = linear(given.weight, given.bias), batchnorm(given.gamma, given.beta)
    model, x = my.Sequential(layer, norm, my.ReLU()), leaf(given.x)
    (model(x) * constant(given.upstream)).backward()
    return {**gradients(linear=layer, batchnorm=norm), "gradient of x": x.grad}


@graded("Linear Batchnorm ReLU Train/Eval", x=(3, 6, 3), **BATCHNORM)
def test_running_averages_over_three_batches(given):
    layer = batchnorm(given.gamma, given.beta)
    averages = {}
    for batch, x in enumerate(given.x * [3.0, 1.0, 0.2] + [1.0, -2.0, 0.5], start=1):
        layer(constant(x))
        averages.update(running_averages(**{f"after batch {batch}, layer": layer}))
    return averages


@graded("Linear Batchnorm ReLU Train/Eval", x=(6, 3), **BATCHNORM)
def test_running_averages_with_another_momentum(given):
    layer = batchnorm(given.gamma, given.beta, momentum=0.4)
    layer(constant(given.x))
    return running_averages(layer=layer)


@graded("Linear Batchnorm ReLU Train/Eval", x=(6, 3), other=(4, 3), row=(1, 3), **BATCHNORM)
def test_evaluation_uses_the_running_averages_and_keeps_them(given):
    layer = batchnorm(given.gamma, given.beta)
    layer(constant(given.x))
    layer.eval()
    outputs = {"output in evaluation": layer(constant(given.other)),
               "output in evaluation, one row": layer(constant(given.row))}
    return {**outputs, **running_averages(layer=layer)}


@graded("Linear Batchnorm ReLU Train/Eval", x=(3, 5, 4), upstream=(3, 5, 3), other=(4, 4),
        **ONE_LAYER, **BATCHNORM)
def test_linear_batchnorm_relu_trained_and_evaluated(given):
    layer, norm = linear(given.weight, given.bias), batchnorm(given.gamma, given.beta)
    model = my.Sequential(layer, norm, my.ReLU())
    optimizer = my.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
    model.eval()
    evaluated = model(constant(given.other))
    model.train()
    trained_again = model(constant(given.other))
    return {**values(linear=layer, batchnorm=norm), "output in evaluation": evaluated,
            "output in training again": trained_again}


@graded("Big Linear Batchnorm ReLU Train/Eval", x=(3, 6, 5), upstream=(3, 6, 3), other=(4, 5),
        row=(1, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_two_layers_with_batchnorm_trained_and_evaluated(given):
    model = two_layers_with_batchnorm(given)
    optimizer = my.SGD(model.parameters(), lr=0.05)
    for x, upstream in zip(given.x, given.upstream):
        model.train()
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
        model.eval()
        evaluated, one_row = model(constant(given.other)), model(constant(given.row))
    return {**values(linear1=model[0], batchnorm1=model[1], linear2=model[3],
                     batchnorm2=model[4]),
            "output in evaluation": evaluated, "output in evaluation, one row": one_row}


# 2.5 Cross entropy


@graded("Linear XELoss Forward", x=(6, 4), labels=labels(6, 3), **ONE_LAYER)
def test_cross_entropy_forward(given):
    logits = linear(given.weight, given.bias)(constant(given.x))
    return {"loss": my.CrossEntropyLoss()(logits, my.Tensor(given.labels))}


@graded("Linear XELoss Forward", logits=(6, 3), labels=labels(6, 3))
def test_cross_entropy_of_large_logits(given):
    logits = constant(1000 * np.sign(given.logits) + given.logits)
    return {"loss": my.F.cross_entropy(logits, my.Tensor(given.labels)),
            "logits, afterwards": logits}


@graded("Linear XELoss Forward", logits=(1, 5), labels=labels(1, 5))
def test_cross_entropy_of_one_row(given):
    return {"loss": my.F.cross_entropy(constant(given.logits), my.Tensor(given.labels))}


@graded("Linear XELoss Backward", logits=(6, 4), labels=labels(6, 4))
def test_cross_entropy_backward(given):
    logits = leaf(given.logits)
    my.CrossEntropyLoss()(logits, my.Tensor(given.labels)).backward()
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", logits=(6, 4), labels=labels(6, 4))
def test_cross_entropy_backward_twice(given):
    logits = leaf(given.logits)
    loss = my.CrossEntropyLoss()(logits, my.Tensor(given.labels))
    loss.backward()
    loss.backward()
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", x=(6, 4), labels=labels(6, 3), **ONE_LAYER)
def test_linear_cross_entropy_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    my.CrossEntropyLoss()(layer(x), my.Tensor(given.labels)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear XELoss Backward", logits=(5, 3), labels=labels(5, 3), factor=())
def test_cross_entropy_within_a_larger_computation(given):
    logits = leaf(given.logits)
    loss = my.F.cross_entropy(logits, my.Tensor(given.labels))
    (loss * my.Tensor(given.factor)).backward()
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", logits=(6, 3), labels=labels(6, 3))
def test_cross_entropy_backward_of_large_logits(given):
    logits = leaf(1000 * np.sign(given.logits) + given.logits)
    my.F.cross_entropy(logits, my.Tensor(given.labels)).backward()
    return {"gradient of the logits": logits.grad}


def train_with_cross_entropy(given, **options):
    """Train the big network on batches of classes; what it has become, and its evaluation."""
    model = two_layers_with_batchnorm(given)
    criterion = my.CrossEntropyLoss()
    optimizer = my.SGD(model.parameters(), **options)
    results = {}
    for step, (x, targets) in enumerate(zip(given.x, given.labels.reshape(len(given.x), -1)), 1):
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(constant(x)), my.Tensor(targets))
        loss.backward()
        optimizer.step()
        results[f"loss of batch {step}"] = loss
    model.eval()
    return {**results, **values(linear1=model[0], batchnorm1=model[1], linear2=model[3],
                                batchnorm2=model[4]),
            "output in evaluation": model(constant(given.other))}


@graded("Big Linear BN Relu XELoss Train/Eval", x=(3, 6, 5), labels=labels(18, 3), other=(4, 5),
        **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_cross_entropy(given):
    return train_with_cross_entropy(given, lr=0.2)


# 2.6 Momentum


@graded("Linear Momentum Step", x=(4, 5, 4), upstream=(4, 5, 3), **ONE_LAYER)
def test_momentum_over_four_steps(given):
    layer = linear(given.weight, given.bias)
    optimizer = my.SGD([layer.weight, layer.bias], lr=0.1, momentum=0.8)
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (layer(constant(x)) * constant(upstream)).backward()
        optimizer.step()
    return {**values(layer=layer), **flags(weight=layer.weight, bias=layer.bias)}


@graded("Linear Momentum Step", x=(3, 5, 4), upstream=(3, 5, 4), weight=(4, 4), bias=(4,),
        weight2=(4, 4), bias2=(4,))
def test_each_parameter_has_a_momentum_of_its_own(given):
    model = my.Sequential(linear(given.weight, given.bias), linear(given.weight2, given.bias2))
    optimizer = my.SGD(model.parameters(), lr=0.1, momentum=0.5)
    for x, upstream in zip(given.x, given.upstream):
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
    return values(layer1=model[0], layer2=model[1])


@graded("Big Linear ReLU XELoss Momentum Train/Eval", x=(4, 6, 5), labels=labels(24, 3),
        other=(4, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_momentum(given):
    return train_with_cross_entropy(given, lr=0.1, momentum=0.7)
