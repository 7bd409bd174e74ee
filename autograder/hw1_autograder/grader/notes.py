"""Notes: looks for what gives right numbers and will hurt all the same.
They cost no points; what they say stands below a problem that has them all."""

import importlib
import sys

import numpy as np

from grader.graded import Numbers, constant, graded, leaf, my, truth
from grader.layers import BATCHNORM, batchnorm, linear
from grader.operations import combine


def result_like(a):
    """The result of an operation that changes nothing, with the flags that it has to have."""
    return my.Tensor(a.data + 0, requires_grad=a.requires_grad, is_leaf=not a.requires_grad)


# 1.2 Autograd


def note_on_visits(results):
    """What to say of a node that ran more than once."""
    visits = (results.get("visits") or {}).get("value")
    if not isinstance(visits, int) or visits < 2:
        return ""
    return (f"no points lost, but a node with 2 uses ran its backward again for each path:\n"
            f"{visits} times in a chain of 8 such nodes, and twice as often for each more.\n"
            'Why, and what to do: hw1/README.md, "Why gradients add"')


@graded("autogradtest", note=note_on_visits)
def visits_of_a_shared_node(given):
    """How often one node runs in a chain of 8 results that are each used twice."""
    visits = []

    class Counted(my.Function):
        @staticmethod
        def forward(ctx, a):
            return result_like(a)

        @staticmethod
        def backward(ctx, grad_output):
            visits.append(1)
            return grad_output

    result = Counted.apply(my.Tensor(1.0, requires_grad=True))
    for _ in range(8):
        result = result + result
    result.backward()
    return {"visits": len(visits)}


def note_on_gradients_in_a_graph(results):
    """What to say of a stored gradient that is itself a result of recorded operations."""
    if (results.get("in a graph") or {}).get("value") is not True:
        return ""
    return ("no points lost, but a.grad is itself the result of a graph, which each backward() makes\n"
            "longer: start from ones that do not require grad, or add up the .data of gradients")


@graded("autogradtest", note=note_on_gradients_in_a_graph)
def graph_of_a_gradient(given):
    a = leaf(np.ones((2, 3)))
    shared = a * a
    (shared + shared).backward()
    (a + a).backward()
    return {"in a graph": truth(a.grad.requires_grad) is True and not a.grad.is_leaf}


def note_on_plain_arguments(results):
    """What to say of an ``apply`` that takes Tensors only."""
    if (results.get("failed") or {}).get("value") is not True:
        return ""
    return ("no points lost, but Function.apply fails where one of several arguments is no Tensor, such\n"
            "as the shape in a.reshape(3, 2). Such an argument is a constant, which gets no gradient:\n"
            "None in next_functions")


@graded("autogradtest", note=note_on_plain_arguments)
def operation_with_a_number(given):
    class TimesNumber(my.Function):
        @staticmethod
        def forward(ctx, a, number):
            return my.Tensor(number * a.data, requires_grad=True, is_leaf=False)

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output, None

    try:
        TimesNumber.apply(leaf(np.ones((2, 3))), 2.0)
    except Exception:
        return {"failed": True}
    return {"failed": False}


def note_on_constants(results):
    """What to say of results of constants alone that require grad."""
    if not is_true(results, "requires grad"):
        return ""
    return ("no points lost, but a result of constants alone requires grad. Its node keeps what it was\n"
            "computed from in memory, and backward() goes down to where nothing needs a gradient.\n"
            "A result requires grad if at least one of its inputs does")


@graded("autogradtest", note=note_on_constants)
def result_of_constants(given):
    c = constant(np.ones((2, 3)))
    return {"requires grad": truth((c + c).requires_grad) is True}


def note_on_nodes(results):
    """What to say of nodes that the graph of the text does not have."""
    said = []
    if is_true(results, "of a constant"):
        said.append("no points lost, but a constant has a node among next_functions, where the text has\n"
                    "None, so that backward() computes gradients of constants, which nobody needs")
    if is_true(results, "at each use"):
        said.append("no points lost, but a leaf gets a new AccumulateGrad at each use. Kept in its grad_fn\n"
                    "from its first use on, one node would get the sum of all its gradients at once")
    return "\n".join(said)


@graded("autogradtest", note=note_on_nodes)
def nodes_of_leaves_and_constants(given):
    a, c = leaf(np.ones((2, 3))), constant(np.ones((2, 3)))
    first, second = (node_list(combine((a, 1), (c, 1))) for _ in range(2))
    return {"of a constant": any(getattr(node, "variable", None) is c for node in first),
            "at each use": getattr(first[0], "variable", None) is a and first[0] is not second[0]}


def node_list(tensor):
    """The next_functions of a result, which some engines keep in a dict."""
    nodes = tensor.grad_fn.next_functions
    return list(nodes.values() if isinstance(nodes, dict) else nodes)


