"""What a student reads: a mistake is planted, its problem graded, and the message read.
A diagnosis is printed only when it is the one that fits; a place is named always."""

import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

import child
import clues
import diagnosis
import graded
import grading
import judge
import report
import solutions
import watching
from hostile import copy_grader
from mytorch.autograd_engine import Function
from mytorch.nn import functional as F
from mytorch.tensor import Tensor
from planted_bugs import BATCHNORM, BUGS, ENGINE, FUNCTIONAL, LINEAR, SGD, TENSOR
from problems import GRADED
from solutions import REFERENCE, SECOND
from styles import STYLES
from test_grader import findings

HERE = Path(__file__).resolve().parent
BY_NAME = {bug.name: bug for bug in BUGS}
SECOND_BATCHNORM = "return F.BatchNorm.apply(x, self.gamma, self.beta, self.eps)"


def report_of(*numbers, changes=(), bug=None, remove=(), more=""):
    """The report on problems, as one line.

    Args:
        *numbers (str): of the problems.
        changes (list): edits of the second solution, as solutions.edited takes them.
        bug (str): name of a planted bug, instead.
        remove (list of str): files to remove.
        more (str): what is written at the end of functional.py.
    """
    stream = io.StringIO()
    shown = report.Report(stream)
    shown.unicode = True
    with tempfile.TemporaryDirectory(prefix="mytorch-message-") as root:
        if bug:
            BY_NAME[bug].plant(root)
        else:
            solutions.write(root, SECOND, changes)
        library = Path(root) / "mytorch"
        with open(str(library / FUNCTIONAL), "a", encoding="utf-8") as functional:
            functional.write(more)
        for name in remove:
            (library / name).unlink()
        problems = [problem for problem in GRADED if problem.number in numbers]
        for verdict in grading.grade(problems, Path(root), grading.RecordedAnswers()):
            shown.show(verdict)
    return " ".join(stream.getvalue().split())


# Not started, or wrong?


def test_a_minus_before_a_tensor_is_a_mistake_in_that_line_and_not_a_missing_operator():
    said = report_of("1.1.1", changes=[(
        FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
        "return grad_output.copy(), -grad_output")])
    assert "a Tensor has no unary minus: mytorch/tensor.py defines none" in said
    assert re.search(r"at mytorch/nn/functional.py:\d+: return grad_output.copy\(\), -grad", said)
    assert "not started" not in said and "no operator" not in said


@pytest.mark.slow
def test_what_the_handout_leaves_to_write_is_not_started():
    operator = "    def __sub__(self, other):\n        return F.Sub.apply(self, other)\n"
    said = report_of("1.1.1", changes=[(TENSOR, operator, "")])
    assert "(not started: Tensor has no operator - yet, in mytorch/tensor.py)" in said
    said = report_of("1.1.1", changes=[(FUNCTIONAL, "class Sub(", "class Subtraction(")])
    assert "(not started: mytorch/nn/functional.py has no Sub yet)" in said
    said = report_of("2.1", changes=[(
        LINEAR, "return x @", 'raise NotImplementedError("TODO (2.1)")\n        return x @')])
    assert re.search(r'\(not started: raises NotImplementedError "TODO \(2.1\)"\) '
                     r"at mytorch/nn/linear.py:\d+", said)


@pytest.mark.slow
def test_a_name_that_a_line_asks_for_in_vain_is_said_with_that_line():
    said = report_of("2.4", changes=[(BATCHNORM, SECOND_BATCHNORM, "return F.Square.apply(x)")])
    assert "mytorch/nn/functional.py has no Square, which this line asks for" in said
    assert re.search(r"at mytorch/nn/batchnorm.py:\d+: return F.Square.apply\(x\)", said)
    assert "not started" not in said
    said = report_of("2.4", changes=[(BATCHNORM, SECOND_BATCHNORM, "return x ** 2")])
    assert "mytorch/tensor.py has no operator ** for these two" in said
    said = report_of("2.4", changes=[(BATCHNORM, SECOND_BATCHNORM, "return x.square()")])
    assert "mytorch/tensor.py gives a Tensor no square" in said


