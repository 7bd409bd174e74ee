"""What a watched backward pass did wrong, one sentence each; see watch.py for what was seen.
Only what no right engine of any style does is called wrong; where unsure, nothing is said."""

import inspect
import traceback

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.show.tracebacks import is_ours
from mytorch.show.watch import MAX_VISITS, array_of, content, fits, total, watch_twice
from mytorch.show.words import Words, in_a_row, show

AGAIN = "In a second backward() on the same graph, "
MAKE_NEW = "Others may hold a gradient that was passed on; make a new array instead."


def judge(tensor, names):
    """Watch ``tensor.backward()`` twice, and judge it; every ``.grad`` is put back.

    Args:
        names (dict): Tensors by name.

    Returns:
        tuple: the Judge of the first run, and the list of sentences about what a second one did
        wrong where the first did nothing wrong: its gradients are added to those of the first,
        so it must do just the same.
    """
    first, second = watch_twice(tensor, names)
    found = Judge(first, Words(names))
    if second is None or found.complaints:
        return found, []
    return found, [AGAIN + sentence for sentence in found.compare(Judge(second, found.words))]


class Place:
    """A node, or all nodes of one leaf: what was passed to it, and the calls that visited it."""

    def __init__(self, node):
        self.node, self.leaf, self.shares, self.calls = node, graph.leaf_of(node), [], []

    def passed(self):
        """The arrays that were passed to it."""
        return [share.copy for share in self.shares]

    def came(self):
        """The arrays that it was visited with."""
        return [call.copy for call in self.calls if call.array is not None]


