"""The trace: its words against expectations written by hand, its order and numbers against the
real backward pass, and that it changes nothing."""

import numpy as np
import pytest

import student_engine
from central_differences import function, leaf, uneven
from mytorch.show import graph
from mytorch.autograd_engine import AccumulateGrad, BackwardFunction
from mytorch.nn.activations import ReLU
from mytorch.nn.batchnorm import BatchNorm1d
from mytorch.nn.functional import Mul, Transpose
from mytorch.nn.linear import Linear
from mytorch.nn.loss import CrossEntropyLoss
from mytorch.nn.sequential import Sequential
from mytorch.tensor import Tensor
from mytorch.show.trace import count_visits, diamond, trace, trace_naive


def example():
    """The handout's: d = a + a*b; e = (d + c) + 3."""
    a, b, c = leaf(1.0), Tensor(2.0), leaf(3.0)
    d = a + a * b
    e = (d + c) + 3
    return e, dict(a=a, b=b, c=c, d=d, e=e)


def network():
    """The loss of Problem 3's network on a batch of 4."""
    np.random.seed(0)
    model = Sequential(Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10))
    return CrossEntropyLoss()(model(Tensor(uneven(4, 784))), Tensor([1, 0, 9, 1]))


def chain(operations):
    tensor = leaf(1.0)
    for _ in range(operations):
        tensor = tensor * 1.0
    return tensor


def traced(capsys, tensor, **names):
    trace(tensor, **names)
    return capsys.readouterr().out


# What it says

EXAMPLE = """\
  1. Add -> e
     arrives  1, the ones that backward() starts from
     passes   nothing to a constant
     passes   1 to step 2 (Add): its only gradient, so on to it

  2. Add
     arrives  1 from step 1 (Add -> e)
     passes   1 to step 3 (Add -> d): its only gradient, so on to it

  3. Add -> d
     arrives  1 from step 2 (Add)
     passes   1 to step 5 (a): gradient 1 of 2, so it waits (it was used 2 times)
     passes   1 to step 4 (Mul): its only gradient, so on to it

  4. Mul
     arrives  1 from step 3 (Add -> d)
     passes   nothing to b, a constant
     passes   2 to step 5 (a): gradient 2 of 2, 1 + 2 = 3, so on to it

  5. AccumulateGrad of a
     arrives  3, the sum of what came from steps 3, 4
     stores   a.grad = 3 (it was None)
     back in  step 2 (Add)
     passes   1 to step 6 (c): its only gradient, so on to it

  6. AccumulateGrad of c
     arrives  1 from step 2 (Add)
     stores   c.grad = 1 (it was None)

That is what backward() does. This was a rehearsal: no .grad has changed.
"""

DIAMOND = """\
  1. Add -> c
     arrives  1, the ones that backward() starts from
     passes   1 to step 2 (Add -> b): gradient 1 of 2, so it waits (it was used 2 times)
     passes   1 to step 2 (Add -> b): gradient 2 of 2, 1 + 1 = 2, so on to it

  2. Add -> b
     arrives  2, the sum of what came from steps 1, 1
     passes   2 to step 3 (a): gradient 1 of 2, so it waits (it was used 2 times)
     passes   2 to step 3 (a): gradient 2 of 2, 2 + 2 = 4, so on to it

  3. AccumulateGrad of a
     arrives  4, the sum of what came from steps 2, 2
     stores   a.grad = 4 (it was None)

That is what backward() does. This was a rehearsal: no .grad has changed.
"""

BROADCAST = """\
  1. Mul
     arrives  [[1, 1, 1], [1, 1, 1]], the ones that backward() starts from
     passes   nothing to a constant [[1], [0.5]]
     passes   [[1, 1, 1], [0.5, 0.5, 0.5]] to step 2 (Add): its only gradient, so on to it

  2. Add
     arrives  [[1, 1, 1], [0.5, 0.5, 0.5]] from step 1 (Mul)
     passes   [[1, 1, 1], [0.5, 0.5, 0.5]] to step 3 (x): its only gradient, so on to it

  3. AccumulateGrad of x
     arrives  [[1, 1, 1], [0.5, 0.5, 0.5]] from step 2 (Add)
     stores   x.grad = [[1, 1, 1], [0.5, 0.5, 0.5]] (it was None)
     back in  step 2 (Add)
     passes   [1.5, 1.5, 1.5] to step 4 (b): its only gradient, so on to it

  4. AccumulateGrad of b
     arrives  [1.5, 1.5, 1.5] from step 2 (Add)
     stores   b.grad += [1.5, 1.5, 1.5]: [10, 20, 30] + [1.5, 1.5, 1.5] = [11.5, 21.5, 31.5]

That is what backward() does. This was a rehearsal: no .grad has changed.
"""


