"""The graded tests of problems 2.1 to 2.6: layers, loss and optimizer.
Each says what it draws and what it calls; ./grade.sh 1 compares what it returns."""

import numpy as np

from grader.graded import Numbers, constant, graded, labels, leaf, my, positive, truth, with_zeros
from grader.layers import (
    BATCHNORM, ONE_LAYER, THREE_LAYERS, TWO_BATCHNORMS, TWO_LAYERS, backward_twice, batchnorm,
    beside_another, flags, gradients, linear, running_averages, three_linears, train, two_layers,
    two_layers_with_batchnorm, values, with_values)

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
    (result * constant(upstream)).backward()
    return {f"a.{name}": result, f"gradient of a through a.{name}": a.grad}


@graded("Linear Backward", optional=True, a=(2, 3), upstream=(3, 2))
def test_transpose(given):
    return given_operation("T", given.a, given.upstream)


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
    (my.Sequential(layer)(x) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear Backward", x=(5, 3), upstream=(5, 3), **THREE_LAYERS)
def test_sequential_backward_of_three_linears(given):
    layers, x = three_linears(given), leaf(given.x)
    output = my.Sequential(*layers.values())(x)
    (output * constant(given.upstream)).backward()
    return {"output of the Sequential": output, **gradients(**layers), "gradient of x": x.grad}


# 2.2 ReLU


@graded("Linear ReLU Forward", z=with_zeros(4, 3))
def test_relu_forward(given):
    z = constant(given.z)
    return {"ReLU()(z)": my.ReLU()(z), "z, afterwards": z}


@graded("Linear ReLU Forward", x=(5, 4), **ONE_LAYER)
def test_linear_relu_forward(given):
    model = my.Sequential(linear(given.weight, given.bias), my.ReLU())
    return {"output": model(constant(given.x))}


@graded("Linear ReLU Backward", z=with_zeros(4, 3), upstream=(4, 3))
def test_relu_backward_at_and_around_zero(given):
    z = leaf(given.z)
    (my.ReLU()(z) * constant(given.upstream)).backward()
    return {"gradient of z": z.grad}


@graded("Linear ReLU Backward", z=(4, 3), upstream=(4, 3))
def test_relu_backward_twice(given):
    return backward_twice(my.ReLU(), given.z, given.upstream)


@graded("Linear ReLU Backward", z=(4, 3), c=(4, 3), upstream=(4, 3))
def test_relu_beside_another_operand(given):
    return beside_another(my.ReLU(), given.z, given.c, given.upstream)


@graded("Linear ReLU Backward", z=(4, 3), z2=(4, 3), upstream=(4, 3))
def test_relu_used_twice(given):
    relu, z, z2 = my.ReLU(), leaf(given.z), leaf(given.z2)
    (relu(z) * relu(z2) * constant(given.upstream)).backward()
    return {"gradient of z": z.grad, "gradient of z2": z2.grad}


@graded("Linear ReLU Backward", above=positive(4, 3), upstream=(4, 3))
def test_relu_of_one_sign(given):
    found = {}
    for name, array in {"positive": given.above, "negative": -given.above}.items():
        z = leaf(array)
        output = my.ReLU()(z)
        (output * constant(given.upstream)).backward()
        found.update({f"output of {name} numbers": output,
                      f"gradient of {name} numbers": z.grad})
    return found


@graded("Linear ReLU Backward", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_linear_relu_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    model = my.Sequential(layer, my.ReLU())
    (model(x) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Big Linear ReLU Forward", x=(6, 5), **TWO_LAYERS)
def test_two_layers_forward(given):
    model, _ = two_layers(given)
    return {"output": model(constant(given.x))}


@graded("Big Linear ReLU Backward", x=(6, 5), upstream=(6, 3), **TWO_LAYERS)
def test_two_layers_backward(given):
    (model, layers), x = two_layers(given), leaf(given.x)
    (model(x) * constant(given.upstream)).backward()
    return {**gradients(**layers), "gradient of x": x.grad}


# 2.3 SGD


@graded("Linear ReLU SGD Step", x=(5, 4), upstream=(5, 3), **ONE_LAYER)
def test_one_step(given):
    layer = linear(given.weight, given.bias)
    model = my.Sequential(layer, my.ReLU())
    parameters = list(model.parameters())
    optimizer = my.SGD(parameters, lr=0.3)
    (model(constant(given.x)) * constant(given.upstream)).backward()
    optimizer.step()
    return {**values(layer=layer), **flags(weight=layer.weight, bias=layer.bias),
            "model.parameters() the same after the step":
                set(map(id, parameters)) == set(map(id, model.parameters()))}


@graded("Linear ReLU SGD Step", x=(3, 5, 4), upstream=(3, 5, 3), **ONE_LAYER)
def test_zero_grad_between_steps(given):
    layer = linear(given.weight, given.bias)
    model = my.Sequential(layer, my.ReLU())
    train(model, my.SGD(model.parameters(), lr=0.3), given)
    return values(layer=layer)


@graded("Big Linear ReLU SGD Step", x=(3, 6, 5), upstream=(3, 6, 3), **TWO_LAYERS)
def test_steps_of_two_layers(given):
    model, layers = two_layers(given)
    train(model, my.SGD(model.parameters(), lr=0.1), given)
    return {**values(**layers), **flags(
        weight1=layers["layer1"].weight, weight2=layers["layer2"].weight)}


@graded("Big Linear ReLU SGD Step", x=(5, 5), upstream=(5, 3), **TWO_LAYERS)
def test_two_optimizers_of_two_layers(given):
    model, layers = two_layers(given)
    first = my.SGD(layers["layer1"].parameters(), lr=0.1)
    second = my.SGD(layers["layer2"].parameters(), lr=0.3)
    (model(constant(given.x)) * constant(given.upstream)).backward()
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


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), upstream=(5, 3), **BATCHNORM)
def test_batchnorm_backward_twice(given):
    layer = batchnorm(given.gamma, given.beta)
    return {**backward_twice(layer, given.x, given.upstream), **gradients(layer=layer)}


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), c=(5, 3), upstream=(5, 3), **BATCHNORM)
def test_batchnorm_beside_another_operand(given):
    return beside_another(batchnorm(given.gamma, given.beta), given.x, given.c, given.upstream)


