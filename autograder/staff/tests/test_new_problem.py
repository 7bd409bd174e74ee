"""A new problem 2.7, a Tanh layer, made in a copy of the tree by the list in the staff's README.
Where a step is still to be done, test_problems.py names its file in a sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from problems import FULL_SCORE, PROBLEMS

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "autograder" / "staff" / "README.md").read_text(encoding="utf-8")
KEY, POINTS, LAST = "Tanh Layer", 5, [problem for problem in PROBLEMS if not problem.by_hand][-1]
GRADER, TESTS = "autograder/hw1_autograder/", "autograder/staff/tests/"

OPERATION = '''

# BEGIN SOLUTION 2.7: a Function for Tanh, like Log above
class Tanh(Function):
    """tanh z, entry by entry; the derivative is 1 - tanh² z."""

    @staticmethod
    def forward(ctx, z):
        output = compute("Tanh", np.tanh, z)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        (output,) = ctx.saved_tensors
        return Tensor(grad_output.data * (1 - output.data**2))
# END SOLUTION 2.7
'''
LAYER = '''

class Tanh(Module):
    """tanh of each entry; see functional.Tanh for its gradient."""

    def forward(self, x):
        """x (Tensor): any shape. Returns a Tensor of the same shape."""
        # BEGIN SOLUTION 2.7: apply your Function for Tanh
        return F.Tanh.apply(x)
        # END SOLUTION 2.7
'''
GRADED_TESTS = '''

# 2.7 Tanh


@graded("Tanh Layer", z=(4, 3))
def test_tanh_forward(given):
    return {"Tanh()(z)": my.Tanh()(constant(given.z))}


@graded("Tanh Layer", z=(4, 3), upstream=(4, 3))
def test_tanh_backward(given):
    z = leaf(given.z)
    weigh(my.Tanh()(z), given.upstream)
    return {"gradient of z": z.grad}
'''
BUGS = '''
    # 2.7 Tanh
    Bug("2.7", "Tanh: derivative without the square", FUNCTIONAL,
        "grad_output.data * (1 - output.data**2)", "grad_output.data * (1 - output.data)",
        says="Tanh.backward lacks the square: the derivative of tanh is 1 - tanh²."),
    Bug("2.7", "Tanh: upstream gradient ignored", FUNCTIONAL,
        "grad_output.data * (1 - output.data**2)", "1 - output.data**2",
        says="Tanh.backward ignores the gradient from above: multiply by grad_output."),
)
'''
# Of the other problems, two each are enough here.
FEW = '''
BUGS = tuple(bug for number, bug in enumerate(BUGS)
             if [other.number for other in BUGS[:number]].count(bug.number) < 2)
'''
IN_ANOTHER_STYLE = '''

class Tanh(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.t = np.tanh(z.data)
        from mytorch.tensor import Tensor
        return Tensor(ctx.t, requires_grad=z.requires_grad, is_leaf=not z.requires_grad)

    @staticmethod
    def backward(ctx, grad_output):
        return type(grad_output)(grad_output.data * (1 - ctx.t * ctx.t))
'''
TEXT = '''### Problem 2.7: Tanh (5 points)

*Write* `Tanh` in `mytorch/nn/functional.py` and `mytorch/nn/activations.py`.

- *Common mistake:* forgetting the square.
- *Check:* `./grade.sh 1 2.7`.

'''
RANGE = f"problems {PROBLEMS[0].number} to {LAST.number}"
NEW_RANGE = f"problems {PROBLEMS[0].number} to 2.7"


class Tree:
    """A copy of the tree that is being changed."""

    def __init__(self, root):
        self.root, self.changed = root, []
        shutil.copytree(str(ROOT), str(root), ignore=shutil.ignore_patterns(
            ".git", ".venv", "__pycache__", "data", "*.tar", "*.png"))

    def append(self, name, text):
        self.change(name, lambda old: old.rstrip("\n") + "\n" + text)

    def replace(self, name, old, new):
        text = (self.root / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times in it"
        self.change(name, lambda text: text.replace(old, new))

    def change(self, name, change):
        path = self.root / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        self.changed.append(name)

    def run(self, *arguments):
        """What this Python prints in the tree, and its exit status."""
        ended = subprocess.run(
            [sys.executable, *arguments], cwd=str(self.root), encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, PYTHONIOENCODING="utf-8", COLUMNS="400"))
        return ended.stdout, ended.returncode

    def still_to_do(self):
        """The sentences with which test_problems.py fails."""
        printed, _ = self.run("-m", "pytest", "-q", TESTS + "test_problems.py", "--tb=short")
        return re.findall(r"^E +AssertionError: (.*)$", printed, re.MULTILINE)


def add_row(tree):
    tree.replace(GRADER + "problems.py", f'    Problem("{PROBLEMS[-1].number}", ',
                 f'    Problem("2.7", "Tanh", "{KEY}", {POINTS}, "mytorch.nn.activations:Tanh.forward",\n'
                 '            ("1.2",)),\n'
                 f'    Problem("{PROBLEMS[-1].number}", ')


def write_solutions(tree):
    tree.append("mytorch/nn/functional.py", OPERATION)
    tree.append("mytorch/nn/activations.py", LAYER)
    for file in sorted((tree.root / TESTS).glob("*_solution/nn/functional.py")):
        tree.append(file.relative_to(tree.root).as_posix(), IN_ANOTHER_STYLE)


def write_tests(tree):
    tree.append(GRADER + "test_mlp.py", GRADED_TESTS)


def write_bugs(tree):
    tree.change(TESTS + "planted_bugs.py", lambda text: re.sub(r"\n\)\n*$", BUGS + FEW, text))
    printed, status = tree.run("autograder/staff/record.py")
    assert status == 0, printed


def write_texts(tree):
    total, new_total = f"{FULL_SCORE}/{FULL_SCORE}", f"{FULL_SCORE + POINTS}/{FULL_SCORE + POINTS}"
    tree.replace("README.md", f"{RANGE}: {total}", f"{NEW_RANGE}: {new_total}")
    tree.change("README.md", lambda text: re.sub(
        rf"^\| {PROBLEMS[-1].number} .*$", lambda row: f"| 2.7 tanh | {POINTS} | "
        f"`nn/activations.py` | another bend |\n{row[0]}", text, flags=re.MULTILINE))
    heading = f"### Problem {PROBLEMS[-1].number}: "
    tree.replace("hw1/README.md", heading, TEXT + heading)
    tree.change("hw1/README.md", lambda text: text.replace(RANGE, NEW_RANGE).replace(
        f"for {FULL_SCORE} points", f"for {FULL_SCORE + POINTS} points"))
    tree.replace("grade.sh", RANGE, NEW_RANGE)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The tree with problem 2.7 in it, and the sentences on the way there."""
    tree = Tree(tmp_path_factory.mktemp("new") / "tree")
    add_row(tree)
    tree.said = {"row": tree.still_to_do()}
    write_solutions(tree)
    write_tests(tree)
    tree.said["tests"] = tree.still_to_do()
    write_bugs(tree)
    write_texts(tree)
    tree.said["all"] = tree.still_to_do()
    return tree


