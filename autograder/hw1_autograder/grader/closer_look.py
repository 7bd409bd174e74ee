"""Looks closer at a problem once all its tests are done, for a report that names the line at fault.
It costs no points: what is found here is shown only where the problem failed."""

import contextlib
import importlib
import inspect
import io
import linecache
import re
import signal
import sys
from pathlib import Path

import numpy as np

from grader.graded import CASES, graded, leaf, my
from grader.judge import LIBRARY, numbers
from grader.operations import weigh
from grader.places import in_words, student_place

SECONDS = 2.0  # of processor time for one problem
ENTRIES = 400  # that are moved for central differences, in all operations of a problem together
TOLERANCE = dict(relative=0.0, absolute=1e-4, of_largest=0.01)  # of central differences near a kink


class TimeIsUp(BaseException):
    """The closer look took too long."""


def look(search):
    """What a search returns, label → text; what fails or takes too long finds nothing."""
    def stop(*_):
        raise TimeIsUp

    nowhere = io.StringIO()  # what the code prints was shown by the tests
    before = signal.signal(signal.SIGPROF, stop), signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            return search()
    except (Exception, TimeIsUp):
        return {}
    finally:
        signal.setitimer(signal.ITIMER_PROF, *before[1])
        signal.signal(signal.SIGPROF, before[0])


# 1.2: what the engine does, in the words of trace.


@graded("autogradtest", closer=True)
def closer_look_at_the_engine(given):
    return look(what_trace_says)


def what_trace_says():
    """What trace says is wrong, of the simplest graph of which there is something to say. It is the
    grader's own where the student's tree has none."""
    package = importlib.import_module("mytorch")
    package.__path__.append(str(LIBRARY))
    try:
        code, sentences = importlib.import_module("mytorch.show.trace").explain_engine()
    finally:
        package.__path__.remove(str(LIBRARY))
    where = f"with {code}: " if code else ""
    return {"found": where + "\n".join(sentences)} if sentences else {}


# 2.1 to 2.5: the operations of a student's own, and the graph that layers build of them.


def register(key):
    """Have a closer look at the operations and the graph of a problem where it failed."""
    def closer_look(given):
        return look(lambda: operations_and_graph(key))

    closer_look.__name__ = f"closer_look_at_{key}"
    graded(key, closer=True)(closer_look)


for failed in ("Linear Backward", "Linear ReLU Backward", "Linear Batchnorm ReLU Backward (Train)",
               "Linear XELoss Backward"):
    register(failed)


def operations_and_graph(key):
    """The operation that does not fit its forward, or else the line that cuts the graph."""
    built = rerun(key)
    lines = wrong_unbroadcast(built) or wrong_operations(built) or cut_off(built)
    return {"found": "\n".join(lines)} if lines else {}


def rerun(key):
    """Run the tests of a problem once more; what each of them built."""
    built = []
    for case in CASES.values():
        if case.key == key and case.scored:
            given = case.draw(1)
            with Construction() as construction, contextlib.suppress(Exception):
                case.function(given)
            built.append(construction)
    return built


