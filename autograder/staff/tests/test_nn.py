"""Layers, losses and the Module that finds their parameters, with numbers worked out by hand.
A network against PyTorch is in test_against_pytorch.py."""

import numpy as np
import pytest

from central_differences import assert_gradients, leaf, uneven
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss, Loss
from mytorch.nn.module import Module
from mytorch.nn.sequential import Sequential
from mytorch.tensor import Tensor

def small_network():
    np.random.seed(3)
    return Sequential(Linear(3, 4), BatchNorm1d(4), ReLU(), Linear(4, 2))


# Linear

def test_linear_is_x_times_the_transposed_weight_plus_bias():
    layer = Linear(2, 3)
    layer.weight.data = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    layer.bias.data = np.array([0.5, 0.0, -1.0])
    assert layer(Tensor([[1.0, -1.0], [2.0, 0.0]])).data.tolist() == [[-0.5, -1, -2], [2.5, 6, 9]]


def test_linear_starts_uniform_between_plus_and_minus_one_over_root_in_features():
    np.random.seed(0)
    layer = Linear(400, 50)
    for values, tolerance in ((layer.weight.data, 0.001), (layer.bias.data, 0.01)):
        assert np.abs(values).max() <= 0.05 and np.abs(values).max() > 0.045
        assert abs(values.mean()) < tolerance and abs(values.std() - 0.05 / np.sqrt(3)) < tolerance


# Bad input

@pytest.mark.parametrize("sizes", [(0, 2), (3, 0), (-1, 2)])
def test_linear_refuses_sizes_below_one(sizes):
    with pytest.raises(ValueError, match=f"Linear: expected at least 1 .*got {sizes[0]} and {sizes[1]}"):
        Linear(*sizes)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (2, 3, 3), ()], ids=str)
@pytest.mark.parametrize("layer", [Linear(3, 2), BatchNorm1d(3), BatchNorm1d(3).eval()], ids=repr)
def test_a_wrong_number_of_features_is_a_value_error_with_both_shapes(layer, shape):
    with pytest.raises(ValueError) as raised:
        layer(Tensor(np.ones(shape)))
    message = str(raised.value)
    assert type(layer).__name__ in message and "(N, 3)" in message and str(shape) in message


@pytest.mark.parametrize("layer", [Linear(3, 2), BatchNorm1d(3), ReLU()], ids=repr)
def test_an_input_that_is_no_tensor_is_a_type_error(layer):
    with pytest.raises(TypeError, match=f"{type(layer).__name__}: expected a Tensor, got ndarray"):
        layer(np.ones((2, 3)))


def test_forgetting_super_init_is_an_error_that_says_so():
    forgetful = type("Forgetful", (Module,), {"__init__": lambda self: None})()
    for value in (Linear(2, 2), Tensor([1.0], is_parameter=True)):
        with pytest.raises(AttributeError, match=r"Forgetful.*super\(\).__init__\(\).*part"):
            forgetful.part = value


@pytest.mark.parametrize("call", [
    lambda: Module().add_parameter("w", Tensor([1.0])),
    lambda: Module().add_parameter("w", Linear(2, 2)),
    lambda: Module().add_module("m", Tensor([1.0])), lambda: Sequential(Linear(2, 2), "ReLU")])
def test_registering_what_is_no_parameter_or_module_is_a_type_error(call):
    with pytest.raises(TypeError, match="add_(parameter|module): expected a"):
        call()


@pytest.mark.parametrize("base", [Module, Loss])
def test_a_module_without_forward_says_so(base):
    missing = type("Missing", (base,), {})()
    with pytest.raises(NotImplementedError, match="Missing.*forward"):
        missing(Tensor([1.0]), Tensor([1.0]))


# Module and Sequential

class Nested(Module):
    """A module with a parameter and a module, each under two names, a network, plain attributes."""

    def __init__(self):
        super().__init__()
        self.scale = self.same_scale = Tensor([2.0], is_parameter=True)
        self.first = self.again = Linear(2, 2)
        self.network = Sequential(Sequential(Linear(2, 1), BatchNorm1d(1)))
        self.size, self.constant = 3, Tensor([1.0])


def test_parameters_finds_each_parameter_once_however_deeply_nested():
    model = Nested()
    inner = model.network[0]
    expected = [model.scale, model.first.weight, model.first.bias,
                inner[0].weight, inner[0].bias, inner[1].gamma, inner[1].beta]
    assert [id(p) for p in model.parameters()] == [id(p) for p in expected]


