"""Compares numbers, and gradients with central differences, for any function or Module.
A tool for your own code: try check_gradients in sandbox.py, or in a file of your own."""

# The grader loads this file alone, to compare numbers: what needs the rest of mytorch imports it.
import contextlib

import numpy as np

STEP = 1e-5  # balances the error of the difference, STEP**2, against rounding, 1e-16 / STEP
STEP_IN_FLOAT32 = 1e-2
TOLERANCE = dict(relative=1e-4, absolute=1e-6)  # of numbers that central differences gave
KINK, BEND = 1e-3, 0.6  # how far slopes differ at a kink, and what is left of it at half the step


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
        step = step_for(array)
        for index in np.ndindex(*array.shape):
            below, above = values_around(function, arrays, array, index, step)
            with np.errstate(all="ignore"):
                gradient[index] = np.sum((above - below) * upstream) / (2 * step)
    return gradients


def step_for(array):
    """The step of central differences in an array of that dtype."""
    return STEP if array.dtype == np.float64 else STEP_IN_FLOAT32


def values_around(function, arrays, array, index, step):
    """The function with an entry of ``array``, one of ``arrays``, a step smaller and larger."""
    value, values = array[index], []
    for moved in (value - step, value + step):
        array[index] = moved
        with np.errstate(all="ignore"):  # a step may lead to where the function is not defined
            values.append(np.array(function(*arrays)))  # a copy, should it be a view of its input
    array[index] = value
    return values


