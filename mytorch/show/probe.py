"""Tries Function.apply and the operators on three small Tensors: do results get flags and a node?
For graphs that trace and draw cannot show, as they were never recorded."""

from mytorch.show import graph
from mytorch.show.watch import unseen
from mytorch.tensor import Tensor

OPERATORS = {"-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y}


def find_faults():
    """Sentences about what is wrong in how results are recorded; addition is tried first."""
    with unseen():
        return try_operators()


def try_operators():
    """See find_faults."""
    x, y = Tensor(2.0, requires_grad=True), Tensor(4.0, requires_grad=True)
    constant = Tensor(3.0)
    try:
        both, right, left, none = x + y, constant + x, x + constant, constant + constant
    except Exception:
        return []
    if both.grad_fn is None:
        return ["Function.apply (problem 1.2) records no graph yet: the result of an operation on "
                "leaves gets no grad_fn."]
    found = []
    for result, what in ((right, "constant + leaf"), (left, "leaf + constant")):
        if not (result.requires_grad and result.grad_fn):
            found.append(f"The result of {what} does not require grad; Function.apply must say so "
                         "as soon as one input does.")
    if none.requires_grad:
        found.append("The result of constant + constant requires grad; Function.apply must say so "
                     "only where an input does.")
    return found + [fault for symbol in OPERATORS for fault in try_operator(symbol, x, y)]


def try_operator(symbol, x, y):
    """Whether the graph of ``x symbol y`` leads back to both leaves; a sentence if not."""
    try:
        result = OPERATORS[symbol](x, y)
        nodes = graph.nodes_below(result.grad_fn) if result.grad_fn is not None else []
    except Exception:
        return []  # not written yet
    leaves = [graph.leaf_of(node) for node in nodes]
    missing = [name for name, leaf in (("x", x), ("y", y))
               if not any(found is leaf for found in leaves)]
    if not missing or nodes and len(missing) == 2:
        return []
    return [f"The graph of x {symbol} y does not lead back to {' and '.join(missing)}: the operator "
            f"{symbol} must hand its Tensors to apply, not work on their .data."]
