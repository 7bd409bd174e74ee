"""The graded tests of problems 2.1 to 2.6: layers, loss and optimizer.
Each says what it draws and what it calls; ./grade.sh 1 compares what it returns."""

import numpy as np

from grader.graded import (
    Numbers, batches_of_labels, constant, graded, labels, leaf, my, positive, times, truth,
    with_zeros)
from grader.layers import (
    BATCHNORM, ONE_LAYER, THREE_LAYERS, TWO_BATCHNORMS, TWO_LAYERS, backward_twice, batchnorm,
    beside_another, flags, gradients, linear, parameters, running_averages, set_gradients,
    take_steps, three_linears, train, two_layers, two_layers_with_batchnorm, values, with_values)
from grader.operations import weigh

# 2.1 Linear, alone and in a Sequential


@graded("Linear Forward", x=(5, 4), **ONE_LAYER)
def test_linear_forward(given):
    x = constant(given.x)
    return {"output": linear(given.weight, given.bias)(x), "x, afterwards": x}


@graded("Linear Forward", x=(1, 4), **ONE_LAYER)
def test_linear_forward_of_one_row(given):
    return {"output": linear(given.weight, given.bias)(constant(given.x))}


@graded("Linear Forward", x=(5, 4), changed=(3, 4), **ONE_LAYER)
def test_linear_forward_after_its_weights_have_changed(given):
    layer = linear(given.weight, given.bias)
    layer(constant(given.x))
    with_values(layer, weight=given.changed)
    return {"output": layer(constant(given.x))}


@graded("Linear Forward", x=(5, 4), **ONE_LAYER)
def test_linear_forward_in_a_sequential(given):
    model = my.Sequential(linear(given.weight, given.bias))
    return {"output of the Sequential": model(constant(given.x))}


@graded("Linear Forward", x=(5, 3), other=(4, 3), **THREE_LAYERS)
def test_sequential_forward_of_three_linears(given):
    model = my.Sequential(*three_linears(given).values())
    return {"output of the Sequential": model(constant(given.x)),
            "output of the Sequential, another batch": model(constant(given.other))}


def given_operation(name, a, upstream, *arguments):
    """Results of an operation of Tensor that is given to students, as a method or as a property.
    Nothing is asked of one that is missing, fails, as with other arguments, or records no graph: a
    layer that uses it so is tested itself."""
    a = leaf(a)
    result = getattr(a, name, None)
    if callable(result):
        try:
            result = result(*arguments)
        except Exception:
            return {}
    if truth(getattr(result, "requires_grad", False)) is not True:
        return {}
    weigh(result, upstream)
    return {f"a.{name}": result, f"gradient of a through a.{name}": a.grad}


@graded("Linear Backward", optional=True, a=(2, 3), upstream=(3, 2))
def test_transpose(given):
    return given_operation("T", given.a, given.upstream)


