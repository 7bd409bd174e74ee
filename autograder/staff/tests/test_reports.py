"""What a student reads: a mistake is made, its problem graded, and the message read.
Asked for are names and places; a diagnosis is printed only when it is the one that fits."""

import io
import re
import types
from pathlib import Path

import numpy as np
import pytest

from grader import errors, graded, grading, judge, report, verdict
from planted_bugs import BATCHNORM, ENGINE, FUNCTIONAL, LINEAR, SGD, TENSOR
from problems import GRADED, HINTS
from processes import isolation
from reading import SECOND_BATCHNORM, report_of

SUB = "    def __sub__(self, other):\n        return F.Sub.apply(self, other)\n"
FIRST_PARENT = (ENGINE, "for i in range(len(grad_fn.next_functions)):", "for i in range(1):")

# What is still to be written.


@pytest.mark.slow
@pytest.mark.parametrize("number, changes, says", [
    ("1.1.1", [(TENSOR, SUB, "")], "in work: Tensor.__sub__ in mytorch/tensor.py is missing"),
    ("2.1", [(LINEAR, "return x @", 'raise NotImplementedError("TODO (2.1): y")\n        return x @')],
     r"in work: Linear.forward in mytorch/nn/linear.py:\d+ is missing"),
    ("2.2", [(LINEAR, "return x @", 'raise NotImplementedError("TODO (2.1): y")\n        return x @')],
     r"forward, and 1 more \.+ 0/3 uses 2.1, not finished"),
    ("1.1.1", [(FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
                'raise NotImplementedError("TODO (2.1): sum")')],
     "this problem does not need that: something else leads there"),
])
def test_what_is_still_to_be_written_is_named(number, changes, says):
    numbers = {"2.2": ("2.1", "2.2")}.get(number, (number,))
    assert re.search(says, report_of(*numbers, changes=changes))


def test_a_minus_before_a_tensor_is_a_mistake_in_that_line_and_not_a_missing_operator():
    said = report_of("1.1.1", changes=[(
        FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
        "return grad_output.copy(), -grad_output")])
    assert "mytorch/tensor.py gives a Tensor no unary minus; forward and backward" in said
    assert re.search(r"at mytorch/nn/functional.py:\d+: return grad_output.copy\(\), -grad", said)
    assert "in work" not in said and "not started" not in said


def test_the_last_line_says_where_to_go_on():
    said = report_of("1.1.1", "1.1.2", changes=[(
        FUNCTIONAL, "tensor.Tensor(b.data * grad_output.data)", "tensor.Tensor(b.data)")])
    assert re.search(r"next: 1.1.2, Mul.backward in mytorch/nn/functional.py:\d+$", said)


TODO = {"type": "NotImplementedError", "message": "TODO (1.1.2): multiply"}
OTHER = {"type": "ValueError", "message": "no"}


@pytest.mark.parametrize("ended_by, number", [((TODO, TODO), "1.1.2"), ((TODO, OTHER, TODO), "")])
def test_a_problem_waits_for_an_earlier_one_only_if_all_its_failing_tests_do(ended_by, number):
    problem, answers = next(p for p in GRADED if p.number == "1.2"), grading.RecordedAnswers()
    answers.load()
    cases = [case for case in verdict.cases_of(problem) if case.scored][:len(ended_by)]
    outcome = isolation.Outcome(None)
    outcome.cases = {case.name: {"error": error} for case, error in zip(cases, ended_by)}
    assert verdict.Verdict(problem, outcome, answers, cases).waits_for == number


# Is an earlier problem used?


@pytest.mark.slow
def test_a_failing_problem_that_is_used_is_named_as_a_fact():
    said = report_of("1.2", "2.1", changes=[FIRST_PARENT])
    assert "uses 1.2, which fails above" in said[said.index("2.1 Linear backward"):]
    assert "uses 1.2" not in said[:said.index("2.1 Linear backward")]
    assert "2.1 Linear forward ............................................ 2/2" in said


@pytest.mark.slow
def test_two_separate_errors_are_two():
    said = report_of("2.1", "2.4", changes=[(LINEAR, "return x @", "return y @"),
                                            (BATCHNORM, "old = 1 - ", "old = one - ")])
    assert "NameError: name 'y' is not defined" in said
    assert "NameError: name 'one' is not defined" in said


# The place is the student's line.


OVERFLOW = (FUNCTIONAL, "biggest = np.max(predicted.data, axis=1).reshape(batch_size, 1)",
            "biggest = np.zeros((batch_size, 1))")


