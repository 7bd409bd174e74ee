"""Tensor: an ndarray that remembers how it was computed.
Its operators only prepare their operands; the operations live in nn/functional.py."""

import numpy as np

from mytorch import autograd_engine
from mytorch.checks import type_of

# What NumPy calls an operator → its method here: ndarray + Tensor asks for np.add of the two.
OPERATORS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv",
             "true_divide": "truediv", "matmul": "matmul"}
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
NUMBERS = (int, float, np.integer, np.floating, np.bool_)


class Tensor:
    """An array of numbers, with what autograd must know about it.

    Three kinds of Tensor occur: a constant (``requires_grad=False``); a leaf, made by the
    user, that collects a gradient (``requires_grad`` and ``is_leaf``); and the result of an
    operation on one of these (``requires_grad``, not ``is_leaf``).

    Args:
        data: ndarray (wrapped, not copied), nested lists, a number, or a Tensor. Real
            numbers of any dtype; integers become float64 if a gradient is required.
        requires_grad (bool): whether ``backward`` computes a gradient for it.
        is_leaf (bool): False only for results of operations that require grad.
        is_parameter (bool): a weight of a Module; implies ``requires_grad`` and ``is_leaf``.

    Attributes:
        data (ndarray): the values.
        grad (Tensor or None): the gradient, of the same shape; stored on leaves only, and
            added to by each ``backward`` until set back to None.
        grad_fn: the node of the graph that belongs to this Tensor: a BackwardFunction for a
            result, an AccumulateGrad for a leaf once it is used, None for a constant.

    Raises:
        TypeError: for data that is not real numbers.

    >>> a = Tensor([1., 2.], requires_grad=True)
    >>> (a * a).backward()
    >>> a.grad.data
    array([2., 4.])
    """

    def __init__(self, data, requires_grad=False, is_leaf=True, is_parameter=False):
        if is_parameter:
            requires_grad = is_leaf = True
        if type(data) is not np.ndarray or data.dtype.kind != "f":
            data = to_array(data, requires_grad)
        self.data = data
        self.requires_grad = requires_grad
        self.is_leaf = is_leaf or not requires_grad
        self.is_parameter = is_parameter
        self.grad = self.grad_fn = None

    def __repr__(self):
        if isinstance(self.data, Tensor):
            return "<Tensor whose data is a Tensor; use arrays: w.data = w.data - lr * w.grad.data>"
        if not isinstance(self.data, (np.ndarray, np.generic)):
            return f"<Tensor whose data is a {type(self.data).__name__}, expected an ndarray>"
        values = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=60)
        kind = ""
        if self.is_parameter:
            kind = ", is_parameter=True"
        elif self.requires_grad and self.is_leaf:
            kind = ", requires_grad=True"
        elif self.grad_fn is not None:
            kind = f", grad_fn={self.grad_fn.function_name}"
        return f"Tensor({values}, shape={self.shape}, dtype={self.data.dtype}{kind})"

    @property
    def shape(self):
        """Tuple of the lengths of the axes; ``()`` for a single number."""
        return self.data.shape

    @property
    def dtype(self):
        """The NumPy dtype of the entries."""
        return self.data.dtype

    def item(self):
        """The only entry, as a Python number; ValueError if there is not exactly one."""
        if self.data.size != 1:
            raise ValueError(f"item: expected a Tensor of one entry, got shape {self.shape}")
        return self.data.item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __round__(self, digits=None):
        return round(self.item(), digits)

    def __format__(self, spec):
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self):
        if self.data.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is neither true nor false; to ask whether there "
                "is one, write `t is not None`, to ask about its entries, t.data.any() or all()")
        return bool(self.item())

    def __eq__(self, other):
        return False if other is None else self._refuse_comparison(other)

    def _refuse_comparison(self, other):
        raise TypeError("Tensors cannot be compared: compare their arrays, as in a.data == b.data, "
                        "or write `a is b` to ask whether they are the same object")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse_comparison
    __hash__ = object.__hash__  # defining == would take it away

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "NumPy cannot take a Tensor as an array: pass its .data, as in np.asarray(t.data)")

    def __array_ufunc__(self, ufunc, method, *operands, **options):
        """What NumPy calls for ``ndarray + Tensor``, and for ``np.exp(tensor)``: a TypeError."""
        if ufunc.__name__ in COMPARISONS:
            self._refuse_comparison(None)
        is_in_place = options.get("out", [None])[0] is operands[0]  # as in array += tensor
        if method != "__call__" or ufunc.__name__ not in OPERATORS or options and not is_in_place:
            self.__array_function__(ufunc, (), (), {})
        name, (left, right) = OPERATORS[ufunc.__name__], operands
        if isinstance(left, Tensor):
            return getattr(left, f"__{name}__")(right)
        return getattr(right, f"__r{name}__")(left)

    def __array_function__(self, function, types, args, kwargs):
        """What NumPy calls for ``np.sum(tensor)``, which is refused: no graph would record it."""
        if function is np.shape:
            return self.shape
        raise TypeError(f"np.{function.__name__} cannot take a Tensor: pass its .data, as in "
                        f"np.{function.__name__}(t.data), or write a Function for it")

    def __getstate__(self):
        """For copy and pickle: a leaf's node belongs to this Tensor, and a copy gets its own. Of a
        graph deeper than a few hundred operations both raise Python's RecursionError."""
        return {**vars(self), "grad_fn": None if self.is_leaf else self.grad_fn}

    @staticmethod
    def zeros(*shape):
        """Constant Tensor of zeros, float64, of that shape (numbers or one tuple)."""
        return Tensor(np.zeros(as_shape(shape)))

    @staticmethod
    def ones(*shape):
        """Constant Tensor of ones, float64, of that shape (numbers or one tuple)."""
        return Tensor(np.ones(as_shape(shape)))

    @staticmethod
    def empty(*shape):
        """Constant Tensor of that shape, float64, whose values are whatever memory held."""
        return Tensor(np.empty(as_shape(shape)))

    @staticmethod
    def randn(*shape):
        """Constant Tensor of standard normal draws, float64, from NumPy's global generator."""
        return Tensor(np.random.standard_normal(as_shape(shape)))

    @staticmethod
    def arange(*args):
        """Constant Tensor of evenly spaced numbers; arguments as of ``numpy.arange``."""
        return Tensor(np.arange(*args))

    def copy(self):
        """A constant with the same values in memory of its own, outside any graph."""
        return Tensor(self.data.copy())

    def detach(self):
        """A constant around the same array, outside any graph; of a subclass if this Tensor is."""
        twin = Tensor.__new__(type(self))  # a subclass's __init__ may take other arguments
        twin.data, twin.requires_grad, twin.is_leaf = self.data, False, True
        twin.is_parameter, twin.grad, twin.grad_fn = False, None, None
        return twin

    def fill_(self, value):
        """Set every entry to the number ``value``; returns this Tensor. The entries are in a new
        array: what an operation has saved of the old one for its ``backward`` stays."""
        self.data = np.full_like(self.data, value)
        return self

    def backward(self):
        """Compute the gradient of every leaf this Tensor was computed from.

        Starts from ones of this Tensor's shape, so for an array it differentiates the sum of
        the entries (PyTorch takes scalars only). Adds to each leaf's ``.grad``.

        Raises:
            RuntimeError: if the Tensor is outside any graph.
        """
        # BEGIN SOLUTION 1.2: call autograd_engine.backward with ones
        dtype = self.data.dtype if self.data.dtype.kind == "f" else np.float64
        ones = Tensor(np.ones(self.shape, dtype))
        autograd_engine.backward(autograd_engine.gradient_node(self), ones)
        # END SOLUTION 1.2

    def __add__(self, other):
        return F.Add.apply(self, as_operand(other, self, "+"))

    def __radd__(self, other):
        return F.Add.apply(as_operand(other, self, "+"), self)

    # BEGIN SOLUTION 1.1.1: the operator -, like + above
    def __sub__(self, other):
        return F.Sub.apply(self, as_operand(other, self, "-"))

    def __rsub__(self, other):
        return F.Sub.apply(as_operand(other, self, "-"), self)
    # END SOLUTION 1.1.1

    # BEGIN SOLUTION 1.1.2: the operator *
    def __mul__(self, other):
        return F.Mul.apply(self, as_operand(other, self, "*"))

    def __rmul__(self, other):
        return F.Mul.apply(as_operand(other, self, "*"), self)

    def __neg__(self):
        return self * -1
    # END SOLUTION 1.1.2

    # BEGIN SOLUTION 1.1.3: the operator /
    def __truediv__(self, other):
        return F.Div.apply(self, as_operand(other, self, "/"))

    def __rtruediv__(self, other):
        return F.Div.apply(as_operand(other, self, "/"), self)
    # END SOLUTION 1.1.3

    # BEGIN SOLUTION 2.1: the operator @
    def __matmul__(self, other):
        return F.matmul(self, as_operand(other, self, "@"))

    def __rmatmul__(self, other):
        return F.matmul(as_operand(other, self, "@"), self)
    # END SOLUTION 2.1

    def T(self):
        """Transpose of a 2-D Tensor; ValueError for any other."""
        return F.Transpose.apply(self)

    def reshape(self, *shape):
        """Same entries in another shape (numbers or one tuple; one of them may be -1)."""
        return F.Reshape.apply(self, as_shape(shape))

    def log(self):
        """Natural logarithm of every entry."""
        return F.Log.apply(self)

    # BEGIN SOLUTION 2.4: methods for what BatchNorm1d needs, if you like
    def sqrt(self):
        """Square root of every entry."""
        return F.Sqrt.apply(self)

    def sum(self, axis=None, keepdims=False):
        """Sum over all entries, or over an axis or a tuple of axes, like ``numpy.sum``."""
        return F.Sum.apply(self, axis, keepdims)
    # END SOLUTION 2.4


