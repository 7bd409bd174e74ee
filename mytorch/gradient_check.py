"""Compares numbers, and gradients with central differences, for any function or Module.
A tool for your own code: try check_gradients in sandbox.py, or in a file of your own."""

# The grader loads this file alone, to compare numbers: what needs the rest of mytorch imports it.
import contextlib

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
    return [(left + right) / 2 for left, right in slopes(function, arrays, upstream)]


def slopes(function, arrays, upstream):
    """As ``numerical_gradients``, but the slopes to the left and to the right, as two arrays."""
    at, found = np.array(function(*arrays)), []
    for array in arrays:
        left, right = np.empty_like(array), np.empty_like(array)
        for index in np.ndindex(*array.shape):
            value = array[index]
            with np.errstate(all="ignore"):  # a step may lead to where it is not defined
                array[index] = value - STEP
                left[index] = np.sum((at - function(*arrays)) * upstream) / STEP
                array[index] = value + STEP
                right[index] = np.sum((function(*arrays) - at) * upstream) / STEP
            array[index] = value
        found.append((left, right))
    return found


def check_gradients(function, *tensors, upstream=None):
    """Compare the gradients that autograd finds with central differences; print the outcome.

    Args:
        function: takes as many Tensors as are given and returns a Tensor. It must be smooth
            around them: a ReLU is not, at 0. Of a Module the parameters are checked too; a copy
            of it is used.
        *tensors (Tensor): where to differentiate. Those that require grad are checked; if none
            does, all that hold floats are. What is checked is copied, as float64.
        upstream (ndarray): gradient of the result to start from; uneven numbers by default.

    Returns:
        bool: whether all agree. If not, what was printed names an entry that is wrong and, if it
        is recognised, the mistake; or it says why nothing can be told: at a kink or beside a
        pole, of random results, of gradients below the rounding errors.

    Raises:
        TypeError: if the function does not return a Tensor, or if one of ``tensors`` is not one.

    >>> check_gradients(lambda a, b: a * b, Tensor([1., 2.]), Tensor([3., 4.]))
    check_gradients: ok, 4 entries, largest relative difference 1.6e-11
    True
    """
    try:
        complaint, outcome = find_difference(function, tensors, upstream)
    except (NoGraph, CutOff) as error:
        complaint = str(error)
    print("check_gradients: " + (complaint or outcome))
    return not complaint


def find_difference(function, tensors, upstream=None):
    """What is wrong, or "", and what is said if nothing is; as for ``check_gradients``.

    Raises:
        NoGraph, CutOff: if the result is in no graph.
    """
    from mytorch.nn.module import Module
    from mytorch.show.graph import all_names
    from mytorch.tensor import Tensor
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError("check_gradients: expected Tensors behind the function, "
                            f"got {type(tensor).__name__}")
    any_requires, checked = any(tensor.requires_grad for tensor in tensors), {}
    inputs = [Tensor(tensor.data.copy()) for tensor in tensors]
    for i, tensor in enumerate(tensors):
        if (tensor.requires_grad or not any_requires) and tensor.data.dtype.kind == "f":
            checked[f"input {i}"] = inputs[i] = Tensor(
                np.array(tensor.data, np.float64), requires_grad=True)
    with on_copies(function):
        if isinstance(function, Module):
            names = all_names({type(function).__name__: function})
            checked.update({name: tensor for name, tensor in names.items() if tensor.is_parameter})
        if not checked:
            raise TypeError("check_gradients: expected an input of floats, got none")
        return differences(function, inputs, checked, upstream)


@contextlib.contextmanager
def on_copies(function):
    """Context in which Modules compute with copies, of float64, of what is in their Tensors and
    arrays, ``function`` at once and others when they are called: all is afterwards as it was."""
    from mytorch.nn.module import Module
    from mytorch.tensor import Tensor
    call, held = Module.__call__, {}

    def copy_what_is_in(module):
        for part in [part for part in module.modules() if id(part) not in held]:
            held[id(part)] = part, dict(vars(part))
            for name, value in held[id(part)][1].items():
                if isinstance(value, np.ndarray):
                    vars(part)[name] = value.copy()
                elif isinstance(value, Tensor) and id(value) not in held:
                    held[id(value)] = value, {"data": value.data, "grad": value.grad}
                    is_float = value.data.dtype.kind == "f"
                    value.data = np.array(value.data, np.float64 if is_float else None)
                    value.grad = None

    def copy_and_call(module, *args, **kwargs):
        copy_what_is_in(module)
        return call(module, *args, **kwargs)

    Module.__call__ = copy_and_call
    try:
        if isinstance(function, Module):
            copy_what_is_in(function)
        yield
    finally:
        Module.__call__ = call
        for owner, attributes in held.values():
            vars(owner).update(attributes)


