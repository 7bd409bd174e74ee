"""Styles in which a correct solution may be written, each as a textual change of a correct one.
Each must score 100: test_grader.py demands it, bug_table.py shows what loses points."""

from pathlib import Path
from typing import NamedTuple

from solutions import (
    ACTIVATIONS, BATCHNORM, ENGINE, FUNCTIONAL, LINEAR, LOSS, MODULE, RECURSION, REFERENCE, SECOND,
    SEQUENTIAL, SGD, SGD_BUFFERS, TENSOR, THIRD)


class Style(NamedTuple):
    """One style.

    Attributes:
        name: what is special about it, in plain words; unique.
        edits: as solutions.edited takes them.
        solution: the correct solution that is changed: REFERENCE, SECOND or THIRD.
        note: a part of the note it gets; "" for none.
    """

    name: str
    edits: tuple = ()
    solution: Path = SECOND
    note: str = ""


AT_EACH_USE = "a leaf gets a new AccumulateGrad at each use"  # another on that engine
EACH_PATH = "ran its backward again for each path"  # the note on the engine of the second

# Lines of the second solution that several styles replace.
TENSOR_DATA = "self.data = np.array(data)\n"
CROSS_ENTROPY = "def cross_entropy" + (SECOND / FUNCTIONAL).read_text(encoding="utf-8").split(
    "def cross_entropy")[1].split("\n\n\n")[0] + "\n"
CROSS_ENTROPY_CLASS = """\
class {name}(Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.labels = np.array(target.data, dtype=int)
        ctx.n = len(ctx.labels)
        z = logits.data - np.amax(logits.data, axis=1)[:, None]
        log_softmax = z - np.log(np.sum(np.exp(z), axis=1))[:, None]
        ctx.softmax = np.exp(log_softmax)
        nll = -log_softmax[np.arange(ctx.n), ctx.labels].sum() / ctx.n
        return Tensor(nll, requires_grad=logits.requires_grad, is_leaf=not logits.requires_grad)

    @staticmethod
    def backward(ctx, grad_output):
        grad = ctx.softmax / ctx.n
        for row in range(ctx.n):
            grad[row, ctx.labels[row]] -= 1 / ctx.n
        return Tensor(grad * grad_output.data)
"""
LOSS_IMPORT = "import mytorch.nn.functional as F\n"
LOSS_CALL = "return F.cross_entropy(predicted, target)"
CLASS_IN_LOSS = (
    (LOSS, LOSS_IMPORT, "import numpy as np\n\nfrom mytorch.autograd_engine import Function\n"
     "from mytorch.tensor import Tensor\n"),
    (LOSS, "\n\nclass Loss(Module)", "\n\n" + CROSS_ENTROPY_CLASS.format(name="XELoss")
     + "\n\nclass Loss(Module)"),
    (LOSS, LOSS_CALL, "return XELoss.apply(predicted, target)"),
)
FOR_FLOAT_LABELS = (FUNCTIONAL, "one_hot[row, label] = 1", "one_hot[row, int(label)] = 1")
BN_AVERAGES = """\
        self.running_mean = Tensor.zeros(num_features)
        self.running_var = Tensor.ones(num_features)
"""
BN_EVALUATION = "self.running_mean.data, self.running_var.data)"
BN_UPDATE = """\
        self.running_mean = Tensor(old * self.running_mean.data + self.momentum * mean)
        self.running_var = Tensor(old * self.running_var.data + self.momentum * unbiased)
"""
FLAGS = """\
    grad_needed = False
    for i in inputs:
        if i.requires_grad:
            grad_needed = True
"""
SGD_STEP = """\
        for p, v in zip(self.params, self.momentums):
            v *= self.momentum
            v += p.grad.data
            p.data -= self.lr * v
"""

