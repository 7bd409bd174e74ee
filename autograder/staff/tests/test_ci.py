"""What CI runs: that it fails where a supported Python is missing, and not only says so.
In a tree of its own whose tests always pass, on a PATH without any Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ("bash", "env", "dirname", "grep", "mktemp", "sed", "rm")


@pytest.fixture
def run(tmp_path):
    """A function that runs .ci/run and returns its exit status and output."""
    for folder in (".ci", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(str(ROOT / ".ci" / "run"), str(tmp_path / ".ci" / "run"))
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    (tmp_path / "grade.sh").write_text("#!/usr/bin/env bash\necho the tests pass\n")
    os.chmod(str(tmp_path / "grade.sh"), 0o755)

    def run(**environment):
        ran = subprocess.run([str(tmp_path / ".ci" / "run")], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True,
                             env=dict(environment, PATH=str(tmp_path / "bin")))
        return ran.returncode, ran.stdout

    return run


def test_a_missing_stack_fails_before_anything_runs(run):
    status, output = run()
    assert status == 1 and "the tests pass" not in output
    assert "not found on this machine:\n  Python 3.8\n  any Python newer than 3.8\n" in output
    assert "MYTORCH_CI_MISSING=allowed .ci/run" in output


def test_a_missing_stack_that_may_be_missing_is_listed(run):
    status, output = run(MYTORCH_CI_MISSING="allowed")
    assert status == 0
    assert output.endswith("Stacks that ran and passed:\n  ./grade.sh test\n"
                           "Not found on this machine:\n  Python 3.8\n  any Python newer than 3.8\n")
