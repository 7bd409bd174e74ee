"""Operations of the grader's own, run by the student's engine: with them outputs are weighed, and the
graphs of problem 1.2 are built, so that a mistake in an operation of the student's costs once."""

import contextlib
import functools

import numpy as np

from grader.graded import WrongReturn, constant, leaf, my, truth


def weigh(output, weights):
    """Run backward() so that the gradient of ``output`` is ``weights``, whatever backward() starts
    from. An output outside any graph hands nothing on: the gradients of its inputs stay None.

    Args:
        output (Tensor): what the student's code returned.
        weights (ndarray): of the shape that it has to have.
    """
    if not hasattr(output, "requires_grad"):
        raise WrongReturn(f"expected a Tensor, got {type(output).__name__}")
    if np.shape(output.data) != weights.shape:
        raise WrongReturn(
            f"expected an output of shape {weights.shape}, got {np.shape(output.data)}")
    if output.requires_grad:
        weighed(output, weights, takes_a_tuple(my.Function)).backward()


def weighed(output, weights, as_tuple):
    """The result of an operation whose backward returns ``weights``, bare or as a tuple of one."""
    class Weighed(my.Function):
        @staticmethod
        def forward(ctx, a):
            return result_of(a.data + 0, a)

        @staticmethod
        def backward(ctx, grad_output):
            grad = my.Tensor(weights.copy())
            return (grad,) if as_tuple else grad

    return Weighed.apply(output)


def combine(*terms):
    """The sum of ``factor * tensor`` over some pairs (Tensor, factor): ndarrays or numbers."""
    operation = combination(my.Function)
    operation.factors = [np.asarray(factor) for _, factor in terms]
    return operation.apply(*[tensor for tensor, _ in terms])


@functools.lru_cache(maxsize=1)
def combination(function):
    """The operation of ``combine``, one class for all its uses, derived from the student's Function.
    Its factors are no arguments, as not every engine takes what is no Tensor."""
    class Combination(function):
        factors = ()

        @staticmethod
        def forward(ctx, *tensors):
            ctx.save_for_backward(*[constant(factor) for factor in Combination.factors])
            return result_of(sum(factor * tensor.data for factor, tensor in zip(
                Combination.factors, tensors)), *tensors)

        @staticmethod
        def backward(ctx, grad_output):
            grads = tuple(my.Tensor(factor.data * grad_output.data)
                          for factor in ctx.saved_tensors)
            return grads if len(grads) > 1 or takes_a_tuple(function) else grads[0]

    return Combination


def plus(a, b):
    """``a + b``, by an operation that hands on one and the same array where the given Add does."""
    class Plus(my.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.by_add = my.ContextManager()
            with contextlib.suppress(Exception):  # an Add that does not work is found wrong in 1.1
                my.F.Add.forward(ctx.by_add, a, b)
            return result_of(a.data + b.data, a, b)

        @staticmethod
        def backward(ctx, grad_output):
            try:
                gradients = my.F.Add.backward(ctx.by_add, grad_output)
                if all((grad.data == grad_output.data).all() for grad in gradients):
                    return gradients
            except RecursionError:  # an endless walk ends here; Python 3.8 dies if it goes on
                raise
            except Exception:
                pass
            return my.Tensor(grad_output.data.copy()), my.Tensor(grad_output.data.copy())

    return Plus.apply(a, b)


def result_of(array, *tensors):
    """The Tensor that an operation on ``tensors`` returns; with its flags where forward sets them."""
    needs_grad = forward_sets_flags(my.Function) and any(
        tensor.requires_grad for tensor in tensors)
    return my.Tensor(array, requires_grad=needs_grad, is_leaf=not needs_grad)


@functools.lru_cache(maxsize=1)
def forward_sets_flags(function):
    """Whether it is for forward to set requires_grad and is_leaf of its output, as the given Add
    shows; else ``apply`` does."""
    try:
        ones = np.ones((2, 3))
        output = my.F.Add.forward(my.ContextManager(), leaf(ones), constant(ones))
        return truth(output.requires_grad) is True
    except Exception:
        return True  # it does no harm where apply does it too


@functools.lru_cache(maxsize=1)
def apply_sets_flags(function):
    """Whether ``apply`` sets the flags of what forward returns without them."""
    class WithoutFlags(function):
        @staticmethod
        def forward(ctx, a, b):
            return my.Tensor(a.data + b.data)

    try:
        ones = np.ones((2, 3))
        return truth(WithoutFlags.apply(leaf(ones), constant(ones)).requires_grad) is True
    except Exception:
        return False


@functools.lru_cache(maxsize=1)
def takes_a_tuple(function):
    """Whether the engine wants the gradient of a single input as a tuple of one, which is found by
    trying: by the numbers, as an engine may take the first row of a bare Tensor."""
    weights, raised = np.arange(1.0, 7.0).reshape(2, 3), {}
    for as_tuple in (False, True):
        try:
            a = leaf(weights)
            weighed(a, weights, as_tuple).backward()
            raised[as_tuple] = False
            if np.array_equal(a.grad.data, weights):
                return as_tuple
        except Exception:
            raised[as_tuple] = True
    return raised[False] and not raised[True]