@pytest.mark.slow
def test_a_function_without_its_backward_is_named():
    said = report_of("2.2", changes=[(
        FUNCTIONAL, "        ctx.positive = np.where(a.data > 0, 1.0, 0.0)\n"
        "        return result(a.data * ctx.positive, a)\n\n    @staticmethod\n    def backward(",
        "        return result(np.maximum(a.data, 0), a)\n\n    @staticmethod\n"
        "    def backwards(")])
    assert "ReLU.backward is not written" in said and "not started" not in said


# Is an earlier problem the cause?


FIRST_PARENT = (ENGINE, "for i in range(len(grad_fn.next_functions)):", "for i in range(1):")


def test_an_earlier_problem_is_named_as_the_cause_with_the_place_where_it_shows():
    said = report_of("1.2", "2.1", changes=[FIRST_PARENT])
    assert "probably caused by 1.2: gradient of layer.weight: expected a Tensor, got None" in said
    assert re.search(r"test: test_linear_backward defined at mytorch/nn/linear.py:\d+", said)
    assert "2.1 Linear forward ............................................ 2/2" in said


@pytest.mark.slow
@pytest.mark.parametrize("changes, remove, says", [
    ([FIRST_PARENT], ["nn/batchnorm.py"], "the file mytorch/nn/batchnorm.py is missing"),
    ([FIRST_PARENT, (BATCHNORM, "old = 1 - ", "old = one - ")], [],
     "NameError: name 'one' is not defined at mytorch/nn/batchnorm.py:"),
    ([(LINEAR, "@ self.weight.T() + self.bias", "@ self.weight.T()"),
      (BATCHNORM, "self.momentum * mean)", "self.momentum * np.outer(mean, mean))")], [],
     "running_mean: expected shape (3,), got (9,)"),
    ([FIRST_PARENT, (SGD, "zip(self.params, ", "zip(self.parameters, ")], [],
     "'SGD' object has no attribute 'parameters' at mytorch/optim/sgd.py:"),
])
def test_an_earlier_problem_is_not_blamed_for(changes, remove, says):
    said = report_of("1.2", "2.1", "2.3", "2.4", changes=changes, remove=remove)
    entries = re.split(r"(?=[12]\.\d [^.]+ \.{5,} \d+/\d+)", said)
    first = next(entry for entry in entries if says in entry)
    assert "probably caused by" not in first
    assert "0/25" in said or "0/2 output" in said


@pytest.mark.slow
def test_a_problem_in_between_that_passes_clears_an_earlier_one():
    bug = BY_NAME["constants get an AccumulateGrad too"]
    said = report_of("1.2", "2.1", "2.2", "2.3", changes=[
        *bug.edits, (SGD, "p.data -= self.lr * v", "p.data -= self.lr * v\n            return")])
    assert "gradient of the constant: expected None" in said
    assert "layer.bias[0]: expected" in said
    assert "probably caused by" not in said


# Names of mistakes: five that were false once, and the ones that say what happened.


@pytest.mark.slow
@pytest.mark.parametrize("bug, numbers, never, says", [
    ("BatchNorm: stores the biased variance", ["2.4"], "normalised with",
     "looks like: the biased variance (m) in running_var"),
    ("a leaf's gradient is overwritten by each path", ["1.2"], "only the first",
     "AccumulateGrad.apply: a second gradient replaces the first; they must be added"),
    ("a shared node keeps the gradient of the last path only", ["1.2"], "only the first of",
     "a result that is used twice: only one of its two gradients went through"),
    ("a shared node runs before its later gradients have come (queue)", ["1.2"], "only the",
     "one of its gradients went through its node alone and then again in the sum"),
    ("gradients are added in place, into arrays that others hold too", ["1.2"], "looks like",
     "a gradient was changed in place after it had been handed to a node"),
    ("bias gradient averaged over the batch", ["2.1", "2.3", "2.6"], "damped",
     "unbroadcast, at mytorch/nn/functional.py:"),
    ("momentum: of weights only, not of biases", ["2.6"], "looks like", "layer.bias[0]: expected"),
    ("operator - calls Add", ["1.1.1"], "a + b instead", "looks like: the operator - adds"),
])
def test_a_mistake_has_its_own_name(bug, numbers, never, says):
    said = report_of(*numbers, bug=bug)
    assert says in said
    assert never not in said


