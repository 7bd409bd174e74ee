"""What CI runs: that it fails where a supported Python is missing or where tests fail.
In a tree of its own, on a PATH without any Python but stand-ins."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ("bash", "env", "dirname", "grep", "mktemp", "sed", "rm", "tee", "cat", "tr", "mkdir", "cp")


# Stands in for python3.8 and python3.13, and for the python of an environment that they make.
PYTHON = """\
#!/bin/bash
case "$*" in
    "-m venv "*) mkdir "$3/bin"; cp "$0" "$3/bin/python"; echo "${0##*/}" >"$3/bin/version" ;;
    *"pip list"*) echo numpy==1.0 ;;
esac
"""
GRADE_SH = """\
#!/usr/bin/env bash
folder=${PATH%%:*}
[ ! -e "$folder/version" ] || echo "tested by $(cat "$folder/version")"
[ "$(cat "$folder/version" 2>/dev/null)" != "${FAILS-none}" ] || exit 1
echo the tests pass
"""


@pytest.fixture
def run(tmp_path):
    """A function that runs .ci/run, where those pythons are, and returns its exit status and output."""
    for folder in (".ci", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(str(ROOT / ".ci" / "run"), str(tmp_path / ".ci" / "run"))
    (tmp_path / "requirements.txt").write_text("numpy>=1.0\n")
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    executable(tmp_path / "grade.sh", GRADE_SH)

    def run(*pythons, **environment):
        for python in pythons:
            executable(tmp_path / "bin" / python, PYTHON)
        ran = subprocess.run([str(tmp_path / ".ci" / "run")], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True,
                             env=dict(environment, PATH=str(tmp_path / "bin")))
        return ran.returncode, ran.stdout

    return run


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)


def test_a_missing_stack_fails_before_anything_runs(run):
    status, output = run("python3.8")
    assert status == 1 and "the tests pass" not in output
    assert "not found on this machine:\n  any Python newer than 3.8\n" in output
    assert "MYTORCH_CI_MISSING=allowed .ci/run" in output


def test_stacks_that_may_be_missing_are_listed(run):
    status, output = run(MYTORCH_CI_MISSING="allowed")
    assert status == 0
    assert output.endswith("Stacks that ran and passed:\n  ./grade.sh test\n"
                           "Not found on this machine:\n  Python 3.8\n  any Python newer than 3.8\n")


def test_the_test_command_runs_once_on_the_oldest_and_once_on_the_newest_stack(run):
    status, output = run("python3.8", "python3.9", "python3.13")
    assert status == 0 and output.count("the tests pass") == 2
    assert "tested by python3.8\n" in output and "tested by python3.13\n" in output
    assert output.endswith("Not found on this machine:\n  none\n")


@pytest.mark.parametrize("fails", ["python3.8", "python3.13"])
def test_it_fails_where_the_tests_of_one_stack_fail(run, fails):
    status, output = run("python3.8", "python3.13", FAILS=fails)
    assert status == 1 and "Stacks that ran; at least one failed:\n" in output