# Where an operation of one input returns a bare Tensor.
BARE_RETURNS = tuple(
    (FUNCTIONAL, f"return tensor.Tensor({gradient})\n", f"return (tensor.Tensor({gradient}),)\n")
    for gradient in ("grad_output.data.T.copy()", "grad_output.data.reshape(ctx.shape)",
                     "grad_output.data / ctx.saved_tensors[0].data", "grad_output.data * ctx.exp",
                     "np.ones(ctx.shape) * grad_output.data", "grad_output.data * ctx.positive"))

# And of the third.
SORT = """\
    finished, seen, stack = [], set(), [(root, False)]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            finished.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.next_functions if parent is not None)
    return reversed(finished)
"""
DATA_FLOAT32 = "self.data = np.array(data, dtype=np.float32)"
FLOAT64_THROUGHOUT = ((TENSOR, DATA_FLOAT32, "self.data = np.array(data, dtype=float)"),)

STYLES = (
    Style("the reference", (), REFERENCE),
    Style("the second solution: one recursion per path, all in place, bare Exceptions"),
    Style("the third solution: composed, float32, running averages (1, F), Parameter", (), THIRD),

    # Cross entropy
    Style("cross entropy as a Function in loss.py, F.cross_entropy left a TODO", (
        *CLASS_IN_LOSS,
        (FUNCTIONAL, CROSS_ENTROPY, "def cross_entropy(predicted, target):\n"
         '    raise Exception("TODO: Implement XELoss for comp graph")\n'))),
    Style("cross entropy as a Function in loss.py, F.cross_entropy missing", (
        *CLASS_IN_LOSS, (FUNCTIONAL, CROSS_ENTROPY, ""))),
    Style("F.cross_entropy is itself a Function, applied by the loss", (
        (FUNCTIONAL, CROSS_ENTROPY, "Tensor = tensor.Tensor\n\n\n"
         + CROSS_ENTROPY_CLASS.format(name="cross_entropy")),
        (LOSS, LOSS_CALL, "return F.cross_entropy.apply(predicted, target)")),
          note="`import mytorch.tensor` fails"),
    Style("to_one_hot compares, and makes a Tensor that requires grad", (
        (FUNCTIONAL, """\
    one_hot = np.zeros((len(arr.data), num_classes))
    for row, label in enumerate(arr.data):
        one_hot[row, label] = 1
    return tensor.Tensor(one_hot)
""", """\
    columns = np.arange(num_classes)[np.newaxis, :]
    return tensor.Tensor(1.0 * (columns == arr.data[:, np.newaxis]), requires_grad=True)
"""),)),

    # BatchNorm
    Style("running averages as ndarrays of shape (1, F)", (
        (BATCHNORM, BN_AVERAGES, BN_AVERAGES.replace("Tensor.", "np.").replace(
            "(num_features)", "((1, num_features))")),
        (BATCHNORM, BN_EVALUATION, "self.running_mean, self.running_var)"),
        (BATCHNORM, BN_UPDATE, BN_UPDATE.replace("Tensor(", "(").replace(".data", "")))),
    Style("running averages in float32, updated in place", (
        (BATCHNORM, BN_AVERAGES, """\
        self.running_mean = Tensor(np.zeros(num_features, dtype=np.float32))
        self.running_var = Tensor(np.ones(num_features, dtype=np.float32))
"""),
        (BATCHNORM, BN_UPDATE, """\
        self.running_mean.data[:] = old * self.running_mean.data + self.momentum * mean
        self.running_var.data[:] = old * self.running_var.data + self.momentum * unbiased
"""))),
    Style("running averages that require grad and keep the graph of all batches", (
        (BATCHNORM, "            self.update(self.running_mean, mean.data)\n"
         "            self.update(self.running_var, var.data * m / (m - 1))\n", """\
            old, new = number(1 - self.momentum), number(self.momentum)
            self.running_mean = self.running_mean * old + mean * new
            self.running_var = self.running_var * old + var * number(m / (m - 1)) * new
"""),), THIRD, note="the running averages are results in a graph that grows"),
    Style("bias, gamma and beta of shape (1, F)", (
        (LINEAR, "np.random.uniform(-k, k, out_features)", "np.zeros((1, out_features))"),
        (BATCHNORM, "np.ones(num_features)", "np.ones((1, num_features))"),
        (BATCHNORM, "np.zeros(num_features)", "np.zeros((1, num_features))")), THIRD),
    Style("evaluation mode by a flag of BatchNorm1d's own", (
        (BATCHNORM, "        self.momentum = momentum\n",
         "        self.momentum = momentum\n        self.uses_averages = False\n"),
        (BATCHNORM, "    def forward(self, x):\n        if self.is_train:", """\
    def train(self):
        self.uses_averages = False

    def eval(self):
        self.uses_averages = True

    def forward(self, x):
        if not self.uses_averages:"""),), THIRD),
    Style("eps and momentum as Tensors of shape (1,)", (
        (BATCHNORM, "self.eps = eps", "self.eps = Tensor(np.array([eps]))"),
        (BATCHNORM, "self.momentum = momentum", "self.momentum = Tensor(np.array([momentum]))"),
        (BATCHNORM, "self.beta, self.eps,\n", "self.beta, self.eps.data,\n"),
        (BATCHNORM, "self.beta, self.eps)", "self.beta, self.eps.data)"),
        (BATCHNORM, "old = 1 - self.momentum", "old = 1 - self.momentum.data"),
        (BATCHNORM, BN_UPDATE, BN_UPDATE.replace("self.momentum", "(1 - old)")))),

    # Precision and kinds of numbers
    Style("all data cast to float32", (
        (TENSOR, TENSOR_DATA, "self.data = np.array(data).astype(np.float32)\n"),
        FOR_FLOAT_LABELS)),
    Style("all Tensors cast to float32, parameters float64 after a step", (
        (TENSOR, TENSOR_DATA, "self.data = np.array(data).astype(np.float32)\n"),
        FOR_FLOAT_LABELS,
        (SGD, "p.data -= self.lr * v", "p.data = p.data.astype(float) - self.lr * v"))),
    Style("weights start in float32", (
        (LINEAR, "self.weight = Tensor(weight,", "self.weight = Tensor(weight.astype(np.float32),"),
        (LINEAR, "np.zeros(out_features)", 'np.zeros(out_features, "float32")'))),
    Style("float32 throughout, the variance as E[x²] - E[x]²", (
        (BATCHNORM, "var = (deviation * deviation).mean()",
         "var = (x * x).mean() - mean * mean"),), THIRD),
    Style("float64 throughout, composed of small operations", FLOAT64_THROUGHOUT, THIRD),
    Style("requires_grad counted, 0, 1 or 2, instead of True and False", (
        (FUNCTIONAL, FLAGS, "    grad_needed = sum(i.requires_grad for i in inputs)\n"),)),
    Style("requires_grad from np.any", (
        (FUNCTIONAL, FLAGS, "    grad_needed = np.any([i.requires_grad for i in inputs])\n"),)),
    Style("the data of a scalar as a number of NumPy's", (
        (ENGINE, "self.variable.grad.data += grad.data",
         "self.variable.grad.data = self.variable.grad.data + grad.data"),
        (TENSOR, TENSOR_DATA, "self.data = np.array(data)[()]\n"))),

    # Tensor
    Style("T as a property", (
        (TENSOR, "    def T(self):", "    @property\n    def T(self):"),
        (LINEAR, "self.weight.T()", "self.weight.T"))),
    Style("T as a property that gives the bare data, for Functions of one's own", (
        (TENSOR, "    def T(self):\n", "    @property\n    def T(self):\n"),
        (TENSOR, "return F.Transpose.apply(self)", "return self.data.T")), REFERENCE),
    Style("reshape takes rows and columns", (
        (TENSOR, "def reshape(self, *shape):\n        return F.Reshape.apply(self, shape)",
         "def reshape(self, rows, columns):\n"
         "        return F.Reshape.apply(self, (rows, columns))"),)),
    Style("a leaf that requires grad starts with a gradient of zeros", (
        (TENSOR, "        self.grad = None\n",
         "        self.grad = Tensor.zeros(*self.shape) if requires_grad and is_leaf else None\n"),)),
    Style("backward() that takes a gradient", (
        (TENSOR, "def backward(self):", "def backward(self, gradient=None, retain_graph=True):"),
        (TENSOR, "autograd_engine.backward(self.grad_fn, Tensor.ones(*self.shape))",
         "autograd_engine.backward(\n            self.grad_fn, gradient or Tensor.ones(*self.shape))"))),
    Style("data as a property that converts", (
        (TENSOR, TENSOR_DATA, "self._data = np.array(data)\n"),
        (TENSOR, "    @property\n    def shape(self):", """\
    @property
    def data(self):
        return self._data

    @data.setter
    def data(self, value):
        self._data = np.asarray(value)

    @property
    def shape(self):"""))),
    Style("Tensors with ==, len() and indexing by entry", (
        (TENSOR, "    def __add__(self, other):", """\
    def __eq__(self, other):
        return Tensor(self.data == other.data)

    __hash__ = object.__hash__

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return Tensor(self.data[index])

    def __add__(self, other):"""),)),
    Style("Tensors with __slots__", (
        (TENSOR, "class Tensor:\n", "class Tensor:\n    __slots__ = "
         '("data", "requires_grad", "is_leaf", "is_parameter", "grad_fn", "grad")\n\n'),)),

    # Operations
    Style("a - b as a + (-b), a / b as a * (1 / b), with Functions for -b and 1 / b", (
        (FUNCTIONAL, "class Exp(Function):", """\
class Neg(Function):
    @staticmethod
    def forward(ctx, a):
        return result(-a.data, a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(-grad_output.data)


class Inverse(Function):
    @staticmethod
    def forward(ctx, a):
        ctx.inverse = 1.0 / a.data
        return result(ctx.inverse, a)

    @staticmethod
    def backward(ctx, grad_output):
        return tensor.Tensor(-ctx.inverse * ctx.inverse * grad_output.data)


class Exp(Function):"""),
        (TENSOR, "return F.Sub.apply(self, other)", "return self + F.Neg.apply(other)"),
        (TENSOR, "return F.Div.apply(self, other)", "return self * F.Inverse.apply(other)"))),
    Style("Sub hands on the gradient it was given", (
        (FUNCTIONAL, "return grad_output.copy(), tensor.Tensor(-grad_output.data)",
         "return grad_output, tensor.Tensor(-grad_output.data)"),)),
    Style("ReLU's Function in activations.py", (
        (ACTIVATIONS, "import mytorch.nn.functional as F\n", "import numpy as np\n\n"
         "from mytorch.autograd_engine import Function\n"),
        (ACTIVATIONS, "from mytorch.nn.module import Module\n", """\
from mytorch.nn.module import Module
from mytorch.tensor import Tensor


class Rectify(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return Tensor(np.maximum(0, z.data), z.requires_grad, not z.requires_grad)

    @staticmethod
    def backward(ctx, grad_output):
        z, = ctx.saved_tensors
        return Tensor(grad_output.data * np.heaviside(z.data, 0))
"""),
        (ACTIVATIONS, "F.ReLU.apply(x)", "Rectify.apply(x)"))),
    Style("ReLU as a product with a constant mask", (
        (ACTIVATIONS, "return F.ReLU.apply(x)", "return x * Tensor(1.0 * (x.data > 0))"),
        (ACTIVATIONS, "import mytorch.nn.functional as F\n",
         "from mytorch.tensor import Tensor\n"))),
    Style("Linear adds a bias of ones @ b, without broadcasting", (
        (LINEAR, "return x @ self.weight.T() + self.bias",
         "ones = Tensor.ones(x.shape[0], 1)\n        bias = self.bias.reshape(1, self.out_features)\n"
         "        return x @ self.weight.T() + ones @ bias"),)),

    # The engine
    Style("node.visited = True on the given classes", (
        (ENGINE, "    for parent, share in zip(node.next_functions, shares):\n",
         "    node.visited = True\n    for parent, share in zip(node.next_functions, shares):\n"),),
          REFERENCE),
    Style("gradients kept on the nodes, which wait for all of them", (
        (ENGINE, RECURSION, """\
    waiting, unexplored = {}, [grad_fn]
    while unexplored:
        for parent in unexplored.pop().next_functions:
            if parent is not None:
                if parent not in waiting:
                    parent.grad = 0
                    unexplored.append(parent)
                waiting[parent] = waiting.get(parent, 0) + 1
    grad_fn.grad = grad_of_outputs.data
    ready = [grad_fn]
    while ready:
        node = ready.pop(0)
        grads = node.apply(grad_of_outputs.__class__(node.grad))
        grads = grads if isinstance(grads, tuple) else (grads,)
        for parent, grad in zip(node.next_functions, grads):
            if parent is not None:
                parent.grad = parent.grad + grad.data
                waiting[parent] -= 1
                if waiting[parent] == 0:
                    ready.append(parent)
"""),)),
    Style("nodes numbered as they are made, the newest first (a heap)", (
        (ENGINE, SORT, """\
    heap, seen = [(-root.number, root)], {root}
    while heap:
        _, node = heapq.heappop(heap)
        yield node
        for parent in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-parent.number, parent))
"""),
        (ENGINE, "\n\ndef backward(", "\nimport heapq\nimport itertools\n\n"
         "numbers = itertools.count(1)\n\n\ndef backward("),
        (ENGINE, "        self.cls = cls\n", "        self.cls = cls\n        self.number = next(numbers)\n"),
        (ENGINE, "        self.variable = tensor\n", "        self.variable = tensor\n"
         "        self.number = -next(numbers)\n")), THIRD),
    Style("a tape of all operations, played backwards", (
        (ENGINE, SORT, """\
    needed = {root}
    for node in reversed(list(tape)):
        if node in needed:
            yield node
            needed.update(node.next_functions)
    for node in needed:
        if isinstance(node, AccumulateGrad):
            yield node
"""),
        (ENGINE, "\n\ndef backward(", "\ntape = []\n\n\ndef backward("),
        (ENGINE, "            output.grad_fn = node\n",
         "            output.grad_fn = node\n            tape.append(node)\n")), THIRD),
    Style("a recursive sort of the graph", (
        (ENGINE, SORT, """\
    finished, seen = [], set()

    def visit(node):
        if node is None or node in seen:
            return
        seen.add(node)
        for parent in node.next_functions:
            visit(parent)
        finished.insert(0, node)

    visit(root)
    return finished
"""),), THIRD),
    Style("sums in place, under an Add that gives each operand an array of its own", (
        (ENGINE, "                grads[parent] = grads[parent] + share.data "
         "if parent in grads else share.data\n", """\
                if parent not in grads:
                    grads[parent] = share.data
                else:
                    grads[parent] += share.data
"""),), THIRD),
    Style("the stored gradient is a sum of Tensors", (
        (ENGINE, "            self.variable.grad.data += grad.data\n",
         "            self.variable.grad = self.variable.grad + grad\n"),)),
    Style("a dict of parents by position in next_functions", (
        (ENGINE, "node.next_functions.append(AccumulateGrad(arg))",
         "parents.append(AccumulateGrad(arg))"),
        (ENGINE, "node.next_functions.append(arg.grad_fn)", "parents.append(arg.grad_fn)"),
        (ENGINE, "        for arg in args:\n            if type(arg).__name__ != \"Tensor\":\n"
         "                continue",
         "        parents = []\n        for arg in args:\n"
         "            if type(arg).__name__ != \"Tensor\":\n                continue"),
        (ENGINE, "        if output.requires_grad:\n",
         "        node.next_functions = dict(enumerate(parents))\n        if output.requires_grad:\n"))),
    Style("backward() starts from ones that require grad", (
        (TENSOR, "ones = Tensor(np.ones(self.shape, dtype))",
         "ones = Tensor(np.ones(self.shape, dtype), requires_grad=True)"),
        (ENGINE, "leaf.grad = total",
         "leaf.grad = grad if leaf.grad is None else leaf.grad + grad"),
        (FUNCTIONAL, """\
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
        grad_b = Tensor(unbroadcast(grad_output.data, b.shape))
""", """\
        if a.shape == b.shape:
            return grad_output, grad_output
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
        grad_b = Tensor(unbroadcast(grad_output.data, b.shape))
""")), REFERENCE, note="a.grad is itself the result of a graph"),
    Style("apply: every argument must be a Tensor", ((
        ENGINE, "[arg for arg in args if hasattr(arg, \"requires_grad\")]", "args"),), THIRD,
        note="apply fails where one of several arguments is no Tensor"),

    Style("every backward returns a tuple, the engine takes grads[i], and Tensors have rows", (
        (ENGINE, """\
    if not isinstance(grads, tuple):
        grads = (grads,)
""", ""), *BARE_RETURNS,
        (TENSOR, "    def __add__(self, other):", """\
    def __getitem__(self, index):
        return Tensor(self.data[index])

    def __add__(self, other):"""))),
    Style("flags set by apply, and by Add too", (
        (FUNCTIONAL, 'output = compute("Add", np.add, a, b)\n', """\
output = compute("Add", np.add, a, b)
        output.requires_grad = a.requires_grad or b.requires_grad
        output.is_leaf = not output.requires_grad
"""),), REFERENCE),
    Style("a leaf gets its AccumulateGrad when it is made", (
        (TENSOR, "        self.grad_fn = None\n", """\
        self.grad_fn = None
        if requires_grad and is_leaf:
            self.grad_fn = autograd_engine.AccumulateGrad(self)
"""),
        (ENGINE, """\
            if arg.requires_grad and arg.is_leaf:
                node.next_functions.append(AccumulateGrad(arg))
            else:
                node.next_functions.append(arg.grad_fn)
""", """\
            node.next_functions.append(arg.grad_fn)
"""))),
    Style("results of constants alone require grad", (
        (ENGINE, "output.requires_grad = any(node.next_functions)", "output.requires_grad = True"),),
          REFERENCE, note="a result of constants alone requires grad"),
    Style("constants have nodes, which store nothing", (
        (ENGINE, "if arg.requires_grad and arg.is_leaf:", "if arg.is_leaf:"),
        (ENGINE, "        if grad.shape != self.variable.shape:", """\
        if not self.variable.requires_grad:
            return
        if grad.shape != self.variable.shape:""")),
          note="a constant has a node among next_functions"),

    # Layers and modules
    Style("Sequential keeps its layers in a dict", (
        (SEQUENTIAL, "self.layers = list(layers)", "self.layers = dict(enumerate(layers))"),
        (SEQUENTIAL, "for i, layer in enumerate(self.layers):", "for i, layer in self.layers.items():"),
        (SEQUENTIAL, "yield from self.layers", "yield from self.layers.values()"))),
    Style("layers with a __call__ of their own", (
        (LINEAR, "    def forward(self, x):", "    def __call__(self, x):"),)),

    # SGD
    Style("SGD is no Optimizer and takes its parameters in a set", (
        (SGD, "class SGD(Optimizer):", "class SGD:"),
        (SGD, "from mytorch.optim.optimizer import Optimizer\n\n\n", "\n"),
        (SGD, "        super().__init__(params)\n", "        self.params = set(params)\n")),),
    Style("SGD: momenta as Tensors, steps as operations on constants", (
        (SGD, SGD_BUFFERS, "self.momentums = [Tensor.zeros(*p.shape) for p in self.params]"),
        (SGD, SGD_STEP, """\
        for i, p in enumerate(self.params):
            beta, lr = (Tensor(np.full(p.shape, x)) for x in (self.momentum, self.lr))
            self.momentums[i] = self.momentums[i] * beta - p.grad * lr
            p.data = (p.copy() + self.momentums[i]).data
"""),
        (SGD, "from mytorch.optim.optimizer", "from mytorch.tensor import Tensor\n"
         "from mytorch.optim.optimizer"))),
    Style("ReLU: backward writes into the gradient it is given, and every Add makes new ones", (
        (FUNCTIONAL, "        return tensor.Tensor(grad_output.data * ctx.positive)\n", """\
        grad_output.data *= ctx.positive
        return tensor.Tensor(grad_output.data)
"""),
        (FUNCTIONAL, """\
        return (tensor.Tensor(unbroadcast(grad_output.data, ctx.a_shape)),
                tensor.Tensor(unbroadcast(grad_output.data, ctx.b_shape)))
""", """\
        return (tensor.Tensor(unbroadcast(grad_output.data, ctx.a_shape).copy()),
                tensor.Tensor(unbroadcast(grad_output.data, ctx.b_shape).copy()))
""")),
        note="ReLU's backward writes into the gradient"),
    Style("SGD: the stored gradient scaled in place", (
        (SGD, SGD_STEP, """\
        for p, v in zip(self.params, self.momentums):
            v *= self.momentum
            p.grad.data *= self.lr
            v += p.grad.data
            p.data -= v
"""),), note="step() changes param.grad itself: from 1 to 0.25"),
    Style("zero_grad() writes zeros into the gradients", (
        (SGD, "            p.grad = None\n", "            if p.grad is not None:\n"
         "                p.grad.data[...] = 0\n"),)),

    Style("the matrix product: gradients by central differences", (
        (FUNCTIONAL, """\
        return (tensor.Tensor(np.dot(grad_output.data, b.data.T)),
                tensor.Tensor(np.dot(a.data.T, grad_output.data)))
""", """\
        from mytorch.autograd_engine import ContextManager
        arrays, grads = [a.data.copy(), b.data.copy()], []
        for array in arrays:
            grad = np.zeros(array.shape)
            for index in np.ndindex(*array.shape):
                at, sides = array[index], []
                for array[index] in (at + 1, at - 1):
                    moved = MatMul.forward(ContextManager(), *map(tensor.Tensor, arrays))
                    sides.append(np.sum(moved.data * grad_output.data))
                array[index] = at
                grad[index] = (sides[0] - sides[1]) / 2
            grads.append(tensor.Tensor(grad))
        return tuple(grads)
"""),), note="one backward() ran forward"),

    # How files import each other, and what they do then
    Style("from mytorch.tensor import * in functional.py, which tensor.py imports first", (
        (FUNCTIONAL, "from mytorch.tensor import Tensor\n", "from mytorch.tensor import *\n"),
        (TENSOR, "from mytorch.autograd_engine import", "import mytorch.nn.functional as F\n"
         "from mytorch.autograd_engine import"),
        (TENSOR, "\n\nimport mytorch.nn.functional as F  # noqa: E402\n", "\n")), THIRD),
    Style("the engine imports Tensor, which works in the order of hw1/mnist.py alone", (
        (ENGINE, "from mytorch.checks import (", "from mytorch.tensor import Tensor  # noqa: F401\n"
         "from mytorch.checks import ("),), REFERENCE, note="`import mytorch.tensor` fails"),
    Style("warnings made errors at import", (
        (TENSOR, "\n\nclass Tensor", "\nimport warnings\n\nwarnings.simplefilter(\"error\")\n"
         'np.seterr(all="raise")\n\n\nclass Tensor'),)),
    Style("a recursion limit of a million", (
        (ENGINE, "\n\ndef backward(", "\nimport sys\n\nsys.setrecursionlimit(10**6)\n\n\ndef backward("),)),
    Style("prints whatever it does", (
        (ENGINE, "        node = BackwardFunction(cls)\n",
         '        node = BackwardFunction(cls)\n        print("apply", cls.__name__, args)\n'),)),
)
