"""Nodes, Tensors and numbers in few words, for trace.py and draw.py.
Whatever has a name is called by it, else by what it is."""

import numpy as np

from mytorch.show import graph
from mytorch.tensor import Tensor


class Words:
    """What to call things.

    Args:
        names (dict): Tensors by name.
    """

    def __init__(self, names):
        self.names = names

    def name(self, thing):
        """The name of a Tensor, or of that which a node belongs to; None if it has none."""
        is_tensor = isinstance(thing, Tensor)
        return next((name for name, named in self.names.items()
                     if (graph.same(named, thing) if is_tensor else
                         named.grad_fn is thing or graph.leaf_of(thing) is named)), None)

    def tensor(self, tensor):
        """The name of a Tensor, else what kind it is."""
        if self.name(tensor):
            return self.name(tensor)
        if tensor.grad_fn is not None and not graph.is_leaf_node(tensor.grad_fn):
            return "an unnamed result"
        if tensor.requires_grad:
            return "an unnamed leaf"
        numbers = values(tensor.data)
        return f"the constant {numbers}" if numbers else "an unnamed constant"

    def grad(self, tensor):
        """The ``.grad`` of a Tensor."""
        name = self.name(tensor)
        return f"{name}.grad" if name else f"the .grad of {self.tensor(tensor)}"

    def node(self, node):
        """A node: ``Mul``, ``Add -> d`` for a named result, ``a`` for a leaf."""
        name = self.name(node)
        if graph.is_leaf_node(node):
            return name or "an unnamed leaf"
        return f"{graph.function_name(node)} -> {name}" if name else graph.function_name(node)

    def call(self, call):
        """A call of apply by the number of its step and what it visits."""
        return f"step {call.step} ({self.node(call.node)})"

    def argument(self, argument):
        """What an operation was applied to."""
        if argument.node is not None:
            return self.node(argument.node)
        if argument.tensor is None:
            return "an unnamed constant"
        name = self.name(argument.tensor)
        return f"{name}, a constant" if name else self.tensor(argument.tensor)


def in_a_row(names):
    """``a, b and c``, of many only the first."""
    names = names[:4] + [f"{len(names) - 4} more"] * (len(names) > 4)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def show(array):
    """An ndarray in few words: its values, or shape and norm where they are many."""
    if array is None:
        return "None"
    return values(array) or f"array {array.shape} of norm {norm(array)}"


def norm(array, digits=4):
    """The Euclidean norm of all entries, as text."""
    with np.errstate(all="ignore"):
        return f"{np.sqrt(np.sum(np.square(array, dtype=float))):.{digits}g}"


def values(data, longest=36):
    """The numbers of a small ndarray as text of one line; None for a larger one."""
    if data.size > 6:
        return None
    text = np.array2string(data, separator=", ", formatter={"float_kind": digits})
    text = " ".join(text.split())
    return text if len(text) <= longest else None


def digits(number):
    """A number in few characters: whole ones as such, others in four digits."""
    number = float(number)
    return f"{number:.0f}" if number % 1 == 0 and abs(number) < 1e6 else f"{number:.4g}"
