"""Tries Function.apply by the four operators on small Tensors: do results get flags and a node?
A recorded graph does not tell what is missing from it; here it is known what should be there."""

import numpy as np

from mytorch.show import graph
from mytorch.show.watch import unseen
from mytorch.tensor import Tensor

OPERATORS = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y,
             "/": lambda x, y: x / y}
WHERE = 'hw1/README.md, "The forward pass records a graph"'
KINDS = (("leaf", "leaf"), ("constant", "leaf"), ("leaf", "constant"))


def find_complaints():
    """Sentences about what is wrong with results, of the first operator where anything is."""
    with unseen():
        for symbol in OPERATORS:
            said = {}  # sentence, with a gap for what it is about → kinds of operands
            for kinds in KINDS:
                sentence = try_operator(symbol, *kinds)
                if sentence and "{}" not in sentence:
                    return [sentence]
                said.setdefault(sentence, []).append(f" {symbol} ".join(kinds))
            said.pop("", None)
            if said:
                return [sentence.format(", ".join(kinds)) for sentence, kinds in said.items()]
        return shared_parts()


def try_operator(symbol, *kinds):
    """What is wrong with the result of an operator on two Tensors, "leaf" or "constant": a
    sentence with a gap for both, or nothing."""
    x, y = (Tensor(np.array(value), requires_grad=kind == "leaf")
            for value, kind in zip((2.0, 4.0), kinds))
    names = [(name, tensor) for name, tensor in (("x", x), ("y", y)) if tensor.requires_grad]
    try:
        result = OPERATORS[symbol](x, y)
        node = result.grad_fn
        leaves = [graph.leaf_of(other) for other in graph.nodes_below(node)] if node else []
    except Exception:
        return ""  # not written yet
    cut = f"The operator {symbol} must hand its Tensors to apply, not work on their .data."
    if not result.requires_grad:
        if node is None and symbol != "+":
            return "A result does not require grad, though an input does ({}). " + cut
        if node is None and len(names) == 2:
            return ("Function.apply (problem 1.2) records no graph yet: the result of an "
                    "operation on leaves gets no grad_fn.")
        return ("A result does not require grad, though an input does ({}): Function.apply must "
                "set requires_grad as soon as one input has it.")
    if result.is_leaf:
        return ("A result that requires grad has is_leaf=True ({}): Function.apply must set it to "
                "False.")
    if node is None:
        return ("A result that requires grad has no grad_fn ({}): Function.apply must link each "
                "such result to its node.")
    if isinstance(node, type):
        return (f"The grad_fn of a result is the class {node.__name__} ({{}}); it should be a "
                "node, the BackwardFunction that holds the ctx of this one call.")
    if not graph.inputs_of(node):
        return ("The next_functions of a result hold no node ({}): Function.apply must put "
                "there a node for each input that requires grad.")
    strange = [entry for entry in graph.inputs_of(node) if not hasattr(entry, "apply")]
    if strange:
        return (f"The next_functions of a node hold a {type(strange[0]).__name__} ({{}}); they "
                "should hold nodes: the AccumulateGrad of a leaf, the grad_fn of a result.")
    missing = [name for name, leaf in names if not any(found is leaf for found in leaves)]
    if not missing or symbol != "+" and len(missing) == len(names) == 2:
        return ""
    where = f"The graph of x {symbol} y does not lead back to {' and '.join(missing)}"
    return f"{where}: next_functions must hold its node." if symbol == "+" else f"{where}. {cut}"


def shared_parts():
    """What two nodes have in common that each should have of its own, a list of one sentence."""
    x = Tensor(np.array(2.0), requires_grad=True)
    try:
        one, other = (x + x).grad_fn, (x + x).grad_fn
        if one is other:
            return ["Two results of + have one node as their grad_fn; Function.apply must make a "
                    "new BackwardFunction at each call."]
        if one.next_functions is other.next_functions:
            return ["All nodes have one list next_functions in common; each needs a list of its "
                    "own, made in __init__."]
        if one.ctx is other.ctx:
            return ["All nodes have one ctx in common; each needs a ContextManager of its own, "
                    "made in __init__."]
    except Exception:
        pass
    return []


def find_notes():
    """Sentences about what is recorded contrary to the handout, though no number is wrong."""
    x, y = (Tensor(np.array(value), requires_grad=True) for value in (2.0, 4.0))
    constant, found = Tensor(np.array(3.0)), []
    try:
        with unseen():
            twice, beside, none = (graph.nodes_below((x + x).grad_fn),
                                   graph.nodes_below((y + constant).grad_fn), constant + constant)
    except Exception:
        return found  # not written yet
    if len([node for node in twice if graph.leaf_of(node) is x]) > 1:
        found.append("A leaf gets a new AccumulateGrad at each use. If it keeps its first one in "
                     f"grad_fn, its gradients can meet there ({WHERE}).")
    if any(graph.leaf_of(node) is constant for node in beside):
        found.append("Constants get an AccumulateGrad too. Their entry in next_functions should "
                     f"be None ({WHERE}).")
    if none.requires_grad:
        found.append("The result of constant + constant requires grad, though neither does. What "
                     "is computed from it is recorded and kept in memory for nothing.")
    return found
