"""The closer look at a failure: of operations of one's own the wrong one is named, a right one
never, and nothing where there is any doubt; a line that cuts the graph is named; an engine is."""

import re
import signal

import numpy as np
import pytest

from grader import closer_look
from mytorch.autograd_engine import Function
from mytorch.nn import functional as F
from mytorch.tensor import Tensor
from planted_bugs import BATCHNORM, ENGINE, FUNCTIONAL, TENSOR
from reading import BY_NAME, SECOND_BATCHNORM, report_of

HELPERS = """

class Sqrt(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.root = np.sqrt(a.data)
        return result(ctx.root, a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data / (2 * ctx.root))


class Mean(Function):
    @staticmethod
    def forward(ctx, a, axis):
        ctx.shape, ctx.axis = a.shape, axis
        return result(np.mean(a.data, axis=axis, keepdims=True), a)

    @staticmethod
    def backward(ctx, grad_output):
        grad = np.ones(ctx.shape) * grad_output.data
        return tensor.Tensor(grad / ctx.shape[ctx.axis])


class Spread(Function):
    @staticmethod
    def forward(ctx, a, rows):
        ctx.rows = rows
        return result(np.repeat(a.data.reshape(1, -1), rows, axis=0), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data.sum(axis=0, keepdims=True))


class Row(Function):
    @staticmethod
    def forward(ctx, a):
        return result(a.data.reshape(1, -1), a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(grad_output.data.reshape(-1))
"""
COMPOSED = (BATCHNORM, SECOND_BATCHNORM, """\
spread = lambda row: F.Spread.apply(row, x.shape[0])
        centred = x - spread(F.Mean.apply(x, 0))
        eps = Tensor(np.full((1, x.shape[1]), self.eps))
        std = F.Sqrt.apply(F.Mean.apply(centred * centred, 0) + eps)
        gamma, beta = F.Row.apply(self.gamma), F.Row.apply(self.beta)
        return spread(gamma) * (centred / spread(std)) + spread(beta)""")


def composed(*changes):
    """The report on 2.4 of a BatchNorm composed of small operations, with changes in these."""
    helpers = HELPERS
    for old, new in changes:
        assert helpers.count(old) == 1
        helpers = helpers.replace(old, new)
    return report_of("2.4", changes=[COMPOSED], more=helpers)


def test_of_operations_of_ones_own_the_wrong_one_is_named_and_no_other():
    said = composed(("grad_output.data / (2 * ctx.root)", "grad_output.data / ctx.root"))
    assert re.search(r"Sqrt.backward in mytorch/nn/functional.py:\d+ does not fit its forward, by "
                     r"central differences: gradient of argument 0\[0, \d\]: expected [\d.e-]+, got", said)
    assert set(re.findall(r"(\w+\.\w+) in \S+ does not fit its forward", said)) == {"Sqrt.backward"}


@pytest.mark.slow
def test_of_correct_operations_none_is_named():
    said = composed(("np.mean(a.data, axis=axis, keepdims=True)",
                     "np.mean(a.data, axis=axis, keepdims=True) * 1.01"),
                    ("grad / ctx.shape[ctx.axis]", "1.01 * grad / ctx.shape[ctx.axis]"))
    assert "0/1" in said and "not fit" not in said


@pytest.mark.slow
@pytest.mark.parametrize("change, number, name", [
    (("grad / ctx.shape[ctx.axis]", "grad"), "2.4", "Mean.backward"),
    (("grad_output.data.sum(axis=0, keepdims=True)", "grad_output.data[:1]"), "2.4",
     "Spread.backward"),
    ((FUNCTIONAL, "tensor.Tensor(grad_output.data * ctx.exp)", "tensor.Tensor(ctx.exp)"), "2.5",
     "Exp.backward"),
    ((FUNCTIONAL, "np.dot(grad_output.data, b.data.T)", "2 * np.dot(grad_output.data, b.data.T)"),
     "2.1", "MatMul.backward"),
])
def test_the_wrong_operation_is_named_in(change, number, name):
    said = composed(change) if number == "2.4" else report_of(number, changes=[change])
    assert set(re.findall(r"(\w+\.\w+) in \S+ does not fit its forward", said)) == {name}


def operation(name, forward, backward):
    """A Function of one or two Tensors, from functions of ndarrays."""
    def run_forward(ctx, *args):
        ctx.args = [getattr(arg, "data", arg) for arg in args]
        return Tensor(forward(*ctx.args))

    def run_backward(ctx, grad_output):
        grads = backward(grad_output.data, *ctx.args)
        return tuple(None if g is None else Tensor(g) for g in grads)

    return type(name, (Function,), {"forward": staticmethod(run_forward),
                                    "backward": staticmethod(run_backward)})


DRAWS = np.random.RandomState(5)
AT = np.array([[1.5, -0.5, 0.0], [0.25, 3.0, -2.0]])


@pytest.mark.parametrize("function, args", [
    (operation("Floor", np.floor, lambda g, a: [g]), [AT]),
    (operation("Absolute", np.abs, lambda g, a: [g * np.where(a > 0, 1, -1)]), [AT]),
    (operation("Relu", lambda a: np.maximum(a, 0), lambda g, a: [g * (a >= 0)]), [AT]),
    (operation("Dropout", lambda a: a * DRAWS.randint(2, size=a.shape), lambda g, a: [g]), [AT]),
    (operation("Single", lambda a: (a * a).astype(np.float32), lambda g, a: [2 * g * a]), [AT]),
    (operation("Summing", lambda a, b: a + b, lambda g, a, b: [g, g]), [AT, AT[0]]),
    (operation("Constant", lambda a, b: a * b, lambda g, a, b: [g * b, None]), [AT, AT]),
    (operation("Largest", np.max, lambda g, a: [g * (a == a.max())]), [AT]),
    (operation("Raising", np.log, lambda g, a: [1 / 0]), [np.abs(AT)]),
], ids=lambda value: getattr(value, "__name__", ""))
def test_an_operation_is_not_called_wrong_where_there_is_any_doubt(function, args):
    args = [Tensor(array.copy(), requires_grad=True) for array in args]
    with np.errstate(all="ignore"):
        assert closer_look.disagreement(function, args) == ""