class Construction:
    """Context in which the operations and Tensors are noted that a student's code makes, as Python
    tells of calls. What the engine does with them is for mytorch/show/watch.py to see.

    Attributes:
        applications (list): (Function, list of its arguments), in their order.
        weighed (list): the outputs that the test weighs, also if they are outside any graph.
        leaves (list): the Tensors that collect a gradient.
        made (list): (Tensor, line, name → Tensor at hand in that line), of Tensors that were made
            outside of any operation.
    """

    def __init__(self):
        self.root = Path(sys.path[0])
        self.applications, self.leaves, self.made, self.weighed = [], [], [], []
        self._notes = {  # what to do at the call of a function, or when it returns
            ("call", my.Function.apply.__func__.__code__): self._note_application,
            ("call", weigh.__code__): lambda frame, output, weights: self.weighed.append(output),
            ("return", my.Tensor.__init__.__code__): self._note_creation}

    def __enter__(self):
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _note(self, frame, event, _):
        note = self._notes.get((event, frame.f_code))
        if note:
            with contextlib.suppress(Exception):
                names, rest, _, values = inspect.getargvalues(frame)
                note(frame, *(values[name] for name in names), *values.get(rest, ()))

    def _note_application(self, frame, operation, *args):
        self.applications.append((operation, args))

    def _note_creation(self, frame, tensor, *_):
        """Note a Tensor that no operation has made, with the student's line that did and the
        Tensors at hand there. Of tensor.py only an operator is such a line."""
        if getattr(tensor, "requires_grad", False) and tensor.is_leaf:
            self.leaves.append(tensor)
        at_hand, line, frame = {}, "", frame.f_back
        while frame:
            code = frame.f_code
            if code.co_name in ("forward", "backward") and "ctx" in code.co_varnames[:1]:
                return  # within an operation
            place = student_place(code.co_filename, frame.f_lineno, self.root)
            passed_on = code.co_name == "__init__" or (
                place.startswith("mytorch/tensor.py") and not code.co_name.startswith("__"))
            if place and not line and not passed_on:
                line = f"{place}:  {linecache.getline(code.co_filename, frame.f_lineno).strip()}"
                for name, value in frame.f_locals.items():
                    held = {name: value, **(vars(value) if name == "self" else {})}
                    at_hand.update((n, v) for n, v in held.items() if hasattr(v, "requires_grad"))
            frame = frame.f_back
        if line:
            self.made.append((tensor, line, at_hand))

    def cuts(self):
        """The lines that make a Tensor of another's data, so that leaves get no gradient."""
        results = {id(arg): arg for operation, args in self.applications for arg in args
                   if is_graders(operation)}  # what the test goes on with, or would
        results.update((id(output), output) for output in self.weighed)
        reached = set(results).union(*(map(id, numbers.leaves_below(result.grad_fn))
                                       for result in results.values()))
        if not results or not any(tensor.grad is None and id(tensor) not in reached
                                  for tensor in self.leaves):
            return []
        used = {id(arg) for _, args in self.applications for arg in args}
        dead = {id(tensor) for _, _, at_hand in self.made for tensor in at_hand.values()
                if tensor.requires_grad and id(tensor) not in used}
        return list(dict.fromkeys(
            line for tensor, line, at_hand in self.made if id(tensor) in results or any(
                id(tensor) in used and id(held) in dead
                and re.search(rf"\b{re.escape(name)}\b", line)
                for name, held in at_hand.items())))


def cut_off(built):
    """The one line that cuts leaves off from the graph, if the engine itself links results."""
    a, b = leaf(np.ones(2)), leaf(np.ones(2))
    (a + b).backward()
    if a.grad is None or b.grad is None:
        return []
    lines = next(filter(None, (construction.cuts() for construction in built)), [])
    if len(lines) != 1:
        return []
    return [f"cut off from the graph at {lines[0]}",
            "a Tensor made of another's .data does not know where it came from: use the Tensor "
            "itself"]


def wrong_operations(built):
    """The first operation whose backward disagrees with central differences of its forward, near
    the arguments that it had in the tests."""
    seen, entries = set(), 0
    for operation, args in [application for one in built for application in one.applications]:
        kind = (operation, tuple(getattr(arg, "shape", arg) for arg in args))
        if is_graders(operation) or kind in seen or not may_be_checked(args):
            continue
        seen.add(kind)
        entries += sum(arg.data.size for arg in args if needs_grad(arg))
        if entries > ENTRIES:
            return []
        complaint = disagreement(operation, args)
        if complaint:
            wrong = operation.backward
            return [f"{in_words(wrong.__qualname__, wrong, Path(sys.path[0]))} {complaint}"]
    return []


