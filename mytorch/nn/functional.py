"""The operations autograd can differentiate: forward and backward of each, side by side.
Every gradient here is derived for an upstream gradient of any values, never just ones."""

import numpy as np

from mytorch.autograd_engine import Function
from mytorch.checks import type_of
from mytorch.tensor import Tensor


def compute(operation, numpy_function, *tensors):
    """``numpy_function`` on the data of ``tensors``, as a Tensor.

    It checks the operands of every operation that is a single NumPy expression.

    Raises:
        TypeError: if one of ``tensors`` is not a Tensor, or if NumPy rejects their dtypes.
        ValueError: if NumPy rejects their shapes, with both shapes and the operation's name.
    """
    check_tensors(operation, *tensors)
    try:
        return Tensor(numpy_function(*[tensor.data for tensor in tensors]))
    except (ValueError, TypeError) as error:
        of_dtype = isinstance(error, TypeError)
        kind, what = (TypeError, "dtype") if of_dtype else (ValueError, "shape")
        given = " and ".join(str(getattr(tensor, what)) for tensor in tensors)
        raise kind(f"{operation}: not possible for {what} {given}: {error}") from None


def check_tensors(operation, *values):
    """Raise TypeError unless each of ``values``, the arguments of an operation, is a Tensor."""
    for position, value in enumerate(values):
        if not isinstance(value, Tensor):
            which = f" as argument {position}" if len(values) > 1 else ""
            raise TypeError(f"{operation}: expected a Tensor, got {type_of(value, Tensor)}{which}")


def check_features(layer, x, features):
    """Raise TypeError if ``x`` is not a Tensor, ValueError if its shape is not (N, features)."""
    check_tensors(layer, x)
    if x.data.ndim != 2 or x.data.shape[1] != features:
        raise ValueError(f"{layer}: expected input of shape (N, {features}), got {x.shape}")


def floats(data):
    """An ndarray in floats: in integers of few bits, differences and logarithms go wrong."""
    return data if data.dtype.kind == "f" else data.astype(np.float64)


