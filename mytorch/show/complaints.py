"""What a watched backward pass did wrong, one sentence each; see watch.py for what was seen.
Only what no right engine does, of whatever style, is called wrong; where unsure, nothing is said."""

import dis
import inspect
import traceback
from pathlib import Path

import numpy as np

from mytorch import autograd_engine
from mytorch.show import graph
from mytorch.show.arrivals import content, find_sources, fits, was_changed
from mytorch.show.words import in_a_row, show

FOLDER = Path(__file__).resolve().parent


def find_complaints(judge, second):
    """Sentences about what the run before a Judge did wrong.

    ``second`` watched the same once more, or is None: gradients of a second backward pass are
    added to those of the first, so it must do just the same.
    """
    first, words = judge.watch, judge.words
    found = judge.start() + judge.wrong_kinds()
    if first.error or first.stopped:
        return found + judge.shapes()
    found += judge.nothing_done() + judge.handing_over() + judge.storing()
    if second is not None and not found:
        again = Judge(second, words, "In a second backward() on the same graph, ")
        found = differences(first, second, words) or again.handing_over() or again.storing()
    return list(dict.fromkeys(found))


class Judge:
    """Looks for what is wrong in one Watch; ``prefix`` opens each sentence."""

    def __init__(self, watch, words, prefix=""):
        self.watch, self.words, self.prefix = watch, words, prefix
        find_sources(watch)
        self.leaves = {id(leaf): leaf for leaf in map(graph.leaf_of, watch.nodes) if leaf is not None}
        self.said_to_share = set()
        self.calls, self.shares = {}, {}  # by graph.key_of the node that they visit, or are for
        for call in watch.calls:
            self.calls.setdefault(call.key, []).append(call)
            for share in call.shares or ():
                if share.node is not None and share.array is not None:
                    self.shares.setdefault(graph.key_of(share.node), []).append(share)

    def say(self, sentence):
        """A list with that sentence, whose first letter is large unless it is a name's."""
        is_name = sentence.split()[0] not in ("the", "of", "step", "an", "what")
        return [self.prefix + sentence if self.prefix or is_name
                else sentence[0].upper() + sentence[1:]]

    def start(self):
        """It must start from ones of the tensor's shape."""
        calls, shape = self.watch.calls, self.watch.tensor.data.shape
        if not calls or calls[0].key != graph.key_of(self.watch.root) or calls[0].copy is None:
            return []
        ones = calls[0].copy
        if ones.size == self.watch.tensor.data.size and np.all(ones == 1):
            return []
        return self.say(f"backward() starts from {show(ones)} of shape {ones.shape}; it should "
                        f"start from ones of the tensor's shape, {shape}.")

    def nothing_done(self):
        """It must run the first node, or store something at least."""
        if self.watch.calls or self.watch.changes():
            return []
        return self.say(f"backward() returned without running a node: nothing calls the apply of the "
                        f"first one, {self.words.node(self.watch.root)}.")

    def wrong_kinds(self):
        """Gradients on what is not a leaf, or of the wrong type."""
        kinds = {}
        for tensor in self.watch.tensors:
            kind = self.wrong_kind(tensor)
            if kind:
                kinds.setdefault(kind, []).append(self.words.tensor(tensor))
        return [sentence for kind, names in kinds.items()
                for sentence in self.say(f"{in_a_row(list(dict.fromkeys(names)))} {kind}")]

    def wrong_kind(self, tensor):
        """What is wrong with a Tensor's .grad, or None."""
        stored = self.watch.stored[id(tensor)]
        if stored is None or not self.watch.changed_grad(tensor):
            return None
        if not tensor.requires_grad:
            has_node = any(graph.leaf_of(node) is tensor for node in self.watch.nodes)
            return "got a .grad, but constants (requires_grad is False) get no gradient" + (
                "; Function.apply made an AccumulateGrad where None belongs." if has_node else ".")
        if tensor.grad_fn is not None and not graph.is_leaf_node(tensor.grad_fn):
            return "got a .grad, but results of operations store no gradient; only leaves do."
        if not hasattr(stored, "requires_grad"):
            return f"got a .grad of type {type(stored).__name__}; it should be a Tensor."
        return None

    def handing_over(self):
        """What was passed to each node must arrive there, in one sum or in several parts."""
        wrong = {key: shares for key, shares in self.shares.items()
                 if not self.has_arrived(key, shares)}
        unvisited = [share for key, shares in wrong.items() for share in shares
                     if key not in self.calls and not self.stored_unvisited(key)]
        found = self.unvisited(unvisited) if unvisited else []
        for key, shares in wrong.items():
            if key in self.calls or self.stored_unvisited(key):
                found += self.explain(key, shares)
        return found

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
        if not calls:
            return fits(0 * passed[0], passed)
        arrived = sum([call.copy for call in calls[1:]], calls[0].copy)
        return fits(arrived, passed)

    def has_stored(self, leaf, arrived):
        """Whether the .grad of a leaf is what it was, and what arrived, together."""
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        parts = [part for part in [before, *arrived] if part is not None]
        if len({part.shape for part in parts}) > 1 or after is not None and parts and (
                after.shape != parts[0].shape):
            return True  # see shapes
        return fits(after, parts) if after is not None else all(not part.any() for part in parts)

    def unvisited(self, lost):
        """Shares of nodes that were never visited."""
        who = in_a_row(list(dict.fromkeys(self.words.node(share.node) for share in lost)))
        senders = [f"the {show(share.copy)} from {self.words.call(share.call)}" for share in lost]
        was, it = ("was", "it") if len({share.node for share in lost}) == 1 else ("were", "them")
        return self.say(f"{who} {was} never visited, so {in_a_row(senders)}, passed to {it}, never "
                        f"arrived.{self.why_unvisited(lost)}")

    def why_unvisited(self, lost):
        """What the walk leaves out, as far as can be told: a sentence, or nothing."""
        before = [share.call.shares[:share.index] for share in lost]
        several = [call for call in self.watch.calls
                   if len({share.node for share in call.shares or () if share.node}) > 1]
        if len(several) > 1 and all(len(earlier) > 0 for earlier in before) and not any(
                graph.key_of(share.node) in self.calls for call in several
                for share in call.shares[1:] if share.node is not None):
            return " Nowhere was more than the first entry of next_functions followed."
        if unread():
            return unread()
        if all(any(share.node is None for share in earlier) for earlier in before):
            return (" In next_functions a None, for a constant, comes first: pass over it, and go on "
                    "with the next entry.")
        if all(any(graph.is_leaf_node(share.node) for share in earlier) for earlier in before):
            return (" In next_functions a leaf comes first: once it is visited, go on with the next "
                    "entry.")
        if len(self.calls) == 1:
            return (" backward() did not go on from the first node: go on into each node of "
                    "next_functions; one that waits must be visited once its last gradient has come.")
        return ""

    def explain(self, key, shares):
        """Why the gradients of one node did not arrive as they should, as a list of sentences."""
        calls = [call for call in self.calls.get(key, ()) if call.array is not None]
        who = self.words.node(shares[0].node)
        if self.stored_unvisited(key):
            return self.stored_by_backward(self.leaves[key], shares)
        for call in calls:
            giver = self.given_what_arrived(call)
            if giver is not None:
                own = [show(share.copy) for share in shares if share.call is giver]
                return self.say(
                    f"{who} was given {show(call.copy)} in step {call.step}, which is the gradient that "
                    f"had arrived in {self.words.call(giver)}, and not the {in_a_row(own)} that this "
                    "computed for it: pass on what apply returns.")
            for share in call.sources or ():
                if share.node is None or graph.key_of(share.node) != key:
                    return self.mispaired(share.call, share, call)
                if was_changed(share, call, self.watch.writes):
                    return self.changed(share, call)
        total = sum([share.copy for share in shares[1:]], shares[0].copy)
        got = ", ".join(show(call.copy) for call in calls) or "something else"
        in_all = self.say(f"{show(total)} was passed to {who} in all, but {got} arrived.")
        if any(call.sources is None for call in calls):
            return in_all
        lost = [share for share in shares if not share.arrived_in]
        for share in lost:
            entry = graph.entries_of(share.call.node)[share.index:share.index + 1]
            if not entry or entry[0] is not share.node:
                return self.mispaired(share.call)
        if lost:
            return self.lost(lost, calls, who)
        for share in shares:
            if len(share.arrived_in) > 1:
                return self.say(
                    f"the {show(share.copy)} that {self.words.call(share.call)} passed to {who} "
                    f"was counted again: it arrived in {steps(share.arrived_in)}.")
        return in_all

    def given_what_arrived(self, call):
        """The earlier call whose own gradient was handed on to ``call``, and not what it returned."""
        return next((giver for giver in self.watch.calls[:call.step - 1]
                     if giver.array is call.array and fits(call.copy, [giver.copy])
                     and call.node in graph.inputs_of(giver.node)
                     and not any(share.array is call.array for share in self.shares[call.key])), None)

    def stored_unvisited(self, key):
        """Whether backward() set the .grad of a leaf by itself: its node was never visited."""
        leaf = self.leaves.get(key)
        return (leaf is not None and key not in self.calls and self.watch.changed_grad(leaf)
                and self.watch.after[id(leaf)] is not None)

    def stored_by_backward(self, leaf, shares):
        """A leaf whose .grad backward() set by itself, to something else than the sum."""
        name, who = self.words.grad(leaf), self.words.node(shares[0].node)
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        passed = " and ".join(show(share.copy) for share in shares[:4])
        held = "" if before is None else f" and {name} held {show(before)}"
        were = "was" if len(shares) == 1 else "were"
        sentence = f"{passed} {were} passed to {who}{held}, but now {name} is {show(after)}: "
        written = [share for share in shares
                   if any(write.array is share.array for write in self.watch.writes)]
        if written:
            others = [self.words.grad(other) for other in self.leaves.values() if other is not leaf
                      and holds(self.watch.stored[id(other)], written[0].array)]
            also = f", which is also {' and '.join(others)}" * bool(others)
            return self.say(f"{sentence}backward() wrote into the array that was passed{also}. Others "
                            "may hold a gradient that was passed on; make a new array instead.")
        if any(fits(after, [share.copy]) for share in shares):
            return self.say(f"{sentence}backward() replaced what was there. Gradients that meet must "
                            "be added, as AccumulateGrad.apply does.")
        return self.say(f"{sentence}it should be the sum.")

    def lost(self, lost, calls, who):
        """Shares of one node that never arrived, though the node was visited."""
        senders = [f"the {show(share.copy)} from {self.words.call(share.call)}" for share in lost]
        sentence = (f"of the gradients passed to {who}, {in_a_row(senders)} never arrived: {who} was "
                    f"visited in {steps(calls)} without {'them' if len(lost) > 1 else 'it'}.")
        sender = lost[0].call
        same = [share for share in sender.shares if share.node is lost[0].node]
        if len(same) > 1 and len(lost) < len(same):
            sentence += f" {self.words.node(sender.node)} uses it {len(same)} times: each use counts."
        return self.say(sentence)

    def mispaired(self, sender, share=None, call=None):
        """A node whose gradients went to other inputs than theirs; ``share`` did, to ``call``."""
        entries = graph.entries_of(sender.node)
        parents = entries + [None] * (len(sender.shares) - len(entries))
        wrong = [other for other in sender.shares if parents[other.index] is not other.node]
        meets = [f", so the gradient for {self.words.argument(other.argument)} met "
                 f"{self.words.node(parents[other.index])}" for other in wrong
                 if parents[other.index] is not None]
        if wrong:
            return self.say(f"the gradients of {self.words.call(sender)} were paired with the wrong "
                            f"inputs: its next_functions has {len(entries)} of {len(sender.shares)} "
                            f"entries{meets[0] if meets else ''}. Function.apply must add None for a "
                            "constant.")
        return self.say(f"the {show(share.copy)} that {self.words.call(sender)} computed for "
                        f"{self.words.argument(share.argument)} arrived at {self.words.node(call.node)}: "
                        "each gradient that apply returns is for the entry of next_functions at the "
                        "same place.")

    def changed(self, share, call):
        """A share that was written into on its way."""
        write = [write for write in self.watch.writes if write.array is share.array
                 and (write.call is None or write.call.step < call.step)][-1]
        if write.inside:
            writer = f"{graph.function_name(write.call.node)} in step {write.call.step}"
        else:
            writer = f"backward(), after step {write.call.step}"
        all_shares = [other for call in self.watch.calls for other in call.shares or ()
                      if isinstance(other.array, np.ndarray) and other is not share]
        holders = [f"the gradient for {self.words.argument(other.argument)} from step {other.call.step}"
                   for other in all_shares if np.may_share_memory(other.array, share.array)]
        holders += [f"{self.words.grad(tensor)}" for tensor in self.watch.tensors
                    if holds(self.watch.stored[id(tensor)], share.array)]
        held = f", which is also {' and '.join(dict.fromkeys(holders[:3]))}" if holders else ""
        return self.say(
            f"the {show(share.copy)} that {self.words.call(share.call)} passed to "
            f"{self.words.node(share.node)} was changed on the way, to "
            f"{show(content(share, call, self.watch.writes))}: {writer}, wrote into its array{held}. "
            "Others may hold a gradient that was passed on; make a new array instead.")

    def storing(self):
        """A leaf must hold what it held before and what arrived."""
        found = self.shapes()
        for key, leaf in self.leaves.items():
            calls = [call for call in self.calls.get(key, ()) if call.array is not None]
            if leaf.requires_grad and calls and not self.has_stored(leaf, [call.copy for call in calls]):
                found += self.stored_wrongly(leaf, calls)
        return found

    def stored_wrongly(self, leaf, calls):
        """How the .grad of a leaf became what it is."""
        name = self.words.grad(leaf)
        before, after = self.watch.before[id(leaf)], self.watch.after[id(leaf)]
        if after is None:
            return self.say(f"{name} stayed None, though {show(calls[0].copy)} arrived.")
        for change in [change for change in self.watch.changes() if change.tensor is leaf]:
            if change.before is not None and (change.after is None or not change.after.any()):
                return self.say(f"{name} held {show(change.before)} and was cleared; backward() "
                                "must add to what is there (zero_grad is for clearing).")
            own = change.inside and change.call.key == id(leaf)
            if own and change.before is not None and fits(change.after, [change.call.copy]):
                return self.say(
                    f"{name} held {show(change.before)} and was replaced in step "
                    f"{change.call.step} by the {show(change.call.copy)} that arrived; they must "
                    "be added.")
            if not own and change.before is not None:
                sharing = [self.words.grad(other) for other in self.leaves.values() if
                           other is not leaf and shares_array(self.watch, leaf, other)]
                if name in self.said_to_share:
                    return []
                self.said_to_share |= set(sharing)
                why = f", because it is the same array as {sharing[0]}" if sharing else ""
                where = (f"in {self.words.call(change.call)}" if change.inside
                         else f"by backward(), after step {change.call.step}")
                return self.say(f"{name} changed from {show(change.before)} to "
                                f"{show(change.after)} {where}{why}. Store a copy.")
        was = "None" if before is None else show(before)
        arrived = " and ".join(show(call.copy) for call in calls[:4])
        return self.say(f"{name} was {was}, {arrived} arrived, and now it is {show(after)}: "
                        "it should be their sum.")

    def shapes(self):
        """Gradients whose shape is not the leaf's, where the leaf kept them or an error came."""
        found = []
        for key, leaf in self.leaves.items():
            after = self.watch.after[id(leaf)]
            kept = after is not None and after.shape != leaf.data.shape
            wrong = [share for share in self.shares.get(key, ())
                     if share.array.shape != leaf.data.shape]
            if kept and not wrong:
                found += self.say(f"{self.words.grad(leaf)} has shape {after.shape}, but "
                                  f"{self.words.tensor(leaf)} has shape {leaf.data.shape}.")
            for share in wrong if kept or self.watch.error else ():
                found += self.say(
                    f"{self.words.call(share.call)} passed a gradient of shape {share.array.shape} to "
                    f"{self.words.tensor(leaf)}, whose shape is {leaf.data.shape}; what broadcasting "
                    "repeated must be summed up.")
        return found


