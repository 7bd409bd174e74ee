"""The graded tests of problems 1.1 and 1.2: operations of two tensors, and autograd.
Each says what it draws and what it calls; ./grade.sh 1 compares what it returns."""

import contextlib
import operator

import numpy as np

from grader.graded import (
    WrongReturn, away_from_zero, constant, graded, leaf, my, small, truth, with_zeros)
from grader.operations import apply_sets_flags, combine, forward_sets_flags, plus


def run_operation(operation, a, b, upstream):
    """forward and backward of a Function, called directly as in problem 1.1."""
    ctx = my.ContextManager()
    a, b, grad_output = leaf(a), leaf(b), constant(upstream)
    output = operation.forward(ctx, a, b)
    gradients = operation.backward(ctx, grad_output)
    if not isinstance(gradients, (tuple, list)) or len(gradients) != 2:
        raise WrongReturn(f"{operation.__name__}.backward: expected 2 gradients, of a and of b, "
                          f"got {type(gradients).__name__}")
    return {
        "output of forward": output,
        "gradient of a": gradients[0],
        "gradient of b": gradients[1],
        "a, afterwards": a,
        "b, afterwards": b,
        "upstream gradient, afterwards": grad_output,
    }


def run_operator(symbol, function, a, b):
    """What an operator gives, and whether its result comes from a Function of both operands: what
    is computed from their data alone takes part in no graph."""
    a, b = leaf(a), leaf(b)
    with recorded_inputs(a, b) as (calls, inputs):
        output = function(a, b)
    taken = inputs.get(id(output), set())
    if not calls:  # it may be recorded in a way of its own
        taken = {id(a), id(b)} if truth(function(a, b).requires_grad) is True else set()
    return {f"a {symbol} b": output,
            f"a {symbol} b: a goes into a Function": id(a) in taken,
            f"a {symbol} b: b goes into a Function": id(b) in taken}


@contextlib.contextmanager
def recorded_inputs(*tensors):
    """Context in which Function.apply runs forward alone, so that operators can be tried whatever
    problem 1.2 makes of apply. Gives what was called, and from which of some tensors each result
    comes: id → set of ids."""
    apply, calls, inputs = vars(my.Function)["apply"], [], {id(t): {id(t)} for t in tensors}

    def record(cls, *args):
        output = cls.forward(my.ContextManager(), *args)
        inputs[id(output)] = set().union(*[inputs.get(id(arg), set()) for arg in args])
        calls.append((output, args))  # which also keeps them, and so their ids
        return output

    my.Function.apply = classmethod(record)
    try:
        yield calls, inputs
    finally:
        my.Function.apply = apply


def flags_of(operation, a, b):
    """Whether forward sets the flags of its output where it is for forward to do so."""
    needed = forward_sets_flags(my.Function) and not apply_sets_flags(my.Function)
    flags = {}
    for operands, tensors in {"a leaf and a constant": (leaf(a), constant(b)),
                              "a constant and a leaf": (constant(a), leaf(b))}.items():
        output = operation.forward(my.ContextManager(), *tensors)
        label = f"{operation.__name__}.forward of {operands}"
        flags[f"{label}: requires_grad"] = not needed or truth(output.requires_grad)
        flags[f"{label}: is_leaf"] = needed and truth(output.is_leaf)
    return flags