@graded("Linear Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    weigh(layer(x), given.upstream)
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Backward", x=(1, 4), upstream=(1, 3), **ONE_LAYER)
def test_linear_backward_of_one_row(given):
    layer = linear(given.weight, given.bias)
    weigh(layer(constant(given.x)), given.upstream)
    return gradients(layer=layer)


@graded("Linear Backward", x=(3, 4), weight=(4, 4), bias=(4,), upstream=(3, 4))
def test_linear_used_twice(given):
    layer = linear(given.weight, given.bias)
    weigh(layer(layer(constant(given.x))), given.upstream)
    return gradients(layer=layer)


@graded("Linear Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_backward_twice(given):
    layer = linear(given.weight, given.bias)
    return {**backward_twice(layer, given.x, given.upstream), **gradients(layer=layer)}


@graded("Linear Backward", x=(5, 4), c=(5, 3), upstream=(5, 3), **ONE_LAYER)
def test_linear_beside_another_operand(given):
    return beside_another(linear(given.weight, given.bias), given.x, given.c, given.upstream)


@graded("Linear Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_backward_in_a_sequential(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    weigh(my.Sequential(layer)(x), given.upstream)
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Backward", x=(5, 3), upstream=(5, 3), **THREE_LAYERS)
def test_sequential_backward_of_three_linears(given):
    layers, x = three_linears(given), leaf(given.x)
    output = my.Sequential(*layers.values())(x)
    weigh(output, given.upstream)
    return {"output of the Sequential": output, **gradients(**layers), "gradient of x": x.grad}


# 2.2 ReLU


@graded("Linear ReLU Forward", z=times(4, with_zeros(4, 3)))
def test_relu_forward(given):
    z = constant(given.z)
    return {"ReLU()(z)": my.ReLU()(z), "z, afterwards": z}


@graded("Linear ReLU Backward", z=with_zeros(4, 3), upstream=(4, 3))
def test_relu_backward_at_and_around_zero(given):
    z = leaf(given.z)
    weigh(my.ReLU()(z), given.upstream)
    return {"gradient of z": z.grad}


@graded("Linear ReLU Backward", z=(4, 3), upstream=(4, 3))
def test_relu_backward_twice(given):
    return backward_twice(my.ReLU(), given.z, given.upstream)


@graded("Linear ReLU Backward", z=(4, 3), c=(4, 3), upstream=(4, 3))
def test_relu_beside_another_operand(given):
    return beside_another(my.ReLU(), given.z, given.c, given.upstream)


@graded("Linear ReLU Backward", z=(4, 3), z2=(4, 3), upstream=(4, 3), upstream2=(4, 3))
def test_relu_used_twice(given):
    relu, z, z2 = my.ReLU(), leaf(given.z), leaf(given.z2)
    output, output2 = relu(z), relu(z2)
    weigh(output, given.upstream)
    weigh(output2, given.upstream2)
    return {"gradient of z": z.grad, "gradient of z2": z2.grad}


@graded("Linear ReLU Backward", above=positive(4, 3), upstream=(4, 3))
def test_relu_of_one_sign(given):
    found = {}
    for name, array in {"positive": given.above, "negative": -given.above}.items():
        z = leaf(array)
        output = my.ReLU()(z)
        weigh(output, given.upstream)
        found.update({f"output of {name} numbers": output,
                      f"gradient of {name} numbers": z.grad})
    return found


@graded("Big Linear ReLU Forward", x=(6, 5), **TWO_LAYERS)
def test_two_layers_forward(given):
    return {"output": two_layers(given)(constant(given.x))}


@graded("Big Linear ReLU Backward", x=(6, 5), upstream=(6, 3), **TWO_LAYERS)
def test_two_layers_backward(given):
    network, x = two_layers(given), leaf(given.x)
    weigh(network(x), given.upstream)
    return {**gradients(**network.with_parameters), "gradient of x": x.grad}


# 2.3 SGD, on parameters whose gradients are drawn


@graded("Linear ReLU SGD Step", grad_weight=(1, 3, 4), grad_bias=(1, 3), **ONE_LAYER)
def test_one_step(given):
    leaves = parameters(given, "weight", "bias")
    optimizer = my.SGD(list(leaves.values()), lr=0.3)
    set_gradients(leaves, given, 0)
    optimizer.step()
    return {**leaves, **flags(**leaves), **{
        f"{name}: its gradient is still there after step()": bool(has_gradient(parameter))
        for name, parameter in leaves.items()}}


def has_gradient(parameter):
    """Whether a parameter has a gradient that is not all zeros."""
    return parameter.grad is not None and np.any(parameter.grad.data)


@graded("Linear ReLU SGD Step", grad_weight=(3, 3, 4), grad_bias=(3, 3), **ONE_LAYER)
def test_steps_with_zero_grad_between_them(given):
    leaves = parameters(given, "weight", "bias")
    optimizer = my.SGD(list(leaves.values()), lr=0.3)
    take_steps(optimizer, leaves, given, 3)
    optimizer.zero_grad()
    return {**leaves, **{f"{name}: no gradient after zero_grad()": not has_gradient(parameter)
                         for name, parameter in leaves.items()}}


@graded("Big Linear ReLU SGD Step", x=(3, 6, 5), upstream=(3, 6, 3), **TWO_LAYERS)
def test_steps_of_two_layers(given):
    network = two_layers(given)
    leaves = list(network.model.parameters())
    train(network, my.SGD(leaves, lr=0.1), given)
    layers = network.with_parameters
    return {**values(**layers),
            **flags(weight1=layers["layer1"].weight, weight2=layers["layer2"].weight),
            "model.parameters() the same after the steps":
                set(map(id, leaves)) == set(map(id, network.model.parameters()))}


@graded("Big Linear ReLU SGD Step", x=(5, 5), upstream=(5, 3), **TWO_LAYERS)
def test_two_optimizers_of_two_layers(given):
    network = two_layers(given)
    layers = network.with_parameters
    first = my.SGD(layers["layer1"].parameters(), lr=0.1)
    second = my.SGD(layers["layer2"].parameters(), lr=0.3)
    weigh(network(constant(given.x)), given.upstream)
    first.step()
    found = {f"after the step of the first, {name}": Numbers(value)
             for name, value in values(**layers).items()}
    second.step()
    return {**found, **values(**layers)}


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


@graded("Linear Batchnorm ReLU Backward (Train)", x=uneven_scales(6, 3), upstream=(6, 3),
        **BATCHNORM)
def test_batchnorm_backward(given):
    layer, x = batchnorm(given.gamma, given.beta), leaf(given.x)
    weigh(layer(x), given.upstream)
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), upstream=(5, 3), **BATCHNORM)
def test_batchnorm_backward_twice(given):
    layer = batchnorm(given.gamma, given.beta, eps=0.1)
    return {**backward_twice(layer, given.x, given.upstream), **gradients(layer=layer)}


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), c=(5, 3), upstream=(5, 3), **BATCHNORM)
def test_batchnorm_beside_another_operand(given):
    return beside_another(batchnorm(given.gamma, given.beta, eps=0.1), given.x, given.c, given.upstream)


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), x2=(5, 3), upstream=(5, 3),
        upstream2=(5, 3), **BATCHNORM)
