"""The backward pass told step by step: trace runs the backward() that is there and tells it.
It is watched by watch.py and judged by complaints.py; explain returns what trace says is wrong."""

import textwrap

import numpy as np

from mytorch.show import complaints, graph, recording
from mytorch.show.watch import MAX_VISITS, fits, total, unseen
from mytorch.show.words import in_a_row, show
from mytorch.tensor import Tensor

NO_INPUTS = "no input, its next_functions is empty"
MAX_NODES, MAX_TOLD, MAX_TOLD_OF_STOPPED, WIDTH = 200, 200, 20, 80
SMALL_GRAPHS = (  # of leaves a and b and constants k and l, each of two numbers
    "z = a * b", "z = a * k", "z = k * a", "z = a + b", "z = (k + a) * b", "z = a * k + a",
    "z = a + a", "z = a * a", "p = a * k; z = p + p * l", "p = a * k; z = p * l + p",
    "p = a * b; q = p * a + p; z = q * p",
    "z = (a + b) + (b * k + a * l)", "z = (b * k + a * l) + (a + b)",
    "p = a * k; q = b * l; z = (p + q) + (p * l + q * k)")


def trace(tensor, /, **names):
    """Run ``tensor.backward()`` and print what it does, step by step; every ``.grad`` is put back.

    Each step is one call of a node's ``apply``. ``arrives`` is the gradient of its output, and
    from which step; ``passes`` what it computed for each of its inputs, and where that arrives;
    ``stores`` what happens to a leaf's ``.grad``. Up to six numbers are shown as they are, of
    more the shape and the norm. What went wrong is said at the end; to see what is left behind
    from one backward pass to the next, a second one runs unseen.

    Args:
        tensor (Tensor): where the backward pass starts, of any shape.
        **names (Tensor or Module): what to call Tensors; those of ``model=`` become
            ``model.0.weight`` and so on.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` is not a Tensor, or a named value neither Tensor nor Module.
        ValueError: if the graph has more than 200 nodes.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> trace(d, a=a, b=b, d=d)
    """
    names = graph.all_names(names)
    try:
        root = graph.start_node(tensor)
    except RuntimeError:
        found = recording.find_complaints()
        if not found:
            raise
        print("The tensor is outside any graph (its grad_fn is None).")
        return print("\n".join(wrapped("  * ", found)))
    count = len(graph.nodes_below(root))
    if count > MAX_NODES:
        raise ValueError(f"trace: the graph has {count} nodes, more than the {MAX_NODES} that a "
                         "person reads; trace a part, such as one layer or one round of a loop")
    print("\n".join(Story(tensor, names).lines).strip("\n"))


def explain(tensor, /, **names):
    """What ``trace(tensor, **names)`` would say is wrong with the engine, as a list of sentences.

    Runs ``tensor.backward()`` twice, watched, and puts back every ``.grad``; prints nothing of
    its own. An empty list means that each gradient that was passed on has arrived and was added.
    What an operation computes is not checked here, only what becomes of it.

    Args:
        tensor (Tensor): a small result, before its backward.
        **names (Tensor or Module): what to call Tensors.
    """
    names, found = graph.all_names(names), recording.find_complaints()
    if not isinstance(tensor, Tensor) or tensor.grad_fn is None:
        return found
    judged, again = complaints.judge(tensor, names)
    return found + judged.complaints + again + judged.ending


def explain_engine():
    """What is wrong with problem 1.2, as far as small graphs show it, the simplest first.

    For the grader: call it in the student's process, with ``mytorch.show`` importable; it takes
    a tenth of a second. It needs the operators ``+`` and ``*`` and leaves alone what they compute.

    Returns:
        tuple: code that made the first graph of which there is something to say, such as
        "z = a * b", or "" where it is about what ``apply`` records; and the list of sentences,
        such as ["b was never visited, so ..."]. ("", []) if nothing is wrong.
    """
    found = recording.find_complaints()
    if found:
        return "", found
    graphs = [(code, tensors) for code, tensors in map(small_graph, SMALL_GRAPHS) if tensors]
    for is_last in (False, True):  # at first without what a second backward() shows
        for code, tensors in graphs:
            with unseen():
                judged, again = complaints.judge(tensors["z"], tensors)
            found = judged.complaints + again * is_last + judged.ending
            if found:
                return code + "; z.backward(), again" * is_last, found
    return "", []