@graded("addtest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_addition(given):
    return run_operation(my.F.Add, given.a, given.b, given.upstream)


@graded("addtest", a=(2, 3), b=(2, 3))
def test_operator_plus(given):
    return run_operator("+", operator.add, given.a, given.b)


@graded("subtest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_subtraction(given):
    return run_operation(my.F.Sub, given.a, given.b, given.upstream)


@graded("subtest", a=(3, 4), b=(3, 4))
def test_operator_minus(given):
    return run_operator("-", operator.sub, given.a, given.b)


@graded("subtest", a=(2, 3), b=(2, 3))
def test_flags_of_a_difference(given):
    return flags_of(my.F.Sub, given.a, given.b)


@graded("subtest", a=(2, 3, 4), b=(2, 3, 4), upstream=(2, 3, 4))
def test_subtraction_of_three_axes(given):
    return run_operation(my.F.Sub, given.a, given.b, given.upstream)


@graded("subtest", a=(5,), b=(5,), upstream=(5,))
def test_subtraction_of_vectors(given):
    return run_operation(my.F.Sub, given.a, given.b, given.upstream)


@graded("multest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_multiplication(given):
    return run_operation(my.F.Mul, given.a, given.b, given.upstream)


@graded("multest", a=(3, 4), b=(3, 4))
def test_operator_times(given):
    return run_operator("*", operator.mul, given.a, given.b)


@graded("multest", a=(2, 3), b=(2, 3))
def test_flags_of_a_product(given):
    return flags_of(my.F.Mul, given.a, given.b)


@graded("multest", a=(5,), b=(5,), upstream=(5,))
def test_multiplication_of_vectors(given):
    return run_operation(my.F.Mul, given.a, given.b, given.upstream)


@graded("multest", a=(3, 3), b=(3, 3), upstream=(3, 3))
def test_multiplication_of_square_matrices_is_by_entry(given):
    return run_operation(my.F.Mul, given.a, given.b, given.upstream)


@graded("multest", a=with_zeros(3, 4), b=with_zeros(3, 4), upstream=(3, 4))
def test_multiplication_by_zero(given):
    return run_operation(my.F.Mul, given.a, given.b, given.upstream)


@graded("divtest", a=(3, 4), b=away_from_zero(3, 4), upstream=(3, 4))
def test_division(given):
    return run_operation(my.F.Div, given.a, given.b, given.upstream)


@graded("divtest", a=(3, 4), b=away_from_zero(3, 4))
def test_operator_divided_by(given):
    return run_operator("/", operator.truediv, given.a, given.b)


@graded("divtest", a=(2, 3), b=away_from_zero(2, 3))
def test_flags_of_a_quotient(given):
    return flags_of(my.F.Div, given.a, given.b)


@graded("divtest", a=(2, 3), b=small(2, 3), upstream=(2, 3))
def test_division_by_small_numbers(given):
    return run_operation(my.F.Div, given.a, given.b, given.upstream)


@graded("divtest", a=(5,), b=away_from_zero(5), upstream=(5,))
def test_division_of_vectors(given):
    return run_operation(my.F.Div, given.a, given.b, given.upstream)


# 1.2 Autograd, on graphs of the grader's own operations: combine((a, 2), (b, w)) is 2 a + w b


FACTORS = dict(p=(2, 3), q=(2, 3), r=(2, 3), s=(2, 3))


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3))
def test_a_result_requires_grad_when_an_operand_does(given):
    def result(first, second):
        return combine((first, given.p), (second, given.q))

    a, b, c = leaf(given.a), leaf(given.b), constant(given.a)
    flags = {}
    for operands, output in {
            "leaf, leaf": result(a, b), "leaf, constant": result(a, c),
            "constant, leaf": result(c, b), "result, constant": result(result(a, b), c),
            "constant, result": result(c, result(a, b))}.items():
        flags[f"result of ({operands}).requires_grad"] = truth(output.requires_grad)
        flags[f"result of ({operands}).is_leaf"] = truth(output.is_leaf)
    return flags


@graded("autogradtest", a=(2, 3), b=(2, 3))
def test_backward_starts_from_ones(given):
    a, b = leaf(given.a), leaf(given.b)
    combine((a, 2), (b, -3)).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), **FACTORS)
def test_a_chain_of_operations(given):
    a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
    first = combine((a, given.p), (b, given.q))
    combine((combine((first, given.r), (c, given.s)), given.q)).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad, "gradient of c": c.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), p=(2, 3), q=(2, 3))
def test_the_graph_of_the_handouts_example(given):
    a, b, c = leaf(given.a), constant(given.b), leaf(given.c)
    d = combine((a, 1), (combine((a, given.p), (b, given.q)), 1))
    e = combine((combine((d, 1), (c, 1)), 1), (constant(np.full((2, 3), 3.0)), 1))
    e.backward()
    return {"e": e, "gradient of a": a.grad, "gradient of b": b.grad, "gradient of c": c.grad}


@graded("autogradtest", a=(2, 3), **FACTORS)
def test_a_leaf_used_twice_by_one_operation(given):
    a = leaf(given.a)
    combine((combine((a, given.p), (a, given.q)), given.r)).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_a_result_used_twice(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = combine((a, given.p), (b, given.q))
    combine((combine((shared, given.r)), 2), (combine((shared, given.s)), 3)).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_a_result_used_early_and_late(given):
    gradients = {}
    for used in "late first", "early first":
        a, b = leaf(given.a), leaf(given.b)
        shared = combine((a, given.p), (b, given.q))
        late = combine((combine((shared, given.r)), given.s))
        terms = [(late, given.q), (shared, given.p)]
        combine(*(terms if used == "late first" else terms[::-1])).backward()
        gradients[f"gradient of a, used {used}"] = a.grad
        gradients[f"gradient of b, used {used}"] = b.grad
    return gradients


@graded("autogradtest", a=(2, 3), weights=(6, 2, 3))
def test_six_results_each_used_twice(given):
    a = leaf(given.a)
    result = a
    for weights in given.weights:
        result = combine((combine((result, weights)), 1), (result, 1))
    result.backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3), p=(2, 3), q=(2, 3))