def unbroadcast(grad, shape):
    """Sum ``grad`` over the axes along which broadcasting repeated an operand.

    Each repetition of an entry used it once more, and gradients of uses add up.

    Args:
        grad (ndarray): gradient of the shape that broadcasting gave.
        shape (tuple): shape of the operand before broadcasting.

    Returns:
        ndarray: the gradient of the operand, of that shape.

    Raises:
        ValueError: if ``shape`` does not broadcast to ``grad.shape``.

    >>> unbroadcast(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    shape = tuple(shape)
    if grad.shape == shape:
        return grad
    # BEGIN SOLUTION 2.1: sum over the axes that broadcasting added or stretched
    added = grad.ndim - len(shape)
    padded = (1,) * added + shape
    if added < 0 or any(n not in (1, m) for n, m in zip(padded, grad.shape)):
        raise ValueError(f"unbroadcast: shape {shape} does not broadcast to {grad.shape}")
    repeated = tuple(axis for axis, n in enumerate(padded) if n == 1)
    return grad.sum(axis=repeated, keepdims=True).reshape(shape)
    # END SOLUTION 2.1


class Add(Function):
    """``a + b``; both derivatives are 1."""

    @staticmethod
    def forward(ctx, a, b):
        output = compute("Add", np.add, a, b)
        ctx.save_for_backward(a, b)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
        grad_b = Tensor(unbroadcast(grad_output.data, b.shape))
        return grad_a, grad_b


class Sub(Function):
    """``a - b``; the derivatives are 1 and -1."""

    @staticmethod
    def forward(ctx, a, b):
        # BEGIN SOLUTION 1.1.1: subtract, like Add above
        output = compute("Sub", np.subtract, a, b)
        ctx.save_for_backward(a, b)
        return output
        # END SOLUTION 1.1.1

    @staticmethod
    def backward(ctx, grad_output):
        # BEGIN SOLUTION 1.1.1: the gradient of a, and the one of b
        a, b = ctx.saved_tensors
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
        grad_b = Tensor(unbroadcast(-grad_output.data, b.shape))
        return grad_a, grad_b
        # END SOLUTION 1.1.1


class Mul(Function):
    """``a * b``, entry by entry; the derivatives are ``b`` and ``a``."""

    @staticmethod
    def forward(ctx, a, b):
        # BEGIN SOLUTION 1.1.2: multiply, and save what backward needs
        output = compute("Mul", np.multiply, a, b)
        ctx.save_for_backward(a, b)
        return output
        # END SOLUTION 1.1.2

    @staticmethod
    def backward(ctx, grad_output):
        # BEGIN SOLUTION 1.1.2: each factor's gradient
        a, b = ctx.saved_tensors
        grad_a = Tensor(unbroadcast(grad_output.data * b.data, a.shape))
        grad_b = Tensor(unbroadcast(grad_output.data * a.data, b.shape))
        return grad_a, grad_b
        # END SOLUTION 1.1.2


class Div(Function):
    """``a / b``, entry by entry; the derivatives are ``1/b`` and ``-a/b**2``."""

    @staticmethod
    def forward(ctx, a, b):
        # BEGIN SOLUTION 1.1.3: divide, and save what backward needs
        output = compute("Div", np.true_divide, a, b)
        ctx.save_for_backward(a, b)
        return output
        # END SOLUTION 1.1.3

    @staticmethod
    def backward(ctx, grad_output):
        # BEGIN SOLUTION 1.1.3: the gradient of a, and the one of b
        a, b = ctx.saved_tensors
        grad_a = Tensor(unbroadcast(grad_output.data / b.data, a.shape))
        grad_b = Tensor(unbroadcast(-grad_output.data * a.data / b.data / b.data, b.shape))
        return grad_a, grad_b
        # END SOLUTION 1.1.3


# BEGIN SOLUTION 2.1: a Function for the matrix product that Linear needs
class MatMul(Function):
    """``A B`` of matrices, or of stacks of them that broadcast; the gradients for an upstream
    gradient G are ``G Bᵀ`` and ``Aᵀ G``."""

    @staticmethod
    def forward(ctx, a, b):
        output = compute("MatMul", np.matmul, a, b)
        ctx.save_for_backward(a, b)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        needs_a, needs_b = ctx.needs_input_grad or (True, True)
        grad_a = grad_b = None
        if needs_a:
            grad_a = grad_output.data @ np.swapaxes(b.data, -1, -2)
            grad_a = Tensor(unbroadcast(grad_a, a.shape))
        if needs_b:
            # Aᵀ G as (Gᵀ A)ᵀ: for Linear's transposed weight this needs no transposed copy.
            grad_b = np.swapaxes(np.swapaxes(grad_output.data, -1, -2) @ a.data, -1, -2)
            grad_b = Tensor(unbroadcast(grad_b, b.shape))
        return grad_a, grad_b


class Linear(Function):
    """``x Wᵀ + b`` for a batch of rows x; with an upstream gradient G, that of x is ``G W``, that
    of W is ``Gᵀ x``, and that of b, which is used once per row, the sum of the rows of G."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        output = compute("Linear", lambda x, weight, bias: x @ weight.T + bias, x, weight, bias)
        ctx.save_for_backward(x, weight)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        (x, weight), grad = ctx.saved_tensors, grad_output.data
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad or (True, True, True)
        grad_x = Tensor(grad @ weight.data) if needs_x else None
        grad_weight = Tensor(grad.T @ x.data) if needs_weight else None
        grad_bias = Tensor(grad.sum(axis=0)) if needs_bias else None
        return grad_x, grad_weight, grad_bias


def matmul(a, b):
    """``a @ b`` as numpy.matmul: a vector takes part as a row (left) or a column (right), and the
    result loses that axis again. Autograd differentiates the reshaping."""
    if not a.shape or not b.shape or a.shape[-1] != b.shape[-2:][0]:
        raise ValueError(f"MatMul: shapes {a.shape} and {b.shape} do not fit: the last axis of the "
                         "left operand must be as long as the last but one of the right")
    rows = a if len(a.shape) != 1 else a.reshape(1, -1)
    columns = b if len(b.shape) != 1 else b.reshape(-1, 1)
    product = MatMul.apply(rows, columns)
    if rows is a and columns is b:
        return product
    shape = list(product.shape)
    if rows is not a:
        del shape[-2]
    if columns is not b:
        del shape[-1]
    return product.reshape(shape)
