"""The autograd engine: records a computation as a graph, then walks it backward.
Start with hw1/README.md; then read this top to bottom: walk, recorder, the two kinds of node."""

import weakref

from mytorch.checks import (
    check_data, check_gradients, check_leaf, check_output, check_saved, refuse_to_store)
from mytorch.deep_recursion import call_with_room_for


def backward(grad_fn, grad_of_output):
    """Propagate a gradient from one node of the graph down to every leaf below it.

    A depth-first traversal over ``next_functions``: run a node on the gradient of its
    output, give each parent its share, and go on into the parent. The difficult part is
    *when* to go on. Recursing once per path gives right gradients, but the number of paths
    doubles at each reuse: forty lines ``b = a + a; c = b + b; ...`` make 2**40 paths. The
    gradient of a shared node is the *sum* over its uses, so it is enough to wait until all
    of them have arrived and to recurse once, with the sum. The cost is then linear in the
    graph. Use graphs that share leaves in one thread only: nothing here is locked.

    Args:
        grad_fn: the node to start from, a BackwardFunction or AccumulateGrad.
        grad_of_output (Tensor): the gradient of that node's output, of its shape.

    Raises:
        RuntimeError: if ``grad_fn`` is None, as it is for a constant.
        TypeError, ValueError: if a ``backward`` returns gradients that do not fit its inputs.
    """
    # BEGIN SOLUTION 1.2: go through the graph, each node once
    if grad_fn is None:
        raise RuntimeError("backward: the tensor is outside any graph (grad_fn is None); "
                           "none of the tensors it was computed from has requires_grad=True")
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
    """Run ``node`` on ``grad``, then recurse into each parent whose last gradient came.

    ``awaited`` counts what each node still waits for, ``sums`` holds what it has so far.
    """
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


class Function:
    """Base class of all operations that autograd can differentiate, used through ``apply``::

        class Double(Function):
            @staticmethod
            def forward(ctx, a):
                return Tensor(2 * a.data)

            @staticmethod
            def backward(ctx, grad_output):
                return Tensor(2 * grad_output.data)

        b = Double.apply(a)
    """

    @staticmethod
    def forward(ctx, *args):
        """Compute the operation on ``args``, Tensors and plain constants such as an axis. Returns
        a Tensor, and keeps in ``ctx`` (ContextManager) what ``backward`` will need."""
        raise NotImplementedError("a Function must define forward(ctx, *args)")

    @staticmethod
    def backward(ctx, grad_output):
        """Turn the gradient of the output into the gradients of the inputs.

        ``grad_output`` is a Tensor of the output's shape, not to be modified. Returns one
        Tensor, or a tuple with an entry for each argument of ``forward``, None where there is
        no gradient. Entries for constants are ignored; at the end they may be left out."""
        raise NotImplementedError("a Function must define backward(ctx, grad_output)")

    @classmethod
    def apply(cls, *args):
        """Run ``forward`` and, if any input requires grad, record a node of the graph.

        Returns the result, a Tensor. It requires grad exactly when an input does, and is then
        no leaf; its ``grad_fn`` is the new BackwardFunction, whose ``next_functions`` has one
        entry per argument: the node of that input, or None for a constant."""
        node = BackwardFunction(cls)
        node.record_inputs(args)
        try:
            output = cls.forward(node.ctx, *args)
        except (TypeError, AttributeError):
            check_data(cls, args)  # says so if this is why
            raise
        check_output(cls, output)
        # BEGIN SOLUTION 1.2: set the output's flags; link it to its node, that to the inputs'
        output = detached(output)  # forward may have returned a Tensor that is used elsewhere
        output.requires_grad = any(node.ctx.needs_input_grad)
        output.is_leaf = not output.requires_grad
        if output.requires_grad:
            node.next_functions = [gradient_node(arg) for arg in args]
            output.grad_fn = node
        # END SOLUTION 1.2
        return output


def gradient_node(arg):
    """The node that receives the gradient of ``arg``: AccumulateGrad for a leaf (made at its
    first use), BackwardFunction for a result, None for a constant."""
    # BEGIN SOLUTION 1.2: tell leaf, result and constant apart; what is no Tensor is a constant
    if not getattr(arg, "requires_grad", False):
        return None
    if arg.is_leaf and arg.grad_fn is None:
        arg.grad_fn = AccumulateGrad(arg)
    return arg.grad_fn
    # END SOLUTION 1.2


