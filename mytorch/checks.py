"""What the engine checks, and the sentences that say what is wrong; nothing is repaired here.
A Tensor is told by its attribute ``requires_grad``, because the engine does not know the class."""

import numpy as np


def type_of(value, wanted):
    """The name of the type of ``value``, which is not of the class ``wanted``, for a message."""
    name = type(value).__name__
    if any((cls.__module__, cls.__name__) == (wanted.__module__, wanted.__name__)
           for cls in type(value).__mro__):
        name += (f" of another {wanted.__module__}, which was imported again (importlib.reload?) "
                 "or by another path; restart Python, and import it once")
    return name


def check_saved(values):
    """Raise TypeError unless each of ``values``, given to ``save_for_backward``, is a Tensor."""
    for value in values:
        if not hasattr(value, "requires_grad"):
            raise TypeError(f"save_for_backward: expected Tensors, got {type(value).__name__}; "
                            "keep a constant as an attribute, such as ctx.axis = axis")


def check_arguments(function, args):
    """Raise TypeError if one of the Tensors that a Function is applied to holds no ndarray."""
    for arg in args:
        if hasattr(arg, "requires_grad") and type(arg.data) is not np.ndarray:
            check_data(f"{function.__name__}: the data of an input", arg.data)


def check_data(label, data):
    """Raise TypeError unless ``data``, which can be assigned to a Tensor, is an ndarray."""
    if not isinstance(data, (np.ndarray, np.generic)):
        way = "w.data = w.data - lr * w.grad.data" if hasattr(data, "requires_grad") else (
            "w.data = np.array(...)")
        raise TypeError(f"{label} is a {type(data).__name__}, expected an ndarray; to change a "
                        f"weight, use arrays only, as in {way}")


def check_start(node):
    """Raise RuntimeError if the node from which to walk backward is None."""
    if node is None:
        raise RuntimeError("backward: the tensor is outside any graph (grad_fn is None); "
                           "none of the tensors it was computed from has requires_grad=True")


def check_leaf(leaf):
    """Raise TypeError unless a Tensor that requires grad holds floats, as its gradient will."""
    if leaf.data.dtype.kind != "f":
        raise TypeError(f"a Tensor that requires grad must hold floats, but this one holds "
                        f"{leaf.data.dtype}; an integer cannot hold a gradient")


def check_stored(grad, leaf):
    """Raise ValueError or TypeError unless the Tensor ``grad`` can be added to a leaf's."""
    if leaf.data.dtype.kind != "f":
        check_leaf(leaf)
    if grad.data.shape != leaf.data.shape:
        raise ValueError(f"AccumulateGrad: expected a gradient of the leaf's shape {leaf.shape}, "
                         f"got {grad.shape}")
    if leaf.grad is not None:
        check_grad(leaf)


def check_grad(leaf):
    """Raise TypeError or ValueError unless ``leaf.grad``, which can be assigned, is a Tensor of
    the leaf's shape."""
    if type(leaf.data) is not np.ndarray:
        check_data("the data of a leaf", leaf.data)
    if not hasattr(leaf.grad, "requires_grad"):
        raise TypeError(f"grad: expected a Tensor or None, got {type(leaf.grad).__name__}; to "
                        "change a gradient, write p.grad = Tensor(p.grad.data * 0.5)")
    if leaf.grad.data.shape != leaf.data.shape:
        raise ValueError(f"grad: expected a Tensor of the leaf's shape {leaf.shape}, "
                         f"got {leaf.grad.shape}")


def check_output(function, output):
    """Raise TypeError unless ``output``, which a Function's ``forward`` returned, is a Tensor."""
    if not hasattr(output, "requires_grad"):
        raise TypeError(f"{function.__name__}.forward: must return a Tensor, "
                        f"got {type(output).__name__}")


def needed_gradients(node):
    """For each argument of ``forward`` whether it needs a gradient, as a list; an empty one where
    nothing is known of the inputs, in a node that was made by hand, without ``Function.apply``."""
    parents = node.next_functions
    return [parent is not None for parent in parents] if len(parents) == node.arity else []


def check_gradients(node, grads):
    """Check what the ``backward`` of a Function returned.

    Args:
        node (BackwardFunction): the node that ran it. Its ``next_functions`` get the gradients,
            and the ``shape`` of each tells the one that its gradient must have.
        grads (tuple): what it returned; entries for constants at the end may be missing.

    Raises:
        ValueError: for the wrong number of gradients, or a gradient whose shape is not its
            input's (often a forgotten ``unbroadcast``).
        TypeError: for a gradient that is not a Tensor.
    """
    function, parents = node.function, node.next_functions
    if len(parents) != node.arity:  # as in needed_gradients
        return
    if len(grads) > len(parents) or any(parents[len(grads):]):
        complain(ValueError, function, f"expected {len(parents)} gradients, one per argument of "
                                       f"forward, got {len(grads)}")
    for position, (grad, parent) in enumerate(zip(grads, parents)):
        if grad is None or parent is None:
            continue
        if not hasattr(grad, "requires_grad"):
            complain(TypeError, function, f"gradient of argument {position}: expected a Tensor or "
                                          f"None, got {type(grad).__name__}")
        shape = getattr(parent, "shape", None)
        if shape is not None and grad.data.shape != shape:
            complain(ValueError, function, f"gradient of argument {position}: expected the "
                                           f"argument's shape {shape}, got {grad.shape}")


def complain(kind, function, text):
    """Raise an exception of that kind about the ``backward`` of a Function, with its place."""
    code = getattr(function.backward, "__code__", None)  # a callable object has none
    place = f" (defined at {code.co_filename}:{code.co_firstlineno})" if code else ""
    raise kind(f"{function.__name__}.backward: {text}{place}")
