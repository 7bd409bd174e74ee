"""Notes: looks for what gives right numbers and will hurt all the same.
They cost no points; what they say stands below a problem that has them all.

Each returns nothing if all is well, else the numbers that are to be put into its note."""

import importlib
import sys

import numpy as np

from grader.graded import Numbers, constant, graded, labels, leaf, my, truth
from grader.layers import BATCHNORM, ONE_LAYER, batchnorm, linear
from grader.operations import combine, result_of


def if_true(found):
    """What a note without numbers returns."""
    return {"found": True} if found else {}


# 1.2 Autograd


@graded("autogradtest", note="""\
a node with 2 uses ran its backward again for each path:
{visits} times in a chain of 8 such nodes, and twice as often for each more.
Why, and what to do: hw1/README.md, "Why gradients add\"""")
def visits_of_a_shared_node(given):
    """How often one node runs in a chain of 8 results that are each used twice."""
    visits = []

    class Counted(my.Function):
        @staticmethod
        def forward(ctx, a):
            return result_of(a.data + 0, a)

        @staticmethod
        def backward(ctx, grad_output):
            visits.append(1)
            return grad_output

    result = Counted.apply(my.Tensor(1.0, requires_grad=True))
    for _ in range(8):
        result = result + result
    result.backward()
    return {"visits": len(visits)} if len(visits) > 1 else {}


@graded("autogradtest", note="""\
a.grad is itself the result of a graph, which each backward() makes
longer: start from ones that do not require grad, or add up the .data of gradients""")
def graph_of_a_gradient(given):
    a = leaf(np.ones((2, 3)))
    shared = a * a
    (shared + shared).backward()
    (a + a).backward()
    return if_true(truth(a.grad.requires_grad) is True and not a.grad.is_leaf)


@graded("autogradtest", note="""\
Function.apply fails where one of several arguments is no Tensor, such
as the shape in a.reshape(3, 2). Such an argument is a constant, which gets no gradient:
None in next_functions""")
def operation_with_a_number(given):
    class TimesNumber(my.Function):
        @staticmethod
        def forward(ctx, a, number):
            return result_of(number * a.data, a)

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output, None

    return if_true(fails(lambda: TimesNumber.apply(leaf(np.ones((2, 3))), 2.0)))


def fails(call):
    """Whether a call raises an exception."""
    try:
        call()
    except Exception:
        return True
    return False


@graded("autogradtest", note="""\
a result of constants alone requires grad. Its node keeps what it was
computed from in memory, and backward() goes down to where nothing needs a gradient.
A result requires grad if at least one of its inputs does""")
def result_of_constants(given):
    c = constant(np.ones((2, 3)))
    return if_true(truth((c + c).requires_grad) is True)


def next_functions(*tensors):
    """The next_functions of the sum of some Tensors, which some engines keep in a dict."""
    nodes = combine(*((tensor, 1) for tensor in tensors)).grad_fn.next_functions
    return list(nodes.values() if isinstance(nodes, dict) else nodes)


@graded("autogradtest", note="""\
a constant has a node among next_functions, where the text has
None, so that backward() computes gradients of constants, which nobody needs""")
def node_of_a_constant(given):
    a, c = leaf(np.ones((2, 3))), constant(np.ones((2, 3)))
    return if_true(any(getattr(node, "variable", None) is c for node in next_functions(a, c)))


@graded("autogradtest", note="""\
a leaf gets a new AccumulateGrad at each use. Kept in its grad_fn
from its first use on, one node would get the sum of all its gradients at once""")
def nodes_of_a_leaf(given):
    a, c = leaf(np.ones((2, 3))), constant(np.ones((2, 3)))
    first, second = (next_functions(a, c)[0] for _ in range(2))
    return if_true(getattr(first, "variable", None) is a and first is not second)


@graded("autogradtest", note="""\
`import mytorch.tensor` fails in a program that has imported nothing else
of mytorch: your files import each other in a circle. Import what a function needs within
the function, or at the end of the file, as tensor.py imports functional.py""")
def import_of_a_tensor_alone(given):
    """As in a fresh process: without what has been imported of mytorch, which is then put back."""
    def take_out():
        return {name: sys.modules.pop(name) for name in list(sys.modules)
                if name.split(".")[0] == "mytorch"}

    imported = take_out()
    try:
        return if_true(fails(lambda: importlib.import_module("mytorch.tensor")))
    finally:
        take_out()
        sys.modules.update(imported)