def detached(tensor):
    """A new Tensor with the array and the flags of ``tensor``, outside any graph."""
    twin = object.__new__(type(tensor))  # a subclass's __init__ may take other arguments
    twin.data, twin.requires_grad, twin.is_leaf = tensor.data, tensor.requires_grad, tensor.is_leaf
    twin.is_parameter, twin.grad, twin.grad_fn = False, None, None
    return twin


class AccumulateGrad:
    """Node of a leaf that requires grad: where the traversal ends and a gradient is stored."""

    function_name = "AccumulateGrad"
    next_functions = ()

    def __init__(self, tensor):
        check_leaf(tensor)
        # Weak, as the leaf holds this node: a ring of two would wait for the cycle collector.
        self._variable = weakref.ref(tensor)

    def __repr__(self):
        return f"<AccumulateGrad of {getattr(self.variable, 'shape', 'a leaf that is gone')}>"

    def __reduce__(self):
        return AccumulateGrad, (self.variable,)  # copies and pickles take the leaf along

    @property
    def variable(self):
        """The leaf Tensor; None once nobody holds it any more."""
        return self._variable()

    def apply(self, grad):
        """Add ``grad`` (Tensor of the leaf's shape) to the leaf's ``.grad``; returns ()."""
        variable = self._variable()
        if variable is None:
            return ()
        if grad.data.shape != variable.data.shape or variable.data.dtype.kind != "f":
            refuse_to_store(grad, variable)
        # Both branches make a new array: what arrived may be on its way to others as well.
        # The arrays are added, not the Tensors: a stored gradient is in no graph.
        held, new = variable.grad, grad.data.astype(variable.data.dtype)
        variable.grad = type(grad)(new if held is None else held.data + new)
        return ()


class ContextManager:
    """What an operation's ``forward`` keeps for its ``backward``.

    Tensors go through ``save_for_backward``; constants are set as attributes of any name.
    ``needs_input_grad[i]``, set by ``apply``, tells whether argument i needs a gradient.
    """

    saved_tensors = ()
    needs_input_grad = (True,) * 100  # for a ``forward`` called without ``apply``

    def save_for_backward(self, *tensors):
        """Keep the values that Tensors have now; ``backward`` finds them in ``saved_tensors``.

        Nothing is copied. If an optimizer makes a step before ``backward``, it gives its
        parameters new arrays, and those kept here stay. Only writing into an array, such as
        by ``fill_``, changes it here too. Raises TypeError for what is no Tensor."""
        check_saved(tensors)
        self.saved_tensors = [detached(tensor) for tensor in tensors]


class BackwardFunction:
    """Node of a result of the Function ``cls``: holds its context and runs its ``backward``."""

    def __init__(self, cls):
        self.ctx = ContextManager()
        self.function = cls
        self.function_name = cls.__name__
        self.next_functions = []
        self.inputs = self.input_shapes = None

    def __repr__(self):
        return f"<{self.function_name}>"

    def __getstate__(self):
        inputs = [None if type(note) is weakref.ref else note for note in self.inputs or ()]
        return {**vars(self), "inputs": inputs}

    def record_inputs(self, args):
        """Note who needs a gradient, of which shape, and for pictures who the inputs are. Holds
        leaves, as their nodes do not, and small constants; other Tensors may be freed."""
        needed, shapes, inputs = [], [], []
        for arg in args:
            needs_grad = getattr(arg, "requires_grad", None)  # None for what is no Tensor
            if needs_grad is None:
                inputs.append(None)
            elif arg.is_leaf and (needs_grad or getattr(arg.data, "size", 0) <= 6):
                inputs.append(arg)
            else:
                inputs.append(weakref.ref(arg))
            needed.append(needs_grad or False)
            shapes.append(arg.data.shape if needs_grad else None)
        self.ctx.needs_input_grad = tuple(needed)
        self.input_shapes, self.inputs = shapes, inputs

    def apply(self, grad_output):
        """Run the operation's ``backward`` on ``grad_output`` and check what it returned.

        Returns a tuple, a Tensor or None for each argument of ``forward``; constants at the end
        may be left out. Raises TypeError or ValueError for what does not fit the arguments."""
        grads = self.function.backward(self.ctx, grad_output)
        grads = tuple(grads) if isinstance(grads, (tuple, list)) else (grads,)
        if self.input_shapes is not None:  # None in a node made by hand, without Function.apply
            check_gradients(self.function, grads, self.input_shapes)
        return grads
