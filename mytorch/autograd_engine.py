"""The autograd engine: records a computation as a graph, then walks that graph backward.
Start with hw1/README.md; then read this from top to bottom: operations, nodes, the walk."""

from mytorch.checks import (
    check_arguments, check_gradients, check_leaf, check_output, check_saved, check_start,
    check_stored, needed_gradients)
from mytorch.deep_recursion import call_with_room_for  # calls a function that recurses deeply


class Function:
    """Base class of all operations that autograd can differentiate. ``Add`` in nn/functional.py
    shows how one is written; ``Add.apply(a, b)`` is how it is used, and what ``a + b`` calls."""

    @staticmethod
    def forward(ctx, *args):
        """Compute the operation on ``args``, Tensors and plain constants such as an axis. Returns
        a Tensor, and keeps in ``ctx`` (a ContextManager) what ``backward`` will need."""
        raise NotImplementedError("a Function must define forward(ctx, *args)")

    @staticmethod
    def backward(ctx, grad_output):
        """Turn the gradient of the output, a Tensor not to be modified, into those of the inputs:
        one Tensor, or a tuple with an entry for each argument of ``forward``, None where there is
        no gradient. Entries for constants are ignored and may be left out if they come last."""
        raise NotImplementedError("a Function must define backward(ctx, grad_output)")

    @classmethod
    def apply(cls, *args):
        """Run ``forward`` and, if any input requires grad, record a node of the graph. The result
        requires grad exactly when an input does; it is then not a leaf, and its ``grad_fn`` is the
        new node, whose ``next_functions`` has one entry for each argument: the node of that input,
        or None for a constant."""
        check_arguments(cls, args)
        node = BackwardFunction(cls)
        output = cls.forward(node.ctx, *args)
        check_output(cls, output)
        output = output.detach()  # forward may return a Tensor whose flags must not change
        node.shape, node.arity = output.shape, len(args)
        # BEGIN SOLUTION 1.2: link the node to those of the inputs; set the output's flags and node
        node.next_functions = [gradient_node(arg) for arg in args]
        output.requires_grad = any(node.next_functions)  # any node, not None
        output.is_leaf = not output.requires_grad
        if output.requires_grad:
            output.grad_fn = node
        # END SOLUTION 1.2
        return output


class ContextManager:
    """What ``forward`` keeps for ``backward``. Constants are set as attributes of any name."""
    saved_tensors = ()
    needs_input_grad = ()  # in ``backward``: a bool for each argument of forward; empty: all do

    def save_for_backward(self, *tensors):
        """Keep the values that Tensors have now; ``backward`` finds them in ``saved_tensors``. No
        array is copied. That is safe with an optimizer's step, which gives the parameter a new
        array; writing into an array, as in ``t.data[0] = 1``, changes the saved one too."""
        check_saved(tensors)
        # Each is a new Tensor on the same array, outside the graph, with the flags it had.
        self.saved_tensors = tuple([tensor.detach() for tensor in tensors])
        for saved, tensor in zip(self.saved_tensors, tensors):
            saved.requires_grad, saved.is_leaf = tensor.requires_grad, tensor.is_leaf


class BackwardFunction:
    """Node of a result of the Function ``cls``: holds its context and runs its ``backward``."""

    shape = arity = None  # the result's shape and the number of arguments, set by Function.apply

    def __init__(self, cls):
        self.ctx = ContextManager()
        self.function = cls
        self.function_name = cls.__name__
        self.next_functions = []

    def __repr__(self):
        return f"<{self.function_name}>"

    def apply(self, grad_output):
        """Run the operation's ``backward`` on a Tensor. Returns a tuple, a Tensor or None for each
        argument of ``forward`` (constants at the end may be missing), and raises TypeError or
        ValueError if that does not fit the arguments."""
        self.ctx.needs_input_grad = needed_gradients(self)
        grads = self.function.backward(self.ctx, grad_output)
        grads = tuple(grads) if isinstance(grads, (tuple, list)) else (grads,)
        check_gradients(self, grads)
        return grads


