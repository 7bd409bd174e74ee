"""The only spy on an engine: notes each call of a node's apply, and each .grad, as backward runs.
Nothing here computes a gradient, and no engine knows of it; complaints.py judges what was seen."""

import contextlib
import copy
import io
import sys
from collections import namedtuple

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.tensor import Tensor

MAX_VISITS = 500

# What changed during `call` (None: before the first) if `inside`, else after it: the .grad of a
# Tensor or the array of a Share; `before` and `after` are ndarrays or None.
Change = namedtuple("Change", "what before after call inside")


class Share:
    """What a call of ``apply`` returned for one argument of its operation.

    Attributes:
        call (Call): which returned it; ``index`` counts the arguments from 0.
        argument (graph.Argument): whose gradient it is; ``node`` is the one that it is for.
        array (ndarray or None): what was returned; ``copy`` is what it held then.
        write (Change or None): the first that was written into the array before it arrived.
        arrived_in (list of Call): the calls that brought it to its node.
    """

    def __init__(self, call, index, argument, value):
        self.call, self.index, self.argument, self.node = call, index, argument, argument.node
        self.array, self.copy = array_of(value), copy_of(value)
        self.write, self.arrived_in = None, []


class Call:
    """One call of a node's ``apply``.

    Attributes:
        step (int): its number, from 1; ``key`` is graph.key_of its node.
        grad: its argument; ``array`` is the ndarray in it, ``copy`` what it held then.
        shares (list of Share): what it returned.
        error (Exception or None): what it raised.
        sources (list of Share or None): whose sum arrived; None if that of none does.
    """

    def __init__(self, step, node, grad):
        self.step, self.node, self.key, self.grad = step, node, graph.key_of(node), grad
        self.array, self.copy = array_of(grad), copy_of(grad)
        self.shares, self.error, self.sources = [], None, None


class Place:
    """A node, or all nodes of one leaf: the Shares that were passed to it, and the Calls that
    visited it."""

    def __init__(self, node):
        self.node, self.leaf, self.shares, self.calls = node, graph.leaf_of(node), [], []

    def passed(self):
        """The arrays that were passed to it."""
        return [share.copy for share in self.shares]


class StopWatching(BaseException):
    """Ends a run that visits too many nodes; not an Exception, so that no engine handles it."""


class Watch:
    """What a run of ``tensor.backward()`` did; making one runs it. What it raises is kept.

    Attributes:
        tensor, root, nodes: where it starts, the node there, and all nodes below.
        calls (list of Call), shares (list of Share): in their order.
        places (dict): graph.key_of a node → its Place.
        tensors (list of Tensor): whose ``.grad`` are watched.
        before, after (dict): by the id of a Tensor, its ``.grad`` as an ndarray or None.
        stored (dict): by the id of a Tensor, its ``.grad`` itself at the end of the run.
        changes (list of Change): of a ``.grad``.
        error (Exception or None): what ended the run; ``stopped`` if that was the 500th visit.
    """

    def __init__(self, tensor, tensors):
        self.tensor, self.root, self.tensors = tensor, graph.start_node(tensor), tensors
        self.nodes = graph.nodes_below(self.root)
        self.calls, self.shares, self.changes, self.places = [], [], [], {}
        self.before = {id(tensor): copy_of(tensor.grad) for tensor in tensors}
        self.after = dict(self.before)
        self.error, self.stopped = None, False
        try:
            with self.patched():
                tensor.backward()
        except StopWatching:
            self.stopped = True
        except Exception as error:
            self.error = error
        self.look(False)
        self.stored = {id(tensor): tensor.grad for tensor in tensors}

    def place(self, node):
        """The Place of a node, made at its first use."""
        return self.places.setdefault(graph.key_of(node), Place(node))

    def changes_of(self, tensor):
        """The Changes of the ``.grad`` of a Tensor."""
        return [change for change in self.changes if change.what is tensor]

    def patched(self):
        """Context in which the classes of nodes have a watched ``apply``."""
        classes = {type(node) for node in self.nodes if not isinstance(node, type)}
        classes |= {autograd_engine.AccumulateGrad, autograd_engine.BackwardFunction}
        return replaced([(cls, "apply", self.watched(cls.apply)) for cls in classes])

    def watched(self, original):
        """A method ``apply`` that does what ``original`` does and notes the call."""
        def apply(node, *args, **kwargs):
            """Run the original on a node, and look at all arrays before and after it."""
            self.look(False)
            if len(self.calls) == MAX_VISITS:
                raise StopWatching
            call = Call(len(self.calls) + 1, node, [*args, *kwargs.values(), None][0])
            self.calls.append(call)
            self.place(node).calls.append(call)
            call.sources = next(self.groups(call), None)
            for share in call.sources or ():
                share.arrived_in.append(call)
            try:
                result = original(node, *args, **kwargs)
            except BaseException as error:
                call.error = error
                raise
            finally:
                self.look(True)
            if not graph.is_leaf_node(node):
                self.note_shares(call, result)
            return result
        return apply

    def groups(self, call):
        """Lists of Shares whose sum arrives in a call, the likeliest first, found by comparing
        numbers, because engines add and hand them on in many ways: the same array, all that wait,
        or one; as they were passed, then as they have become; then what was meant for another."""
        mine = self.place(call.node).shares
        waiting = [share for share in mine if not share.arrived_in]
        same = [share for share in waiting if share.array is call.array]
        for attribute in ("copy", "array"):
            for group in (same[:1], waiting, *([share] for share in waiting[::-1]), mine):
                if group and fits(call.copy, [getattr(share, attribute) for share in group]):
                    yield group
        others = [share for share in self.shares if share not in mine
                  and call.node in graph.inputs_of(share.call.node)]
        yield from ([share] for share in others if share.array is call.array)
        if not any(share.call.array is call.array for share in others):
            yield from ([share] for share in others[::-1] if fits(call.copy, [share.copy]))

    def note_shares(self, call, result):
        """Note what a call on the node of an operation returned: of None nothing, because there
        ``apply`` may go on by itself."""
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        arguments, unknown = graph.arguments(call.node), graph.Argument(None, None)
        if len(arguments) == len([one for one in results if one is not None]):
            rest = iter(arguments)  # constants are left out of next_functions
            arguments = [unknown if value is None else next(rest) for value in results]
        arguments += [unknown] * (len(results) - len(arguments))
        call.shares = [Share(call, index, arguments[index], value)
                       for index, value in enumerate(results) if result is not None]
        for share in call.shares:
            if share.array is not None:
                self.shares.append(share)
                if share.node is not None:
                    self.place(share.node).shares.append(share)

    def look(self, inside):
        """Compare all that is watched with what it was: something may have written there."""
        call = self.calls[-1] if self.calls else None
        for share in self.shares:
            if not (share.write or share.arrived_in
                    or share.array.tobytes() == share.copy.tobytes()):
                share.write = Change(share, share.copy, share.array.copy(), call, inside)
        for tensor in self.tensors:
            array, seen = array_of(tensor.grad), self.after[id(tensor)]
            if not equal(array, seen):
                self.after[id(tensor)] = copy_of(array)
                self.changes.append(Change(tensor, seen, copy_of(array), call, inside))


