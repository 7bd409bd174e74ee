"""What apply records wrongly, and what a watched backward pass does wrong, one sentence each.
Only what no right engine of any style does is called wrong; where unsure, nothing is said."""

import traceback

import numpy as np

from mytorch.show import graph
from mytorch.show.tracebacks import is_ours
from mytorch.show.watch import MAX_VISITS, array_of, fits, total, unseen, watch_twice
from mytorch.show.words import Words, in_a_row, show
from mytorch.tensor import Tensor

KINDS = (("leaf", "leaf"), ("constant", "leaf"), ("leaf", "constant"))
MAKE_NEW = "Others may hold a gradient that was passed on; make a new array instead."


def judge(tensor, names):
    """Watch ``tensor.backward()`` twice, and judge it; every ``.grad`` is put back.

    Args:
        names (dict): Tensors by name.

    Returns:
        Judge: of the first run; if it did nothing wrong, its ``again`` are the sentences about
        what a second one did wrong: its gradients are added to those of the first.
    """
    first, second = watch_twice(tensor, names)
    found = Judge(first, Words(names))
    if second is not None and not found.complaints:
        then = Judge(second, found.words)
        found.again = [f"In a second backward() on the same graph: {sentence}"
                       for sentence in then.complaints + then.ending]
    return found