def small_graph(code):
    """Run a line of SMALL_GRAPHS: (it, dict of its Tensors by name), or None if it fails."""
    found = {name: Tensor(np.array([value, value + 2.0]), requires_grad=name in "ab")
             for name, value in zip("abkl", (2, 5, 11, 17))}
    try:
        exec(code, found)
    except Exception:
        return code, None  # an operator is not written yet, or fails: its own test tells
    found = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    return code, found if found["z"].grad_fn is not None else None


class Story:
    """A watched backward pass in words, as ``lines``."""

    def __init__(self, tensor, names):
        self.judge, again = complaints.judge(tensor, names)
        self.watch, self.words, self.lines = self.judge.watch, self.judge.words, []
        self.recorded_wrongly = recording.find_complaints()
        self.wrong = self.recorded_wrongly + self.judge.complaints + again
        calls = self.watch.calls
        if not calls:
            self.tell_nothing_done()
        told = calls[:MAX_TOLD_OF_STOPPED if self.watch.stopped else MAX_TOLD]
        for call in told:
            self.tell_call(call)
        if len(told) < len(calls):
            self.lines += ["", f"(and {len(calls) - len(told)} more visits)"]
        self.tell_end()

    def tell(self, verb, text):
        """Add a line of a step, wrapped below its verb."""
        self.lines += wrapped(f"     {verb:9}", [text])

    def tell_call(self, call):
        """Add a step: the node, what arrives, what is passed on or stored."""
        title = "AccumulateGrad of " * graph.is_leaf_node(call.node) + self.words.node(call.node)
        before = [other.step for other in self.watch.calls[:call.step - 1]
                  if other.node is call.node]
        again = f", visited again (before in step {before[-1]})" if before else ""
        self.lines += ["", f"{call.step:3}. {title}{again}"]
        self.tell("arrives", self.arrival(call))
        for share in call.shares:
            if share.array is not None or share.argument != (None, None):  # else it may be an axis
                self.tell("passes", self.passing(share))
        self.tell_changes(call)
        if call.error is not None:
            self.tell("fails", complaints.describe(call.error))

    def arrival(self, call):
        """What arrives at a node, and from which steps."""
        text = show(call.copy)
        if call.step == 1:
            return f"{text}, which backward() starts from"
        if not call.sources:
            return text
        if len(call.sources) == 1:
            source = call.sources[0]
            changed = not fits(call.copy, [source.copy])
            return (f"{text} from {self.words.call(source.call)}"
                    + f", which had passed {show(source.copy)}" * changed)
        steps = ", ".join(str(share.call.step) for share in call.sources)
        return f"{text}, the sum of what came from steps {steps}"

    def passing(self, share):
        """What a node passes to one of its inputs, and where that arrives."""
        who = self.words.argument(share.argument)
        if share.array is None or share.node is None:
            return f"nothing to {who}"
        if not share.arrived_in:
            lost = ", where it never arrives" * self.judge.is_lost(share)
            return f"{show(share.copy)} to {who}{lost}"
        there = share.arrived_in[0]
        parts, uses = there.sources, len(self.judge.places[there.key].shares)
        turn = ", so on to it" if there.step == share.call.step + 1 else (
            f"; its turn comes after step {there.step - 1}")
        if len(parts) > 1 and parts[-1] is not share:
            number = next(i for i, part in enumerate(parts, 1) if part is share)
            text = f"gradient {number} of {len(parts)}, so it waits (used {uses} times)"
        elif len(parts) > 1:
            text = f"gradient {len(parts)} of {len(parts)}, {addition(parts)}{turn}"
        elif uses == 1:
            text = f"its only gradient{turn}"
        else:
            text = f"one of {uses} gradients, which goes on alone"
        return f"{show(share.copy)} to {self.words.call(there)}: {text}"

    def tell_changes(self, call):
        """Add what happened to the .grad of a leaf, or of any other Tensor."""
        leaf, changes = graph.leaf_of(call.node), self.watch.changes_in(call)
        if leaf is not None and not any(change.what is leaf for change in changes):
            self.tell("stores", f"nothing: {self.words.grad(leaf)} stays as it is")
        for change in changes:
            name, came = self.words.grad(change.what), show(call.copy)
            was, now, by = show(change.before), show(change.after), ""
            if not change.inside:
                by = ", by backward()"
            elif change.what is not leaf:
                by = ", though this is another's node"
            if not by and change.before is not None and fits(
                    change.after, [change.before, call.copy]):
                self.tell("stores", f"{name} += {came}: {was} + {came} = {now}")
            else:
                self.tell("stores", f"{name} = {now} (it was {was}){by}")

    def tell_nothing_done(self):
        """Add that no node was visited, and the graph that apply recorded."""
        if isinstance(self.watch.error, NotImplementedError):
            self.lines.append(f"backward() is not written yet: {self.watch.error}.")
        self.lines += ["The graph that Function.apply recorded:", ""]
        for node in self.watch.nodes:
            if not graph.is_leaf_node(node):
                inputs = ", ".join(self.words.argument(argument) for argument
                                   in graph.arguments(node) if argument != (None, None))
                self.lines.append(f"    {self.words.node(node)}: from {inputs or NO_INPUTS}")
        for change in self.watch.changes_in(None):
            self.lines.append(f"    {self.words.grad(change.what)} = {show(change.after)}")

    def tell_end(self):
        """Add how it ended, and what was wrong."""
        watch, ending = self.watch, []
        if watch.stopped:
            ending.append(f"Stopped after {MAX_VISITS} visits. {self.visits()}")
        elif watch.error and (watch.calls or not isinstance(watch.error, NotImplementedError)):
            ending.append(complaints.explain_error(watch, self.words))
        elif watch.calls and not self.wrong:
            ending.append("That is what backward() did: each gradient that was passed on has "
                          "arrived.")
            if len(watch.calls) > len({id(call.node) for call in watch.calls}):
                ending.append(self.visits())
        self.lines += ["", *wrapped("", ending)]
        if self.wrong:
            self.lines += ["", "What is wrong:", *wrapped("  * ", self.wrong)]
        unreached = self.unreached()
        if unreached:
            it, its = ("them", "their") if len(unreached) > 1 else ("it", "its")
            self.lines += wrapped("", [
                f"The recorded graph does not lead to {in_a_row(unreached)}: the result was "
                f"computed without {it}, or from {its} .data, which is outside the graph."])
        self.lines += wrapped("", [f"Worth knowing: {note}" for note in recording.find_notes()])
        self.lines.append("Every .grad is as it was before the trace.")

    def visits(self):
        """How often nodes are visited, and how often they need be."""
        visits = {}
        for call in self.watch.calls:
            visits.setdefault(id(call.node), []).append(call.node)
        most = max(visits.values(), key=lambda nodes: (
            len(nodes) > 1, not graph.is_leaf_node(nodes[0]), len(nodes)))
        who, times = self.words.node(most[0]), f"{len(most)} times"
        paths = graph.count_paths(self.watch.root)
        if len(self.watch.calls) > paths:
            return f"{who} was visited {times}, though there are only {paths} paths in all."
        return (f"{who} was visited {times}, each time with one path's share: one visit for each "
                f"path makes {paths:,} in all. Waiting until all gradients of a node are there, "
                f"and visiting it once with their sum, would take {len(self.watch.nodes)}.")

    def unreached(self):
        """Names of leaves that require grad but are not in the graph, though it is whole."""
        reached = [graph.leaf_of(node) for node in self.watch.nodes]
        return [name for name, tensor in self.words.names.items()
                if not self.recorded_wrongly and tensor.requires_grad and tensor.is_leaf
                and (tensor.grad_fn is None or graph.is_leaf_node(tensor.grad_fn))
                and not any(leaf is tensor for leaf in reached)]


def addition(parts):
    """``1 + 2 = 3`` for a few small gradients, else the sum alone."""
    copies = [part.copy for part in parts]
    if len(copies) < 5 and copies[0].size <= 6:
        return f"{' + '.join(map(show, copies))} = {show(total(copies))}"
    return f"the sum is {show(total(copies))}"


def wrapped(bullet, sentences):
    """Lines of sentences, each behind a bullet; an arrow stays with what it points to."""
    lines = [line for sentence in sentences for line in textwrap.wrap(
        sentence.replace(" -> ", "\0->\0"), WIDTH, initial_indent=bullet,
        subsequent_indent=" " * len(bullet), break_on_hyphens=False)]
    return [line.replace("\0", " ") for line in lines]
