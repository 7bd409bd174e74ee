"""Autolab, played: the reference, the handout, hostile tarballs and hostile submissions.
Each job runs make in a directory of its own, as an unprivileged user where this may become one."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import autolab
import autolab_job
import handin
import handout
import pytest
import grading
import runner
from hostile import DIVISION, HOSTILE
from problems import BY_KEY, PROBLEMS

ROOT = Path(__file__).resolve().parents[3]


def reference_files():
    """The reference's submission: name → bytes."""
    return {name: (ROOT / name).read_bytes() for name in handin.find_files(ROOT)[0]}


def submission(**changes):
    """A tarball of the reference with files replaced or added (name with / → text)."""
    files = reference_files()
    files.update({name: text.encode() for name, text in changes.items()})
    return handin.tar_bytes(files)


def tarball(*members):
    """The reference's tarball with more members, (name, type, content or target of a link)."""
    buffer = io.BytesIO(submission())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                tar.addfile(member)
    return buffer.getvalue()


def test_the_reference_scores_100_with_hidden_inputs_and_leaves_nothing():
    job = autolab_job.play(submission())
    assert job.scores == {p.key: 0 if p.by_hand else p.points for p in PROBLEMS}
    assert job.files == {"Makefile", "handin.tar", "autograder"}
    assert job.left_running == []
    assert "Limits: a process of its own" in job.log


def test_the_untouched_handout_scores_0():
    files = {name: text.encode() for name, text in handout.make(ROOT).items()
             if name.startswith(handin.FOLDERS) and name.endswith(".py")}
    job = autolab_job.play(handin.tar_bytes(files))
    assert job.total == 0 and set(job.scores) == set(BY_KEY)
    assert "Traceback" not in job.log


def test_the_line_before_the_score_shows_stages_and_hints_and_survives_autolabs_quoting():
    broken = (ROOT / "mytorch/nn/functional.py").read_text(encoding="utf-8").replace(
        "np.subtract, a, b", "np.add, a, b")
    job = autolab_job.play(submission(**{"mytorch/nn/functional.py": broken}))
    line = job.log.splitlines()[-2]
    shown = json.loads(autolab_job.quote_words(line))
    assert shown["_presentation"] == "semantic" and "1.1.1" in shown["stages"]
    assert shown["1.1.1"]["Subtraction"]["passed"] is False
    assert "expected" in shown["1.1.1"]["Subtraction"]["hint"]
    assert shown["1.1.2"] == {"Multiplication": {"passed": True}}


def test_the_answers_are_gone_before_student_code_runs():
    spy = (ROOT / "mytorch/tensor.py").read_text(encoding="utf-8") + """
import os
folder = os.environ["HOME"]
for where, _, names in os.walk(folder):
    for name in names:
        data = open(os.path.join(where, name), "rb").read()
        if b'"test_' + b'division": {' in data:
            print("FOUND", where, name)
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        open("/proc/%s/mem" % pid, "rb").close()
        if os.stat("/proc/%s" % pid).st_uid == os.getuid() and int(pid) != os.getpid():
            print("READABLE", pid, open("/proc/%s/cmdline" % pid).read())
    except OSError:
        pass
"""
    job = autolab_job.play(submission(**{"mytorch/tensor.py": spy}))
    assert job.total == 100 and "FOUND" not in job.log
    if autolab_job.user_for("/"):
        assert "runner.py" not in "".join(
            line for line in job.log.splitlines() if "READABLE" in line)


def test_answers_memorised_from_the_handout_score_0():
    # Whatever is asked, the layer returns what is right for the handout's inputs.
    recorded = json.loads(grading.ANSWERS.read_text())["answers"]["test_linear_forward"]["output"]
    cheat = (ROOT / "mytorch/nn/linear.py").read_text(encoding="utf-8").replace(
        "return F.Linear.apply(x, self.weight, self.bias)",
        f"import numpy as np; return Tensor(np.array({recorded['values']}).reshape({recorded['shape']}))")
    job = autolab_job.play(submission(**{"mytorch/nn/linear.py": cheat}))
    assert job.scores["Linear Forward"] == 0 and job.scores["divtest"] == 5


def test_the_package_holds_the_grader_the_answers_and_no_staff_files():
    with tarfile.open(fileobj=io.BytesIO(autolab.package(3))) as tar:
        names = tar.getnames()
        seed = json.load(tar.extractfile("autograder/hw1_autograder/answers.json"))["seed"]
    assert seed == 3 and not any("staff" in name or "mytorch" in name for name in names)


def test_the_configuration_lists_every_problem_with_its_full_score():
    text = autolab.configuration()
    for problem in PROBLEMS:
        assert f'- name: "{problem.key}"\n' in text
    assert text.count("max_score: ") == len(PROBLEMS)
    assert f"autograde_timeout: {autolab.TIMEOUT}" in text
    assert runner.AUTOLAB_SECONDS <= autolab.TIMEOUT - 30


