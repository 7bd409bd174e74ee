"""A recorded graph from outside, for trace.py and draw.py: its nodes, their inputs, their names.
Uses only names that every engine of this homework has, so a student's own will do."""

from collections import namedtuple

from mytorch.autograd_engine import AccumulateGrad
from mytorch.tensor import Tensor

# An argument of an operation: `node` receives its gradient (None: it gets none), `tensor` is the
# Tensor itself where known; `is_tensor` is False for an axis or a shape.
Argument = namedtuple("Argument", "node tensor is_tensor")


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
    raise RuntimeError("the tensor is outside any graph (grad_fn is None); "
                       "it was computed from constants only, where nothing has requires_grad=True")


def nodes_below(root):
    """``root`` and all nodes that it leads to, each once, as a list."""
    found = {id(root): root}
    unexplored = [root]
    while unexplored:
        for node in inputs_of(unexplored.pop()):
            if id(node) not in found:
                found[id(node)] = node
                unexplored.append(node)
    return list(found.values())


def inputs_of(node):
    """The nodes among a node's ``next_functions``: no constants."""
    return [parent for parent in getattr(node, "next_functions", None) or () if parent is not None]


def is_leaf_node(node):
    """Whether ``node`` is a leaf's AccumulateGrad, where a gradient is stored."""
    return hasattr(node, "variable") and not hasattr(node, "ctx")


def leaf_of(node):
    """The leaf that an AccumulateGrad belongs to; None for any other node."""
    return getattr(node, "variable", None)


def key_of(node):
    """What tells nodes apart; equal for the AccumulateGrads that an engine makes for one leaf."""
    leaf = leaf_of(node)
    return id(node) if leaf is None else id(leaf)


def function_name(node):
    """The name of a node's operation."""
    return getattr(node, "function_name", type(node).__name__)


def arguments(node):
    """What an operation was applied to, one Argument for each argument of its ``forward``.

    The engine's note of the inputs tells, and which entry of ``next_functions`` belongs to which;
    an engine that keeps no note is believed to have one entry for each argument.
    """
    parents = list(getattr(node, "next_functions", None) or ())
    saved = saved_tensors(node)
    notes = getattr(node, "inputs", None)
    if isinstance(notes, list):
        inputs = [note if note is None or isinstance(note, Tensor) else note() for note in notes]
        needed = node.ctx.needs_input_grad
        nodes = [parent for parent in inputs_of(node) if not is_of_constant(parent)]
        if sum(map(bool, needed)) == len(nodes):
            following = iter(nodes)
            found = [Argument(next(following) if needs else None, tensor, note is not None)
                     for tensor, note, needs in zip(inputs, notes, needed)]
            if all(fits(argument) for argument in found):
                return complete(found, saved)
    found = [Argument(parent, leaf_of(parent), True) for parent in parents]
    is_all = len(saved) == len(found) and all(
        fits(Argument(argument.node, tensor, True)) for argument, tensor in zip(found, saved))
    return [argument if argument.tensor is not None or not is_all else argument._replace(tensor=tensor)
            for argument, tensor in zip(found, saved if is_all else found)]


def inputs_without_nodes(node):
    """The inputs that require grad (None for one that is gone), where not each has its node in
    ``next_functions``; else an empty list, as where the engine keeps no note of inputs."""
    notes = getattr(node, "inputs", None)
    if not isinstance(notes, list):
        return []
    needed = [note if isinstance(note, Tensor) else note()
              for note, needs in zip(notes, node.ctx.needs_input_grad) if needs]
    made = [parent for parent in inputs_of(node) if not is_of_constant(parent)]
    return needed if len(made) < len(needed) else []


def fits(argument):
    """Whether node and Tensor of an Argument can belong together."""
    node, tensor = argument.node, argument.tensor
    if tensor is None:
        return True
    if node is None:
        return not tensor.requires_grad
    return same(leaf_of(node), tensor) or tensor.grad_fn is node or (
        tensor.grad_fn is None and not is_leaf_node(node))  # saved without its node


def is_of_constant(node):
    """Whether an engine made this AccumulateGrad for a Tensor that gets no gradient."""
    leaf = leaf_of(node)
    return leaf is not None and not leaf.requires_grad


def is_of_result(node):
    """Whether an engine made this AccumulateGrad for the result of an operation, as for a leaf."""
    grad_fn = getattr(leaf_of(node), "grad_fn", None)
    return grad_fn is not None and not is_leaf_node(grad_fn)


def complete(found, saved):
    """Arguments, with the one whose Tensor is gone found among ``saved`` where that is certain."""
    gone = [i for i, argument in enumerate(found) if argument.tensor is None and argument.is_tensor]
    left = [tensor for tensor in saved
            if not any(same(tensor, argument.tensor) for argument in found)]
    if len(gone) == len(left) == 1:
        found[gone[0]] = found[gone[0]]._replace(tensor=left[0])
    return found


def saved_tensors(node):
    """The Tensors that a node's operation saved for backward, as a list."""
    saved = getattr(getattr(node, "ctx", None), "saved_tensors", None) or ()
    return [tensor for tensor in saved if isinstance(tensor, Tensor)]


def same(one, other):
    """Whether these are one Tensor, or two around the same array: what is saved may be a twin."""
    return one is not None and other is not None and (one is other or one.data is other.data)


def tensors_at(node):
    """All Tensors that a node knows: its leaf, its inputs, what it or its context holds."""
    holders = [node, getattr(node, "ctx", None)]
    held = [value for holder in holders for value in getattr(holder, "__dict__", {}).values()]
    found = [leaf_of(node), *saved_tensors(node), *held,
             *(argument.tensor for argument in arguments(node))]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def all_names(names):
    """``names``, a dict of Tensors and Modules, as one of Tensors: ``model.0.weight`` and so on.

    Raises:
        TypeError: if a value is neither Tensor nor Module.
    """
    found = {}
    for name, value in names.items():
        if isinstance(value, Tensor):
            found[name] = value
        elif callable(value) and hasattr(value, "forward"):
            add_module(found, name, value, set())
        else:
            raise TypeError(f"{name}=...: expected a Tensor or a Module, got {type(value).__name__}")
    return found


def add_module(found, prefix, value, visited):
    """Add the Tensors of a Module, and of those in it, to ``found``, by where they are."""
    if id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, Tensor):
        found[prefix] = value
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):  # the layers of a Sequential
            add_module(found, f"{prefix}.{index}", inner, visited)
    elif hasattr(value, "forward"):
        for name, inner in vars(value).items():
            is_list = isinstance(inner, (list, tuple))
            add_module(found, prefix if is_list else f"{prefix}.{name}", inner, visited)
