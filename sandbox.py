"""Your workbench: quick checks of your own code, and a place to try things.
`python3 sandbox.py --help` says what it can do; hw1/README.md is the text to read first."""

import bdb
import operator
import os
import shutil
import signal
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "autograder" / "hw1_autograder")]

if sys.version_info < (3, 8) or not (find_spec("numpy") and find_spec("matplotlib")):
    prepared = ROOT / ".venv" / "bin" / "python"  # by grade.sh
    if not prepared.exists() or Path(sys.prefix) == ROOT / ".venv":
        sys.exit("sandbox.py needs Python 3.8 or newer, with numpy and matplotlib; this is "
                 "Python %d.%d.\n" % sys.version_info[:2] +
                 "Type ./grade.sh 1 once: it installs them into .venv, where this file finds them.")
    os.execv(str(prepared), [str(prepared), __file__] + sys.argv[1:])

import numpy as np  # noqa: E402

from grader import errors  # noqa: E402
from grader.child import describe_error  # noqa: E402

try:
    from mytorch.tensor import Tensor
    from mytorch.autograd_engine import ContextManager
    from mytorch.gradient_check import (  # noqa: F401
        CutOff, NoGraph, against_torch, check_gradients, check_in_graph, compare_tensor,
        find_differences, numerical_gradients, run_backward, uneven)
    from mytorch.nn import functional as F
    from mytorch.nn.activations import ReLU
    from mytorch.nn.batchnorm import BatchNorm1d
    from mytorch.nn.linear import Linear
    from mytorch.nn.loss import CrossEntropyLoss
    from mytorch.nn.sequential import Sequential
    from mytorch.optim.sgd import SGD
    from mytorch.show import draw, draw_backward, draw_before_and_after, trace, tracebacks
except (Exception, SystemExit) as error:
    print("mytorch cannot be imported: "
          + "\n  ".join(errors.explain_error(describe_error(error, ROOT))))
    sys.exit(1)

USAGE = """usage: python3 sandbox.py [CHECK ...]      run all checks, or those named
       python3 sandbox.py --trace           the backward pass of an example, step by step
       python3 sandbox.py --draw [FILE]     the example's graph, as graph.png or FILE
       python3 sandbox.py --steps [FILE]    its backward pass in motion, as backward.gif or FILE"""

# To check an operation or a layer of your own, take the comments off and put it in its place:
#
#     check_gradients(lambda a, b: a * b, Tensor.randn(2, 3), Tensor.randn(2, 3))
#     check_gradients(Linear(3, 4), Tensor.randn(2, 3))
#     against_torch(lambda a, b: a * b, Tensor.randn(2, 3), Tensor.randn(2, 3))  # with PyTorch


class Failed(Exception):
    """A check found something wrong; the message says what."""


class NotStarted(Exception):
    """What a check needs has not been written yet; the message says what."""


def check(name, got, right, **mistakes):
    """Fail unless ``got`` is a Tensor with the numbers of ``right``.

    Args:
        name (str): of the result, for the message.
        **mistakes (ndarray): what typical mistakes would give; underscores stand for blanks.
    """
    named = {name.replace("_", " "): wrong for name, wrong in mistakes.items()}
    complaint = compare_tensor(name, np.asarray(right, np.float64), got, named)
    if complaint:
        raise Failed(complaint)


def check_is(name, got, expected):
    """Fail unless ``got`` is the object ``expected``: True, False or None."""
    if got is not expected:
        raise Failed(f"{name}: expected {expected}, got {got}")


