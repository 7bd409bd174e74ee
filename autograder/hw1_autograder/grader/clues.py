"""Clues: look closer at a problem once all its tests are done, for a report that names the reason.
They cost no points: the lines they return are shown only where the problem failed."""

import contextlib
import io
import signal

import numpy as np

from grader.graded import CASES, constant, graded, leaf, my
from grader.layers import linear
from grader.watching import Watch, array_of

SECONDS = 1.0  # of processor time for one clue
STEP = 1e-6  # of central differences
ENTRIES = 400  # that are moved by STEP, in all operations of a problem together


class TimeIsUp(BaseException):
    """A clue took too long."""


def look(*searches):
    """The lines that some functions find, as a result: label → line. What fails finds nothing."""
    def stop(*_):
        raise TimeIsUp

    lines, nowhere = [], io.StringIO()  # what the code prints was shown by the tests
    before = signal.signal(signal.SIGPROF, stop), signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            for search in searches:
                with contextlib.suppress(Exception):
                    lines += search()
    except TimeIsUp:
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, *before[1])
        signal.signal(signal.SIGPROF, before[0])
    return {str(number): line for number, line in enumerate(lines)}


# 1.2: the engine, step by step.


@graded("autogradtest", clue=True, a=(2, 3), b=(2, 3), c=(2, 3), first=(2, 3), second=(2, 3))
def clue_of_the_engine(given):
    return look(lambda: where_it_goes_astray(given), lambda: what_leaves_store(given),
                lambda: what_changes_in_place(given))


def where_it_goes_astray(given):
    """The first fault on the way down; those after it may only follow from it, and all of them from
    results with the wrong flags, which the tests name."""
    a, b, c = leaf(given.a), leaf(given.b), constant(given.c)
    if any(x.is_leaf or not x.requires_grad for x in (a + b, a + c, c + a, a * b, a * c, c * a)):
        return []
    for search in where_it_starts, what_second_inputs_get, what_shared_results_get:
        with contextlib.suppress(Exception):
            found = search(given)
            if found:
                return found
    return []


def where_it_starts(given):
    """What reaches the first node, and those below it, in a * b + c."""
    a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
    with Watch() as watch:
        try:
            (a * b + c).backward()
        except Exception:
            pass  # what was given before is known all the same
    for number, call in enumerate(watch.backward_calls):
        array = array_of(call.grad)
        if array is None or array.shape != a.data.shape:
            got = f"a Tensor of shape {array.shape}" if array is not None else (
                type(call.grad).__name__)
            return [f"BackwardFunction.apply of {call.name} was given {got}; it needs a Tensor of "
                    f"shape {a.data.shape}, as its result has",
                    f"called at {call.outer if number == 0 else call.inner}"]
        if number == 0 and not np.all(call.before == 1):
            return ["backward() starts from other numbers than 1", f"called at {call.outer}"]
    return []


def what_leaves_store(given):
    """What AccumulateGrad makes of two gradients."""
    a, first, second = leaf(given.a), constant(given.first), constant(given.second)
    node = my.AccumulateGrad(a)
    node.apply(first)
    if a.grad is not None and array_of(a.grad) is None:
        return [f"AccumulateGrad.apply stores {type(a.grad).__name__} in .grad, not a Tensor"]
    node.apply(second)
    stored = array_of(a.grad)
    if np.array_equal(stored, given.second):
        return ["AccumulateGrad.apply: a second gradient replaces the first; they must be added"]
    if np.array_equal(stored, given.first):
        return ["AccumulateGrad.apply: only the first gradient is kept; a second must be added"]
    if not np.array_equal(first.data, given.first):
        return ["AccumulateGrad.apply keeps the first gradient's own array and adds to it in "
                "place; others may hold that array"]
    return []


def what_shared_results_get(given):
    """What reaches the node of a result that is used twice, on two paths of different length."""
    for late_first in (True, False):
        a, b = leaf(given.a), leaf(given.b)
        shared = a * b
        late = (shared * constant(given.first)) * constant(given.second)
        with Watch() as watch:
            (late + shared if late_first else shared + late).backward()
        came = [array_of(call.grad) for call in watch.backward_calls if call.node is shared.grad_fn]
        one, other = np.ones_like(given.a), given.first * given.second
        total = sum(came, np.zeros_like(one))
        if any(np.allclose(total, only) for only in (one, other, 0 * one)):
            return ["a result that is used twice: only one of its two gradients went through its "
                    "node, not both" if came else "the node of a result used twice was not reached"]
        if any(np.allclose(total, one + other + again) for again in (one, other)):
            return ["a result that is used twice: one of its gradients went through its node "
                    "alone and then again in the sum, so it counts twice"]
    return []