def test_added_parameters_and_modules_are_attributes_and_found():
    model, weight, layer = Module(), Tensor([1.0], is_parameter=True), Linear(1, 1)
    model.add_parameter("weight", weight)
    model.add_module("layer", layer)
    assert model.weight is weight and model.layer is layer
    assert [id(p) for p in model.parameters()] == [id(p) for p in (weight, layer.weight, layer.bias)]


def test_train_and_eval_switch_every_module_inside():
    model = Nested()
    modules = [model, model.first, model.network, model.network[0], model.network[0][1]]
    assert all(module.is_train for module in modules)
    model.eval()
    assert not any(module.is_train for module in modules)
    assert model.train(1) is model and all(module.is_train is True for module in modules)
    assert not any(module.is_train for module in model.train(False).modules())


def test_a_module_is_called_with_keyword_arguments_too():
    scaled = type("Scaled", (Module,), {"forward": lambda self, x, by=1.0: x * by})()
    assert scaled(Tensor([2.0]), by=3.0).data.tolist() == [6]


def test_modules_in_a_ring_are_found_once_each_and_can_be_printed():
    first, second = Linear(1, 1), Linear(1, 1)
    first.other, second.other = second, first
    assert list(first.modules()) == [first, second] and len(list(first.parameters())) == 4
    assert repr(first) == "Linear(\n  (other): Linear(\n    (other): ...\n  )\n)"


def test_sequential_calls_the_layers_that_are_registered_and_no_others():
    model = Sequential(ReLU(), Linear(1, 1))
    scale = Linear(1, 1)
    scale.weight.data, scale.bias.data = np.array([[-2.0]]), np.array([0.0])
    setattr(model, "1", scale)
    assert model.layers == (model[0], scale) and model(Tensor([[3.0]])).data.tolist() == [[-6]]
    model.add_module("last", ReLU())
    assert len(model) == 3 and model(Tensor([[3.0]])).data.tolist() == [[0]]
    assert [id(p) for p in model.parameters()] == [id(scale.weight), id(scale.bias)]
    with pytest.raises(AttributeError):
        model.layers = (ReLU(),)


def test_a_sequential_is_iterated_indexed_and_sliced_and_calls_its_layers_in_the_order_given():
    layers = [Linear(1, 1) for _ in range(12)]
    for number, layer in enumerate(layers):
        layer.weight.data, layer.bias.data = np.array([[2.0]]), np.array([float(number)])
    model = Sequential(*layers)
    assert list(model) == list(model.layers) == layers and len(model) == 12
    assert model[0] is layers[0] and model[-1] is layers[-1]
    first = model[:3]
    assert type(first) is Sequential and list(first) == layers[:3]
    assert first(Tensor([[1.0]])).data.tolist() == [[12]]  # 2 * (2 * (2 * 1 + 0) + 1) + 2
    assert model(Tensor([[1.0]])).data.tolist() == [[2.0**12 + 2**12 - 13]]


def test_the_cross_entropy_loss_of_a_network_has_the_gradients_of_central_differences():
    model, criterion, labels = small_network(), CrossEntropyLoss(), Tensor([0, 1, 1, 0, 1])
    assert_gradients(lambda x, *_: criterion(model(x), labels), leaf(uneven(5, 3)), *model.parameters())


# float32

@pytest.mark.parametrize("model, dtype", [
    (small_network().float(), np.float32), (small_network().float().double(), np.float64)])
def test_a_converted_network_computes_in_its_dtype_throughout(model, dtype):
    x = leaf(uneven(5, 3).astype(dtype))
    loss = CrossEntropyLoss()(model(x), Tensor([0, 1, 1, 0, 1]))
    loss.backward()
    grads = [tensor.grad for tensor in [x, *model.parameters()]]
    inside = [value for layer in model for value in vars(layer).values()
              if isinstance(value, Tensor)]
    dtypes = [tensor.data.dtype for tensor in [loss, *inside, *grads]]
    assert dtypes == [dtype] * (1 + 8 + 7)


def test_converting_keeps_the_parameters_the_same_objects_and_takes_gradients_along():
    model = small_network()
    model(Tensor(uneven(5, 3))).backward()
    before = [(p, p.data.astype(np.float32)) for p in model.parameters()]
    model.steps = Tensor([3])
    assert model.float() is model and model.steps.dtype.kind == "i"
    for parameter, (same, values) in zip(model.parameters(), before):
        assert parameter is same and parameter.is_parameter and (parameter.data == values).all()
        assert parameter.grad.data.dtype == np.float32


