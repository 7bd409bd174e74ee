"""What a watched backward pass did wrong, one sentence each; see watch.py for what was seen.
Only what no right engine does, of whatever style, is called wrong; where unsure, nothing is said."""

import dis
import inspect
import traceback

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.show.arrivals import content, find_sources, fits, was_changed
from mytorch.show.tracebacks import is_ours
from mytorch.show.words import in_a_row, show

AGAIN = "In a second backward() on the same graph, "


def find_complaints(judge, second):
    """Sentences about what the run before a Judge did wrong.

    ``second`` watched the same once more, or is None: gradients of a second backward pass are
    added to those of the first, so it must do just the same.
    """
    found = judge.find()
    if second is not None and not found:
        found = differences(judge.watch, second, judge.words) or [
            AGAIN + sentence for sentence in Judge(second, judge.words).find()]
    return [sentence[0].upper() + sentence[1:] if sentence.split()[0] in ("the", "of", "step", "what")
            else sentence for sentence in dict.fromkeys(found)]


class Judge:
    """Looks for what is wrong in one Watch; its methods yield sentences."""

    def __init__(self, watch, words):
        self.watch, self.words = watch, words
        find_sources(watch)
        self.leaves = {id(leaf): leaf for leaf in map(graph.leaf_of, watch.nodes) if leaf is not None}
        self.calls, self.shares = {}, {}  # by graph.key_of the node that they visit, or are for
        for call in watch.calls:
            self.calls.setdefault(call.key, []).append(call)
            for share in call.shares or ():
                if share.node is not None and share.array is not None:
                    self.shares.setdefault(graph.key_of(share.node), []).append(share)

    def find(self):
        """All that is wrong; of a run that did not come to its end, what came before."""
        found = [*self.start(), *self.wrong_kinds(), *self.shapes()]
        if not (self.watch.error or self.watch.stopped):
            found += [*self.nothing_done(), *self.handing_over(), *self.storing()]
        return found

    def start(self):
        """It must start from ones of the tensor's shape."""
        calls, shape = self.watch.calls, self.watch.tensor.data.shape
        if calls and calls[0].key == graph.key_of(self.watch.root) and calls[0].copy is not None:
            ones = calls[0].copy
            if ones.size != self.watch.tensor.data.size or not np.all(ones == 1):
                yield (f"backward() starts from {show(ones)} of shape {ones.shape}; it should start "
                       f"from ones of the tensor's shape, {shape}.")

    def nothing_done(self):
        """It must run the first node, or store something at least."""
        if not self.watch.calls and not self.watch.changes():
            yield ("backward() returned without running a node: nothing calls the apply of the first "
                   f"one, {self.words.node(self.watch.root)}.")

    def wrong_kinds(self):
        """Gradients on what is not a leaf, or of the wrong type."""
        kinds = {}
        for tensor in self.watch.tensors:
            stored = self.watch.stored[id(tensor)]
            if stored is None or not self.watch.changed_grad(tensor):
                continue
            if not tensor.requires_grad:
                kind = "but constants (requires_grad is False) get no gradient" + (
                    "; Function.apply made an AccumulateGrad where None belongs"
                    * (id(tensor) in self.leaves))
            elif tensor.grad_fn is not None and not graph.is_leaf_node(tensor.grad_fn):
                kind = "but results of operations store no gradient; only leaves do"
            elif not hasattr(stored, "requires_grad"):
                kind = f"which is of type {type(stored).__name__}; it should be a Tensor"
            else:
                continue
            kinds.setdefault(kind, {})[self.words.tensor(tensor)] = None
        for kind, names in kinds.items():
            yield f"{in_a_row(list(names))} got a .grad, {kind}."

    def shapes(self):
        """Gradients whose shape is not the leaf's, where the leaf kept them or an error came."""
        for key, leaf in self.leaves.items():
            after, shape = self.watch.after[id(leaf)], leaf.data.shape
            kept = after is not None and after.shape != shape
            wrong = [share for share in self.shares.get(key, ()) if share.array.shape != shape]
            if kept and not wrong:
                yield (f"{self.words.grad(leaf)} has shape {after.shape}, but "
                       f"{self.words.tensor(leaf)} has shape {shape}.")
            for share in wrong if kept or self.watch.error else ():
                yield (f"{self.words.call(share.call)} passed a gradient of shape {share.array.shape} "
                       f"to {self.words.tensor(leaf)}, whose shape is {shape}; what broadcasting "
                       "repeated must be summed up.")

    def handing_over(self):
        """What was passed to each node must arrive there, in one sum or in several parts."""
        wrong = {key: shares for key, shares in self.shares.items()
                 if not self.has_arrived(key, shares)}
        lost = [share for key, shares in wrong.items() for share in shares
                if key not in self.calls and not self.stored_unvisited(key)]
        if lost:
            who = in_a_row(list(dict.fromkeys(self.words.node(share.node) for share in lost)))
            was, it = ("was", "it") if len({share.node for share in lost}) == 1 else ("were", "them")
            yield (f"{who} {was} never visited, so {self.senders(lost)}, passed to {it}, never "
                   f"arrived.{self.why_unvisited(lost)}")
        for key, shares in wrong.items():
            if self.stored_unvisited(key):
                yield self.how_stored(self.leaves[key], [share.copy for share in shares], shares)
            elif key in self.calls:
                yield self.how_it_arrived(self.calls[key], shares, self.words.node(shares[0].node))

    def has_arrived(self, key, shares):
        """Whether what came to a node is what was passed to it, in all; true where unknown."""
        if any(call.shares is None for call in self.watch.calls):
            return True  # the apply of this engine hands on by itself: nothing to compare
        passed = [share.copy for share in shares]
        calls = [call for call in self.calls.get(key, ()) if call.array is not None]
        if key in self.leaves and not calls:  # an engine that sets .grad by itself
            return self.has_stored(self.leaves[key], passed)
        if len({array.shape for array in passed + [call.copy for call in calls]}) > 1:
            return True  # see shapes
        return fits(total([call.copy for call in calls] or [0 * passed[0]]), passed)

    def has_stored(self, leaf, arrived):
        """Whether the .grad of a leaf is what it was, and what arrived, together."""
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        parts = [part for part in [before, *arrived] if part is not None]
        if len({part.shape for part in parts + [after] if part is not None}) > 1:
            return True  # see shapes
        return fits(after, parts) if after is not None else all(not part.any() for part in parts)

    def stored_unvisited(self, key):
        """Whether backward() set the .grad of a leaf by itself: its node was never visited."""
        leaf = self.leaves.get(key)
        return (leaf is not None and key not in self.calls and self.watch.changed_grad(leaf)
                and self.watch.after[id(leaf)] is not None)

    def senders(self, shares):
        """``the 1 from step 1 (Add) and the 2 from step 3 (Mul)``."""
        return in_a_row([f"the {show(share.copy)} from {self.words.call(share.call)}"
                         for share in shares])

    def why_unvisited(self, lost):
        """What the walk leaves out, as far as can be told: a sentence, or nothing."""
        before = [share.call.shares[:share.index] for share in lost]
        several = [call for call in self.watch.calls
                   if len({share.node for share in call.shares or () if share.node}) > 1]
        if unread():
            return unread()
        if len(several) > 1 and all(before) and not any(
                graph.key_of(share.node) in self.calls for call in several
                for share in call.shares[1:] if share.node is not None):
            return " Nowhere was more than the first entry of next_functions followed."
        if all(any(share.node is None for share in earlier) for earlier in before):
            return (" In next_functions a None, for a constant, comes first: pass over it, and go on "
                    "with the next entry.")
        if all(any(graph.is_leaf_node(share.node) for share in earlier) for earlier in before):
            return " In next_functions a leaf comes first: after its visit, go on with the next entry."
        if len(self.calls) == 1:
            return (" backward() did not go on from the first node: go on into each node of "
                    "next_functions; one that waits must be visited once its last gradient has come.")
        return ""

    def how_it_arrived(self, calls, shares, who):
        """Why what arrived at a visited node is not the sum of its shares."""
        calls = [call for call in calls if call.array is not None]
        for call in calls:
            giver = self.given_what_arrived(call)
            if giver is not None:
                own = [show(share.copy) for share in shares if share.call is giver]
                return (f"{who} was given {show(call.copy)} in step {call.step}, which is the gradient "
                        f"that had arrived in {self.words.call(giver)}, and not the {in_a_row(own)} that "
                        "this computed for it: pass on what apply returns.")
            for share in call.sources or ():
                if share.node is None or graph.key_of(share.node) != call.key:
                    return self.mispaired(share, call.node)
                if was_changed(share, call, self.watch.writes):
                    return self.changed(share, call)
        lost = [share for share in shares if not share.arrived_in]
        if all(call.sources is not None for call in calls):
            for share in lost:
                entry = graph.entries_of(share.call.node)[share.index:share.index + 1]
                if not entry or entry[0] is not share.node:
                    return self.mispaired(share)
            if lost:
                return self.lost(lost, calls, who)
            for share in shares:
                if len(share.arrived_in) > 1:
                    return (f"the {show(share.copy)} that {self.words.call(share.call)} passed to {who} "
                            f"was counted again: it arrived in {steps(share.arrived_in)}.")
        got = ", ".join(show(call.copy) for call in calls) or "something else"
        passed = total([share.copy for share in shares])
        return f"{show(passed)} was passed to {who} in all, but {got} arrived."

    def given_what_arrived(self, call):
        """The earlier call whose own gradient was handed on to ``call``, and not what it returned."""
        return next((giver for giver in self.watch.calls[:call.step - 1]
                     if giver.array is call.array and fits(call.copy, [giver.copy])
                     and call.node in graph.inputs_of(giver.node)
                     and not any(share.array is call.array for share in self.shares[call.key])), None)

    def lost(self, lost, calls, who):
        """Shares of one node that never arrived, though the node was visited."""
        sentence = (f"of the gradients passed to {who}, {self.senders(lost)} never arrived: {who} was "
                    f"visited in {steps(calls)} without {'them' if len(lost) > 1 else 'it'}.")
        sender = lost[0].call
        same = [share for share in sender.shares if share.node is lost[0].node]
        if len(same) > 1 and len(lost) < len(same):
            sentence += f" {self.words.node(sender.node)} uses it {len(same)} times: each use counts."
        return sentence

    def mispaired(self, share, node=None):
        """A share that went to another ``node`` than its own, and perhaps others of its call."""
        sender, entries = share.call, graph.entries_of(share.call.node)
        if any(entries[other.index:other.index + 1] != [other.node] for other in sender.shares):
            return (f"the gradients of {self.words.call(sender)} were paired with the wrong inputs: its "
                    f"next_functions has {len(entries)} of {len(sender.shares)} entries. Function.apply "
                    "must add None for a constant.")
        return (f"the {show(share.copy)} that {self.words.call(sender)} computed for "
                f"{self.words.argument(share.argument)} arrived at {self.words.node(node)}: each gradient "
                "that apply returns is for the entry of next_functions at the same place.")

    def changed(self, share, call):
        """A share that was written into on its way."""
        write = [write for write in self.watch.writes if write.array is share.array
                 and (write.call is None or write.call.step < call.step)][-1]
        name = graph.function_name(write.call.node)
        writer = (f"{name} in step {write.call.step}" if write.inside
                  else f"backward(), after step {write.call.step}")
        holders = [f"the gradient for {self.words.argument(other.argument)} from step {other.call.step}"
                   for sender in self.watch.calls for other in sender.shares or ()
                   if other is not share and shares_memory(other.array, share.array)]
        held = f", which is also {' and '.join(dict.fromkeys(holders[:2]))}" if holders else ""
        return (f"the {show(share.copy)} that {self.words.call(share.call)} passed to "
                f"{self.words.node(share.node)} was changed on the way, to "
                f"{show(content(share, call, self.watch.writes))}: {writer}, wrote into its array{held}. "
                "Others may hold a gradient that was passed on; make a new array instead.")

    def storing(self):
        """A leaf must hold what it held before and what arrived."""
        for key, leaf in self.leaves.items():
            arrived = [call.copy for call in self.calls.get(key, ()) if call.array is not None]
            if leaf.requires_grad and arrived and not self.has_stored(leaf, arrived):
                yield self.how_stored(leaf, arrived)

    def how_stored(self, leaf, parts, shares=()):
        """How the .grad of a leaf became what it is, and not the sum of ``parts``, which arrived; they
        are ``shares`` where backward() sets it by itself."""
        name, before, after = self.words.grad(leaf), self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        was, arrived = "None" if before is None else show(before), " and ".join(map(show, parts[:4]))
        if after is None:
            return f"{name} stayed None, though {arrived} arrived."
        for change in [change for change in self.watch.changes() if change.tensor is leaf]:
            if change.before is None:
                continue
            if change.after is None or not change.after.any():
                return (f"{name} held {show(change.before)} and was cleared; backward() must add to what "
                        "is there (zero_grad is for clearing).")
            if any(fits(change.after, [part]) for part in parts):
                return (f"{name} held {show(change.before)} and was replaced by {show(change.after)}"
                        f"{place_of_change(change)}. Gradients that meet must be added.")
        sentence = f"{name} was {was}, {arrived} arrived, and now it is {show(after)}: it should be their sum."
        array = getattr(self.watch.stored[id(leaf)], "data", None)
        others = [self.words.grad(other) for other in self.leaves.values() if other is not leaf
                  and shares_memory(array, getattr(self.watch.stored[id(other)], "data", None))]
        if others or any(write.array is share.array for write in self.watch.writes for share in shares):
            also = f", and {others[0]} is the same array" if others else ""
            return f"{sentence} It was added to in place{also}; make a new array instead."
        return sentence