@pytest.mark.slow
@pytest.mark.parametrize("number, changes, place", [
    ("2.5", [OVERFLOW], r"exp overflows at mytorch/nn/functional.py:\d+: ctx.exp = np.exp\(a.data\)"),
    ("2.2", [(FUNCTIONAL, "return tensor.Tensor(grad_output.data * ctx.positive)",
              "return grad_output.data * ctx.positive")],
     r"ReLU.backward in mytorch/nn/functional.py:\d+"),
    ("1.1.1", [(FUNCTIONAL, "    def forward(ctx, a, b):\n        check_same_shape(a, b)\n        return "
                "result(a.data - b.data, a, b)",
                "    def forward(a, b):\n        return result(a.data - b.data, a, b)")],
     r"at mytorch/nn/functional.py:\d+: Sub: def forward\(a, b\)"),
    ("1.1.1", [(FUNCTIONAL, "return result(a.data - b.data,", "return result(a.dat - b.data,")],
     r"next: 1.1.1, mytorch/nn/functional.py:\d+$"),
    ("2.1", [(LINEAR, "return x @", "return x @ \0")],
     r"not plain text: save it as UTF-8 at mytorch/nn/linear.py:1\s[\s\S]*"
     "next: 2.1, mytorch/nn/linear.py:1$"),
    ("2.4", [(BATCHNORM, "from mytorch.tensor import Tensor", "import mytorch.tensor as Tensor")],
     r"imported at mytorch/nn/batchnorm.py:\d+: import mytorch.tensor as Tensor"),
])
def test_the_place_is_the_line_that_is_wrong(number, changes, place):
    said = report_of(number, changes=changes)
    assert re.search(place, said)


def test_an_endless_loop_is_the_students_and_not_what_it_calls(tmp_path):
    called = [("mytorch/tensor.py", 9, "copy"), ("mytorch/autograd_engine.py", 8, "apply"),
              ("mytorch/nn/functional.py", 7, "compute"), ("mytorch/nn/sequential.py", 6, "forward"),
              ("mytorch/nn/module.py", 5, "__call__")]
    outcome = types.SimpleNamespace(root=tmp_path, stuck_at=[
        (str(tmp_path / file), line, name) for file, line, name in called])
    assert errors.loop_of_the_student(outcome) == "mytorch/nn/sequential.py:6"
    del outcome.stuck_at[2:]
    assert errors.loop_of_the_student(outcome) == "mytorch/tensor.py:9"


def test_an_error_of_a_test_says_what_the_code_returned():
    said = report_of("2.1", changes=[(LINEAR, "return x @", "if x.requires_grad: return\n        return x @")])
    assert re.search("expected a Tensor, got None|the code returned None where the test needs a Tensor "
                     "in the test, test_mlp.py:", said)
    assert "Traceback" not in said and "graded.py" not in said


AS_A_TENSOR = (BATCHNORM, "self.running_mean = Tensor(old", "self.running_mean.data = Tensor(old")


@pytest.mark.slow
@pytest.mark.parametrize("numbers, changes, place", [
    (["2.4"], [AS_A_TENSOR], r"at mytorch/nn/batchnorm.py:\d+: self.running_mean.data"),
    (["2.4"], [FIRST_PARENT], r"got None .* at BatchNorm1d.forward"),
    (["2.3", "2.4"], [(BATCHNORM, SECOND_BATCHNORM, SECOND_BATCHNORM.replace("return ", "return Tensor(")
                       + ".data)")], r"got None cut off from the graph at mytorch/nn/batchnorm.py:\d+"),
    (["2.5"], [(FUNCTIONAL, "    log_probabilities = shifted + log_sums * minus\n",
                "    log_probabilities = (shifted.exp() / (shifted.exp() @ tensor.Tensor(np.ones(("
                "num_classes, num_classes))))).log()\n")],
     r"the logarithm of 0 is taken at mytorch/nn/functional.py:\d+"),
    (["2.5"], [(FUNCTIONAL, "chosen * tensor.Tensor(-1.0 / batch_size)",
                "chosen * tensor.Tensor(-1.0 / batch_size / np.log(10))")], "np.log10 and not np.log"),
    (["2.5"], [(FUNCTIONAL, "shifted.exp().sum(axis=1).log()", "tensor.Tensor(np.log10(np.exp("
                "shifted.data).sum(axis=1)).reshape(batch_size, 1))")], "the natural one is np.log"),
    (["2.5"], [(FUNCTIONAL, "    chosen = (log_probabilities * to_one_hot(target, num_classes)).sum()",
                "    chosen = (log_probabilities * tensor.Tensor(np.ones((batch_size, 1)) * to_one_hot("
                "target, num_classes).data.sum(axis=0))).sum()")],
     r"log_p\[:, labels\] takes the columns of all labels"),
    (["2.4"], [(BATCHNORM, "if not self.is_train:", "if not self.train:")], "train is a method"),
])
def test_what_is_said_of_a_mistake_is_true_of_it(numbers, changes, place):
    said = report_of(*numbers, changes=changes)
    assert re.search(place, said[:said.index("run again")])
    assert ("cut off" in said) == ("cut off" in place) and "division by zero" not in said