# END SOLUTION 2.1


class Transpose(Function):
    """The transpose of a matrix."""

    @staticmethod
    def forward(ctx, a):
        check_tensors("Transpose", a)
        if a.data.ndim != 2:
            raise ValueError(f"Transpose: expected a 2-D Tensor, got shape {a.shape}")
        return compute("Transpose", np.transpose, a)

    @staticmethod
    def backward(ctx, grad_output):
        return Tensor(grad_output.data.T)


class Reshape(Function):
    """The same entries in another shape (a tuple, one of its numbers may be -1)."""

    @staticmethod
    def forward(ctx, a, shape):
        if np.min(shape, initial=0) < -1:
            raise ValueError(f"Reshape of shape {a.shape}: expected lengths from 0 on, or one -1, "
                             f"got {shape}")
        output = compute(f"Reshape to {shape}", lambda data: data.reshape(shape), a)
        ctx.shape = a.shape
        return output

    @staticmethod
    def backward(ctx, grad_output):
        return Tensor(grad_output.data.reshape(ctx.shape))


class Log(Function):
    """Natural logarithm; the derivative is ``1/a``."""

    @staticmethod
    def forward(ctx, a):
        output = compute("Log", lambda data: np.log(floats(data)), a)
        ctx.save_for_backward(a)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        (a,) = ctx.saved_tensors
        return Tensor(grad_output.data / a.data)


# BEGIN SOLUTION 2.4: Functions for what BatchNorm1d needs, such as a sum over the batch
class Sqrt(Function):
    """Square root; the derivative is ``1/(2 sqrt(a))``."""

    @staticmethod
    def forward(ctx, a):
        output = compute("Sqrt", lambda data: np.sqrt(floats(data)), a)
        ctx.root = output.data
        return output

    @staticmethod
    def backward(ctx, grad_output):
        return Tensor(grad_output.data / (ctx.root + ctx.root))


class Sum(Function):
    """Sum over all entries, or over an axis or a tuple of axes, like ``numpy.sum``.

    Every summed entry has derivative 1, so its gradient is the one of its sum.
    """

    @staticmethod
    def forward(ctx, a, axis=None, keepdims=False):
        kept = compute(f"Sum over axis {axis}", lambda data: data.sum(axis=axis, keepdims=True), a)
        ctx.shape, ctx.kept_shape = a.shape, kept.shape
        return kept if keepdims else Tensor(np.squeeze(kept.data, axis))

    @staticmethod
    def backward(ctx, grad_output):
        grad = grad_output.data.reshape(ctx.kept_shape)
        return Tensor(np.broadcast_to(grad, ctx.shape))


class BatchNorm(Function):
    """``gamma (x - mean) / std + beta`` for a batch of rows x, by its own mean and (biased) std.

    One Function and not ten small ones: with those a whole training step took twice as long
    (measured), and the gradient is short once derived. ``report``, if given, is called with mean
    and variance of the batch (ndarrays) and its size. Source: Ioffe and Szegedy, Batch
    Normalization (2015), section 3.
    """

    @staticmethod
    def forward(ctx, x, gamma, beta, eps, report=None):
        check_tensors("BatchNorm", x, gamma, beta)
        m = len(x.data)
        mean = x.data.sum(axis=0) / m
        deviation = x.data - mean
        variance = (deviation * deviation).sum(axis=0) / m
        ctx.save_for_backward(gamma)
        ctx.std = np.sqrt(variance + eps)
        ctx.normalized = deviation / ctx.std
        output = Tensor(gamma.data * ctx.normalized + beta.data)
        if report is not None:
            report(mean, variance, m)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        (gamma,), grad = ctx.saved_tensors, grad_output.data
        grad_beta = grad.sum(axis=0)
        grad_gamma = (grad * ctx.normalized).sum(axis=0)
        # Besides the direct way, x counts through the mean (grad_beta) and std (grad_gamma).
        through_both = (grad_beta + ctx.normalized * grad_gamma) / len(grad)
        grad_x = (grad - through_both) * (gamma.data / ctx.std)
        return Tensor(grad_x), Tensor(grad_gamma), Tensor(grad_beta)
