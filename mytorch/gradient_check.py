"""Compares numbers, and gradients with central differences, for any function or Module.
A tool for your own code: try check_gradients in sandbox.py, or in a file of your own."""

# The grader loads this file alone, to compare numbers: what needs the rest of mytorch imports it.
import copy

import numpy as np

STEP = 1e-5  # balances the error of the difference, STEP**2, against rounding, 1e-16 / STEP
TOLERANCE = dict(relative=1e-4, absolute=1e-6)  # of numbers that central differences gave


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
            above = np.array(function(*arrays))  # a copy: a result may be a view of its input
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
        *tensors (Tensor): where to differentiate. Those that require grad are checked; if none
            does, all are. Tensors and Module are copied, as float64, and not changed.
        upstream (ndarray): gradient of the result to start from; uneven numbers by default.

    Returns:
        bool: whether all agree. If not, what was printed names the input that is most wrong,
        its worst entry and, if it is recognised, the mistake.

    Raises:
        TypeError: if the function does not return a Tensor, or if one of ``tensors`` is not one.

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
        list of tuple: largest difference (inf if it cannot be told), complaint or "", and
        number of entries.

    Raises:
        NoGraph, CutOff: if the result is in no graph.
    """
    from mytorch.nn.module import Module
    from mytorch.tensor import Tensor
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
    found = [(largest_difference(expected, leaf.grad),
              compare_tensor(f"gradient of {name}", expected, leaf.grad,
                             {"the upstream gradient ignored": without}), expected.size)
             for (name, leaf), expected, without in zip(checked.items(), right, ignoring)]
    missing = [leaf.grad is None for leaf in checked.values()]
    if any(missing) and not all(missing):
        why = "\n  others got theirs: is it used, and not as .data, which is outside the graph?"
        found = [(far, complaint + why * is_missing, size)
                 for (far, complaint, size), is_missing in zip(found, missing)]
    return found


def largest_difference(expected, got):
    """The largest difference between an ndarray and a Tensor; inf if it cannot be told."""
    if got is None or got.shape != expected.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        difference = np.abs(got.data - expected)
    return float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))


def parameters_by_name(module):
    """Dict of the parameters in a Module, such as ``Linear.weight``; equal names get a number."""
    from mytorch.tensor import Tensor
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
    from mytorch.tensor import Tensor
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
    from mytorch import autograd_engine
    from mytorch.tensor import Tensor
    check_in_graph(output)
    given = upstream if isinstance(upstream, Tensor) else Tensor(upstream.copy())
    autograd_engine.backward(output.grad_fn, given)


def compare(label, expected, got, relative=1e-6, absolute=1e-9, of_largest=0.0):
    """Whether an array holds the right numbers, and if not, in one sentence how they differ.

    Args:
        label (str): what to call it, such as "gradient of a".
        expected, got (ndarray): the right numbers, and those that came; float64, of any shape.
        relative (float): how far each may be off, as a share of the right number,
        absolute (float): as a number,
        of_largest (float): as a share of the largest right number; the three add up.

    Returns:
        str: "" if they agree. Else the first wrong entry, how many are wrong and by how much, or
        the two shapes. NaN agrees with nothing.

    >>> compare("gradient of a", np.array([1., 2.]), np.array([1., 4.]))
    'gradient of a[1]: expected 2, got 4; 1 of 2 differ, by up to 2'
    """
    if got.shape != expected.shape:
        return f"{label}: expected shape {expected.shape}, got {got.shape}"
    wrong = ~close(expected, got, relative, absolute, of_largest)
    if not wrong.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = str(list(index)) if index else ""
    digits = next((d for d in (6, 9) if f"{expected[index]:.{d}g}" != f"{got[index]:.{d}g}"), 17)
    right, found = (f"{array[index]:.{digits}g}" for array in (expected, got))
    with np.errstate(all="ignore"):
        off = np.abs(got - expected)[wrong]
    strange = off.size - np.isfinite(off).sum()
    by = f"{strange} of them inf or nan" if strange else f"by up to {off.max():.3g}"
    many = f"; {off.size} of {wrong.size} differ, {by}" if wrong.size > 1 else (
        "" if strange else f"; off by {off[0]:.3g}")
    return f"{label}{place}: expected {right}, got {found}{many}"


def close(expected, got, relative=1e-6, absolute=1e-9, of_largest=0.0):
    """Where two arrays of one shape agree, as a bool array; tolerances as for ``compare``."""
    with np.errstate(all="ignore"):
        sizes = np.abs(expected)
        largest = sizes.max() if sizes.size else 0.0
        return np.abs(got - expected) <= absolute + relative * sizes + of_largest * largest


def looks_like(expected, got, mistakes=None, **tolerance):
    """The name of a mistake that makes exactly these numbers of the right ones; "" if none does.

    Args:
        expected, got (ndarray): as for ``compare``, and so are the tolerances.
        mistakes (dict): names of further mistakes → the ndarrays that they give.
    """
    candidates = {**(mistakes or {}), "the transpose of the right answer": expected.T,
                  "the right answer with the opposite sign": -expected,
                  "twice the right answer (added once too often?)": 2 * expected,
                  "half the right answer": expected / 2,
                  "all zeros": np.zeros_like(expected)}
    for count in range(3, 7):  # usual sizes of batches in tests
        candidates[f"the right answer times {count} (a division by {count} missing?)"] = (
            expected * count)
        candidates[f"the right answer divided by {count} (a division by {count} too many?)"] = (
            expected / count)
    if got.size == expected.size and got.shape != expected.shape:
        candidates["the right numbers in another shape"] = expected.reshape(got.shape)
    if got.shape == expected.shape and close(expected, got, **tolerance).all():
        return ""
    for name, wrong in candidates.items():
        if got.shape == wrong.shape and close(wrong, got, **tolerance).all():
            return name
    if np.isfinite(expected).all() and not np.isfinite(got).all():
        return "a division by zero, or an overflow (nan or inf)"
    return ""


def compare_tensor(label, expected, got, mistakes=None):
    """``compare`` for what should be a Tensor, to the precision of central differences, with the
    mistake that it looks like in a line of its own.

    Args:
        label (str), expected (ndarray), mistakes (dict): as for ``compare`` and ``looks_like``.
        got: what came; may be anything.
    """
    from mytorch.tensor import Tensor
    if not isinstance(got, Tensor):
        shape = f" of shape {got.shape}" if isinstance(got, np.ndarray) else ""
        came = "None" if got is None else type(got).__name__ + shape
        return f"{label}: expected a Tensor of shape {expected.shape}, got {came}"
    values = np.asarray(got.data, dtype=np.float64)
    complaint = compare(label, expected, values, **TOLERANCE)
    mistake = looks_like(expected, values, mistakes, **TOLERANCE) if complaint else ""
    return complaint + f"\n  looks like: {mistake}" * bool(mistake)


def against_torch(function, *tensors):
    """Compare output and gradients with PyTorch's, if it is installed; print the outcome.

    Args:
        function: works on our Tensors and on PyTorch's alike, such as ``lambda a, b: a @ b``.
        *tensors (Tensor): where to compare.

    Returns:
        bool or None: whether all agree; None if PyTorch is not installed.
    """
    from mytorch.tensor import Tensor
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
    complaints = [compare_tensor("output", right.detach().numpy(), output)]
    complaints += [compare_tensor(f"gradient of input {i}", torch_leaf.grad.numpy(), leaf.grad)
                   for i, (leaf, torch_leaf) in enumerate(zip(ours, theirs))]
    wrong = [complaint for complaint in complaints if complaint]
    print("against_torch: " + (wrong[0] if wrong else f"ok, the same as PyTorch {torch.__version__}"))
    return not wrong
