"""./grade.sh 1 with --debug, which leaves the keyboard to pdb, and with a reader that stops early.
Both as a student starts them."""

import re
import subprocess
import sys

import pytest

import solutions
from hostile import copy_grader
from solutions import SECOND


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A project with a breakpoint in the ReLU layer, and the grader."""
    root = tmp_path_factory.mktemp("debugged")
    solutions.write(root, SECOND, [
        ("nn/activations.py", "        return ", "        breakpoint()\n        return ")])
    copy_grader(root)
    return root


def run(tree, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(tree / "autograder/hw1_autograder/runner.py"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, encoding="utf-8", **options)


def test_debug_stops_at_breakpoints_with_the_keyboard_and_says_that_nothing_is_limited(tree):
    out, err = run(tree, "2.2", "--debug").communicate("p x.shape\n" + "c\n" * 20)
    assert out.startswith("Debugging: your code runs in this process. Nothing is limited")
    assert "activations.py" in out and "(Pdb) (4, 3)\n" in out and err == ""
    assert re.findall(r" (\d/\d)\n", out) == ["1/1", "1/1", "1/1", "2/2"]
    assert out.splitlines()[-1].startswith('{"scores": ')


def test_debug_ends_when_the_debugger_is_left(tree):
    process = run(tree, "2.2", "--debug")
    out, err = process.communicate("q\n")
    assert process.returncode == 130 and err == "" and "scores" not in out


def test_debug_wants_one_problem(tree):
    for arguments in ((), ("2.1", "2.2"), ("2.1", "--handin", "handin.tar")):
        process = run(tree, *arguments, "--debug")
        assert "--debug takes one problem of the tree" in process.communicate()[1]
        assert process.returncode == 2


def test_a_reader_that_has_seen_enough_ends_the_report_quietly(tree):
    process = run(tree, "1.1")
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close(), process.stdin.close()
    assert process.wait() == 141 and error == ""