def watch_twice(tensor, names):
    """Watch ``tensor.backward()``, and once more unseen, for what is left; put back each .grad.

    Args:
        names (dict): further Tensors whose ``.grad`` are watched, by name.

    Returns:
        tuple of Watch: the second is None where the first did not come to its end.
    """
    tensors, second = [tensor, *names.values()], None
    for node in graph.nodes_below(graph.start_node(tensor)):
        tensors += [graph.leaf_of(node), *graph.saved_tensors(node)]
    tensors = list({id(tensor): tensor for tensor in tensors if tensor is not None}.values())
    with replaced([(watched, "grad", copy.copy(watched.grad)) for watched in tensors]):
        for watched in tensors:  # an engine may write into it
            if isinstance(watched.grad, Tensor):
                watched.grad.data = watched.grad.data.copy()
        first = Watch(tensor, tensors)
        if first.calls and not first.error and not first.stopped:
            with unseen():
                second = Watch(tensor, tensors)
    return first, second


@contextlib.contextmanager
def replaced(attributes):
    """Context in which attributes, (owner, name, value) each, have these values."""
    held = [(owner, name, getattr(owner, name)) for owner, name, _ in attributes]
    try:
        for attribute in attributes:
            setattr(*attribute)
        yield
    finally:
        for attribute in held:
            setattr(*attribute)


@contextlib.contextmanager
def unseen():
    """Let code run without what it prints, and without stopping where it calls a debugger."""
    debuggers = [(sys, "breakpointhook"), (sys.modules.get("pdb"), "set_trace")]
    with replaced([(module, name, lambda *args, **kwargs: None) for module, name in debuggers
                   if module]), contextlib.redirect_stdout(io.StringIO()):
        yield


def array_of(value):
    """The ndarray in a Tensor, or ``value`` as one; None for what holds no numbers."""
    array = value.data if isinstance(value, Tensor) else value
    if array is None or isinstance(array, np.ndarray):
        return array
    try:
        return np.asarray(array, float)
    except (TypeError, ValueError):
        return None


def copy_of(value):
    """A copy of the ndarray in ``value``, see array_of."""
    array = array_of(value)
    return None if array is None else array.copy()


def equal(one, other):
    """Whether two ndarrays (or None) are the same numbers, nan being equal to nan."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(
        np.all((one == other) | ((one != one) & (other != other))))


def total(arrays):
    """The sum of some ndarrays, at least one."""
    return sum(arrays[1:], arrays[0])


def fits(array, parts):
    """Whether ``array`` is the sum of ``parts``, as far as their precision tells; numbers that
    are not finite are not held against anybody."""
    if array is None or any(part is None or part.shape != array.shape for part in parts):
        return False
    kinds = {part.dtype for part in [array, *parts]}
    allowed = max(1000 * np.finfo(kind if kind.kind == "f" else float).eps for kind in kinds)
    array, *parts = [np.asarray(part, float) for part in [array, *parts]]  # masks can't be added
    with np.errstate(all="ignore"):
        difference = array - total(parts) if parts else array
        scale = sum(np.abs(part) for part in parts) + np.abs(array)
        return not np.any(np.abs(difference) > allowed * scale)
