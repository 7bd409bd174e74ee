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

QUICK = ("os._exit(0) in one operation", "a forged score line",
         "a process left running in a session of its own")
QUICK_WITHOUT = ("a process that forks, moves on and exits, again and again", "kills everybody")

# At home, where the code is one's own.
CLUMSY = (
    "an endless loop in one operation", "an endless loop at import", "recursion without end",
    "an array of 128 GiB", "a list that grows for ever", "a million printed lines",
    "a file without end", "300 processes", "a thread left running", "reads from the keyboard",
    "sys.exit() in one operation", "os._exit(0) at import", "a segmentation fault",
    "an exception with an enormous message", "changes np.random", "warnings as errors",
    "a forged score line", "forged results in every open file", "results without end",
    "temporary files, locks and a pool of processes at import", "KeyboardInterrupt",
    "a syntax error in one file")


def case(hostile, where, quick, **how):
    return pytest.param(hostile, how, id=f"{hostile.name} {where}".replace(" ", "-"),
                        marks=() if hostile.name in quick else pytest.mark.slow)


# In the jail there is no shared memory, and so no lock.
AT_HOME_ALONE = ("temporary files, locks and a pool of processes at import",)
# What they send or make is read, counted and removed in the same way with Landlock and without.
ALIKE_WITHOUT = (
    "a number of 5,000 digits, deep nesting, floods of empty objects", "3.6 MB of calls under way",
    "says that it is ready, done, refused", "a shape of 200 KB", "2,000 files",
    "1,000 folders side by side", "output without lines or an end", "a thousand threads",
    "a second's worth of zombies", "raises and lowers its own limits")

CASES = [case(hostile, "on Autolab", QUICK) for hostile in HOSTILE + SYSTEM
         if hostile.name not in AT_HOME_ALONE]
CASES += [case(hostile, "without Landlock", QUICK_WITHOUT, landlock=False)
          for hostile in SYSTEM if hostile.name not in ALIKE_WITHOUT]
CASES += [case(hostile, "at home", QUICK, staffs=False)
          for hostile in HOSTILE if hostile.name in CLUMSY]


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

    result = json.loads((tmp_path / "result.json").read_text())
    failed = {p["key"] for p in result["problems"] if not p["passed"]}
    assert failed == set(hostile.fails), report
    points = {p.key: p.points for p in GRADED
              if p.number in hostile.numbers and p.key not in hostile.fails}
    expected = {problem.key: points.get(problem.key, 0)
                for problem in PROBLEMS if not staffs or problem.number in hostile.numbers}
    assert json.loads(report.splitlines()[-1]) == {"scores": expected}

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
    give_up = time.monotonic() + 2
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


def test_there_are_at_least_24_hostile_solutions_of_each_kind_with_different_names():
    names = {hostile.name for hostile in HOSTILE + SYSTEM}
    assert len(names) == len(HOSTILE + SYSTEM)
    assert len(HOSTILE) >= 24 and len(SYSTEM) >= 24
    assert {*QUICK, *QUICK_WITHOUT, *CLUMSY, *ALIKE_WITHOUT} <= names