class AccumulateGrad:
    """Node of a leaf that requires grad: where the walk ends and a gradient is stored. Leaf and
    node refer to each other, so a graph keeps its leaves alive. Python's garbage collector frees
    such a pair some time after its last use; ``leaf.grad_fn = None`` frees it at once."""

    function_name = "AccumulateGrad"
    next_functions = ()
    shape = property(lambda self: self.variable.data.shape)  # what its gradient must have

    def __init__(self, tensor):
        check_leaf(tensor)
        self.variable = tensor

    def __repr__(self):
        return f"<AccumulateGrad of {self.shape}>"

    def apply(self, grad):
        """Add ``grad`` (Tensor of the leaf's shape) to the leaf's ``.grad``; returns ()."""
        leaf = self.variable
        if leaf.requires_grad:  # may have been switched off since forward
            check_stored(grad, leaf)
            total = grad.detach()  # what is stored is in no graph, and in an array of its own
            total.data = grad.data.astype(leaf.data.dtype)
            if leaf.grad is not None:
                total.data += leaf.grad.data
            leaf.grad = total
        return ()


def gradient_node(arg):
    """The node that receives the gradient of ``arg``: AccumulateGrad for a leaf (made at its
    first use), BackwardFunction for a result, None for a constant."""
    # BEGIN SOLUTION 1.2: tell leaf, result and constant apart; what is not a Tensor is a constant
    if not getattr(arg, "requires_grad", False):
        return None
    if arg.is_leaf and arg.grad_fn is None:
        arg.grad_fn = AccumulateGrad(arg)
    return arg.grad_fn
    # END SOLUTION 1.2


def backward(grad_fn, grad_of_output):
    """Propagate a gradient from one node of the graph down to every leaf below it.

    A node's *parents* are its ``next_functions``, and "below" means nearer the leaves. Go depth
    first: run a node on the gradient of its output, give each parent its *share*, the gradient
    that one use of it brings, and go on into the parent. The difficult part is *when* to go on.
    Recursing once per path gives right gradients, but the number of paths doubles at each reuse:
    forty lines ``b = a + a; c = b + b; ...`` make 2**40 paths. The gradient of a shared node is
    the *sum* over its uses, so it is enough to wait until all of them have arrived and to recurse
    once, with the sum: one visit a node. ``grad_of_output`` is a Tensor of the result's shape."""
    check_start(grad_fn)
    # BEGIN SOLUTION 1.2: go through the graph, each node once
    awaited = count_gradients(grad_fn)
    call_with_room_for(len(awaited) + 1, visit, grad_fn, grad_of_output, awaited, {})
    # END SOLUTION 1.2


# BEGIN SOLUTION 1.2: functions of your own, if backward() needs them
def count_gradients(root):
    """How many gradients each node below ``root`` will receive, as a dict."""
    awaited = {}
    unexplored = [root]
    while unexplored:
        for parent in unexplored.pop().next_functions:
            if parent is None:
                continue
            if parent not in awaited:
                unexplored.append(parent)
            awaited[parent] = awaited.get(parent, 0) + 1
    return awaited


def visit(node, grad, awaited, sums):
    """Run ``node`` on ``grad``, then recurse into each parent whose last gradient has come.
    ``awaited`` counts what each node still waits for, ``sums`` holds what it has so far. ``grad``
    is None if every gradient was; None is passed on so that the counts still fall."""
    shares = node.apply(grad) if grad is not None else [None] * len(node.next_functions)
    for parent, share in zip(node.next_functions, shares):
        if parent is None:
            continue
        if parent in sums:
            # A new Tensor, never += : the one that arrived may be another node's too.
            held = sums.pop(parent)
            share = held if share is None else held + share
        awaited[parent] -= 1
        if awaited[parent] == 0:
            visit(parent, share, awaited, sums)
        elif share is not None:
            sums[parent] = share
# END SOLUTION 1.2