def steps(calls):
    """Their numbers: ``step 4``, ``step 4 and again in step 6``."""
    return " and again in ".join(f"step {call.step}" for call in calls)


def holds(grad, array):
    """Whether a stored .grad shares its memory with that ndarray."""
    held = getattr(grad, "data", grad)
    return isinstance(held, np.ndarray) and np.may_share_memory(held, array)


def shares_array(watch, leaf, other):
    """Whether two leaves have one array as their .grad."""
    array = getattr(watch.stored[id(leaf)], "data", None)
    return isinstance(array, np.ndarray) and holds(watch.stored[id(other)], array)


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
    for name, value in vars(autograd_engine).items():
        functions.setdefault(name, []).append(value)
        if inspect.isclass(value) and value not in recorders:
            for name, method in vars(value).items():
                functions.setdefault(name, []).append(method)
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
    again = "In a second backward() on the same graph, "
    if second.error:
        failed = second.calls[-1] if second.calls and second.calls[-1].error else None
        where = f"{words.call(failed)} fails" if failed else "backward() fails"
        return [f"{again}{where}: {describe(second.error)}. What a node keeps must last: gradients "
                "may be asked for again, and are then added."]
    if len(second.calls) < len(first.calls):
        return [f"{again}{len(second.calls)} visits are made instead of {len(first.calls)}: something "
                "is kept from one backward() to the next. Gradients may be asked for again, and are "
                "then added."]
    for one, two in zip(first.calls, second.calls):
        if one.key != two.key:
            return []
        if one.copy is not None and two.copy is not None and not fits(two.copy, [one.copy]):
            return [f"{again}{show(two.copy)} arrives at {words.node(two.node)} instead of "
                    f"{show(one.copy)}: something is kept from one backward() to the next."]
        for share, other in zip(one.shares or (), two.shares or ()):
            if share.copy is not None and not fits(other.copy, [share.copy]):
                return [f"{again}{words.node(two.node)} makes {show(other.copy)} of the "
                        f"{show(two.copy)} that arrives, and not {show(share.copy)} as before: it "
                        "has changed what it had saved."]
    return []


