"""Hostile and broken solutions (hostile.py): each loses its own points and no others, and the
grader ends in good order, with the true score on its last line."""

import json
import os
import shutil
import signal
import time

import pytest

import jail
import solutions
from hostile import HOSTILE, Hostile, copy_grader, run_grader, run_runner
from hostile_system import SYSTEM
from problems import GRADED, PROBLEMS

QUICK = ("sys.exit() in one operation", "forged score lines")

# At home, where the code is one's own.
CLUMSY = (
    "an endless loop in one operation", "recursion without end", "a list that grows for ever",
    "a million printed lines", "a file without end", "40 processes", "a thread left running",
    "reads from the keyboard", "sys.exit() in one operation", "os._exit(0) at import",
    "forged score lines", "results without end")
# What is denied or removed in another way where there is no Landlock.
OTHERWISE_WITHOUT = (
    "kills, stops, hinders and looks into the grader", "closes its folders and those above",
    "shared memory of every kind", "shared memory that makes others wait")


def cases(hostile, where, names=None, **how):
    """A parameter for each of some submissions, or of those that are named."""
    return [pytest.param(one, how, id=f"{one.name} {where}".replace(" ", "-"),
                         marks=() if one.name in QUICK and not how else pytest.mark.slow)
            for one in hostile if names is None or one.name in names]


CASES = [*cases(HOSTILE + SYSTEM, "on Autolab"),
         *cases(SYSTEM, "without Landlock", OTHERWISE_WITHOUT, landlock=False),
         *cases(HOSTILE, "at home", CLUMSY, staffs=False)]


@pytest.fixture(scope="module")
def protections(tmp_path_factory):
    """What limits a student's process on this machine, as the job says, with Landlock and without."""
    found = {}
    for landlock in (True, False):
        root = tmp_path_factory.mktemp("protections")
        Hostile("harmless").write(root)
        _, report = run_grader(root, Hostile("harmless"), landlock=landlock)
        found[landlock] = report.partition("Limits: ")[2].partition("\n")[0].split(", ")
    return found


@pytest.mark.parametrize("hostile, how", CASES)
def test_hostile_code_costs_its_own_points_and_nothing_else(hostile, how, tmp_path, request):
    staffs = how.get("staffs", True)
    if hostile.needs and hostile.needs not in request.getfixturevalue("protections")[
            how.get("landlock", True)]:
        pytest.skip(f"would do damage: this system has no protection {hostile.needs!r}")
    hostile.write(tmp_path)
    shared_before, before = jail.shared_memory(), contents_of(tmp_path)
    jail.prctl(jail.PR_SET_CHILD_SUBREAPER, 1)
    status, report = run_grader(tmp_path, hostile, **how)
    left_running = end_what_is_left()
    assert status == (0 if staffs or not hostile.fails else 1), report

    expected = {problem.key: 0 for problem in PROBLEMS if not staffs or problem.key in hostile.keys}
    expected.update({problem.key: problem.points for problem in GRADED
                     if problem.key in hostile.keys and problem.key not in hostile.fails})
    assert json.loads(report.splitlines()[-1]) == {"scores": expected}, report

    assert hostile.says in report
    assert "FOUND" not in report
    assert len(report) < 25_000
    assert [line for line in report.split("\n") if line.startswith("FORGED")] == []
    assert [character for character in report if character in "\x1b\r\a\b"] == []
    assert left_running == []
    assert os.listdir(str(tmp_path / "temporary")) == []
    if staffs:
        assert jail.shared_memory() <= shared_before
    after = contents_of(tmp_path)
    assert {path: after.get(path) for path in before} == before


def contents_of(root):
    """Path → bytes of all files below ``root`` but compiled ones."""
    return {path: path.read_bytes() for path in root.rglob("*")
            if path.is_file() and path.suffix != ".pyc"}


def end_what_is_left():
    """End the processes of a submission that are still there after a moment, if there are any; their
    numbers."""
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        found = [pid for pid in jail.children_of_this_process() if jail.carries_our_limits(pid)]
        if all([os.waitpid(pid, os.WNOHANG)[0] for pid in found]):
            return []
        time.sleep(0.02)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return found


def test_a_tree_without_the_files_of_mytorch_scores_0_at_home(tmp_path):
    copy_grader(tmp_path)
    ended = run_runner(tmp_path)
    assert ended.returncode == 2 and "mytorch/gradient_check.py is missing" in ended.stderr
    assert ended.stderr.count("\n") == 1 and ended.stdout == ""
    (tmp_path / "mytorch").mkdir()
    shutil.copy(str(solutions.REFERENCE / "gradient_check.py"), str(tmp_path / "mytorch"))
    ended = run_runner(tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert set(json.loads(ended.stdout.splitlines()[-1])["scores"].values()) == {0}
    assert "mytorch" in ended.stdout


def test_hostile_solutions_have_different_names():
    names = [hostile.name for hostile in HOSTILE + SYSTEM]
    assert len(names) == len(set(names)) and {*QUICK, *CLUMSY, *OTHERWISE_WITHOUT} <= set(names)
