"""The backward pass told step by step: trace runs the backward() that is there and says what it did.
It is watched by watch.py and judged by faults.py; here it is told."""

import textwrap

from mytorch.show import faults, graph, probe
from mytorch.show.sources import fits
from mytorch.show.watch import MAX_VISITS, Watch, grads_put_back, unseen, watched_tensors
from mytorch.show.words import Words, show

NO_INPUTS = "no input, its next_functions is empty"
MAX_NODES, MAX_TOLD, MAX_TOLD_OF_STOPPED, WIDTH = 200, 200, 20, 100


def trace(tensor, /, **names):
    """Run ``tensor.backward()`` and print what it does, step by step; every ``.grad`` is put back.

    Each step is one call of a node's ``apply``. ``arrives`` is the gradient of its output, and
    from which step; ``passes`` what it computed for each of its inputs, and where that arrives;
    ``stores`` what happens to a leaf's ``.grad``. Up to six numbers are shown as they are, of
    more the shape and the norm. What went wrong stands at the end; to see what is left behind
    from one backward pass to the next, a second one runs unseen.

    Args:
        tensor (Tensor): where the backward pass starts, of any shape.
        **names (Tensor or Module): what to call Tensors; those of ``model=`` become
            ``model.0.weight`` and so on.

    Raises:
        RuntimeError: if ``tensor`` is outside any graph.
        TypeError: if ``tensor`` is no Tensor, or a named value neither Tensor nor Module.
        ValueError: if the graph has more than 200 nodes.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> trace(d, a=a, b=b, d=d)
    """
    names = graph.all_names(names)
    try:
        root = graph.start_node(tensor)
    except RuntimeError:
        recording = probe.find_faults()
        if not recording:
            raise
        print("The tensor is outside any graph (its grad_fn is None).")
        return print("\n".join(wrapped("  * ", recording)))
    count = len(graph.nodes_below(root))
    if count > MAX_NODES:
        raise ValueError(f"trace: the graph has {count} nodes, more than the {MAX_NODES} that a "
                         "person reads; trace a part, such as one layer or one round of a loop")
    tensors = watched_tensors(tensor, names)
    second = None
    with grads_put_back(tensors):
        first = Watch(tensor, tensors).run()
        if first.calls and not first.error and not first.stopped:
            with unseen():
                second = Watch(tensor, tensors).run()
    print("\n".join(Story(first, second, names).lines).strip("\n"))


