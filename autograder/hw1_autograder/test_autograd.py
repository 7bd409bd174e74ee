"""The graded tests of problems 1.1 and 1.2: operations of two tensors, and autograd.
Each says what it draws and what it calls; ./grade.sh 1 compares what it returns."""

import contextlib
import operator

import numpy as np

from grader.graded import (
    WrongReturn, away_from_zero, constant, graded, leaf, my, small, truth, with_zeros)


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


@contextlib.contextmanager
def without_autograd():
    """Context in which Function.apply runs forward and nothing else, so that the operators of
    problem 1.1 can be tried whatever problem 1.2 makes of apply."""
    apply = vars(my.Function)["apply"]
    my.Function.apply = classmethod(lambda cls, *args: cls.forward(my.ContextManager(), *args))
    try:
        yield
    finally:
        my.Function.apply = apply


@graded("addtest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_addition(given):
    return run_operation(my.F.Add, given.a, given.b, given.upstream)


@graded("addtest", a=(2, 3), b=(2, 3))
def test_operator_plus(given):
    with without_autograd():
        return {"a + b": constant(given.a) + constant(given.b)}


@graded("subtest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_subtraction(given):
    return run_operation(my.F.Sub, given.a, given.b, given.upstream)


@graded("subtest", a=(3, 4), b=(3, 4))
def test_operator_minus(given):
    with without_autograd():
        return {"a - b": constant(given.a) - constant(given.b)}


@graded("subtest", a=(2, 3, 4), b=(2, 3, 4), upstream=(2, 3, 4))
def test_subtraction_of_three_axes(given):
    return run_operation(my.F.Sub, given.a, given.b, given.upstream)


@graded("multest", a=(3, 4), b=(3, 4), upstream=(3, 4))
def test_multiplication(given):
    return run_operation(my.F.Mul, given.a, given.b, given.upstream)


@graded("multest", a=(3, 4), b=(3, 4))
def test_operator_times(given):
    with without_autograd():
        return {"a * b": constant(given.a) * constant(given.b)}


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
    with without_autograd():
        return {"a / b": constant(given.a) / constant(given.b)}


@graded("divtest", a=(2, 3), b=small(2, 3), upstream=(2, 3))
def test_division_by_small_numbers(given):
    return run_operation(my.F.Div, given.a, given.b, given.upstream)


@graded("divtest", a=(5,), b=away_from_zero(5), upstream=(5,))
def test_division_of_vectors(given):
    return run_operation(my.F.Div, given.a, given.b, given.upstream)


@graded("autogradtest", a=(2, 3), b=(2, 3))
def test_a_result_requires_grad_when_an_operand_does(given):
    a, b = leaf(given.a), leaf(given.b)
    c, d = constant(given.a), constant(given.b)
    results = {"leaf + leaf": a + b, "leaf + constant": a + d, "constant + leaf": c + b,
               "constant + constant": c + d, "result + constant": (a + b) + c,
               "constant + result": c + (a + b)}
    flags = {}
    for name, result in results.items():
        flags[f"({name}).requires_grad"] = truth(result.requires_grad)
        flags[f"({name}).is_leaf"] = truth(result.is_leaf)
    return flags


@graded("autogradtest", a=(2, 3), b=(2, 3))
def test_backward_starts_from_ones(given):
    a, b = leaf(given.a), leaf(given.b)
    (a + b).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), weights=(2, 3))
def test_a_chain_of_operations(given):
    a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
    ((a * b + c) * constant(given.weights)).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad, "gradient of c": c.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3))
def test_the_example_of_the_handout(given):
    a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
    d = a + a * b
    e = (d + c) + constant(np.full((2, 3), 3.0))
    e.backward()
    return {"e": e, "gradient of a": a.grad, "gradient of b": b.grad, "gradient of c": c.grad}


@graded("autogradtest", a=(2, 3), weights=(2, 3))
def test_a_leaf_used_twice_by_one_operation(given):
    a = leaf(given.a)
    ((a * a) * constant(given.weights)).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3))
def test_a_result_used_twice(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = a * b
    (shared * constant(given.p) + shared * constant(given.q)).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3), r=(2, 3))