@pytest.mark.slow
def test_sequential_that_returns_in_its_loop_does_not_look_like_a_relu_without_effect():
    said = report_of("2.1", "2.2", changes=[(
        "nn/sequential.py", "            out = self.layers[i](out)\n",
        "            out = self.layers[i](out)\n            return out\n")])
    assert "ReLU without effect" not in said
    assert "0/" in said


@pytest.mark.slow
def test_batchnorm_outside_the_graph_is_cut_off_and_ignores_no_upstream_gradient():
    said = report_of("2.4", changes=[(
        BATCHNORM, SECOND_BATCHNORM, "return Tensor(self.gamma.data * (x.data - mean) / np.sqrt("
        "np.var(x.data, axis=0) + self.eps) + self.beta.data)")])
    assert "cut off from the graph at mytorch/nn/batchnorm.py:" in said
    assert "upstream gradient ignored" not in said


# What was changed in place, cut off, or given to the wrong place.


@pytest.mark.slow
@pytest.mark.parametrize("bug, number, says", [
    ("ReLU: sets negative entries of its input to 0 in place", "2.2",
     "forward changed its input z"),
    ("BatchNorm: takes the mean off its input in place", "2.4", "forward changed its input x"),
    ("cross entropy: takes the maximum off the caller's logits in place", "2.5",
     "forward changed its input logits"),
    ("Sub: negates the upstream gradient in place", "1.1.1",
     "backward changed the gradient it was given"),
    ("ReLU: sets entries of the upstream gradient to 0 in place", "2.2",
     "ReLU.backward changes the gradient it was given, in place"),
])
def test_a_change_in_place_is_called_that(bug, number, says):
    assert says in report_of(number, bug=bug)


@pytest.mark.parametrize("bug, number, place", [
    ("Linear: bias taken as a constant", "2.1", "mytorch/nn/linear.py"),
    pytest.param("ReLU layer works on the data, outside the graph", "2.2",
                 "mytorch/nn/activations.py", marks=pytest.mark.slow),
    pytest.param("cross entropy: a new Tensor, outside the graph", "2.5",
                 "mytorch/nn/functional.py", marks=pytest.mark.slow),
])
def test_a_tensor_of_anothers_data_is_cut_off_from_the_graph_there(bug, number, place):
    said = report_of(number, bug=bug)
    (line,) = BY_NAME[bug].new.strip().splitlines()
    assert re.search(rf"cut off from the graph at {place}:\d+: {re.escape(line)} a Tensor made of "
                     "another's .data does not know where it came from", said)


@pytest.mark.slow
def test_wrong_flags_of_a_result_point_at_apply():
    said = report_of("1.2", "2.1", bug="results require grad if the first operand does")
    assert re.search("probably caused by 1.2: RuntimeError.*? at mytorch/autograd_engine.py:", said)
    (place,) = re.findall(r"defined at mytorch/autograd_engine.py:(\d+)", said)
    line = (REFERENCE / ENGINE).read_text(encoding="utf-8").splitlines()[int(place)]
    assert "def apply(cls" in line
    assert "hint: Function.apply sets both" in said


START = "autograd_engine.backward(self.grad_fn, Tensor.ones(*self.shape))"


@pytest.mark.parametrize("start, got", [
    ("Tensor(1.0)", "a Tensor of shape ()"),
    pytest.param("1.0", "float", marks=pytest.mark.slow),
    pytest.param("np.ones(self.shape)", "ndarray", marks=pytest.mark.slow),
    pytest.param("Tensor.ones(*self.shape).reshape(3, 2)", "a Tensor of shape (3, 2)",
                 marks=pytest.mark.slow),
])
def test_a_backward_that_starts_from_something_else_is_caught_at_the_first_node(start, got):
    unbroadcast = "    while len(grad.shape) > len(shape):"
    said = report_of("1.2", changes=[
        (TENSOR, START, START.replace("Tensor.ones(*self.shape)", start)),
        (FUNCTIONAL, unbroadcast, '    if grad.shape == shape:\n        return grad\n'
         f'    raise NotImplementedError("TODO (2.1): sum")\n{unbroadcast}')])
    said = said[said.index("1.2 Autograd"):]
    assert re.match(r"1.2 Autograd \.+ 0/25 BackwardFunction.apply of Add was given "
                    + re.escape(got) + r"; it needs a Tensor of shape \(2, 3\), as its result has "
                    r"called at mytorch/tensor.py:\d+: autograd_engine.backward\(", said)
    assert "not started" not in said


