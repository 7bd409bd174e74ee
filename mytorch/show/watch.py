"""The only spy on an engine: notes each call of a node's apply, and each .grad, as backward runs.
Nothing here computes a gradient, and no engine knows of it; complaints.py judges what was seen.

Who only wants to know what is wrong with an engine asks trace.explain or trace.explain_engine."""

import contextlib
import copy
import io
import sys
from collections import namedtuple
from itertools import combinations

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.tensor import Tensor

MAX_VISITS = 500

# What changed during `call` (None: before the first) if `inside`, else after it: the .grad of a
# Tensor, `before` and `after` being ndarrays or None, or the numbers in an ndarray.
Change = namedtuple("Change", "what before after call inside")


class Share:
    """What a call of ``apply`` returned for one argument of its operation.

    Attributes:
        call (Call): which returned it; ``index`` counts the arguments from 0.
        argument (graph.Argument): whose gradient it is; ``node`` is the one that it is for.
        array (ndarray or None): what was returned; ``copy`` is what it held then.
        arrived_in (list of Call): the calls that brought it to its node.
    """

    def __init__(self, call, index, argument, value):
        self.call, self.index, self.argument, self.node = call, index, argument, argument.node
        self.array, self.copy = array_of(value), copy_of(value)
        self.arrived_in = []


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


class StopWatching(BaseException):
    """Ends a run that visits too many nodes; not an Exception, so that no engine handles it."""


class Watch:
    """What a run of ``tensor.backward()`` did; making one runs it. What it raises is kept.

    Attributes:
        tensor, root, nodes: where it starts, the node there, and all nodes below.
        calls (list of Call): in their order.
        tensors (list of Tensor): whose ``.grad`` are watched.
        before, after (dict): by the id of a Tensor, its ``.grad`` as an ndarray or None.
        stored (dict): by the id of a Tensor, its ``.grad`` itself at the end of the run.
        changes, writes (list of Change): of a ``.grad``; of the arrays that were handed around.
        error (Exception or None): what ended the run; ``stopped`` if that was the 500th visit.
    """

    def __init__(self, tensor, tensors):
        self.tensor, self.root, self.tensors = tensor, graph.start_node(tensor), tensors
        self.nodes = graph.nodes_below(self.root)
        self.calls, self.changes, self.writes, self.tracked = [], [], [], {}
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
        find_sources(self)

    def changes_of(self, tensor):
        """The Changes of the ``.grad`` of a Tensor."""
        return [change for change in self.changes if change.what is tensor]

    def changes_in(self, call):
        """The Changes of any ``.grad`` during a call and until the next; before all, for None."""
        return [change for change in self.changes if change.call is call]

    def patched(self):
        """Context in which the classes of nodes have a watched ``apply``."""
        classes = {type(node) for node in self.nodes if not isinstance(node, type)}
        classes |= {autograd_engine.AccumulateGrad, autograd_engine.BackwardFunction}
        owners = {base for cls in classes for base in cls.__mro__ if "apply" in vars(base)}
        return replaced([(cls, "apply", self.watched(cls.apply)) for cls in owners])

    def watched(self, original):
        """A method ``apply`` that does what ``original`` does and notes the call."""
        running = set()

        def apply(node, *args, **kwargs):
            """Run the original on a node, and look at all arrays before and after it."""
            if id(node) in running:  # a class that calls the apply of its base class
                return original(node, *args, **kwargs)
            self.look(False)
            if len(self.calls) == MAX_VISITS:
                raise StopWatching
            call = Call(len(self.calls) + 1, node, [*args, *kwargs.values(), None][0])
            self.calls.append(call)
            self.track(call.array)
            running.add(id(node))
            try:
                result = original(node, *args, **kwargs)
            except BaseException as error:
                call.error = error
                raise
            finally:
                running.discard(id(node))
                self.look(True)
            if not graph.is_leaf_node(node):
                self.note_shares(call, result)
            return result
        return apply

    def note_shares(self, call, result):
        """Note what a call on the node of an operation returned: of None nothing, because there
        ``apply`` may go on by itself."""
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        arguments, unknown = graph.arguments(call.node), graph.Argument(None, None)
        if len(arguments) == len(results) - results.count(None):  # one for each gradient
            rest = iter(arguments)
            arguments = [unknown if value is None else next(rest) for value in results]
        arguments += [unknown] * (len(results) - len(arguments))
        call.shares = [Share(call, index, arguments[index], value)
                       for index, value in enumerate(results) if result is not None]
        for share in call.shares:
            self.track(share.array)

    def track(self, array):
        """From now on notice when that ndarray is written into."""
        if array is not None:
            self.tracked.setdefault(id(array), (array, array.copy()))

    def look(self, inside):
        """Compare all that is watched with what it was: something may have written there."""
        call = self.calls[-1] if self.calls else None
        for array, seen in list(self.tracked.values()):
            if not equal(array, seen):
                self.tracked[id(array)] = array, array.copy()
                self.writes.append(Change(array, seen, array.copy(), call, inside))
        for tensor in self.tensors:
            array, seen = array_of(tensor.grad), self.after[id(tensor)]
            if not equal(array, seen):
                self.after[id(tensor)] = copy_of(array)
                self.changes.append(Change(tensor, seen, copy_of(array), call, inside))
                self.track(array)


