"""The sandbox on planted bugs: which checks each fails, and the words that name the mistake.
Each bug is a function of what is right, and sits there in its place."""


import numpy as np
import pytest

import sandbox
from mytorch.autograd_engine import AccumulateGrad, Function
from mytorch.nn import functional as F
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

CHECKS = list(sandbox.CHECKS)
OPTIONAL = ["testbroadcast_sub", "testbroadcast_mul", "testbroadcast_div"]


def outcomes(output):
    """Dict of check → the word after its name."""
    return {line.split()[0]: line.split()[1] for line in output.splitlines()
            if line.split()[0] in CHECKS}


def negated(backward):
    return staticmethod(lambda ctx, grad: tuple(Tensor(-g.data) for g in backward(ctx, grad)))


def of_ones(backward):
    return staticmethod(lambda ctx, grad: backward(ctx, Tensor(np.ones(grad.shape))))


def twice_the_first(backward):
    def wrong(ctx, grad):
        first, *rest = backward(ctx, grad)
        return (Tensor(2 * first.data), *rest)
    return staticmethod(wrong)


def zeros_for_the_last(backward):
    def wrong(ctx, grad):
        *rest, last = backward(ctx, grad)
        return (*rest, Tensor(0 * last.data))
    return staticmethod(wrong)


def overwriting(apply):
    def wrong(node, grad):
        node.variable.grad = Tensor(grad.data.copy())
        return ()
    return wrong


def no_leaf_flag(apply):
    def wrong(cls, *args):
        output = apply.__func__(cls, *args)
        output.is_leaf = True
        return output
    return classmethod(wrong)


def backwards_through_layers(forward):
    def wrong(self, x):
        first, second = self.layers
        return Tensor(first(x).data[:, :2])
    return wrong


def passing_at_0(forward):
    def wrong(self, x):
        return forward(self, x + Tensor(np.where(x.data == 0, 1e-300, 0)))
    return wrong


def upwards(step):
    def wrong(self):
        for param in self.params:
            param.grad = Tensor(-param.grad.data)
        step(self)
    return wrong


def a_new_tensor(step):
    def wrong(self):
        step(self)
        self.params = [Tensor(param.data) for param in self.params]
    return wrong


def half_the_momentum(step):
    def wrong(self):
        self.momentum = min(self.momentum, 0.45)
        step(self)
    return wrong


def dampened(step):
    def wrong(self):
        before = [param.data.copy() for param in self.params]
        step(self)
        for param, held in zip(self.params, before):
            param.data = held + (param.data - held) * (1 - self.momentum)
    return wrong


def biased_average(forward):
    def wrong(self, x):
        before = self.running_var.data
        output = forward(self, x)
        if self.is_train:
            self.running_var.data = 0.9 * before + 0.1 * x.data.var(axis=0)
        return output
    return wrong


def statistics_as_constants(forward):
    def wrong(self, x):
        right = forward(self, x)
        if not self.is_train:
            return right
        mean, std = Tensor(x.data.mean(axis=0)), Tensor(np.sqrt(x.data.var(axis=0) + self.eps))
        return self.gamma * ((x - mean) / std) + self.beta
    return wrong


def always_training(forward):
    def wrong(self, x):
        self.is_train = True
        return forward(self, x)
    return wrong


def summed(forward):
    return lambda self, logits, labels: forward(self, logits, labels) * float(len(labels.data))


def overflowing(forward):
    def wrong(self, logits, labels):
        right = forward(self, logits, labels)
        return right * Tensor(1.0 if np.isfinite(np.exp(logits.data)).all() else np.nan)
    return wrong


def plus_one(forward):
    def wrong(ctx, a, b):  # not for the engine, which adds gradients, and those are constants
        wanted = a.requires_grad or b.requires_grad
        return Tensor(forward(ctx, a, b).data + (1 if wanted else 0))
    return staticmethod(wrong)


def the_other_way_round(operator):
    return lambda self, other: operator(other, self)


def doubled(forward):
    return lambda self, x: forward(self, x) * 2.0


def doubled_in_training(forward):
    return lambda self, x: forward(self, x) * (2.0 if self.is_train else 1.0)