def test_a_constant_gets_no_gradient(given):
    a, c = leaf(given.a), constant(given.c)
    combine((combine((a, given.p), (c, given.q)), 1), (c, given.p)).backward()
    return {"gradient of a": a.grad, "gradient of the constant": c.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3), p=(2, 3), q=(2, 3))
def test_a_constant_as_the_first_operand(given):
    a = leaf(given.a)
    combine((constant(given.c), given.p), (a, given.q)).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3), **FACTORS)
def test_constants_as_first_operands_of_a_chain(given):
    a, c = leaf(given.a), constant(given.c)
    first = combine((c, given.p), (a, given.q))
    combine((c, given.r), (combine((c, given.q), (first, given.s)), given.p)).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_gradients_are_stored_on_leaves_only(given):
    a, b = leaf(given.a), leaf(given.b)
    inner = combine((a, given.p), (b, given.q))
    result = combine((inner, given.r))
    result.backward()
    return {"gradient of a": a.grad, "gradient of the result within": inner.grad,
            "gradient of the last result": result.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_backward_twice_adds_the_gradients_twice(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = combine((a, given.p), (b, given.q))
    result = combine((combine((shared, given.r)), 1), (shared, given.s))
    result.backward()
    result.backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), r=(2, 3), s=(2, 3))
def test_gradients_of_two_computations_add_up(given):
    a, b = leaf(given.a), leaf(given.b)
    combine((plus(a, b), given.r)).backward()  # which may give both one array
    combine((a, given.s)).backward()  # must leave the gradient of b as it is
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_a_gradient_set_back_to_none(given):
    a, b = leaf(given.a), leaf(given.b)
    combine((a, given.p), (b, given.q)).backward()
    a.grad = None
    combine((a, given.r)).backward()
    return {"gradient of a, of the second backward() alone": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_two_results_that_share_a_part(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = combine((a, given.p), (b, given.q))
    first, second = combine((shared, given.r)), combine((combine((shared, given.s)), 1), (a, 2))
    first.backward()
    second.backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad, "a, after backward()": a}


def sum_and_more(a, b, p, q, sum_first):
    """``(p b + q a) + (a + b)``. A sum may give a and b one and the same array, and another is
    added to each."""
    if sum_first:
        return plus(plus(a, b), combine((b, p), (a, q)))
    return plus(combine((b, p), (a, q)), plus(a, b))


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_leaves_that_are_given_one_gradient(given):
    gradients = {}
    for order in "last", "first":
        a, b = leaf(given.a), leaf(given.b)
        sum_and_more(a, b, given.p, given.q, order == "first").backward()
        gradients[f"gradient of a, with a + b {order}"] = a.grad
        gradients[f"gradient of b, with a + b {order}"] = b.grad
    return gradients


@graded("autogradtest", a=(2, 3), b=(2, 3), **FACTORS)
def test_results_that_are_given_one_gradient(given):
    gradients = {}
    for order in "last", "first":
        a, b = leaf(given.a), leaf(given.b)
        results = combine((a, given.r)), combine((b, given.r))
        sum_and_more(*results, given.p, given.q, order == "first").backward()
        gradients[f"gradient of a, with the sum {order}"] = a.grad
        gradients[f"gradient of b, with the sum {order}"] = b.grad
    return gradients


def larger_computation(a, b, c, given, exchanged):
    """Leaves, results and constants that are used several times, on either side."""
    def both(x, y):
        return combine(*([(y, given.q), (x, given.p)] if exchanged else
                         [(x, given.p), (y, given.q)]))

    constants = constant(given.r), constant(given.s)
    d = both(a, b)
    e = both(d, c)
    f = both(both(constants[0], e), d)
    g = both(both(e, d), both(f, constants[1]))
    h = both(both(f, g), a)
    return both(both(h, f), both(both(c, d), both(a, h)))


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), **FACTORS)
def test_a_larger_computation(given):
    gradients = {}
    for order, exchanged in {"": False, ", operands exchanged": True}.items():
        a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
        larger_computation(a, b, c, given, exchanged).backward()
        gradients.update({f"gradient of a{order}": a.grad, f"gradient of b{order}": b.grad,
                          f"gradient of c{order}": c.grad})
    return gradients


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), **FACTORS)
def test_operations_of_one_and_of_three_tensors(given):
    one, *three = (leaf(array) for array in (given.a, given.a, given.b, given.c))
    combine((combine((one, given.p)), given.s)).backward()
    combine((combine(*zip(three, (given.p, given.q, given.r))), given.s)).backward()
    return {"gradient of a, the only input": one.grad,
            **{f"gradient of {name}, of three inputs": tensor.grad
               for name, tensor in zip("abc", three)}}
