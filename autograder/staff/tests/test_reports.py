"""What a student reads: a mistake is planted, its problem graded, and the message read.
A diagnosis is printed only when it is the one that fits; a place is named always."""

import io
import re
import types
from pathlib import Path

import numpy as np
import pytest

from grader import child
from grader import errors
from grader import graded
from grader import errors
from grader import judge
from grader import report
from planted_bugs import BATCHNORM, ENGINE, FUNCTIONAL, LINEAR, SGD, TENSOR
from problems import GRADED
from reading import BY_NAME, SECOND_BATCHNORM, report_of
from solutions import REFERENCE

# Not started, or wrong?


def test_a_minus_before_a_tensor_is_a_mistake_in_that_line_and_not_a_missing_operator():
    said = report_of("1.1.1", changes=[(
        FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
        "return grad_output.copy(), -grad_output")])
    assert "mytorch/tensor.py gives a Tensor no unary minus; forward and backward" in said
    assert re.search(r"at mytorch/nn/functional.py:\d+: return grad_output.copy\(\), -grad", said)
    assert "not started" not in said and "no operator" not in said


@pytest.mark.slow
def test_what_the_handout_leaves_to_write_is_not_started():
    operator = "    def __sub__(self, other):\n        return F.Sub.apply(self, other)\n"
    said = report_of("1.1.1", changes=[(TENSOR, operator, "")])
    assert "(not started: Tensor has no operator - (__sub__) yet, in mytorch/tensor.py)" in said
    said = report_of("1.2", changes=[(TENSOR, operator, "")])
    assert "1.2 Autograd .................................................. 25/25" in said
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


@pytest.mark.parametrize("kind, message, source, advice", [
    ("TypeError", "operand 'Tensor' does not support ufuncs (__array_ufunc__=None)", "np.exp(x)",
     "NumPy does not compute with a Tensor; forward and backward of an operation compute with arrays"),
    ("TypeError", "NumPy cannot take a Tensor as an array: pass its .data", "np.mean(x)",
     ".data belongs into operations: elsewhere no gradient comes back through it"),
    ("TypeError", "save_for_backward: expected Tensors, got float; keep a", "save_for_backward(a, b)",
     "if that is an operand, the operator in mytorch/tensor.py must hand on Tensors, like +"),
    ("TypeError", "Function.apply() got an unexpected keyword argument 'axis'", "F.Sum.apply(",
     "apply takes all arguments by their position, without names"),
    ("TypeError", "apply() got an unexpected keyword argument 'axis'", "F.Sum.apply(",
     "apply takes all arguments by their position, without names"),
    ("TypeError", "object of type 'Tensor' has no len()", "len(x)",
     "how many rows x has says x.shape[0]"),
    ("AttributeError", "'ContextManager' object has no attribute 'shapes'", "ctx.shapes[0]",
     "forward must keep it for backward: ctx.shapes = ..."),
    ("ValueError", "not enough values to unpack (expected 2, got 0)", "a, b = ctx.saved_tensors",
     "forward has saved 0 Tensors for backward: ctx.save_for_backward(...)"),
    ("NameError", "name 'np' is not defined", "np.exp(z)", "the file does not import np"),
    ("RecursionError", "maximum recursion depth exceeded", "return a - b",
     "the code calls itself without end: does an operation use itself? forward and backward of"),
])
def test_what_python_says_of_a_typical_mistake_is_said_in_plain_words_too(
        kind, message, source, advice):
    error = {"type": kind, "message": message, "source": source, "place": "mytorch/nn/functional.py:9"}
    assert errors.explain_error(error)[1].startswith(advice)


@pytest.mark.parametrize("kind, message, source", [
    ("ValueError", "not enough values to unpack (expected 2, got 1)", "m, n = x.shape"),
    ("NameError", "name 'b' is not defined", "b + 1"),
])
def test_what_python_says_well_is_left_at_that(kind, message, source):
    error = {"type": kind, "message": message, "source": source, "place": "mytorch/nn/linear.py:9"}
    assert len(errors.explain_error(error)) == 2


def test_a_weight_whose_data_became_a_tensor_is_said_to_be_that_and_not_the_test():
    refusing = "class Tensor:\n    def __array__(self, *_, **__):\n        raise TypeError('no array')\n\n"
    said = report_of("2.3", changes=[
        (SGD, "p.data -= self.lr * v", "p.data = type(p)(p.data - self.lr * v)"),
        (TENSOR, "class Tensor:\n", refusing)])
    assert "weight: expected a Tensor with an ndarray as data, got a Tensor whose data is" in said
    assert "no array" not in said


# Is an earlier problem the cause?