def test_the_example_is_told_as_the_handout_tells_it(capsys):
    e, names = example()
    assert traced(capsys, e, **names) == EXAMPLE


def test_a_diamond_is_told_with_each_node_once_and_the_sum_of_its_two_gradients(capsys):
    a, b, c = diamond(2)
    assert traced(capsys, c, a=a, b=b, c=c) == DIAMOND


def test_a_broadcast_is_told_with_the_summed_gradient_and_what_the_leaf_held_before(capsys):
    x, b = leaf(np.zeros((2, 3))), leaf([1.0, 2.0, 3.0])
    b.grad = Tensor([10.0, 20.0, 30.0])
    assert traced(capsys, (x + b) * np.array([[1.0], [0.5]]), x=x, b=b) == BROADCAST


def test_large_gradients_are_told_by_shape_and_norm(capsys):
    x = leaf(np.zeros((3, 3)))
    assert "x.grad = array (3, 3) of norm 6 (it was None)" in traced(capsys, x * 2.0, x=x)


def test_no_line_is_longer_than_100_columns(capsys):
    wide = leaf([-1.234e-5, 2.345e-5, 3.456e-5])
    text = traced(capsys, wide * wide + wide * wide, a_rather_long_name=wide) + traced(capsys, network())
    assert max(map(len, text.splitlines())) <= 100


def test_a_gradient_of_none_is_told_as_nothing(capsys):
    a = leaf(2.0)
    stop = function(lambda ctx, x: Tensor(x.data), lambda ctx, grad: None, name="Stop")
    text = traced(capsys, stop.apply(a) + a * stop.apply(a), a=a)
    assert "passes   nothing to step 5 (a): gradient 1 of 3" in text
    assert "a.grad = 2 (it was None)" in text


def test_a_leaf_reached_by_no_gradient_stores_nothing(capsys):
    stop = function(lambda ctx, x: Tensor(x.data), lambda ctx, grad: None)
    text = traced(capsys, stop.apply(leaf(2.0)))
    assert "arrives  nothing, so there is nothing to do\n     stores   nothing" in text


def test_a_leaf_by_itself_gets_the_ones(capsys):
    a = leaf([3.0, 4.0])
    text = traced(capsys, a, a=a)
    assert text.startswith("  1. AccumulateGrad of a\n     arrives  [1, 1], the ones")
    assert a.grad_fn is None


# That it is true

EXPRESSIONS = {
    "the example": lambda: example()[0],
    "a diamond": lambda: diamond(5)[-1],
    "a use deep down before one at the top": lambda: (lambda a: (a * a).log() * a + a)(leaf(uneven(2, 3) ** 2)),
    "a broadcast": lambda: (leaf(uneven(2, 3)) / leaf(uneven(3))) - leaf(uneven(2, 1)),
    "float32": lambda: (lambda a: a * a + a / 3.0)(leaf(uneven(4).astype(np.float32))),
    "a chain of 199 operations": lambda: chain(199),
    "Problem 3's network": network,
}


def record(monkeypatch, tensor):
    """(node, gradient) of every apply while ``tensor.backward()`` runs."""
    calls = []
    with monkeypatch.context() as patch:
        for cls in (BackwardFunction, AccumulateGrad):
            def recording(self, grad, apply=cls.apply):
                calls.append((self, grad.data.copy()))
                return apply(self, grad)
            patch.setattr(cls, "apply", recording)
        tensor.backward()
    return calls


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_order_and_numbers_are_those_of_the_real_run_for(expression, monkeypatch):
    tensor = EXPRESSIONS[expression]()
    told = [(event.node, event.grad.data) for event in graph.backward_events(tensor)
            if isinstance(event, graph.Visit)]
    real = record(monkeypatch, tensor)
    assert [node for node, _ in told] == [node for node, _ in real]
    for (node, grad), (_, real_grad) in zip(told, real):
        assert grad.dtype == real_grad.dtype and np.array_equal(grad, real_grad), node.function_name


