"""A recorded graph from outside: its nodes, what their operations were applied to, their names.
Uses only names that every engine of this homework has, and `shape` where a node has one."""

from collections import namedtuple

from mytorch.autograd_engine import AccumulateGrad
from mytorch.tensor import Tensor

# An argument of an operation: `node` receives its gradient (None: it gets none), `tensor` is the
# Tensor itself where it is known. Where both are None it may be an axis.
Argument = namedtuple("Argument", "node tensor")


def start_node(tensor):
    """The node from which ``tensor.backward()`` starts; None if it is outside any graph."""
    if tensor.grad_fn is None and tensor.requires_grad and tensor.is_leaf:
        return AccumulateGrad(tensor)
    return tensor.grad_fn


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


def entries_of(node):
    """A node's ``next_functions`` as a list; some engines keep them in a dict."""
    entries = getattr(node, "next_functions", None)
    entries = entries.values() if isinstance(entries, dict) else entries
    return list(entries or ())


def inputs_of(node):
    """The nodes among a node's ``next_functions``: no constants."""
    return [parent for parent in entries_of(node) if parent is not None]


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


def count_paths(node, known=None):
    """How many visits it takes to go along every path below a node, itself counted."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = 0  # so that a wrong engine's ring of nodes has an end
        known[id(node)] = 1 + sum(count_paths(parent, known) for parent in inputs_of(node))
    return known[id(node)]


def arguments(node):
    """What an operation was applied to, one Argument for each argument of its ``forward``.

    The entries of ``next_functions`` tell, and what the operation saved: where it saved more
    Tensors than there are entries, those that belong to none are taken for constants that the
    engine has left out.
    """
    entries, saved = entries_of(node), saved_tensors(node)
    if len(saved) > len(entries) > 0:
        rest = list(entries)
        found = [Argument(rest.pop(0) if rest and belong(rest[0], tensor) else None, tensor)
                 for tensor in saved]
        if not rest:
            return found
    found = []
    for entry in entries:
        tensor = next((one for one in saved if belong(entry, one)), leaf_of(entry))
        saved = [one for one in saved if one is not tensor]
        found.append(Argument(entry, tensor))
    return found


def is_known(argument):
    """Whether it is known what an Argument was."""
    return argument.node is not None or argument.tensor is not None


def belong(entry, tensor):
    """Whether an entry of ``next_functions`` and a saved Tensor can be of one argument."""
    if entry is None:
        return not tensor.requires_grad
    if leaf_of(entry) is not None:
        return same(leaf_of(entry), tensor)
    if tensor.grad_fn is None:  # what is saved may be a twin without its node
        shape = getattr(entry, "shape", tensor.data.shape)
        return tensor.requires_grad and shape == tensor.data.shape
    return tensor.grad_fn is entry


def saved_tensors(node):
    """The Tensors that a node's operation saved for backward, as a list."""
    saved = getattr(getattr(node, "ctx", None), "saved_tensors", None)
    return [tensor for tensor in saved or () if isinstance(tensor, Tensor)]


def same(one, other):
    """Whether these are one Tensor, or two around the same array: what is saved may be a twin."""
    return one is other or one.data is other.data


def all_names(names):
    """``names``, a dict of Tensors and Modules, as one of Tensors: ``model.0.weight`` and so on.

    Raises:
        TypeError: if a value is neither a Tensor nor a Module.
    """
    for name, value in names.items():
        if not isinstance(value, Tensor) and not is_module(value):
            raise TypeError(
                f"{name}=...: expected a Tensor or a Module, got {type(value).__name__}")
    found = {}
    for name, value in names.items():
        add_names(found, name, value, set())
    return found


def is_module(value):
    """Whether ``value`` is a layer, a network or a loss."""
    return callable(value) and hasattr(value, "forward")


def add_names(found, name, value, visited):
    """Add a Tensor to ``found``, name → Tensor, or all in a Module, by where they are."""
    if isinstance(value, Tensor):
        found[name] = value
    elif id(value) not in visited:
        visited.add(id(value))
        if isinstance(value, (list, tuple)):  # the layers of a Sequential
            for index, inner in enumerate(value):
                add_names(found, f"{name}.{index}", inner, visited)
        elif is_module(value):
            for attribute, inner in vars(value).items():
                is_list = isinstance(inner, (list, tuple))
                add_names(found, name if is_list else f"{name}.{attribute}", inner, visited)