def to_array(data, requires_grad):
    """``data`` as an ndarray of real numbers, floating if a gradient is required."""
    try:
        array = np.asarray(data.data if isinstance(data, Tensor) else data)
    except ValueError as error:
        raise ValueError(
            f"Tensor: expected real numbers, got {type(data).__name__}: {error}") from None
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind not in "iub":
        raise TypeError(
            f"Tensor: expected real numbers, got {type(data).__name__} (as an array: {array.dtype})"
        )
    return array.astype(np.float64) if requires_grad else array


def as_operand(value, other, operator):
    """``value`` as a Tensor; a bare number takes the dtype of ``other``, its fellow operand,
    if that is floating, so that ``2.0 * t`` keeps float32."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, NUMBERS):
        dtype = getattr(other.data, "dtype", None)  # data may have been replaced; apply will say so
        return Tensor(np.asarray(value, dtype if dtype and dtype.kind == "f" else None))
    if isinstance(value, np.ndarray):
        return Tensor(value)
    hint = "; call a method with its parentheses, as in w.T()" if callable(value) else ""
    raise TypeError(f"Tensor {operator}: expected a Tensor, an ndarray or a number, "
                    f"got {type_of(value, Tensor)}{hint}")


def as_shape(args):
    """``(2, 3)`` from either ``f(2, 3)`` or ``f((2, 3))``."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


# Last, because functional.py needs Tensor in turn; the operators above look F up when they run.
import mytorch.nn.functional as F  # noqa: E402
