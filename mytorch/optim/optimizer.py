"""Optimizer, the base class of all optimizers.
It holds the parameters and can forget their gradients."""


class Optimizer:
    """Changes parameters so that a loss decreases.

    Args:
        params (iterable of Tensor): the parameters, usually ``model.parameters()``.

    Attributes:
        params (list of Tensor): the same objects.

    Raises:
        ValueError: if there are no parameters.
        TypeError: if ``params`` holds something that has no ``grad``.
    """

    def __init__(self, params):
        if not hasattr(params, "__iter__"):
            raise TypeError(f"{type(self).__name__}: expected Tensors, got {type(params).__name__}; "
                            "pass model.parameters(), with its brackets")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: expected at least one parameter, got none")
        for param in self.params:
            if not hasattr(param, "grad"):
                raise TypeError(
                    f"{type(self).__name__}: expected Tensors, got {type(param).__name__}; "
                    "pass model.parameters()"
                )

    def step(self):
        """Update every parameter from its gradient."""
        raise NotImplementedError(f"{type(self).__name__}: must define step")

    def zero_grad(self):
        """Forget the gradients: set every parameter's ``grad`` to None."""
        for param in self.params:
            param.grad = None
