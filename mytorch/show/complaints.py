"""What a watched backward pass did wrong, one sentence each; see watch.py for what was seen.
Only what no right engine of any style does is called wrong; where unsure, nothing is said."""

import inspect
import traceback

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.show.arrivals import content, find_sources, fits, total, was_changed
from mytorch.show.tracebacks import is_ours
from mytorch.show.words import in_a_row, show

AGAIN = "In a second backward() on the same graph, "
MAKE_NEW = "Others may hold a gradient that was passed on; make a new array instead."


def find_complaints(judge, second):
    """Sentences about what the run before a Judge did wrong.

    ``second`` watched the same once more, or is None: gradients of a second backward pass are
    added to those of the first, so it must do just the same.
    """
    found = judge.find()
    if second is not None and not found:
        again = Judge(second, judge.words).find_again(judge.watch)
        found = [AGAIN + sentence for sentence in again]
    return [sentence[0].upper() + sentence[1:] if sentence.split()[0] in ("the", "step")
            else sentence for sentence in dict.fromkeys(found)]


class Judge:
    """Looks for what is wrong in one Watch; its methods yield or return sentences."""

    def __init__(self, watch, words):
        self.watch, self.words = watch, words
        find_sources(watch)
        leaves = map(graph.leaf_of, watch.nodes)
        self.leaves = {id(leaf): leaf for leaf in leaves if leaf is not None}
        self.calls, self.shares = {}, {}  # by graph.key_of the node that they visit, or are for
        for call in watch.calls:
            self.calls.setdefault(call.key, []).append(call)
            for share in call.shares:
                if share.node is not None and share.array is not None:
                    self.shares.setdefault(graph.key_of(share.node), []).append(share)

    def find(self):
        """All that is wrong; of a run that did not come to its end, what came before."""
        found = [*self.start(), *self.wrong_kinds(), *self.shapes()]
        if not (self.watch.error or self.watch.stopped):
            found += [*self.handing_over(), *self.storing()]
        return found

    def find_again(self, first):
        """What is wrong with a second run, where there was nothing wrong with the ``first``."""
        if self.watch.error:
            return [f"{explain_error(self.watch, self.words)} What a node keeps must last: "
                    "gradients may be asked for again, and are then added."]
        return self.find() or [
            f"{self.words.node(call.node)} makes {show(now.copy)} of the {show(call.copy)} that "
            f"arrives, and not {show(was.copy)} as before: it has changed what it had saved."
            for before, call in zip(first.calls, self.watch.calls) if before.key == call.key
            for was, now in zip(before.shares, call.shares)
            if was.copy is not None and not fits(now.copy, [was.copy])][:1]

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
            kind = ""
            if stored is None or not self.watch.changes_of(tensor):
                continue
            if not tensor.requires_grad:
                kind = "but constants (requires_grad is False) get no gradient" + (
                    "; Function.apply made an AccumulateGrad where None belongs"
                    * (id(tensor) in self.leaves))
            elif tensor.grad_fn is not None and not graph.is_leaf_node(tensor.grad_fn):
                kind = "but results of operations store no gradient; only leaves do"
            elif not hasattr(stored, "requires_grad"):
                kind = f"which is of type {type(stored).__name__}; it should be a Tensor"
            kinds.setdefault(kind, {})[self.words.tensor(tensor)] = None
        for kind, names in kinds.items():
            if kind:
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
                yield (f"{self.words.call(share.call)} passed a gradient of shape "
                       f"{share.array.shape} to {self.words.tensor(leaf)}, whose shape is "
                       f"{shape}; what broadcasting repeated must be summed up.")

    def handing_over(self):
        """What was passed to each node must arrive there, in one sum or in several parts."""
        wrong = {key: shares for key, shares in self.shares.items()
                 if not self.has_arrived(key, shares)}
        lost = [share for key, shares in wrong.items() for share in shares
                if key not in self.calls and not self.stored_unvisited(key)]
        if lost:
            who = list(dict.fromkeys(self.words.node(share.node) for share in lost))
            yield (f"{in_a_row(who)} {'were' if len(who) > 1 else 'was'} never visited, so "
                   f"{self.senders(lost)} never arrived.{self.why_unvisited(lost)}")
        for key, shares in wrong.items():
            if self.stored_unvisited(key):
                yield self.how_stored(self.leaves[key], [share.copy for share in shares], shares)
            elif key in self.calls:
                yield self.how_it_arrived(self.calls[key], shares, self.words.node(shares[0].node))

    def has_arrived(self, key, shares):
        """Whether what came to a node is what was passed to it, in all; true where unknown."""
        if self.watch.hands_on:
            return True  # the apply of this engine hands on by itself: nothing to compare
        passed = [share.copy for share in shares]
        came = [call.copy for call in self.calls.get(key, ()) if call.array is not None]
        if key in self.leaves and not came:  # an engine that sets .grad by itself
            return self.has_stored(self.leaves[key], passed)
        if len({array.shape for array in passed + came}) > 1:
            return True  # see shapes
        return fits(total(came or [0 * passed[0]]), passed)

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
        return (leaf is not None and key not in self.calls and self.watch.changes_of(leaf)
                and self.watch.after[id(leaf)] is not None)

    def is_lost(self, share):
        """Whether a share of a run that came to its end is known never to have arrived."""
        key = graph.key_of(share.node)
        return not (share.arrived_in or self.watch.error or self.watch.stopped
                    or self.has_arrived(key, self.shares[key]) or self.stored_unvisited(key))

    def senders(self, shares):
        """``the 1 from step 1 (Add) and the 2 from step 3 (Mul)``."""
        return in_a_row([f"the {show(share.copy)} from {self.words.call(share.call)}"
                         for share in shares])

    def why_unvisited(self, lost):
        """What the walk leaves out, as far as can be told: a sentence, or nothing."""
        before = [share.call.shares[:share.index] for share in lost]
        if unread():
            return unread()
        if all(any(share.node is None for share in earlier) for earlier in before):
            return (" In next_functions a None, for a constant, comes first: pass over it, and go "
                    "on with the next entry.")
        if all(any(graph.is_leaf_node(share.node) for share in earlier) for earlier in before):
            return (" In next_functions a leaf comes first: after its visit, go on with the next "
                    "entry.")
        if all(before) and not any(share.index and share.arrived_in for call in self.watch.calls
                                   for share in call.shares):
            return " Nowhere was more than the first entry of next_functions followed."
        if len(self.calls) == 1:
            return (" backward() did not go on from the first node: go on into each node of "
                    "next_functions; one that waits must be visited once its last gradient came.")
        return ""

    def how_it_arrived(self, calls, shares, who):
        """Why what arrived at a visited node is not the sum of its shares."""
        calls = [call for call in calls if call.array is not None]
        for call in calls:
            giver = self.given_what_arrived(call)
            if giver is not None:
                return (f"{who} was given {show(call.copy)} in step {call.step}, which is the "
                        f"gradient that had arrived in {self.words.call(giver)}, and not the "
                        "share that this computed for it: pass on what apply returns.")
            for share in call.sources or ():
                if share.node is None or graph.key_of(share.node) != call.key:
                    return self.mispaired(share, call.node)
                if was_changed(share, call, self.watch.writes):
                    return self.changed(share, call)
        came = in_a_row([f"{show(call.copy)} in step {call.step}" for call in calls]) or "nothing"
        sentence = f"To {who} went {self.senders(shares)}, but what arrived was {came}."
        if all(call.sources is not None for call in calls):
            lost = [share for share in shares if not share.arrived_in]
            again = [share for share in shares if len(share.arrived_in) > 1]
            if any(graph.entries_of(share.call.node)[share.index:share.index + 1] != [share.node]
                   for share in lost):
                return self.mispaired(lost[0])
            if lost:
                sentence += f" T{self.senders(lost)[1:]} never arrived."
                if len({share.call.step for share in shares}) < len(shares):
                    sentence += " Each use of a Tensor counts, also by one operation."
            elif again:
                sentence += f" T{self.senders(again)[1:]} counted twice."
        return sentence

    def given_what_arrived(self, call):
        """The earlier call whose own gradient was handed on to ``call``, not what it returned."""
        if any(share.array is call.array for share in self.shares[call.key]):
            return None
        return next((giver for giver in self.watch.calls[:call.step - 1]
                     if giver.array is call.array and fits(call.copy, [giver.copy])
                     and call.node in graph.inputs_of(giver.node)), None)

    def mispaired(self, share, node=None):
        """A share that went to another ``node`` than its own, and perhaps others of its call."""
        sender, entries = share.call, graph.entries_of(share.call.node)
        if any(entries[other.index:other.index + 1] != [other.node] for other in sender.shares):
            return (f"the gradients of {self.words.call(sender)} were paired with the wrong "
                    f"inputs: its next_functions has {len(entries)} of {len(sender.shares)} "
                    "entries. Function.apply must add None for a constant.")
        return (f"the {show(share.copy)} that {self.words.call(sender)} computed for "
                f"{self.words.argument(share.argument)} arrived at {self.words.node(node)}: a "
                "gradient that apply returns is for the entry of next_functions at its place.")

    def changed(self, share, call):
        """A share that was written into on its way."""
        write = [write for write in self.watch.writes if write.what is share.array
                 and (write.call is None or write.call.step < call.step)][-1]
        name, step = graph.function_name(write.call.node), write.call.step
        writer = f"{name} in step {step}" if write.inside else f"backward(), after step {step}"
        return (f"the {show(share.copy)} that {self.words.call(share.call)} passed to "
                f"{self.words.node(share.node)} was changed on the way, to "
                f"{show(content(share, call, self.watch.writes))}: {writer}, wrote into its "
                f"array. {MAKE_NEW}")

    def storing(self):
        """A leaf must hold what it held before and what arrived."""
        for key, leaf in self.leaves.items():
            arrived = [call.copy for call in self.calls.get(key, ()) if call.array is not None]
            if leaf.requires_grad and arrived and not self.has_stored(leaf, arrived):
                yield self.how_stored(leaf, arrived)

    def how_stored(self, leaf, parts, shares=()):
        """How the .grad of a leaf became what it is, and not the sum of ``parts``, which arrived;
        they are ``shares`` where backward() sets it by itself."""
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        name = self.words.grad(leaf)
        arrived = " and ".join(map(show, parts[:4]))
        if after is None:
            return f"{name} stayed None, though {arrived} arrived."
        for change in self.watch.changes:
            if change.what is leaf and change.before is not None:
                where = f"in step {change.call.step}" if change.inside else "by backward() itself"
                if change.after is None or not change.after.any():
                    return (f"{name} held {show(change.before)} and was cleared {where}; "
                            "backward() must add to what is there (zero_grad is for clearing).")
                if any(fits(change.after, [part]) for part in parts):
                    return (f"{name} held {show(change.before)} and was replaced {where} by "
                            f"{show(change.after)}. Gradients that meet must be added.")
        sentence = (f"{name} was {show(before)}, {arrived} arrived, and now it is {show(after)}: "
                    "it should be their sum.")
        array = getattr(self.watch.stored[id(leaf)], "data", None)
        for other in self.leaves.values():
            held = getattr(self.watch.stored[id(other)], "data", None)
            if other is not leaf and isinstance(array, np.ndarray) and (
                    isinstance(held, np.ndarray) and np.may_share_memory(array, held)):
                return f"{sentence} {self.words.grad(other)} is the same array. {MAKE_NEW}"
        if any(write.what is share.array for write in self.watch.writes for share in shares):
            return f"{sentence} It was added to in place. {MAKE_NEW}"
        return sentence