def is_true(results, label):
    """Whether a result is True."""
    return (results.get(label) or {}).get("value") is True


def note_on_imports(results):
    """What to say of files that can be imported in one order only."""
    if not is_true(results, "failed"):
        return ""
    return ("no points lost, but `import mytorch.tensor` fails in a program that has imported nothing else\n"
            "of mytorch: your files import each other in a circle. Import what a function needs within\n"
            "the function, or at the end of the file, as tensor.py imports functional.py")


@graded("autogradtest", note=note_on_imports)
def import_of_a_tensor_alone(given):
    """As in a fresh process: without what has been imported of mytorch, which is then put back."""
    def take_out():
        return {name: sys.modules.pop(name) for name in list(sys.modules)
                if name.split(".")[0] == "mytorch"}

    imported = take_out()
    try:
        importlib.import_module("mytorch.tensor")
        return {"failed": False}
    except Exception:
        return {"failed": True}
    finally:
        take_out()
        sys.modules.update(imported)


# 2.2 ReLU


def note_on_a_gradient_written_into(results):
    """What to say of a backward that writes into the gradient it is given."""
    if (results.get("changed") or {}).get("value") is not True:
        return ""
    return ("no points lost, but ReLU's backward writes into the gradient that it is given. Others may\n"
            "hold that array: an Add that hands one to both of its operands would give the other a\n"
            "wrong gradient. Make a new array")


@graded("Linear ReLU Backward", note=note_on_a_gradient_written_into, z=(4, 3))
def gradient_given_to_relu(given):
    """Whether an array that reaches ReLU from an operation above it is another one afterwards."""
    handed = []

    class Above(my.Function):
        @staticmethod
        def forward(ctx, a):
            return result_like(a)

        @staticmethod
        def backward(ctx, grad_output):
            handed.append(my.Tensor(np.ones((4, 3))))
            return handed[-1]

    Above.apply(my.ReLU()(leaf(given.z))).backward()
    return {"changed": any(bool(np.any(grad.data != 1)) for grad in handed)}


# 2.3 and 2.6 SGD


def note_on_stored_gradients(results):
    """What to say of a step that writes into the gradient it is given, which is 1."""
    (after,) = (results.get("stored gradient") or {}).get("values") or [1]
    if abs(after - 1) < 1e-6:
        return ""
    return (f"no points lost, but step() changes param.grad itself: from 1 to {after:g}.\n"
            "Whoever steps twice on one gradient, or looks at it after the step, gets wrong numbers.\n"
            "Compute with new arrays: lr * param.grad.data, not param.grad.data *= lr")


def gradient_after_steps(count, **options):
    """What a gradient of 1 is after the last of some steps."""
    layer = linear(np.ones((1, 1)), np.ones(1))
    optimizer = my.SGD(layer.parameters(), **options)
    for _ in range(count):
        optimizer.zero_grad()
        layer(constant(np.ones((1, 1)))).backward()
        optimizer.step()
    return {"stored gradient": Numbers(layer.weight.grad)}


@graded("Linear ReLU SGD Step", note=note_on_stored_gradients)
def gradient_after_a_step(given):
    return gradient_after_steps(1, lr=0.25)


@graded("Linear Momentum Step", note=note_on_stored_gradients)
def gradient_after_steps_with_momentum(given):
    return gradient_after_steps(2, lr=0.25, momentum=0.5)


# 2.4 BatchNorm


def note_on_running_averages(results):
    """What to say of running averages that keep the graphs of all batches."""
    one, three = ((results.get(f"nodes after {count}") or {}).get("value") for count in (1, 3))
    if not (isinstance(one, int) and isinstance(three, int)) or three <= one:
        return ""
    return ("no points lost, but the running averages are results in a graph that grows with each\n"
            f"batch: {one} nodes after one batch, {three} after three. It fills the memory, and in evaluation\n"
            "mode gradients flow into the batches of the training. Compute the averages from .data, outside\n"
            "the graph")


def nodes_below(node):
    """How many nodes a graph has, from ``node`` on."""
    found, unexplored = set(), [node]
    while unexplored:
        node = unexplored.pop()
        if node is not None and node not in found:
            found.add(node)
            unexplored.extend(node.next_functions)
    return len(found)


@graded("Linear Batchnorm ReLU Train/Eval", note=note_on_running_averages, x=(3, 6, 3),
        **BATCHNORM)
def graph_of_running_averages(given):
    layer, nodes = batchnorm(given.gamma, given.beta), {}
    for count, x in enumerate(given.x, start=1):
        layer(leaf(x))
        nodes[f"nodes after {count}"] = sum(
            nodes_below(getattr(average, "grad_fn", None))
            for average in (layer.running_mean, layer.running_var))
    return nodes
