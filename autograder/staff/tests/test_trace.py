"""The trace: its words against expectations written by hand, and that it changes nothing.
What it says of right and wrong engines is in test_trace_engines.py."""

import pdb
import sys

import numpy as np
import pytest

import student_engine
from central_differences import function, leaf, uneven
from mytorch import autograd_engine
from mytorch.autograd_engine import AccumulateGrad, BackwardFunction, Function
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.functional import Mul, Transpose
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.show.trace import trace
from mytorch.tensor import Tensor


def example():
    """The handout's: d = a + a*b; e = (d + c) + 3."""
    a, b, c = leaf(1.0), Tensor(2.0), leaf(3.0)
    d = a + a * b
    e = (d + c) + 3
    return e, dict(a=a, b=b, c=c, d=d, e=e)


def network():
    """The loss of Problem 3's network on a batch of 4, with the names of what is in it."""
    np.random.seed(0)
    model = Sequential(Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10))
    x, labels = Tensor(uneven(4, 784)), Tensor([1, 0, 9, 1])
    return CrossEntropyLoss()(model(x), labels), dict(model=model, x=x, labels=labels)


def chain(operations):
    tensor = leaf(1.0)
    for _ in range(operations):
        tensor = tensor * 1.0
    return tensor


def diamond(levels):
    """A leaf and ``levels`` results, each the sum of the one before with itself, as a list."""
    tensors = [leaf(1.0)]
    for _ in range(levels):
        tensors.append(tensors[-1] + tensors[-1])
    return tensors


def traced(capsys, tensor, **names):
    trace(tensor, **names)
    return capsys.readouterr().out


# What it says

ENDING = """
That is what backward() did: each gradient that was passed on has arrived.
Every .grad is as it was before the trace.
"""

EXAMPLE = """\
  1. Add -> e
     arrives  1, which backward() starts from
     passes   1 to step 2 (Add): its only gradient, so on to it
     passes   nothing to the constant 3

  2. Add
     arrives  1 from step 1 (Add -> e)
     passes   1 to step 3 (Add -> d): its only gradient, so on to it
     passes   1 to step 6 (c): its only gradient; its turn comes after step 5

  3. Add -> d
     arrives  1 from step 2 (Add)
     passes   1 to step 5 (a): gradient 1 of 2, so it waits (used 2 times)
     passes   1 to step 4 (Mul): its only gradient, so on to it

  4. Mul
     arrives  1 from step 3 (Add -> d)
     passes   2 to step 5 (a): gradient 2 of 2, 1 + 2 = 3, so on to it
     passes   nothing to b, a constant

  5. AccumulateGrad of a
     arrives  3, the sum of what came from steps 3, 4
     stores   a.grad = 3 (it was None)

  6. AccumulateGrad of c
     arrives  1 from step 2 (Add)
     stores   c.grad = 1 (it was None)
""" + ENDING

def test_the_example_is_told_as_the_handout_tells_it(capsys):
    e, names = example()
    assert traced(capsys, e, **names) == EXAMPLE


def test_a_result_used_twice_is_told_once_with_the_sum_of_its_gradients(capsys):
    a, b, c = diamond(2)
    text = traced(capsys, c, a=a, b=b, c=c)
    assert "2. Add -> b\n     arrives  2, the sum of what came from steps 1, 1" in text
    assert "gradient 2 of 2, 2 + 2 = 4, so on to it" in text and text.endswith(ENDING)


def per_path(node, grad):
    """The plainest engine: right, and slow where results are shared."""
    for parent, share in zip(node.next_functions, node.apply(grad)):
        if parent is not None:
            per_path(parent, share)


