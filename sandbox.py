"""Your workbench: quick checks of your own code, and a place to try things.
`python3 sandbox.py --help` says what it can do."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "autograder" / "hw1_autograder")]

if not (find_spec("numpy") and find_spec("matplotlib")):
    prepared = ROOT / ".venv" / "bin" / "python"  # by grade.sh
    if not prepared.exists() or Path(sys.prefix) == ROOT / ".venv":
        sys.exit("sandbox.py: this Python lacks numpy or matplotlib.\n"
                 "Type ./grade.sh 1 once: it installs them into .venv, where this file finds them.")
    os.execv(str(prepared), [str(prepared), __file__] + sys.argv[1:])

import numpy as np  # noqa: E402

import diagnosis  # noqa: E402
import judge  # noqa: E402
from gradient_check import (TOLERANCE, against_torch, check_gradients,  # noqa: E402, F401
                            numerical_gradients, uneven)
from child import describe_error, plain  # noqa: E402

try:
    from mytorch import autograd_engine
    from mytorch.autograd_engine import ContextManager
    from mytorch.show import draw, draw_before_and_after, trace  # noqa: F401
    from mytorch.nn import functional as F
    from mytorch.tensor import Tensor
    from mytorch.show.trace import trace_naive
except (Exception, SystemExit) as error:
    print("mytorch cannot be imported: "
          + "\n  ".join(diagnosis.explain_error(describe_error(error, ROOT))))
    sys.exit(1)

USAGE = """usage: python3 sandbox.py [CHECK ...]      run all checks, or those named
       python3 sandbox.py --trace           the backward pass of an example, step by step
       python3 sandbox.py --trace naive     what one recursion per path does instead
       python3 sandbox.py --draw [FILE]     the example's graph, as graph.png or FILE"""

# To check an operation of your own, take the comments off, and put it in the place of *:
#
#     a, b = Tensor.randn(2, 3), Tensor.randn(2, 3)
#     check_gradients(lambda a, b: a * b, a, b)
#     against_torch(lambda a, b: a * b, a, b)         # if you have PyTorch


class Failed(Exception):
    """A check found something wrong; the message says what."""


def numbers(*shapes):
    """Arrays of uneven numbers of both signs, sizes from 0.5 to 2: fit to divide by."""
    return [uneven(shape, seed) for seed, shape in enumerate(shapes)]


def check(name, got, right, **mistakes):
    """Fail unless ``got`` is a Tensor with the numbers of ``right`` (ndarray).

    Args:
        name (str): of the result, for the message.
        **mistakes (ndarray): what typical mistakes would give; underscores stand for blanks.
    """
    answer = as_answer(right)
    answer["mistakes"] = {name.replace("_", " "): as_answer(wrong)
                          for name, wrong in mistakes.items()}
    complaints = judge.compare(name, answer, plain(got), **TOLERANCE)
    if complaints:
        raise Failed("\n  ".join(complaints))


def as_answer(array):
    """An ndarray in the form of the grader's recorded answers."""
    return {"shape": array.shape, "values": array.ravel().tolist()}


def check_operation(operation, function, shape_a, shape_b):
    """Check forward and backward of a Function of two Tensors, called without autograd.

    Args:
        operation (type): such as F.Sub.
        function: the same on ndarrays, such as np.subtract.
        shape_a, shape_b (tuple): of the operands.
    """
    a, b = numbers(shape_a, shape_b)
    ctx = ContextManager()
    tensors = [Tensor(array.copy(), requires_grad=True) for array in (a, b)]
    output = operation.forward(ctx, *tensors)
    check("output", output, function(a, b))
    upstream = uneven(output.shape)
    gradients = operation.backward(ctx, Tensor(upstream.copy()))
    if not isinstance(gradients, (tuple, list)) or len(gradients) != 2:
        raise Failed(f"backward: expected 2 gradients, of a and of b, got {gradients!r}")
    right = numerical_gradients(function, [a, b], upstream)
    ones = numerical_gradients(function, [a, b], np.ones(output.shape))
    for name, grad, expected, ignoring in zip("ab", gradients, right, ones):
        check(f"gradient of {name}", grad, expected, the_upstream_gradient_ignored=ignoring)


def check_autograd(function, *arrays, on_arrays=None, times=1):
    """Check what backward() stores on leaves, for a function of Tensors.

    Args:
        function: of Tensors and of ndarrays alike; else give ``on_arrays``, the same on ndarrays.
        *arrays (ndarray): the leaves.
        times (int): how often backward runs.
    """
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    on_arrays = on_arrays or function
    output = function(*leaves)
    check("output", output, on_arrays(*arrays))
    upstream = uneven(output.shape)
    for _ in range(times):
        autograd_engine.backward(output.grad_fn, Tensor(upstream.copy()))
    right = numerical_gradients(on_arrays, arrays, upstream * times)
    once = numerical_gradients(on_arrays, arrays, upstream)
    for name, leaf, expected, single in zip("abcd", leaves, right, once):
        check(f"gradient of {name}", leaf.grad, expected, gradients_overwritten_not_added=single)