# The grader's own errors.


@pytest.mark.parametrize("change, says", [
    pytest.param((LINEAR, "return x @", "x @"), "output: expected a Tensor, got None",
                 marks=pytest.mark.slow),
    ((LINEAR, "return x @", "if x.requires_grad: return\n        return x @"),
     "the code returned None where the test needs a Tensor in the test, test_mlp.py:"),
    pytest.param((LINEAR, "return x @ self.weight.T() + self.bias",
                  "return (x @ self.weight.T() + self.bias).data"),
                 "output: expected a Tensor, got ndarray", marks=pytest.mark.slow),
    pytest.param((LINEAR, "self.weight = Tensor(", "self.weights = Tensor("),
                 "the code returned Linear", marks=pytest.mark.slow),
])
def test_an_error_of_a_test_says_what_the_code_returned(change, says):
    said = report_of("2.1", changes=[change])
    assert says in said
    assert "Traceback" not in said and "graded.py" not in said


# A wrong operation of one's own.

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


def test_of_operations_of_ones_own_the_wrong_one_is_named():
    said = composed(("grad_output.data / (2 * ctx.root)", "grad_output.data / ctx.root"))
    assert re.search(r"Sqrt.backward, at mytorch/nn/functional.py:\d+, does not fit its forward: "
                     r"the gradient of argument 0\[0, \d\] is [\d.e-]+, but [\d.e-]+ by central", said)
    assert said.count("not fit its forward") == said.count("Sqrt.backward, at")


@pytest.mark.slow
def test_of_correct_operations_none_is_named():
    said = composed()
    assert said.count("/1 ") == 2 and "0/" not in said
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
    assert f"{name}, at mytorch/nn/functional.py:" in said
    assert set(re.findall(r"(\w+\.\w+), at \S+ does not fit its forward", said)) == {name}


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
        assert clues.disagreement(function, args) == ""


def test_an_operation_is_checked_only_at_arguments_that_leave_no_doubt():
    x, w = Tensor(AT, requires_grad=True), Tensor(AT[0], requires_grad=True)
    labels, constant = Tensor([1, 0]), Tensor(AT)
    assert clues.may_be_checked([x]) and clues.may_be_checked([x, w]) and (
        clues.may_be_checked([x, labels, 0, None, (1, 2)]))
    assert not any(map(clues.may_be_checked, (
        [labels], [x, constant], [x, AT.mean(axis=0)], [x, x * 2, w * 2],
        [Tensor(AT.astype(np.float32), requires_grad=True)])))


def test_a_gradient_of_nan_was_not_changed_by_whoever_got_it():
    grad = Tensor(np.array([np.nan, 1.0]))
    call = watching.Call(None, grad, [])
    assert not call.is_another()
    grad.data[1] = 2.0
    assert call.is_another()


def test_a_search_that_goes_on_for_long_is_stopped_and_keeps_what_others_found(monkeypatch):
    def search():
        while True:
            pass

    monkeypatch.setattr(clues, "SECONDS", 0.05)
    handler = signal.getsignal(signal.SIGPROF)
    assert clues.look(lambda: ["found"], lambda: 1 / 0, search, lambda: ["too late"]) == {
        "0": "found"}
    assert signal.getsignal(signal.SIGPROF) == handler
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_a_wrong_operation_is_told_with_both_numbers():
    double = operation("Double", lambda a: 2 * a, lambda g, a: [g])
    fault = clues.disagreement(double, [Tensor(np.array([1.0, 2.0]), requires_grad=True)])
    found = re.match(r"does not fit its forward: the gradient of argument 0\[0\] is ([\d.]+), "
                     r"but ([\d.]+) by central", fault)
    assert float(found.group(2)) == pytest.approx(2 * float(found.group(1)), rel=1e-4)
    for right, args in ((F.Div, [AT + 4, AT + 5]), (F.Log, [AT + 3]), (F.ReLU, [AT])):
        tensors = [Tensor(array, requires_grad=True) for array in args]
        assert clues.disagreement(right, tensors) == ""


