"""Walking a graph from outside, to show it to people: what trace.py and draw.py share.
Uses only names that every engine of this homework has, so a student's own will do."""

from collections import namedtuple

import numpy as np

from mytorch.autograd_engine import AccumulateGrad
from mytorch.tensor import Tensor

# The gradients that `node` was waiting for are there (a list of (sender, Tensor or None),
# empty for the first node); `grad` is their sum, None if they were all None.
Visit = namedtuple("Visit", "node arrivals grad")
# `node` hands `grad` (None for nothing) to `parent`: number `count` of `expected` gradients.
Handover = namedtuple("Handover", "node parent grad count expected")


def start_node(tensor):
    """The node from which ``tensor.backward()`` starts.

    Raises:
        TypeError: if ``tensor`` is no Tensor.
        RuntimeError: if it is outside any graph.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"expected a Tensor, got {type(tensor).__name__}")
    if tensor.grad_fn is not None:
        return tensor.grad_fn
    if tensor.requires_grad and tensor.is_leaf:
        return AccumulateGrad(tensor)
    raise RuntimeError(
        "the tensor is outside any graph (grad_fn is None); "
        "none of the tensors it was computed from has requires_grad=True, "
        "or Function.apply (problem 1.2) is not finished"
    )


def count_uses(root):
    """Dict of the nodes reachable from ``root``: how often the graph leads to each."""
    uses = {root: 1}
    unexplored = [root]
    while unexplored:
        for parent in inputs_of(unexplored.pop()):
            if parent not in uses:
                unexplored.append(parent)
            uses[parent] = uses.get(parent, 0) + 1
    return uses


def inputs_of(node):
    """The nodes that ``node`` hands gradients to, one for each use: no constants."""
    return [parent for parent in node.next_functions if parent is not None]


def is_leaf_node(node):
    """Whether ``node`` is a leaf's AccumulateGrad, where a gradient is stored."""
    return node.function_name == "AccumulateGrad"


def backward_events(tensor):
    """What ``tensor.backward()`` does, in its order, without storing any gradient.

    Depth-first, and into a node when its last gradient has arrived, as autograd_engine. No
    AccumulateGrad is applied, as that would change ``.grad``.

    Returns:
        list: a Visit for each node, in between a Handover for each gradient passed on.

    Raises:
        TypeError: if an operation's ``backward`` returns anything but Tensors and None.
    """
    root = start_node(tensor)
    expected = count_uses(root)
    arrivals = {node: [] for node in expected}
    events = []

    def visit(node, grad):
        """Note the visit, then each handover, and go on where the last gradient came."""
        events.append(Visit(node, arrivals[node], grad))
        for parent, share in zip(node.next_functions, gradients(node, grad)):
            if parent is None:
                continue
            arrivals[parent].append((node, share))
            count = len(arrivals[parent])
            events.append(Handover(node, parent, share, count, expected[parent]))
            if count == expected[parent]:
                visit(parent, total([grad for _, grad in arrivals[parent]]))

    is_float = tensor.data.dtype.kind == "f"
    visit(root, Tensor(np.ones(tensor.shape, tensor.data.dtype if is_float else float)))
    return events


def gradients(node, grad):
    """What ``node`` makes of the gradient of its output: a Tensor or None for each input."""
    nothing = [None] * len(node.next_functions)
    if grad is None or is_leaf_node(node):
        return nothing
    # A copy, as a student's backward might write into what it is given.
    shares = node.apply(Tensor(grad.data.copy()))
    shares = list(shares) if isinstance(shares, (tuple, list)) else [shares]
    for share in shares:
        if share is not None and not isinstance(share, Tensor):
            raise TypeError(f"{node.function_name}.backward: expected Tensors and None, "
                            f"got {type(share).__name__}")
    return shares + nothing[len(shares):]


def total(grads):
    """Sum of a list of gradients (Tensor or None), first to last; None if all are None."""
    grads = [grad.data for grad in grads if grad is not None]
    return Tensor(sum(grads[1:], grads[0])) if grads else None


def constants_of(node):
    """The constants among a node's inputs, in order: the Tensor if the node kept it, else None.

    An operation that saved exactly its arguments, as Mul does, thereby tells its constants.
    """
    parents, saved = list(node.next_functions), []
    if parents and len(node.ctx.saved_tensors) == len(parents) and all(
            belongs(tensor, parent) for tensor, parent in zip(node.ctx.saved_tensors, parents)):
        saved = list(node.ctx.saved_tensors)
    return [saved[i] if saved else None for i, parent in enumerate(parents) if parent is None]


def belongs(tensor, node):
    """Whether ``node`` is the one of ``tensor``; that of a constant is None."""
    if node is None:
        return not tensor.requires_grad
    return tensor.grad_fn is node or getattr(node, "variable", None) is tensor


def name_of(node, names):
    """The name of the Tensor that ``node`` belongs to in ``names``, a dict; None if not there."""
    return next((name for name, tensor in names.items() if belongs(tensor, node)), None)


def name_of_tensor(tensor, names):
    """The name of ``tensor`` in ``names``, a dict; None if it is not there."""
    return next((name for name, named in names.items() if named is tensor), None)


def check_names(names):
    """Raise TypeError unless all values of the dict ``names`` are Tensors."""
    for name, tensor in names.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}=...: expected a Tensor, got {type(tensor).__name__}")


def values(data, longest=36):
    """The numbers of a small ndarray as text of one line; None for a larger one."""
    if data.size > 6:
        return None
    text = np.array2string(data, separator=", ", formatter={"float_kind": digits})
    text = " ".join(text.split())
    return text if len(text) <= longest else None


def digits(number):
    """A number in few characters: whole ones as such, others in four digits."""
    return f"{number:.0f}" if number % 1 == 0 and abs(number) < 1e6 else f"{number:.4g}"