def test_one_recursion_per_path_is_told_as_what_it_is_and_what_waiting_would_save(
        capsys, monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", per_path)
    a, b, c = diamond(2)
    text = " ".join(traced(capsys, c, a=a, b=b, c=c).split())
    assert "passes 1 to step 5 (Add -> b): one of 2 gradients, which goes on alone" in text
    assert "7. AccumulateGrad of a, visited again (before in step 6)" in text
    assert "stores a.grad += 1: 3 + 1 = 4" in text and "What is wrong" not in text
    assert "Add -> b was visited 2 times, each time with one path's share: one visit" in text
    assert "makes 7 in all" in text and "would take 3." in text


@pytest.mark.slow
def test_more_visits_than_a_person_reads_are_stopped_and_their_number_is_said(capsys, monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", per_path)
    text = " ".join(traced(capsys, diamond(40)[-1]).split())
    assert "(and 480 more visits) Stopped after 500 visits." in text
    assert f"one visit for each path makes {2 ** 41 - 1:,} in all" in text
    assert "would take 41." in text and "wrong" not in text


def test_a_broadcast_is_told_with_the_summed_gradient_and_what_the_leaf_held_before(capsys):
    x, b = leaf(np.zeros((2, 3))), leaf([1.0, 2.0, 3.0])
    b.grad = Tensor([10.0, 20.0, 30.0])
    text = " ".join(traced(capsys, (x + b) * np.array([[1.0], [0.5]]), x=x, b=b).split())
    assert "passes [1.5, 1.5, 1.5] to step 4 (b): its only gradient" in text
    assert "b.grad += [1.5, 1.5, 1.5]: [10, 20, 30] + [1.5, 1.5, 1.5] = [11.5, 21.5, 31.5]" in text
    assert b.grad.data.tolist() == [10.0, 20.0, 30.0]


def test_problem_3s_network_is_told_with_the_names_of_its_parameters_and_no_line_too_long(capsys):
    loss, names = network()
    text = traced(capsys, loss, loss=loss, **names)
    for name in ("model.0.weight", "model.0.bias", "model.1.gamma", "model.1.beta", "model.3.weight"):
        assert f"stores   {name}.grad = array (" in text
    assert "1. CrossEntropy -> loss" in text and "nothing to x, a constant" in text
    assert "unnamed" not in text and text.endswith(ENDING)
    assert max(map(len, text.splitlines())) <= 80


def test_a_leaf_that_the_graph_does_not_lead_to_is_named(capsys):
    a, b = leaf(2.0), leaf(3.0)
    assert "The recorded graph does not lead to b" in traced(capsys, a * Tensor(b.data), a=a, b=b)
    assert "does not lead" not in traced(capsys, a * b, a=a, b=b)


def test_a_gradient_of_none_is_told_as_nothing_and_is_not_wrong(capsys):
    a = leaf(2.0)
    stop = function(lambda ctx, x: Tensor(x.data), lambda ctx, grad: None, name="Stop")
    for tensor in (stop.apply(a) + a * stop.apply(a), stop.apply(a)):
        text = traced(capsys, tensor, a=a)
        assert "passes   nothing to a" in text and text.endswith(ENDING)


def test_a_leaf_by_itself_gets_the_ones(capsys):
    a = leaf([3.0, 4.0])
    text = traced(capsys, a, a=a)
    assert text.startswith("  1. AccumulateGrad of a\n     arrives  [1, 1], which backward() starts")
    assert a.grad is None


def test_rounding_and_numbers_that_are_not_finite_are_not_wrong(capsys, monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", per_path)
    a = leaf(np.array([1e-8, 3.0, 0.0, 1e30], np.float32))
    tensor = a
    with np.errstate(all="ignore"):
        for factor in (0.1, 0.7):
            tensor = tensor * a + tensor / a - tensor * np.float32(factor)
        text = traced(capsys, tensor, a=a)
    assert "What is wrong" not in text


# That it changes nothing

def test_after_an_exception_too_grads_and_apply_are_put_back_and_the_story_is_told(
        capsys, monkeypatch):
    def fails(node, grad):
        per_path(node, grad)
        raise ValueError("at the very end")
    monkeypatch.setattr(autograd_engine, "backward", fails)
    applies = AccumulateGrad.apply, BackwardFunction.apply
    e, names = example()
    text = traced(capsys, e, **names)
    assert names["a"].grad is None and names["c"].grad is None
    assert (AccumulateGrad.apply, BackwardFunction.apply) == applies
    assert "6. AccumulateGrad of a" in text
    assert "The run ended there: ValueError: at the very end, at test_trace.py:" in text


def test_a_breakpoint_stops_the_run_that_is_told_and_no_other_and_prints_are_seen_once(
        capsys, monkeypatch):
    stops = []

    def stopping(node, grad):
        print("debugging")
        breakpoint()
        pdb.set_trace()
        per_path(node, grad)
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append("breakpoint"))
    monkeypatch.setattr(pdb, "set_trace", lambda: stops.append("pdb"))
    monkeypatch.setattr(autograd_engine, "backward", stopping)
    text = traced(capsys, leaf(1.0) * 2.0)
    assert text.endswith(ENDING) and text.count("debugging") == 1 and stops == ["breakpoint", "pdb"]
    sys.breakpointhook()
    assert len(stops) == 3


# Engines of another make, and engines that are not there yet

def test_an_engine_that_keeps_no_note_of_inputs_and_a_node_for_each_use_is_told(monkeypatch, capsys):
    student_engine.install(monkeypatch)
    e, names = example()
    text = traced(capsys, e, **names)
    assert [line for line in text.splitlines() if "stores" in line] == [
        "     stores   a.grad = 1 (it was None)", "     stores   a.grad += 2: 1 + 2 = 3",
        "     stores   c.grad = 1 (it was None)"]
    assert "What is wrong" not in text and names["a"].grad is None


def test_next_functions_may_have_fewer_entries_than_backward_gradients(monkeypatch, capsys):
    student_engine.install(monkeypatch)
    x = leaf([[1.0, 2.0]])
    assert "x.grad = [[1, 1]] (it was None)" in traced(capsys, Transpose.apply(x).sum(axis=0), x=x)


def test_an_engine_not_written_yet_is_one_sentence_and_the_graph_that_apply_recorded(
        capsys, monkeypatch):
    def unwritten(node, grad):
        raise NotImplementedError("TODO (1.2): go through the graph")
    monkeypatch.setattr(autograd_engine, "backward", unwritten)
    e, names = example()
    text = traced(capsys, e, **names)
    assert "    Add: from Add -> d, c\n    Add -> d: from a, Mul\n    Mul: from a, b, a constant" in text
    assert "\nbackward() is not written yet: TODO (1.2): go through the graph.\n" in text
    assert "What is wrong" not in text


def test_an_apply_that_records_nothing_is_one_sentence(monkeypatch):
    monkeypatch.setattr(Function, "apply", classmethod(
        lambda cls, *args: cls.forward(BackwardFunction(cls).ctx, *args)))
    with pytest.raises(RuntimeError, match=r"^With leaf \+ leaf: Function.apply \(1.2\) records"):
        trace(leaf(1.0) + 2.0)


def test_an_operation_whose_backward_is_not_written_is_named(capsys, monkeypatch):
    def unwritten(ctx, grad):
        raise NotImplementedError("TODO (1.1.2): each factor's gradient")
    monkeypatch.setattr(Mul, "backward", unwritten)
    assert "Mul.backward() is not written yet: TODO (1.1.2):" in traced(capsys, leaf(1.0) * 2.0)


# What it refuses

def test_more_than_200_nodes_are_refused_with_their_number_and_what_to_do(capsys):
    with pytest.raises(ValueError, match="201 nodes.*200.*trace a part"):
        trace(chain(200))
    assert capsys.readouterr().out == ""


def test_a_constant_is_outside_any_graph():
    with pytest.raises(RuntimeError, match="outside any graph"):
        trace(Tensor(1.0) + 2.0)


@pytest.mark.parametrize("value", [3, np.ones(2), None])
def test_what_is_not_a_tensor_is_refused_as_argument_and_as_name(value):
    with pytest.raises(TypeError, match=f"Tensor.*{type(value).__name__}"):
        trace(value)
    with pytest.raises(TypeError, match=f"b=.*Tensor or a Module.*{type(value).__name__}"):
        trace(leaf(1.0) * 2.0, b=value)


# Mistakes of operations that it sees on the way

def operation(backward):
    return function(lambda ctx, x: Tensor(x.data), backward, name="Student")


def test_an_ndarray_handed_on_is_named_where_an_operation_fails_on_it(capsys, monkeypatch):
    monkeypatch.setattr(autograd_engine, "backward", lambda node, grad: node.apply(grad.data))
    a = leaf(1.0)
    tensor = operation(lambda ctx, grad: Tensor(2.0 * grad.item() * grad.requires_grad)).apply(a)
    assert "The run ended there: ndarray arrived at Student" in traced(capsys, tensor, a=a)


def test_a_gradient_of_the_wrong_shape_is_named_with_both_shapes(capsys, monkeypatch):
    monkeypatch.setattr(AccumulateGrad, "apply",
                        lambda node, grad: setattr(node.variable, "grad", grad))
    monkeypatch.setattr(BackwardFunction, "apply", lambda node, grad: (grad, grad))
    monkeypatch.setattr(autograd_engine, "backward", lambda node, grad: [
        parent.apply(share) for parent, share in zip(node.next_functions, node.apply(grad))])
    x, b = leaf(np.zeros((2, 4))), leaf([1.0, 2.0, 3.0, 4.0])
    text = " ".join(traced(capsys, x + b, x=x, b=b).split())
    assert "* b.grad has shape (2, 4), but b has shape (4,); array (2, 4) of norm 2.828" in text
    assert "x.grad has" not in text


def test_an_operation_that_writes_into_what_it_was_given_is_named_with_who_held_it(capsys):
    def backward(ctx, grad):
        grad.data *= 3
        return grad
    a, b = leaf(1.0), leaf(2.0)
    text = " ".join(traced(capsys, operation(backward).apply(a) + b, a=a, b=b).split())
    assert "step 1 (Add) passed to b was changed on the way, to 3: step 2 (Student) wrote" in text
