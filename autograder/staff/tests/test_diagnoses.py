"""What is said of each planted bug, and of pairs of them, is true of it; of a correct solution
nothing is said. The table names, for each diagnosis, the bugs of which it is true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from planted_bugs import BUGS
from styles import STYLES
from test_grader import findings

HERE = Path(__file__).resolve().parent

# Whatever is planted, what the report says of it is true. A bug or a wording that is not in this
# table yet fails the test: read the report (bug_table.py --report) and add it if it is true.

IN_PLACE = ("in place", "into the upstream gradient", "changes the labels")
TRUE_OF = {
    "looks like: the gradient of a, written over the upstream gradient": IN_PLACE,
    "looks like: the gradients of earlier steps added": ("zero_grad() does nothing",),
    "looks like: momentum forgotten": ("momentum: never stored", "zero_grad() forgets it"),
    "forward changed its input": IN_PLACE,
    "backward changed the gradient it was given": IN_PLACE,
    "ReLU.backward changes the gradient it was given": ("ReLU: sets entries of the upstream",),
    "Mul.backward changes the gradient it was given": ("multiplied into the upstream",),
    "cut off from the graph": ("as a constant", "taken as constants", "outside the graph",
                               "without its graph"),
    "Linear.backward changes the gradient it was given": ("Linear: rows of the upstream",),
    "BatchNorm.backward changes the gradient it was given": ("gamma multiplied into the upstream",),
    "a gradient was changed in place after it had been handed": (
        "added in place, into arrays", "in arrays that others hold"),
    "a result that is used twice: only one": ("last path only", "'visited'", "handed down again"),
    "a result that is used twice: one of its gradients": (
        "before its later gradients", "earlier ones count again"),
    "the node of a result used twice was not reached": ("first parent alone",),
    "AccumulateGrad.apply: a second gradient replaces the first": ("overwritten by each path",),
    "AccumulateGrad.apply: only the first gradient is kept": ("keeps the first of its gradients",),
    "AccumulateGrad.apply keeps the first gradient's own array": ("another's array",),
    "AccumulateGrad.apply stores ndarray": ("stored gradient is an ndarray",),
    "BackwardFunction.apply of Add was given a Tensor of shape ()": ("from a single 1",),
    "backward() starts from other numbers than 1": ("backward() starts from",),
    "step() puts new Tensors into optimizer.params": ("which the layers do not know",),
    "a leaf that is the second operand, after another leaf, gets no": (
        "first parent alone", "a leaf ends the loop"),
    "a leaf that is the second operand, after a constant, gets no": ("a constant ends the loop",),
    "a leaf that is the second operand, after a constant, gets the": (
        "left out of next_functions", "moves only at parents"),
    "of the two gradients that an operation's backward returns, each": ("in reversed order",),
    "of the two gradients that an operation's backward returns, both": (
        "all parents get the first gradient",),
    "unbroadcast, at": ("bias gradient averaged",),
    **{f"{operation}.backward, at": (f"{operation}: ",) for operation in (
        "Add", "Sub", "Mul", "Div", "Log", "Reshape", "Transpose", "MatMul", "ReLU", "BatchNorm")},
    "CrossEntropy.backward, at": ("cross entropy: ",),
}
DIAGNOSIS = re.compile(
    r"(forward|backward) changed|\w+\.backward(,| changes)|unbroadcast, at|cut off from the graph at|"
    r"a gradient was|a result that|the node of|AccumulateGrad\.apply|BackwardFunction\.apply of|"
    r"backward\(\) starts|of the two|a leaf that is|step\(\) puts")

def lies(text, *names):
    """The lines of a report that diagnose what none of the planted bugs of these names is."""
    def is_true(line):
        return any(part in name for name in names for start, parts in TRUE_OF.items()
                   for part in parts if line.startswith(start))

    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if DIAGNOSIS.match(line) and not is_true(line)]


@pytest.mark.slow
def test_what_is_said_of_a_planted_bug_is_true_of_it():
    found = {**findings(True), **findings(False)}
    false = {bug.name: lies(found[bug.name]["report"], bug.name) for bug in BUGS}
    assert {name: lines for name, lines in false.items() if lines} == {}
    assert not any("cannot be judged" in finding["report"] or "/mytorch-change" in finding["report"]
                   for finding in found.values())


@pytest.mark.slow
def test_a_closer_look_finds_no_fault_with_a_correct_solution_of_any_style():
    found = {**findings(True), **findings(False)}
    clues = {style.name: found[style.name]["clues"] for style in STYLES}
    assert {name: lines for name, lines in clues.items() if lines} == {}


PAIRS = """
import json, multiprocessing, random, types
import bug_table, solutions
from planted_bugs import BUGS

drawn, pairs = random.Random(9), {}
while len(pairs) < 30:
    first, second = sorted(drawn.sample(BUGS, 2), key=lambda bug: bug.number)
    both = types.SimpleNamespace(solution=first.solution, edits=first.edits + second.edits)
    if first.number < second.number and first.solution == second.solution:
        try:
            solutions.edited(both.solution, both.edits)
        except ValueError:  # they change the same lines
            continue
        pairs[first.name + " + " + second.name] = both
with multiprocessing.Pool(2) as pool:
    found = pool.map(bug_table.grade_change, pairs.values(), chunksize=1)
print(json.dumps({names: finding["report"] for names, finding in zip(pairs, found)}))
"""


@pytest.mark.slow
def test_what_is_said_of_two_planted_bugs_at_once_is_true_of_one_of_them():
    ended = subprocess.run([sys.executable, "-c", PAIRS], cwd=str(HERE.parent), check=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    false = {names: lies(text, names) for names, text in json.loads(ended.stdout).items()}
    assert {names: lines for names, lines in false.items() if lines} == {}