FORGED = json.dumps({"scores": {p.key: p.points for p in PROBLEMS}}).encode()

# What is in the tarball besides a correct solution; it must score 100 all the same.
HARMLESS = {
    "an absolute name": [("/tmp/escaped", tarfile.REGTYPE, b"x")],
    "a name with ..": [("../escaped", tarfile.REGTYPE, b"x")],
    "a grader of its own": [("autograder/hw1_autograder/runner.py", tarfile.REGTYPE, FORGED)],
    "answers of its own": [("autograder/hw1_autograder/answers.json", tarfile.REGTYPE, b"{}")],
    "a Makefile": [("Makefile", tarfile.REGTYPE, b"all:\n\t@echo forged\n")],
    "conftest.py": [("conftest.py", tarfile.REGTYPE, b"raise SystemExit")],
    "numpy.py": [("numpy.py", tarfile.REGTYPE, b"raise SystemExit")],
    "sitecustomize.py": [("sitecustomize.py", tarfile.REGTYPE, b"raise SystemExit")],
    "a symbolic link": [("mytorch/etc", tarfile.SYMTYPE, "/etc")],
    "a link out and a file through it": [("hw1/up", tarfile.SYMTYPE, "../.."),
                                         ("hw1/up/escaped", tarfile.REGTYPE, b"x")],
    "a hard link": [("mytorch/passwd", tarfile.LNKTYPE, "/etc/passwd")],
    "a device": [("mytorch/null", tarfile.CHRTYPE, "")],
    "a named pipe": [("mytorch/pipe", tarfile.FIFOTYPE, "")],
    "Finder's litter": [("._mytorch", tarfile.REGTYPE, b"x"),
                        ("mytorch/.DS_Store", tarfile.REGTYPE, b"x")],
    "stale bytecode": [("mytorch/__pycache__/tensor.cpython-38.pyc", tarfile.REGTYPE, b"x")],
}

# No tarball that can be graded: a plain sentence and 0 points.
UNREADABLE = {
    "empty": b"",
    "text": b"my homework\n" * 100,
    "gzip": b"\x1f\x8b\x08\x00" + b"x" * 2000,
    "truncated": None,
    "another folder": handin.tar_bytes({"src/tensor.py": b""}),
    "too many files": handin.tar_bytes({f"mytorch/{i}.py": b"" for i in range(600)}),
    "a huge size in its header": None,
}


def unreadable(name):
    if name == "truncated":
        return submission()[:40_000]
    if name == "a huge size in its header":
        member = tarfile.TarInfo("mytorch/tensor.py")
        member.size = 1 << 32
        return member.tobuf(tarfile.USTAR_FORMAT) + b"x" * 5000
    return UNREADABLE[name]


def check_nothing_left(job):
    assert job.left_running == []
    assert job.files <= {"Makefile", "handin.tar", "autograder", "autograde.tar"}
    assert not Path("/tmp/escaped").exists()
    assert len(job.log) < 100_000


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS)
def test_a_correct_solution_scores_100_whatever_else_the_tarball_holds(name):
    job = autolab_job.play(tarball(*HARMLESS[name]))
    assert job.total == 100
    check_nothing_left(job)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_tarball_scores_0_with_a_plain_sentence(name):
    job = autolab_job.play(unreadable(name))
    assert job.total == 0 and set(job.scores) == set(BY_KEY)
    assert "Nothing was graded" in job.log and "Traceback" not in job.log
    check_nothing_left(job)


# Of the hostile submissions of test_grader_hostile.py, those that attack more than themselves.
ATTACKS = ("kills the grader", "kills its process group", "closes all files", "300 processes",
           "a process left running in a session of its own", "a thread left running",
           "overwrites and deletes the project", "a forged score line at exit",
           "forged results in every open file", "a million printed lines",
           "patched NumPy, json and builtins", "the grader's modules patched")


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_submission_loses_its_own_points_and_no_others(name, tmp_path):
    (hostile,) = [hostile for hostile in HOSTILE if hostile.name == name]
    hostile.write(tmp_path)
    shutil.copytree(str(ROOT / "hw1"), str(tmp_path / "hw1"))
    files = {path: (tmp_path / path).read_bytes() for path in handin.find_files(tmp_path)[0]}
    job = autolab_job.play(handin.tar_bytes(files))
    if hostile.needs and hostile.needs not in job.log:
        pytest.skip(f"this system has no protection {hostile.needs!r}")
    assert set(hostile.fails) <= set(DIVISION)
    expected = {p.key: p.points for p in PROBLEMS}
    expected.update({"MNIST": 0}, **dict.fromkeys(hostile.fails, 0))
    expected["autogradtest"] = job.scores["autogradtest"]  # one of its tests divides
    assert job.scores == expected
    check_nothing_left(job)