def numbers(*shapes):
    """Arrays of uneven numbers of both signs, sizes from 0.5 to 2: fit to divide by."""
    return [uneven(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def check_operation(operation, function, shape_a, shape_b):
    """Check forward and backward of a Function of two Tensors, called without autograd.

    Args:
        operation (type): such as F.Sub.
        function: the same on ndarrays, such as operator.sub.
        shape_a, shape_b (tuple): of the operands.
    """
    a, b = numbers(shape_a, shape_b)
    ctx = ContextManager()
    tensors = [Tensor(array.copy(), requires_grad=True) for array in (a, b)]
    output = operation.forward(ctx, *tensors)
    for name, tensor, array in zip("ab", tensors, (a, b)):
        check_unchanged(f"forward changed its input {name}", tensor, array)
    check("output of forward", output, function(a, b))
    upstream = uneven(*output.shape)
    grad_output = Tensor(upstream.copy())
    gradients = operation.backward(ctx, grad_output)
    check_unchanged("backward changed the gradient it was given", grad_output, upstream)
    if not isinstance(gradients, (tuple, list)) or len(gradients) != 2:
        raise Failed("backward: expected 2 gradients, of a and of b, got "
                     f"{type(gradients).__name__}")
    right = numerical_gradients(function, [a, b], upstream)
    ones = numerical_gradients(function, [a, b], np.ones(output.shape))
    for name, grad, expected, other, ignoring in zip("ab", gradients, right, right[::-1], ones):
        if np.allclose(other, -expected):  # as of a - b: then it is the sign
            other = expected
        check(f"gradient of {name}", grad, expected, the_upstream_gradient_ignored=ignoring,
              that_of_the_other_operand=other)


def check_unchanged(complaint, tensor, array):
    """Fail with that complaint unless ``tensor`` still holds the numbers of ``array``."""
    if not np.array_equal(tensor.data, array):
        raise Failed(f"{complaint}, in place: make a new array instead")


def check_operator(function, operation):
    """Check an operator of Tensors without gradients, and the Function behind it."""
    check_operation(operation, function, (3, 4), (3, 4))
    a, b = numbers((2, 3), (2, 3))
    check("result of the operator", function(Tensor(a), Tensor(b)), function(a, b))


def check_autograd(function, *arrays, on_arrays=None):
    """Check what backward() stores on leaves, for a function of Tensors.

    Args:
        function: of Tensors and of ndarrays alike; else give ``on_arrays``, the same on ndarrays.
        *arrays (ndarray): the leaves.
    """
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    on_arrays = on_arrays or function
    output = function(*leaves)
    check("output", output, on_arrays(*arrays))
    upstream = uneven(*output.shape)
    run_backward(output, upstream)
    for name, leaf, expected in zip("abcd", leaves, numerical_gradients(on_arrays, arrays, upstream)):
        check(f"gradient of {name}", leaf.grad, expected)


def check_differences(function, *tensors):
    """Check all gradients of a function or Module of Tensors; as check_gradients, but it fails."""
    for _, complaint, _ in find_differences(function, tensors):
        if complaint:
            raise Failed(complaint)


# 1.1: operations. What is checked here needs no autograd.


def test_add():
    check_operator(operator.add, F.Add)


def test_sub():
    check_operator(operator.sub, F.Sub)


def test_mul():
    check_operator(operator.mul, F.Mul)


def test_div():
    check_operator(operator.truediv, F.Div)


# 1.2: autograd, from easy to hard.


def test1():
    """A sum of two leaves."""
    check_autograd(lambda a, b: a + b, *numbers((2, 3), (2, 3)))


def test2():
    """A chain of operations."""
    check_autograd(lambda a, b, c: (a * b + c) * c, *numbers((2, 3), (2, 3), (2, 3)))


def test3():
    """A leaf used twice by one operation."""
    check_autograd(lambda a: a * a, *numbers((2, 3)))


def test4():
    """A result used twice: two gradients arrive and must be added up."""
    def function(a, b):
        shared = a * b
        return shared * a + shared
    check_autograd(function, *numbers((2, 3), (2, 3)))


def test5():
    """Flags of results; a constant, also as the first operand, gets no gradient, a result none."""
    a, c = Tensor(uneven(2, 3), requires_grad=True), Tensor(uneven(2, 3))
    product = a * c
    run_backward(product + c, uneven(2, 3))
    check_is("(a * c).requires_grad", product.requires_grad, True)
    check_is("(a * c).is_leaf", product.is_leaf, False)
    check_is("(c + c).requires_grad", (c + c).requires_grad, False)
    check_is("(c + c).is_leaf", (c + c).is_leaf, True)
    check_is("gradient of the constant c", c.grad, None)
    check_is("gradient stored on a * c", product.grad, None)
    a.grad, upstream = None, uneven(2, 3, seed=1)
    constant = Tensor(uneven(2, 3, seed=2))
    run_backward(constant * a, upstream)
    check("gradient of a in c * a", a.grad, upstream * constant.data,
          that_of_the_constant_c=upstream * a.data)


def test6():
    """backward() starts from ones, and adds to the gradients that are there."""
    a, b = numbers((2, 3), (2, 3))
    leaf = Tensor(a, requires_grad=True)
    product = leaf * Tensor(b)
    check_in_graph(product)
    product.backward()
    check("gradient of a after backward()", leaf.grad, b)
    product.backward()
    check("gradient of a after a second backward()", leaf.grad, 2 * b, overwritten_not_added=b)


def test7():
    """Operations of one Tensor."""
    check_autograd(lambda a: a.reshape(3, 2).T().log(), np.abs(uneven(2, 3)),
                   on_arrays=lambda a: np.log(a.reshape(3, 2).T))


def test8():
    """The example of hw1/README.md, d = a + a*b; e = (d + c) + 3, where b is a constant."""
    b = Tensor(uneven(2, 3, seed=5))
    check_autograd(lambda a, c: ((a + a * b) + c) + Tensor(np.full((2, 3), 3.0)),
                   *numbers((2, 3), (2, 3)),
                   on_arrays=lambda a, c: ((a + a * b.data) + c) + 3)
    check_is("gradient of the constant b", b.grad, None)


# 2.1: broadcasting, Linear and Sequential. Full marks need broadcasting in Add alone.


def check_broadcast(function, operation):
    """Operands of different shapes: each gradient comes back in its operand's shape."""
    for shapes in (((3, 4), (4,)), ((3, 4), (1, 4)), ((3, 1), (1, 4)), ((), (3, 4))):
        check_operation(operation, function, *shapes)
        check_autograd(function, *numbers(*shapes))


def testbroadcast():
    check_broadcast(operator.add, F.Add)


def testbroadcast_sub():
    check_broadcast(operator.sub, F.Sub)


def testbroadcast_mul():
    check_broadcast(operator.mul, F.Mul)


def testbroadcast_div():
    check_broadcast(operator.truediv, F.Div)


def test_linear():
    """Two features become three: the first, the second, and their sum, plus a bias each."""
    layer = Linear(2, 3)
    layer.weight.data, layer.bias.data = np.array([[1., 0], [0, 1], [1, 1]]), np.array([10., 20, 30])
    check("output", layer(Tensor([[1., 2], [3, 4]])), [[11, 22, 33], [13, 24, 37]])
    check_differences(layer, Tensor(uneven(4, 2)))


def test_sequential():
    """The second layer gets what the first returns."""
    first, second, x = Linear(2, 3), Linear(3, 2), Tensor(uneven(4, 2))
    check("output", Sequential(first, second)(x), second(first(x)).data)


# 2.2 to 2.6: ReLU, SGD, BatchNorm1d, cross entropy, momentum.


def test_relu():
    """What is above 0 stays; the rest, 0 itself too, becomes 0 and passes no gradient."""
    x = Tensor([-1., 0., 2.], requires_grad=True)
    output = ReLU()(x)
    if output is x:
        raise Failed("forward returned its input itself: return a new Tensor")
    check("output", output, [0, 0, 2])
    run_backward(output, np.array([5., 6, 7]))
    check("gradient", x.grad, [0, 0, 7], passed_at_0_as_well=np.array([0., 6, 7]),
          the_upstream_gradient_ignored=np.array([0., 0, 1]))
    check_differences(ReLU(), Tensor(uneven(3, 4)))


def take_two_steps(momentum):
    """A weight before, between and after two steps of SGD with lr 0.1, and the numerical gradients
    that they were given, of the sum of its cubes: two lists of ndarrays. There is a second weight,
    whose gradients are all 1."""
    weight = Tensor(uneven(2, 3), requires_grad=True, is_parameter=True)
    second = Tensor(uneven(2, 3, seed=1), requires_grad=True, is_parameter=True)
    optimizer = SGD([weight, second], lr=0.1, momentum=momentum)
    weights, gradients = [weight.data.copy()], []
    for _ in range(2):
        gradients += numerical_gradients(lambda w: w ** 3, [weights[-1].copy()], np.ones((2, 3)))
        weight.grad, second.grad = Tensor(gradients[-1].copy()), Tensor(np.ones((2, 3)))
        optimizer.step()
        if isinstance(weight.data, Tensor):
            raise Failed("after step() the weight's data is a Tensor: compute with param.grad.data")
        weights.append(weight.data.copy())
        if optimizer.params[0] is not weight or not weight.is_leaf or not weight.requires_grad:
            raise Failed("after step() the weight is another Tensor or no leaf: change its data")
    return weights, gradients


def check_step(number, weights, moves, **mistakes):
    """Check that step 1 or 2 moved the weight so far; ``mistakes`` would have moved it otherwise."""
    before = weights[number - 1]
    check(f"weight after step {number}", Tensor(weights[number]), before + moves,
          the_weight_as_it_was=before, a_step_up_instead_of_down=before - moves,
          **{name: before + wrong for name, wrong in mistakes.items()})


def test_sgd():
    weights, gradients = take_two_steps(momentum=0.0)
    for number in (1, 2):
        check_step(number, weights, -0.1 * gradients[number - 1],
                   the_learning_rate_forgotten=-gradients[number - 1])


def test_momentum():
    """Of each step, the next one keeps 0.9."""
    weights, gradients = take_two_steps(momentum=0.9)
    first, plain = -0.1 * gradients[0], -0.1 * gradients[1]
    check_step(1, weights, first, the_gradient_multiplied_by_1_minus_momentum=0.1 * first)
    if np.allclose(weights[2], weights[1] + plain):
        raise NotStarted("2.6, or v is not stored: step 2 keeps nothing of step 1")
    check_step(2, weights, 0.9 * first + plain, one_v_for_all_parameters=0.9 * (
        0.9 * first - 0.1) + plain, the_gradient_remembered_and_not_the_step=0.9 * gradients[0] + plain)


def test_batchnorm_train():
    """A batch of 1 and 3: mean 2, variance 1 (divided by m), 2 (divided by m - 1)."""
    layer = BatchNorm1d(1, eps=0.0, momentum=0.1)
    plus_minus = np.array([[-1.], [1.]])
    check("output", layer(Tensor([[1.], [3.]])), plus_minus,
          normalised_by_the_variance_divided_by_m_minus_1=plus_minus / np.sqrt(2))
    check_running(layer, 0.2, 1.1)
    check("output with eps 3", BatchNorm1d(1, eps=3.0)(Tensor([[1.], [3.]])), plus_minus / 2,
          eps_added_after_the_root=plus_minus / 4, eps_forgotten=plus_minus)
    layer = BatchNorm1d(3)
    layer.gamma.data, layer.beta.data = numbers((3,), (3,))
    check_differences(layer, Tensor(uneven(5, 3)))


def check_running(layer, mean, variance):
    """Check the running averages of a BatchNorm1d of one feature, from 0 and 1 on."""
    averages = [Tensor(np.array(getattr(average, "data", average), np.float64).reshape(()))
                for average in (layer.running_mean, layer.running_var)]
    check("running_mean", averages[0], mean, the_weights_of_old_and_new_swapped=np.array(1.8),
          no_average_kept=np.array(0.0))
    check("running_var", averages[1], variance, the_weights_of_old_and_new_swapped=np.array(1.9),
          **{"the_variance_divided_by_m,_or_no_average_kept": np.array(1.0)})


def test_batchnorm_eval():
    """Evaluation takes the running averages, 0.2 and 1.1 after a batch of 1 and 3."""
    layer = BatchNorm1d(1, eps=0.0)
    layer(Tensor([[1.], [3.]]))
    layer.eval()
    x = np.array([[0.2], [0.2 + np.sqrt(1.1)]])
    check("output", layer(Tensor(x)), [[0], [1]], running_averages_that_are_still_0_and_1=x,
          the_mean_and_variance_of_this_batch=np.array([[-1.], [1.]]),
          the_running_variance_divided_by_m=x - 0.2)
    check_running(layer, 0.2, 1.1)
    check_differences(layer, Tensor(uneven(5, 1)))


def test_cross_entropy():
    criterion = CrossEntropyLoss()
    with np.errstate(all="ignore"):  # an overflow is told below, by what it leads to
        equal, large = Tensor([[5., 5]] * 4), Tensor([[1000., 0], [0, -1000], [0, 1000], [-1000, 0]])
        check("loss of equal logits", criterion(equal, Tensor([0, 1, 0, 0])), np.log(2),
              the_sum_over_the_batch=np.log(16), exp_summed_over_the_whole_batch=np.log(8),
              exp_summed_over_the_examples=np.log(4))
        check("loss of large logits", criterion(large, Tensor([1, 0, 0, 1])), 500)
        for shift in (0, 1000):
            check_differences(lambda logits: criterion(logits, Tensor([2, 0, 2, 1])),
                              Tensor(uneven(4, 3) + shift))


CHECKS = {check.__name__: check for check in (
    test_add, test_sub, test_mul, test_div, test1, test2, test3, test4, test5, test6, test7, test8,
    testbroadcast, testbroadcast_sub, testbroadcast_mul, testbroadcast_div, test_linear,
    test_sequential, test_relu, test_sgd, test_batchnorm_train, test_batchnorm_eval,
    test_cross_entropy, test_momentum)}
NOT_GRADED = (testbroadcast_sub, testbroadcast_mul, testbroadcast_div)


def run(name):
    """Run one check and print one line, or a few for a failure; returns whether it passed."""
    print(f"{name:21}", end="", flush=True)
    passed, text = True, "ok"
    try:
        CHECKS[name]()
    except bdb.BdbQuit:  # q at a breakpoint(), or nobody there to type
        sys.exit("left the debugger")
    except (Exception, SystemExit) as error:
        passed, text = False, explain(error)
    if text.startswith("FAILED") and CHECKS[name] in NOT_GRADED:
        passed, text = True, text.replace("FAILED", "optional", 1) + "\nfull marks need it in Add alone"
    print(wrapped(text, first_column=21))
    return passed


def explain(error):
    """What an exception tells, in a few lines: of a check, or in the grader's words."""
    if isinstance(error, (Failed, CutOff)):
        return f"FAILED  {error}"
    if isinstance(error, (NotStarted, NoGraph, NotImplementedError)):
        return f"not started  {error or 'raises NotImplementedError'}"
    described = describe_error(error, ROOT)
    not_yet = errors.unfinished(described)
    return f"not started  {not_yet}" if not_yet else (
        "FAILED  " + "\n".join(errors.explain_error(described)))


def wrapped(text, first_column=0):
    """Lines of text, wrapped between words to the terminal's width; all but the first indented."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    lines = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, width, subsequent_indent="    ", break_long_words=False,
                               initial_indent="  " if lines else " " * first_column,
                               break_on_hyphens=False)
    return "\n".join(lines)[first_column:]


def example():
    """The example of hw1/README.md: its last result, and the names of all Tensors in it."""
    a, b, c = Tensor(1.0, requires_grad=True), Tensor(2.0), Tensor(3.0, requires_grad=True)
    product = a * b
    d = a + product
    sum_of_both = d + c
    e = sum_of_both + Tensor(3.0)
    check_in_graph(e)
    return e, {"a": a, "b": b, "c": c, "a*b": product, "d": d, "d+c": sum_of_both, "e": e}


def draw_example(filename):
    """Draw the example's graph before and after backward, or without if that is not written."""
    e, names = example()
    try:
        draw_before_and_after(e, filename, **names)
    except NotImplementedError as error:
        draw(e, filename, **names)
        print(wrapped(f"backward is not started: {error}"))
        print(f"The graph of the example, as Function.apply recorded it: {filename}")
    else:
        print(f"The graph of the example, before and after backward: {filename}")


def show(arguments):
    """Trace or draw the example, or show its steps; returns the exit status."""
    try:
        if arguments == ["--trace"]:
            e, names = example()
            print("a, b, c = 1, 2, 3;  d = a + a*b;  e = (d + c) + 3;  a and c require grad\n")
            trace(e, **names)
        elif arguments[0] == "--draw" and len(arguments) < 3:
            draw_example((arguments + ["graph.png"])[1])
        elif arguments[0] == "--steps" and len(arguments) < 3:
            e, names = example()
            filename = (arguments + ["backward.gif"])[1]
            draw_backward(e, filename, **names)
            print(f"The backward pass of the example, step by step: {filename}")
        else:
            print(USAGE, file=sys.stderr)
            return 2
    except Exception as error:
        what = str(error) if tracebacks.is_refusal(error) else explain(error)
        print(wrapped(f"sandbox.py {arguments[0]}: {what}"))
        return 1
    return 0


def main(arguments):
    """Run the checks that are named, or all; returns the exit status."""
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments and arguments[0].startswith("-"):
        return show(arguments)
    unknown = [name for name in arguments if name not in CHECKS]
    if unknown:
        print(wrapped(f"sandbox.py: unknown check {unknown[0]}; there are {', '.join(CHECKS)}"),
              file=sys.stderr)
        return 2
    passed = [run(name) for name in arguments or CHECKS]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads, such as | head, may stop
    sys.exit(main(sys.argv[1:]))