def from_twos(backward):
    return lambda self: sandbox.run_backward(self, 2 * np.ones(self.shape))


def constants_that_want_gradients(apply):
    def wrong(cls, *args):
        output = apply.__func__(cls, *args)
        output.requires_grad = True
        return output
    return classmethod(wrong)


def gradients_on_constants(apply):
    def wrong(cls, *args):
        for arg in args:
            if isinstance(arg, Tensor) and not arg.requires_grad:
                arg.grad = arg
        return apply.__func__(cls, *args)
    return classmethod(wrong)


def of_ones_for_matrices(backward):
    def wrong(ctx, grad):
        return backward(ctx, grad if len(grad.shape) == 1 else Tensor(np.ones(grad.shape)))
    return staticmethod(wrong)


def outside_the_graph_in_evaluation(forward):
    def wrong(self, x):
        right = forward(self, x)
        return right if self.is_train else x * 0.0 + Tensor(right.data)
    return wrong


def average_the_wrong_way_round(forward):
    def wrong(self, x):
        before = self.running_mean.data
        output = forward(self, x)
        if self.is_train:
            self.running_mean.data = 0.1 * before + 0.9 * x.data.mean(axis=0)
        return output
    return wrong


def twice(backward):
    def wrong(ctx, grad):
        grads = backward(ctx, grad)
        first = grads[0] if isinstance(grads, tuple) else grads
        return Tensor(2 * first.data), None
    return staticmethod(wrong)