@graded("Linear Batchnorm ReLU Backward (Train)", x=(5, 3), x2=(5, 3), upstream=(5, 3),
        **BATCHNORM)
def test_batchnorm_used_twice(given):
    layer, x, x2 = batchnorm(given.gamma, given.beta), leaf(given.x), leaf(given.x2)
    (layer(x) * layer(x2) * constant(given.upstream)).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad, "gradient of x2": x2.grad}


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


@graded("Linear Batchnorm ReLU Train/Eval", x=(3, 5, 4), upstream=(3, 5, 3), other=(4, 4),
        **ONE_LAYER, **BATCHNORM)
def test_linear_batchnorm_relu_trained_and_evaluated(given):
    layer, norm = linear(given.weight, given.bias), batchnorm(given.gamma, given.beta)
    model = my.Sequential(layer, norm, my.ReLU())
    model.train()
    train(model, my.SGD(model.parameters(), lr=0.1), given)
    model.eval()
    evaluated = model(constant(given.other))
    model.train()
    trained_again = model(constant(given.other))
    return {**values(linear=layer, batchnorm=norm), "output in evaluation": evaluated,
            "output in training again": trained_again}


@graded("Big Linear Batchnorm ReLU Train/Eval", x=(3, 6, 5), upstream=(3, 6, 3), other=(4, 5),
        row=(1, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_two_layers_with_batchnorm_trained_and_evaluated(given):
    model, layers = two_layers_with_batchnorm(given)
    optimizer = my.SGD(model.parameters(), lr=0.05)
    for x, upstream in zip(given.x, given.upstream):
        model.train()
        optimizer.zero_grad()
        (model(constant(x)) * constant(upstream)).backward()
        optimizer.step()
        model.eval()
        evaluated, one_row = model(constant(given.other)), model(constant(given.row))
    return {**values(**layers),
            "output in evaluation": evaluated, "output in evaluation, one row": one_row}


# 2.5 Cross entropy


def cross_entropy(logits, labels):
    """The student's loss of these logits (Tensor) and labels (ndarray)."""
    return my.CrossEntropyLoss()(logits, my.Tensor(labels.copy()))


def rows_far_apart(rows, classes):
    """Draws logits of which exp() can be taken of no row before something is taken off it, and
    what is taken off must be the row's own; exact in float32 too."""
    return lambda random: (np.round(16 * random.standard_normal((rows, classes))) / 16
                           + np.resize([[0.0], [1000.0], [-1000.0]], (rows, 1)))


def unlikely(logits, labels, by):
    """The logits with those of the labels lowered by ``by``."""
    return logits - by * np.eye(logits.shape[1])[labels]


@graded("Linear XELoss Forward", x=(6, 4), labels=labels(6, 3), **ONE_LAYER)
def test_cross_entropy_forward(given):
    logits = linear(given.weight, given.bias)(constant(given.x))
    return {"loss": cross_entropy(logits, given.labels)}


@graded("Linear XELoss Forward", logits=(6, 3), labels=labels(6, 3))
def test_cross_entropy_leaves_its_inputs_as_they_are(given):
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
    cross_entropy(logits, given.labels).backward()
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", logits=(6, 4), labels=labels(6, 4))
def test_cross_entropy_backward_twice(given):
    logits = leaf(given.logits)
    loss = cross_entropy(logits, given.labels)
    loss.backward()
    loss.backward()
    return {"gradient of the logits": logits.grad}


@graded("Linear XELoss Backward", x=(6, 4), labels=labels(6, 3), **ONE_LAYER)
def test_linear_cross_entropy_backward(given):
    layer, x = linear(given.weight, given.bias), leaf(given.x)
    cross_entropy(layer(x), given.labels).backward()
    return {**gradients(layer=layer), "gradient of x": x.grad}


@graded("Linear XELoss Backward", logits=(5, 3), labels=labels(5, 3), factor=())
def test_cross_entropy_within_a_larger_computation(given):
    found = {}
    for product in "loss * factor", "factor * loss":
        logits, factor = leaf(given.logits), constant(given.factor)
        loss = cross_entropy(logits, given.labels)
        (loss * factor if product.startswith("loss") else factor * loss).backward()
        found[f"{product}: gradient of the logits"] = logits.grad
    return found


@graded("Linear XELoss Backward", logits=(5, 3), logits2=(4, 3), labels=labels(5, 3),
        labels2=labels(4, 3))
def test_the_sum_of_two_losses(given):
    logits, logits2, criterion = leaf(given.logits), leaf(given.logits2), my.CrossEntropyLoss()
    loss = criterion(logits, my.Tensor(given.labels.copy()))
    (loss + criterion(logits2, my.Tensor(given.labels2.copy()))).backward()
    return {"gradient of the first logits": logits.grad,
            "gradient of the second logits": logits2.grad}


@graded("Linear XELoss Backward", logits=rows_far_apart(6, 3), labels=labels(6, 3))
def test_where_a_loss_is_finite_its_gradient_is(given):
    """Whether the loss of such logits is finite is for the forward pass to answer for."""
    logits = leaf(given.logits)
    loss = cross_entropy(logits, given.labels)
    loss.backward()
    overflows = np.isfinite(loss.data).all() and not np.isfinite(logits.grad.data).all()
    return {"finite gradient of large logits whose loss is finite": not overflows}


def train_with_cross_entropy(given, **options):
    """Train the big network on batches of classes; what it has become, and its evaluation."""
    model, layers = two_layers_with_batchnorm(given)
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
    return {**results, **values(**layers), "output in evaluation": model(constant(given.other))}


@graded("Big Linear BN Relu XELoss Train/Eval", x=(3, 6, 5), labels=labels(18, 3), other=(4, 5),
        **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_cross_entropy(given):
    return train_with_cross_entropy(given, lr=0.2)


# 2.6 Momentum


@graded("Linear Momentum Step", x=(4, 5, 4), upstream=(4, 5, 3), **ONE_LAYER)
def test_momentum_over_four_steps(given):
    layer = linear(given.weight, given.bias)
    train(layer, my.SGD([layer.weight, layer.bias], lr=0.1, momentum=0.8), given)
    return {**values(layer=layer), **flags(weight=layer.weight, bias=layer.bias)}


@graded("Linear Momentum Step", x=(3, 5, 4), upstream=(3, 5, 4), weight=(4, 4), bias=(4,),
        weight2=(4, 4), bias2=(4,))
def test_each_parameter_has_a_momentum_of_its_own(given):
    layers = {"layer1": linear(given.weight, given.bias),
              "layer2": linear(given.weight2, given.bias2)}
    model = my.Sequential(*layers.values())
    train(model, my.SGD(model.parameters(), lr=0.1, momentum=0.5), given)
    return values(**layers)


@graded("Linear Momentum Step", x=(3, 5, 4), upstream=(3, 5, 3), **ONE_LAYER)
def test_a_second_optimizer_starts_without_momentum(given):
    for _ in range(2):
        layer = linear(given.weight, given.bias)
        train(layer, my.SGD(layer.parameters(), lr=0.1, momentum=0.5), given)
    return values(layer=layer)


@graded("Big Linear ReLU XELoss Momentum Train/Eval", x=(4, 6, 5), labels=labels(24, 3),
        other=(4, 5), **TWO_LAYERS, **TWO_BATCHNORMS)
def test_big_network_trained_with_momentum(given):
    return train_with_cross_entropy(given, lr=0.1, momentum=0.7)
