"""Your workbench: quick checks of your own code, and a place to try things.
`python3 sandbox.py --help` says what it can do; hw1/README.md is the text to read first."""

import bdb
import os
import re
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
        sys.exit("sandbox.py needs Python 3.8 or newer, with numpy and matplotlib. Type\n"
                 "./grade.sh 1 once: it installs them into .venv, where this file finds them.")
    os.execv(str(prepared), [str(prepared), __file__] + sys.argv[1:])

import numpy as np  # noqa: E402

sys.path += [str(ROOT), str(ROOT / "autograder" / "hw1_autograder")]  # last: they hide no module

from grader import errors, verdict  # noqa: E402
from grader.grading import RecordedAnswers, run_here  # noqa: E402
from grader.places import describe_error  # noqa: E402
from grader.report import Report  # noqa: E402
from problems import GRADED  # noqa: E402

try:
    from mytorch.tensor import Tensor
    from mytorch.gradient_check import (  # noqa: F401
        CutOff, NoGraph, against_torch, check_gradients, check_in_graph, compare_tensor,
        find_difference, run_backward, uneven)
    from mytorch.nn.linear import Linear  # noqa: F401
    from mytorch.show import draw, draw_backward, trace, tracebacks
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


def check(name, got, right):
    """Fail unless ``got`` is a Tensor with the numbers of ``right``, or the object ``right``
    itself: True, False or None."""
    complaint = compare_tensor(name, right, got) if isinstance(right, np.ndarray) else (
        f"{name}: expected {right}, got {got}" * (got is not right))
    if complaint:
        raise Failed(complaint)


def leaf(*shape, seed=1):
    """A leaf with numbers that are fit to divide by, and other ones than an upstream gradient."""
    return Tensor(uneven(*shape, seed=seed), requires_grad=True)


def gradients(function, *cases):
    """A check that backward() stores the right gradients for a function of leaves, by central
    differences; each case is a tuple of their shapes."""
    def checked():
        for shapes in cases:
            leaves = [leaf(*shape, seed=seed) for seed, shape in enumerate(shapes, 1)]
            complaint, _ = find_difference(function, leaves)
            if complaint:
                raise Failed(complaint)
    return checked


def flags():
    """Flags of results; a constant, also as the first operand, gets no gradient, a result none."""
    a, c = leaf(2, 3), Tensor(uneven(2, 3))
    product = a * c
    run_backward(product + c, uneven(2, 3))
    check("(a * c).requires_grad", product.requires_grad, True)
    check("(a * c).is_leaf", product.is_leaf, False)
    check("(c + c).requires_grad", (c + c).requires_grad, False)
    check("(c + c).is_leaf", (c + c).is_leaf, True)
    check("gradient of the constant c", c.grad, None)
    check("gradient stored on a * c", product.grad, None)
    a.grad, upstream = None, uneven(2, 3, seed=3)
    run_backward(c * a, upstream)
    check("gradient of a in c * a", a.grad, upstream * c.data)


def twice():
    """backward() starts from ones, and adds to the gradients that are there."""
    a, b = leaf(2, 3), Tensor(uneven(2, 3))
    product = a * b
    check_in_graph(product)
    product.backward()
    check("gradient of a after backward()", a.grad, b.data)
    product.backward()
    check("gradient of a after a second backward()", a.grad, 2 * b.data)


CONSTANT = Tensor(uneven(2, 3, seed=5))
ONE, TWO, THREE = ((2, 3),), ((2, 3),) * 2, ((2, 3),) * 3
DIFFERENT = ((3, 4), (4,)), ((3, 4), (1, 4)), ((3, 1), (1, 4)), ((), (3, 4))
AUTOGRAD = {  # 1.2: autograd, from easy to hard
    "test1": gradients(lambda a, b: a + b, TWO),
    "test2": gradients(lambda a, b, c: (a * b + c) * c, THREE),
    "test3": gradients(lambda a: a * a, ONE),  # used twice by one operation
    "test4": gradients(lambda a, b: (a * b) * a + a * b, TWO),
    "test5": flags,
    "test6": twice,
    "test7": gradients(lambda a: (a * a).reshape(3, 2).T().log(), ONE),
    "test8": gradients(lambda a, c: ((a + a * CONSTANT) + c) + CONSTANT, TWO),
    # 2.1: broadcasting; full marks need it in Add alone
    "testbroadcast": gradients(lambda a, b: a + b, *DIFFERENT),
    "testbroadcast_sub": gradients(lambda a, b: a - b, *DIFFERENT),
    "testbroadcast_mul": gradients(lambda a, b: a * b, *DIFFERENT),
    "testbroadcast_div": gradients(lambda a, b: a / b, *DIFFERENT),
}
NOT_GRADED = ("testbroadcast_sub", "testbroadcast_mul", "testbroadcast_div")

