"""Optimizer, the base class of all optimizers.
It holds the parameters and can forget their gradients."""


class Optimizer:
    """Changes parameters so that a loss decreases.

    Args:
        params (iterable of Tensor): the parameters, usually ``model.parameters()``.

    Attributes:
        params (list of Tensor): the same objects.

    Raises:
        ValueError: if there are no parameters, if one is given twice, or if one of them is the
            result of an operation, because only leaves have gradients.
        TypeError: if one of them is not a Tensor, or if ``params`` cannot be iterated over.
    """

    def __init__(self, params):
        if not hasattr(params, "__iter__"):
            raise TypeError(
                f"{type(self).__name__}: expected a list of Tensors, or model.parameters() with "
                f"its parentheses, got {type(params).__name__}")
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: expected at least one parameter, got none")
        for param in self.params:
            if not hasattr(param, "grad"):
                raise TypeError(f"{type(self).__name__}: expected a list of Tensors, such as "
                                f"model.parameters(), got {type(param).__name__} in it")
            if not param.is_leaf:
                raise ValueError(
                    f"{type(self).__name__}: expected leaves, got a result of {param.grad_fn}, "
                    "which never has a gradient; pass the Tensors that it was computed from")
        if len(set(map(id, self.params))) < len(self.params):
            raise ValueError(f"{type(self).__name__}: expected each parameter once, got one of "
                             "them again, which would take two steps at a time")

    def step(self):
        """Update every parameter from its gradient."""
        raise NotImplementedError(f"{type(self).__name__}: must define step")

    def zero_grad(self):
        """Forget the gradients: set every parameter's ``grad`` to None."""
        for param in self.params:
            param.grad = None