class Judge:
    """What is wrong in one Watch.

    Attributes:
        places (dict): graph.key_of a node → its Place.
        complaints (list of str): of a run that did not end well, about what came before; ``found``
            are the same in the middle of a sentence.
        ending (list of str): a sentence about a run that did not end well.
    """

    def __init__(self, watch, words):
        self.watch, self.words = watch, words
        self.places, self.ending = {}, []
        for call in watch.calls:
            self.place(call.node).calls.append(call)
            for share in call.shares:
                if share.node is not None and share.array is not None:
                    self.place(share.node).shares.append(share)
        self.leaves = [place for place in map(self.place, watch.nodes) if place.leaf is not None]
        self.found = [*self.start(), *self.wrong_kinds(), *self.shapes()]
        if not (watch.error or watch.stopped):
            self.found += [*self.handing_over(), *self.storing()]
        self.complaints = [sentence[0].upper() + sentence[1:] if sentence.split()[0] in (
            "the", "step") else sentence for sentence in dict.fromkeys(self.found)]
        if watch.stopped and len(watch.calls) > graph.count_paths(watch.root):
            self.ending = [f"backward() does not end: it was stopped after {MAX_VISITS} visits."]
        if watch.error and not isinstance(watch.error, NotImplementedError):
            self.ending = [explain_error(watch, words)]

    def place(self, node):
        """The Place of a node, made at its first use."""
        return self.places.setdefault(graph.key_of(node), Place(node))

    def compare(self, second):
        """What is wrong with a second run, given as a Judge; of this one nothing is."""
        if second.watch.error:
            return [f"{explain_error(second.watch, self.words)} What a node keeps must last: "
                    "gradients may be asked for again, and are then added."]
        return second.found or [
            f"{self.words.node(call.node)} makes {show(now.copy)} of the {show(call.copy)} that "
            f"arrives, and not {show(was.copy)} as before: it has changed what it had saved."
            for before, call in zip(self.watch.calls, second.watch.calls) if before.key == call.key
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
            if stored is None or not self.watch.changes_of(tensor):
                continue
            if not tensor.requires_grad:
                kind = "but constants (requires_grad is False) get no gradient" + (
                    "; Function.apply made an AccumulateGrad where None belongs"
                    * (id(tensor) in self.places))
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
        for place in self.leaves:
            after, shape = self.watch.after[id(place.leaf)], place.leaf.data.shape
            kept = after is not None and after.shape != shape
            wrong = [share for share in place.shares if share.array.shape != shape]
            if kept and not wrong:
                yield (f"{self.words.grad(place.leaf)} has shape {after.shape}, but "
                       f"{self.words.tensor(place.leaf)} has shape {shape}.")
            for share in wrong if kept or self.watch.error else ():
                yield (f"{self.words.call(share.call)} passed a gradient of shape "
                       f"{share.array.shape} to {self.words.tensor(place.leaf)}, whose shape is "
                       f"{shape}; what broadcasting repeated must be summed up.")

    def handing_over(self):
        """What was passed to each node must arrive there, in one sum or in several parts."""
        wrong = [place for place in self.places.values() if not self.has_arrived(place)]
        lost = [share for place in wrong for share in place.shares
                if not place.calls and not self.is_set_unvisited(place)]
        if lost:
            who = list(dict.fromkeys(self.words.node(share.node) for share in lost))
            yield (f"{in_a_row(who)} {'were' if len(who) > 1 else 'was'} never visited, so "
                   f"{self.senders(lost)} never arrived.{self.why_unvisited(lost)}")
        for place in wrong:
            if self.is_set_unvisited(place):
                yield self.how_stored(place.leaf, place.passed())
            elif place.calls:
                yield self.how_it_arrived(place)

    def has_arrived(self, place):
        """Whether what came to a node is what was passed to it, in all; true where unknown."""
        passed, came = place.passed(), place.came()
        if not passed:
            return True  # also where apply hands on by itself
        if place.leaf is not None and not came:  # an engine that sets .grad by itself
            return self.has_stored(place.leaf, passed)
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

    def is_set_unvisited(self, place):
        """Whether backward() set the .grad of a leaf by itself: its node was never visited."""
        return (place.leaf is not None and not place.calls and self.watch.changes_of(place.leaf)
                and self.watch.after[id(place.leaf)] is not None)

    def is_lost(self, share):
        """Whether a share of a run that came to its end is known never to have arrived."""
        place = self.place(share.node)
        return not (share.arrived_in or self.watch.error or self.watch.stopped
                    or self.has_arrived(place) or self.is_set_unvisited(place))

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
        if len({call.key for call in self.watch.calls}) == 1:
            return (" backward() did not go on from the first node: go on into each node of "
                    "next_functions; one that waits must be visited once its last gradient came.")
        return ""

    def how_it_arrived(self, place):
        """Why what arrived at a visited node is not the sum of its shares."""
        calls, who = [call for call in place.calls if call.array is not None], self.words.node(
            place.node)
        for call in calls:
            giver = self.given_what_arrived(call, place)
            if giver is not None:
                return (f"{who} was given {show(call.copy)} in step {call.step}, which is the "
                        f"gradient that had arrived in {self.words.call(giver)}, and not the "
                        "share that this computed for it: pass on what apply returns.")
            for share in call.sources or ():
                if share.node is None or graph.key_of(share.node) != call.key:
                    return self.mispaired(share, call.node)
                if not fits(content(share, call, self.watch.writes), [share.copy]):
                    return self.changed(share, call)
        came = in_a_row([f"{show(call.copy)} in step {call.step}" for call in calls]) or "nothing"
        sentence = f"To {who} went {self.senders(place.shares)}, but what arrived was {came}."
        if all(call.sources is not None for call in calls):
            lost = [share for share in place.shares if not share.arrived_in]
            again = [share for share in place.shares if len(share.arrived_in) > 1]
            if any(not is_in_its_place(share) for share in lost):
                return self.mispaired(lost[0])
            if lost:
                sentence += f" T{self.senders(lost)[1:]} never arrived."
                if len({share.call.step for share in place.shares}) < len(place.shares):
                    sentence += " Each use of a Tensor counts, also by one operation."
            elif again:
                sentence += f" T{self.senders(again)[1:]} counted twice."
        return sentence

    def given_what_arrived(self, call, place):
        """The earlier call whose own gradient was handed on to ``call``, not what it returned."""
        if any(share.array is call.array for share in place.shares):
            return None
        return next((giver for giver in self.watch.calls[:call.step - 1]
                     if giver.array is call.array and fits(call.copy, [giver.copy])
                     and call.node in graph.inputs_of(giver.node)), None)

    def mispaired(self, share, node=None):
        """A share that went to another ``node`` than its own, and perhaps others of its call."""
        sender = share.call
        if not all(map(is_in_its_place, sender.shares)):
            return (f"the gradients of {self.words.call(sender)} were paired with the wrong "
                    f"inputs: its next_functions has {len(graph.entries_of(sender.node))} of "
                    f"{len(sender.shares)} entries. Function.apply must add None for a constant.")
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
                f"{self.words.node(share.node)} was changed on the way, to {show(write.after)}: "
                f"{writer}, wrote into its array. {MAKE_NEW}")

    def storing(self):
        """A leaf must hold what it held before and what arrived."""
        for place in self.leaves:
            if place.leaf.requires_grad and place.came() and not self.has_stored(
                    place.leaf, place.came()):
                yield self.how_stored(place.leaf, place.came())

    def how_stored(self, leaf, arrived):
        """How the .grad of a leaf became what it is, and not the sum of what arrived."""
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        name, came = self.words.grad(leaf), " and ".join(map(show, arrived[:4]))
        if after is None:
            return f"{name} stayed None, though {came} arrived."
        for change in self.watch.changes_of(leaf):
            if change.before is not None:
                where = f"in step {change.call.step}" if change.inside else "by backward() itself"
                if change.after is None or not change.after.any():
                    return (f"{name} held {show(change.before)} and was cleared {where}; "
                            "backward() must add to what is there (zero_grad is for clearing).")
                if any(fits(change.after, [part]) for part in arrived):
                    return (f"{name} held {show(change.before)} and was replaced {where} by "
                            f"{show(change.after)}. Gradients that meet must be added.")
        sentence = (f"{name} was {show(before)}, {came} arrived, and now it is {show(after)}: "
                    "it should be their sum.")
        stored = array_of(self.watch.stored[id(leaf)])
        for other in [place.leaf for place in self.leaves if place.leaf is not leaf]:
            held = array_of(self.watch.stored[id(other)])
            if held is not None and np.may_share_memory(stored, held):
                return f"{sentence} {self.words.grad(other)} is the same array. {MAKE_NEW}"
        return sentence