# Hints are about what failed.


@pytest.mark.parametrize("number, label, complaint, part", [
    ("2.4", "layer.running_mean", "layer.running_mean[0]: expected 1, got 2", "mean"),
    ("2.4", "layer.running_var", "layer.running_var[0]: expected 1, got 2", "m - 1"),
    ("1.2", "(leaf + leaf).is_leaf", "(leaf + leaf).is_leaf: expected False, got True", "not a leaf"),
    ("1.1.3", "gradient of b", "gradient of b: expected a Tensor, got None", ""),
    ("1.1.3", "output of forward", "output of forward[0]: expected 1, got 2", ""),
    ("2.5", "loss", "loss: expected shape (), got (4,)", ""),
    ("2.5", "loss", "loss: expected 1.34, got nan", ""),
    ("2.4", "output in evaluation", "output in evaluation[0]: expected 1, got 2", "running_var + ε"),
])
def test_a_hint_is_about_the_result_that_is_wrong(number, label, complaint, part):
    problem = next(problem for problem in GRADED if problem.number == number)
    hint = verdict.hint_for(problem, label, complaint)
    assert part in hint and bool(hint) == bool(part)


def test_there_are_hints_for_every_problem_and_none_that_solves_it_twice():
    assert set(HINTS) == {problem.number for problem in GRADED} - {"1.1"}


@pytest.mark.slow
def test_two_results_that_are_wrong_have_a_hint_each_and_simple_relations_are_told():
    said = report_of("2.4", changes=[(BATCHNORM, f"old * self.{name}", f"old * old * self.{name}")
                                     for name in ("running_mean", "running_var")])
    assert "hint: running_mean ←" in said and "hint: running_var ←" in said
    said = report_of("1.1.1", changes=[(
        FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
        "return tensor.Tensor(-grad_output.data), grad_output.copy()")])
    assert said.count("that is the right answer with the opposite sign") == 2


# What Python says, in plain words.