USE_MUL = ["test_mul", "test2", "test3", "test4", "test5", "test8"]
BUGS = {  # where, by what it is replaced, which checks must fail, words of the complaint
    "Add doubles": (F.Add, "backward", twice_the_first,
                    ["test_add", "test1", "test2", "test4", "test8", "testbroadcast"],
                    "twice the right answer"),
    "the signs of Sub's gradients": (F.Sub, "backward", negated, ["test_sub"],
                                     "the right answer with the opposite sign"),
    "Mul ignores the upstream gradient": (F.Mul, "backward", of_ones, USE_MUL,
                                          "the upstream gradient ignored"),
    "Div forgets its denominator": (F.Div, "backward", zeros_for_the_last, ["test_div"], "all zeros"),
    "gradients overwritten": (AccumulateGrad, "apply", overwriting, ["test6"],
                              "overwritten not added"),
    "results that are leaves": (Function, "apply", no_leaf_flag, ["test5"],
                                "(a * c).is_leaf: expected False, got True"),
    "Log ignores the upstream gradient": (F.Log, "backward", of_ones, ["test7"], "gradient of a"),
    "nothing summed back": (F, "unbroadcast", lambda right: lambda grad, shape: grad,
                            ["testbroadcast"], "expected shape (4,), got (3, 4)"),
    "the bias without gradient": (F.Linear, "backward", zeros_for_the_last, ["test_linear"],
                                  "gradient of Linear.bias"),
    "a layer left out": (Sequential, "forward", backwards_through_layers, ["test_sequential"],
                         "output"),
    "ReLU passes at 0": (ReLU, "forward", passing_at_0, ["test_relu"], "passed at 0 as well"),
    "SGD goes up": (SGD, "step", upwards, ["test_sgd", "test_momentum"],
                    "a step up instead of down"),
    "SGD makes new weights": (SGD, "step", a_new_tensor, ["test_sgd", "test_momentum"],
                              "the weight is another Tensor"),
    "half the momentum": (SGD, "step", half_the_momentum, ["test_momentum"], "weight after step 2["),
    "momentum dampens the first step": (SGD, "step", dampened, ["test_momentum"],
                                        "weight after step 1["),
    "the biased variance averaged": (
        BatchNorm1d, "forward", biased_average, ["test_batchnorm_train", "test_batchnorm_eval"],
        "looks like: the variance divided by m"),
    "no gradient through the statistics": (BatchNorm1d, "forward", statistics_as_constants,
                                           ["test_batchnorm_train"], "gradient of input 0"),
    "evaluation by the batch": (BatchNorm1d, "forward", always_training, ["test_batchnorm_eval"],
                                "output"),
    "the loss summed": (CrossEntropyLoss, "forward", summed, ["test_cross_entropy"],
                        "the sum over the batch"),
    "Add adds one": (F.Add, "forward", plus_one,
                     ["test_add", "test1", "test2", "test4", "test8", "testbroadcast"],
                     "test_add FAILED output of forward[0, 0]"),
    "the operands of - swapped": (Tensor, "__sub__", the_other_way_round, ["test_sub"],
                                  "result of the operator"),
    "backward starts from twos": (Tensor, "backward", from_twos, ["test6"],
                                  "gradient of a after backward()[0, 0]"),
    "constants want gradients": (Function, "apply", constants_that_want_gradients, ["test5"],
                                 "(c + c).requires_grad: expected False, got True"),
    "constants get gradients": (Function, "apply", gradients_on_constants, ["test5", "test8"],
                                "gradient of the constant b: expected None"),
    "ReLU ignores the upstream gradient": (F.ReLU, "backward", of_ones_for_matrices, ["test_relu"],
                                           "the upstream gradient ignored"),
    "Linear doubles": (Linear, "forward", doubled, ["test_linear"], "test_linear FAILED output"),
    "BatchNorm doubles in training": (
        BatchNorm1d, "forward", doubled_in_training, ["test_batchnorm_train"], "FAILED output"),
    "no gradient in evaluation": (BatchNorm1d, "forward", outside_the_graph_in_evaluation,
                                  ["test_batchnorm_eval"], "gradient of input 0"),
    "old and new swapped in an average": (
        BatchNorm1d, "forward", average_the_wrong_way_round,
        ["test_batchnorm_train", "test_batchnorm_eval"], "looks like: the weights of old and new"),
    "cross entropy's gradient twice": (F.CrossEntropy, "backward", twice, ["test_cross_entropy"],
                                       "twice the right answer"),
    "exp overflows": (CrossEntropyLoss, "forward", overflowing, ["test_cross_entropy"],
                      "loss of large logits: expected 500, got nan"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_it_fails_the_right_checks_and_no_others_for(bug, monkeypatch, capsys):
    owner, name, plant, failing, words = BUGS[bug]
    monkeypatch.setattr(owner, name, plant(getattr(owner, name) if name != "apply"
                                           else vars(owner)[name]))
    status = sandbox.main([])
    output = capsys.readouterr().out
    found = outcomes(output)
    # BatchNorm1d may be made of the operators, so that it falls with them.
    also = {"test_batchnorm_eval"} - set(failing)
    assert [name for name in CHECKS
            if found[name] not in ("ok", "optional") and name not in also] == failing, output
    assert words in " ".join(output.split()) and status == 1


def test_for_every_check_there_is_a_planted_bug_that_it_finds():
    assert {name for bug in BUGS.values() for name in bug[3]} == set(CHECKS) - set(OPTIONAL)


def changing_its_input(forward):
    def wrong(ctx, *tensors):
        output = forward(ctx, *tensors)
        tensors[0].data *= 2
        return output
    return staticmethod(wrong)


def changing_its_gradient(backward):
    def wrong(ctx, grad):
        grads = backward(ctx, Tensor(grad.data.copy()))
        grad.data *= 2
        return grads
    return staticmethod(wrong)


def exchanged(backward):
    return staticmethod(lambda ctx, grad: backward(ctx, grad)[::-1])


def without_entries_for_constants(apply):
    def wrong(cls, *args):
        output = apply.__func__(cls, *args)
        if output.grad_fn is not None:
            output.grad_fn.next_functions = [node for node in output.grad_fn.next_functions if node]
        return output
    return classmethod(wrong)


def normalised_by(scale):
    """A BatchNorm1d whose outputs, in training, are those of ``scale(variance, eps, rows)``."""
    def plant(forward):
        def wrong(self, x):
            output = forward(self, x)
            if self.is_train:
                variance = x.data.var(axis=0)
                output.data = (x.data - x.data.mean(axis=0)) / scale(variance, self.eps, len(x.data))
            return output
        return wrong
    return plant


def forgetful(name):
    def plant(forward):
        def wrong(self, x):
            before = getattr(self, name).data
            output = forward(self, x)
            getattr(self, name).data = before
            return output
        return wrong
    return plant


def softmax_over(axis):
    def wrong(self, logits, labels):
        z = logits.data - logits.data.max()
        log_p = z - np.log(np.exp(z).sum(axis=axis, keepdims=True))
        return Tensor(-log_p[np.arange(len(z)), labels.data].mean())
    return lambda forward: wrong


def one_v_for_all(step):
    def wrong(self):
        for param in self.params:
            v = getattr(self, "v", 0.0)
            self.v = self.momentum * v - self.lr * param.grad.data
            param.data = param.data + self.v
    return wrong


def gradients_remembered(step):
    def wrong(self):
        for i, param in enumerate(self.params):
            move = self.momentum * self.momentums[i] - self.lr * param.grad.data
            self.momentums[i], param.data = param.grad.data, param.data + move
    return wrong


def weight_as_data(forward):
    return lambda self, x: x @ Tensor(self.weight.data.T) + self.bias


IN_PLACE = "in place: make a new array instead"
SAYS = (  # where, by what it is replaced, the check, what it says
    (F.Sub, "forward", changing_its_input, "test_sub", "forward changed its input a, " + IN_PLACE),
    (F.Mul, "backward", changing_its_gradient, "test_mul",
     "backward changed the gradient it was given, " + IN_PLACE),
    (F.Mul, "backward", exchanged, "test_mul", "looks like: that of the other operand"),
    (F.Mul, "backward", lambda right: staticmethod(lambda ctx, grad: grad), "test_mul",
     "expected 2 gradients, of a and of b, got Tensor"),
    (Function, "apply", without_entries_for_constants, "test5",
     "looks like: that of the constant c"),
    (F.ReLU, "forward", changing_its_input, "test_relu", "forward changed input 0, " + IN_PLACE),
    (F.ReLU, "backward", changing_its_gradient, "test_relu",
     "ReLU.backward, or the engine, changed the gradient it was given, " + IN_PLACE),
    (ReLU, "forward", lambda right: lambda self, x: x, "test_relu",
     "forward returned its input itself: return a new Tensor"),
    (Linear, "forward", weight_as_data, "test_linear",
     "got None others got theirs: is it used, and not as .data, which is outside the graph?"),
    (BatchNorm1d, "forward", normalised_by(lambda v, eps, m: np.sqrt(v * m / (m - 1) + eps)),
     "test_batchnorm_train", "looks like: normalised by the variance divided by m minus 1"),
    (BatchNorm1d, "forward", normalised_by(lambda v, eps, m: np.sqrt(v) + eps),
     "test_batchnorm_train", "looks like: eps added after the root"),
    (BatchNorm1d, "forward", forgetful("running_mean"), "test_batchnorm_train",
     "running_mean: expected 0.2, got 0; off by 0.2 looks like: no average kept"),
    (BatchNorm1d, "forward", forgetful("running_var"), "test_batchnorm_train",
     "looks like: the variance divided by m, or no average kept"),
    (BatchNorm1d, "forward", always_training, "test_batchnorm_eval",
     "looks like: the mean and variance of this batch"),
    (CrossEntropyLoss, "forward", softmax_over(None), "test_cross_entropy",
     "got 2.07944; off by 1.39 looks like: exp summed over the whole batch"),
    (CrossEntropyLoss, "forward", softmax_over(0), "test_cross_entropy",
     "looks like: exp summed over the examples"),
    (CrossEntropyLoss, "forward", overflowing, "test_cross_entropy",
     "got nan looks like: a division by zero, or an overflow (nan or inf)"),
    (SGD, "step", one_v_for_all, "test_momentum", "looks like: one v for all parameters"),
    (SGD, "step", gradients_remembered, "test_momentum",
     "looks like: the gradient remembered and not the step"),
    (SGD, "step", dampened, "test_momentum",
     "looks like: the gradient multiplied by 1 minus momentum"),
)


@pytest.mark.parametrize("owner, name, plant, checked, words", SAYS)
def test_it_names_the_mistake(owner, name, plant, checked, words, monkeypatch, capsys):
    monkeypatch.setattr(owner, name, plant(getattr(owner, name) if name != "apply"
                                           else vars(owner)[name]))
    sandbox.main([checked])
    assert words in " ".join(capsys.readouterr().out.split())