def is_in_its_place(share):
    """Whether next_functions has the node of a Share where apply returned the Share."""
    return graph.entries_of(share.call.node)[share.index:share.index + 1] == [share.node]


def unread():
    """A sentence if nothing that backward() calls looks at next_functions, else nothing."""
    recorders = (autograd_engine.Function, autograd_engine.ContextManager)
    owners = [autograd_engine, *(value for value in vars(autograd_engine).values()
                                 if inspect.isclass(value) and value not in recorders)]
    functions = [value for owner in owners for value in vars(owner).values()
                 if inspect.isfunction(value) and value.__module__ == autograd_engine.__name__]
    names, count = {"backward"}, 0
    while len(names) > count:
        count = len(names)
        names.update(*(names_in(function.__code__) for function in functions
                       if function.__name__ in names))
    if "next_functions" in names or count == 1:
        return ""
    instead = ", but it reads ctx.saved_tensors" * ("saved_tensors" in names)
    return (f" Nothing that backward() calls reads next_functions{instead}: the nodes of the "
            "inputs are in next_functions.")


def names_in(code):
    """The names of functions and attributes in code, and in functions defined there."""
    return set(code.co_names).union(*map(names_in, filter(inspect.iscode, code.co_consts)))


def explain_error(watch, words):
    """The exception that ended a run, in a sentence or two."""
    error, call = watch.error, watch.calls[-1] if watch.calls else None
    frames = [entry for entry in traceback.walk_tb(error.__traceback__) if not is_ours(entry[0])]
    place = "{0.f_code.co_filename}:{1}".format(*frames[-1]).split("/")[-1] if frames else "?"
    what, ended = f"{describe(error)}, at {place}", "The run ended there"
    if isinstance(error, RecursionError):
        return f"{ended}: backward() calls itself without end ({place})."
    if call is None:
        return f"backward() ended at once: {what}."
    if call.error is not None:
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
    return f"{ended}: {what}."


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