def test_a_result_used_early_and_late(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = a * b
    late = (shared * constant(given.p)) * constant(given.q)
    ((late + shared) * constant(given.r)).backward()
    first = {"gradient of a, used late first": a.grad, "gradient of b, used late first": b.grad}
    a, b = leaf(given.a), leaf(given.b)
    shared = a * b
    late = (shared * constant(given.p)) * constant(given.q)
    ((shared + late) * constant(given.r)).backward()
    return {**first, "gradient of a, used early first": a.grad,
            "gradient of b, used early first": b.grad}


@graded("autogradtest", a=(2, 3), weights=(6, 2, 3))
def test_six_results_each_used_twice(given):
    a = leaf(given.a)
    result = a
    for weights in given.weights:
        result = result * constant(weights) + result
    result.backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3))
def test_a_constant_gets_no_gradient(given):
    a, c = leaf(given.a), constant(given.c)
    (a * c + c).backward()
    return {"gradient of a": a.grad, "gradient of the constant": c.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3))
def test_a_constant_as_the_first_operand(given):
    a = leaf(given.a)
    (constant(given.c) * a).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=(2, 3), c=(2, 3), p=(2, 3), q=(2, 3))
def test_constants_as_first_operands_of_a_chain(given):
    a = leaf(given.a)
    c, p, q = constant(given.c), constant(given.p), constant(given.q)
    (p * (c + q * (a * a))).backward()
    return {"gradient of a": a.grad}


@graded("autogradtest", a=away_from_zero(2, 3), b=away_from_zero(2, 3))
def test_every_operator_takes_part(given):
    """Whether gradients arrive at all: whether they are right is for problem 1.1 to say."""
    arrived = {}
    for sign, apply in {"-": operator.sub, "*": operator.mul, "/": operator.truediv}.items():
        for kinds in (leaf, leaf), (leaf, constant), (constant, leaf):
            a, b = kinds[0](given.a), kinds[1](given.b)
            apply(a, b).backward()
            for name, operand, kind in (("a", a, kinds[0]), ("b", b, kinds[1])):
                if kind is leaf:
                    names = " {} ".format(sign).join(k.__name__ for k in kinds)
                    arrived[f"{names}: a gradient of {name}"] = operand.grad is not None
    return arrived


@graded("autogradtest", a=(2, 3), b=(2, 3), weights=(2, 3))
def test_gradients_are_stored_on_leaves_only(given):
    a, b = leaf(given.a), leaf(given.b)
    product = a * b
    result = product * constant(given.weights)
    result.backward()
    return {"gradient of a": a.grad, "(a * b).grad": product.grad,
            "(a * b * weights).grad": result.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), weights=(2, 3))
def test_backward_twice_adds_the_gradients_twice(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = a * b
    result = shared * constant(given.weights) + shared
    result.backward()
    result.backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3))
def test_gradients_of_two_computations_add_up(given):
    a, b = leaf(given.a), leaf(given.b)
    ((a + b) * constant(given.p)).backward()
    (a * constant(given.q)).backward()  # must leave the gradient of b as it is
    return {"gradient of a": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3))
def test_a_gradient_set_back_to_none(given):
    a, b = leaf(given.a), leaf(given.b)
    (a * b).backward()
    a.grad = None
    (a * constant(given.p)).backward()
    return {"gradient of a, of the second backward() alone": a.grad, "gradient of b": b.grad}


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3))
def test_two_results_that_share_a_part(given):
    a, b = leaf(given.a), leaf(given.b)
    shared = a * b
    first, second = shared * constant(given.p), constant(given.q) * shared + a
    first.backward()
    second.backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad, "a, after backward()": a}


def sum_and_products(a, b, p, q, sum_first):
    """``(b * p + a * q) + (a + b)``. The Add of ``a + b`` may give a and b one and the same
    gradient, and another is added to each."""
    if sum_first:
        return (a + b) + (b * p + a * q)
    return (b * p + a * q) + (a + b)


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3))
def test_leaves_that_are_given_one_gradient(given):
    p, q, gradients = constant(given.p), constant(given.q), {}
    for order in "last", "first":
        a, b = leaf(given.a), leaf(given.b)
        sum_and_products(a, b, p, q, order == "first").backward()
        gradients[f"gradient of a, with a + b {order}"] = a.grad
        gradients[f"gradient of b, with a + b {order}"] = b.grad
    return gradients