# END SOLUTION 2.4


# BEGIN SOLUTION 2.2: a Function for ReLU
class ReLU(Function):
    """``z`` where ``z > 0``, else 0; the derivative is 1 for z > 0 and 0 for z <= 0."""

    @staticmethod
    def forward(ctx, z):
        output = compute("ReLU", lambda data: np.maximum(data, data.dtype.type(0)), z)
        ctx.save_for_backward(z)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        (z,), grad = ctx.saved_tensors, grad_output.data
        return Tensor(np.where(z.data <= 0, grad.dtype.type(0), grad))
# END SOLUTION 2.2


# BEGIN SOLUTION 2.5: a Function for cross entropy, if you do not compose it of others
class CrossEntropy(Function):
    """Mean over the batch of ``-log softmax(logits)[label]``.

    One Function and not a chain of small ones: the softmax is needed for the loss anyway, and
    with it the whole gradient is the one line ``(softmax - onehot) / N``, which stays finite
    where a chain would divide by a probability of 0.
    """

    @staticmethod
    def forward(ctx, logits, labels):
        # log softmax(z) = z - log sum exp(z), and neither changes when max(z) is taken off.
        z = floats(logits.data)
        shifted = z - z.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        rows = np.arange(len(shifted)), labels.data
        ctx.softmax = exponentials / sums
        ctx.save_for_backward(labels)
        losses = np.log(sums[:, 0]) - shifted[rows]
        return Tensor((losses / len(losses)).sum())

    @staticmethod
    def backward(ctx, grad_output):
        (labels,) = ctx.saved_tensors
        grad = ctx.softmax.copy()
        grad[np.arange(len(grad)), labels.data] -= 1
        return Tensor(grad_output.data * grad / len(grad)), None
# END SOLUTION 2.5


def cross_entropy(predicted, target):
    """Cross entropy of a batch, averaged; by the log-sum-exp trick it never overflows.

    Args:
        predicted (Tensor): logits, shape (N, C).
        target (Tensor): labels, shape (N,), integers from 0 to C - 1.

    Returns:
        Tensor: the loss, shape (); its gradient for the logits is (softmax - onehot) / N.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if the shapes are not (N, C) and (N,) with N > 0.
        IndexError: if a label is out of range.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), sections 4.1 and 6.2.2.3.
    """
    check_tensors("cross_entropy", predicted)
    if predicted.data.dtype.kind == "b":
        raise TypeError("cross_entropy: expected logits, which are numbers, got dtype bool")
    target = target if isinstance(target, Tensor) else Tensor(target)
    shape = predicted.data.shape
    if len(shape) != 2 or target.data.shape != shape[:1] or not shape[0]:
        raise ValueError(
            "cross_entropy: expected logits (N, C) and labels (N,) with N > 0, "
            f"got {predicted.shape} and {target.shape}"
        )
    check_labels("cross_entropy", target.data, shape[1])
    # BEGIN SOLUTION 2.5: the mean of -log softmax(predicted)[target]
    return CrossEntropy.apply(predicted, target)
    # END SOLUTION 2.5


def to_one_hot(arr, num_classes):
    """Labels as rows of zeros with a single one.

    Args:
        arr (Tensor or ndarray): labels, shape (N,), integers from 0 to num_classes - 1.
        num_classes (int): length of each row.

    Returns:
        Tensor: shape (N, num_classes), float64, a constant.

    Raises:
        TypeError, IndexError: as cross_entropy.

    >>> to_one_hot(Tensor([1, 0]), 3).data
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    labels = arr.data if isinstance(arr, Tensor) else np.asarray(arr)
    check_labels("to_one_hot", labels, num_classes)
    return Tensor(np.eye(num_classes)[labels])


def check_labels(operation, labels, num_classes):
    """Raise unless ``labels`` (ndarray) are integers from 0 to num_classes - 1."""
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{operation}: expected integer labels, got dtype {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise IndexError(
            f"{operation}: expected labels from 0 to {num_classes - 1}, got {wrong}"
        )