# Length, paths, signs.


@pytest.mark.slow
def test_a_long_line_is_printed_once_and_a_list_of_results_is_cut_off():
    said = report_of("2.1", "2.2", "2.3", "2.6", bug="Linear: weight not transposed")
    assert said.count("Exception: cannot multiply (5, 4) and (3, 4)") == 1
    assert said.count("the same as in 2.1, above, at mytorch/nn/functional.py:") > 5
    said = report_of("2.6", bug="momentum: never stored")
    assert re.findall(r"(\d+) more results of this test are wrong", said) == ["11"]
    assert said.count("looks like: momentum forgotten") == 2  # once in each of two problems


def test_no_path_of_the_machine_reaches_a_message():
    root = Path("/home/me/hw1p1")
    for text, said in (
            ("in /home/me/hw1p1/mytorch/tensor.py:12", "in mytorch/tensor.py:12"),
            ("cannot import name 'x' (/home/me/hw1p1/mytorch/nn/loss.py)",
             "cannot import name 'x' (mytorch/nn/loss.py)"),
            ("no file '/usr/lib/python3/numpy/core.py'", "no file '.../core.py'"),
            ("1/2 and a / b, mytorch/nn/functional.py", "1/2 and a / b, mytorch/nn/functional.py")):
        assert report.without_paths(text, root) == said


def test_a_terminal_without_unicode_gets_ascii_signs():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report.Report(stream).line("W ← W - η · (x Wᵀ)² × ε ✓ ✗ ü \x1b[31m\a")
    stream.seek(0)
    assert stream.read() == "W < W - ? * (x WT)2 x e + - ?  [31m \n"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    report.Report(stream).line("x Wᵀ ✓")
    stream.seek(0)
    assert stream.read() == "x Wᵀ ✓\n"


def test_a_missing_mean_is_recognised_for_every_size_of_batch_that_the_tests_use():
    sizes = {case.draw(1).x.shape[-2] for case in graded.CASES.values() if "x" in case.inputs}
    right = np.array([[0.5, -1.5], [2.0, 0.25]])
    for size in sorted(sizes - {1}):
        assert judge.likely_mistake(size * right, right, {}).startswith(
            f"the right answer times {size} (")
        assert judge.likely_mistake(right / size, right, {}).startswith(
            f"the right answer divided by {size} (")
    assert judge.likely_mistake(7 * right, right, {}) == ""


@pytest.mark.parametrize("error, words", [
    (dict(type="ModuleNotFoundError", message="No module named 'mytorch.nn.loss'"),
     "the file mytorch/nn/loss.py is missing, or it is named differently"),
    (dict(type="ModuleNotFoundError", message="No module named 'torch'"), ""),
    (dict(type="ImportError", message="cannot import name 'Tensor' from partially initialized "
          "module 'mytorch.tensor'", circle="mytorch/tensor.py -> mytorch/nn/functional.py"),
     "the files import each other in a circle: mytorch/tensor.py -> mytorch/nn/functional.py"),
    (dict(type="AttributeError", message="'NoneType' object has no attribute 'data'",
          source="v += p.grad.data"), "p.grad is None: backward() has brought no gradient"),
    (dict(type="AttributeError", message="'NoneType' object has no attribute 'data'",
          source="y = x.data"), ""),
    (dict(type="TypeError", message="unsupported operand type(s) for *: 'float' and 'memoryview'"),
     "a memoryview is the .data of an ndarray: an ndarray stands there for a Tensor"),
])
def test_an_exception_says_what_it_means(error, words):
    assert diagnosis.what_it_means(error["type"], error["message"], error) == words