class Judge:
    """What is wrong in one Watch.

    Attributes:
        complaints, again (list of str): sentences about what is wrong.
        ending (list of str): a sentence about a run that did not end well.
    """

    def __init__(self, watch, words):
        self.watch, self.words, self.again, self.ending = watch, words, [], []
        self.leaves = [place for place in map(watch.place, watch.nodes) if place.leaf is not None]
        found = [*self.start(), *self.wrong_kinds()]
        if not (watch.error or watch.stopped):
            found += [*self.handing_over(), *self.storing()]
        self.complaints = list(dict.fromkeys(found))
        if watch.stopped and len(watch.calls) > graph.count_paths(watch.root):
            self.ending = [f"backward() does not end: it was stopped after {MAX_VISITS} visits."]
        if watch.error:
            self.ending = [explain_error(watch, words)]

    def came(self, place):
        """The arrays that reached a node; a leaf's .grad may have been set without a visit."""
        if place.leaf is not None and not place.calls and self.watch.changes_of(place.leaf):
            return place.passed()
        return [call.copy for call in place.calls if call.array is not None]

    def start(self):
        """It must run the first node, on ones of the tensor's shape."""
        calls, wanted = self.watch.calls, self.watch.tensor.data
        if not calls and not self.watch.error and not self.watch.changes:
            yield ("backward() returned without running a node: nothing calls the apply of the "
                   f"first one, {self.words.node(self.watch.root)}.")
        elif calls and calls[0].key == graph.key_of(self.watch.root) and calls[0].copy is not None:
            ones = calls[0].copy
            if ones.size != wanted.size or not np.all(ones == 1):
                yield (f"backward() starts from {show(ones)} of shape {ones.shape}; it should "
                       f"start from ones of the tensor's shape, {wanted.shape}.")

    def wrong_kinds(self):
        """Gradients on what is not a leaf, or of the wrong type."""
        kinds = {}
        for tensor in self.watch.tensors:
            stored = self.watch.stored[id(tensor)]
            if stored is None or not self.watch.changes_of(tensor):
                continue
            if not tensor.requires_grad:
                kind = "but constants (requires_grad is False) get no gradient"
            elif tensor.grad_fn is not None and not graph.is_leaf_node(tensor.grad_fn):
                kind = "but results of operations store no gradient; only leaves do"
            elif not hasattr(stored, "requires_grad"):
                kind = f"which is of type {type(stored).__name__}; it should be a Tensor"
            else:
                continue
            kinds.setdefault(kind, {})[self.words.tensor(tensor)] = None
        for kind, names in kinds.items():
            yield f"{in_a_row(list(names))} got a .grad, {kind}."

    def handing_over(self):
        """What was passed to each node must arrive there, in one sum or in several parts."""
        wrong = [place for place in self.watch.places.values() if not self.has_arrived(place)]
        lost = [share for place in wrong if not place.calls for share in place.shares]
        if lost:
            who = list(dict.fromkeys(self.words.node(share.node) for share in lost))
            yield (f"{in_a_row(who)} {'were' if len(who) > 1 else 'was'} never visited, so "
                   f"{self.senders(lost)} never arrived." + (
                       " backward() did not go on from the first node: go on into each node of "
                       "next_functions; one that waits must be visited once its last gradient "
                       "came." * (len({call.key for call in self.watch.calls}) == 1)))
        for place in wrong:
            if place.calls:
                yield self.how_it_arrived(place)

    def has_arrived(self, place):
        """Whether what came to a node is what was passed to it, in all; true where unknown."""
        passed, came = place.passed(), self.came(place)
        if not passed or len({array.shape for array in passed + came}) > 1:
            return True  # apply may hand on by itself; see storing
        return fits(total(came or [0 * passed[0]]), passed)

    def is_lost(self, share):
        """Whether a share of a run that came to its end is known never to have arrived."""
        return not (share.arrived_in or self.watch.error or self.watch.stopped
                    or self.has_arrived(self.watch.place(share.node)))

    def senders(self, shares):
        """``the 1 from step 1 (Add) and the 2 from step 3 (Mul)``."""
        return in_a_row([f"the {show(share.copy)} from {self.words.call(share.call)}"
                         for share in shares])

    def how_it_arrived(self, place):
        """Why what arrived at a visited node is not the sum of its shares."""
        who = self.words.node(place.node)
        for call in place.calls:
            for share in call.sources or ():
                if share.node is None or graph.key_of(share.node) != call.key:
                    return self.mispaired(share, call.node)
                if share.write:
                    return self.changed(share)
        came = in_a_row([f"{show(call.copy)} in step {call.step}" for call in place.calls])
        return f"To {who} went {self.senders(place.shares)}, but what arrived was {came}."

    def mispaired(self, share, node):
        """A share that went to another ``node`` than its own, and perhaps others of its call."""
        call, entries = share.call, graph.entries_of(share.call.node)
        if any(entries[other.index:other.index + 1] != [other.node] for other in call.shares):
            return (f"The gradients of {self.words.call(call)} were paired with the wrong "
                    f"inputs: its next_functions has {len(entries)} of {len(call.shares)} "
                    "entries. Function.apply must add None for a constant.")
        return (f"The {show(share.copy)} that {self.words.call(call)} computed for "
                f"{self.words.argument(share.argument)} arrived at {self.words.node(node)}: a "
                "gradient that apply returns is for the entry of next_functions at its place.")

    def changed(self, share):
        """A share that was written into on its way."""
        call, now = share.write.call, show(share.write.after)
        writer = self.words.call(call) if share.write.inside else (
            f"backward(), after step {call.step},")
        return (f"The {show(share.copy)} that {self.words.call(share.call)} passed to "
                f"{self.words.node(share.node)} was changed on the way, to {now}: {writer} wrote "
                f"into its array. {MAKE_NEW}")

    def storing(self):
        """A leaf must hold what it held before and what arrived."""
        for leaf, arrived in [(place.leaf, self.came(place)) for place in self.leaves]:
            before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
            parts = [part for part in [before, *arrived] if part is not None]
            if not arrived or not leaf.requires_grad or fits(after, parts) and (
                    after.shape == leaf.data.shape):
                continue
            name, came = self.words.grad(leaf), " and ".join(map(show, arrived[:4]))
            if after is not None and after.shape != leaf.data.shape:
                yield (f"{name} has shape {after.shape}, but {self.words.tensor(leaf)} has shape "
                       f"{leaf.data.shape}; {came} arrived.")
            elif any(part.shape != leaf.data.shape for part in parts):
                continue  # an engine may undo broadcasting there
            elif after is not None:
                yield (f"{name} was {show(before)}, {came} arrived, and now it is {show(after)}: "
                       f"it should be their sum.{self.shared(leaf)}")
            elif np.any(parts):
                yield f"{name} stayed None, though {came} arrived."

    def shared(self, leaf):
        """A sentence if the .grad of another leaf is the same array, else nothing."""
        stored = array_of(self.watch.stored[id(leaf)])
        for other in [place.leaf for place in self.leaves if place.leaf is not leaf]:
            held = array_of(self.watch.stored[id(other)])
            if held is not None and np.may_share_memory(stored, held):
                return f" {self.words.grad(other)} is the same array. {MAKE_NEW}"
        return ""