def test_batchnorm_used_twice(given):
    layer, x, x2 = batchnorm(given.gamma, given.beta, eps=0.1), leaf(given.x), leaf(given.x2)
    output, output2 = layer(x), layer(x2)
    weigh(output, given.upstream)
    weigh(output2, given.upstream2)
    return {**gradients(layer=layer), "gradient of x": x.grad, "gradient of x2": x2.grad}


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
    layer = batchnorm(given.gamma, given.beta, eps=0.1)
    layer(constant(given.x))
    layer.eval()
    other = constant(given.other)
    outputs = {"output in evaluation": layer(other), "x in evaluation, afterwards": other,
               "output in evaluation, one row": layer(constant(given.row))}
    return {**outputs, **running_averages(layer=layer)}


@graded("Linear Batchnorm ReLU Train/Eval", x=(6, 3), other=(4, 3), **BATCHNORM)
def test_one_layer_in_evaluation_and_another_in_training(given):
    layer, evaluated = (batchnorm(given.gamma, given.beta, eps=0.5) for _ in range(2))
    evaluated.eval()
    outputs = {"output in training": layer(constant(given.x)),
               "output in evaluation, never trained": evaluated(constant(given.other))}
    return {**outputs, **running_averages(trained=layer, evaluated=evaluated)}


@graded("Linear Batchnorm ReLU Train/Eval", x=(3, 5, 3), other=(4, 3), **BATCHNORM)
def test_the_mode_of_a_sequential_reaches_each_of_its_layers(given):
    layers = {f"layer{i}": batchnorm(given.gamma, given.beta, eps=0.1) for i in (1, 2, 3)}
    model = my.Sequential(*layers.values())
    model.train()
    for layer, x in zip(layers.values(), given.x):
        layer(constant(x))
    model.eval()
    outputs = {f"output of {name} in evaluation": layer(constant(given.other))
               for name, layer in layers.items()}
    model.train()
    outputs.update({f"output of {name} in training again": layer(constant(given.other))
                    for name, layer in layers.items()})
    return {**outputs, **running_averages(**layers)}