# 1.1: operations. What is checked here needs no autograd.


def test_add():
    check_operation(F.Add, np.add, (3, 4), (3, 4))


def test_sub():
    check_operation(F.Sub, np.subtract, (3, 4), (3, 4))
    a, b = numbers((2, 3), (2, 3))
    check("a - b", Tensor(a) - Tensor(b), a - b)


def test_mul():
    check_operation(F.Mul, np.multiply, (3, 4), (3, 4))
    a, b = numbers((2, 3), (2, 3))
    check("a * b", Tensor(a) * Tensor(b), a * b)


def test_div():
    check_operation(F.Div, np.true_divide, (3, 4), (3, 4))
    a, b = numbers((2, 3), (2, 3))
    check("a / b", Tensor(a) / Tensor(b), a / b)


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
    """Flags of results; a constant gets no gradient, a result stores none."""
    a, c = Tensor(uneven((2, 3)), requires_grad=True), Tensor(uneven((2, 3)))
    product = a * c
    (product + c).backward()
    for name, got, expected in (
            ("(a * c).requires_grad", product.requires_grad, True),
            ("(a * c).is_leaf", product.is_leaf, False),
            ("(c + c).requires_grad", (c + c).requires_grad, False),
            ("gradient of the constant c", c.grad, None),
            ("gradient stored on a * c", product.grad, None)):
        if got is not expected:
            raise Failed(f"{name}: expected {expected}, got {got}")


def test6():
    """backward() twice adds the gradients twice."""
    check_autograd(lambda a, b: a * b, *numbers((2, 3), (2, 3)), times=2)


def test7():
    """Operations of one Tensor."""
    check_autograd(lambda a: a.reshape(3, 2).T().log(), np.abs(numbers((2, 3))[0]),
                   on_arrays=lambda a: np.log(a.reshape(3, 2).T))


def test8():
    """The handout's example, d = a + a*b; e = (d + c) + 3."""
    three = np.full((2, 3), 3.0)
    check_autograd(lambda a, b, c: ((a + a * b) + c) + Tensor(three),
                   *numbers((2, 3), (2, 3), (2, 3)),
                   on_arrays=lambda a, b, c: ((a + a * b) + c) + three)


# 2.1: broadcasting.


def testbroadcast():
    """Operands of different shapes: each gradient comes back in its operand's shape."""
    for shapes in (((3, 4), (4,)), ((3, 4), (1, 4)), ((3, 1), (1, 4)), ((3, 4), ())):
        check_operation(F.Add, np.add, *shapes)
        check_autograd(lambda a, b: a + b, *numbers(*shapes))


CHECKS = {check.__name__: check for check in (
    test_add, test_sub, test_mul, test_div, test1, test2, test3, test4, test5, test6, test7,
    test8, testbroadcast)}


def run(name):
    """Run one check and print one line, or a few for a failure; returns whether it passed."""
    print(f"{name:15} ", end="", flush=True)
    try:
        CHECKS[name]()
    except Failed as failure:
        print(f"FAILED  {failure}")
    except (Exception, SystemExit) as error:
        print(explain(error))
    else:
        print("ok")
        return True
    return False


def explain(error):
    """An exception of the code in mytorch/, in the grader's words."""
    described = describe_error(error, ROOT)
    not_yet = diagnosis.unfinished(described)
    return f"(not started: {not_yet})" if not_yet else (
        "FAILED  " + "\n  ".join(diagnosis.explain_error(described)))


def example():
    """The handout's example: its last result, and the names of all Tensors in it."""
    a, b = Tensor(1.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    c = Tensor(3.0, requires_grad=True)
    product = a * b
    d = a + product
    sum_of_both = d + c
    e = sum_of_both + Tensor(3.0)
    return e, {"a": a, "b": b, "c": c, "a*b": product, "d": d, "d+c": sum_of_both, "e": e}


def show(arguments):
    """Trace or draw the example; returns the exit status."""
    try:
        if arguments == ["--trace"]:
            e, names = example()
            print("a, b, c = 1, 2, 3;  d = a + a*b;  e = (d + c) + 3\n")
            trace(e, **names)
        elif arguments == ["--trace", "naive"]:
            trace_naive()
        elif arguments[0] == "--draw" and len(arguments) < 3:
            e, names = example()
            filename = (arguments + ["graph.png"])[1]
            draw_before_and_after(e, filename, **names)
            print(f"The graph of the example, before and after backward: {filename}")
        else:
            print(USAGE, file=sys.stderr)
            return 2
    except Exception as error:
        print(f"sandbox.py {arguments[0]}: {explain(error)}")
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
        print(f"sandbox.py: unknown check {unknown[0]}; there are {', '.join(CHECKS)}",
              file=sys.stderr)
        return 2
    passed = [run(name) for name in arguments or CHECKS]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