def what_second_inputs_get(given):
    """What a leaf gets as the second operand, after a leaf and after a constant."""
    class Second(my.Function):
        @staticmethod
        def forward(ctx, a, b):
            needs_grad = a.requires_grad or b.requires_grad
            return my.Tensor(a.data + 2 * b.data, requires_grad=needs_grad, is_leaf=not needs_grad)

        @staticmethod
        def backward(ctx, grad_output):
            return my.Tensor(1 * grad_output.data), my.Tensor(2 * grad_output.data)

    def got(first):
        """The numbers that the gradients of both consist of; None for one that is missing."""
        second = leaf(given.b)
        Second.apply(first, second).backward()
        return [None if grad is None else float(array_of(grad).mean())
                for grad in (first.grad, second.grad)]

    beside_a_leaf = got(leaf(given.a))
    if beside_a_leaf == [1, None]:
        return ["a leaf that is the second operand, after another leaf, gets no gradient"]
    if beside_a_leaf in ([2, 1], [1, 1]):
        whose = "each input gets the other's" if beside_a_leaf == [2, 1] else "both inputs get the first"
        return [f"of the two gradients that an operation's backward returns, {whose}"]
    beside_a_constant = got(constant(given.a))[1]
    if beside_a_leaf == [1, 2] and beside_a_constant is None:
        return ["a leaf that is the second operand, after a constant, gets no gradient: at a None in "
                "next_functions, go on to the next entry and its gradient"]
    if beside_a_leaf == [1, 2] and beside_a_constant == 1:
        return ["a leaf that is the second operand, after a constant, gets the constant's gradient: "
                "next_functions has an entry for each operand, None for a constant, and the gradients "
                "go by position"]
    return []


def what_changes_in_place(given):
    """Whether an array that was handed to a node is another one later, in (a + a * b) + c."""
    a, b, c = leaf(given.a), leaf(given.b), leaf(given.c)
    with Watch() as watch:
        ((a + a * b) + c).backward()
    calls = watch.backward_calls + watch.leaf_calls
    if in_place([watch]) or not any(call.is_another() for call in calls):
        return in_place([watch])
    return ["a gradient was changed in place after it had been handed to a node: others hold that "
            "array too; make a new one"]


# 2.3: the step.


@graded("Linear ReLU SGD Step", clue=True)
def clue_of_a_step(given):
    return look(what_a_step_replaces)


def what_a_step_replaces():
    """Whether an optimizer holds other Tensors after a step than before it."""
    layer = linear(np.ones((1, 1)), np.ones(1))
    optimizer = my.SGD(layer.parameters(), lr=0.5)
    layer(constant(np.ones((1, 1)))).backward()
    before = list(optimizer.params)
    optimizer.step()
    if all(new is old for new, old in zip(optimizer.params, before)):
        return []
    return ["step() puts new Tensors into optimizer.params, and the layers keep the old ones: change "
            "the .data of each parameter"]


# 2.1 to 2.5: the graph that layers build, and the operations in it.


def rerun(key):
    """Run the tests of a problem once more, each under observation."""
    watches = []
    for case in CASES.values():
        if case.key == key and case.scored:
            given = case.draw(1)
            with Watch() as watch:
                try:
                    watch.results = case.function(given)
                except Exception:
                    watch.results = None
            watches.append(watch)
    return watches


def graph_and_operations(key):
    def search():
        watches = rerun(key)
        return (wrong_operations(watches) or in_place(watches) or cut_off(watches))
    return look(search)


@graded("Linear Backward", clue=True)
def clue_of_linear_backward(given):
    return graph_and_operations("Linear Backward")


@graded("Linear ReLU Backward", clue=True)
def clue_of_relu_backward(given):
    return graph_and_operations("Linear ReLU Backward")


@graded("Big Linear ReLU Backward", clue=True)
def clue_of_two_layers_backward(given):
    return graph_and_operations("Big Linear ReLU Backward")


@graded("Linear Batchnorm ReLU Backward (Train)", clue=True)
def clue_of_batchnorm_backward(given):
    return graph_and_operations("Linear Batchnorm ReLU Backward (Train)")


@graded("Linear XELoss Backward", clue=True)
def clue_of_cross_entropy_backward(given):
    return graph_and_operations("Linear XELoss Backward")


def in_place(watches):
    """Operations whose backward writes into the gradient it was given."""
    names = dict.fromkeys(call.name for watch in watches for call in watch.backward_calls
                          if call.changed)
    return [f"{name}.backward changes the gradient it was given, in place: make a new array"
            for name in list(names)[:2]]


def cut_off(watches):
    """Leaves that no path leads to from the tensor that backward() was called on."""
    for watch in watches:
        lines = watch.cuts()
        if lines:
            return lines
    return []


def wrong_operations(watches):
    """Operations whose backward disagrees with central differences of their forward, at the very
    arguments that they had in the tests."""
    seen, entries = set(), 0
    for watch in watches:
        for operation, args in watch.applications:
            kind = (operation, tuple(getattr(arg, "shape", arg) for arg in args))
            if operation.__module__.startswith("grader.") or (
                    kind in seen or not may_be_checked(args)):
                continue
            seen.add(kind)
            entries += sum(arg.data.size for arg in args if needs_grad(arg))
            if entries > ENTRIES:
                return []
            fault = disagreement(operation, args)
            if fault:
                wrong = operation.backward
                shapes = {arg.data.shape for arg in args if needs_grad(arg)}
                if len(shapes) > 1 and unbroadcast_is_wrong():
                    wrong = my.F.unbroadcast
                    fault = "is wrong: it must sum over the axes that were repeated"
                code = wrong.__code__
                place = watch.place_of(code.co_filename, code.co_firstlineno)
                return [f"{wrong.__qualname__}, at {place}, {fault}"]
    return []