def unread():
    """A sentence if nothing that backward() calls looks at next_functions, else nothing."""
    recorders = (autograd_engine.Function, getattr(autograd_engine, "ContextManager", None))
    functions = {}
    for owner in [autograd_engine, *vars(autograd_engine).values()]:
        if owner is autograd_engine or inspect.isclass(owner) and owner not in recorders:
            for name, value in vars(owner).items():
                if inspect.isfunction(value) and value.__module__ == autograd_engine.__name__:
                    functions.setdefault(name, []).append(value.__code__)
    unexplored, names, seen = functions.get("backward", [])[:1], set(), set()
    while unexplored:
        code = unexplored.pop()
        if code not in seen:
            seen.add(code)
            names.update(code.co_names)
            unexplored += [constant for constant in code.co_consts if inspect.iscode(constant)]
            unexplored += [other for name in code.co_names for other in functions.get(name, ())]
    if "next_functions" in names or not names:
        return ""
    instead = ", but it reads ctx.saved_tensors" * ("saved_tensors" in names)
    return (f" Nothing that backward() calls reads next_functions{instead}: the nodes of the "
            "inputs are in next_functions.")


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
        if not hasattr(call.grad, "requires_grad") and not (
                graph.is_leaf_node(call.node) and call.grad is not None):
            given, why = type(call.grad).__name__, "A gradient is handed on as a Tensor."
            if call.grad is None:
                given, why = "None", "None means no gradient; it must not be handed on."
            return (f"{ended}: {given} arrived at {words.node(call.node)}, so its apply fails "
                    f"({what}). {why}")
        return f"{ended}, in {name}: {what}."
    if went_into_none(error, [frame for frame, _ in frames]):
        return f"{ended}: backward() went on into None ({what})." + (unread() or (
            " None in next_functions is for a constant, which gets no gradient: pass over it."))
    return f"{ended}: {what}." if call else f"backward() ended at once: {what}."


def went_into_none(error, frames):
    """Whether a function was called with None as its node, or asked for an attribute of None."""
    if isinstance(error, KeyError) and error.args == (None,):
        return True  # in a dict of nodes
    names = ("apply", "next_functions", "function_name", "variable", "ctx")
    if isinstance(error, AttributeError) and "'NoneType'" in str(error):
        return any(f"'{name}'" in str(error) for name in names)
    code = frames[-1].f_code if frames else None
    return bool(code and code.co_argcount and len(frames) > 1
                and frames[-1].f_locals.get(code.co_varnames[0], code) is None)


def describe(error):
    """An exception in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