def explain_error(watch, words):
    """The exception that ended a run, in a sentence or two."""
    error, call = watch.error, watch.calls[-1] if watch.calls else None
    what = f"{describe(error)}, at {place_of(error)}"
    if isinstance(error, RecursionError):
        return f"The run ended there: backward() calls itself without end ({place_of(error)})."
    if call is not None and call.error is not None:
        name = graph.function_name(call.node)
        if isinstance(error, NotImplementedError):
            return f"The run ended there: {name}.backward is not written yet ({error})."
        if call.grad is None:
            return (f"The run ended there: None arrived at {words.node(call.node)}, so its apply "
                    f"fails ({what}). None means no gradient; it must not be handed on.")
        return f"The run ended there, in {name}: {what}."
    if went_into_none(error):
        return (f"The run ended there: backward() went on into None ({what})."
                + (unread() or " None in next_functions is for a constant, which gets no gradient: "
                               "pass over it."))
    return f"The run ended there: {what}." if call else f"backward() ended at once: {what}."


def went_into_none(error):
    """Whether a function was called with None as its node, or an attribute of None was asked for."""
    names = ("apply", "next_functions", "function_name", "variable", "ctx")
    if isinstance(error, AttributeError) and "'NoneType'" in str(error):
        if any(f"'{name}'" in str(error) for name in names):
            return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)
              if Path(frame.f_code.co_filename).parent != FOLDER]
    code = frames[-1].f_code if frames else None
    return bool(code and code.co_argcount and len(frames) > 1
                and frames[-1].f_locals.get(code.co_varnames[0], code) is None)


def describe(error):
    """An exception in a line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def place_of(error):
    """Where an exception was raised, outside this folder: file and line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if Path(frame.filename).parent != FOLDER]
    if not frames:
        return "an unknown place"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