def test_an_operation_is_checked_only_at_arguments_that_leave_no_doubt():
    x, w = Tensor(AT, requires_grad=True), Tensor(AT[0], requires_grad=True)
    labels, constant = Tensor([1, 0]), Tensor(AT)
    assert closer_look.may_be_checked([x]) and closer_look.may_be_checked([x, w]) and (
        closer_look.may_be_checked([x, labels, 0, None, (1, 2)])) and (
        closer_look.may_be_checked([x, Tensor(np.array([1e-5]))]))
    assert not any(map(closer_look.may_be_checked, (
        [labels], [x, constant], [constant], [x, AT.mean(axis=0)], [x, x * 2, w * 2],
        [Tensor(AT.astype(np.float32), requires_grad=True)])))


def test_a_look_that_goes_on_for_long_is_stopped_and_finds_nothing(monkeypatch):
    def search():
        while True:
            pass

    monkeypatch.setattr(closer_look, "SECONDS", 0.05)
    handler = signal.getsignal(signal.SIGPROF)
    assert closer_look.look(search) == closer_look.look(lambda: 1 / 0) == {}
    assert signal.getsignal(signal.SIGPROF) == handler
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_a_wrong_operation_is_told_with_both_numbers():
    double = operation("Double", lambda a: 2 * a, lambda g, a: [g])
    fault = closer_look.disagreement(double, [Tensor(np.array([1.0, 2.0]), requires_grad=True)])
    found = re.match(r"does not fit its forward, by central differences: "
                     r"gradient of argument 0\[0\]: expected ([\d.]+), got ([\d.]+)", fault)
    assert float(found.group(1)) == pytest.approx(2 * float(found.group(2)), rel=1e-4)
    for right, args in ((F.Div, [AT + 4, AT + 5]), (F.Log, [AT + 3]), (F.ReLU, [AT])):
        tensors = [Tensor(array, requires_grad=True) for array in args]
        assert closer_look.disagreement(right, tensors) == ""


@pytest.mark.parametrize("forward, backward, says", [
    (lambda a, b: a * b, lambda g, a, b: [g * b], "returns no gradient for argument 1"),
    (lambda a, b: a + 0 * b, lambda g, a, b: [g, None], ""),
])
def test_of_an_operation_it_is_said_what_else_is_wrong_with_its_backward(forward, backward, says):
    args = [Tensor(AT.copy(), requires_grad=True), Tensor(AT.copy(), is_parameter=True)]
    found = closer_look.disagreement(operation("Own", forward, backward), args)
    assert found.startswith(says) and bool(found) == bool(says)


@pytest.mark.slow
@pytest.mark.parametrize("new, returned", [
    ("        grad = grad.mean(axis=0)\n", ""),
    ("        grad = grad.sum(axis=1)\n", "; it returned shape (4,)"),
    ("        break\n", "; it returned shape (4, 3)"),
])
def test_of_an_unbroadcast_that_is_wrong_that_is_said_and_not_of_what_calls_it(new, returned):
    said = report_of("2.1", changes=[(FUNCTIONAL, "        grad = grad.sum(axis=0)\n", new)])
    assert re.search(r"unbroadcast in mytorch/nn/functional.py:\d+ is wrong for a gradient of shape "
                     r"\(4, 3\) and an operand of shape \(3,\)" + re.escape(returned) + ": ", said)
    assert re.search(r"next: 2.1, unbroadcast in mytorch/nn/functional.py:\d+$", said)


@pytest.mark.slow
@pytest.mark.parametrize("bug, number, place", [
    ("Linear: bias taken as a constant", "2.1", "mytorch/nn/linear.py"),
    ("ReLU layer works on the data, outside the graph", "2.2", "mytorch/nn/activations.py"),
    ("cross entropy: a new Tensor, outside the graph", "2.5", "mytorch/nn/functional.py"),
])
def test_a_tensor_of_anothers_data_is_cut_off_from_the_graph_there(bug, number, place):
    said = report_of(number, bug=bug)
    (line,) = BY_NAME[bug].new.strip().splitlines()
    assert re.search(rf"cut off from the graph at {place}:\d+: {re.escape(line)}", said)


@pytest.mark.slow
def test_a_batchnorm_that_is_given_a_minus_outside_the_graph_is_not_blamed():
    minus = (TENSOR, "return F.Sub.apply(self, other)", "return Tensor(self.data - other.data)")
    said = report_of("2.4", changes=[COMPOSED, minus], more=HELPERS)
    assert re.search(r"cut off from the graph at mytorch/tensor.py:\d+: return Tensor\(self.data -", said)
    assert not re.search(r"cut off from the graph at mytorch/nn/batchnorm", said)


def test_of_an_engine_it_is_said_what_trace_says():
    said = report_of("1.2", changes=[(ENGINE, "next_functions[i], grads[i])",
                                      "next_functions[i], grad_of_outputs)")])
    assert "with z = a * b: " in said and "both inputs get the first" not in said
