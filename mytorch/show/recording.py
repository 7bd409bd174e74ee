"""Tries Function.apply by sums of small Tensors: does a result get its flags and its node?
A recorded graph does not tell what is missing from it; here it is known what should be there."""

import numpy as np

from mytorch.show import graph
from mytorch.show.watch import unseen
from mytorch.tensor import Tensor

KINDS = (("leaf", "leaf"), ("constant", "leaf"), ("leaf", "constant"))


def start_node(tensor):
    """graph.start_node; where there is none, the RuntimeError says what ``apply`` does wrong."""
    try:
        return graph.start_node(tensor)
    except RuntimeError as error:
        raise RuntimeError(*find_complaints() or error.args) from None


def find_complaints():
    """What is wrong with the result of a sum: at most one sentence, in a list."""
    said = {}  # sentence → kinds of operands
    try:
        with unseen():
            for kinds in KINDS:
                said.setdefault(try_sum(*kinds), []).append(" + ".join(kinds))
            one, other = (sum_of("leaf", "leaf")[0].grad_fn for _ in range(2))
            for name in ("next_functions", "ctx") if not any(said) else ():
                if one is other or getattr(one, name) is getattr(other, name):
                    return [f"Two results of + have one {'grad_fn' if one is other else name} in "
                            "common; each call of apply must make its own."]
    except Exception:
        pass  # not written yet
    return [f"With {', '.join(kinds)}: {sentence}" for sentence, kinds in said.items() if sentence][:1]


def sum_of(*kinds):
    """The sum of two Tensors, "leaf" or "constant", and the list of them."""
    x, y = (Tensor(np.array(value), requires_grad=kind == "leaf")
            for value, kind in zip((2.0, 4.0), kinds))
    return x + y, [x, y]


def try_sum(*kinds):
    """A sentence about what is wrong with the sum of two Tensors, or nothing."""
    result, operands = sum_of(*kinds)
    node = result.grad_fn
    if not result.requires_grad and node is None and "constant" not in kinds:
        return "Function.apply (1.2) records no graph yet."
    if not result.requires_grad:
        return ("The result does not require grad, though an input does; Function.apply must set "
                "requires_grad as soon as one input has it.")
    if result.is_leaf:
        return "The result requires grad and has is_leaf=True; Function.apply must set it to False."
    if node is None:
        return ("The result requires grad and has no grad_fn; Function.apply must link each such "
                "result to its node.")
    if isinstance(node, type):
        return (f"The grad_fn of the result is the class {node.__name__}; it should be a node, "
                "the BackwardFunction that holds the ctx of this one call.")
    for entry in graph.inputs_of(node):
        if not hasattr(entry, "apply"):
            return (f"The next_functions of the result hold a {type(entry).__name__}; they should "
                    "hold nodes: the AccumulateGrad of a leaf, the grad_fn of a result.")
    leaves = list(map(graph.leaf_of, graph.inputs_of(node)))
    for tensor in operands:
        if tensor.requires_grad and not any(leaf is tensor for leaf in leaves):
            return ("The next_functions of the result do not hold a node of each leaf; "
                    "Function.apply must put there a node for each input that requires grad.")
    return ""
