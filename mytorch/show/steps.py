"""The backward pass in motion: draw_backward makes a picture of each step of the trace.
What happens is what the student's own engine does, as watch.py sees it."""

from mytorch.show import graph, paint
from mytorch.show.draw import Boxes, gradient
from mytorch.show.trace import Story, addition
from mytorch.show.watch import fits, total
from mytorch.show.words import values

MAX_STEPS, COLUMNS = 60, 4


def draw_backward(tensor, /, filename="backward.gif", **names):
    """Show ``tensor.backward()`` step by step; every ``.grad`` is put back.

    There is a picture for each step of ``trace``, with its words below: the node that runs and
    what it passes on are red, the gradients so far are written beside the arrows and in the
    boxes. The last picture shows all steps with their numbers, and what is wrong, if anything is.

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
    return paint.paint([*map(pass_.panel, range(1, count + 1)), pass_.panel()], filename, COLUMNS)


class Pass:
    """A watched backward pass, to be shown up to any of its steps."""

    def __init__(self, tensor, names):
        self.tensor, self.names = tensor, graph.all_names(names)
        Boxes(tensor, self.names)  # refuses what cannot be drawn before anything runs
        self.story = Story(tensor, self.names)
        self.watch = self.story.watch

    def panel(self, step=None):
        """The graph after so many steps as a paint.Panel; after all if not given."""
        calls = self.watch.calls[:step]
        boxes = Boxes(self.tensor, self.names, {
            graph.key_of(node): self.line(node, calls) for node in self.watch.nodes})
        caption = self.story.ending() if step is None else self.story.step(calls[-1])
        panel = paint.Panel(boxes.drawn, caption, boxes.layers())
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
        for share in [share for call in calls for share in call.shares]:
            place = boxes.places.get((share.call.key, share.index))
            if place and share.copy is not None and share.node is not None:
                found.setdefault(place, []).append(values(share.copy, 10) or "")
        return {place: " + ".join(texts[:3]) + " + …" * (len(texts) > 3) if all(texts) else ""
                for place, texts in found.items()}

    def line(self, node, calls):
        """What a box says of its gradient after these calls; ``grad = 1 + 2 = 3`` where one call,
        whose gradient had come in parts, brought all."""
        leaf, label = graph.leaf_of(node), "gradient"
        mine = [call for call in calls if call.key == graph.key_of(node) and call.copy is not None]
        if leaf is not None:
            label, stored = "grad =", [change.after for change in self.watch.changes_of(leaf)
                                       if change.call in calls]
            array = stored[-1] if stored else self.watch.before[id(leaf)]
        elif mine:
            array = total([call.copy for call in mine if call.copy.shape == mine[-1].copy.shape])
        else:
            return " "  # so that the box is as high as it will be
        parts = mine[0].sources if len(mine) == 1 else None
        if parts and len(parts) > 1 and array.size == 1 and fits(array, [mine[0].copy]):
            return f"{label} {addition(parts)}"
        return gradient(array, label)