def explain_error(watch, words):
    """The exception that ended a run, in a sentence or two."""
    error, call = watch.error, watch.calls[-1] if watch.calls else None
    places = [f"{frame.f_code.co_filename}:{line}".split("/")[-1]
              for frame, line in traceback.walk_tb(error.__traceback__) if not is_ours(frame)]
    what, ended = f"{describe(error)}, at {places[-1] if places else '?'}", "The run ended there"
    if isinstance(error, NotImplementedError):
        name = f"{graph.function_name(call.node)}." if call and call.error else ""
        return f"{name}backward() is not written yet: {error}."
    if call is None:
        return f"backward() ended at once: {what}."
    if call.error is not None:
        if not hasattr(call.grad, "requires_grad") and not (
                graph.is_leaf_node(call.node) and call.grad is not None):
            given = "None" if call.grad is None else type(call.grad).__name__
            return (f"{ended}: {given} arrived at {words.node(call.node)}, so its apply fails "
                    f"({what}). Hand on Tensors only; where there is no gradient, go no further.")
        return f"{ended}, in {graph.function_name(call.node)}: {what}."
    of_none = isinstance(error, AttributeError) and "'NoneType'" in str(error) and any(
        f"'{name}'" in str(error) for name in ("apply", "next_functions", "variable", "ctx"))
    if of_none or isinstance(error, KeyError) and error.args == (None,):
        return (f"{ended}: backward() went on into None ({what}). The nodes to go on into are "
                "those in next_functions; a None there is for a constant: pass over it.")
    return f"{ended}: {what}."


def describe(error):
    """An exception in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# What apply records: a graph does not tell what is missing from it, but of a sum of small Tensors
# it is known what should be there.

def start_node(tensor):
    """The node from which ``tensor.backward()`` starts.

    Raises:
        TypeError: if ``tensor`` is not a Tensor.
        RuntimeError: if it is outside any graph; says so, or what ``apply`` does wrong.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"expected a Tensor, got {type(tensor).__name__}")
    node = graph.start_node(tensor)
    if node is None:
        raise RuntimeError(*find_unrecorded() or [
            "the tensor is outside any graph (grad_fn is None); it was computed from constants "
            "only, where nothing has requires_grad=True"])
    return node


def find_unrecorded():
    """What is wrong with the result of a sum: at most one sentence, in a list."""
    said = {}  # sentence → kinds of operands
    try:
        with unseen():
            for kinds in KINDS:
                said.setdefault(try_sum(*kinds), []).append(" + ".join(kinds))
            one, other = (sum_of("leaf", "leaf")[0].grad_fn for _ in range(2))
            for name in ("next_functions", "ctx") if not any(said) else ():
                if one is other or getattr(one, name) is getattr(other, name):
                    return [f"Two results of + have one {'grad_fn' if one is other else name} in "
                            "common; each call of apply must make its own."]
    except Exception:
        pass  # not written yet
    said.pop("", None)
    return [f"With {', '.join(kinds)}: {sentence}" for sentence, kinds in said.items()][:1]


def sum_of(*kinds):
    """The sum of two Tensors, "leaf" or "constant", and the list of them."""
    x, y = (Tensor(np.array(value), requires_grad=kind == "leaf")
            for value, kind in zip((2.0, 4.0), kinds))
    return x + y, [x, y]


def try_sum(*kinds):
    """A sentence about what is wrong with the sum of two Tensors, or nothing."""
    result, operands = sum_of(*kinds)
    node = result.grad_fn
    if not result.requires_grad and node is None and "constant" not in kinds:
        return "Function.apply (1.2) records no graph yet."
    if not result.requires_grad:
        return ("The result does not require grad, though an input does; Function.apply must set "
                "requires_grad as soon as one input has it.")
    if result.is_leaf:
        return "The result requires grad and has is_leaf=True; Function.apply must set it to False."
    if node is None:
        return ("The result requires grad and has no grad_fn; Function.apply must link each such "
                "result to its node.")
    if isinstance(node, type):
        return (f"The grad_fn of the result is the class {node.__name__}; it should be a node, "
                "the BackwardFunction that holds the ctx of this one call.")
    for entry in graph.inputs_of(node):
        if not hasattr(entry, "apply"):
            return (f"The next_functions of the result hold a {type(entry).__name__}; they should "
                    "hold nodes: the AccumulateGrad of a leaf, the grad_fn of a result.")
    leaves = list(map(graph.leaf_of, graph.inputs_of(node)))
    for tensor in operands:
        if tensor.requires_grad and not any(leaf is tensor for leaf in leaves):
            return ("The next_functions of the result do not hold a node of each leaf; "
                    "Function.apply must put there a node for each input that requires grad.")
    return ""