class Story:
    """A watched backward pass in words, as ``lines``."""

    def __init__(self, first, second, names):
        self.watch, self.words, self.lines = first, Words(names), []
        judge = faults.Judge(first, self.words)
        self.faults = faults.find_faults(judge, second) + probe.find_faults()
        self.unsettled = {key for key, shares in judge.shares.items()
                          if not judge.has_arrived(key, shares) and not judge.stored_unvisited(key)}
        self.uses = {}  # by graph.key_of a node: how many gradients were passed to it
        for call in first.calls:
            for share in call.shares or ():
                if share.parent is not None and share.array is not None:
                    key = graph.key_of(share.parent)
                    self.uses[key] = self.uses.get(key, 0) + 1
        if not first.calls:
            self.tell_nothing_done()
        told = first.calls[:MAX_TOLD_OF_STOPPED if first.stopped else MAX_TOLD]
        for call in told:
            self.tell_call(call)
        if len(told) < len(first.calls):
            self.lines += ["", f"(and {len(first.calls) - len(told)} more visits)"]
        self.tell_end()

    def tell(self, verb, text):
        """Add a line of a step, wrapped below its verb."""
        self.lines += wrapped(f"     {verb:9}", [text])

    def tell_call(self, call):
        """Add a step: the node, what arrives, what is passed on or stored."""
        title = "AccumulateGrad of " * graph.is_leaf_node(call.node) + self.words.node(call.node)
        before = [other.step for other in self.watch.calls[:call.step - 1] if other.node is call.node]
        again = f", visited again (before in step {before[-1]})" if before else ""
        self.lines += ["", f"{call.step:3}. {title}{again}"]
        self.tell("arrives", self.arrival(call))
        for share in call.shares or ():
            self.tell_share(share)
        self.tell_changes(call)
        if call.error is not None:
            self.tell("fails", faults.describe(call.error))

    def arrival(self, call):
        """What arrives at a node, and from which steps."""
        text = show(call.copy)
        if call.step == 1:
            return f"{text}, which backward() starts from"
        if not call.sources:
            return text
        steps = [str(share.call.step) for share in call.sources]
        if len(steps) == 1:
            changed = not fits(call.copy, [call.sources[0].copy])
            return (f"{text} from {self.words.call(call.sources[0].call)}"
                    + f", which had passed {show(call.sources[0].copy)}" * changed)
        return f"{text}, the sum of what came from steps {', '.join(steps)}"

    def tell_share(self, share):
        """Add what a node passes to one of its inputs, and where that arrives."""
        argument = share.argument
        if argument is None or not argument.is_tensor:
            return None
        who = self.words.receiver(share)
        if share.array is None or argument.node is None:
            return self.tell("passes", f"nothing to {who}")
        if not share.arrived_in:
            is_lost = graph.key_of(argument.node) in self.unsettled and not (
                self.watch.error or self.watch.stopped)
            return self.tell("passes", f"{show(share.copy)} to {who}"
                             + ", where it never arrives" * is_lost)
        there = share.arrived_in[0]
        parts, uses = there.sources, self.uses[graph.key_of(share.parent)]
        turn = ", so on to it" if there.step == share.call.step + 1 else (
            f"; its turn comes after step {there.step - 1}")
        if len(parts) > 1 and parts[-1] is not share:
            number = next(i for i, part in enumerate(parts, 1) if part is share)
            text = f"gradient {number} of {len(parts)}, so it waits (it was used {uses} times)"
        elif len(parts) > 1:
            text = f"gradient {len(parts)} of {len(parts)}, {addition(parts)}{turn}"
        elif uses == 1:
            text = f"its only gradient{turn}"
        else:
            text = f"one of its {uses} gradients, which goes on alone"
        return self.tell("passes", f"{show(share.copy)} to {self.words.call(there)}: {text}")

    def tell_changes(self, call):
        """Add what happened to the .grad of a leaf, or of any other Tensor."""
        leaf = graph.leaf_of(call.node)
        if leaf is not None and not any(change.tensor is leaf for change in call.changes):
            self.tell("stores", f"nothing: {self.words.grad(leaf)} stays as it is")
        for change in call.changes:
            name = self.words.grad(change.tensor)
            by = "" if change.tensor is leaf and change.inside else (
                ", by backward()" if not change.inside else ", though this is another's node")
            if change.before is None:
                text = f"{name} = {show(change.after)} (it was None){by}"
            elif not by and change.after is not None and call.copy is not None and fits(
                    change.after, [change.before, call.copy]):
                text = (f"{name} += {show(call.copy)}: {show(change.before)} + "
                        f"{show(call.copy)} = {show(change.after)}{by}")
            else:
                text = f"{name} = {show(change.after)} (it was {show(change.before)}){by}"
            self.tell("stores", text)

    def tell_nothing_done(self):
        """Add that no node was visited, why, and the graph that apply recorded."""
        error = self.watch.error
        if isinstance(error, NotImplementedError):
            self.lines.append(f"backward() is not written yet: {error}.")
        elif error is None:
            self.lines.append("backward() returned without visiting a node.")
        self.lines += ["The graph that Function.apply recorded:", ""]
        for node in self.watch.nodes:
            if not graph.is_leaf_node(node):
                inputs = [self.words.argument(argument) for argument in graph.arguments(node)
                          if argument.is_tensor]
                self.lines.append(f"    {self.words.node(node)}: from {', '.join(inputs) or NO_INPUTS}")
        for change in self.watch.outside:
            self.lines.append(f"    {self.words.grad(change.tensor)} = {show(change.after)}")

    def tell_end(self):
        """Add how it ended, and what was wrong."""
        watch, ending = self.watch, []
        if watch.stopped:
            ending.append(f"Stopped after {MAX_VISITS} visits. {self.visits()}")
        elif watch.error and (watch.calls or not isinstance(watch.error, NotImplementedError)):
            ending.append(faults.explain_error(watch, self.words))
        elif watch.calls and not self.faults:
            ending.append("That is what backward() did: each gradient that was passed on has arrived.")
            if len(watch.calls) > len({id(call.node) for call in watch.calls}):
                ending.append(self.visits())
        self.lines += ["", *wrapped("", ending)]
        if self.faults:
            self.lines += ["", "What is wrong:", *wrapped("  * ", self.faults)]
        unreached = self.unreached()
        if unreached:
            it, its = ("them", "their") if len(unreached) > 1 else ("it", "its")
            self.lines += wrapped("", [
                f"The recorded graph does not lead to {faults.in_a_row(unreached)}: the result was "
                f"computed without {it}, or from {its} .data, which is outside the graph."])
        self.lines.append("Every .grad is as it was before the trace.")

    def visits(self):
        """How often nodes are visited, and how often they need be."""
        visits = {}
        for call in self.watch.calls:
            visits.setdefault(id(call.node), []).append(call.node)
        results = [nodes for nodes in visits.values() if not graph.is_leaf_node(nodes[0])]
        most = max(results or visits.values(), key=len)
        if len(most) == 1:
            most = max(visits.values(), key=len)
        who, times = self.words.node(most[0]), f"{len(most)} times"
        paths = count_paths(self.watch.root, {})
        if len(self.watch.calls) > paths:
            return f"{who} was visited {times}, though there are only {paths} paths in all."
        total = f"{paths if self.watch.stopped else len(self.watch.calls):,}"
        return (f"{who} was visited {times}, each time with one path's share: one visit for each "
                f"path makes {total} in all. Waiting until all gradients of a node are there, and "
                f"visiting it once with their sum, would take "
                f"{len(self.watch.nodes if self.watch.stopped else visits)}.")

    def unreached(self):
        """Names of leaves that want a gradient but are not in the graph, though it is whole."""
        if any(graph.inputs_without_nodes(node) or graph.is_of_result(node)
               for node in self.watch.nodes):
            return []  # apply has cut the graph, as is said among what is wrong
        reached = [graph.leaf_of(node) for node in self.watch.nodes]
        return [name for name, tensor in self.words.names.items()
                if tensor.requires_grad and tensor.is_leaf
                and (tensor.grad_fn is None or graph.is_leaf_node(tensor.grad_fn))
                and not any(leaf is tensor for leaf in reached)]


def count_paths(node, known):
    """How many visits it takes to go along every path below a node, itself counted."""
    if id(node) not in known:
        known[id(node)] = 1 + sum(count_paths(parent, known) for parent in graph.inputs_of(node))
    return known[id(node)]


def addition(parts):
    """``1 + 2 = 3`` for a few small gradients, else the sum alone."""
    copies = [part.copy for part in parts]
    total = show(sum(copies[1:], copies[0]))
    if len(copies) < 5 and copies[0].size <= 6:
        return f"{' + '.join(map(show, copies))} = {total}"
    return f"the sum is {total}"


def wrapped(bullet, sentences):
    """Lines of sentences, each behind a bullet; an arrow stays with what it points to."""
    lines = [line for sentence in sentences for line in textwrap.wrap(
        sentence.replace(" -> ", "\0->\0"), WIDTH, initial_indent=bullet,
        subsequent_indent=" " * len(bullet), break_on_hyphens=False)]
    return [line.replace("\0", " ") for line in lines]
