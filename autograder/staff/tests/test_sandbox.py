"""The sandbox: every check on the reference, on the handout, and on planted bugs.
As a process where it matters how a student runs it, else in this one."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sandbox
import solutions
from mytorch.autograd_engine import AccumulateGrad, Function
from mytorch.gradient_check import against_torch, check_gradients, compare, uneven
from mytorch.nn import functional as F
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

ROOT = Path(__file__).resolve().parents[3]
CHECKS = list(sandbox.CHECKS)
OPTIONAL = ["testbroadcast_sub", "testbroadcast_mul", "testbroadcast_div"]


def run(root, *arguments, cwd):
    ran = subprocess.run([sys.executable, str(root / "sandbox.py"), *arguments], cwd=str(cwd),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return ran.returncode, ran.stdout


def outcomes(output):
    """Dict of check → the word after its name."""
    return {line.split()[0]: line.split()[1] for line in output.splitlines()
            if line.split()[0] in CHECKS}


def test_every_check_passes_on_the_reference_from_any_directory(tmp_path):
    status, output = run(ROOT, cwd=tmp_path)
    assert outcomes(output) == dict.fromkeys(CHECKS, "ok") and status == 0


def test_it_ends_without_a_word_where_nobody_reads_on():
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([sys.executable, str(ROOT / "sandbox.py"), "test_add"], stdout=writer,
                         stderr=subprocess.PIPE)
    os.close(writer)
    assert (ran.stderr, ran.returncode) == (b"", -signal.SIGPIPE)


def test_no_check_fails_on_a_second_correct_solution(tmp_path):
    solutions.write(tmp_path, solutions.SECOND)
    shutil.copy(str(ROOT / "sandbox.py"), str(tmp_path))
    shutil.copytree(str(ROOT / "autograder/hw1_autograder"), str(tmp_path / "autograder/hw1_autograder"),
                    ignore=shutil.ignore_patterns("__pycache__", "data"))
    status, output = run(tmp_path, cwd=tmp_path)
    assert set(outcomes(output).values()) <= {"ok", "optional"} and status == 0, output


# Planted bugs: each is a function of what is right, and sits there in its place.


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


def without_momentum(step):
    def wrong(self):
        self.momentum = 0.0
        step(self)
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
        mean, std = Tensor(x.data.mean(axis=0)), Tensor(x.data.std(axis=0) + 1e-12)
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
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
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


USE_MUL = ["test_mul", "test2", "test3", "test4", "test8"]
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
                     "test_add FAILED output[0, 0]"),
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


@pytest.mark.parametrize("operation", ["Sub", "Mul", "Div"])
def test_broadcasting_where_no_problem_asks_for_it_costs_nothing(operation, monkeypatch, capsys):
    monkeypatch.setattr(F, "unbroadcast", lambda grad, shape: grad)
    name = f"testbroadcast_{operation.lower()}"
    assert sandbox.main([name]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name:21}optional  gradient of b: expected shape (4,), got (3, 4)",
        "  full marks need it in Add alone"]


def test_momentum_that_is_not_written_yet_is_said_to_be_unfinished(monkeypatch, capsys):
    monkeypatch.setattr(SGD, "step", without_momentum(SGD.step))
    assert sandbox.main(["test_momentum", "test_sgd"]) == 1
    momentum, sgd = capsys.readouterr().out.splitlines()
    assert "not started  2.6, or v is not stored: step 2 keeps nothing of step 1" in momentum
    assert sgd.split() == ["test_sgd", "ok"]


def test_an_apply_that_records_no_graph_is_said_to_be_unfinished(monkeypatch, capsys):
    monkeypatch.setattr(Function, "apply", classmethod(lambda cls, *args: cls.forward(
        sandbox.ContextManager(), *args)))
    sandbox.main([])
    output = capsys.readouterr().out
    assert "FAILED" not in output
    assert output.count("not started  no grad_fn on the result: Function.apply (1.2)") > 8
    assert sandbox.main(["--trace"]) == 1
    assert "--trace: not started  no grad_fn on the result" in capsys.readouterr().out


def test_an_apply_that_records_nothing_where_one_input_is_a_constant_is_said_to_be_that(
        monkeypatch, capsys):
    recording = vars(Function)["apply"].__func__

    def apply(cls, *args):
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        if all(tensor.requires_grad for tensor in tensors):
            return recording(cls, *args)
        return cls.forward(sandbox.ContextManager(), *args)
    monkeypatch.setattr(Function, "apply", classmethod(apply))
    assert sandbox.main(["test1", "test5"]) == 1
    test1, test5 = capsys.readouterr().out.split("\n", 1)
    assert test1.split() == ["test1", "ok"]
    assert "as soon as one input requires grad, though another is a constant" in " ".join(test5.split())
    assert "cut off" not in test5


def test_lines_are_wrapped_between_words_at_the_terminals_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = sandbox.wrapped("FAILED  one tw-three-four five six\nseven eight nine ten eleven twelve "
                            "thirteen", 21).splitlines()
    assert lines == ["FAILED  one", "    tw-three-four five six",
                     "  seven eight nine ten eleven twelve", "    thirteen"]


def test_checks_can_be_named_and_an_unknown_one_is_refused(capsys):
    sandbox.main(["test1", "test_sub"])
    assert list(outcomes(capsys.readouterr().out)) == ["test1", "test_sub"]
    assert sandbox.main(["test99"]) == 2
    assert "unknown check test99; there are test_add" in capsys.readouterr().err


def test_it_traces_and_draws_the_example(tmp_path, capsys, monkeypatch):
    assert sandbox.main(["--trace"]) == 0
    output = capsys.readouterr().out
    assert "a.grad = 3" in output and "c.grad = 1" in output and "b.grad" not in output
    monkeypatch.chdir(tmp_path)
    assert sandbox.main(["--draw"]) == 0
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_it_draws_the_graph_also_where_backward_is_not_written_yet(tmp_path, capsys, monkeypatch):
    def unwritten(*_):
        raise NotImplementedError("TODO (1.2): walk")
    monkeypatch.setattr(Tensor, "backward", unwritten)
    monkeypatch.chdir(tmp_path)
    assert sandbox.main(["--draw", "mine.png"]) == 0
    assert capsys.readouterr().out == (
        "backward is not started: TODO (1.2): walk\n"
        "The graph of the example, as Function.apply recorded it: mine.png\n")
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_option_is_answered_with_the_usage(capsys):
    assert sandbox.main(["--trace", "naive"]) == 2
    assert capsys.readouterr().err.startswith("usage: python3 sandbox.py")


# check_gradients


class Wrong(Function):
    """Doubles, but hands on ones instead of twice what arrives."""

    @staticmethod
    def forward(ctx, a):
        return Tensor(2 * a.data)

    @staticmethod
    def backward(ctx, grad_output):
        return Tensor(2 * np.ones(grad_output.shape))


def scaled(*factors):
    """A Function ``a + b`` whose backward multiplies each gradient by a factor or array."""
    class Scaled(Function):
        @staticmethod
        def forward(ctx, *args):
            return Tensor(sum(arg.data for arg in args))

        @staticmethod
        def backward(ctx, grad_output):
            return tuple(Tensor(factor * grad_output.data) for factor in factors)
    return Scaled.apply


def test_check_gradients_names_the_worst_entry_and_the_mistake(capsys):
    assert check_gradients(Wrong.apply, Tensor([[1.0, 2.0]])) is False
    output = capsys.readouterr().out
    assert re.search(r"gradient of input 0\[0, [01]\]: expected -?[\d.]+, got 2; 2 of 2 differ", output)
    assert "looks like: the upstream gradient ignored" in output


def test_check_gradients_shows_the_entry_that_is_most_wrong_of_the_input_that_is(capsys):
    off = np.array([[1, 1.01, 1], [1, 3, 1.02]])
    assert check_gradients(scaled(1.001, off), *2 * [Tensor(np.ones((2, 3)))],
                           upstream=np.ones((2, 3))) is False
    assert capsys.readouterr().out == ("check_gradients: gradient of input 1[1, 1]: expected 1, got 3; "
                                       "3 of 6 differ\n")


@pytest.mark.parametrize("wrong, shown", [(np.nan, "nan"), (1.01, "1.01")])
def test_check_gradients_names_the_input_that_fails_not_the_one_with_large_numbers(
        wrong, shown, capsys):
    # Input 0 is a thousand times as large: what is tolerated there is more than input 1 is off.
    def function(a, b):
        return scaled(1 + 5e-5, 1)(a * Tensor(1e3), scaled(wrong)(b))
    assert check_gradients(function, Tensor([1.0]), Tensor([1.0]), upstream=np.ones(1)) is False
    assert f"gradient of input 1[0]: expected 1, got {shown}" in capsys.readouterr().out


def test_nan_and_inf_are_the_worst_there_is():
    right, held = np.array([1.0, 2.0, 3.0]), np.array([9.0, np.nan, 3.0])
    assert compare("g", Tensor(held), right)[0] == np.inf
    assert "g[1]: expected 2, got nan; 2 of 3" in compare("g", Tensor(held), right)[1]
    assert compare("g", Tensor(right), np.full(3, np.inf))[0] == np.inf


def test_the_worst_entry_is_one_that_is_wrong_not_a_large_one_within_its_tolerance():
    right = np.array([1e6, 1.0])
    assert "g[1]: expected 1, got 1.01; 1 of 2" in compare("g", Tensor(right + [50, 0.01]), right)[1]


def test_check_gradients_accepts_what_is_right_and_changes_no_gradient(capsys):
    a, b = Tensor([[1.0, -2.0]], requires_grad=True), Tensor([[3.0], [4.0]], requires_grad=True)
    assert check_gradients(lambda a, b: a * b / (a - b), a, b) is True
    assert "ok, 4 entries" in capsys.readouterr().out
    assert a.grad is None and b.grad is None


def test_check_gradients_checks_those_that_require_grad_or_all(capsys):
    a, b = Tensor([1.0], requires_grad=True), Tensor([2.0])
    assert check_gradients(scaled(1, 5), a, b) is True
    assert check_gradients(scaled(1, 5), b, b) is False


def test_check_gradients_of_a_module_checks_its_parameters_and_changes_nothing(monkeypatch, capsys):
    model = Sequential(Linear(2, 3), BatchNorm1d(3), Linear(3, 3)).float()
    before = [np.array(tensor.data) for tensor in model.parameters()] + [model[1].running_mean.data]
    held = model[0].bias.grad = Tensor(np.ones(3))
    assert check_gradients(model, Tensor(uneven(4, 2))) is True
    assert "ok, 35 entries" in capsys.readouterr().out
    after = [tensor.data for tensor in model.parameters()] + [model[1].running_mean.data]
    assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(before, after))
    assert model[0].bias.grad is held
    monkeypatch.setattr(F.Linear, "backward", zeros_for_the_last(F.Linear.backward))
    assert check_gradients(model, Tensor(uneven(4, 2))) is False
    assert "gradient of Linear.bias (2)[" in capsys.readouterr().out


def test_check_gradients_says_that_no_gradient_came(capsys):
    assert check_gradients(lambda a, b: a * 1, Tensor([1.0]), Tensor([1.0])) is False
    assert "gradient of input 1: expected a Tensor of shape (1,), got None" in capsys.readouterr().out
    assert check_gradients(lambda a: Tensor(a.data), Tensor([1.0])) is False
    assert "check_gradients: the result is cut off from the graph" in capsys.readouterr().out
    with pytest.raises(TypeError, match="a function that returns a Tensor, got ndarray"):
        check_gradients(lambda a: a.data, Tensor([1.0]))


@pytest.mark.parametrize("got, complaint", [
    (np.ones((2, 3)), "g: expected a Tensor of shape (2, 3), got ndarray of shape (2, 3)"),
    (Tensor(uneven(3, 2)), "g: expected shape (2, 3), got (3, 2)\n  looks like: the transpose"),
    (Tensor(np.zeros((2, 3))), "looks like: all zeros"),
])
def test_a_comparison_says_what_came(got, complaint):
    assert complaint in compare("g", got, uneven(3, 2).T)[1]


def test_what_is_right_within_the_tolerance_of_central_differences_passes():
    right = np.array([1000.0, 0.0])
    assert compare("g", Tensor(right + [0.09, 9e-7]), right)[1] == ""
    assert "g[0]" in compare("g", Tensor(right + [0.2, 0]), right)[1]
    assert "g[1]" in compare("g", Tensor(right + [0, 3e-6]), right)[1]


def test_against_torch_says_where_there_is_no_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert against_torch(lambda a: a * a, Tensor([1.0])) is None
    assert "PyTorch is not installed here" in capsys.readouterr().out


def test_the_library_needs_nothing_of_the_grader(tmp_path):
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
            "import mytorch.gradient_check, mytorch.show, mytorch.optim.sgd, mytorch.nn.loss; "
            "print([m for m in sys.modules.values() if 'autograder' in str(getattr(m, '__file__', ''))])")
    ran = subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), stdout=subprocess.PIPE,
                         universal_newlines=True)
    assert ran.stdout == "[]\n"
