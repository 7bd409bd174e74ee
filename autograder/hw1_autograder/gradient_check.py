"""Checks gradients against central differences, for any function of Tensors.
Used by sandbox.py, and by the tests of the library."""

import numpy as np

import judge

STEP = 1e-5  # balances the error of the difference, STEP**2, against rounding, 1e-16 / STEP
TOLERANCE = dict(relative=1e-4, absolute=1e-6)


def uneven(shape, seed=11785):
    """Numbers of both signs and different sizes, as an ndarray. An upstream gradient of ones
    would let a backward pass that ignores it, and hides the gradients of a softmax."""
    random = np.random.RandomState(seed)
    return random.uniform(0.5, 2, shape) * random.choice([-1.0, 1.0], shape)


def numerical_gradients(function, arrays, upstream):
    """Central differences of ``sum(function(*arrays) * upstream)``, every entry.

    Args:
        function: takes ndarrays, returns an ndarray.
        arrays (sequence of ndarray): where to differentiate; float64.
        upstream (ndarray): of the shape of the result.

    Returns:
        list of ndarray: the derivative by each entry of each array, of its shape.
    """
    arrays = [np.array(array, dtype=np.float64) for array in arrays]
    gradients = []
    for array in arrays:
        gradient = np.empty_like(array)
        for index in np.ndindex(*array.shape):
            value = array[index]
            sides = []
            for moved in (value + STEP, value - STEP):
                array[index] = moved
                sides.append(np.sum(function(*arrays) * upstream))
            array[index] = value
            gradient[index] = (sides[0] - sides[1]) / (2 * STEP)
        gradients.append(gradient)
    return gradients


def check_gradients(function, *tensors, upstream=None):
    """Compare the gradients that autograd finds with central differences; print the outcome.

    Args:
        function: takes as many Tensors as are given, returns a Tensor; smooth around them
            (a ReLU is not, at 0).
        *tensors (Tensor): where to differentiate. They are copied to float64 and not changed.
            Those that require grad are checked; where none does, all are.
        upstream (ndarray): gradient of the result to start from; uneven numbers by default.

    Returns:
        bool: whether all agree. What was printed names the worst entry and, where it can, the
        mistake.

    >>> check_gradients(lambda a, b: a * b, Tensor([1., 2.]), Tensor([3., 4.]))
    check_gradients: ok, 4 entries, largest difference 2.8e-11
    True
    """
    from mytorch import autograd_engine
    from mytorch.tensor import Tensor

    arrays = [np.array(tensor.data, dtype=np.float64) for tensor in tensors]
    checked = [tensor.requires_grad for tensor in tensors]
    checked = checked if any(checked) else [True] * len(tensors)
    leaves = [Tensor(array.copy(), requires_grad=check) for array, check in zip(arrays, checked)]
    output = function(*leaves)
    upstream = uneven(output.shape) if upstream is None else upstream
    autograd_engine.backward(output.grad_fn, Tensor(upstream.copy()))

    def on_arrays(*values):
        return function(*[Tensor(value.copy()) for value in values]).data

    numerical = numerical_gradients(on_arrays, arrays, upstream)
    ignoring = numerical_gradients(on_arrays, arrays, np.ones(output.shape))
    found = [compare(f"input {i}", leaf.grad, right, {"the upstream gradient ignored": ones})
             for i, (leaf, right, ones, check) in enumerate(zip(leaves, numerical, ignoring, checked))
             if check]
    wrong = [complaint for _, complaint in found if complaint]
    if wrong:
        print("check_gradients: " + max(found)[1])
        return False
    entries = sum(array.size for array, check in zip(arrays, checked) if check)
    print(f"check_gradients: ok, {entries} entries, largest difference {max(found)[0]:.1e}")
    return True


def compare(name, grad, right, mistakes):
    """How far a gradient is off, and what is wrong with it in words.

    Args:
        name (str): of the input, for the message.
        grad (Tensor or None): what autograd found.
        right (ndarray): what it should be.
        mistakes (dict): name → ndarray that a typical mistake gives.

    Returns:
        tuple: the largest difference (inf if it cannot be told), and a complaint or "".
    """
    if grad is None or type(grad).__name__ != "Tensor" or grad.shape != right.shape:
        got = f"shape {grad.shape}" if hasattr(grad, "shape") else type(grad).__name__
        return np.inf, f"gradient of {name}: expected a Tensor of shape {right.shape}, got {got}"
    values = np.asarray(grad.data, dtype=np.float64)
    difference = np.abs(values - right)
    if judge.close(values, right, **TOLERANCE).all():
        return float(difference.max()) if difference.size else 0.0, ""
    worst = np.unravel_index(np.nanargmax(np.where(np.isnan(difference), np.inf, difference)),
                             right.shape)
    place = str(list(map(int, worst))) if worst else ""
    likely = judge.likely_mistake(values, right, mistakes, **TOLERANCE)
    return float(difference[worst]), (
        f"gradient of {name}{place}: numerical {right[worst]:.6g}, yours {values[worst]:.6g}"
        + (f"\n  looks like: {likely}" if likely else ""))


def against_torch(function, *tensors):
    """Compare output and gradients with PyTorch's, where it is installed; print the outcome.

    Args:
        function: works on our Tensors and on PyTorch's alike, such as ``lambda a, b: a @ b``.
        *tensors (Tensor): where to compare.

    Returns:
        bool or None: whether all agree; None where there is no PyTorch.
    """
    try:
        import torch
    except ImportError:
        print("against_torch: PyTorch is not installed here; check_gradients needs nothing")
        return None
    from mytorch import autograd_engine
    from mytorch.tensor import Tensor

    ours = [Tensor(np.array(tensor.data, np.float64), requires_grad=True) for tensor in tensors]
    theirs = [torch.tensor(tensor.data, requires_grad=True) for tensor in ours]
    output, right = function(*ours), function(*theirs)
    upstream = uneven(tuple(right.shape))
    autograd_engine.backward(output.grad_fn, Tensor(upstream.copy()))
    right.backward(torch.tensor(upstream))
    found = [compare("the output, that is the output itself,", output, right.detach().numpy(), {})]
    found += [compare(f"input {i}", leaf.grad, torch_leaf.grad.numpy(), {})
              for i, (leaf, torch_leaf) in enumerate(zip(ours, theirs))]
    wrong = [complaint for _, complaint in found if complaint]
    print("against_torch: " + (wrong[0] if wrong else f"ok, the same as PyTorch {torch.__version__}"))
    return not wrong