# 2.1, 2.4 and 2.5: how gradients are found

MANY = 30  # more calls of forward than any engine makes that computes something anew
BY_DIFFERENCES = """\
one backward() ran forward {calls:.0f} times, as gradients by central differences do. They are
right to a few digits only, and a network would need thousands of forward passes for each step.
Derive the gradients as formulas"""


def calls_of_forward(output):
    """How often functions named forward are called during ``output.backward()``, if often."""
    calls = []

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name == "forward":
            calls.append(1)

    sys.setprofile(note)
    try:
        output.backward()
    finally:
        sys.setprofile(None)
    return {"calls": len(calls)} if len(calls) > MANY else {}


@graded("Linear Backward", note=BY_DIFFERENCES, x=(5, 4), **ONE_LAYER)
def forwards_of_linear(given):
    return calls_of_forward(linear(given.weight, given.bias)(leaf(given.x)))


@graded("Linear Batchnorm ReLU Backward (Train)", note=BY_DIFFERENCES, x=(6, 3), **BATCHNORM)
def forwards_of_batchnorm(given):
    return calls_of_forward(batchnorm(given.gamma, given.beta)(leaf(given.x)))


@graded("Linear XELoss Backward", note=BY_DIFFERENCES, logits=(6, 4), labels=labels(6, 4))
def forwards_of_cross_entropy(given):
    return calls_of_forward(my.CrossEntropyLoss()(leaf(given.logits), my.Tensor(given.labels)))


# 2.2 ReLU


@graded("Linear ReLU Backward", z=(4, 3), note="""\
ReLU's backward writes into the gradient that it is given. Others may
hold that array: an Add that hands one to both of its operands would give the other a
wrong gradient. Make a new array""")
def gradient_given_to_relu(given):
    """Whether an array that reaches ReLU from an operation above it is another one afterwards."""
    handed = []

    class Above(my.Function):
        @staticmethod
        def forward(ctx, a):
            return result_of(a.data + 0, a)

        @staticmethod
        def backward(ctx, grad_output):
            handed.append(my.Tensor(np.ones((4, 3))))
            return handed[-1]

    Above.apply(my.ReLU()(leaf(given.z))).backward()
    return if_true(any(np.any(grad.data != 1) for grad in handed))


# 2.3 SGD


@graded("Linear ReLU SGD Step", note="""\
step() changes param.grad itself: from 1 to {after:g}.
Whoever steps twice on one gradient, or looks at it after the step, gets wrong numbers.
Compute with new arrays: lr * param.grad.data, not param.grad.data *= lr""")
def gradient_after_a_step(given):
    weight = my.Tensor(np.ones(1), requires_grad=True, is_parameter=True)
    weight.grad = constant(np.ones(1))
    my.SGD([weight], lr=0.25).step()
    after = Numbers(weight.grad)
    return {"after": after} if np.any(abs(after.data - 1) >= 1e-6) else {}


# 2.4 BatchNorm


def nodes_below(node):
    """The nodes of a graph, from ``node`` on."""
    if node is None:
        return set()
    return {node}.union(*map(nodes_below, node.next_functions))


@graded("Linear Batchnorm ReLU Train/Eval", x=(3, 6, 3), **BATCHNORM, note="""\
the running averages are results in a graph that grows with each
batch: {one} nodes after one batch, {three} after three. It fills the memory, and in evaluation
mode gradients flow into the batches of the training. Compute the averages from .data, outside
the graph""")
def graph_of_running_averages(given):
    layer, nodes = batchnorm(given.gamma, given.beta), []
    for x in given.x:
        layer(leaf(x))
        nodes.append(sum(len(nodes_below(getattr(average, "grad_fn", None)))
                         for average in (layer.running_mean, layer.running_var)))
    return {"one": nodes[0], "three": nodes[2]} if nodes[2] > nodes[0] else {}