@pytest.mark.parametrize("held", [None, 5.0])
def test_tracing_leaves_every_grad_as_it_was(held, capsys):
    e, names = example()
    before = Tensor(held) if held else None
    names["a"].grad = before
    traced(capsys, e, **names)
    assert names["a"].grad is before and names["c"].grad is None
    assert before is None or before.data == held


def test_a_backward_that_writes_into_its_argument_does_not_spoil_the_story(capsys):
    def backward(ctx, grad):
        grad.data *= 3
        return grad
    a = leaf(1.0)
    text = traced(capsys, function(lambda ctx, x: Tensor(x.data), backward).apply(a * 1.0), a=a)
    assert "arrives  1, the ones" in text and "a.grad = 3" in text


# A student's own engine

def test_it_works_on_a_students_engine_whose_leaves_have_a_node_for_each_use(monkeypatch, capsys):
    student_engine.install(monkeypatch)
    e, names = example()
    stored = [line for line in traced(capsys, e, **names).splitlines() if "stores" in line]
    assert stored == ["     stores   a.grad = 1 (it was None)",
                      "     stores   a.grad += 2: 1 + 2 = 3",
                      "     stores   c.grad = 1 (it was None)"]
    assert names["a"].grad is None


def test_it_works_where_next_functions_has_fewer_entries_than_backward_gradients(monkeypatch, capsys):
    student_engine.install(monkeypatch)
    x = leaf([[1.0, 2.0]])
    assert "x.grad = [[1, 1]] (it was None)" in traced(capsys, Transpose.apply(x).sum(axis=0), x=x)


# What it refuses

def test_more_than_200_steps_are_refused_with_their_number_and_what_to_do(capsys):
    with pytest.raises(ValueError, match="201 steps.*200.*trace a part"):
        trace(chain(200))
    assert capsys.readouterr().out == ""


def test_a_graph_far_too_deep_for_recursion_is_refused_as_well():
    with pytest.raises(ValueError, match="3001 steps"):
        trace(chain(3000))


def test_a_constant_is_outside_any_graph():
    with pytest.raises(RuntimeError, match="outside any graph"):
        trace(Tensor(1.0) + 2.0)


@pytest.mark.parametrize("value", [3, np.ones(2), None])
def test_what_is_no_tensor_is_refused_as_argument_and_as_name(value):
    with pytest.raises(TypeError, match=f"Tensor.*{type(value).__name__}"):
        trace(value)
    with pytest.raises(TypeError, match=f"b=.*Tensor.*{type(value).__name__}"):
        trace(leaf(1.0) * 2.0, b=value)


def test_an_operation_whose_backward_returns_an_array_is_named(monkeypatch):
    student_engine.install(monkeypatch)
    monkeypatch.setattr(Mul, "backward", lambda ctx, grad: (grad.data, grad.data))
    with pytest.raises(TypeError, match=r"Mul\.backward.*Tensors.*ndarray"):
        trace(leaf(1.0) * 2.0)


# One recursion per path

NAIVE = """\
Plain recursion on b = a + a; c = b + b, from c:
  Add -> c gets 1
      Add -> b gets 1
          a gets 1: a.grad = 1 (it was None)
          a gets 1: a.grad += 1: 1 + 1 = 2
      Add -> b gets 1
          a gets 1: a.grad += 1: 2 + 1 = 3
          a gets 1: a.grad += 1: 3 + 1 = 4

 levels   nodes   visits, once per node   visits, once per path
      1       2                       2                       3
      2       3                       3                       7
      3       4                       4                      15
      4       5                       5                      31
"""


def test_the_naive_trace_shows_every_visit_and_how_their_number_doubles(capsys):
    trace_naive()
    text = capsys.readouterr().out
    assert text.startswith(NAIVE)
    assert f"{41:24}{2**41 - 1:24,}\n" in text


def visits_of_plain_recursion(node):
    return 1 + sum(visits_of_plain_recursion(parent) for parent in node.next_functions if parent)


@pytest.mark.parametrize("expression", ["the example", "a diamond", "Problem 3's network"])
def test_the_counted_visits_are_those_of_plain_recursion_for(expression):
    tensor = EXPRESSIONS[expression]()
    assert count_visits(tensor)[1] == visits_of_plain_recursion(tensor.grad_fn)