# The graded tests of a problem: its number, and a pattern of their names and Autolab keys.
GRADED_TESTS = {
    "test_add": ("1.1", ""), "test_sub": ("1.1.1", ""), "test_mul": ("1.1.2", ""),
    "test_div": ("1.1.3", ""), "test_linear": ("2.1", "^(?!.*sequential)"),
    "test_sequential": ("2.1", "sequential"), "test_relu": ("2.2", ""), "test_sgd": ("2.3", ""),
    "test_batchnorm_train": ("2.4", r"\(Train\)"), "test_batchnorm_eval": ("2.4", "Train/Eval"),
    "test_cross_entropy": ("2.5", ""), "test_momentum": ("2.6", "")}
CHECKS = dict.fromkeys([*list(GRADED_TESTS)[:4], *AUTOGRAD, *GRADED_TESTS])
ANSWERS = RecordedAnswers()


def judged(problem, pattern, above):
    """The Verdict on a problem, whose tests run in this process, so that pdb works; None if no name
    or key has that pattern."""
    cases = [case for case in verdict.cases_of(problem)
             if not case.scored or re.search(pattern, f"{case.name} {case.key}")]
    if not any(case.scored for case in cases):
        return None
    seed = ANSWERS.seed or ANSWERS.load()
    outcome = run_here(problem.key, [(case, case.draw(seed)) for case in cases], ROOT)
    return verdict.Verdict(problem, outcome, ANSWERS, cases, above)


def run_graded(number, pattern):
    """Run graded tests, after those of the problems that they use; as ``run``."""
    needs = {used for row in GRADED if row.number == number for used in row.needs}
    above = []
    for problem in GRADED:
        is_asked = problem.number == number
        found = None
        if is_asked or problem.number in needs and problem.number < number:
            found = judged(problem, pattern if is_asked else "", above)
        if found is None:
            continue
        above.append(found)
        if is_asked and not found.passed:
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
        return run_graded(*GRADED_TESTS[name])
    passed, text = True, "ok"
    try:
        AUTOGRAD[name]()
    except bdb.BdbQuit:
        raise KeyboardInterrupt from None
    except (Exception, SystemExit) as error:
        passed, text = False, explain(error)
    if text.startswith("FAILED") and name in NOT_GRADED:
        passed, text = True, f"optional{text[6:]}\nfull marks need it in Add alone"
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


def show(option, filename=None):
    """Trace or draw the example, or show its steps; returns the exit status."""
    try:
        e, names = example()
        if option == "--trace":
            print("a, b, c = 1, 2, 3;  d = a + a*b;  e = (d + c) + 3;  a and c require grad\n")
            trace(e, **names)
        else:
            drawing, usual = (draw, "graph.png") if option == "--draw" else (
                draw_backward, "backward.gif")
            drawing(e, filename or usual, **names)
            print(f"The picture of the example is in {filename or usual}")
    except Exception as error:
        what = str(error) if tracebacks.is_refusal(error) else explain(error)
        print(wrapped(f"sandbox.py {option}: {what}"))
        return 1
    return 0


def main(arguments):
    """Run the checks that are named, or all; returns the exit status."""
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments[:1] in (["--trace"], ["--draw"], ["--steps"]) and len(arguments) < 3:
        return show(*arguments)
    for name in arguments:
        if name not in CHECKS:
            number = any(name == problem.number for problem in GRADED)
            print(f"sandbox.py: a problem is graded by ./grade.sh 1 {name}" if number else USAGE
                  if name.startswith("-") else
                  wrapped(f"sandbox.py: unknown check {name}; there are {', '.join(CHECKS)}"),
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
