"""What graded tests are made of: the @graded mark, their drawn inputs, the student's classes.
A test only calls the student's code and returns what came out; judge.py knows what is right."""

import contextlib
import importlib
import sys
import types
import zlib
from typing import Callable, Dict, NamedTuple

import numpy as np

from grader.places import WrongReturn  # noqa: F401  (for the tests)
from problems import PROBLEMS


class Case(NamedTuple):
    """One graded test: what is drawn for it, and what is called with that.

    Attributes:
        key: the problem it belongs to (problems.py).
        name: the name of the test function.
        function: takes the drawn inputs, returns a dict of label → what the student's code gave.
        inputs: dict of name → shape, or a function of a RandomState.
        note: what is worth knowing, for a test without points or answers: it is told if that
            returns anything, with {label} for the numbers that it returns (notes.py).
        optional: whether its results may be left out.
        closer: True for what looks into a failure and has no points or answers either: the
            strings it returns are shown where the problem failed (closer_look.py).
    """

    key: str
    name: str
    function: Callable
    inputs: Dict[str, object]
    note: str = ""
    closer: bool = False
    optional: bool = False

    @property
    def scored(self):
        """Whether it decides about points, by recorded answers."""
        return not (self.note or self.closer)

    def draw(self, seed):
        """The inputs (ndarrays, as attributes) for ``seed``, the same on every machine. They are
        exact in float32 too: whoever casts a weight to it computes with the same number."""
        if (self.name, seed) not in DRAWN:
            random = np.random.RandomState([seed, zlib.crc32(self.name.encode())])
            drawn = {name: spec(random) if callable(spec) else random.standard_normal(spec)
                     for name, spec in self.inputs.items()}
            DRAWN[self.name, seed] = {
                name: array if array.dtype.kind == "i" else array.astype(np.float32).astype(float)
                for name, array in drawn.items()}
        return types.SimpleNamespace(
            **{name: array.copy() for name, array in DRAWN[self.name, seed].items()})


DRAWN = {}  # (name of a test, seed) → what was drawn
CASES = {}  # by name, in the order of the files


def graded(key, note="", closer=False, optional=False, **inputs):
    """Mark a test as graded under ``key``. What stands in its place for plain pytest grades it as the
    grader does, in a process of its own, and fails as the verdict on it says.

    Args:
        key (str): Autolab key of the problem.
        note, closer, optional: as in Case.
        **inputs: what to draw: a shape for standard normal numbers (uneven and of both signs),
            or a function such as ``labels(5, 3)``.
    """
    def register(function):
        case = CASES[function.__name__] = Case(
            key, function.__name__, function, inputs, note, closer, optional)
        if not case.scored:
            return function

        def test():
            import pytest
            from grader import grading  # which imports this file
            verdict = grading.verdict_on(case)
            if not verdict.passed:
                pytest.fail(verdict.text(), pytrace=False)  # no lines of the grader's

        test.__name__ = test.__qualname__ = function.__name__
        test.__module__, test.__doc__ = function.__module__, function.__doc__
        return test
    return register


def labels(count, classes):
    """Draws ``count`` integer labels from 0 to classes - 1, as many different ones as fit."""
    return lambda random: random.permutation(
        (np.arange(count) + random.randint(classes)) % classes)


def batches_of_labels(batches, size, classes):
    """Draws labels for some batches, one after another: all classes are in each, but for the last
    class in the first batch."""
    def draw(random):
        drawn = [labels(size, classes - (batch == 0))(random) for batch in range(batches)]
        return np.concatenate(drawn)
    return draw


def away_from_zero(*shape):
    """Draws numbers of both signs whose size is between 0.5 and 2, fit to divide by."""
    return lambda random: random.uniform(0.5, 2, shape) * random.choice([-1.0, 1.0], shape)


def with_zeros(*shape):
    """Draws standard normal numbers, but every fifth is exactly 0."""
    def draw(random):
        numbers = random.standard_normal(shape)
        numbers.flat[::5] = 0.0
        return numbers
    return draw


def positive(*shape):
    """Draws numbers between 0.5 and 2."""
    return lambda random: random.uniform(0.5, 2, shape)


def times(factor, draw):
    """Draws what ``draw`` does, multiplied."""
    return lambda random: factor * draw(random)


def small(*shape):
    """Draws numbers of both signs whose size is between 0.001 and 0.01."""
    return lambda random: 10 ** random.uniform(-3, -2, shape) * random.choice([-1.0, 1.0], shape)


def classes_to_write():
    """Pairs of each class that the table names and its module; but for operations, which are F's."""
    for problem in PROBLEMS:
        module, _, names = problem.defined.partition(":")
        if "." in names and module != "mytorch.nn.functional":
            yield names.partition(".")[0], module


class StudentCode:
    """The student's classes as attributes, imported at first use: a broken file shall not
    stop the tests that do not need it."""

    keeps_float32 = False  # whether a Tensor of float64 numbers was seen to hold float32

    # In the order of hw1/mnist.py. Some solutions import each other in a circle that works when
    # it is entered there; functional.py comes second for those whose activations.py is broken.
    MODULES = {
        "ReLU": "mytorch.nn.activations",
        "F": "mytorch.nn.functional",
        "BatchNorm1d": "mytorch.nn.batchnorm",
        "Linear": "mytorch.nn.linear",
        "CrossEntropyLoss": "mytorch.nn.loss",
        "Sequential": "mytorch.nn.sequential",
        "SGD": "mytorch.optim.sgd",
        "Tensor": "mytorch.tensor",
        "ContextManager": "mytorch.autograd_engine",
        "Function": "mytorch.autograd_engine",
        "AccumulateGrad": "mytorch.autograd_engine",
    }
    MODULES.update(classes_to_write())

    def __getattr__(self, name):
        if name not in self.MODULES:
            raise AttributeError(name)
        module = sys.modules.get(self.MODULES[name]) or importlib.import_module(self.MODULES[name])
        return module if name == "F" else getattr(module, name)

    def import_all(self):
        """Import what can be imported, always in the same order. What cannot be says so again in
        each test that needs it."""
        for module in dict.fromkeys(self.MODULES.values()):
            with contextlib.suppress(BaseException):
                importlib.import_module(module)


my = StudentCode()


def constant(array):
    """The student's Tensor of a copy of ``array``, without gradient."""
    return noted(my.Tensor(array.copy()))


def leaf(array):
    """The student's Tensor of a copy of ``array``, which collects a gradient."""
    return noted(my.Tensor(array.copy(), requires_grad=True))


def noted(tensor):
    """The same Tensor; notes whether the student's class keeps numbers in float32."""
    my.keeps_float32 |= getattr(tensor.data, "dtype", None) == np.float32
    return tensor


def truth(flag):
    """True or False for a flag that is as good, such as the 1 of ``True + False``."""
    return bool(flag) if flag is None or isinstance(flag, (int, np.bool_)) else flag


class Numbers:
    """The bare numbers of a Tensor or an ndarray, for results that may be either, and of shape
    (F,) as well as (1, F). Attribute ``data``: a 1-D ndarray."""

    def __init__(self, value):
        self.data = np.array(value if isinstance(value, np.ndarray) else value.data).ravel()
