"""Checks gradients against central differences, for any function of Tensors and for any Module.
A tool for your own code: try check_gradients in sandbox.py, or in a file of your own."""

import copy

import numpy as np

from mytorch import autograd_engine
from mytorch.nn.module import Module
from mytorch.tensor import Tensor

STEP = 1e-5  # balances the error of the difference, STEP**2, against rounding, 1e-16 / STEP
RELATIVE, ABSOLUTE = 1e-4, 1e-6  # what counts as the same number


class NoGraph(RuntimeError):
    """The result is in no graph, so there is nothing to walk backward."""


class CutOff(RuntimeError):
    """A result is in no graph although operations are recorded."""


def uneven(*shape, seed=0):
    """Numbers of both signs, sizes from 0.5 to 2, as an ndarray of that shape.

    Meant for inputs and upstream gradients. Ones would let a backward pass through that
    ignores its upstream gradient, and would hide the gradient of a softmax, which sums to 0.
    """
    wave = np.cos(2 + seed + 2.3 * np.arange(np.prod(shape, dtype=int))).reshape(shape)
    return np.asarray(np.sign(wave) * (0.5 + 1.5 * np.abs(wave)))


def numerical_gradients(function, arrays, upstream):
    """Central differences of ``sum(function(*arrays) * upstream)``, for every entry.

    Args:
        function: takes the arrays, returns an ndarray.
        arrays (sequence of ndarray): where to differentiate; float64. Each entry is moved in
            place and put back, so the function may also reach the arrays by another way.
        upstream (ndarray): of the shape of the result.

    Returns:
        list of ndarray: the derivative by each entry of each array, of its shape.
    """
    gradients = [np.empty_like(array) for array in arrays]
    for array, gradient in zip(arrays, gradients):
        for index in np.ndindex(*array.shape):
            value = array[index]
            array[index] = value + STEP
            above = np.array(function(*arrays))  # a copy, as a result may be a view of its input
            array[index] = value - STEP
            below = np.array(function(*arrays))
            array[index] = value
            gradient[index] = np.sum((above - below) * upstream) / (2 * STEP)
    return gradients


def check_gradients(function, *tensors, upstream=None):
    """Compare the gradients that autograd finds with central differences; print the outcome.

    Args:
        function: takes as many Tensors as are given and returns a Tensor. It must be smooth
            around them: a ReLU is not, at 0. Of a Module the parameters are checked too.
        *tensors (Tensor): where to differentiate. Those that require grad are checked; where
            none does, all are. Tensors and Module are copied, as float64, and not changed.
        upstream (ndarray): gradient of the result to start from; uneven numbers by default.

    Returns:
        bool: whether all agree. If not, what was printed names the input that is most wrong,
        its worst entry and, where it can be told, the mistake.

    Raises:
        TypeError: if the function returns no Tensor, or one of ``tensors`` is none.

    >>> check_gradients(lambda a, b: a * b, Tensor([1., 2.]), Tensor([3., 4.]))
    check_gradients: ok, 4 entries, largest difference 2.8e-11
    True
    """
    try:
        differences = find_differences(function, tensors, upstream)
    except (NoGraph, CutOff) as error:
        print(f"check_gradients: {error}")
        return False
    wrong = [found for found in differences if found[1]]
    if wrong:
        print("check_gradients: " + max(wrong)[1])
        return False
    entries = sum(size for _, _, size in differences)
    print(f"check_gradients: ok, {entries} entries, largest difference {max(differences)[0]:.1e}")
    return True


def find_differences(function, tensors, upstream=None):
    """What check_gradients prints, as a list with one entry for each input that is checked.

    Returns:
        list of tuple: largest difference (inf where it cannot be told), complaint or "", and
        number of entries.

    Raises:
        NoGraph, CutOff: if the result is in no graph.
    """
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError("check_gradients: expected Tensors behind the function, "
                            f"got {type(tensor).__name__}")
    any_requires = any(tensor.requires_grad for tensor in tensors)
    inputs = [Tensor(np.array(tensor.data, np.float64), tensor.requires_grad or not any_requires)
              for tensor in tensors]
    checked = {f"input {i}": leaf for i, leaf in enumerate(inputs) if leaf.requires_grad}
    if isinstance(function, Module):
        function = copy.deepcopy(function).double()
        checked.update(parameters_by_name(function))
    for leaf in checked.values():
        leaf.grad = None
    before = {name: leaf.data.copy() for name, leaf in checked.items()}
    output = function(*inputs)
    for name, leaf in checked.items():
        if not np.array_equal(leaf.data, before[name]):  # differences would be of other numbers
            return [(np.inf, f"forward changed {name}, in place: make a new array instead",
                     leaf.data.size)]
    if not isinstance(output, Tensor):
        raise TypeError("check_gradients: expected a function that returns a Tensor, "
                        f"got {type(output).__name__}")
    upstream = uneven(*output.shape) if upstream is None else upstream
    given = Tensor(upstream.copy())
    run_backward(output, given)
    if not np.array_equal(given.data, upstream):
        return [(np.inf, f"{output.grad_fn.function_name}.backward, or the engine, changed the gradient "
                         "it was given, in place: make a new array instead", upstream.size)]

    def values(*_):
        """The result at what the inputs hold now, as numerical_gradients changes them."""
        return function(*inputs).data

    arrays = [leaf.data for leaf in checked.values()]
    right = numerical_gradients(values, arrays, upstream)
    ignoring = numerical_gradients(values, arrays, np.ones(output.shape))
    found = [(*compare(f"gradient of {name}", leaf.grad, expected,
                       {"the upstream gradient ignored": without}), expected.size)
             for (name, leaf), expected, without in zip(checked.items(), right, ignoring)]
    missing = [leaf.grad is None for leaf in checked.values()]
    if any(missing) and not all(missing):
        why = "\n  others got theirs: is it used, and not as .data, which is outside the graph?"
        found = [(far, complaint + why * is_missing, size)
                 for (far, complaint, size), is_missing in zip(found, missing)]
    return found


