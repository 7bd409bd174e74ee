"""The backward pass told step by step: trace runs the backward() that is there and tells it.
It is watched by watch.py and judged by complaints.py."""

import textwrap

import numpy as np

from mytorch.show import complaints, graph
from mytorch.show.watch import MAX_VISITS, fits, total, unseen
from mytorch.show.words import in_a_row, show
from mytorch.tensor import Tensor

MAX_NODES, MAX_TOLD, WIDTH = 200, 20, 80
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
    count = len(graph.nodes_below(complaints.start_node(tensor)))
    if count > MAX_NODES:
        raise ValueError(f"trace: the graph has {count} nodes, more than the {MAX_NODES} that a "
                         "person reads; trace a part, such as one layer or one round of a loop")
    print("\n".join(Story(tensor, names).lines()))


def explain_engine():
    """What is wrong with problem 1.2, as far as small graphs show it, the simplest first.

    For the grader: call it in the student's process, with ``mytorch.show`` importable; it takes
    a tenth of a second. It needs the operators ``+`` and ``*`` and leaves alone what they compute.

    Returns:
        tuple: code that made the first graph of which there is something to say, such as
        "z = a * b", or "" where it is about what ``apply`` records; and the list of sentences,
        such as ["b was never visited, so ..."]. ("", []) if nothing is wrong.
    """
    found = complaints.find_unrecorded()
    if found:
        return "", found
    later = "", []  # what a second backward() shows
    for code in SMALL_GRAPHS:
        tensors = small_graph(code)
        if tensors:
            with unseen():
                judged = complaints.judge(tensors["z"], tensors)
            if isinstance(judged.watch.error, NotImplementedError):
                continue  # its own message tells
            if judged.complaints or judged.ending:
                return code, judged.complaints + judged.ending
            if judged.again and not later[1]:
                later = f"{code}; z.backward(), again", judged.again
    return later


def small_graph(code):
    """Run a line of SMALL_GRAPHS: its Tensors by name; none if it fails or records nothing."""
    found = {name: Tensor(np.array([value, value + 2.0]), requires_grad=name in "ab")
             for name, value in zip("abkl", (2, 5, 11, 17))}
    try:
        exec(code, found)
    except Exception:
        return {}  # an operator is not written yet, or fails: its own test tells
    found = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    return found if found["z"].grad_fn is not None else {}


