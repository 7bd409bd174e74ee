"""The backward pass in motion: draw_backward makes a picture of each step of the trace.
What happens is what the student's own engine does, as watch.py sees it."""

import io

from mytorch.show import complaints, graph, paint
from mytorch.show.draw import Boxes, arrived, gradient
from mytorch.show.trace import addition
from mytorch.show.watch import fits
from mytorch.show.words import show, values

MILLISECONDS, MILLISECONDS_OF_THE_LAST, MAX_STEPS = 1500, 4500, 60
COLUMNS = 4  # of a strip


def draw_backward(tensor, /, filename="backward.gif", **names):
    """Show ``tensor.backward()`` step by step; every ``.grad`` is put back.

    There is a picture for each step of ``trace``: the node that runs and what it passes on are
    red, the gradients so far are written beside the arrows and in the boxes, and a line below
    says what happens. The last picture shows all steps with their numbers; if something is
    wrong, it says what, as ``trace`` does.

    Args:
        tensor (Tensor): where the backward pass starts.
        filename (str): ``.gif`` moves; ``.png``, ``.svg`` and ``.pdf`` show all steps at once.
        **names (Tensor or Module): what to call Tensors, as for ``draw``.

    Returns:
        matplotlib.figure.Figure: of a ``.gif`` the last picture, else all of them.

    Raises:
        RuntimeError, TypeError, ValueError: as ``draw``; ValueError for more than 60 steps, too.
        ImportError: if this Python has no matplotlib, or for ``.gif`` no Pillow.

    >>> a, b = Tensor(1., requires_grad=True), Tensor(2.)
    >>> d = a + a * b
    >>> draw_backward(d, "backward.gif", a=a, b=b, d=d)
    """
    pass_ = Pass(tensor, names)
    count = len(pass_.watch.calls)
    if count > MAX_STEPS:
        raise ValueError(f"draw_backward: the backward pass has {count} steps or more, too many "
                         f"to be watched (at most {MAX_STEPS}); draw a part of it")
    panels = [pass_.panel(step) for step in range(1, count + 1)] + [pass_.panel()]
    for panel in panels:
        panel.lines = max(other.lines for other in panels)
    if not str(filename).endswith(".gif"):
        return paint.paint(panels, filename, COLUMNS)
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("draw_backward needs Pillow to write a .gif, which this Python lacks: "
                          "pip install pillow, or give a name that ends in .png") from None
    figures = [paint.paint([panel]) for panel in panels]
    first, *others = [Image.open(io.BytesIO(paint.png_of(figure))) for figure in figures]
    first.save(str(filename), save_all=True, append_images=others, loop=0,
               duration=[MILLISECONDS] * count + [MILLISECONDS_OF_THE_LAST])
    return figures[-1]


def draw_after_backward(tensor, /, filename=None, **names):
    """Draw the last picture of ``draw_backward`` alone: all steps and what they pass on."""
    return paint.paint([Pass(tensor, names).panel()], filename)


class Pass:
    """A watched backward pass, to be shown up to any of its steps."""

    def __init__(self, tensor, names):
        self.tensor, self.names = tensor, names
        Boxes(tensor, names)  # refuses what cannot be drawn before anything runs
        self.judge, again = complaints.judge(tensor, graph.all_names(names))
        self.watch, self.words = self.judge.watch, self.judge.words
        self.wrong = self.judge.complaints + again + self.judge.ending

    def panel(self, step=None):
        """The graph after so many steps as a paint.Panel; after all if not given."""
        every, calls = self.watch.calls, self.watch.calls[:step]
        boxes, *others = [Boxes(self.tensor, self.names, self.lines(some))
                          for some in (calls, [], every)]
        for node, *twins in zip(boxes.drawn, *(other.drawn for other in others)):
            for twin in twins:  # as wide as it ever is, so that nothing moves
                paint.measure(twin)
            node.width = max(twin.width for twin in twins)
        for (node, _), label in self.labels(boxes, every).items():
            room = paint.width_of(label, paint.FONT) * (len(node.inputs) + 1)
            node.width = max(node.width, room)
        panel = paint.Panel(boxes.drawn, boxes.layers(),
                            caption=self.ending() if step is None else self.caption(calls[-1]))
        panel.labels = self.labels(boxes, calls)
        for call in calls:
            if call.key in boxes.by_key:
                panel.marks.setdefault(boxes.by_key[call.key], []).append(call.step)
        if step is not None:
            panel.active = {boxes.by_key.get(calls[-1].key), *self.labels(boxes, calls[-1:])}
        return panel

    def labels(self, boxes, calls):
        """What is written beside arrows: (Node, index of an arrow) → the gradient passed along it
        in these calls; nothing for one of many numbers, because the boxes tell its norm."""
        found = {}
        for call in calls:
            for share in call.shares:
                place = boxes.places.get((call.key, share.index))
                if place and share.copy is not None and share.node is not None:
                    found.setdefault(place, []).append(values(share.copy, 10) or "")
        return {place: " + ".join(texts[:3]) + " + …" * (len(texts) > 3) if all(texts) else ""
                for place, texts in found.items()}

    def lines(self, calls):
        """What boxes say of their gradients after these calls, by key."""
        found, sums = {graph.key_of(node): " " for node in self.watch.nodes}, arrived(calls)
        for node in self.watch.nodes:
            leaf, key, label = graph.leaf_of(node), graph.key_of(node), "gradient"
            if leaf is not None:
                stored = [change.after for change in self.watch.changes_of(leaf)
                          if change.call in calls]
                sums[key], label = stored[-1] if stored else self.watch.before[key], "grad ="
            mine = [call for call in calls if call.key == key]
            if key in sums:
                found[key] = sum_line(sums[key], mine, label)
        return found

    def caption(self, call):
        """What happens in a step, in one sentence."""
        who = f"step {call.step}: {self.words.node(call.node)}"
        if call.error is not None:
            return f"{who} fails: {complaints.describe(call.error)}"
        if graph.is_leaf_node(call.node):
            stored = [f"{self.words.grad(change.what)} = {show(change.after)}"
                      for change in self.watch.changes_in(call)]
            return f"{who} stores what has arrived: {', '.join(stored) or 'nothing'}"
        passed = [self.passing(share) for share in call.shares
                  if share.copy is not None and share.node is not None]
        return f"{who} passes {', and '.join(passed) or 'nothing on'}"

    def passing(self, share):
        """``2 to a; a has waited for it: 1 + 2 = 3``."""
        who = self.words.node(share.node)
        parts = share.arrived_in[0].sources if share.arrived_in else []
        if len(parts) < 2:
            lost = ", where it never arrives" * self.judge.is_lost(share)
            return f"{show(share.copy)} to {who}{lost}"
        if parts[-1] is share:
            return f"{show(share.copy)} to {who}; {who} has waited for it: {addition(parts)}"
        return f"{show(share.copy)} to {who}, which waits for another"

    def ending(self):
        """What is to be said of it all."""
        if self.wrong:
            return f"What is wrong: {self.wrong[0]}"
        if self.watch.error:
            return f"backward() is not written yet: {self.watch.error}"
        return f"all {len(self.watch.calls)} steps: each gradient that was passed on has arrived"


def sum_line(array, calls, label="grad ="):
    """``grad = 1 + 2 = 3`` where one call, whose gradient had come in parts, brought all."""
    if array is not None and array.size == len(calls) == 1 < len(calls[0].sources or ()) and fits(
            array, [calls[0].copy]):
        return f"{label} {addition(calls[0].sources)}"
    return gradient(array, label)