def place_of_change(change):
    """Where a .grad was changed."""
    return f" in step {change.call.step}" if change.inside else " by backward() itself"


def total(arrays):
    """The sum of some ndarrays."""
    return sum(arrays[1:], arrays[0])


def steps(calls):
    """Their numbers: ``step 4``, ``step 4 and again in step 6``."""
    return " and again in ".join(f"step {call.step}" for call in calls)


def shares_memory(one, other):
    """Whether both are ndarrays, and writing into one may change the other."""
    return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.may_share_memory(one, other)


def unread():
    """A sentence if backward() does not look at next_functions, else nothing."""
    read = attributes_read()
    if "next_functions" in read:
        return ""
    instead = ", but it reads ctx.saved_tensors" * ("saved_tensors" in read)
    return (f" Nothing that backward() calls reads next_functions{instead}: the nodes of the inputs are "
            "in next_functions.")


def attributes_read():
    """Names of the attributes that the engine's backward() reads, and what it calls."""
    recorders = (autograd_engine.Function, getattr(autograd_engine, "ContextManager", None))
    functions = {}
    for owner in [autograd_engine, *vars(autograd_engine).values()]:
        if owner is autograd_engine or inspect.isclass(owner) and owner not in recorders:
            for name, value in vars(owner).items():
                functions.setdefault(name, []).append(value)
    unexplored, seen, found = [autograd_engine.backward.__code__], set(), set()
    while unexplored:
        code = unexplored.pop()
        if code not in seen:
            seen.add(code)
            found |= {step.argval for step in dis.get_instructions(code)
                      if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
            unexplored += [constant for constant in code.co_consts if inspect.iscode(constant)]
            unexplored += [function.__code__ for name in code.co_names
                           for function in functions.get(name, ()) if inspect.isfunction(function)
                           and function.__module__ == autograd_engine.__name__]
    return found


def differences(first, second, words):
    """What a second run on the same graph did otherwise, the first of it, as a list."""
    kept = "something is kept from one backward() to the next."
    if second.error:
        failed = second.calls[-1] if second.calls and second.calls[-1].error else None
        where = words.call(failed) if failed else "backward()"
        return [f"{AGAIN}{where} fails: {describe(second.error)}. What a node keeps must last: gradients "
                "may be asked for again, and are then added."]
    if len(second.calls) < len(first.calls):
        return [f"{AGAIN}{len(second.calls)} visits are made instead of {len(first.calls)}: {kept}"]
    for one, two in zip(first.calls, second.calls):
        if one.key != two.key:
            return []
        if one.copy is not None and two.copy is not None and not fits(two.copy, [one.copy]):
            return [f"{AGAIN}{show(two.copy)} arrives at {words.node(two.node)} instead of "
                    f"{show(one.copy)}: {kept}"]
        for share, other in zip(one.shares or (), two.shares or ()):
            if share.copy is not None and not fits(other.copy, [share.copy]):
                return [f"{AGAIN}{words.node(two.node)} makes {show(other.copy)} of the "
                        f"{show(two.copy)} that arrives, and not {show(share.copy)} as before: it "
                        "has changed what it had saved."]
    return []


def explain_error(watch, words):
    """The exception that ended a run, in a sentence or two."""
    error, call = watch.error, watch.calls[-1] if watch.calls else None
    frames = [entry for entry in traceback.walk_tb(error.__traceback__) if not is_ours(entry[0])]
    place = "{0.f_code.co_filename}:{1}".format(*frames[-1]).split("/")[-1] if frames else "?"
    what, ended = f"{describe(error)}, at {place}", "The run ended there"
    if isinstance(error, RecursionError):
        return f"{ended}: backward() calls itself without end ({place})."
    if call is not None and call.error is not None:
        name = graph.function_name(call.node)
        if isinstance(error, NotImplementedError):
            return f"{ended}: {name}.backward is not written yet ({error})."
        if call.grad is None:
            return (f"{ended}: None arrived at {words.node(call.node)}, so its apply fails ({what}). None "
                    "means no gradient; it must not be handed on.")
        return f"{ended}, in {name}: {what}."
    if went_into_none(error, [frame for frame, _ in frames]):
        return f"{ended}: backward() went on into None ({what})." + (
            unread() or " None in next_functions is for a constant, which gets no gradient: pass over it.")
    return f"{ended}: {what}." if call else f"backward() ended at once: {what}."


def went_into_none(error, frames):
    """Whether a function was called with None as its node, or an attribute of None was asked for."""
    names = ("apply", "next_functions", "function_name", "variable", "ctx")
    if isinstance(error, AttributeError) and "'NoneType'" in str(error):
        return any(f"'{name}'" in str(error) for name in names)
    code = frames[-1].f_code if frames else None
    return bool(code and code.co_argcount and len(frames) > 1
                and frames[-1].f_locals.get(code.co_varnames[0], code) is None)


def describe(error):
    """An exception in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