def unbroadcast_is_wrong():
    """Whether unbroadcast, asked for a row's shape, gives one that is not the sum of the rows."""
    rows = np.arange(12.0).reshape(4, 3)**2
    try:
        row = my.F.unbroadcast(rows.copy(), (3,))
        return np.shape(row) == (3,) and not np.allclose(row, rows.sum(axis=0))
    except Exception:
        return False


def needs_grad(arg):
    return bool(getattr(arg, "requires_grad", False))


def may_be_checked(args):
    """Whether the arguments of an operation are such that its own derivatives are sure: up to two
    Tensors that need gradients, or one and parameters; beside them labels, single numbers such as
    ε, and plain constants."""
    tensors = [arg for arg in args if hasattr(arg, "requires_grad")]
    floating = [arg for arg in tensors if arg.data.dtype.kind == "f"]
    plain = (int, float, bool, str, tuple, list, type(None))
    derived = [arg for arg in floating if needs_grad(arg)]
    return (0 < len(derived) < 4 and all(needs_grad(arg) or arg.data.size == 1 for arg in floating)
            and (len(derived) < 3 or all(arg.is_leaf for arg in derived[1:]))
            and all(arg.data.dtype == np.float64 for arg in floating)
            and all(hasattr(arg, "requires_grad") or type(arg) in plain for arg in args))


def disagreement(operation, args):
    """How the gradients of an operation differ from central differences; "" if they do not, or if
    there is any doubt: it draws at random, has a kink there, gives no float64, raises, ...

    Args:
        operation (type): the Function.
        args (list): what it is applied to.
    """
    arrays = [arg.data.copy() if hasattr(arg, "requires_grad") else None for arg in args]

    def forward(moved):
        ctx = my.ContextManager()
        tensors = [arg if array is None else my.Tensor(
            array.copy(), requires_grad=arg.requires_grad) for arg, array in zip(args, moved)]
        return ctx, operation.forward(ctx, *tensors)

    try:
        ctx, output = forward(arrays)
        value = output.data.copy()
        if value.dtype != np.float64 or not np.array_equal(value, forward(arrays)[1].data):
            return ""
        upstream = np.random.RandomState(1).uniform(0.5, 2, value.shape)
        grads, again = (gradients_of(operation, ctx, upstream, len(args)) for _ in range(2))
        for position, arg in enumerate(args):
            if needs_grad(arg):
                missing = grads[position] is None
                grad = my.Tensor(np.zeros(arg.data.shape)) if missing else grads[position]
                fault = compare(grad, arrays, position, value, upstream,
                                lambda moved: forward(moved)[1].data)
                if fault and missing and (arg.is_parameter or not arg.is_leaf):
                    return f"returns no gradient for argument {position}"
                if fault and not missing:
                    return ("does not fit its forward: the gradient of argument "
                            f"{position}{fault}")
        if any(array_of(grad) is not None and not np.allclose(grad.data, other.data, equal_nan=True)
               for grad, other in zip(grads, again)):
            return "changes what forward has kept: called a second time, it gives other gradients"
    except Exception:
        pass
    return ""


def gradients_of(operation, ctx, upstream, count):
    """What backward returns, copied, as a list with an entry for each argument of forward."""
    grads = operation.backward(ctx, my.Tensor(upstream.copy()))
    grads = list(grads) if isinstance(grads, (tuple, list)) else [grads]
    copies = [grad if array_of(grad) is None else my.Tensor(grad.data.copy()) for grad in grads]
    return copies + [None] * (count - len(copies))


def compare(grad, arrays, position, value, upstream, forward):
    """Compare one gradient with central differences; in words what is wrong with it, or ""."""
    array, got = arrays[position], array_of(grad)
    if got is None or got.shape != array.shape or not np.isfinite(value).all():
        return ""  # where it is None, or the engine sums, is for others to say
    numeric, smooth = np.zeros(array.shape), np.ones(array.shape, bool)
    for index in np.ndindex(*array.shape):
        at, step = array[index], STEP * max(1.0, abs(array[index]))
        sides = []
        for moved in (at + step, at - step):
            array[index] = moved
            sides.append(np.sum((forward(arrays) - value) * upstream) / step)
        array[index] = at
        above, below = sides[0], -sides[1]
        numeric[index] = (above + below) / 2
        smooth[index] = abs(above - below) <= 0.01 * (abs(above) + abs(below)) + 1e-4
    if not np.isfinite(numeric).all() or not numeric[smooth].any():
        return ""
    off = smooth & ~(np.abs(got - numeric) <= 0.01 * np.abs(numeric[smooth]).max() + 1e-4)
    if not off.any():
        return ""
    index = tuple(np.argwhere(off)[0])
    place = str([int(i) for i in index]) if index else ""
    return f"{place} is {got[index]:.6g}, but {numeric[index]:.6g} by central differences"