def differences(function, inputs, checked, upstream):
    """As ``find_difference``, of inputs that may be changed; ``checked`` are the leaves, by name."""
    from mytorch.tensor import Tensor
    before = {name: leaf.data.copy() for name, leaf in checked.items()}
    output = function(*inputs)
    for name, leaf in checked.items():
        if not np.array_equal(leaf.data, before[name]):  # differences would be of other numbers
            return f"forward changed {name}, in place: make a new array instead", ""
    if not isinstance(output, Tensor):
        raise TypeError("check_gradients: expected a function that returns a Tensor, "
                        f"got {type(output).__name__}")
    result, again = np.array(output.data), function(*inputs).data
    if result.shape != again.shape or not np.all((result == again) | (result != result)):
        return ("not repeatable: called twice, the function gives two results; set a seed inside "
                "it, or leave its random numbers out"), ""
    upstream = uneven(*output.shape) if upstream is None else upstream
    given, held = Tensor(upstream.copy()), [
        (leaf, leaf.grad) for leaf in leaves_below(output.grad_fn)]
    run_backward(output, given)
    grads = {name: leaf.grad for name, leaf in checked.items()}
    for leaf, grad in held:
        leaf.grad = grad
    if not np.array_equal(given.data, upstream):
        return (f"{output.grad_fn.function_name}.backward, or the engine, changed the gradient it "
                "was given, in place: make a new array instead"), ""

    arrays = [leaf.data for leaf in checked.values()]
    found = slopes(lambda *_: function(*inputs).data, arrays, upstream)
    rounding, sizes, off, entries = rounding_error(result, upstream), [0.0], 0.0, 0
    for (name, grad), (left, right) in zip(grads.items(), found):
        complaint = judge(name, grad, left, right, rounding)
        if complaint:
            return complaint, ""
        expected = (left + right) / 2
        sizes += [np.abs(expected).max(initial=0), np.abs(grad.data).max(initial=0)]
        scale = np.maximum(np.maximum(np.abs(expected), np.abs(grad.data)), 1e4 * rounding)
        off = max(off, np.max(np.abs(grad.data - expected) / scale, initial=0))
        entries += expected.size
    if 0 < max(sizes) <= rounding:
        return (f"too small to judge: no gradient is above {rounding:.0e}, what central "
                "differences lose to rounding; check at other numbers, or multiply the result"), ""
    return "", f"ok, {entries} entries, largest relative difference {off:.1e}"


def leaves_below(node):
    """The leaves in the graph below a node, as a list."""
    found, unexplored, seen = [], [node], set()
    while unexplored:
        node = unexplored.pop()
        if id(node) in seen or not hasattr(node, "next_functions"):
            continue
        seen.add(id(node))
        parents = node.next_functions
        unexplored += parents.values() if isinstance(parents, dict) else parents or ()
        if getattr(node, "variable", None) is not None:
            found.append(node.variable)
    return found


def rounding_error(output, upstream):
    """By how much rounding may move a central difference of ``sum(output * upstream)``."""
    precision = np.finfo(output.dtype if output.dtype.kind == "f" else float).eps
    with np.errstate(all="ignore"):
        sizes = np.maximum(np.abs(output), 1) * np.abs(upstream)
        return float(10 * precision * np.sqrt(np.sum(sizes[np.isfinite(sizes)] ** 2)) / STEP)


