"""What the engine checks, and the sentences that say what is wrong; nothing is repaired here.
A Tensor is told by its attribute ``requires_grad``, as the engine does not know the class."""


def check_saved(values):
    """Raise TypeError unless each of ``values``, given to ``save_for_backward``, is a Tensor."""
    for value in values:
        if not hasattr(value, "requires_grad"):
            raise TypeError(f"save_for_backward: expected Tensors, got {type(value).__name__}; "
                            "keep a constant as an attribute, such as ctx.axis = axis")


def check_data(function, args):
    """Raise TypeError if the data of one of the arguments of a Function is itself a Tensor."""
    for arg in args:
        if hasattr(arg, "requires_grad") and hasattr(arg.data, "requires_grad"):
            raise TypeError(
                f"{function.__name__}: the data of an input is a Tensor, expected an ndarray; to "
                "change a weight, use arrays only, as in w.data = w.data - lr * w.grad.data")


def check_leaf(leaf):
    """Raise TypeError unless a leaf holds floats, as its gradient will be of the same dtype.

    Its constructor sees to that, but ``data`` and ``requires_grad`` can be assigned later.
    """
    if leaf.data.dtype.kind != "f":
        raise TypeError(f"a Tensor that requires grad must hold floats, this one holds "
                        f"{leaf.data.dtype}; an integer cannot hold a gradient")


def refuse_to_store(grad, leaf):
    """Raise ValueError or TypeError: ``grad`` (Tensor) is no gradient for ``leaf``."""
    check_leaf(leaf)
    raise ValueError(f"AccumulateGrad: expected a gradient of the leaf's shape {leaf.shape}, "
                     f"got {grad.shape}")


def check_output(function, output):
    """Raise TypeError unless ``output``, which a Function's ``forward`` returned, is a Tensor."""
    if not hasattr(output, "requires_grad"):
        raise TypeError(f"{function.__name__}.forward: must return a Tensor, "
                        f"got {type(output).__name__}")


def check_gradients(function, grads, shapes):
    """Check what the ``backward`` of a Function returned.

    Args:
        function (type): the Function.
        grads (tuple): what it returned; entries for constants at the end may be missing.
        shapes (list): for each argument of ``forward`` the shape that its gradient must have,
            None for one that needs no gradient.

    Raises:
        ValueError: for the wrong number of gradients, or a gradient whose shape is not its
            input's (often a forgotten ``unbroadcast``).
        TypeError: for a gradient that is no Tensor.
    """
    left_out = shapes[len(grads):]
    if len(grads) > len(shapes) or left_out.count(None) < len(left_out):
        complain(ValueError, function, f"expected {len(shapes)} gradients, one per argument of "
                                       f"forward, got {len(grads)}")
    for position, (grad, shape) in enumerate(zip(grads, shapes)):
        if grad is None or shape is None:
            continue
        if not hasattr(grad, "requires_grad"):
            complain(TypeError, function, f"gradient of argument {position}: expected a Tensor or "
                                          f"None, got {type(grad).__name__}")
        if grad.data.shape != shape:
            complain(ValueError, function, f"gradient of argument {position}: expected the "
                                           f"argument's shape {shape}, got {grad.shape}")


def complain(kind, function, text):
    """Raise an exception of that kind about the ``backward`` of a Function, with its place."""
    code = getattr(function.backward, "__code__", None)  # a callable object has none
    place = f" (defined at {code.co_filename}:{code.co_firstlineno})" if code else ""
    raise kind(f"{function.__name__}.backward: {text}{place}")
