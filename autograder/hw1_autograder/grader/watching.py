"""Watches a student's engine at work: what its nodes are given, and how tensors hang together.
It only records; where an engine is built otherwise than the handout's, it records less."""

import importlib
import linecache
import re
import sys
from pathlib import Path

import numpy as np

from grader.places import student_place


def array_of(value):
    """The ndarray of a Tensor; None for anything else."""
    array = getattr(value, "data", None)
    return array if hasattr(value, "requires_grad") and isinstance(array, np.ndarray) else None


class Call:
    """A call of a node's apply: the node, its name, the gradient, what that was before, and the
    student's lines that called it, the innermost and the outermost."""

    def __init__(self, node, grad, lines):
        self.node, self.grad = node, grad
        self.name = str(getattr(node, "function_name", type(node).__name__))[:60]
        array = array_of(grad)
        self.before = None if array is None else array.copy()
        self.inner, self.outer = (lines[0], lines[-1]) if lines else ("", "")
        self.changed = False  # by this call itself

    def is_another(self):
        """Whether the gradient's array holds other numbers than before; NaN is the same as NaN."""
        array = array_of(self.grad)
        return array is not None and array.tobytes() != self.before.tobytes()


class Made:
    """A Tensor that was made outside of an operation, by a student's line that had others at hand.

    Attributes:
        tensor: the new one.
        line (str): place and source.
        at_hand (dict): name in that line → Tensor.
    """

    def __init__(self, tensor, line, at_hand):
        self.tensor, self.line, self.at_hand = tensor, line, at_hand


class Watch:
    """Context in which the student's classes record what happens to them.

    Attributes:
        backward_calls, leaf_calls (list of Call): of BackwardFunction.apply, AccumulateGrad.apply.
        applications (list): (Function, list of its arguments), in their order.
        results: what the test returned that ran, for whoever runs it.
    """

    def __init__(self):
        self.root = Path(sys.path[0])
        self.backward_calls, self.leaf_calls, self.applications = [], [], []
        self.results = None
        self._made, self._leaves, self._starts, self._undo = [], [], [], []

    def __enter__(self):
        engine = importlib.import_module("mytorch.autograd_engine")
        tensor = importlib.import_module("mytorch.tensor").Tensor
        self._wrap(getattr(engine, "BackwardFunction", None), "apply", self._node(
            self.backward_calls))
        self._wrap(getattr(engine, "AccumulateGrad", None), "apply", self._node(self.leaf_calls))
        self._wrap(getattr(engine, "Function", None), "apply", self._application)
        self._wrap(tensor, "__init__", self._creation)
        self._wrap(tensor, "backward", self._start)
        return self

    def __exit__(self, *_):
        for cls, name, original in self._undo:
            setattr(cls, name, original)

    def _wrap(self, cls, name, record):
        original = vars(cls).get(name) if isinstance(cls, type) else None
        if isinstance(original, classmethod):
            call = original.__func__
            setattr(cls, name, classmethod(
                lambda *args, **options: record(call, args, options)))
        elif callable(original):
            setattr(cls, name, lambda *args, **options: record(original, args, options))
        else:
            return
        self._undo.append((cls, name, original))

    def _node(self, calls):
        def record(call, args, options):
            noted = Call(args[0], args[1] if len(args) > 1 else None, self._lines())
            calls.append(noted)
            try:
                return call(*args, **options)
            finally:
                noted.changed = noted.is_another()
        return record

    def _application(self, call, args, options):
        self.applications.append((args[0], list(args[1:])))
        return call(*args, **options)

    def _start(self, call, args, options):
        self._starts.append(args[0])
        return call(*args, **options)

    def _creation(self, call, args, options):
        result = call(*args, **options)
        try:
            self._note_creation(args[0])
        except Exception:
            pass
        return result

    def _note_creation(self, tensor):
        if getattr(tensor, "requires_grad", False) and tensor.is_leaf:
            self._leaves.append(tensor)
        at_hand, line, frame = {}, "", sys._getframe(1)
        while frame:
            code = frame.f_code
            if code.co_name in ("forward", "backward") and "ctx" in code.co_varnames[:1]:
                return  # within an operation
            place = student_place(code.co_filename, frame.f_lineno, self.root)
            if place and not line and code.co_name != "__init__":
                for name, value in frame.f_locals.items():
                    held = {name: value, **(vars(value) if name == "self" else {})}
                    at_hand.update((n, v) for n, v in held.items() if hasattr(v, "requires_grad"))
                if not place.startswith("mytorch/tensor.py"):
                    line = place + ":  " + linecache.getline(
                        code.co_filename, frame.f_lineno).strip()
            frame = frame.f_back
        if line:
            self._made.append(Made(tensor, line, at_hand))

    def _lines(self):
        """The student's lines that are being run, innermost first."""
        lines, frame = [], sys._getframe(1)
        while frame and len(lines) < 100:
            place = student_place(frame.f_code.co_filename, frame.f_lineno, self.root)
            if place:
                source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
                lines.append(f"{place}:  {source}")
            frame = frame.f_back
        return lines

    def place_of(self, filename, line):
        """``mytorch/nn/functional.py:12`` for a line of the student's code."""
        return student_place(filename, line, self.root)

    def cuts(self):
        """Why leaves got no gradient: lines that say where the graph is cut off, if it is."""
        reached = self._reached()
        if reached is None:
            return []
        consumed = {id(arg) for _, args in self.applications for arg in args}
        lost = [t for t in self._leaves if t.grad is None and id(t) not in reached
                and not any(t is start for start in self._starts)]
        if not lost:
            return []
        starts = {id(start) for start in self._starts}
        dead = {id(t) for made in self._made for t in made.at_hand.values()
                if t.requires_grad and id(t) not in consumed | starts}
        suspects = [made for made in self._made if id(made.tensor) in consumed | starts and (
            id(made.tensor) in starts or any(id(t) in dead for t in made.at_hand.values()))]
        lines = dict.fromkeys(made.line for made in suspects if id(made.tensor) in starts or any(
            id(t) in dead and re.search(rf"\b{re.escape(name)}\b", made.line)
            for name, t in made.at_hand.items()))
        if len(lines) == 1:
            return [f"cut off from the graph at {next(iter(lines))}",
                    "a Tensor made of another's .data does not know where it came from; use the "
                    "Tensor itself"]
        if suspects:
            return ["cut off from the graph: no way leads back from the result, as after "
                    "Tensor(x.data)"]
        return []

    def _reached(self):
        """The ids of the leaves below all tensors that backward() was called on; None where this
        cannot be known."""
        reached, seen = set(), set()
        nodes = [start.grad_fn for start in self._starts]
        if not nodes:
            return None
        while nodes:
            node = nodes.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            parents = getattr(node, "next_functions", None)
            if not isinstance(parents, (list, tuple)):
                return None
            nodes += parents
            if hasattr(node, "variable"):
                reached.add(id(node.variable))
            elif not parents:
                return None
        return reached
