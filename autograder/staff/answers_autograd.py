"""What the graded tests of problems 1.1 and 1.2 expect, for answers.py: from NumPy alone.
``g`` is what the tests call ``given``: the drawn inputs of one test."""

import numpy as np

import test_autograd
from by_hand import gradient, wrong


def gradients(g, f, **formulas):
    """The labelled gradients of the sum of ``f()`` by the drawn inputs of these names."""
    return {f"gradient of {name}": gradient(formula, f, getattr(g, name))
            for name, formula in formulas.items()}


# 1.1 Operations of two tensors


def operation(g, f, by_a, by_b):
    """Results of the operation f(a, b), whose derivatives are ``by_a`` and ``by_b``."""
    upstream = np.ones_like(g.upstream) if wrong("the upstream gradient ignored") else g.upstream
    grad_a, grad_b = upstream * by_a, upstream * by_b
    if np.ndim(by_a) and wrong("the gradients of a and b in each other's place"):
        grad_a, grad_b = grad_b, grad_a
    overwritten = wrong("the gradient of a, written over the upstream gradient")
    return {"output of forward": f(g.a, g.b),
            **gradients(g, lambda: g.upstream * f(g.a, g.b), a=grad_a, b=grad_b),
            "a, afterwards": g.a, "b, afterwards": g.b,
            "upstream gradient, afterwards": grad_a if overwritten else g.upstream}


def minus(a, b):
    if wrong("a + b instead of a - b"):
        return a + b
    return b - a if wrong("b - a instead of a - b") else a - b


def times(a, b):
    square = a.shape == a.shape[::-1]
    return a @ b if square and wrong("the matrix product a @ b instead of a * b") else a * b


def divided_by(a, b):
    return b / a if wrong("b / a instead of a / b") else a / b


def division(g):
    by_b = -g.a / g.b**2
    if wrong("-a/b instead of -a/b²"):
        by_b = -g.a / g.b
    if wrong("-1/b² instead of -a/b²"):
        by_b = -1 / g.b**2
    by_a = g.b if wrong("times b instead of divided by b") else 1 / g.b
    return operation(g, divided_by, by_a, by_b)


OPERATIONS = {
    "test_addition": lambda g: operation(g, np.add, 1, 1),
    "test_operator_plus": lambda g: {"a + b": g.a + g.b},
    "test_operator_minus": lambda g: {
        "a - b": g.a + g.b if wrong("the operator - adds") else minus(g.a, g.b)},
    "test_subtraction": lambda g: operation(g, minus, 1, -1),
    "test_subtraction_of_three_axes": lambda g: operation(g, minus, 1, -1),
    "test_operator_times": lambda g: {
        "a * b": g.a + g.b if wrong("the operator * adds") else times(g.a, g.b)},
    "test_multiplication": lambda g: operation(g, times, g.b, g.a),
    "test_multiplication_of_square_matrices_is_by_entry":
        lambda g: operation(g, times, g.b, g.a),
    "test_multiplication_by_zero": lambda g: operation(g, times, g.b, g.a),
    "test_operator_divided_by": lambda g: {
        "a / b": g.a * g.b if wrong("the operator / multiplies") else divided_by(g.a, g.b)},
    "test_division": division,
    "test_division_by_small_numbers": division,
    "test_division_of_vectors": division,
}


# 1.2 Autograd


def flags_of_results(g):
    requires = {"leaf + leaf": True, "leaf + constant": True, "constant + leaf": True,
                "constant + constant": False, "result + constant": True,
                "constant + result": True}
    return {f"({result}).{flag}": required == (flag == "requires_grad")
            for result, required in requires.items() for flag in ("requires_grad", "is_leaf")}


def chain(g):
    grad = g.weights
    if wrong("the gradient not handed down: each operation starts from ones"):
        grad = np.ones_like(g.a)
    return gradients(g, lambda: (g.a * g.b + g.c) * g.weights, a=grad * g.b, b=grad * g.a, c=grad)


def used_twice_by_one(g):
    once = wrong("only one of the two gradients kept where a tensor is both operands")
    return gradients(g, lambda: g.a**2 * g.weights, a=g.weights * g.a * (1 if once else 2))


def used_early_and_late(g):
    shared = (g.p * g.q + 1) * g.r
    found = gradients(g, lambda: (g.a * g.b * g.p * g.q + g.a * g.b) * g.r,
                      a=shared * g.b, b=shared * g.a)
    return {f"{label}, used {order} first": grad
            for order in ("late", "early") for label, grad in found.items()}


def without_rounding(f, a):
    """The derivative of ``f``, which works entry by entry, from one step along the imaginary axis:
    no difference is taken, so that it may be as small as 1e-200."""
    return f(a + 1e-200j).imag / 1e-200


