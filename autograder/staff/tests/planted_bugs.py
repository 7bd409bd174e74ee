"""Typical mistakes of students, each as a textual change of a correct solution.
test_grader.py demands that the grader catches every one; bug_table.py shows how it does."""

from pathlib import Path
from typing import NamedTuple

import solutions
from solutions import (
    ACTIVATIONS, BATCHNORM, ENGINE, FUNCTIONAL, LINEAR, LOSS, MODULE, OPTIMIZER, RECURSION,
    REFERENCE, SECOND, SEQUENTIAL, SGD, SGD_BUFFERS, TENSOR, THIRD)

SAME = ("the same changes",)


class Bug(NamedTuple):
    """One mistake.

    Attributes:
        number: the problem it belongs to, which must lose points.
        name: what the student did, in plain words; unique.
        file: the file it is in, below mytorch/.
        old, new: a text that occurs once in it, and what stands there instead.
        also: further pairs of old and new for the same file, or triples with another file.
        solution: the correct solution that is changed: REFERENCE, SECOND or THIRD.
        says: the sentence that a student reads whose results are those of this mistake.
        second, third: the same mistake in that solution, as ``also``, or SAME for the same changes;
            its name must hold there too.
    """

    number: str
    name: str
    file: str
    old: str
    new: str
    also: tuple = ()
    solution: Path = REFERENCE
    says: str = ""
    second: tuple = ()
    third: tuple = ()

    def plant(self, root):
        """Make ``root``/mytorch a copy of the correct solution with this mistake in it."""
        solutions.write(root, self.solution, self.edits)

    @property
    def edits(self):
        """The changes, as solutions.edited takes them."""
        return [change if len(change) == 3 else (self.file, *change)
                for change in ((self.old, self.new), *self.also) if change != ("", "")]

    @property
    def elsewhere(self):
        """The same mistake in other people's code, as Bugs."""
        return [self._replace(
            solution=solution, name=f"{self.name}, in the {solution.name}",
            **{} if changes is SAME else dict(old="", new="", also=changes))
                for solution, changes in ((SECOND, self.second), (THIRD, self.third)) if changes]


def in_second(*args, **fields):
    """A Bug of the second solution."""
    return Bug(*args, solution=SECOND, **fields)


def in_third(*args, **fields):
    """A Bug of the third solution, which computes in float32."""
    return Bug(*args, solution=THIRD, **fields)


# Lines of the reference that several mistakes replace.
ADD_BACKWARD = """\
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
        grad_b = Tensor(unbroadcast(grad_output.data, b.shape))
"""
SUB_A = """\
        # BEGIN SOLUTION 1.1.1: the gradient of a, and the one of b
        a, b = ctx.saved_tensors
        grad_a = Tensor(unbroadcast(grad_output.data, a.shape))
"""
SUB_B = "grad_b = Tensor(unbroadcast(-grad_output.data, b.shape))"
MUL_A = "grad_a = Tensor(unbroadcast(grad_output.data * b.data, a.shape))"
MUL_B = "grad_b = Tensor(unbroadcast(grad_output.data * a.data, b.shape))"
DIV_B_VALUE = "-grad_output.data * a.data / b.data / b.data"
TRAVERSAL = """\
    awaited = count_gradients(grad_fn)
    call_with_room_for(len(awaited) + 1, visit, grad_fn, grad_of_output, awaited, {})
"""
SUM = "share = held if share is None else held + share"
ACCUMULATE = "leaf.grad = total"
REQUIRES_GRAD = "output.requires_grad = any(node.next_functions)"
RELU_FORWARD = 'output = compute("ReLU", lambda data: np.maximum(data, data.dtype.type(0)), z)'
RELU_BACKWARD = "return Tensor(np.where(z.data <= 0, grad.dtype.type(0), grad))"
SEQUENTIAL_LOOP = """\
        for layer in self.layers:
            x = layer(x)
        return x
"""
SGD_GRADIENT = "step = -self.lr * param.grad.data"
SGD_MOMENTUM = "step = self.momentum * self.momentums[i] + step"
SGD_STORE = "self.momentums[i] = step = np.asarray(step, param.data.dtype)"
SGD_UPDATE = "param.data = np.asarray(param.data + step)"
CE_SHIFT = "shifted = z - z.max(axis=1, keepdims=True)"
CE_LOG = "losses = np.log(sums[:, 0]) - shifted[rows]"
CE_OF_ALL = "losses = np.log(sums) - shifted[:, labels.data]"
CE_LOSS = "return Tensor((losses / len(losses)).sum())"
CE_GRADIENT = "return Tensor(grad_output.data * grad / len(grad)), None"
CE_APPLY = "return CrossEntropy.apply(predicted, target)"

# And of the second solution.
LINEAR_FORWARD = "return x @ self.weight.T() + self.bias"
UNBROADCAST_SUM = "        grad = grad.sum(axis=0)\n"
MATMUL_SAVED = """\
        a, b = ctx.saved_tensors
        return (tensor.Tensor(np.dot(grad_output.data, b.data.T)),
                tensor.Tensor(np.dot(a.data.T, grad_output.data)))
"""
BN_IF_EVALUATION = "        if not self.is_train:\n"
BN_APPLY = "return F.BatchNorm.apply(x, self.gamma, self.beta, self.eps)"
BN_UPDATE_VAR = "self.running_var = Tensor(old * self.running_var.data + self.momentum * unbiased)"
BN_STATISTICS = """\
            mean = np.mean(x.data, axis=0)
            var = np.var(x.data, axis=0)
"""
BN_STD = "ctx.std = np.sqrt(var + eps)"
BN_X_HAT = "ctx.x_hat = (x.data - mean) / ctx.std"
SUB_BACKWARD = "return grad_output.copy(), tensor.Tensor(-grad_output.data)"
SUB_FORWARD = "return result(a.data - b.data, a, b)"
MUL_FORWARD = "        return result(a.data * b.data, a, b)\n"
MUL_BACKWARD = (
    "return tensor.Tensor(b.data * grad_output.data), tensor.Tensor(a.data * grad_output.data)")
DIV_FORWARD = "return result(a.data / b.data, a, b)"
DIV_B = "grad_b = -a.data * b.data ** -2 * grad_output.data"
PARENTS = RECURSION[RECURSION.index("    for i"):]
NEW_NODE = "node = BackwardFunction(cls)\n"
ADD_UP = "            self.variable.grad.data += grad.data\n"
ONES = "Tensor.ones(*self.shape)"
ADD_A = """\
        return (tensor.Tensor(unbroadcast(grad_output.data, ctx.a_shape)),
"""
ADD_B = """\
                tensor.Tensor(unbroadcast(grad_output.data, ctx.b_shape)))
"""
RELU_MASK = "np.where(a.data > 0, 1.0, 0.0)"
LOG_PROBABILITIES = "    log_probabilities = shifted + log_sums * minus\n"
SOFTMAX = """\
    exps = shifted.exp()
    sums = exps.sum(axis=1) @ tensor.Tensor(np.ones((1, num_classes)))
"""
SGD_SECOND_UPDATE = "p.data -= self.lr * v"
BN_BY_MEAN, BN_BY_VAR = " - d_hat.mean(axis=0)", " - ctx.x_hat * np.mean(d_hat * ctx.x_hat, axis=0)"

# And of the third.
ANY_TENSOR = "any(t.requires_grad for t in tensors)"
HANDED_ON = "zip(node.next_functions, shares)"
BN_VAR = "(deviation * deviation).mean()"
SUMMED = "grads[parent] + share.data if parent in grads else share.data"
THROUGH_LAYERS = (
    "return functools.reduce(lambda output, layer: layer(output), self.layers, x)")

# Engines that keep sums of gradients, with the next node from either end of a list.
WITH_SUMS = """\
    waiting, sums, ready = count_gradients(grad_fn), {{grad_fn: grad_of_output}}, [grad_fn]
    while ready:
        node = ready.pop({end})
        for parent, share in zip(node.next_functions, node.apply(sums.pop(node))):
            if parent is None or share is None:
                continue
            if parent in sums:
                sums[parent].data += share.data
            else:
                sums[parent] = share
            waiting[parent] -= 1
            if waiting[parent] == 0:
                ready.append(parent)
"""

# Sentences about several mistakes.
IN_PLACE = "{} in place: make a new array instead."
UNREACHED = ("No gradient reaches {}: compute with {} itself, not with its .data, and return a "
             "gradient for it from backward.")
KEPT = ("What backward needs is kept in one place for all uses, so that a later use replaces it: "
        "keep it in ctx.")
ADDED_IN_PLACE = ("Gradients are added up in place, in an array that is another tensor's gradient "
                  "too: make a new array for each sum.")
AFTER_CONSTANT = ("After an operand that is a constant, gradients reach the wrong operands: "
                  "next_functions needs an entry for each operand, None for a constant, and the "
                  "gradients go by position.")
UNCHANGED = ("step() leaves the parameters of the layers as they were: change the .data of each. "
             "A new Tensor, in a variable or in optimizer.params, is not the layer's.")
BASE_10 = "The logarithm is to base 10: the natural one is np.log."
ALL_COLUMNS = ("log_p[:, labels] takes the columns of all labels in each row: "
               "log_p[np.arange(N), labels] takes one entry of each row.")
ONE_ONLY = ("A result that is used several times hands down the gradient of one use alone: "
            "gradients that meet must be added up.")