def judge(name, grad, left, right, rounding):
    """What is wrong with one gradient, or "".

    Args:
        name (str): of the input.
        grad: what autograd stored for it; may be anything.
        left, right (ndarray): the slopes on both sides. At a kink or beside a pole they differ,
            and any gradient between them may be right.
        rounding (float): how far off they may be.
    """
    expected, got = (left + right) / 2, getattr(grad, "data", None)
    elsewhere = "where central differences tell nothing; check it at other numbers"
    for index in np.argwhere(~np.isfinite(expected)):
        return (f"{name}{place_of(index)} is beside a pole: the function is not finite a step of "
                f"{STEP:g} away, {elsewhere}")
    rough = ""
    if isinstance(got, np.ndarray) and got.shape == expected.shape:
        tolerance = rounding + TOLERANCE["relative"] * np.maximum(np.abs(left), np.abs(right))
        between = (np.minimum(left, right) - tolerance <= got) & (
            got <= np.maximum(left, right) + tolerance)
        unsure = between & ~close(expected, got, TOLERANCE["relative"], rounding)
        expected = np.where(unsure, got, expected)
        rough = "".join(f"{name}{place_of(index)} is at a kink or close to a pole, {elsewhere}"
                        for index in np.argwhere(unsure)[:1])
    return compare_tensor(f"gradient of {name}", expected, grad, relative=TOLERANCE["relative"],
                          absolute=rounding) or rough


def place_of(index):
    """``[0, 1]`` of the index of an entry; "" of a single number's."""
    return str([int(i) for i in index]) if len(index) else ""


def check_in_graph(output):
    """Raise NoGraph or CutOff unless a Tensor is the result of a recorded operation."""
    from mytorch.show.complaints import find_unrecorded
    if output.grad_fn is None:
        found = find_unrecorded() or [
            "the result is cut off from the graph, as after Tensor(x.data): no grad_fn on it"]
        raise (NoGraph if "records no graph yet" in found[0] else CutOff)(found[0])


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
    index = tuple(np.argwhere(wrong)[0])
    digits = next((d for d in (6, 9) if f"{expected[index]:.{d}g}" != f"{got[index]:.{d}g}"), 17)
    right, found = (f"{array[index]:.{digits}g}" for array in (expected, got))
    with np.errstate(all="ignore"):
        off = np.abs(got - expected)[wrong]
    strange = off.size - np.isfinite(off).sum()
    by = f"{strange} of them inf or nan" if strange else f"by up to {off.max():.3g}"
    many = f"; {off.size} of {wrong.size} differ, {by}" if wrong.size > 1 else (
        "" if strange else f"; off by {off[0]:.3g}")
    return f"{label}{place_of(index)}: expected {right}, got {found}{many}"


def close(expected, got, relative=1e-6, absolute=1e-9, of_largest=0.0):
    """Where two arrays of one shape agree, as a bool array; tolerances as for ``compare``."""
    with np.errstate(all="ignore"):
        sizes = np.abs(expected)
        largest = sizes.max() if sizes.size else 0.0
        return np.abs(got - expected) <= absolute + relative * sizes + of_largest * largest


def looks_like(expected, got, **tolerance):
    """The name of a mistake that makes exactly these numbers of the right ones; "" if none does.

    Args:
        expected, got (ndarray): as for ``compare``, and so are the tolerances.
    """
    candidates = {"the transpose of the right answer": expected.T,
                  "the right answer with the opposite sign": -expected,
                  "twice the right answer (added once too often?)": 2 * expected,
                  "half the right answer": expected / 2,
                  "the right answer divided by ln(10) (np.log10 and not np.log?)": (
                      expected / np.log(10)),
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
        return "inf or nan: a division by 0, a logarithm of 0, or an overflow"
    return ""


def compare_tensor(label, expected, got, **tolerance):
    """``compare`` for what should be a Tensor, to the precision of central differences, with the
    mistake that it looks like in a line of its own.

    Args:
        label (str), expected (ndarray): as for ``compare``.
        got: what came; may be anything.
    """
    from mytorch.tensor import Tensor
    if not isinstance(got, Tensor):
        shape = f" of shape {got.shape}" if isinstance(got, np.ndarray) else ""
        came = "None" if got is None else type(got).__name__ + shape
        return f"{label}: expected a Tensor of shape {expected.shape}, got {came}"
    values = np.asarray(got.data, dtype=np.float64)
    complaint = compare(label, expected, values, **tolerance or TOLERANCE)
    mistake = looks_like(expected, values, **tolerance or TOLERANCE) if complaint else ""
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
    print("against_torch: " + (wrong or [f"ok, the same as PyTorch {torch.__version__}"])[0])
    return not wrong
