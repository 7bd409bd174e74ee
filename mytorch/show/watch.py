"""The only spy on an engine: notes each call of a node's apply, and each .grad, as backward runs.
Nothing here computes a gradient, and no engine knows of it; complaints.py judges what was seen.

Who only wants to know what is wrong with an engine asks trace.explain or trace.explain_engine."""

import contextlib
import copy
import io
import pdb
import sys
from collections import namedtuple

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
        arrived_in (list of Call): the calls that brought it to its node, see arrivals.py.
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
        sources (list of Share or None): what arrived, see arrivals.py.
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
        hands_on (bool): whether an ``apply`` returned nothing, as where it goes on by itself.
        error (Exception or None): what ended the run; ``stopped`` if that was the 500th visit.
    """

    def __init__(self, tensor, tensors):
        self.tensor, self.root, self.tensors = tensor, graph.start_node(tensor), tensors
        self.nodes = graph.nodes_below(self.root)
        self.calls, self.changes, self.writes, self.tracked = [], [], [], {}
        self.before = {id(tensor): copy_of(tensor.grad) for tensor in tensors}
        self.after = dict(self.before)
        self.error, self.stopped, self.hands_on = None, False, False
        try:
            with self.patched():
                tensor.backward()
        except StopWatching:
            self.stopped = True
        except Exception as error:
            self.error = error
        self.look(False)
        self.stored = {id(tensor): tensor.grad for tensor in tensors}

    def changes_of(self, tensor):
        """The Changes of the ``.grad`` of a Tensor."""
        return [change for change in self.changes if change.what is tensor]

    def changes_in(self, call):
        """The Changes of any ``.grad`` during a call and until the next; before all, for None."""
        return [change for change in self.changes if change.call is call]

    @contextlib.contextmanager
    def patched(self):
        """Replace ``apply`` of the classes of nodes by one that is watched, for a while."""
        classes = {type(node) for node in self.nodes if not isinstance(node, type)}
        classes |= {autograd_engine.AccumulateGrad, autograd_engine.BackwardFunction}
        owners = {base for cls in classes for base in cls.__mro__ if "apply" in vars(base)}
        originals = {cls: vars(cls)["apply"] for cls in owners}
        try:
            for cls, original in originals.items():
                cls.apply = self.watched(original)
            yield
        finally:
            for cls, original in originals.items():
                cls.apply = original

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
        """Note what a call on the node of an operation returned."""
        self.hands_on |= result is None
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
    held = [(tensor, tensor.grad) for tensor in tensors]
    try:
        for watched, grad in held:  # an engine may write into it
            watched.grad = copy.copy(grad)
            if isinstance(grad, Tensor):
                watched.grad.data = grad.data.copy()
        first = Watch(tensor, tensors)
        if first.calls and not first.error and not first.stopped:
            with unseen():
                second = Watch(tensor, tensors)
        return first, second
    finally:
        for watched, grad in held:
            watched.grad = grad


@contextlib.contextmanager
def unseen():
    """Let code run without what it prints, and without stopping where it calls a debugger."""
    stops = [(sys, "breakpointhook"), (pdb, "set_trace")]
    held = [getattr(module, name) for module, name in stops]
    try:
        for module, name in stops:
            setattr(module, name, lambda *args, **kwargs: None)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for (module, name), function in zip(stops, held):
            setattr(module, name, function)


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
