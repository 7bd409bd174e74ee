"""Module, the base class of layers, networks and losses.
It finds the parameters of whatever is assigned to it, however deeply nested."""

from reprlib import recursive_repr

import numpy as np

from mytorch.checks import type_of
from mytorch.tensor import Tensor


class Module:
    """Base class of layers, networks and losses: something with parameters and a ``forward``.

    Parameters (Tensors with ``is_parameter=True``) and Modules are registered when they are
    assigned to an attribute::

        class Twice(Module):
            def __init__(self):
                super().__init__()
                self.layer = Linear(3, 3)

            def forward(self, x):
                return self.layer(self.layer(x))

    Modules in a plain list or dict are not found, so no optimizer would train them: assign
    each to an attribute, or put them into a Sequential.

    Attributes:
        is_train (bool): True in training mode (the default), False in evaluation mode.
    """

    def __init__(self):
        self.is_train = True

    def forward(self, *args, **kwargs):
        """Compute the output; called by ``module(*args, **kwargs)``."""
        raise NotImplementedError(f"{type(self).__name__}: must define forward")

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def __setattr__(self, name, value):
        if is_registered(value) and "is_train" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__}: call super().__init__() before assigning self.{name}"
            )
        super().__setattr__(name, value)

    def add_parameter(self, name, value):
        """Assign a parameter to the attribute ``name``.

        Raises:
            TypeError: if ``value`` is not a Tensor with ``is_parameter=True``.
        """
        if not (isinstance(value, Tensor) and value.is_parameter):
            raise TypeError(
                f"add_parameter: expected a Tensor with is_parameter=True for {name!r}, got "
                + (f"{value!r}" if isinstance(value, Tensor) else type_of(value, Tensor)))
        setattr(self, name, value)

    def add_module(self, name, value):
        """Assign a module to the attribute ``name``.

        Raises:
            TypeError: if ``value`` is not a Module.
        """
        if not isinstance(value, Module):
            raise TypeError(
                f"add_module: expected a Module for {name!r}, got {type_of(value, Module)}")
        setattr(self, name, value)

    def children(self):
        """Dict of the modules assigned to this one, by attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def modules(self):
        """Iterate over this module and all modules in it, each once, outer before inner."""
        found, unexplored = {}, [self]  # a dict, because it keeps the order
        while unexplored:
            module = unexplored.pop()
            if module not in found:
                found[module] = None
                unexplored += reversed(list(module.children().values()))
        return iter(found)

    def parameters(self):
        """Iterate over the parameters of this module and all modules in it, each once."""
        tensors = [value for module in self.modules() for value in vars(module).values()
                   if isinstance(value, Tensor) and value.is_parameter]
        return iter(dict.fromkeys(tensors))

    def train(self, mode=True):
        """Put this module and all modules in it into training mode, or into evaluation mode if
        ``mode`` is False; returns itself."""
        for module in self.modules():
            module.is_train = bool(mode)
        return self

    def eval(self):
        """Put this module and all modules in it into evaluation mode; returns itself."""
        return self.train(False)

    def float(self):
        """Convert all Tensors of floats here, running averages too, to float32; returns itself."""
        return self._convert(np.float32)

    def double(self):
        """Convert all Tensors of floats here, running averages too, to float64; returns itself."""
        return self._convert(np.float64)

    def _convert(self, dtype):
        for module in self.modules():
            for tensor in vars(module).values():
                if isinstance(tensor, Tensor) and tensor.data.dtype.kind == "f":
                    tensor.data = tensor.data.astype(dtype)
                    if tensor.grad is not None:
                        tensor.grad = Tensor(tensor.grad.data.astype(dtype))
        return self

    def extra_repr(self):
        """What ``repr`` shows in its parentheses, such as the sizes of a layer."""
        return ""

    @recursive_repr()  # a module that contains itself appears in there as ...
    def __repr__(self):
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children().items()]
        inside = "\n  ".join(["", *lines]) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def is_registered(value):
    """Whether a Module registers ``value``: it does so with parameters and Modules."""
    return isinstance(value, Module) or (isinstance(value, Tensor) and value.is_parameter)