# Whatever is planted, what the report says of it is true. A bug or a wording that is not in this
# table yet fails the test: read the report (bug_table.py --report) and add it if it is true.

IN_PLACE = ("in place", "into the upstream gradient", "changes the labels")
TRUE_OF = {
    "looks like: a + b instead of a - b": ("Sub: forward adds",),
    "looks like: b - a instead of a - b": ("operands exchanged",),
    "looks like: the operator - adds": ("operator - calls Add",),
    "looks like: the matrix product a @ b instead of a * b": ("Mul: matrix product",),
    "looks like: the gradients of a and b in each other's place": ("gradients exchanged",),
    "looks like: the upstream gradient ignored": ("upstream gradient ignored",),
    "looks like: the gradient of a, written over the upstream gradient": IN_PLACE,
    "looks like: -a/b instead of -a/b²": ("divisor not squared", "divided by b once"),
    "looks like: -1/b² instead of -a/b²": ("numerator forgotten",),
    "looks like: only one of the two gradients kept where a tensor is both": ("kept in a dict",),
    "looks like: the bias forgotten": ("Linear: bias forgotten",),
    "looks like: the input of the last call taken for both": ("saved on the class",),
    "looks like: the gradient of ReLU at exactly 0 is 1": ("derivative 1 at 0",),
    "looks like: 1 where the input is above 0": ("1 where the input is above 0",),
    "looks like: Sequential: only the first layer called": ("returns inside the loop",),
    "looks like: Sequential: only the last layer called": ("every layer gets the input",),
    "looks like: Sequential: the layers in reversed order": ("layers in reversed order",),
    "looks like: Sequential: the last layer left out": (
        "Sequential: first two layers only", "Sequential: the last layer left out"),
    "looks like: the upstream gradient ignored by ReLU": ("ReLU: upstream gradient ignored",),
    "looks like: a step up, not down": ("goes up instead of down",),
    "looks like: the learning rate forgotten": ("learning rate forgotten",),
    "looks like: the default learning rate 0.001": ("always the default learning rate",),
    "looks like: the gradients of earlier steps added": ("zero_grad() does nothing",),
    "looks like: normalised with the unbiased variance": ("normalises with the unbiased",),
    "looks like: ε added after the root": ("ε added after the root",),
    "looks like: ε left out": ("BatchNorm: ε forgotten",),
    "looks like: eps always 1e-5": ("ε always the default",),
    "looks like: the mean treated as a constant": ("mean cut off from the graph",),
    "looks like: the variance treated as a constant": (
        "variance taken as a constant", "variance cut off from the graph"),
    "looks like: mean and variance treated as constants": ("mean and variance constants",),
    "looks like: the last batch alone, not averaged": ("those of the last batch",),
    "looks like: the biased variance (m) in running_var": ("stores the biased variance",),
    "looks like: momentum the wrong way round": ("momentum the other way round",),
    "looks like: summed over the batch, not averaged": ("sum over the batch", "not divided by N"),
    "looks like: the upstream gradient of the loss ignored": ("cross entropy: upstream",),
    "looks like: momentum taken off instead of added": ("previous step taken off",),
    "looks like: the gradient damped by 1 - momentum": ("damped by 1 - momentum",),
    "looks like: one momentum shared by": ("one buffer for all",),
    "looks like: momentum forgotten": ("momentum: never stored", "zero_grad() forgets it"),
    "forward changed its input": IN_PLACE,
    "backward changed the gradient it was given": IN_PLACE,
    "ReLU.backward changes the gradient it was given": ("ReLU: sets entries of the upstream",),
    "Mul.backward changes the gradient it was given": ("multiplied into the upstream",),
    "cut off from the graph": ("as a constant", "taken as constants", "outside the graph",
                               "without its graph"),
    "Linear.backward changes the gradient it was given": ("Linear: rows of the upstream",),
    "BatchNorm.backward changes the gradient it was given": ("gamma multiplied into the upstream",),
    "a gradient was changed in place after it had been handed": (
        "added in place, into arrays", "in arrays that others hold"),
    "a result that is used twice: only one": ("last path only", "'visited'", "handed down again"),
    "a result that is used twice: one of its gradients": (
        "before its later gradients", "earlier ones count again"),
    "the node of a result used twice was not reached": ("first parent alone",),
    "AccumulateGrad.apply: a second gradient replaces the first": ("overwritten by each path",),
    "AccumulateGrad.apply: only the first gradient is kept": ("keeps the first of its gradients",),
    "AccumulateGrad.apply keeps the first gradient's own array": ("another's array",),
    "AccumulateGrad.apply stores ndarray": ("stored gradient is an ndarray",),
    "BackwardFunction.apply of Add was given a Tensor of shape ()": ("from a single 1",),
    "backward() starts from other numbers than 1": ("backward() starts from",),
    "unbroadcast, at": ("bias gradient averaged",),
    **{f"{operation}.backward, at": (f"{operation}: ",) for operation in (
        "Add", "Sub", "Mul", "Div", "Log", "Reshape", "Transpose", "MatMul", "ReLU", "BatchNorm")},
    "CrossEntropy.backward, at": ("cross entropy: ",),
}
DIAGNOSIS = re.compile(
    r"looks like|(forward|backward) changed|\w+\.backward(,| changes)|unbroadcast, at|cut off|"
    r"a gradient was|a result that|the node of|AccumulateGrad\.apply|BackwardFunction\.apply of|"
    r"backward\(\) starts")