BUGS = (
    # 1.1 Add is given, but students extend it.
    Bug("1.1", "Add: upstream gradient ignored", FUNCTIONAL,
        ADD_BACKWARD, "        grad_a, grad_b = (Tensor(np.ones(x.shape)) for x in (a, b))\n",
        second=((ADD_A, ADD_A.replace("grad_output.data", "np.ones(grad_output.shape)")),
                (ADD_B, ADD_B.replace("grad_output.data", "np.ones(grad_output.shape)"))),
        says="Add.backward ignores the gradient from above: multiply by grad_output."),
    Bug("1.1", "Add: gradient of b always summed over the rows", FUNCTIONAL,
        ADD_BACKWARD, "        grad_a, grad_b = grad_output, Tensor(grad_output.data.sum(0))\n",
        says="Add.backward sums the gradient of b over the rows although b was not broadcast: sum "
             "only over axes that were repeated."),

    # 1.1.1 Subtraction
    Bug("1.1.1", "Sub: gradient of b without its minus", FUNCTIONAL,
        SUB_B, "grad_b = Tensor(unbroadcast(grad_output.data, b.shape))",
        second=((SUB_BACKWARD, SUB_BACKWARD.replace("-", "")),),
        says="The gradient of b lacks its minus: the derivative with respect to b is -1."),
    Bug("1.1.1", "Sub: upstream gradient ignored", FUNCTIONAL,
        SUB_A, "        a, b = ctx.saved_tensors\n        grad_a = Tensor(np.ones(a.shape))\n",
        also=((SUB_B, "grad_b = Tensor(-np.ones(b.shape))"),),
        second=((SUB_BACKWARD, "ones = np.ones(grad_output.shape)\n"
                 "        return tensor.Tensor(ones), tensor.Tensor(-ones)"),),
        says="Sub.backward ignores the gradient from above: multiply by grad_output."),
    Bug("1.1.1", "Sub: forward adds (copied from Add)", FUNCTIONAL,
        'compute("Sub", np.subtract, a, b)', 'compute("Sub", np.add, a, b)',
        second=((SUB_FORWARD, SUB_FORWARD.replace("-", "+")),),
        says="Sub.forward adds instead of subtracting."),
    Bug("1.1.1", "Sub: negates the upstream gradient in place", FUNCTIONAL,
        SUB_B, "grad_output.data *= -1\n        grad_b = Tensor(grad_output.data)",
        says=IN_PLACE.format("Sub.backward changes the gradient it is given")),
    Bug("1.1.1", "Sub: gradients are ndarrays, not Tensors", FUNCTIONAL,
        SUB_A, "        grad_a = grad_output.data\n",
        also=((SUB_B, "grad_b = -grad_output.data"),),
        second=((SUB_BACKWARD, "return grad_output.data, -grad_output.data"),),
        says="Sub.backward returns ndarrays: return Tensors."),
    Bug("1.1.1", "Sub: one gradient instead of two", FUNCTIONAL,
        SUB_B, "return grad_a",
        second=((SUB_BACKWARD, "return grad_output.copy()"),),
        says="Sub.backward returns one gradient: return two, of a and of b."),
    Bug("1.1.1", "operator - calls Add", TENSOR,
        'F.Sub.apply(self, as_operand(other, self, "-"))',
        'F.Add.apply(self, as_operand(other, self, "-"))',
        second=(("F.Sub.apply", "F.Add.apply"),),
        says="The operator - adds: let Tensor.__sub__ call F.Sub.apply(self, other)."),
    Bug("1.1.1", "operator - with its operands exchanged", TENSOR,
        'F.Sub.apply(self, as_operand(other, self, "-"))',
        'F.Sub.apply(as_operand(other, self, "-"), self)',
        second=(("F.Sub.apply(self, other)", "F.Sub.apply(other, self)"),),
        says="The operator - subtracts the left side from the right: let Tensor.__sub__ call "
             "F.Sub.apply(self, other), in this order."),

    in_second("1.1.1", "Sub: subtracts from its first operand in place", FUNCTIONAL,
        SUB_FORWARD, "a.data -= b.data\n        return result(a.data, a, b)",
        says=IN_PLACE.format("Sub.forward changes its input a")),
    Bug("1.1.1", "Sub: gradient of b summed where it is a vector", FUNCTIONAL,
        SUB_B, "grad_b = Tensor(-grad_output.data if b.data.ndim > 1 else -grad_output.data.sum())",
        says="The gradient of a vector is summed although it was not broadcast: sum only over axes "
             "that were repeated."),
    in_second("1.1.1", "Sub: the size of the difference", FUNCTIONAL,
        SUB_FORWARD, "return result(np.abs(a.data - b.data), a, b)",
        says="Sub.forward gives the absolute value of the difference."),

    # 1.1.2 Multiplication
    Bug("1.1.2", "Mul: gradients exchanged", FUNCTIONAL,
        "return grad_a, grad_b\n        # END SOLUTION 1.1.2",
        "return grad_b, grad_a\n        # END SOLUTION 1.1.2",
        second=((MUL_BACKWARD, "b, a = ctx.saved_tensors\n        " + MUL_BACKWARD),),
        says="The gradients of a and b are in each other's place: that of a is grad_output * b, "
             "and that of b is grad_output * a."),
    Bug("1.1.2", "Mul: upstream gradient ignored", FUNCTIONAL,
        MUL_A, "grad_a = Tensor(b.data)", also=((MUL_B, "grad_b = Tensor(a.data)"),),
        second=((MUL_BACKWARD, "return b, a"),),
        says="Mul.backward ignores the gradient from above: multiply by grad_output."),
    Bug("1.1.2", "Mul: matrix product instead of entry by entry", FUNCTIONAL,
        'compute("Mul", np.multiply, a, b)',
        'compute("Mul", np.matmul if a.shape == b.shape[::-1] else np.multiply, a, b)',
        says="Mul.forward takes the matrix product where the shapes allow it: a * b is entry by "
             "entry."),
    Bug("1.1.2", "Mul: saves twice, so that the second replaces the first", FUNCTIONAL,
        'np.multiply, a, b)\n        ctx.save_for_backward(a, b)',
        'np.multiply, a, b)\n        ctx.save_for_backward(a)\n        ctx.save_for_backward(b)',
        says="backward finds one saved tensor instead of two: let forward call "
             "save_for_backward(a, b), once."),
    Bug("1.1.2", "Mul: gradient as output / factor, nan where a factor is 0", FUNCTIONAL,
        MUL_A, "grad_a = Tensor(grad_output.data * (a.data * b.data) / a.data)",
        second=((MUL_BACKWARD, MUL_BACKWARD.replace("(b.data", "(a.data * b.data / a.data", 1)),),
        says="A gradient is computed by dividing by a factor, which gives nan where the factor is "
             "0: multiply grad_output by the other factor."),
    Bug("1.1.2", "Mul: gradients are multiplied into the upstream gradient in place", FUNCTIONAL,
        MUL_A, "grad_output.data *= b.data\n        grad_a = Tensor(grad_output.data)",
        second=((MUL_BACKWARD, "grad_output.data *= b.data\n        "
                 + MUL_BACKWARD.replace("b.data * ", "")),),
        says=IN_PLACE.format("Mul.backward changes the gradient it is given")),

    in_second("1.1.2", "Mul: multiplies its first operand in place", FUNCTIONAL,
        MUL_FORWARD, "        a.data *= b.data\n        return result(a.data, a, b)\n",
        says=IN_PLACE.format("Mul.forward changes its input a")),
    in_second("1.1.2", "Mul: upstream gradient multiplied into the operands in place", FUNCTIONAL,
        MUL_BACKWARD, "b.data *= grad_output.data\n        a.data *= grad_output.data\n"
        "        return b, a",
        also=(("ctx.save_for_backward(a, b)\n" + MUL_FORWARD,
               "ctx.saved_tensors = a, b\n" + MUL_FORWARD),),
        says=IN_PLACE.format("Mul.backward changes the tensors a and b")),
    in_second("1.1.2", "Mul: gradients of vectors as matrix products", FUNCTIONAL,
        MUL_BACKWARD, "multiply = np.multiply if a.data.ndim > 1 else np.dot\n"
        "        return (tensor.Tensor(multiply(b.data, grad_output.data)),\n"
        "                tensor.Tensor(multiply(a.data, grad_output.data)))",
        says="The gradients of vectors are summed to one number, as by np.dot or @: multiply entry "
             "by entry."),
    in_second("1.1.2", "Mul requires grad if both of its factors do", FUNCTIONAL,
        MUL_FORWARD, """\
        needs_grad = a.requires_grad and b.requires_grad
        return tensor.Tensor(a.data * b.data, requires_grad=needs_grad, is_leaf=not needs_grad)
""",
        says="The result of a * b requires grad only if both factors do: it must if either of them "
             "does."),
    in_second("1.1.2", "Mul: the gradient of the sum of the products", FUNCTIONAL,
        MUL_BACKWARD, MUL_BACKWARD.replace("grad_output.data", "grad_output.data.sum()"),
        says="Mul.backward adds up all of grad_output: multiply it entry by entry with the other "
             "factor."),

    # 1.1.3 Division
    Bug("1.1.3", "Div: gradient of b without its minus", FUNCTIONAL,
        DIV_B_VALUE, "grad_output.data * a.data / b.data / b.data",
        second=((DIV_B, DIV_B.replace("-a.data", "a.data")),),
        says="The gradient of b lacks its minus: it is -a / b**2 times grad_output."),
    Bug("1.1.3", "Div: divisor not squared in the gradient of b", FUNCTIONAL,
        DIV_B_VALUE, "-grad_output.data * a.data / b.data",
        second=((DIV_B, DIV_B.replace("-2", "-1")),),
        says="The divisor is not squared in the gradient of b, which is -a / b**2 times "
             "grad_output."),
    Bug("1.1.3", "Div: numerator forgotten in the gradient of b", FUNCTIONAL,
        DIV_B_VALUE, "-grad_output.data / b.data / b.data",
        second=((DIV_B, DIV_B.replace("a.data *", "1 *")),),
        says="The numerator is missing in the gradient of b, which is -a / b**2 times "
             "grad_output."),
    Bug("1.1.3", "Div: upstream gradient ignored for b", FUNCTIONAL,
        DIV_B_VALUE, "-a.data / b.data / b.data",
        second=((DIV_B, DIV_B.replace(" * grad_output.data", "")),),
        says="The gradient of b ignores the gradient from above: multiply by grad_output."),
    Bug("1.1.3", "Div: gradients exchanged", FUNCTIONAL,
        "        return grad_a, grad_b\n        # END SOLUTION 1.1.3",
        "        return grad_b, grad_a\n        # END SOLUTION 1.1.3",
        second=(("return tensor.Tensor(grad_a), tensor.Tensor(grad_b)",
                 "return tensor.Tensor(grad_b), tensor.Tensor(grad_a)"),),
        says="The gradients of a and b are in each other's place: that of a comes first."),
    Bug("1.1.3", "Div: a small constant added to the divisor", FUNCTIONAL,
        'compute("Div", np.true_divide, a, b)',
        'compute("Div", lambda a, b: a / (b + 1e-5), a, b)',
        says="Div.forward adds a small number to the divisor: divide by b as it is."),

    in_second("1.1.3", "Div: its result stays a leaf", FUNCTIONAL,
        DIV_FORWARD, "return tensor.Tensor(a.data / b.data, a.requires_grad or b.requires_grad)",
        says="The result of a / b is still a leaf: is_leaf must be False where a result requires "
             "grad."),
    in_second("1.1.3", "Div: whole numbers only (//)", FUNCTIONAL,
        DIV_FORWARD, "return result(a.data // b.data, a, b)",
        says="Div.forward rounds the quotient down, as // does: use /."),
    in_second("1.1.3", "Div: divides its first operand in place", FUNCTIONAL,
        DIV_FORWARD, "a.data /= b.data\n        return result(a.data, a, b)",
        says=IN_PLACE.format("Div.forward changes its input a")),
    in_second("1.1.3", "Div: divides the upstream gradient in place", FUNCTIONAL,
        "        grad_a = np.ones(a.shape) / b.data * grad_output.data\n",
        "        grad_output.data /= b.data\n        grad_a = grad_output.data\n",
        also=((DIV_B, "grad_b = -a.data / b.data * grad_output.data"),),
        says=IN_PLACE.format("Div.backward changes the gradient it is given")),
    in_second("1.1.3", "Div: gradient of b right for positive b only", FUNCTIONAL,
        DIV_B, "grad_b = -a.data / (np.abs(b.data) * b.data) * grad_output.data",
        says="The gradient of b has the wrong sign where b is negative: it is -a / b**2 times "
             "grad_output."),

    # 1.2 Autograd: flags and nodes
    Bug("1.2", "results require grad only if all operands do", ENGINE,
        REQUIRES_GRAD, "output.requires_grad = all(node.next_functions)",
        third=(("any(t.requires_grad", "all(t.requires_grad"),),
        says="A result requires grad only if all operands do: it must if any of them does."),
    Bug("1.2", "results never require grad", ENGINE,
        REQUIRES_GRAD, "output.requires_grad = False",
        third=((ANY_TENSOR, "False"),),
        says="No result requires grad: it must if any of its operands does. Set requires_grad and "
             "is_leaf in Function.apply."),
    Bug("1.2", "results require grad if the first operand does", ENGINE,
        REQUIRES_GRAD, "output.requires_grad = bool(node.next_functions[0])",
        third=((ANY_TENSOR, "tensors[0].requires_grad"),),
        says="A result requires grad only if its first operand does: it must if any of them does."),
    Bug("1.2", "results stay leaves", ENGINE,
        "output.is_leaf = not output.requires_grad", "output.is_leaf = True",
        third=(("output.is_leaf = not output.requires_grad", "output.is_leaf = True"),),
        says="Results are still leaves: set is_leaf to False where a result requires grad."),
    in_second("1.2", "constants get an AccumulateGrad too", ENGINE,
        "if arg.requires_grad and arg.is_leaf:", "if arg.is_leaf:",
        third=((TENSOR, "if self.requires_grad and self.is_leaf and", "if self.is_leaf and"),),
        says="A constant gets a gradient: the entry of an operand that does not require grad is "
             "None in next_functions."),
    Bug("1.2", "constants left out of next_functions, gradients meet wrong parents", ENGINE,
        "node.next_functions = [gradient_node(arg) for arg in args]",
        "node.next_functions = [gradient_node(arg) for arg in args if gradient_node(arg)]",
        third=(("for t in tensors]", "for t in tensors if t.requires_grad]"),),
        says=AFTER_CONSTANT),
    in_second("1.2", "apply takes two inputs, neither one nor three", ENGINE,
        "        output = cls.forward(node.ctx, *args)",
        "        a, b = args\n        output = cls.forward(node.ctx, a, b)",
        says="Function.apply takes exactly two operands: it must take any number of them, *args."),
    Bug("1.1.1", "operator - works on the data, outside the graph", TENSOR,
        'return F.Sub.apply(self, as_operand(other, self, "-"))',
        "return Tensor(self.data - other.data)",
        says="The operator - is outside the graph: let Tensor.__sub__ call F.Sub.apply(self, "
             "other), with the Tensors themselves."),
    Bug("1.1.3", "operator / multiplies by 1 / data, the divisor gets no gradient", TENSOR,
        'return F.Div.apply(self, as_operand(other, self, "/"))',
        "return F.Mul.apply(self, Tensor(1 / other.data))",
        says="The operator / gives the divisor no gradient: let Tensor.__truediv__ call "
             "F.Div.apply(self, other)."),

    Bug("1.2", "results require grad if the last operand does", ENGINE,
        REQUIRES_GRAD, "output.requires_grad = bool(node.next_functions[-1])",
        says="A result requires grad only if its last operand does: it must if any of them does."),
    in_second("1.1.1", "Sub requires grad if its first operand does", FUNCTIONAL,
        SUB_FORWARD, "return result(a.data - b.data, a)",
        says="The result of a - b requires grad only if a does: it must if either of them does."),
    in_second("1.1.3", "Div requires grad if its divisor does", FUNCTIONAL,
        DIV_FORWARD, "return result(a.data / b.data, b)",
        says="The result of a / b requires grad only if b does: it must if either of them does."),
    in_second("1.2", "one node for all uses of an operation", ENGINE,
        NEW_NODE, 'node = vars(cls).get("node") or BackwardFunction(cls)\n'
        "        cls.node, node.next_functions = node, []\n"
        "        node.ctx.saved_tensors.clear()\n",
        says="All uses of an operation share one node: let Function.apply make a new "
             "BackwardFunction each time."),

    in_second("1.2", "next_functions is one list for all nodes", ENGINE,
        "        self._forward_cls = cls\n        self.next_functions = []\n",
        "        self._forward_cls = cls\n",
        also=(("class BackwardFunction:\n", "class BackwardFunction:\n    next_functions = []\n\n"),
              (NEW_NODE, NEW_NODE + "        del node.next_functions[:]\n")),
        says="All nodes share one list of next_functions: make a new list in __init__ of "
             "BackwardFunction, not on the class."),
    in_second("1.2", "one context for all nodes, as the default of an argument", ENGINE,
        "    def __init__(self, cls):\n        self.ctx = ContextManager()\n",
        "    def __init__(self, cls, ctx=ContextManager()):\n        self.ctx = ctx\n"
        "        del ctx.saved_tensors[:]\n",
        third=(("    def __init__(self, cls):\n        self.ctx = ContextManager()\n",
                "    def __init__(self, cls, ctx=ContextManager()):\n        self.ctx = ctx\n"),),
        says="All nodes share one context: make a new ContextManager for each node."),

    # 1.2 Autograd: the traversal
    Bug("1.2", "sums of gradients kept in place, in arrays that others hold (stack)", ENGINE,
        TRAVERSAL, WITH_SUMS.format(end=""),
        says=ADDED_IN_PLACE),
    Bug("1.2", "sums of gradients kept in place, in arrays that others hold (queue)", ENGINE,
        TRAVERSAL, WITH_SUMS.format(end="0"),
        says=ADDED_IN_PLACE),
    in_second("1.2", "a counter that moves only at parents that are not None", ENGINE,
        PARENTS, """\
    position = 0
    for parent in grad_fn.next_functions:
        if parent is not None:
            backward(parent, grads[position])
            position += 1
""",
        says=AFTER_CONSTANT),
    in_second("1.2", "a constant ends the loop over the parents (break)", ENGINE,
        PARENTS, """\
    for parent, grad in zip(grad_fn.next_functions, grads):
        if parent is None:
            break
        backward(parent, grad)
""",
        third=(("            if parent is not None:\n",
                "            if parent is None:\n                break\n            else:\n"),),
        says="Operands after a constant get no gradient: at a None in next_functions, go on to the "
             "next entry."),
    in_second("1.2", "a leaf ends the loop over the parents (return)", ENGINE,
        RECURSION, """\
    grads = grad_fn.apply(grad_of_outputs)
    if not isinstance(grads, tuple):
        grads = (grads,)
    for parent, grad in zip(grad_fn.next_functions, grads):
        if isinstance(parent, AccumulateGrad):
            parent.apply(grad)
            return
        if parent is not None:
            backward(parent, grad)
""",
        says="Operands after a leaf get no gradient: after an AccumulateGrad, go on to the next "
             "entry of next_functions."),
    in_second("1.2", "gradients handed to the parents in reversed order", ENGINE,
        PARENTS, PARENTS.replace("grads[i]", "grads[-1 - i]"),
        third=((HANDED_ON, HANDED_ON.replace("shares", "reversed(shares)")),),
        says="The gradients that an operation returns reach its operands in reversed order: they "
             "go by position."),
    in_second("1.2", "all parents get the first gradient", ENGINE,
        PARENTS, PARENTS.replace("grads[i]", "grads[0]"),
        third=((HANDED_ON, HANDED_ON.replace("shares", "len(shares) * shares[:1]")),),
        says="Every operand gets the first gradient that the operation returns: they go by "
             "position."),
    Bug("1.2", "level by level, a node that is reached at two levels runs twice with parts", ENGINE,
        TRAVERSAL, """\
    level = {grad_fn: grad_of_output}
    while level:
        below = {}
        for node, grad in level.items():
            for parent, share in zip(node.next_functions, node.apply(grad)):
                if parent is not None and share is not None:
                    below[parent] = share
        level = below
""",
        says="Of the gradients that meet in a node from the same depth only the last is kept: they "
             "must be added up."),
    Bug("1.2", "backward() follows the first parent alone", ENGINE,
        "zip(node.next_functions, shares):", "zip(node.next_functions[:1], shares):",
        says="Only the first operand of each operation gets a gradient: go through all of "
             "next_functions."),
    Bug("1.2", "a shared node keeps the gradient of the last path only", ENGINE,
        SUM, "pass",
        third=((SUMMED, "share.data"),),
        says=ONE_ONLY),
    Bug("1.2", "a shared node runs for the first path only ('visited')", ENGINE,
        TRAVERSAL, """\
    visited = set()
    def recurse(node, grad):
        visited.add(node)
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None and parent not in visited:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
""",
        third=((SUMMED, "grads.get(parent, share.data)"),),
        says="A tensor that is used several times gets the gradient of its first use alone: "
             "gradients that meet must be added up."),
    Bug("1.2", "parents are kept in a dict, so that a * a has only one", ENGINE,
        TRAVERSAL, """\
    def recurse(node, grad):
        for parent, grad in dict(zip(node.next_functions, node.apply(grad))).items():
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
""",
        says="In a * a only one of the two gradients reaches a: next_functions has an entry for "
             "each operand, even where two are the same tensor."),
    Bug("1.2", "'visited', but leaves may be reached again", ENGINE,
        TRAVERSAL, """\
    visited = set()
    def recurse(node, grad):
        if node in visited and not isinstance(node, AccumulateGrad):
            return
        visited.add(node)
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
""",
        says=ONE_ONLY),
    Bug("1.2", "a shared node runs before its later gradients have come (queue)", ENGINE,
        TRAVERSAL, """\
    sums, queue = {grad_fn: grad_of_output}, [grad_fn]
    while queue:
        node = queue.pop(0)
        for parent, grad in zip(node.next_functions, node.apply(sums[node])):
            if parent is None or grad is None:
                continue
            sums[parent] = sums[parent] + grad if parent in sums else grad
            if parent not in queue:
                queue.append(parent)
""",
        says="A result that is used several times hands down a gradient before all of its own have "
             "arrived, and then their sum as well, so that some count twice."),
    Bug("1.2", "each path hands on the sum so far, earlier ones count again", ENGINE,
        TRAVERSAL, """\
    sums = {}
    def recurse(node, grad):
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if isinstance(parent, AccumulateGrad):
                parent.apply(grad)
            elif parent is not None:
                sums[parent] = sums[parent] + grad if parent in sums else grad
                recurse(parent, sums[parent])
    recurse(grad_fn, grad_of_output)
""",
        says="A result that is used several times hands down the sum so far at each use, so that "
             "earlier gradients count again."),
    Bug("1.2", "gradients are added in place, into arrays that others hold too", ENGINE,
        SUM, "held.data += share.data\n            share = held",
        says=ADDED_IN_PLACE),
    Bug("1.2", "sums of shared nodes are kept from one backward() to the next", ENGINE,
        "awaited, {})", "awaited, sums_so_far)",
        also=(("held = sums.pop(parent)", "held = sums[parent]"),
              ("def visit(", "sums_so_far = {}\n\n\ndef visit(")),
        says="A second backward() begins with sums that the first has left: keep them for one call "
             "alone."),
    Bug("1.2", "saved tensors are thrown away after backward()", ENGINE,
        "grads = self.function.backward(self.ctx, grad_output)",
        "grads = self.function.backward(self.ctx, grad_output)\n"
        "        self.ctx.saved_tensors = ()",
        says="What forward saved is gone after the first backward(): keep it, so that backward() "
             "can run again."),
    Bug("1.2", "backward() starts from the output itself", TENSOR,
        "ones = Tensor(np.ones(self.shape, dtype))", "ones = Tensor(self.data)",
        second=((ONES, "self.copy()"),),
        says="backward() starts from the result itself: start from ones of its shape."),
    Bug("1.2", "backward() starts from a single 1", TENSOR,
        "ones = Tensor(np.ones(self.shape, dtype))", "ones = Tensor(1.0)",
        says="backward() starts from a single 1: start from ones in the shape of the result."),

    in_second("1.2", "backward() starts from a single 1, which every operation broadcasts", TENSOR,
        ONES + ")\n\n    def T", "Tensor(1.0))\n\n    def T",
        also=((FUNCTIONAL, ADD_A, ADD_A.replace("(grad", "(np.ones(ctx.a_shape) * grad")),
              (FUNCTIONAL, ADD_B, ADD_B.replace("(grad", "(np.ones(ctx.b_shape) * grad"))),
        says="backward() starts from a single 1: start from ones in the shape of the result."),
    in_second("1.2", "backward() starts from ones divided by their number", TENSOR,
        ONES + ")\n\n    def T", "Tensor(np.ones(self.shape) / self.data.size))\n\n    def T",
        says="backward() starts from ones divided by their number, as for a mean: start from "
             "ones."),

    # 1.2 Autograd: what is stored
    in_second("1.2", "a leaf keeps the first of its gradients", ENGINE,
        ADD_UP, "            pass\n",
        third=(("grad.data += grad", "grad.data += 0 if self.variable.grad.data.any() else grad"),),
        says="A leaf keeps the first of its gradients alone: AccumulateGrad must add up all of "
             "them."),
    in_second("1.2", "a leaf keeps the mean of its gradients", ENGINE,
        ADD_UP, "            self.variable.grad.data = (self.variable.grad.data + grad.data) / 2\n",
        says="A leaf averages an old and a new gradient: AccumulateGrad must add them up."),
    in_third("1.2", "AccumulateGrad keeps a sum of its own, which outlives .grad = None", ENGINE,
        """\
        if self.variable.grad is None:
            self.variable.grad = self.variable.zeros_like()
        self.variable.grad.data += grad
""", """\
        self.total = getattr(self, "total", 0) + grad
        self.variable.grad = self.variable.zeros_like()
        self.variable.grad.data += self.total
""",
        says="A gradient that was set to None comes back: AccumulateGrad must start anew where "
             "tensor.grad is None, and keep no sum of its own."),
    Bug("1.2", "a leaf's gradient is overwritten by each path", ENGINE,
        TRAVERSAL, """\
    def recurse(node, grad):
        for parent, grad in zip(node.next_functions, node.apply(grad)):
            if parent is not None:
                recurse(parent, grad)
    recurse(grad_fn, grad_of_output)
""", also=((ACCUMULATE, "leaf.grad = grad.copy()"),),
        says="A leaf's new gradient replaces the one before: AccumulateGrad must add them up."),
    Bug("1.2", "a new backward() forgets the gradients of the last one", ENGINE,
        TRAVERSAL, """\
    def clear(node):
        if isinstance(node, AccumulateGrad):
            node.variable.grad = None
        for parent in node.next_functions:
            if parent is not None:
                clear(parent)
    clear(grad_fn)
""" + TRAVERSAL,
        third=(("if self.variable.grad is None:", "if True:"),),
        says="A new backward() forgets the gradients of the one before: they add up until somebody "
             "sets .grad to None."),
    Bug("1.2", "the stored gradient is another's array, and added to in place", ENGINE,
        ACCUMULATE, """\
if leaf.grad is None:
                leaf.grad = grad
            else:
                leaf.grad.data += grad.data""",
        also=(("total.data += leaf.grad.data", "pass"),),
        says=ADDED_IN_PLACE),
    Bug("1.2", "the stored gradient is an ndarray", ENGINE,
        ACCUMULATE, "leaf.grad = total.data",
        third=(("grad.data += grad", "grad = self.variable.grad.data + grad"),),
        says="AccumulateGrad stores an ndarray in .grad: store a Tensor."),
    Bug("1.2", "the tensor that backward() was called on gets a gradient", TENSOR,
        "ones = Tensor(np.ones(self.shape, dtype))",
        "ones = Tensor(np.ones(self.shape, dtype))\n        self.grad = ones",
        says="The tensor that backward() is called on gets a .grad: only leaves store gradients."),
    Bug("1.2", "intermediate results keep their gradients", ENGINE,
        "output.grad_fn = node", "output.grad_fn, node.ctx.output = node, output",
        also=(("shares = node.apply(grad) if grad is not None",
               "if isinstance(node, BackwardFunction):\n        node.ctx.output.grad = grad\n"
               "    shares = node.apply(grad) if grad is not None"),),
        says="Results of operations get a .grad: only leaves store gradients."),

    # 2.1 Linear
    in_second("2.1", "Linear: weight not transposed", LINEAR,
        LINEAR_FORWARD, "return x @ self.weight + self.bias",
        third=SAME,
        says="The weight is not transposed: Linear is x @ weight.T() + bias."),
    in_second("2.1", "Linear: bias forgotten", LINEAR,
        LINEAR_FORWARD, "return x @ self.weight.T()",
        third=SAME,
        says="The bias is missing: Linear is x @ weight.T() + bias."),
    in_second("2.1", "Linear: bias taken as a constant", LINEAR,
        LINEAR_FORWARD, "return x @ self.weight.T() + type(x)(self.bias.data)",
        third=SAME,
        says=UNREACHED.format("the bias", "self.bias")),
    in_second("2.1", "Linear: weight taken as a constant", LINEAR,
        LINEAR_FORWARD, "return x @ type(x)(self.weight.data.T) + self.bias",
        third=SAME,
        says=UNREACHED.format("the weight", "self.weight")),
    in_second("2.1", "Linear: input taken as a constant", LINEAR,
        LINEAR_FORWARD, "return type(x)(x.data) @ self.weight.T() + self.bias",
        third=SAME,
        says=UNREACHED.format("the layer's input", "x")),
    in_second("2.1", "Linear: weight transposed once, at the first call", LINEAR,
        LINEAR_FORWARD,
        'if "transposed" not in vars(self):\n            self.transposed = self.weight.T()\n'
        "        return x @ self.transposed + self.bias",
        says="The weight is the one of the first call: transpose it in each forward, not once."),
    Bug("2.1", "Linear: rows of the upstream gradient added up in the first of them", FUNCTIONAL,
        "grad_bias = Tensor(grad.sum(axis=0)) if needs_bias else None",
        "for row in grad[1:]:\n            grad[0] += row\n        grad_bias = Tensor(grad[0])",
        says=IN_PLACE.format("backward changes the gradient it is given")),
    in_second("2.1", "Transpose: gradient of another shape, not transposed", FUNCTIONAL,
        "return tensor.Tensor(grad_output.data.T.copy())",
        "return tensor.Tensor(grad_output.data.reshape(grad_output.data.T.shape))",
        says="Transpose.backward only reshapes the gradient: transpose it."),
    in_second("2.1", "bias gradient not summed over the batch", FUNCTIONAL,
        UNBROADCAST_SUM, "        return grad\n",
        third=(("grad = grad.sum(axis=tuple(range(added)))", "return grad"),),
        says="The gradient of the bias still has the batch in it: the bias is used once for each "
             "row, so the rows of the gradient add up (unbroadcast)."),
    in_second("2.1", "bias gradient averaged over the batch", FUNCTIONAL,
        UNBROADCAST_SUM, UNBROADCAST_SUM.replace("sum", "mean"),
        third=(("grad.sum(axis=tuple(", "grad.mean(axis=tuple("),),
        says="The gradient of the bias is averaged over the batch: add it up."),
    in_second("2.1", "bias gradient not summed for a batch of one row", FUNCTIONAL,
        UNBROADCAST_SUM,
        "        if len(grad) == 1:\n            return grad\n" + UNBROADCAST_SUM,
        says="The gradient of the bias keeps the axis of a batch of one row: it must have the "
             "shape of the bias."),
    in_second("2.1", "MatMul: upstream gradient ignored", FUNCTIONAL,
        MATMUL_SAVED, MATMUL_SAVED.replace("grad_output.data", "np.ones(grad_output.shape)"),
        says="The gradients of the matrix product ignore the gradient G from above: they are G @ "
             "B.T and A.T @ G."),
    in_second("2.1", "MatMul: gradient of b is Gᵀ A, the transpose of Aᵀ G", FUNCTIONAL,
        "np.dot(a.data.T, grad_output.data)", "np.dot(grad_output.data.T, a.data)",
        says="The gradient of the matrix product A @ B with respect to B is transposed: it is A.T "
             "@ G."),
    in_second("2.1", "MatMul: gradient of a is G B where B is square", FUNCTIONAL,
        "np.dot(grad_output.data, b.data.T)",
        "np.dot(grad_output.data, b.data if len(b.data) == len(b.data.T) else b.data.T)",
        says="The gradient of the matrix product A @ B with respect to A lacks a transpose: it is "
             "G @ B.T."),
    in_second("2.1", "MatMul: operands saved on the class, a second use replaces them", FUNCTIONAL,
        "ctx.save_for_backward(a, b)\n        return result(np.dot",
        "MatMul.saved = a.copy(), b.copy()\n        return result(np.dot",
        also=((MATMUL_SAVED, MATMUL_SAVED.replace("ctx.saved_tensors", "MatMul.saved")),),
        says=KEPT),

    # 2.1 Sequential.forward, which is asked for there
    Bug("2.1", "Sequential: returns inside the loop, after the first layer", SEQUENTIAL,
        SEQUENTIAL_LOOP, SEQUENTIAL_LOOP.replace("        return", "            return"),
        second=(("            out = self.layers[i](out)\n", "            return out\n"),),
        says="Sequential returns the output of its first layer: hand it on to the next, and return "
             "after the loop."),
    Bug("2.1", "Sequential: every layer gets the input, the last one counts", SEQUENTIAL,
        SEQUENTIAL_LOOP, """\
        for layer in self.layers:
            output = layer(x)
        return output
""",
        says="Every layer of the Sequential gets the same input: each must get the output of the "
             "layer before."),
    Bug("2.1", "Sequential: layers in reversed order", SEQUENTIAL,
        "for layer in self.layers:", "for layer in reversed(self.layers):",
        third=(("self.layers, x)", "self.layers[::-1], x)"),),
        says="Sequential runs its layers in reversed order."),
    Bug("2.1", "Sequential: hands on the data without its graph", SEQUENTIAL,
        "x = layer(x)", "x = layer(type(x)(x.data))",
        says="Gradients do not come back through the Sequential: hand on each layer's output "
             "itself, not a new Tensor of its .data."),

    in_second("2.1", "Sequential: the last layer left out", SEQUENTIAL,
        "for i in range(1, len(self.layers)):", "for i in range(1, len(self.layers) - 1):",
        says="Sequential leaves out its last layer."),
    in_third("2.1", "Sequential: takes the first batch it got for all later ones", SEQUENTIAL,
        THROUGH_LAYERS, 'self.x = getattr(self, "x", x)\n        '
        + THROUGH_LAYERS.replace("layers, x", "layers, self.x"),
        says="Sequential takes the first batch it was given for all later ones."),

    # 2.2 ReLU
    Bug("2.2", "ReLU: derivative 1 at 0", FUNCTIONAL,
        RELU_BACKWARD, "return Tensor(grad_output.data * (z.data >= 0))",
        second=((RELU_MASK, RELU_MASK.replace(">", ">=")),),
        says="The derivative at exactly 0 is 0, not 1: the gradient passes only where the input is "
             "above 0."),
    Bug("2.2", "ReLU: 1 where the input is above 0, not the input itself", FUNCTIONAL,
        RELU_FORWARD, 'output = compute("ReLU", lambda data: 1.0 * (data > 0), z)',
        second=(("return result(a.data * ctx.positive, a)", "return result(ctx.positive, a)"),),
        says="ReLU gives 1 where its input is above 0: it must give the input itself."),
    Bug("2.2", "ReLU: mask from the sign of the upstream gradient", FUNCTIONAL,
        RELU_BACKWARD, "return Tensor(grad_output.data * (grad_output.data > 0))",
        second=(("grad_output.data * ctx.positive", "np.maximum(grad_output.data, 0)"),),
        says="The gradient passes where it is itself above 0: it must pass where the input of "
             "forward was."),
    Bug("2.2", "ReLU: upstream gradient ignored", FUNCTIONAL,
        RELU_BACKWARD, "return Tensor((z.data > 0).astype(float))",
        second=(("grad_output.data * ctx.positive", "ctx.positive"),),
        says="ReLU.backward ignores the gradient from above: multiply by grad_output."),
    Bug("2.2", "ReLU: sets negative entries of its input to 0 in place", FUNCTIONAL,
        RELU_FORWARD, 'z.data[z.data < 0] = 0\n        output = compute("ReLU", np.copy, z)',
        says=IN_PLACE.format("ReLU's forward changes its input")),
    Bug("2.2", "ReLU: sets entries of the upstream gradient to 0 in place", FUNCTIONAL,
        RELU_BACKWARD, "grad_output.data[z.data <= 0] = 0\n        return grad_output",
        says=IN_PLACE.format("ReLU's backward changes the gradient it is given")),
    Bug("2.2", "ReLU: mask kept on the class, a second ReLU replaces it", FUNCTIONAL,
        "ctx.save_for_backward(z)", "ReLU.z = z",
        also=(("(z,), grad = ctx.saved_tensors, grad_output.data\n        " + RELU_BACKWARD,
               "z, grad = ReLU.z, grad_output.data\n        " + RELU_BACKWARD),),
        says=KEPT),
    Bug("2.2", "ReLU layer works on the data, outside the graph", ACTIVATIONS,
        "return F.ReLU.apply(x)", "return type(x)(x.data * (x.data > 0))",
        second=SAME,
        says="No gradient comes back through ReLU: apply a Function to x itself, do not compute "
             "with x.data."),

    in_second("2.2", "ReLU: a slope of 0.01 below 0", FUNCTIONAL,
        RELU_MASK, "np.where(a.data > 0, 1.0, 0.01)",
        says="ReLU lets a hundredth of negative numbers through: it must make them 0."),
    in_second("2.2", "ReLU: the size of the input", FUNCTIONAL,
        RELU_MASK, "np.where(a.data > 0, 1.0, -1.0)",
        says="ReLU gives the absolute value of its input: below 0 it must give 0."),
    in_third("2.2", "ReLU: where it is dead kept on the class", FUNCTIONAL,
        "ctx.dead = z.data <= 0", "ctx.dead = ReLU.dead = z.data <= 0",
        also=(("grad[ctx.dead] = 0", "grad[ReLU.dead] = 0"),),
        says=KEPT),
    in_third("2.2", "ReLU: nothing above 1", FUNCTIONAL,
        "np.where(ctx.dead, 0, z.data)", "np.clip(z.data, 0, 1)",
        says="ReLU cuts its output off at 1: above 0 it must give the input itself."),
    in_third("2.2", "ReLU: forward returns its input itself where all of it is above 0", FUNCTIONAL,
        "        return Tensor(np.where(ctx.dead",
        "        if not ctx.dead.any():\n            return z\n"
        "        return Tensor(np.where(ctx.dead",
        says="ReLU returns its input itself where all of it is above 0: return a new Tensor."),

    # 2.3 SGD
    Bug("2.3", "SGD: goes up instead of down", SGD,
        SGD_GRADIENT, "step = self.lr * param.grad.data",
        second=((SGD_SECOND_UPDATE, "p.data += self.lr * v"),),
        says="step() goes up instead of down: subtract lr times the gradient."),
    Bug("2.3", "SGD: learning rate forgotten", SGD,
        SGD_GRADIENT, "step = -param.grad.data",
        second=((SGD_SECOND_UPDATE, "p.data -= v"),),
        says="step() moves by the whole gradient: multiply it by the learning rate."),
    Bug("2.3", "SGD: always the default learning rate", SGD,
        "self.lr = lr\n", "self.lr = 0.001\n",
        second=SAME,
        says="step() takes 0.001 as the learning rate whatever lr is given: store lr in __init__."),
    Bug("2.3", "SGD: the new value is a local variable, the parameter stays", SGD,
        SGD_UPDATE, "param = param + step",
        second=((SGD_SECOND_UPDATE, "p = p.data - self.lr * v"),),
        says=UNCHANGED),
    Bug("2.3", "SGD: parameter loses requires_grad", SGD,
        SGD_UPDATE, "param.data = param.data + step\n            param.requires_grad = False",
        says="After a step the parameter does not require grad any more: change its .data alone."),
    Bug("2.3", "SGD: parameter becomes the result of an operation", SGD,
        SGD_UPDATE, "vars(param).update(vars(param + type(param)(step)))",
        says="After a step the parameter is the result of an operation and not a leaf: change its "
             ".data alone."),
    Bug("2.3", "SGD: data becomes a Tensor", SGD,
        SGD_UPDATE, "param.data = type(param)(param.data + step)",
        says="After a step the parameter's .data is a Tensor: compute with param.grad.data."),
    Bug("2.3", "SGD: new Tensors in optimizer.params, which the layers do not know", SGD,
        SGD_UPDATE, "self.params[i] = type(param)(param.data + step, is_parameter=True)",
        says=UNCHANGED),
    Bug("2.3", "SGD: steps with the first parameter only", SGD,
        SGD_UPDATE, "param.data = param.data + step\n            return",
        second=((SGD_SECOND_UPDATE, SGD_SECOND_UPDATE + "\n            return"),),
        says="step() changes the first parameter alone."),
    Bug("2.3", "SGD: parameters are an iterator, exhausted after one use", SGD,
        "self.momentums = [np.zeros_like(param.data) for param in self.params]",
        "self.momentums = [np.zeros_like(param.data) for param in self.params]\n"
        "        self.params = iter(self.params)",
        says="Only the first step() does anything: the parameters are an iterator, which is used "
             "up then. Keep a list."),
    Bug("2.3", "SGD: step() takes the gradients away", SGD,
        SGD_UPDATE, SGD_UPDATE + "\n            param.grad = None",
        second=((SGD_SECOND_UPDATE, SGD_SECOND_UPDATE + "\n            p.grad = None"),),
        says="step() removes the gradients: only zero_grad() does, so that a second step uses them "
             "again."),
    Bug("2.3", "zero_grad() does nothing", OPTIMIZER,
        "param.grad = None", "pass",
        second=((SGD, "p.grad = None", "pass"),),
        says="zero_grad() has no effect: later steps still use the gradients of earlier ones. Set "
             "param.grad to None."),
    Bug("2.3", "zero_grad() reaches the first parameter only", OPTIMIZER,
        "param.grad = None", "param.grad = None\n            break",
        says="zero_grad() reaches the first parameter alone."),

    in_second("2.3", "zero_grad() also sets the weights to 0", SGD,
        "            p.grad = None\n", "            p.grad = None\n            p.data *= 0\n",
        says="zero_grad() also sets the weights to 0: it must change .grad alone."),
    Bug("2.3", "parameters kept on the class, for all optimizers", OPTIMIZER,
        "self.params = list(params)", "Optimizer.params = list(params)",
        says="Two optimizers share one list of parameters: keep it in self, not on the class."),
    in_second("2.3", "SGD: steps of one size, by the sign of the gradient", SGD,
        SGD_SECOND_UPDATE, "p.data -= self.lr * np.sign(v)",
        says="step() uses only the sign of the gradient: multiply lr by the gradient itself."),
    in_second("2.3", "SGD: weight decay that nobody asked for", SGD,
        SGD_SECOND_UPDATE, "p.data -= self.lr * (v + 0.01 * p.data)",
        third=(("param.data + step", "param.data + step - 0.01 * self.lr * param.data"),),
        says="step() also shrinks the weights (weight decay), which the formula does not."),
    in_second("2.3", "SGD: gradients cut off at 1", SGD,
        "v += p.grad.data", "v += np.clip(p.grad.data, -1, 1)",
        says="step() cuts gradients off at 1."),
    in_second("2.3", "SGD: a momentum of 0.9 where 0 is given", SGD,
        "self.momentum = momentum", "self.momentum = momentum or 0.9",
        third=SAME,
        says="step() uses a momentum of 0.9 although none was given: the default is 0."),
    in_second("2.3", "SGD: the learning rate shrinks with each step", SGD,
        "    def step(self):\n", "    def step(self):\n        self.lr *= 0.9\n",
        says="The learning rate shrinks with each step: it stays what was given."),
    in_second("2.3", "SGD: all parameters but the last", SGD,
        "        for p, v in zip(self.params,", "        for p, v in zip(self.params[:-1],",
        third=(("for param in self.params:", "for param in self.params[:-1]:"),),
        says="step() leaves out the last parameter."),
    in_second("2.3", "SGD: the parameter is no longer marked as one", SGD,
        SGD_SECOND_UPDATE, SGD_SECOND_UPDATE + "\n            p.is_parameter = False",
        says="After a step the parameter is no longer marked is_parameter: change its .data "
             "alone."),

    # 2.4 BatchNorm: training
    in_second("2.4", "BatchNorm: normalises with the unbiased variance", FUNCTIONAL,
        "var = np.var(x.data, axis=0)", "var = np.var(x.data, axis=0, ddof=1)",
        says="The batch is normalised by the unbiased variance: divide by m there. m - 1 is for "
             "running_var alone."),
    in_second("2.4", "BatchNorm: ε added after the root", FUNCTIONAL,
        BN_STD, "ctx.std = np.sqrt(var) + eps",
        third=((BATCHNORM, "(var + self.eps).sqrt()", "(var.sqrt() + self.eps)"),),
        says="eps is added after the square root: it belongs under it, sqrt(variance + eps)."),
    in_second("2.4", "BatchNorm: ε forgotten", FUNCTIONAL,
        BN_STD, "ctx.std = np.sqrt(var)",
        third=((BATCHNORM, "(var + self.eps).sqrt()", "var.sqrt()"),),
        says="eps is missing: divide by sqrt(variance + eps)."),
    in_second("2.4", "BatchNorm: ε always the default", BATCHNORM,
        "self.eps = eps", "self.eps = 1e-5",
        third=(("number(eps)", "number(1e-5)"),),
        says="eps is always 1e-5, whatever BatchNorm1d is given: store it in __init__."),
    in_second("2.4", "BatchNorm: gamma and beta exchanged", FUNCTIONAL,
        "ctx.x_hat * gamma.data + beta.data", "ctx.x_hat * beta.data + gamma.data",
        third=((BATCHNORM, "* self.gamma + self.beta", "* self.beta + self.gamma"),),
        says="gamma and beta are exchanged: the output is gamma * x_hat + beta."),
    in_second("2.4", "BatchNorm: gamma and beta taken as constants", BATCHNORM,
        BN_APPLY, BN_APPLY.replace("gamma, self.beta", "gamma.copy(), self.beta.copy()"),
        third=(("* self.gamma + self.beta", "* self.gamma.copy() + self.beta.copy()"),),
        says="No gradient reaches gamma and beta: compute with these Tensors themselves, not with "
             "their .data, and return gradients for them from backward."),
    in_second("2.4", "BatchNorm: variance taken as a constant in backward", FUNCTIONAL,
        BN_BY_VAR, "",
        third=((BATCHNORM, BN_VAR, BN_VAR + ".copy()"),),
        says="No gradient flows through the variance: it depends on x too."),
    in_second("2.4", "BatchNorm: mean and variance constants in backward", FUNCTIONAL,
        BN_BY_MEAN + BN_BY_VAR, "",
        says="No gradient flows through mean and variance: both depend on x too."),
    in_second("2.4", "BatchNorm: normalises each row instead of each feature", FUNCTIONAL,
        BN_STATISTICS, BN_STATISTICS.replace("axis=0", "axis=1, keepdims=True"),
        says="Each row is normalised: take mean and variance of each feature, over the batch (axis "
             "0)."),
    in_second("2.4", "BatchNorm: variance divided by the number of features", FUNCTIONAL,
        "var = np.var(x.data, axis=0)",
        "var = np.sum((x.data - mean) ** 2, axis=0) / x.shape[1]",
        says="The variance is divided by the number of features: divide by the number of rows."),
    in_second("2.4", "BatchNorm: takes the mean off its input in place", FUNCTIONAL,
        BN_X_HAT, "x.data -= mean\n        ctx.x_hat = x.data / ctx.std",
        says=IN_PLACE.format("BatchNorm's forward changes its input")),

    in_second("2.4", "BatchNorm: gamma left out of the gradient of x", FUNCTIONAL,
        "d_hat = g * ctx.saved_tensors[0].data", "d_hat = g",
        says="gamma is missing in the gradient of x."),
    in_second("2.4", "BatchNorm: what backward needs kept on the class", FUNCTIONAL,
        BN_X_HAT, BN_X_HAT.replace("ctx.x_hat =", "ctx.x_hat = BatchNorm.x_hat ="),
        also=((BN_BY_VAR, BN_BY_VAR.replace("ctx.", "BatchNorm.")),),
        says=KEPT),
    in_second("2.4", "BatchNorm: changes what it saved, wrong the second time", FUNCTIONAL,
        "d_hat = d_hat" + BN_BY_MEAN + BN_BY_VAR,
        "ctx.x_hat *= np.mean(d_hat * ctx.x_hat, axis=0)\n"
        "            d_hat = d_hat" + BN_BY_MEAN + " - ctx.x_hat",
        says="backward changes what forward saved, so that a second backward() gives other "
             "gradients: make new arrays."),
    Bug("2.4", "BatchNorm: gamma multiplied into the upstream gradient in place", FUNCTIONAL,
        "grad_x = (grad - through_both) * (gamma.data / ctx.std)",
        "grad *= gamma.data / ctx.std\n"
        "        grad_x = grad - through_both * (gamma.data / ctx.std)",
        says=IN_PLACE.format("BatchNorm's backward changes the gradient it is given")),
    in_third("2.4", "BatchNorm: mean cut off from the graph", BATCHNORM,
        "mean = x.mean()", "mean = x.mean().copy()",
        says="No gradient flows through the mean: it depends on x too."),
    in_third("2.4", "BatchNorm: one mean for all entries", BATCHNORM,
        "mean = x.mean()", "mean = number(x.data.mean())",
        says="One mean is taken of all entries: take the mean of each feature, over the batch "
             "(axis 0)."),

    # 2.4 BatchNorm: running averages and evaluation
    in_second("2.4", "BatchNorm: running averages are those of the last batch", BATCHNORM,
        "old = 1 - self.momentum", "old = 0",
        also=(("self.momentum * mean", "mean"), ("self.momentum * unbiased", "unbiased")),
        says="running_mean and running_var are those of the last batch alone: keep (1 - momentum) "
             "times the old ones."),
    in_second("2.4", "BatchNorm: ε in the running variance too", BATCHNORM,
        "unbiased = np.var(x.data, axis=0, ddof=1)",
        "unbiased = np.var(x.data, axis=0, ddof=1) + self.eps",
        third=(("var.data * m / (m - 1)", "var.data * m / (m - 1) + self.eps.data"),),
        says="eps is added to running_var: it belongs to the division alone."),
    in_second("2.4", "BatchNorm: standard deviation in place of the running variance", BATCHNORM,
        "np.var(x.data, axis=0, ddof=1)", "np.std(x.data, axis=0, ddof=1)",
        says="running_var averages the standard deviation: take the variance."),
    in_second("2.4", "BatchNorm: ε added to the running variance at each evaluation", BATCHNORM,
        BN_IF_EVALUATION, BN_IF_EVALUATION + "            self.running_var.data += self.eps\n",
        also=(("self.gamma, self.beta, self.eps,\n", "self.gamma, self.beta, 0,\n"),),
        says="Evaluation changes running_var: it must only read the running averages."),
    in_third("2.4", "BatchNorm: evaluation mode is a flag of the class", BATCHNORM,
        "        if self.is_train:\n", "        if BatchNorm1d.training:\n",
        also=(("class BatchNorm1d(Module):\n", """\
class BatchNorm1d(Module):
    training = True

    def eval(self):
        BatchNorm1d.training = False

    def train(self):
        BatchNorm1d.training = True

"""),),
        says="All BatchNorm1d layers share one mode: keep is_train in self, not on the class."),
    in_third("2.4", "BatchNorm: evaluation takes the mean off its input in place", BATCHNORM,
        "deviation, var = x - self.running_mean, self.running_var",
        "x.data -= self.running_mean.data\n            deviation, var = x, self.running_var",
        says=IN_PLACE.format("In evaluation BatchNorm's forward changes its input")),
    in_third("2.4", "BatchNorm: coming back to training starts the averages anew", BATCHNORM,
        "    def forward(self, x):\n", """\
    def train(self):
        self.is_train = True
        self.running_mean.fill_(0)

    def forward(self, x):
""",
        says="train() starts the running averages anew: it must leave them as they are."),
    in_second("2.4", "BatchNorm: stores the biased variance", BATCHNORM,
        ", ddof=1", "",
        third=(("var.data * m / (m - 1)", "var.data"),),
        says="running_var takes the biased variance: divide by m - 1 there."),
    in_second("2.4", "BatchNorm: momentum the other way round", BATCHNORM,
        "old = 1 - self.momentum", "old = self.momentum",
        also=(("self.momentum * mean", "(1 - old) * mean"),
              ("self.momentum * unbiased", "(1 - old) * unbiased")),
        says="The weights of the running averages are exchanged: momentum is the weight of the new "
             "batch, and 1 - momentum of the old average."),
    in_second("2.4", "BatchNorm: running variance not updated", BATCHNORM,
        BN_UPDATE_VAR, "pass",
        says="running_var stays as it was: update it in training, like running_mean."),
    in_second("2.4", "BatchNorm: running averages updated in evaluation too", BATCHNORM,
        BN_IF_EVALUATION, BN_IF_EVALUATION +
        "            self.running_mean.data = (0.9 * self.running_mean.data\n"
        "                                      + 0.1 * np.mean(x.data, axis=0))\n",
        says="Evaluation changes the running averages: it must only read them."),
    in_second("2.4", "BatchNorm: batch statistics in evaluation too", BATCHNORM,
        BN_IF_EVALUATION, "        if False:\n",
        third=(("if self.is_train:", "if True:"),),
        says="Evaluation normalises by the mean and variance of the batch: where is_train is False "
             "(train is a method), take the running averages."),
    in_second("2.4", "BatchNorm: evaluation of a single row with that row as the mean", BATCHNORM,
        BN_IF_EVALUATION, BN_IF_EVALUATION +
        "            if len(x.data) == 1:\n"
        "                return F.BatchNorm.apply(x, self.gamma, self.beta, self.eps,\n"
        "                                         x.data[0], self.running_var.data)\n",
        says="Evaluation of a single row takes that row as its mean: take the running average."),
    in_second("2.4", "BatchNorm: ε forgotten in evaluation", BATCHNORM,
        "self.beta, self.eps,\n", "self.beta, 0,\n",
        says="eps is missing in evaluation: divide by sqrt(running_var + eps) there too."),
    in_second("2.4", "BatchNorm: running averages on the class, shared by all layers", BATCHNORM,
        "self.running_mean = Tensor.zeros", "BatchNorm1d.running_mean = Tensor.zeros",
        also=(("self.running_var = Tensor.ones", "BatchNorm1d.running_var = Tensor.ones"),
              ("self.running_mean = Tensor(old", "BatchNorm1d.running_mean = Tensor(old"),
              ("self.running_var = Tensor(old", "BatchNorm1d.running_var = Tensor(old")),
        says="All BatchNorm1d layers share their running averages: keep them in self, not on the "
             "class."),
    Bug("2.4", "eval() does not reach the layers inside", MODULE,
        "for module in self.modules():\n            module.is_train = bool(mode)",
        "self.is_train = bool(mode)",
        says="eval() does not reach the layers inside: they still work in training mode."),
    Bug("2.4", "eval() reaches the first layer inside only", MODULE,
        "for module in self.modules():\n            module.is_train = bool(mode)",
        "for module in list(self.modules())[:3]:\n            module.is_train = bool(mode)",
        says="eval() does not reach all of the layers inside: some still work in training mode."),
    Bug("2.4", "train() does not come back from evaluation", MODULE,
        "module.is_train = bool(mode)", "module.is_train = module.is_train and bool(mode)",
        third=(("        self.is_train = True\n        for", "        for"),),
        says="train() does not bring the layers back from evaluation mode."),

    # 2.5 Cross entropy
    Bug("2.5", "cross entropy: sum over the batch instead of mean", FUNCTIONAL,
        CE_LOSS, CE_LOSS.replace(" / len(losses)", ""),
        also=((CE_GRADIENT, CE_GRADIENT.replace(" / len(grad)", "")),),
        second=(("-1.0 / batch_size", "-1.0"),),
        says="The loss is summed over the batch: divide it, and its gradient, by N."),
    Bug("2.5", "cross entropy: maximum not taken off, overflows", FUNCTIONAL,
        CE_SHIFT, "shifted = z",
        second=(("tensor.Tensor(-biggest)", "tensor.Tensor(0 * biggest)"),),
        says="exp overflows for large logits: take the maximum of each row off them first, not "
             "that of the whole batch."),
    Bug("2.5", "cross entropy: maximum not taken off in the gradient's softmax", FUNCTIONAL,
        CE_LOSS,
        "ctx.softmax = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True)\n"
        "        " + CE_LOSS,
        says="exp overflows for large logits in the gradient: take the maximum of each row off "
             "them there too."),
    Bug("2.5", "cross entropy: log(softmax + 1e-8)", FUNCTIONAL,
        CE_LOSS, "return Tensor(-np.log(ctx.softmax[rows] + 1e-8).mean())",
        says="The loss cannot rise above 18.42, because 1e-8 is added to the probability: leave it "
             "out, and compute log softmax as logits - max - log(sum of exp(logits - max))."),
    Bug("2.5", "cross entropy: softmax over the batch instead of the classes", FUNCTIONAL,
        "sums = exponentials.sum(axis=1, keepdims=True)",
        "sums = exponentials.sum(axis=0, keepdims=True)",
        also=((CE_LOSS, "return Tensor(-np.log((exponentials / sums)[rows]).mean())"),),
        says="The softmax is taken over the batch: sum over the classes (axis 1)."),
    Bug("2.5", "cross entropy: np.log10 of the sum", FUNCTIONAL,
        CE_LOG, CE_LOG.replace("np.log(", "np.log10("), says=BASE_10),
    Bug("2.5", "cross entropy: np.log10 of the softmax", FUNCTIONAL,
        CE_LOG, "losses = -np.log10(ctx.softmax[rows])", says=BASE_10),
    Bug("2.5", "cross entropy: log_p[:, labels], averaged over all entries", FUNCTIONAL,
        CE_LOG, CE_OF_ALL,
        also=((CE_LOSS, "return Tensor(losses.mean())"),), says=ALL_COLUMNS),
    Bug("2.5", "cross entropy: log_p[:, labels], divided by N", FUNCTIONAL,
        CE_LOG, CE_OF_ALL, says=ALL_COLUMNS),
    Bug("2.5", "cross entropy: labels counted from 1", FUNCTIONAL,
        "(len(shifted)), labels.data", "(len(shifted)), labels.data - 1",
        also=(("(len(grad)), labels.data]", "(len(grad)), labels.data - 1]"),),
        second=(("one_hot[row, label] = 1", "one_hot[row, label - 1] = 1"),),
        says="The labels are taken to count from 1: they count from 0."),
    Bug("2.5", "cross entropy: a new Tensor, outside the graph", FUNCTIONAL,
        CE_APPLY, "return Tensor(CrossEntropy.apply(predicted, target).data, requires_grad=True)",
        second=(("return chosen *", "return tensor.Tensor(chosen.data, requires_grad=True) *"),),
        says="No gradient comes back from the loss: return the result of an operation on the "
             "logits themselves, not a new Tensor."),
    Bug("2.5", "cross entropy: upstream gradient ignored", FUNCTIONAL,
        CE_GRADIENT, CE_GRADIENT.replace("grad_output.data * ", ""),
        third=(("grad * grad_output.data", "grad"),),
        says="The gradient of the loss ignores the gradient from above: multiply by grad_output."),
    Bug("2.5", "cross entropy: gradient not divided by N", FUNCTIONAL,
        CE_GRADIENT, CE_GRADIENT.replace(" / len(grad)", ""),
        third=((" - one_hot.data) / len(ctx.labels)", " - one_hot.data)"),),
        says="The gradient is not divided by N: the loss is a mean over the batch."),
    Bug("2.5", "cross entropy: gradient divided by the number of classes", FUNCTIONAL,
        CE_GRADIENT, CE_GRADIENT.replace("len(grad)", "grad.shape[1]"),
        says="The gradient is divided by the number of classes: divide it by N, the size of the "
             "batch."),
    Bug("2.5", "cross entropy: loss and gradient divided by the number of classes", FUNCTIONAL,
        CE_LOSS, CE_LOSS.replace("len(losses)", "logits.data.shape[1]"),
        also=((CE_GRADIENT, CE_GRADIENT.replace("len(grad)", "grad.shape[1]")),),
        second=(("-1.0 / batch_size", "-1.0 / num_classes"),),
        says="Loss and gradient are divided by the number of classes: divide them by N, the size "
             "of the batch."),
    Bug("2.5", "cross entropy: changes its saved softmax, wrong the second time", FUNCTIONAL,
        "grad = ctx.softmax.copy()", "grad = ctx.softmax",
        says="backward changes what forward saved, so that a second backward() gives other "
             "gradients: make new arrays."),
    Bug("2.5", "cross entropy: a batch of one row loses its batch axis", FUNCTIONAL,
        CE_APPLY,
        "squeezed = np.squeeze(predicted.data)\n"
        "    assert len(squeezed) == len(target.data)\n    " + CE_APPLY,
        says="A batch of one row loses its axis: keep the logits of shape (1, C)."),
    Bug("2.5", "cross entropy: takes the maximum off the caller's logits in place", FUNCTIONAL,
        CE_SHIFT,
        "z -= z.max(axis=1, keepdims=True)\n        shifted = z",
        says=IN_PLACE.format("cross_entropy changes the logits it is given")),

    in_second("2.5", "cross entropy: 1e-12 inside the log", FUNCTIONAL,
        LOG_PROBABILITIES, SOFTMAX + "    log_probabilities = (exps / sums"
        " + tensor.Tensor(np.full(predicted.shape, 1e-12))).log()\n",
        says="The loss cannot rise above 27.63, because 1e-12 is added to the probability: leave "
             "it out, and compute log softmax as logits - max - log(sum of exp(logits - max))."),
    in_second("2.5", "cross entropy: log of a softmax that underflows", FUNCTIONAL,
        LOG_PROBABILITIES, SOFTMAX + "    log_probabilities = (exps / sums).log()\n",
        says="A probability underflows to 0 before its log is taken: compute log softmax as logits "
             "- max - log(sum of exp(logits - max))."),
    in_second("2.5", "cross entropy: probabilities kept above 1e-15", FUNCTIONAL,
        LOG_PROBABILITIES, LOG_PROBABILITIES + "    log_probabilities.data = "
        "np.maximum(log_probabilities.data, np.log(1e-15))\n",
        says="The loss cannot rise above 34.54, because probabilities are kept above 1e-15: leave "
             "that out, and compute log softmax as logits - max - log(sum of exp(logits - max))."),
    in_second("2.5", "cross entropy: number of classes taken from the labels", FUNCTIONAL,
        "one_hot = np.zeros((len(arr.data), num_classes))",
        "one_hot = np.zeros((len(arr.data), arr.data.max() + 1))",
        third=(("to_one_hot(Tensor(ctx.labels), ctx.log_softmax.shape[1])",
                "to_one_hot(Tensor(ctx.labels), max(ctx.labels) + 1)"),),
        says="The one-hot rows are as long as the largest label in the batch: make them "
             "num_classes long."),
    in_second("2.5", "cross entropy: the most likely class in place of the label", FUNCTIONAL,
        "to_one_hot(target, num_classes)",
        "to_one_hot(tensor.Tensor(predicted.data.argmax(axis=1)), num_classes)",
        third=(("target.data.astype(int)", "predicted.data.argmax(axis=1)"),),
        says="The loss is that of the most likely class: take the class that the label says."),
    in_second("2.5", "cross entropy: softmax of the softmax", FUNCTIONAL,
        "    biggest = np.max(", SOFTMAX.replace("shifted", "predicted")
        + "    predicted = exps / sums\n    biggest = np.max(",
        says="The softmax is taken twice."),
    in_second("2.5", "cross entropy: logarithm to base 2", FUNCTIONAL,
        "log_sums = shifted.exp().sum(axis=1).log()",
        "log_2 = tensor.Tensor(np.full((batch_size, 1), np.log(2)))\n"
        "    log_sums = shifted.exp().sum(axis=1).log() / log_2",
        says="The logarithm is to base 2: take the natural one."),
    in_second("2.5", "cross entropy: minus forgotten", FUNCTIONAL,
        "-1.0 / batch_size", "1.0 / batch_size",
        says="The loss lacks its minus: it is the mean of -log softmax(logits)[label]."),
    in_second("2.5", "Log: gradient multiplied by the input", FUNCTIONAL,
        "grad_output.data / ctx.saved_tensors[0].data",
        "grad_output.data * ctx.saved_tensors[0].data",
        says="Log.backward multiplies by its input: divide by it."),
    in_third("2.5", "cross entropy: changes the labels it is given", FUNCTIONAL,
        "ctx.labels = target.data.astype(int)",
        "ctx.labels = target.data.astype(int)\n        target.fill_(0)",
        says=IN_PLACE.format("cross_entropy changes the labels it is given")),
    in_third("2.5", "cross entropy: labels kept on the class", FUNCTIONAL,
        "ctx.labels = target", "ctx.labels = cross_entropy.labels = target",
        also=(("Tensor(ctx.labels), ctx", "Tensor(cross_entropy.labels), ctx"),),
        says=KEPT),
    in_third("2.5", "the criterion remembers its first loss", LOSS,
        "return F.cross_entropy.apply(predicted, target)",
        'if not hasattr(self, "loss"):\n'
        "            self.loss = F.cross_entropy.apply(predicted, target)\n"
        "        return self.loss",
        says="The criterion returns its first loss again: compute a new one at each call."),

    # 2.6 Momentum
    Bug("2.6", "momentum: previous step taken off instead of added", SGD,
        SGD_MOMENTUM, "step = step - self.momentum * self.momentums[i]",
        second=(("v *= self.momentum", "v *= -self.momentum"),),
        says="The step before is subtracted: add momentum times it."),
    Bug("2.6", "momentum: gradient damped by 1 - momentum", SGD,
        SGD_MOMENTUM, "step = self.momentum * self.momentums[i] + (1 - self.momentum) * step",
        second=(("v += p.grad.data", "v += (1 - self.momentum) * p.grad.data"),),
        says="The gradient is multiplied by 1 - momentum: v = momentum * v - lr * gradient."),
    Bug("2.6", "momentum: one buffer for all parameters of a shape", SGD,
        "self.momentums = [np.zeros_like(param.data) for param in self.params]",
        "buffers = {param.shape: np.zeros_like(param.data) for param in self.params}\n"
        "        self.momentums = [buffers[param.shape] for param in self.params]",
        also=((SGD_STORE, "self.momentums[i][...] = step"),),
        says="Parameters of one shape share one v: keep one for each parameter."),
    Bug("2.6", "momentum: never stored", SGD,
        SGD_STORE, "pass",
        second=(("v *= self.momentum", "v *= 0"),),
        says="The steps are those without momentum: each step must keep momentum times the one "
             "before."),
    Bug("2.6", "momentum: Nesterov's", SGD,
        SGD_UPDATE, "param.data = param.data + self.momentum * step - self.lr * param.grad.data",
        second=((SGD_SECOND_UPDATE, "p.data -= self.lr * (self.momentum * v + p.grad.data)"),),
        says="This is Nesterov's momentum: the plain one is v = momentum * v - lr * gradient, W = "
             "W + v."),
    Bug("2.6", "momentum: learning rate applied once more to the step", SGD,
        SGD_UPDATE, "param.data = param.data + (self.lr * step if self.momentum else step)",
        says="The learning rate is applied twice: v = momentum * v - lr * gradient, W = W + v."),
    Bug("2.6", "momentum: remembers the last gradient, not the last step", SGD,
        SGD_STORE, "self.momentums[i] = -self.lr * param.grad.data",
        says="A step remembers only the gradient of the one before: keep v itself, which holds all "
             "earlier ones."),
    Bug("2.6", "momentum: of weights only, not of biases", SGD,
        SGD_MOMENTUM,
        "if len(param.shape) > 1:\n                    " + SGD_MOMENTUM,
        second=(("v *= self.momentum", "v *= self.momentum if v.ndim > 1 else 0"),),
        says="Momentum is missing for the biases: every parameter has a v."),
    in_second("2.6", "momentum: buffers kept on the class, for all optimizers", SGD,
        SGD_BUFFERS, "self.momentums = [SGD.buffers.setdefault(\n"
        "            (i, p.shape), np.zeros(p.shape)) for i, p in enumerate(self.params)]",
        also=(("class SGD(Optimizer):\n", "class SGD(Optimizer):\n    buffers = {}\n\n"),
              ("            v *= self.momentum\n            v += p.grad.data\n",
               "            v[...] = self.momentum * v + p.grad.data\n")),
        says="All optimizers share their v: keep it in self, not on the class."),
    in_second("2.6", "momentum: only where the gradient keeps its sign", SGD,
        "v *= self.momentum", "v *= self.momentum * (np.sign(v) == np.sign(p.grad.data))",
        says="Momentum is left out where a gradient has changed its sign: v = momentum * v - lr * "
             "gradient always."),
    in_third("2.6", "momentum: the first step remembered for ever", SGD,
        "            self.momentums[param] = step\n",
        "            if isinstance(self.momentums[param], float):\n"
        "                self.momentums[param] = step\n",
        says="Every step remembers the first one: store each new v."),
)