def wrong_unbroadcast(built):
    """What unbroadcast gives that is not the sum over the axes that were repeated, if an operation
    of the tests has broadcast."""
    if not any(len({arg.data.shape for arg in args if needs_grad(arg)}) > 1
               for one in built for operation, args in one.applications if not is_graders(operation)):
        return []
    grad = np.arange(12.0).reshape(4, 3)**2
    for shape, right in (((3,), grad.sum(axis=0)), ((4, 1), grad.sum(axis=1, keepdims=True)),
                         ((1, 3), grad.sum(axis=0, keepdims=True))):
        with contextlib.suppress(Exception):
            got = my.F.unbroadcast(grad.copy(), shape)
            if np.shape(got) != shape or not np.allclose(got, right):
                place = in_words("unbroadcast", my.F.unbroadcast, Path(sys.path[0]))
                returned = f"; it returned shape {np.shape(got)}" * (np.shape(got) != shape)
                return [f"{place} is wrong for a gradient of shape (4, 3) and an operand of shape "
                        f"{shape}{returned}: it must sum over the axes that were repeated, and no "
                        "others"]
    return []


def is_graders(operation):
    """Whether an operation is one of the grader's own."""
    return operation.__module__.startswith("grader.")


def needs_grad(arg):
    return bool(getattr(arg, "requires_grad", False))


def may_be_checked(args):
    """Whether the arguments of an operation are such that its own derivatives are sure: up to two
    Tensors that need gradients, or one and parameters; beside them labels, single numbers such as
    ε, and plain constants."""
    tensors = [arg for arg in args if hasattr(arg, "requires_grad")]
    floating = [arg for arg in tensors if arg.data.dtype.kind == "f"]
    plain = (int, float, bool, str, tuple, list, type(None))
    derived = [arg for arg in floating if needs_grad(arg)]
    return (0 < len(derived) < 4 and all(needs_grad(arg) or arg.data.size == 1 for arg in floating)
            and (len(derived) < 3 or all(arg.is_leaf for arg in derived[1:]))
            and all(arg.data.dtype == np.float64 for arg in floating)
            and all(hasattr(arg, "requires_grad") or type(arg) in plain for arg in args))


def disagreement(operation, args):
    """How the gradients of an operation differ from central differences; "" if they do not, or if
    there is any doubt: it draws at random, gives no float64, raises, ..."""
    arrays = [nudged(arg.data) if hasattr(arg, "requires_grad") else None for arg in args]

    def forward(*derived):
        derived, ctx = list(derived), my.ContextManager()
        tensors = [arg if array is None else my.Tensor(
            derived.pop(0).copy() if needs_grad(arg) else array.copy(),
            requires_grad=arg.requires_grad) for arg, array in zip(args, arrays)]
        return ctx, operation.forward(ctx, *tensors)

    derived = [array for arg, array in zip(args, arrays) if needs_grad(arg)]
    with contextlib.suppress(Exception):
        ctx, output = forward(*derived)
        value = output.data.copy()
        if value.dtype != np.float64 or not np.isfinite(value).all() or not np.array_equal(
                value, forward(*derived)[1].data):
            return ""
        upstream = np.random.RandomState(1).uniform(0.5, 2, value.shape)
        numeric = numbers.numerical_gradients(
            lambda *moved: forward(*moved)[1].data, derived, upstream)
        returned = operation.backward(ctx, my.Tensor(upstream.copy()))
        returned = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        returned += [None] * (len(args) - len(returned))
        complaints = [about(position, grad, numeric.pop(0), arg)
                      for position, (grad, arg) in enumerate(zip(returned, args)) if needs_grad(arg)]
        return next(filter(None, complaints), "")
    return ""


def nudged(array):
    """A copy of an array whose numbers are moved a little, off kinks such as ReLU's at 0."""
    if array.dtype.kind != "f":
        return array.copy()
    return array + 1e-3 * np.random.RandomState(2).uniform(0.5, 1, array.shape)


def about(position, grad, numeric, arg):
    """What is wrong with one gradient, that of an argument; "" if nothing is sure. The shape may be
    left to an engine that sums."""
    if grad is None:
        missing = numeric.any() and (arg.is_parameter or not arg.is_leaf)
        return f"returns no gradient for argument {position}" if missing else ""
    grad = np.asarray(getattr(grad, "data", grad))
    if grad.shape != numeric.shape or not numeric.any() or not np.isfinite(numeric).all():
        return ""
    complaint = numbers.compare(f"gradient of argument {position}", numeric, grad, **TOLERANCE)
    return complaint and f"does not fit its forward, by central differences: {complaint}"