DESCRIPTION = re.compile(
    r"looks like: (the right answer|twice the|half the|all zeros|the transpose of|"
    r"the right numbers|a division by zero|parameters as they were)")  # true whatever the reason


def lies(text, *names):
    """The lines of a report that diagnose what none of the planted bugs of these names is."""
    def is_true(line):
        return any(part in name for name in names for start, parts in TRUE_OF.items()
                   for part in parts if line.startswith(start))

    lines = [line.strip() for line in text.splitlines()]
    diagnoses = [line for line in lines if DIAGNOSIS.match(line) and not DESCRIPTION.match(line)]
    return [line for line in diagnoses if not any(
        is_true(f"looks like: {one}") for one in line.partition("one of: ")[2].split("; "))
        and not is_true(line)]


@pytest.mark.slow
def test_what_is_said_of_a_planted_bug_is_true_of_it():
    found = {**findings(True), **findings(False)}
    false = {bug.name: lies(found[bug.name]["report"], bug.name) for bug in BUGS}
    assert {name: lines for name, lines in false.items() if lines} == {}
    assert not any("cannot be judged" in finding["report"] or "/mytorch-change" in finding["report"]
                   for finding in found.values())


@pytest.mark.slow
def test_a_closer_look_finds_no_fault_with_a_correct_solution_of_any_style():
    found = {**findings(True), **findings(False)}
    clues = {style.name: found[style.name]["clues"] for style in STYLES}
    assert {name: lines for name, lines in clues.items() if lines} == {}


PAIRS = """
import json, random, sys, types
import bug_table
from planted_bugs import BUGS
drawn, reports = random.Random(9), {}
while len(reports) < 30:
    first, second = sorted(drawn.sample(BUGS, 2), key=lambda bug: bug.number)
    both = types.SimpleNamespace(solution=first.solution, edits=first.edits + second.edits)
    if first.number < second.number and first.solution == second.solution:
        try:
            report = bug_table.grade_change(both)["report"]
        except ValueError:  # they change the same lines
            continue
        reports[first.name + " + " + second.name] = report
print(json.dumps(reports))
"""