FIRST_PARENT = (ENGINE, "for i in range(len(grad_fn.next_functions)):", "for i in range(1):")


def test_an_earlier_problem_is_named_as_the_cause_with_the_place_where_it_shows():
    said = report_of("1.2", "2.1", changes=[FIRST_PARENT])
    assert "gradient of layer.weight: expected a Tensor, got None" in said
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
    assert "expected None, got a Tensor" in said
    assert " bias[0]: expected" in said
    assert "probably caused by" not in said


# Names of mistakes: five that were false once, and the ones that say what happened.


@pytest.mark.slow
@pytest.mark.parametrize("bug, numbers, never, says", [
    ("BatchNorm: stores the biased variance", ["2.4"], "normalised with",
     "looks like: BatchNorm: stores the biased variance"),
    ("a leaf's gradient is overwritten by each path", ["1.2"], "only the first",
     "AccumulateGrad.apply: a second gradient replaces the first; they must be added"),
    ("a shared node keeps the gradient of the last path only", ["1.2"], "only the first of",
     "a result that is used twice: only one of its two gradients went through"),
    ("a shared node runs before its later gradients have come (queue)", ["1.2"], "only the",
     "one of its gradients went through its node alone and then again in the sum"),
    ("gradients are added in place, into arrays that others hold too", ["1.2"], "twice",
     "a gradient was changed in place after it had been handed to a node"),
    ("bias gradient averaged over the batch", ["2.1", "2.3", "2.6"], "damped",
     "unbroadcast, at mytorch/nn/functional.py:"),
    ("momentum: of weights only, not of biases", ["2.6"], "forgotten", " bias[0]: expected"),
    ("operator - calls Add", ["1.1.1"], "Sub: forward", "looks like: operator - calls Add"),
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
])
def test_a_tensor_of_anothers_data_is_cut_off_from_the_graph_there(bug, number, place):
    said = report_of(number, bug=bug)
    (line,) = BY_NAME[bug].new.strip().splitlines()
    assert re.search(rf"cut off from the graph at {place}:\d+: {re.escape(line)} a Tensor made of "
                     "another's .data does not know where it came from", said)


@pytest.mark.slow
def test_wrong_flags_of_a_result_point_at_apply():
    said = report_of("1.2", "2.1", bug="results require grad if the first operand does")
    (place,) = re.findall(r"defined at mytorch/autograd_engine.py:(\d+)", said)
    line = (REFERENCE / ENGINE).read_text(encoding="utf-8").splitlines()[int(place)]
    assert "def apply(cls" in line
    assert "looks like: results" in said


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
     "expected a Tensor, got NoneType"),
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


# Length, paths, signs.


@pytest.mark.slow
def test_a_long_line_is_printed_once_and_a_list_of_results_is_cut_off():
    said = report_of("2.1", "2.2", "2.3", "2.6", bug="Linear: weight not transposed")
    assert said.count("Exception: cannot multiply (5, 4) and (3, 4)") == 1
    assert said.count("the same as in 2.1, above, at mytorch/nn/functional.py:") > 3
    said = report_of("2.6", bug="momentum: never stored")
    assert re.findall(r"(\d+) more results of this test are wrong", said) == ["11"]
    assert said.count("looks like: momentum: never stored") == 2  # once in each of two problems


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
        assert judge.likely_mistake(size * right, right).startswith(
            f"the right answer times {size} (")
        assert judge.likely_mistake(right / size, right).startswith(
            f"the right answer divided by {size} (")
    assert judge.likely_mistake(7 * right, right) == ""


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
    assert errors.what_it_means(error["type"], error["message"], error) == words


def test_an_object_that_an_exception_names_is_shown_without_its_place_in_memory():
    error = dict(type="KeyError", message="<mytorch.tensor.Tensor object at 0x7f6e8965bc10>")
    again = dict(error, message="<mytorch.tensor.Tensor object at 0x5581a0c4>")
    assert errors.explain_error(error)[0] == "KeyError: <mytorch.tensor.Tensor object>"
    assert errors.signature(error) == errors.signature(again)


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
    assert meaning in errors.what_it_means(kind, message, {})


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
            problem=problem, passed=False, points=0, unfinished="", errors={}, clues=[],
            complaints={name: [f"{name}: is wrong"]}, recognised=False, defined_at=name, remarks=[],
            outcome=types.SimpleNamespace(cases=cases, output="", output_lines=0, root="/",
                                          ending="done")))
    assert "run again" in stream.getvalue() and "cannot be shown" not in stream.getvalue()
    assert stream.getvalue().count("hint: ") == 1 and rows[0].hint.split()[0] in stream.getvalue()