@pytest.mark.parametrize("kind, message, source, words", [
    ("TypeError", "operand 'Tensor' does not support ufuncs (__array_ufunc__=None)", "np.exp(x)",
     "NumPy does not compute with a Tensor"),
    ("TypeError", "NumPy cannot take a Tensor as an array: pass its .data", "np.mean(x)",
     ".data belongs into operations"),
    ("TypeError", "save_for_backward: expected Tensors, got float; keep a", "save_for_backward(a, b)",
     "the operator in mytorch/tensor.py must hand on Tensors"),
    ("TypeError", "Function.apply() got an unexpected keyword argument 'axis'", "F.Sum.apply(",
     "apply takes all arguments by their position"),
    ("TypeError", "object of type 'Tensor' has no len()", "len(x)", "x.shape[0]"),
    ("AttributeError", "'ContextManager' object has no attribute 'shapes'", "ctx.shapes[0]",
     "forward must keep it for backward: ctx.shapes = ..."),
    ("ValueError", "not enough values to unpack (expected 2, got 0)", "a, b = ctx.saved_tensors",
     "forward has saved 0 Tensors"),
    ("NameError", "name 'np' is not defined", "np.exp(z)", "the file does not import np"),
    ("RecursionError", "maximum recursion depth exceeded", "return a - b",
     "the code calls itself without end: does an operation use itself?"),
    ("ModuleNotFoundError", "No module named 'mytorch.nn.loss'", "",
     "the file mytorch/nn/loss.py is missing, or it is named differently"),
    ("ModuleNotFoundError", "No module named 'tensor'", "import tensor", "write mytorch. before tensor"),
    ("ImportError", "cannot import name 'Tensor' from partially initialized module 'mytorch.tensor'",
     "", "the files import each other in a circle"),
    ("AttributeError", "'Tensor' object has no attribute 'square'", "x.square()",
     "mytorch/tensor.py gives a Tensor no square"),
    ("AttributeError", "'NoneType' object has no attribute 'data'", "v += p.grad.data",
     "p.grad is None"),
    ("TypeError", "unsupported operand type(s) for *: 'float' and 'memoryview'", "",
     "a memoryview is the .data of an ndarray"),
    ("TypeError", "ReLU() takes no arguments", "", "called by its apply: F.ReLU.apply(...)"),
    ("AttributeError", "'BatchNorm1d' object has no attribute 'training'", "", "is_train"),
    ("AttributeError", "'AccumulateGrad' object has no attribute 'function'", "",
     "a node is run by its apply"),
    ("AttributeError", "'Tensor' object has no attribute 'next_functions'", "",
     "the node of a Tensor is its grad_fn"),
    ("TypeError", "unsupported operand type(s) for ^: 'Tensor' and 'int'", "b ^ 2", "a power is **"),
    ("TypeError", "ufunc 'bitwise_xor' not supported for the input types", "b ^ 2", "a power is **"),
    ("TypeError", "Sub.forward() takes 2 positional arguments but 3 were given", "",
     "Sub.forward is called with other arguments than it has"),
    ("TypeError", "'module' object is not callable", "Tensor(x)", "a module is used as if it were"),
    ("TypeError", "unsupported operand type(s) for @: 'Tensor' and 'method'", "", "x.T() is the"),
    ("TypeError", "unsupported operand type(s) for **: 'Tensor' and 'int'", "x ** 2",
     "mytorch/tensor.py has no operator ** for these two"),
    ("TypeError", "unsupported operand type(s) for *: 'float' and 'Tensor'", "", "float * Tensor is"),
    ("BdbQuit", "", "", "--debug"),
    ("SyntaxError", "source code string cannot contain null bytes", "", "save it as UTF-8"),
    ("SyntaxError", "(unicode error) 'utf-8' codec can't decode byte 0xff", "", "save it as UTF-8"),
])
def test_what_an_exception_means_is_said_in_plain_words(kind, message, source, words):
    error = {"type": kind, "message": message, "source": source, "place": "mytorch/nn/functional.py:9"}
    assert words in errors.what_it_means(kind, message, error)


@pytest.mark.parametrize("kind, message, source", [
    ("ValueError", "not enough values to unpack (expected 2, got 1)", "m, n = x.shape"),
    ("NameError", "name 'b' is not defined", "b + 1"),
    ("ModuleNotFoundError", "No module named 'torch'", "import torch"),
    ("AttributeError", "'NoneType' object has no attribute 'data'", "y = x.data"),
])
def test_what_python_says_well_is_left_at_that(kind, message, source):
    assert errors.what_it_means(kind, message, {"source": source}) == ""


@pytest.mark.slow
@pytest.mark.parametrize("number, change, words", [
    ("2.2", (FUNCTIONAL, "class ReLU(Function):", "class ReLU:"), "class ReLU(Function)"),
    ("1.2", (ENGINE, "    @classmethod\n    def apply(cls", "    def apply(cls"), "@classmethod"),
    ("1.2", (ENGINE, "grad_fn.apply(grad_of_outputs)\n    if not isinstance",
             "grad_fn.backward(grad_fn.ctx, grad_of_outputs)\n    if not isinstance"),
     "a node is run by its apply"),
    ("2.5", (FUNCTIONAL, "grad_output.data / ctx.saved_tensors[0].data",
             "grad_output.data / ctx.saved_tensors.data"), "(z,) = ctx.saved_tensors"),
    ("1.1.3", (FUNCTIONAL, "b.data ** -2", "b.data ^ -2"), "a power is ** in Python"),
    ("2.2", (FUNCTIONAL, "    def backward(ctx, grad_output):\n        return tensor.Tensor("
             "grad_output.data * ctx.positive)", "    def backwards(ctx, g):\n        return g"),
     "ReLU.backward is not written"),
    ("2.4", (BATCHNORM, SECOND_BATCHNORM, "return F.Square.apply(x)"),
     "mytorch/nn/functional.py has no Square, which this line asks for"),
    ("2.3", (SGD, "p.data -= self.lr * v", "p.data = type(p)(p.data - self.lr * v)"),
     "the parameter's .data is a Tensor"),
])
def test_a_mistake_that_ends_in_an_exception_has_words_and_a_place(number, change, words):
    said = report_of(number, changes=[change])
    assert words in said and "not started" not in said
    assert re.search(r"at \S* ?mytorch/\w+|in mytorch/\w+", said)


# Length, width, paths, signs.