@pytest.mark.slow
def test_what_is_said_of_two_planted_bugs_at_once_is_true_of_one_of_them():
    ended = subprocess.run([sys.executable, "-c", PAIRS], cwd=str(HERE.parent), check=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    false = {names: lies(text, names) for names, text in json.loads(ended.stdout).items()}
    assert {names: lines for names, lines in false.items() if lines} == {}


# The command line.


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A project with a breakpoint in the ReLU layer, and the grader."""
    root = tmp_path_factory.mktemp("debugged")
    solutions.write(root, SECOND, [
        ("nn/activations.py", "        return ", "        breakpoint()\n        return ")])
    copy_grader(root)
    return root


def run(tree, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(tree / "autograder/hw1_autograder/runner.py"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, encoding="utf-8", **options)


def test_debug_stops_at_breakpoints_with_the_keyboard_and_says_that_nothing_is_limited(tree):
    out, err = run(tree, "2.2", "--debug").communicate("p x.shape\n" + "c\n" * 20)
    assert out.startswith("Debugging: your code runs in this process. Nothing is limited")
    assert "activations.py" in out and "(Pdb) (4, 3)\n" in out and err == ""
    assert re.findall(r" (\d/\d)\n", out) == ["1/1", "1/1", "1/1", "2/2"]
    assert out.splitlines()[-1].startswith('{"scores": ')


def test_debug_ends_when_the_debugger_is_left(tree):
    process = run(tree, "2.2", "--debug")
    out, err = process.communicate("q\n")
    assert process.returncode == 130 and err == "" and "scores" not in out


def test_debug_wants_one_problem(tree):
    for arguments in ((), ("2.1", "2.2"), ("2.1", "--handin", "handin.tar")):
        process = run(tree, *arguments, "--debug")
        assert "--debug takes one problem of the tree" in process.communicate()[1]
        assert process.returncode == 2


def test_a_reader_that_has_seen_enough_ends_the_report_quietly(tree):
    process = run(tree, "1.1")
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close(), process.stdin.close()
    assert process.wait() == 141 and error == ""


@pytest.mark.parametrize("kind, message, meaning", [
    ("TypeError", "ReLU() takes no arguments", "called by its apply: F.ReLU.apply(...)"),
    ("AttributeError", "'BatchNorm1d' object has no attribute 'training'", "is_train"),
    ("BdbQuit", "", "--debug"),
    ("TypeError", "save_for_backward: expected Tensors, got method; keep a constant as an attribute",
     "x.T() is the transpose"),
    ("TypeError", "unsupported operand type(s) for @: 'Tensor' and 'method'", "x.T() is the transpose"),
    ("TypeError", "unsupported operand type(s) for *: 'float' and 'Tensor'", "float * Tensor is left"),
])
def test_a_mistake_that_many_make_is_put_in_plain_words(kind, message, meaning):
    assert meaning in diagnosis.what_it_means(kind, message, {})


def test_a_place_is_the_line_that_went_wrong_and_not_one_that_only_checks_it(tmp_path):
    file = tmp_path / "mytorch/nn/functional.py"
    file.parent.mkdir(parents=True)
    file.write_text("def compute(a):\n    raise ValueError(a)\n\n\n"
                    "def forward(a):\n    return compute(a)\n\n\n"
                    "def cross_entropy(a):\n    return forward(a)\n")
    module = {}
    exec(compile(file.read_text(), str(file), "exec"), module)
    with pytest.raises(ValueError) as raised:
        module["cross_entropy"](1)
    described = child.describe_error(raised.value, tmp_path)
    assert described["place"] == "mytorch/nn/functional.py:6"
    assert described["caller"] == "mytorch/nn/functional.py:10:  return forward(a)"
    with pytest.raises(ValueError) as raised:
        module["compute"](1)
    assert child.describe_error(raised.value, tmp_path)["place"] == "mytorch/nn/functional.py:2"


def test_a_problem_that_failed_above_already_gets_no_second_hint():
    stream, cases = io.StringIO(), {"test_batchnorm_forward": {}, "test_batchnorm_backward": {}}
    shown = report.Report(stream)
    rows = [problem for problem in GRADED if problem.number == "2.4"]
    for problem, name in zip(rows, cases):
        shown.show(types.SimpleNamespace(
            problem=problem, passed=False, points=0, unfinished="", complaints={name: [f"{name}: is wrong"]},
            errors={}, clues=[], recognised=False, defined_at=name, remarks=[],
            outcome=types.SimpleNamespace(cases=cases, output="", output_lines=0, root="/")))
    assert "run again" in stream.getvalue() and "cannot be shown" not in stream.getvalue()
    assert stream.getvalue().count("hint: ") == 1 and rows[0].hint.split()[0] in stream.getvalue()
