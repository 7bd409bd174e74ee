"""The sandbox: every check on the reference, on the handout, and on planted bugs.
Run as a student runs it, as a process, from another directory."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import handout
import numpy as np
import pytest
from gradient_check import against_torch, check_gradients
from mytorch.autograd_engine import Function
from mytorch.tensor import Tensor

ROOT = Path(__file__).resolve().parents[3]
CHECKS = ["test_add", "test_sub", "test_mul", "test_div", "test1", "test2", "test3", "test4",
          "test5", "test6", "test7", "test8", "testbroadcast"]


def run(root, *arguments, cwd):
    ran = subprocess.run([sys.executable, str(root / "sandbox.py"), *arguments], cwd=str(cwd),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return ran.returncode, ran.stdout


def outcomes(output):
    """Dict of check → the word after its name."""
    return {line.split()[0]: line.split()[1] for line in output.splitlines()
            if line.split()[0] in CHECKS}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the sandbox needs, to plant bugs in."""
    root = tmp_path_factory.mktemp("sandbox")
    for name in ("mytorch", "autograder/hw1_autograder"):
        shutil.copytree(str(ROOT / name), str(root / name),
                        ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(str(ROOT / "sandbox.py"), str(root))
    return root


def test_every_check_passes_on_the_reference(tmp_path):
    status, output = run(ROOT, cwd=tmp_path)
    assert outcomes(output) == dict.fromkeys(CHECKS, "ok") and status == 0


def test_on_the_handout_every_check_but_the_given_one_is_said_to_be_unfinished(tmp_path):
    handout.write(handout.make(ROOT), ROOT, tmp_path / "handout")
    status, output = run(tmp_path / "handout", cwd=tmp_path)
    expected = dict.fromkeys(CHECKS, "(not")
    expected["test_add"] = "ok"
    assert outcomes(output) == expected and status == 1
    assert "Traceback" not in output


BUGS = {  # what is replaced in which file → which checks must fail
    "the sign of Sub's gradient": (
        "nn/functional.py", "unbroadcast(-grad_output.data, ctx", "unbroadcast(grad_output.data, ctx",
        ["test_sub"], "the right answer with the opposite sign"),
    "Mul ignores the upstream gradient": (
        "nn/functional.py", "unbroadcast(grad_output.data * b.data", "unbroadcast(b.data",
        ["test_mul", "test2", "test3", "test4", "test6", "test8"],
        "the upstream gradient ignored"),
    "Div's numerator forgotten": (
        "nn/functional.py", "-grad_output.data * a.data / b", "-grad_output.data / b",
        ["test_div"], "gradient of b"),
    "gradients overwritten": (
        "autograd_engine.py", "new if held is None else held.data + new",
        "grad.data.copy()", ["test6"], "gradients overwritten not added"),
    "nothing summed back": (
        "nn/functional.py", "grad.sum(axis=repeated, keepdims=True).reshape(shape)", "grad",
        ["testbroadcast"], "expected shape (4,), got (3, 4)"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_fails_its_checks_and_no_others(bug, copy, tmp_path):
    file, old, new, failing, words = BUGS[bug]
    path = copy / "mytorch" / file
    right = path.read_text(encoding="utf-8")
    assert right.count(old) == 1
    try:
        path.write_text(right.replace(old, new), encoding="utf-8")
        status, output = run(copy, cwd=tmp_path)
    finally:
        path.write_text(right, encoding="utf-8")
    assert [name for name, word in outcomes(output).items() if word != "ok"] == failing
    assert words in output and status == 1


def test_checks_can_be_named_and_an_unknown_one_is_refused(tmp_path):
    assert list(outcomes(run(ROOT, "test1", "test_sub", cwd=tmp_path)[1])) == ["test1", "test_sub"]
    status, output = run(ROOT, "test99", cwd=tmp_path)
    assert status == 2 and "unknown check test99" in output


def test_it_traces_and_draws_the_example(tmp_path):
    status, output = run(ROOT, "--trace", cwd=tmp_path)
    assert status == 0 and "gradient 2 of 2, 1 + 2 = 3" in output
    status, output = run(ROOT, "--trace", "naive", cwd=tmp_path)
    assert status == 0 and "2,199,023,255,551" in output
    assert run(ROOT, "--draw", cwd=tmp_path)[0] == 0
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


class Wrong(Function):
    """Doubles, but hands on ones instead of twice what arrives."""

    @staticmethod
    def forward(ctx, a):
        return Tensor(2 * a.data)

    @staticmethod
    def backward(ctx, grad_output):
        return Tensor(2 * np.ones(grad_output.shape))


def test_check_gradients_names_the_worst_entry_and_the_mistake(capsys):
    assert check_gradients(Wrong.apply, Tensor([[1.0, 2.0]])) is False
    output = capsys.readouterr().out
    assert re.search(r"gradient of input 0\[0, [01]\]: numerical -?[\d.]+, yours 2\n", output)
    assert "looks like: the upstream gradient ignored" in output


def test_check_gradients_accepts_what_is_right_and_changes_no_gradient(capsys):
    a, b = Tensor([[1.0, -2.0]], requires_grad=True), Tensor([[3.0], [4.0]], requires_grad=True)
    assert check_gradients(lambda a, b: a * b / (a - b), a, b) is True
    assert "ok, 4 entries" in capsys.readouterr().out
    assert a.grad is None and b.grad is None


def test_check_gradients_says_that_no_gradient_came(capsys):
    assert check_gradients(lambda a, b: a + b * 0 if a is None else a * 1, Tensor([1.0]),
                           Tensor([1.0])) is False
    assert "gradient of input 1: expected a Tensor of shape (1,), got None" in capsys.readouterr().out


def test_against_torch_says_where_there_is_no_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert against_torch(lambda a: a * a, Tensor([1.0])) is None
    assert "PyTorch is not installed here" in capsys.readouterr().out