def test_repr_shows_the_layers_with_their_sizes():
    assert repr(small_network()) == (
        "Sequential(\n  (0): Linear(3, 4)\n  (1): BatchNorm1d(4, eps=1e-05, momentum=0.1)\n"
        "  (2): ReLU()\n  (3): Linear(4, 2)\n)")


# BatchNorm1d, on a batch of means 2 and 0, biased variances 1 and 16, unbiased 2 and 32

EXACT = 0.0  # an eps with which the numbers come out whole
BATCH = [[1.0, 4.0], [3.0, -4.0]]


def averages(layer):
    return layer.running_mean.data.tolist(), layer.running_var.data.tolist()


def test_batchnorm_in_training_normalises_with_the_biased_variance():
    layer = BatchNorm1d(2, eps=EXACT)
    layer.gamma.data, layer.beta.data = np.array([10.0, 1.0]), np.array([0.0, 0.5])
    assert layer(Tensor(BATCH)).data.tolist() == [[-10, 1.5], [10, -0.5]]


def test_batchnorm_averages_the_mean_and_the_unbiased_variance():
    layer = BatchNorm1d(2, momentum=0.25)
    layer(Tensor(BATCH))
    assert averages(layer) == ([0.5, 0], [1.25, 8.75])
    layer(Tensor(BATCH))
    assert averages(layer) == ([0.875, 0], [1.4375, 14.5625])


def test_batchnorm_evaluates_with_its_averages_and_leaves_them():
    layer = BatchNorm1d(2, eps=EXACT).eval()
    layer.running_mean.data, layer.running_var.data = np.array([1.0, 2.0]), np.array([4.0, 0.25])
    assert layer(Tensor([[5.0, 1.0]])).data.tolist() == [[2, -2]]
    assert averages(layer) == ([1, 2], [4, 0.25])


def test_batchnorm_adds_eps_to_the_variance_in_both_modes():
    layer = BatchNorm1d(1, eps=3.0)
    trained = layer(Tensor([[-1.0], [1.0]]))
    layer.eval().running_var.data, layer.running_mean.data = np.array([1.0]), np.array([0.0])
    assert trained.data.tolist() == [[-0.5], [0.5]] and layer(Tensor([[1.0]])).data.tolist() == [[0.5]]


@pytest.mark.parametrize("mode", [Module.train, Module.eval], ids=["training", "evaluation"])
def test_batchnorm_has_the_gradients_of_central_differences_in(mode):
    layer = mode(BatchNorm1d(3))
    layer.gamma.data, layer.running_var.data = uneven(3), np.array([0.5, 2.0, 3.0])
    assert_gradients(lambda x, *_: layer(x), leaf(uneven(5, 3)), layer.gamma, layer.beta)


def test_batchnorms_averages_stay_the_same_constants_outside_any_graph():
    layer = BatchNorm1d(2)
    mean, var = layer.running_mean, layer.running_var
    for _ in range(2):
        layer(leaf(BATCH)).backward()
    assert layer.running_mean is mean and layer.running_var is var
    assert [(t.requires_grad, t.grad_fn, t.grad) for t in (mean, var)] == [(False, None, None)] * 2


@pytest.mark.parametrize("eps", [1e-5, np.float64(1e-5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batchnorm_keeps_the_dtype_of_its_averages_and_of_its_input(eps, dtype):
    layer = BatchNorm1d(2, eps=eps).float() if dtype is np.float32 else BatchNorm1d(2, eps=eps)
    x = Tensor(np.array(BATCH, dtype))
    assert layer(x).data.dtype == layer.eval()(x).data.dtype == dtype
    layer.train()(Tensor(BATCH))
    assert layer.running_mean.data.dtype == layer.running_var.data.dtype == dtype


def test_batchnorm_has_defaults_and_starts_of_pytorch():
    layer = BatchNorm1d(2)
    assert (layer.eps, layer.momentum, averages(layer)) == (1e-5, 0.1, ([0, 0], [1, 1]))
    assert layer.running_mean.data.dtype == layer.running_var.data.dtype == np.float64
    assert [p.data.tolist() for p in layer.parameters()] == [[1, 1], [0, 0]]


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (2,)], ids=str)
def test_a_failed_call_leaves_batchnorms_averages_as_they_were(shape):
    layer, one_row = BatchNorm1d(3), Tensor(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"BatchNorm1d: .*(2 rows|\(N, 3\))"):
        layer(Tensor(np.ones(shape)))
    assert averages(layer) == ([0, 0, 0], [1, 1, 1])
    assert layer.eval()(one_row).shape == (1, 3)