@pytest.mark.slow
def test_each_place_still_to_fill_is_named_in_a_sentence(tree):
    for step, places in {
            "row": ("README.md, ", "hw1/README.md, ", "hw1/README.md: ", "grade.sh: ",
                    "mytorch/: ", "problems.py: ", "test_autograd.py or test_mlp.py: ",
                    "autograder/staff/tests/planted_bugs.py: "),
            "tests": ("answers.json: ", "autograder/staff/tests/planted_bugs.py: ")}.items():
        for place in places:
            assert any(said.startswith(place) for said in tree.said[step]), (place, tree.said[step])
    assert not any(said.startswith("mytorch/: ") for said in tree.said["tests"])
    assert tree.said["all"] == []


@pytest.mark.slow
def test_the_five_steps_in_the_staffs_readme_name_the_files_that_need_a_change(tree):
    steps = re.search(r"^## Changing a problem\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)[1]
    assert re.findall(r"^(\d)\. ", steps, re.MULTILINE) == list("12345")
    named = set(re.findall(r"`([\w/.]+/|[\w/]+\.\w+)`", steps))
    for name in set(tree.changed):
        assert any(name == place or place.endswith("/") and name.startswith(place)
                   for place in named), f"autograder/staff/README.md, Changing a problem: {name} is not named"


@pytest.mark.slow
def test_the_correct_solutions_earn_the_new_points_and_planted_bugs_lose_them(tree):
    printed, status = tree.run("-c", (
        "import sys; sys.path.insert(0, 'autograder/staff'); import changes, solutions, styles\n"
        "for solution in solutions.REFERENCE, solutions.SECOND, solutions.THIRD:\n"
        "    print(changes.grade_change(styles.Style('', (), solution), ['2.7'])['failed'])"))
    assert (printed, status) == ("[]\n[]\n[]\n", 0)
    printed, status = tree.run("autograder/staff/bug_table.py", "--json", "2.7")
    assert status == 0, printed
    assert [bug["failed"] for bug in json.loads(printed).values()] == [[KEY], [KEY]]
    printed, _ = tree.run(GRADER + "runner.py", "2.7")
    assert json.loads(printed.splitlines()[-1])["scores"][KEY] == POINTS
