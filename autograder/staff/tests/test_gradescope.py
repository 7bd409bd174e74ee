"""Gradescope, played: its folders, a container without Landlock, and a user who owns nothing.
The zip is unpacked as Gradescope does it, and run_autograder is started as it starts it."""

import functools
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from unittest import mock

import autolab_job
import gradescope
import gradescope_job
import pytest
from handin import packing
from problems import GRADED

ROOT = gradescope.packages.ROOT
FEW = [problem for problem in GRADED if problem.key in autolab_job.FEW_KEYS]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.getuid() != 0, reason="one is root there")]

# Where this Python lies in a folder of root's, the user may read every file; never write any.
SITE = f"""
import ctypes, os, struct
def setresuid(user, *_):
    libc = ctypes.CDLL(None)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setuid(user)
    libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 4, 4, 4, 0, 0, 0))
if {autolab_job.user_to_play()[1]}:
    os.setresuid = setresuid
"""


@functools.lru_cache(maxsize=None)
def package():
    with mock.patch.object(gradescope.autolab, "packed", return_value=autolab_job.packed()):
        return {**gradescope.package(), **autolab_job.FEW}


def reference(**changes):
    """The files of the reference's submission (name → bytes), some replaced (name → text)."""
    files = {name: (ROOT / name).read_bytes() for name in packing.find_files(ROOT)[0]}
    return {**files, **{name: text.encode() for name, text in changes.items()}}


@pytest.fixture
def play(tmp_path):
    """A function that plays a submission, and returns the exit status, what is in results.json or
    None, and what was printed."""
    def play(files, metadata=None, package=package()):
        container = tmp_path / "autograder"
        container.mkdir(mode=0o755)
        for folder, contents in (("source", package), ("submission", files), ("results", {})):
            (container / folder).mkdir()
            for name, content in contents.items():
                (container / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (container / folder / name).write_bytes(content)
        for name in gradescope.SCRIPTS:
            (container / "source" / name).chmod(0o755)
        shutil.copy(str(container / "source" / "run_autograder"), str(container))
        (container / "submission_metadata.json").write_text(json.dumps(metadata or {}))
        (tmp_path / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (tmp_path / "python3").chmod(0o755)
        (tmp_path / "sitecustomize.py").write_text(SITE)
        for folder in (tmp_path, *tmp_path.parents):
            if "pytest-" in str(folder):  # closed to others
                folder.chmod(0o755)
        ran = subprocess.run(
            ["./run_autograder"], cwd=str(container), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=autolab_job.hide_landlock,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path),
                 "PYTHONPATH": str(tmp_path)})
        results = container / "results" / "results.json"
        return (ran.returncode, json.loads(results.read_text()) if results.exists() else None,
                ran.stdout.decode())
    return play


def test_the_reference_gets_full_score_as_a_user_of_its_own(play):
    status, results, printed = play({"handin.tar": packing.tar_bytes(reference())})
    assert status == 0, printed
    assert results["score"] == sum(problem.points for problem in FEW), results
    assert [(test["number"], test["name"], test["score"], test["max_score"])
            for test in results["tests"]] == [
        (problem.number, problem.title, problem.points, problem.points) for problem in FEW]
    assert "a user of its own" in results["output"] and "Landlock" not in results["output"]


HOSTILE = """
import os
for name, mode in (("results/results.json", "w"), ("submission_metadata.json", "r"),
                   ("source/run_autograder", "a"), ("source/autograder/staff/job.py", "r")):
    try:
        open(os.path.join({container!r}, name), mode)
        print("OPENED", name, mode)
    except OSError:
        pass
print("USER", os.getuid())
os.write(1, b'{{"score": 1000}}')
"""


def test_a_submission_can_neither_forge_results_nor_read_those_of_others(play, tmp_path):
    tensor = (ROOT / "mytorch/tensor.py").read_text(encoding="utf-8")
    evil = HOSTILE.format(container=str(tmp_path / "autograder"))
    status, results, _ = play(reference(**{
        "mytorch/tensor.py": tensor + evil, "mytorch/nn/linear.py": "raise OSError('mine')\n"}))
    text = "".join(test["output"] for test in results["tests"])
    assert status == 0 and results["score"] == 15
    assert f"USER {gradescope_job.NOBODY}" in text
    opened = {line.partition("OPENED ")[2] for line in text.splitlines() if "OPENED" in line}
    may_read_all = {"submission_metadata.json r", "source/autograder/staff/job.py r"}
    assert opened <= (may_read_all if autolab_job.user_to_play()[1] else set())
    assert results["tests"][-1]["score"] == 0 and "mine" in results["tests"][-1]["output"]


def test_what_holds_no_solution_scores_0_with_the_reason(play):
    status, results, _ = play({"notes.txt": b"homework"})
    assert (status, results["score"]) == (0, 0) and len(results["tests"]) == len(FEW)
    assert "Nothing was graded: " in results["output"]
    assert "neither mytorch/ nor a tar or zip file" in results["output"]


def test_for_a_fault_of_the_host_the_score_before_stays_or_there_is_none(
        play, tmp_path, monkeypatch):
    broken = {name: content for name, content in package().items() if "/answers/" not in name}
    broken["autograder/staff/answers/none"] = b""
    status, results, printed = play(
        reference(), {"previous_submissions": [{"score": "31.0"}, {"score": "62.0"}]}, broken)
    assert "No scores, through no fault of the submission: there are no answers in" in printed
    assert (status, results["score"]) == (0, 62)
    assert "the score of your last submission" in results["output"]
    monkeypatch.chdir(tmp_path)
    for metadata in ("", "{}", '{"previous_submissions": []}'):
        (tmp_path / "submission_metadata.json").write_text(metadata)
        assert gradescope_job.results_without_scores("reason") is None


def test_the_zip_holds_two_scripts_that_can_be_run_the_grader_and_no_solution(
        tmp_path, monkeypatch):
    monkeypatch.setattr(gradescope, "package", package)
    assert gradescope.main([str(tmp_path)]) == 0
    with zipfile.ZipFile(io.BytesIO((tmp_path / "gradescope.zip").read_bytes())) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755
    assert "autograder/staff/gradescope_job.py" in modes and "mytorch/tensor.py" not in modes
