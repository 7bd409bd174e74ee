"""The sandbox: every check on the reference, what is not written yet, how it is called.
As a process where it matters how a student runs it, else in this one."""

import bdb
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
import solutions
from mytorch.autograd_engine import ContextManager, Function
from mytorch.nn import functional as F
from mytorch.optim.sgd import SGD
from mytorch.tensor import Tensor

ROOT = Path(__file__).resolve().parents[3]
CHECKS = list(sandbox.CHECKS)


def run(root, *arguments, cwd):
    ran = subprocess.run([sys.executable, str(root / "sandbox.py"), *arguments], cwd=str(cwd),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return ran.returncode, ran.stdout


def outcomes(output):
    """Dict of check → the word after its name."""
    return {line.split()[0]: line.split()[1] for line in output.splitlines()
            if line.split()[0] in CHECKS}


@pytest.mark.slow
def test_every_check_passes_on_the_reference_from_any_directory_beside_files_of_any_name(tmp_path):
    for folder in ("mytorch", "autograder"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    shutil.copy(str(ROOT / "sandbox.py"), str(tmp_path))
    for module in ("numpy", "random", "string"):
        (tmp_path / f"{module}.py").write_text("x = 1\n")
    status, output = run(tmp_path, cwd=tmp_path.parent)
    assert outcomes(output) == dict.fromkeys(CHECKS, "ok") and status == 0


@pytest.mark.slow
def test_it_ends_without_a_word_where_nobody_reads_on():
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([sys.executable, str(ROOT / "sandbox.py"), "test_add"], stdout=writer,
                         stderr=subprocess.PIPE)
    os.close(writer)
    assert (ran.stderr, ran.returncode) == (b"", -signal.SIGPIPE)


@pytest.mark.slow
def test_no_check_fails_on_a_second_correct_solution(tmp_path):
    solutions.write(tmp_path, solutions.SECOND)
    shutil.copy(str(ROOT / "sandbox.py"), str(tmp_path))
    shutil.copytree(str(ROOT / "autograder/hw1_autograder"), str(tmp_path / "autograder/hw1_autograder"),
                    ignore=shutil.ignore_patterns("__pycache__", "data"))
    status, output = run(tmp_path, *sandbox.AUTOGRAD, cwd=tmp_path)
    assert set(outcomes(output).values()) <= {"ok", "optional"} and status == 0, output


def test_who_quits_the_debugger_leaves_the_sandbox(monkeypatch):
    def stopped(*args):
        raise bdb.BdbQuit
    monkeypatch.setattr(F.Sub, "forward", staticmethod(stopped))
    with pytest.raises(SystemExit, match="left the debugger"):
        sandbox.main(["test_sub", "test_mul"])


def test_broadcasting_where_no_problem_asks_for_it_costs_nothing(monkeypatch, capsys):
    monkeypatch.setattr(F, "unbroadcast", lambda grad, shape: grad)
    for operation in ("sub", "mul", "div"):
        assert sandbox.main([f"testbroadcast_{operation}"]) == 0
        output = " ".join(capsys.readouterr().out.split())
        assert output.startswith(f"testbroadcast_{operation} optional")
        assert output.endswith("full marks need it in Add alone")


def product_of_operands(backward):
    def wrong(ctx, grad):
        a, b = ctx.saved_tensors
        return Tensor(a.data * b.data), Tensor(a.data * b.data)
    return staticmethod(wrong)


def first_parameter_alone(step):
    def wrong(self):
        held = [param.data.copy() for param in self.params]
        step(self)
        for param, data in zip(self.params[1:], held[1:]):
            param.data = data
    return wrong


@pytest.mark.parametrize("owner, name, mistake, check, says", [
    (F.Mul, "backward", product_of_operands, "test_mul", "gradient of a"),
    (F.Mul, "backward", product_of_operands, "test3", "gradient of input 0"),
    (SGD, "step", first_parameter_alone, "test_sgd", "step() changes the first parameter alone"),
])
def test_wrong_code_fails_its_check_and_is_called_by_its_name(
        owner, name, mistake, check, says, monkeypatch, capsys):
    original = vars(owner)[name]
    monkeypatch.setattr(owner, name, mistake(getattr(original, "__func__", original)))
    assert sandbox.main([check]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert output.startswith(f"{check} FAILED") and says in output


def test_an_apply_that_records_no_graph_is_said_to_be_unfinished(monkeypatch, capsys):
    monkeypatch.setattr(Function, "apply", classmethod(lambda cls, *args: cls.forward(
        ContextManager(), *args)))
    sandbox.main([f"test{number}" for number in range(1, 9)])
    output = capsys.readouterr().out
    assert "FAILED" not in output
    assert output.count("not started  With leaf + leaf: Function.apply (1.2)") == 8
    assert sandbox.main(["--trace"]) == 1
    assert "--trace: not started  With leaf + leaf" in capsys.readouterr().out


def test_an_apply_that_records_nothing_where_one_input_is_a_constant_is_said_to_be_that(
        monkeypatch, capsys):
    recording = vars(Function)["apply"].__func__

    def apply(cls, *args):
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        if all(tensor.requires_grad for tensor in tensors):
            return recording(cls, *args)
        return cls.forward(ContextManager(), *args)
    monkeypatch.setattr(Function, "apply", classmethod(apply))
    assert sandbox.main(["test1", "test5"]) == 1
    test1, test5 = capsys.readouterr().out.split("\n", 1)
    assert test1.split() == ["test1", "ok"]
    assert "FAILED With constant + leaf, leaf + constant: The result" in " ".join(test5.split())


def test_lines_are_wrapped_between_words_at_the_terminals_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = sandbox.wrapped("FAILED  one tw-three-four five six\nseven eight nine ten eleven twelve "
                            "thirteen", 21).splitlines()
    assert lines == ["FAILED  one", "    tw-three-four five six",
                     "  seven eight nine ten eleven twelve", "    thirteen"]


def test_checks_can_be_named_and_an_unknown_one_is_refused(capsys):
    sandbox.main(["test1", "test_sub"])
    assert list(outcomes(capsys.readouterr().out)) == ["test1", "test_sub"]
    assert sandbox.main(["test99"]) == 2
    assert "unknown check test99; there are test_add" in capsys.readouterr().err


@pytest.mark.slow
def test_it_traces_and_draws_the_example_and_shows_its_steps(tmp_path, capsys, monkeypatch):
    assert sandbox.main(["--trace"]) == 0
    output = capsys.readouterr().out
    assert "a.grad = 3" in output and "c.grad = 1" in output and "b.grad" not in output
    monkeypatch.chdir(tmp_path)
    assert sandbox.main(["--draw"]) == sandbox.main(["--steps", "steps.svg"]) == 0
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "steps.svg").read_bytes().startswith(b"<?xml")


def test_an_unknown_option_is_answered_with_the_usage(capsys):
    assert sandbox.main(["--traces"]) == 2
    assert capsys.readouterr().err.startswith("usage: python3 sandbox.py")