@graded("Big Linear Batchnorm ReLU Train/Eval", x=(3, 6, 5), upstream=(3, 6, 3), other=(4, 5),
        row=(1, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_two_layers_with_batchnorm_trained_and_evaluated(given):
    network = two_layers_with_batchnorm(given)
    optimizer = my.SGD(network.model.parameters(), lr=0.05)
    for x, upstream in zip(given.x, given.upstream):
        network.model.train()
        optimizer.zero_grad()
        weigh(network(constant(x)), upstream)
        optimizer.step()
        network.model.eval()
        evaluated, one_row = network(constant(given.other)), network(constant(given.row))
    return {**values(**network.with_parameters),
            "output in evaluation": evaluated, "output in evaluation, one row": one_row}


# 2.5 Cross entropy


def cross_entropy(logits, labels):
    """The student's loss of these logits (Tensor) and labels (ndarray)."""
    return my.CrossEntropyLoss()(logits, my.Tensor(labels.copy()))


def weigh_loss(loss, factor=1.0):
    """As weigh, of whatever shape the loss is: the forward pass answers for that."""
    weigh(loss, np.full(np.shape(getattr(loss, "data", None)), factor))


def rows_far_apart(rows, classes):
    """Draws logits of which exp() can be taken of no row before something is taken off it, and
    what is taken off must be the row's own; exact in float32 too."""
    return lambda random: (np.round(16 * random.standard_normal((rows, classes))) / 16
                           + np.resize([[0.0], [1000.0], [-1000.0]], (rows, 1)))


def unlikely(logits, labels, by):
    """The logits with those of the labels lowered by ``by``."""
    return logits - by * np.eye(logits.shape[1])[labels]


@graded("Linear XELoss Forward", logits=(6, 3), labels=labels(6, 3))
def test_cross_entropy_forward(given):
    logits, targets = constant(given.logits), my.Tensor(given.labels.copy())
    loss = my.CrossEntropyLoss()(logits, targets)
    return {"loss": loss, "logits, afterwards": logits, "labels, afterwards": targets}


@graded("Linear XELoss Forward", logits=rows_far_apart(6, 3), labels=labels(6, 3))
def test_cross_entropy_of_large_logits(given):
    return {"loss": cross_entropy(constant(given.logits), given.labels)}


@graded("Linear XELoss Forward", logits=(6, 3), labels=labels(6, 3))
def test_cross_entropy_of_unlikely_labels(given):
    return {f"loss of labels whose logits are lower by {by}": cross_entropy(
        constant(unlikely(given.logits, given.labels, by)), given.labels) for by in (60, 1000)}


@graded("Linear XELoss Forward", logits=(1, 5), labels=labels(1, 4))
def test_cross_entropy_of_one_row(given):
    """Its label is not the last class, and no other stands beside it."""
    return {"loss": cross_entropy(constant(given.logits), given.labels)}


@graded("Linear XELoss Backward", optional=True, a=positive(2, 3), upstream=(2, 3))
def test_log(given):
    return given_operation("log", given.a, given.upstream)


@graded("Linear XELoss Backward", optional=True, a=(2, 3), upstream=(6,))
def test_reshape(given):
    return given_operation("reshape", given.a, given.upstream, 6)


@graded("Linear XELoss Backward", logits=(6, 4), labels=labels(6, 4))
def test_cross_entropy_backward(given):
    logits = leaf(given.logits)
    weigh_loss(cross_entropy(logits, given.labels))
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", logits=(6, 4), labels=labels(6, 4))
def test_cross_entropy_backward_twice(given):
    logits = leaf(given.logits)
    loss = cross_entropy(logits, given.labels)
    weigh_loss(loss)
    weigh_loss(loss)
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", logits=(5, 3), labels=labels(5, 3), factor=())
def test_cross_entropy_within_a_larger_computation(given):
    logits = leaf(given.logits)
    weigh_loss(cross_entropy(logits, given.labels), given.factor)
    return {"gradient of the logits of factor * loss": logits.grad}


@graded("Linear XELoss Backward", logits=(5, 3), logits2=(4, 3), labels=labels(5, 3),
        labels2=labels(4, 3))
def test_two_losses_of_one_criterion(given):
    logits, logits2, criterion = leaf(given.logits), leaf(given.logits2), my.CrossEntropyLoss()
    first = criterion(logits, my.Tensor(given.labels.copy()))
    second = criterion(logits2, my.Tensor(given.labels2.copy()))
    weigh_loss(first)
    weigh_loss(second)
    return {"gradient of the first logits": logits.grad,
            "gradient of the second logits": logits2.grad}


@graded("Linear XELoss Backward", logits=rows_far_apart(6, 3), labels=labels(6, 3))
def test_where_a_loss_is_finite_its_gradient_is(given):
    """Whether the loss of such logits is finite is for the forward pass to answer for."""
    logits = leaf(given.logits)
    loss = cross_entropy(logits, given.labels)
    weigh_loss(loss)
    overflows = np.isfinite(loss.data).all() and not np.isfinite(logits.grad.data).all()
    return {"finite gradient of large logits whose loss is finite": not overflows}


def train_with_cross_entropy(given, **options):
    """Train the big network on batches of classes; what it has become, and its evaluation."""
    network, criterion = two_layers_with_batchnorm(given), my.CrossEntropyLoss()
    optimizer = my.SGD(network.model.parameters(), **options)
    results = {}
    for step, (x, targets) in enumerate(zip(given.x, given.labels.reshape(len(given.x), -1)), 1):
        network.model.train()
        optimizer.zero_grad()
        loss = criterion(network(constant(x)), my.Tensor(targets))
        loss.backward()
        optimizer.step()
        results[f"loss of batch {step}"] = loss
    network.model.eval()
    return {**results, **values(**network.with_parameters),
            "output in evaluation": network(constant(given.other))}


@graded("Big Linear BN Relu XELoss Train/Eval", x=(3, 6, 5), labels=batches_of_labels(3, 6, 3), other=(4, 5),
        **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_cross_entropy(given):
    return train_with_cross_entropy(given, lr=0.05)


# 2.6 Momentum


@graded("Linear Momentum Step", grad_weight=(4, 3, 4), grad_bias=(4, 3), **ONE_LAYER)
def test_momentum_over_four_steps(given):
    leaves = parameters(given, "weight", "bias")
    take_steps(my.SGD(list(leaves.values()), lr=0.1, momentum=0.8), leaves, given, 4)
    return {**leaves, **flags(**leaves)}


@graded("Linear Momentum Step", weight=(4, 4), bias=(4,), weight2=(4, 4), bias2=(4,),
        grad_weight=(3, 4, 4), grad_bias=(3, 4), grad_weight2=(3, 4, 4), grad_bias2=(3, 4))
def test_each_parameter_has_a_momentum_of_its_own(given):
    leaves = parameters(given, "weight", "bias", "weight2", "bias2")
    take_steps(my.SGD(list(leaves.values()), lr=0.1, momentum=0.5), leaves, given, 3)
    return leaves


@graded("Linear Momentum Step", grad_weight=(3, 3, 4), grad_bias=(3, 3), **ONE_LAYER)
def test_a_second_optimizer_starts_without_momentum(given):
    for _ in range(2):
        leaves = parameters(given, "weight", "bias")
        take_steps(my.SGD(list(leaves.values()), lr=0.1, momentum=0.5), leaves, given, 3)
    return leaves


@graded("Big Linear ReLU XELoss Momentum Train/Eval", x=(4, 6, 5), labels=batches_of_labels(4, 6, 3),
        other=(4, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_momentum(given):
    return train_with_cross_entropy(given, lr=0.03, momentum=0.7)