@pytest.mark.slow
def test_a_long_line_is_printed_once_and_a_list_of_results_is_cut_off():
    said = report_of("2.1", bug="Linear: weight not transposed")
    assert said.count("Exception: cannot multiply (5, 4) and (3, 4)") == 1
    assert "the same as in 2.1, above, at mytorch/nn/functional.py:" in said
    said = report_of("2.6", bug="momentum: never stored")
    assert said.count("mistake: The steps are those without momentum") == 1
    assert len(report.shortened([f"{label}: expected 1, got 2" for label in "abcde"] + ["input: "])) == 4


def test_text_is_as_wide_as_the_terminal(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    report.Report(stream)._indented("word " * 50)
    assert 50 < max(map(len, stream.getvalue().splitlines())) <= 60


def test_what_a_passing_problem_printed_is_one_line():
    said = report_of("1.1.1", changes=[(FUNCTIONAL, "return result(a.data - b.data, a, b)",
                                        "print('a')\n        print('b')\n        "
                                        "return result(a.data - b.data, a, b)")])
    assert re.search(r"5/5 printed \d+ lines", said) and "| a" not in said


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


def test_an_object_that_an_exception_names_is_shown_without_its_place_in_memory():
    error = dict(type="KeyError", message="<mytorch.tensor.Tensor object at 0x7f6e8965bc10>")
    assert errors.explain_error(error)[0] == "KeyError: <mytorch.tensor.Tensor object>"


# Numbers in simple relations to the right ones, and mistakes.


def plain(values):
    values = np.array(values)
    return {"type": "ndarray", "kind": "Tensor", "shape": list(values.shape),
            "values": values.ravel().tolist()}


def test_a_missing_mean_is_recognised_for_every_size_of_batch_that_the_tests_use():
    sizes = {case.draw(1).x.shape[-2] for case in graded.CASES.values() if "x" in case.inputs}
    right = np.array([[0.5, -1.5], [2.0, 0.25]])
    for size in sorted(sizes - {1}):
        assert judge.numbers.looks_like(right, size * right).startswith(
            f"the right answer times {size} (")
    assert judge.numbers.looks_like(right, 11 * right) == ""


def recorded(says, **results):
    return {"says": says, "number": "2.7", "results": {"test": {
        label: None if made is None else plain(made) for label, made in results.items()}}, "errors": {}}


@pytest.mark.parametrize("given, names", [
    ([recorded("one", a=[3.0])], ["one"]),
    ([recorded("one", a=[3.0]), recorded("two", a=[3.0]), recorded("three", a=[3.0])],
     ["one", "two", "three"]),
    ([recorded(name, a=[3.0]) for name in ("one", "two", "three", "four")], []),
    ([recorded("one", a=[3.0], b=[1.0])], []),  # b is right, and is not with this mistake
    ([recorded("one", a=[4.0])], []),
    ([recorded("one", b=[7.0])], []),
])
def test_a_mistake_is_named_if_all_results_are_what_it_gives_and_up_to_three_fit(given, names):
    expected = {"a": plain([1.0]), "b": plain([2.0])}
    message = {"results": {"a": plain([3.0]), "b": plain([2.0])}}
    fit = [mistake for mistake in given if judge.agrees(mistake, "test", expected, message)]
    wrong = judge.judge_case(expected, message)
    assert judge.names_of(fit, "test", wrong, message) == names


def test_an_exception_is_named_if_its_kind_and_text_are_those_recorded():
    mistake = {**recorded("one"), "errors": {"test": {"type": "TypeError", "message": "no"}}}
    error = {"type": "TypeError", "message": "no", "place": "mytorch/tensor.py:3"}
    assert judge.names_of([mistake], "test", {}, {"error": error}) == ["one"]
    error["message"] = "yes"
    assert judge.names_of([mistake], "test", {}, {"error": error}) == []


def test_a_place_of_a_warning_is_told_only_with_the_line_it_came_from():
    warning = {"message": "divide by zero encountered in log", "place": "mytorch/nn/functional.py:3",
               "source": "np.log(p)"}
    assert errors.first_not_finite(warning) == (
        "the logarithm of 0 is taken at mytorch/nn/functional.py:3:  np.log(p)")
    assert errors.first_not_finite({**warning, "place": ""}) == errors.first_not_finite({}) == ""


def test_a_verdict_that_nobody_foresaw_is_shown_all_the_same():
    stream = io.StringIO()
    report.Report(stream).show(types.SimpleNamespace(problem=GRADED[0], passed=False))
    assert "cannot be shown" in stream.getvalue()