def parameters_by_name(module):
    """Dict of the parameters in a Module, such as ``Linear.weight``; equal names get a number."""
    found = {}
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and value.is_parameter:
                name = f"{type(part).__name__}.{name}"
                count = sum(other.split(" ")[0] == name for other in found)
                found[f"{name} ({count + 1})" if count else name] = value
    return found


def check_in_graph(output):
    """Raise NoGraph or CutOff unless the Tensor ``output`` is the result of a recorded operation."""
    if output.grad_fn is None:
        leaf = Tensor(1.0, requires_grad=True)
        if (leaf + leaf).grad_fn is None:
            raise NoGraph("no grad_fn on the result: Function.apply (1.2) has to record it")
        constant = Tensor(1.0)
        if None in ((leaf + constant).grad_fn, (constant + leaf).grad_fn):
            raise CutOff("no grad_fn on the result: Function.apply (1.2) has to record it as soon as "
                         "one input requires grad, though another is a constant")
        raise CutOff("the result is cut off from the graph, as after Tensor(x.data): no grad_fn on it")


def run_backward(output, upstream):
    """Call ``backward`` of the engine on the node of ``output``, with ``upstream``: a Tensor, or an
    ndarray, of which a copy is given."""
    check_in_graph(output)
    given = upstream if isinstance(upstream, Tensor) else Tensor(upstream.copy())
    autograd_engine.backward(output.grad_fn, given)


def compare(name, got, right, mistakes=None):
    """How far a Tensor is off, and what is wrong with it in words.

    Args:
        name (str): what to call it in the complaint.
        got (Tensor): what was found; may be anything.
        right (ndarray): the numbers it should hold.
        mistakes (dict): what a typical mistake is called → the ndarray that it gives.

    Returns:
        tuple: the largest difference (inf where it cannot be told), and a complaint or "".
    """
    if not isinstance(got, Tensor):
        return np.inf, f"{name}: expected a Tensor of shape {right.shape}, got {describe(got)}"
    values = np.asarray(got.data, dtype=np.float64)
    likely = likely_mistake(values, right, mistakes or {})
    if values.shape != right.shape:
        return np.inf, f"{name}: expected shape {right.shape}, got {values.shape}{likely}"
    with np.errstate(invalid="ignore"):  # inf - inf
        difference = np.abs(values - right)
    difference = np.where(np.isnan(difference), np.inf, difference)
    wrong = ~close(values, right)
    if not wrong.any():
        return float(difference.max()) if difference.size else 0.0, ""
    worst = np.unravel_index(np.argmax(np.where(wrong, difference, -1.0)), right.shape)
    place = str([int(i) for i in worst]) if worst else ""
    expected, found = right[worst], values[worst]
    many = f"; {wrong.sum()} of {wrong.size} differ" if wrong.size > 1 else ""
    return float(difference[worst]), (f"{name}{place}: expected {expected:.6g}, "
                                      f"got {found:.6g}{many}{likely}")


def describe(value):
    """What came in place of a Tensor, in a few words."""
    if value is None:
        return "None"
    return f"{type(value).__name__} of shape {value.shape}" if isinstance(
        value, np.ndarray) else type(value).__name__


def close(values, right):
    """Where two arrays of one shape agree, as a bool array; NaN agrees with nothing."""
    with np.errstate(invalid="ignore"):
        return np.abs(values - right) <= ABSOLUTE + RELATIVE * np.abs(right)


def likely_mistake(values, right, mistakes):
    """The mistake that gives just these values, as a line of its own; "" if none does."""
    if values.shape == right.shape and close(values, right).all():
        return ""
    if np.isfinite(right).all() and not np.isfinite(values).all():
        return "\n  looks like: an overflow, or a division by 0 (inf or nan)"
    candidates = {**mistakes, "the right answer with the opposite sign": -right,
                  "twice the right answer (added once too often?)": 2 * right,
                  "the transpose of the right answer": right.T,
                  "all zeros": np.zeros_like(right)}
    for name, wrong in candidates.items():
        if values.shape == wrong.shape and close(values, wrong).all():
            return f"\n  looks like: {name}"
    return ""


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
    ours = [Tensor(np.array(tensor.data, np.float64), requires_grad=True) for tensor in tensors]
    theirs = [torch.tensor(tensor.data, requires_grad=True) for tensor in ours]
    output, right = function(*ours), function(*theirs)
    upstream = uneven(*right.shape)
    run_backward(output, upstream)
    right.backward(torch.tensor(upstream))
    complaints = [compare("output", output, right.detach().numpy())[1]]
    complaints += [compare(f"gradient of input {i}", leaf.grad, torch_leaf.grad.numpy())[1]
                   for i, (leaf, torch_leaf) in enumerate(zip(ours, theirs))]
    wrong = [complaint for complaint in complaints if complaint]
    print("against_torch: " + (wrong[0] if wrong else f"ok, the same as PyTorch {torch.__version__}"))
    return not wrong
