"""An engine as students write it, to try what is said to work on theirs too.
A node for each use of a leaf, gradients added in place, no entry for arguments that are no Tensors."""

from mytorch import autograd_engine
from mytorch.autograd_engine import ContextManager, Function
from mytorch.tensor import Tensor


class AccumulateGrad:
    def __init__(self, tensor):
        self.variable = tensor
        self.next_functions = []
        self.function_name = "AccumulateGrad"

    def apply(self, grad):
        if self.variable.grad is None:
            self.variable.grad = Tensor(grad.data.copy())
        else:
            self.variable.grad.data += grad.data


class BackwardFunction:
    def __init__(self, cls):
        self.ctx = ContextManager()
        self.cls = cls
        self.next_functions = []
        self.function_name = cls.__name__

    def apply(self, grad):
        return self.cls.backward(self.ctx, grad)


def apply(cls, *args):
    node = BackwardFunction(cls)
    output = cls.forward(node.ctx, *args)
    for arg in args:
        if isinstance(arg, Tensor):
            is_used_leaf = arg.is_leaf and arg.requires_grad
            node.next_functions.append(AccumulateGrad(arg) if is_used_leaf else arg.grad_fn)
    if any(node.next_functions):
        output.requires_grad, output.is_leaf, output.grad_fn = True, False, node
    return output


def backward(node, grad):
    grads = node.apply(grad)
    if not isinstance(grads, tuple):
        grads = (grads,)
    for i, parent in enumerate(node.next_functions):
        if parent is not None:
            backward(parent, grads[i])


def install(monkeypatch):
    """Let every operation record its graph with this engine until the test ends."""
    monkeypatch.setattr(autograd_engine, "backward", backward)
    monkeypatch.setattr(Function, "apply", classmethod(apply))