class Story:
    """A watched backward pass in words.

    Attributes:
        judge (complaints.Judge): what was seen.
        wrong (list of str): what is wrong.
    """

    def __init__(self, tensor, names):
        self.judge = complaints.judge(tensor, names)
        self.watch, self.words = self.judge.watch, self.judge.words
        self.recorded_wrongly = complaints.find_unrecorded()
        self.wrong = self.recorded_wrongly + self.judge.complaints + self.judge.again

    def lines(self):
        """The lines that trace prints."""
        calls, told = self.watch.calls, self.watch.calls
        if not calls:
            yield from ["The graph that Function.apply recorded:", ""]
            for node in self.watch.nodes:
                if not graph.is_leaf_node(node):
                    inputs = [self.words.argument(argument) for argument in graph.arguments(node)
                              if graph.is_known(argument)]
                    yield f"    {self.words.node(node)}: from {', '.join(inputs)}"
            yield ""
        if self.watch.stopped:
            told = calls[:MAX_TOLD]
        for call in told:
            yield from [*self.step(call), ""]
        if len(told) < len(calls):
            yield from [f"(and {len(calls) - len(told)} more visits)", ""]
        yield from self.ending()
        for sentence in [*self.unreached(), *self.notes()]:
            yield from wrapped("", sentence)
        yield "Every .grad is as it was before the trace."

    def step(self, call):
        """The lines of a step: the node, what arrives, what is passed on or stored."""
        title = "AccumulateGrad of " * graph.is_leaf_node(call.node) + self.words.node(call.node)
        before = [other.step for other in self.watch.calls[:call.step - 1]
                  if other.node is call.node]
        again = f", visited again (before in step {before[-1]})" if before else ""
        told = [("arrives", self.arrival(call))]
        told += [("passes", self.passing(share)) for share in call.shares  # or it may be an axis
                 if share.array is not None or graph.is_known(share.argument)]
        told += [("stores", text) for text in self.storing(call)]
        if call.error is not None:
            told.append(("fails", complaints.describe(call.error)))
        return [f"{call.step:3}. {title}{again}"] + [
            line for verb, text in told for line in wrapped(f"     {verb:9}", text)]

    def arrival(self, call):
        """What arrives at a node, and from which steps."""
        text, sources = show(call.copy), call.sources or ()
        if call.step == 1:
            return f"{text}, which backward() starts from"
        if len(sources) > 1:
            steps = ", ".join(str(share.call.step) for share in sources)
            return f"{text}, the sum of what came from steps {steps}"
        return text + "".join(f" from {self.words.call(share.call)}" for share in sources)

    def passing(self, share):
        """What a node passes to one of its inputs, and where that arrives."""
        who = self.words.argument(share.argument)
        if share.array is None or share.node is None:
            return f"nothing to {who}"
        if not share.arrived_in:
            return f"{show(share.copy)} to {who}" + (
                ", where it never arrives" * self.judge.is_lost(share))
        there = share.arrived_in[0]
        parts, uses = there.sources, len(self.watch.places[there.key].shares)
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

    def storing(self, call):
        """What happened to the .grad of a leaf, or of any other Tensor, until the next step."""
        leaf = graph.leaf_of(call.node)
        changes = [change for change in self.watch.changes if change.call is call]
        if leaf is not None and not changes:
            yield f"nothing: {self.words.grad(leaf)} stays as it is"
        for change in changes:
            name, was, now = self.words.grad(change.what), show(change.before), show(change.after)
            if change.what is leaf and change.inside and change.before is not None and fits(
                    change.after, [change.before, call.copy]):
                yield f"{name} += {show(call.copy)}: {was} + {show(call.copy)} = {now}"
            else:
                yield f"{name} = {now} (it was {was})" + ", by backward()" * (not change.inside)

    def ending(self):
        """Lines on how it ended, and what is wrong."""
        calls, ending = self.watch.calls, list(self.judge.ending)
        if calls and not ending and not self.wrong:
            ending = [f"Stopped after {MAX_VISITS} visits." if self.watch.stopped else
                      "That is what backward() did: each gradient that was passed on has arrived."]
            if len(calls) > len({id(call.node) for call in calls}):
                ending.append(self.visits())
        lines = [line for sentence in ending for line in wrapped("", sentence)]
        if self.wrong:
            lines += ["What is wrong:"] + [
                line for sentence in self.wrong for line in wrapped("  * ", sentence)]
        return lines

    def notes(self):
        """What is recorded contrary to hw1/README.md, though no number is wrong."""
        leaves = [graph.leaf_of(node) for node in self.watch.nodes if graph.is_leaf_node(node)]
        if len(set(map(id, leaves))) < len(leaves):
            yield ("Worth knowing: A leaf gets a new AccumulateGrad at each use. If it keeps its "
                   "first one in grad_fn, its gradients can meet there.")
        if not all(leaf.requires_grad for leaf in leaves):
            yield ("Worth knowing: Constants get an AccumulateGrad too. Their entry in "
                   "next_functions should be None.")

    def visits(self):
        """Which node is visited most often, and how often nodes need be visited."""
        visited = [id(call.node) for call in self.watch.calls]
        most = max(self.watch.nodes, key=lambda node: (
            visited.count(id(node)) > 1, not graph.is_leaf_node(node), visited.count(id(node))))
        return (f"{self.words.node(most)} was visited {visited.count(id(most))} times, each time "
                "with one path's share: one visit for each path makes "
                f"{graph.count_paths(self.watch.root):,} in all. Waiting until all gradients of a "
                "node are there, and visiting it once with their sum, would take "
                f"{len(self.watch.nodes)}.")

    def unreached(self):
        """A sentence on leaves that require grad but are not in the graph, though it is whole."""
        reached = [id(graph.leaf_of(node)) for node in self.watch.nodes]
        names = [name for name, tensor in self.words.names.items()
                 if tensor.requires_grad and tensor.is_leaf and id(tensor) not in reached
                 and (tensor.grad_fn is None or graph.is_leaf_node(tensor.grad_fn))]
        if names and not self.recorded_wrongly:
            yield (f"The recorded graph does not lead to {in_a_row(names)}: the result was "
                   "computed without it, or from its .data, which is outside the graph.")


def addition(parts):
    """``1 + 2 = 3`` for a few small gradients, else the sum alone."""
    copies = [part.copy for part in parts]
    if len(copies) < 5 and copies[0].size <= 6:
        return f"{' + '.join(map(show, copies))} = {show(total(copies))}"
    return f"the sum is {show(total(copies))}"


def wrapped(bullet, sentence):
    """The lines of a sentence behind a bullet; an arrow stays with what it points to."""
    return [line.replace("\0", " ") for line in textwrap.wrap(
        sentence.replace(" -> ", "\0->\0"), WIDTH, initial_indent=bullet,
        subsequent_indent=" " * len(bullet), break_on_hyphens=False)]
