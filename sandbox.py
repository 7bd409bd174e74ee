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
sys.path[:] = [path for path in sys.path if path not in ("", str(ROOT))]  # a numpy.py of yours

if sys.version_info < (3, 8) or not (find_spec("numpy") and find_spec("matplotlib")):
    prepared = ROOT / ".venv" / "bin" / "python"  # by grade.sh
    if not prepared.exists() or Path(sys.prefix) == ROOT / ".venv":
        sys.exit("sandbox.py needs Python 3.8 or newer, with numpy and matplotlib; this is "
                 "Python %d.%d.\n" % sys.version_info[:2] +
                 "Type ./grade.sh 1 once: it installs them into .venv, where this file finds them.")
    os.execv(str(prepared), [str(prepared), __file__] + sys.argv[1:])

import random  # noqa: E402, F401  (which Python's own modules import later)

import numpy as np  # noqa: E402

sys.path[:0] = [str(ROOT), str(ROOT / "autograder" / "hw1_autograder")]

from grader import errors, verdict  # noqa: E402
from grader.grading import RecordedAnswers, run_here  # noqa: E402
from grader.places import describe_error  # noqa: E402
from grader.report import Report  # noqa: E402
from problems import GRADED  # noqa: E402

try:
    from mytorch.tensor import Tensor
    from mytorch.autograd_engine import ContextManager
    from mytorch.gradient_check import (  # noqa: F401
        CutOff, NoGraph, against_torch, check_gradients, check_in_graph, compare_tensor,
        numerical_gradients, run_backward, uneven)
    from mytorch.nn import functional as F
    from mytorch.nn.linear import Linear  # noqa: F401
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


# 2.1: broadcasting. Full marks need it in Add alone.


def check_broadcast(function, operation):
    """Operands of different shapes: each gradient comes back in its operand's shape."""
    for shapes in (((3, 4), (4,)), ((3, 4), (1, 4)), ((3, 1), (1, 4)), ((), (3, 4))):
        check_operation(function, operation, *numbers(*shapes))
        check_autograd(function, *numbers(*shapes))


def check_operation(function, operation, a, b):
    """Check forward and backward of a Function of two Tensors, called without autograd."""
    ctx, right = ContextManager(), function(a, b)
    output = operation.forward(ctx, *(Tensor(x.copy(), requires_grad=True) for x in (a, b)))
    check("output of forward", output, right)
    upstream = uneven(*right.shape)
    gradients = operation.backward(ctx, Tensor(upstream.copy()))
    for name, grad, expected in zip(
            "ab", gradients, numerical_gradients(function, [a, b], upstream)):
        check(f"gradient of {name}", grad, expected)


def testbroadcast():
    check_broadcast(operator.add, F.Add)


def testbroadcast_sub():
    check_broadcast(operator.sub, F.Sub)


def testbroadcast_mul():
    check_broadcast(operator.mul, F.Mul)


def testbroadcast_div():
    check_broadcast(operator.truediv, F.Div)


CHECKS = {check.__name__: check for check in (
    test1, test2, test3, test4, test5, test6, test7, test8,
    testbroadcast, testbroadcast_sub, testbroadcast_mul, testbroadcast_div)}
NOT_GRADED = (testbroadcast_sub, testbroadcast_mul, testbroadcast_div)

# The graded tests of a problem: its number, and a part of their Autolab key or name; with "not ",
# all without that part.
GRADED_TESTS = {
    "test_add": ("1.1", ""), "test_sub": ("1.1.1", ""), "test_mul": ("1.1.2", ""),
    "test_div": ("1.1.3", ""), "test_linear": ("2.1", "not sequential"),
    "test_sequential": ("2.1", "sequential"), "test_relu": ("2.2", ""), "test_sgd": ("2.3", ""),
    "test_batchnorm_train": ("2.4", "(Train)"), "test_batchnorm_eval": ("2.4", "Train/Eval"),
    "test_cross_entropy": ("2.5", ""), "test_momentum": ("2.6", "")}
CHECKS = {**dict.fromkeys(["test_add", "test_sub", "test_mul", "test_div"]), **CHECKS,
          **dict.fromkeys(GRADED_TESTS)}
ANSWERS = RecordedAnswers()


def judged(problem, part="", above=()):
    """The Verdict on a problem, whose tests run in this process, so that pdb works; None if there is
    none with that part in its name or key."""
    wanted = part.split("not ")[-1]
    cases = [case for case in verdict.cases_of(problem) if not case.scored
             or (wanted in f"{case.name} {case.key}") != part.startswith("not ")]
    if not any(case.scored for case in cases):
        return None
    seed = ANSWERS.seed or ANSWERS.load()
    outcome = run_here(problem.key, [(case, case.draw(seed)) for case in cases], ROOT)
    return verdict.Verdict(problem, outcome, ANSWERS, cases, above)


def run_graded(name):
    """Run the graded tests of a check, after those of the problems that they use; prints and
    returns as ``run``."""
    number, part = GRADED_TESTS[name]
    rows, above = [problem for problem in GRADED if problem.number == number], []
    for used in GRADED:
        if used.number < number and any(used.number in row.needs for row in rows):
            above.append(judged(used, above=above))
    for row in rows:
        found = judged(row, part, above)
        if found is None:
            continue
        above.append(found)
        if not found.passed:
            waiting = found.waits_for and f"not started  uses {found.waits_for}"
            missing = found.not_started and f"not started  {found.missing[0]}"
            print(waiting or missing or "FAILED")
            if not (waiting or missing):
                Report(sys.stdout).explain(found)
            return False
    print("ok")
    return True


def run(name):
    """Run one check and print one line, or a few for a failure; returns whether it passed."""
    print(f"{name:21}", end="", flush=True)
    if name in GRADED_TESTS:
        return run_graded(name)
    passed, text = True, "ok"
    try:
        CHECKS[name]()
    except bdb.BdbQuit:
        raise KeyboardInterrupt from None
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
    described = describe_error(error, ROOT)
    number = errors.todo_of(described)
    if isinstance(error, TypeError) and number:
        return f"not started  Tensor lacks an operator, which {number} asks for"
    if isinstance(error, NoGraph) or number:
        return f"not started  {error}"
    return "FAILED  " + "\n".join(errors.explain_error(described))


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
        if any(unknown[0] == problem.number for problem in GRADED):
            print(f"sandbox.py: a problem is graded by ./grade.sh 1 {unknown[0]}", file=sys.stderr)
            return 2
        print(wrapped(f"sandbox.py: unknown check {unknown[0]}; there are {', '.join(CHECKS)}"),
              file=sys.stderr)
        return 2
    try:
        passed = [run(name) for name in arguments or CHECKS]
    except KeyboardInterrupt:  # q at a breakpoint(), or nobody there to type
        sys.exit("left the debugger")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads, such as | head, may stop
    sys.exit(main(sys.argv[1:]))