@graded("autogradtest", a=(2, 3), b=(2, 3), p=(2, 3), q=(2, 3), r=(2, 3))
def test_results_that_are_given_one_gradient(given):
    p, q, r, gradients = constant(given.p), constant(given.q), constant(given.r), {}
    for order in "last", "first":
        a, b = leaf(given.a), leaf(given.b)
        sum_and_products(a * r, b * r, p, q, order == "first").backward()
        gradients[f"gradient of a, with the sum {order}"] = a.grad
        gradients[f"gradient of b, with the sum {order}"] = b.grad
    return gradients


def larger_computation(a, b, c, p, q, exchanged):
    """Leaves, results and constants that are used several times, on either side."""
    def plus(x, y):
        return y + x if exchanged else x + y

    def times(x, y):
        return y * x if exchanged else x * y

    d = times(a, b)
    e = plus(d, c)
    f = plus(times(p, e), d)
    g = plus(times(e, d), times(f, q))
    h = plus(plus(f, g), a)
    return plus(times(h, f), plus(plus(c, d), times(a, h)))


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), p=(2, 3), q=(2, 3))
def test_a_larger_computation(given):
    gradients, constants = {}, (constant(given.p), constant(given.q))
    for order, exchanged in {"": False, ", operands exchanged": True}.items():
        a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
        larger_computation(a, b, c, *constants, exchanged).backward()
        gradients.update({f"gradient of a{order}": a.grad, f"gradient of b{order}": b.grad,
                          f"gradient of c{order}": c.grad})
    return gradients


def times_its_position(count, as_tuple):
    """An operation as a student may write one: ``a + 2 b + 3 c + ...`` of ``count`` Tensors. The
    backward of one with a single input returns a tuple of one or, as the given Log, a Tensor."""
    class TimesItsPosition(my.Function):
        @staticmethod
        def forward(ctx, *tensors):
            total = sum(i * tensor.data for i, tensor in enumerate(tensors, start=1))
            needs_grad = any(tensor.requires_grad for tensor in tensors)
            return my.Tensor(total, requires_grad=needs_grad, is_leaf=not needs_grad)

        @staticmethod
        def backward(ctx, grad_output):
            grads = tuple(my.Tensor(i * grad_output.data) for i in range(1, count + 1))
            return grads if as_tuple else grads[0]

    return TimesItsPosition


def gradients_through(operation, arrays, upstream):
    """The gradients of leaves with these numbers, all of them inputs of one operation."""
    leaves = [leaf(array) for array in arrays]
    (operation.apply(*leaves) * constant(upstream)).backward()
    return [tensor.grad for tensor in leaves]


@graded("autogradtest", a=(2, 3), b=(2, 3), c=(2, 3), upstream=(2, 3))
def test_operations_of_one_and_of_three_tensors(given):
    one = None
    with contextlib.suppress(Exception):  # an engine may want the tuple
        (one,) = gradients_through(times_its_position(1, False), [given.a], given.upstream)
    if one is None:
        (one,) = gradients_through(times_its_position(1, True), [given.a], given.upstream)
    three = gradients_through(times_its_position(3, True), [given.a, given.b, given.c],
                              given.upstream)
    return {"gradient of a, the only input": one,
            **{f"gradient of {name}, of three inputs": grad for name, grad in zip("abc", three)}}


@graded("autogradtest", a=(2, 3), b=(2, 3))
def test_backward_starts_from_ones_in_the_shape_of_the_result(given):
    """As no operation of the student's is between, none can make ones of that shape of a 1."""
    a, b = leaf(given.a), leaf(given.b)
    times_its_position(2, as_tuple=True).apply(a, b).backward()
    return {"gradient of a": a.grad, "gradient of b": b.grad}