def watch_twice(tensor, names):
    """Watch ``tensor.backward()``, and once more unseen, for what is left; put back each .grad.

    Args:
        names (dict): further Tensors whose ``.grad`` are watched, by name.

    Returns:
        tuple of Watch: the second is None where the first did not come to its end.
    """
    tensors, second = [tensor, *names.values()], None
    for node in graph.nodes_below(graph.start_node(tensor)):
        tensors += graph.tensors_at(node)
    tensors = list({id(tensor): tensor for tensor in tensors}.values())
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
    def pass_by(*args, **kwargs):
        """What is called in place of the debugger."""

    debuggers = [(sys, "breakpointhook", pass_by)]
    if "pdb" in sys.modules:
        debuggers.append((sys.modules["pdb"], "set_trace", pass_by))
    with replaced(debuggers), contextlib.redirect_stdout(io.StringIO()):
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


# Where the gradients that arrive come from: found by comparing numbers, because engines add and
# hand them on in many ways.

def find_sources(watch):
    """Set ``call.sources``, a list of the Shares whose sum arrived, or None if there are none
    such, and ``share.arrived_in``. The calls of one graph.key_of belong together."""
    passed = {}
    for call in watch.calls:
        call.sources = sources_of(call, passed, watch.writes)
        for share in call.sources or ():
            share.arrived_in.append(call)
        for share in call.shares:
            if share.array is not None:
                key = graph.key_of(share.node) if share.node is not None else None
                passed.setdefault(key, []).append(share)


def sources_of(call, passed, writes):
    """The Shares that what arrived in ``call`` consists of, or None. The first that fits is
    taken: whole and on the right way before changed, repeated, or meant for another node."""
    if call.array is None:
        return []
    mine = passed.get(call.key, [])
    waiting = [share for share in mine if not share.arrived_in]
    candidates = [[share] for share in waiting if share.array is call.array]
    candidates += [*groups(waiting), *groups(mine)]
    for group in candidates:
        if fits(call.copy, [share.copy for share in group]):
            return group
    for group in candidates:  # written into on the way
        if fits(call.copy, [content(share, call, writes) for share in group]):
            return group
    others = [share for key, shares in passed.items() if key != call.key for share in shares
              if call.node in graph.inputs_of(share.call.node)]
    found = [share for share in others if share.array is call.array]
    if not found and not any(share.call.array is call.array for share in others):
        found = [share for share in others if fits(call.copy, [share.copy])]
    return found[-1:] or None


def groups(shares):
    """All of some Shares, then each of them, late ones first; of few also all other parts."""
    sizes = range(1, len(shares)) if len(shares) <= 8 else [1]
    return [shares] * bool(shares) + [
        list(some) for size in sizes for some in combinations(shares[::-1], size)]


def content(share, call, writes):
    """What the array of a Share held when ``call`` began."""
    held = [write.after for write in writes if write.what is share.array
            and (write.call is None or write.call.step < call.step)]
    return held[-1] if held else share.copy


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