def given_one_gradient(g, scale, labels):
    """Of ``(b * p + a * q) + (a + b)``, where a and b may be results of a multiplication."""
    def f():
        return g.b * scale * (g.p + 1) + g.a * scale * (g.q + 1)

    return {f"{name}, with {label}": array for label in labels for name, array in gradients(
        g, f, a=scale * (g.q + 1), b=scale * (g.p + 1)).items()}


def operations_of_one_and_of_three(g):
    def f():
        return (g.a + 2 * g.b + 3 * g.c) * g.upstream

    three = gradients(g, f, a=g.upstream, b=2 * g.upstream, c=3 * g.upstream)
    return {"gradient of a, the only input": g.upstream,
            **{f"{label}, of three inputs": grad for label, grad in three.items()}}


def larger_computation(g):
    found = {}
    for order, exchanged in {"": False, ", operands exchanged": True}.items():
        arrays = {name: getattr(g, name) for name in "abcpq"}
        for name in "abc":
            def f(array, name=name):
                return test_autograd.larger_computation(
                    **{**arrays, name: array}, exchanged=exchanged)
            found[f"gradient of {name}{order}"] = without_rounding(f, arrays[name])
    return found


def operators_that_take_part(g):
    kinds = {"leaf {} leaf": "ab", "leaf {} constant": "a", "constant {} leaf": "b"}
    return {f"{operands.format(sign)}: a gradient of {name}": True
            for sign in "-*/" for operands, names in kinds.items() for name in names}


AUTOGRAD = {
    "test_a_result_requires_grad_when_an_operand_does": flags_of_results,
    "test_backward_starts_from_ones": lambda g: gradients(
        g, lambda: g.a + g.b, a=np.ones_like(g.a), b=np.ones_like(g.b)),
    "test_a_chain_of_operations": chain,
    "test_the_example_of_the_handout": lambda g: {
        "e": g.a + g.a * g.b + g.c + 3, **gradients(
            g, lambda: g.a + g.a * g.b + g.c + 3,
            a=1 + g.b, b=g.a, c=np.ones_like(g.c))},
    "test_a_leaf_used_twice_by_one_operation": used_twice_by_one,
    "test_a_result_used_twice": lambda g: gradients(
        g, lambda: g.a * g.b * g.p + g.a * g.b * g.q,
        a=(g.p + g.q) * g.b, b=(g.p + g.q) * g.a),
    "test_a_result_used_early_and_late": used_early_and_late,
    "test_six_results_each_used_twice": lambda g: gradients(
        g, lambda: g.a * (g.weights + 1).prod(axis=0), a=(g.weights + 1).prod(axis=0)),
    "test_a_constant_gets_no_gradient": lambda g: {
        **gradients(g, lambda: g.a * g.c + g.c, a=g.c), "gradient of the constant": None},
    "test_a_constant_as_the_first_operand": lambda g: gradients(g, lambda: g.c * g.a, a=g.c),
    "test_constants_as_first_operands_of_a_chain": lambda g: gradients(
        g, lambda: g.p * (g.c + g.q * g.a**2), a=g.p * g.q * 2 * g.a),
    "test_every_operator_takes_part": operators_that_take_part,
    "test_gradients_are_stored_on_leaves_only": lambda g: {
        **gradients(g, lambda: g.a * g.b * g.weights, a=g.weights * g.b),
        "(a * b).grad": None, "(a * b * weights).grad": None},
    "test_backward_twice_adds_the_gradients_twice": lambda g: gradients(
        g, lambda: 2 * g.a * g.b * (g.weights + 1),
        a=2 * (g.weights + 1) * g.b, b=2 * (g.weights + 1) * g.a),
    "test_gradients_of_two_computations_add_up": lambda g: gradients(
        g, lambda: (g.a + g.b) * g.p + g.a * g.q, a=g.p + g.q, b=g.p),
    "test_a_gradient_set_back_to_none": lambda g: {
        "gradient of a, of the second backward() alone": gradient(g.p, lambda: g.a * g.p, g.a),
        "gradient of b": gradient(g.a, lambda: g.a * g.b, g.b)},
    "test_two_results_that_share_a_part": lambda g: {
        **gradients(g, lambda: g.a * g.b * (g.p + g.q) + g.a, a=g.b * (g.p + g.q) + 1,
                    b=g.a * (g.p + g.q)), "a, after backward()": g.a},
    "test_leaves_that_are_given_one_gradient": lambda g: given_one_gradient(
        g, np.ones_like(g.a), ("a + b last", "a + b first")),
    "test_results_that_are_given_one_gradient": lambda g: given_one_gradient(
        g, g.r, ("the sum last", "the sum first")),
    "test_a_larger_computation": larger_computation,
    "test_operations_of_one_and_of_three_tensors": operations_of_one_and_of_three,
    "test_backward_starts_from_ones_in_the_shape_of_the_result": lambda g: gradients(
        g, lambda: g.a + 2 * g.b, a=np.ones_like(g.a), b=np.full_like(g.b, 2)),
}