def check_gradients(function, *tensors, upstream=None):
    """Compare the gradients that autograd finds with central differences; print the outcome.

    Args:
        function: takes as many Tensors as are given and returns a Tensor. It must be smooth
            around them: a ReLU is not, at 0. Of a Module the parameters are checked too.
        *tensors (Tensor): where to differentiate. Those that require grad are checked; if none
            does, all that hold floats are. What is checked is copied, as float64; what the
            function uses, Modules above all, is put back as it was.
        upstream (ndarray): gradient of the result to start from; uneven numbers by default.

    Returns:
        bool: whether all agree. If not, what was printed names the input that is most wrong, an
        entry of it and, if it is recognised, the mistake; or it says why nothing can be told: at
        a kink or beside a pole, of random results, of gradients below the rounding errors.

    Raises:
        TypeError: if the function does not return a Tensor, or if one of ``tensors`` is not one.

    >>> check_gradients(lambda a, b: a * b, Tensor([1., 2.]), Tensor([3., 4.]))
    check_gradients: ok, 4 entries, largest relative difference 1.6e-11
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
    print(f"check_gradients: ok, {entries} entries, largest relative difference "
          f"{max(differences)[0]:.1e}")
    return True


def find_differences(function, tensors, upstream=None):
    """What check_gradients prints, as a list with one entry for each input that is checked.

    Returns:
        list of tuple: largest relative difference (inf if it cannot be told), complaint or "", and
        number of entries.

    Raises:
        NoGraph, CutOff: if the result is in no graph.
    """
    from mytorch.tensor import Tensor
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError("check_gradients: expected Tensors behind the function, "
                            f"got {type(tensor).__name__}")
    any_requires = any(tensor.requires_grad for tensor in tensors)
    inputs = [copy_of(tensor, tensor.requires_grad or not any_requires) for tensor in tensors]
    with put_back_afterwards(function):
        checked = {f"input {i}": leaf for i, leaf in enumerate(inputs) if leaf.requires_grad}
        checked.update(parameters_by_name(function))
        if not checked:
            raise TypeError("check_gradients: expected an input of floats, got none")
        return differences_of(function, inputs, checked, upstream)


def copy_of(tensor, is_checked):
    """A copy of an input: a leaf of float64 if it is to be checked and holds floats."""
    from mytorch.tensor import Tensor
    if is_checked and tensor.data.dtype.kind == "f":
        return Tensor(np.array(tensor.data, np.float64), requires_grad=True)
    return Tensor(tensor.data.copy())


@contextlib.contextmanager
def put_back_afterwards(function):
    """While it lasts, the Modules that are called hold float64; then they are as they were before,
    with running averages and gradients. ``function`` may be a Module itself."""
    from mytorch.nn.module import Module
    from mytorch.tensor import Tensor
    call, kept, held = Module.__call__, {}, []

    def keep(module):
        for part in module.modules():
            if part in kept:
                continue
            kept[part] = dict(vars(part))
            for name, value in kept[part].items():
                if isinstance(value, Tensor):
                    held.append((value, value.data, value.grad))
                    floating = value.data.dtype.kind == "f"
                    value.data = np.array(value.data, np.float64 if floating else None)
                    value.grad = None
                elif isinstance(value, np.ndarray):
                    vars(part)[name] = value.copy()

    def keep_and_call(module, *args, **kwargs):
        keep(module)
        return call(module, *args, **kwargs)

    Module.__call__ = keep_and_call
    try:
        if isinstance(function, Module):
            keep(function)
        yield
    finally:
        Module.__call__ = call
        for part, attributes in kept.items():
            vars(part).clear()
            vars(part).update(attributes)
        for tensor, data, grad in held:
            tensor.data, tensor.grad = data, grad


def differences_of(function, inputs, checked, upstream):
    """``find_differences`` for inputs that may be changed; ``checked`` is a dict of the leaves."""
    from mytorch.tensor import Tensor
    before = {name: leaf.data.copy() for name, leaf in checked.items()}
    output = function(*inputs)
    for name, leaf in checked.items():
        if not np.array_equal(leaf.data, before[name]):  # differences would be of other numbers
            return [(np.inf, f"forward changed {name}, in place: make a new array instead",
                     leaf.data.size)]
    if not isinstance(output, Tensor):
        raise TypeError("check_gradients: expected a function that returns a Tensor, "
                        f"got {type(output).__name__}")
    check_in_graph(output)
    first, second = np.array(output.data), np.array(function(*inputs).data)
    if first.shape != second.shape or not np.all((first == second) | (first != first)):
        return [(np.inf, "not repeatable: called twice, the function gives two results; set a "
                         "seed inside it, or leave its random numbers out", first.size)]
    upstream = uneven(*output.shape) if upstream is None else upstream
    given, leaves = Tensor(upstream.copy()), leaves_below(output.grad_fn)
    held = [leaf.grad for leaf in leaves]
    run_backward(output, given)
    grads = [leaf.grad for leaf in checked.values()]
    for leaf, grad in zip(leaves, held):
        leaf.grad = grad
    if not np.array_equal(given.data, upstream):
        return [(np.inf, f"{output.grad_fn.function_name}.backward, or the engine, changed the "
                         "gradient it was given, in place: make a new array instead", first.size)]

    def values(*_):
        """The result at what the inputs hold now, as numerical_gradients changes them."""
        return function(*inputs).data

    arrays = [leaf.data for leaf in checked.values()]
    right = numerical_gradients(values, arrays, upstream)
    ignoring = numerical_gradients(values, arrays, np.ones(output.shape))
    rounding = rounding_error(first, upstream, arrays)
    found = []
    for name, array, grad, expected, without in zip(checked, arrays, grads, right, ignoring):
        def roughness(index, array=array):
            return roughness_at(values, arrays, array, index, upstream, rounding)
        found.append(judge(name, grad, expected, without, rounding, roughness))
    if not any(complaint for _, complaint, _ in found):
        sizes = [np.abs(numbers).max(initial=0) for numbers in right + [g.data for g in grads]]
        if 0 < max(sizes) <= rounding:
            return [(np.inf, f"too small to judge: no gradient is above {rounding:.0e}, what "
                             "central differences lose to rounding; check at other numbers, or "
                             "multiply the result", first.size)]
    if any(grad is None for grad in grads) and not all(grad is None for grad in grads):
        why = "\n  others got theirs: is it used, and not as .data, which is outside the graph?"
        found = [(far, complaint + why * (grad is None), size)
                 for (far, complaint, size), grad in zip(found, grads)]
    return found


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


def rounding_error(output, upstream, arrays):
    """By how much rounding may move a central difference of ``sum(output * upstream)``."""
    step = min([step_for(array) for array in arrays], default=STEP)
    dtypes = [data.dtype for data in (output, *arrays) if data.dtype.kind == "f"]
    precision = max([np.finfo(dtype).eps for dtype in dtypes], default=2e-16)
    with np.errstate(all="ignore"):
        sizes = np.maximum(np.abs(output), 1) * np.abs(upstream)
        return float(10 * precision * np.sqrt(np.sum(sizes[np.isfinite(sizes)] ** 2)) / step)


def judge(name, grad, expected, ignoring, rounding, roughness):
    """An entry of find_differences: how one gradient differs from central differences.

    Args:
        name (str): of the input.
        grad: what autograd stored for it; may be anything.
        expected, ignoring (ndarray): central differences with the upstream gradient, with ones.
        rounding (float): how far off they may be.
        roughness: says of the index of an entry why central differences tell nothing there, or "".
    """
    got, label = getattr(grad, "data", None), f"gradient of {name}"
    if not isinstance(got, np.ndarray) or got.shape != expected.shape:
        return np.inf, compare_tensor(label, expected, grad), expected.size
    elsewhere = "where central differences tell nothing; check it at other numbers"
    for index in np.argwhere(~np.isfinite(expected)):
        return np.inf, (f"{name}{place_of(index)} is beside a pole: the function is not finite a "
                        f"step of {step_for(expected):g} away, {elsewhere}"), expected.size
    relative = TOLERANCE["relative"] if expected.dtype == np.float64 else STEP_IN_FLOAT32
    tolerance = dict(relative=relative, absolute=rounding)
    judged, rough = np.array(expected), []
    for index in map(tuple, np.argwhere(~close(expected, got, **tolerance))):
        reason = roughness(index)
        if reason:
            rough.append(f"{name}{place_of(index)} is {reason}, {elsewhere}")
            judged[index] = got[index]
    complaint = compare_tensor(label, judged, grad, {"the upstream gradient ignored": ignoring},
                               **tolerance)
    with np.errstate(all="ignore"):
        sizes = np.maximum(np.maximum(np.abs(judged), np.abs(got)), rounding / relative)
        off = np.abs(got - judged) / sizes
    off = float(np.where(np.isnan(off), np.inf, off).max(initial=0.0))
    return off, complaint or (rough[0] if rough else ""), expected.size


def roughness_at(function, arrays, array, index, upstream, rounding):
    """Why central differences of ``sum(function(*arrays) * upstream)`` tell nothing at an entry
    of ``array``: the slopes on its two sides differ, with half the step too; "" if they do not."""
    at, slopes = np.array(function(*arrays)), []
    for step in (step_for(array), step_for(array) / 2):
        below, above = values_around(function, arrays, array, index, step)
        with np.errstate(all="ignore"):
            slopes += [np.sum(change * upstream) / step for change in (at - below, above - at)]
    left, right, nearer_left, nearer_right = slopes
    tolerated = KINK * max(abs(left), abs(right)) + 4 * rounding
    bend, nearer_bend = abs(right - left), abs(nearer_right - nearer_left)
    if bend > tolerated and nearer_bend > BEND * bend:
        return "at a kink"
    is_settled = abs(left + right - nearer_left - nearer_right) <= 2 * tolerated
    return "" if is_settled else "close to a kink or a pole"


def place_of(index):
    """``[0, 1]`` of the index of an entry; "" of a single number's."""
    return str([int(i) for i in index]) if len(index) else ""


def parameters_by_name(module):
    """Dict of the parameters in a Module, such as ``Linear.weight``; equal names get a number.
    For what is not a Module it is empty."""
    from mytorch.tensor import Tensor
    found = {}
    for part in module.modules() if hasattr(module, "modules") else ():
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


def compare_tensor(label, expected, got, mistakes=None, **tolerance):
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
    tolerance = tolerance or TOLERANCE
    complaint = compare(label, expected, values, **tolerance)
    mistake = looks_like(expected, values, mistakes, **tolerance) if complaint else ""
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
