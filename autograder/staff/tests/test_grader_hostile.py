"""Hostile and broken solutions (hostile.py): each loses its own points and no others, and the
grader ends in good order, with the true score on its last line."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from processes import leftovers
from hostile import GRADER, HOSTILE, Hostile, run_grader
from hostile_system import SYSTEM
from problems import GRADED, PROBLEMS

QUICK = ("os._exit(0) in one operation",
         "a forged score line", "a process left running in a session of its own")
QUICK_WITHOUT = ("a process that forks, moves on and exits, again and again", "kills everybody")

CASES = [pytest.param(hostile, True, id=hostile.name.replace(" ", "-"),
                      marks=() if hostile.name in QUICK else pytest.mark.slow)
         for hostile in HOSTILE + SYSTEM]
CASES += [pytest.param(hostile, False, id=hostile.name.replace(" ", "-") + "-without-Landlock",
                       marks=() if hostile.name in QUICK_WITHOUT else pytest.mark.slow)
          for hostile in SYSTEM]


@pytest.fixture(scope="module")
def protections(tmp_path_factory):
    """What limits a student's process on this machine, as ``--verbose`` says."""
    root = tmp_path_factory.mktemp("protections")
    Hostile("harmless").write(root)
    output = run_grader(root, "--verbose", "1.1.1").stdout
    (line,) = [line for line in output.splitlines() if "limits: " in line]
    return line.split("limits: ")[1].split(", ")


@pytest.fixture(scope="module")
def gradings(request, tmp_path_factory):
    """Name → future Grading, of the cases chosen that harm nothing but their own grader: two at a
    time, as they mostly wait for a limit."""
    chosen = [item.callspec.params["hostile"] for item in request.session.items
              if "landlock" in getattr(getattr(item, "callspec", None), "params", ())]
    pool = ThreadPoolExecutor(2)
    futures = {
        hostile.name: pool.submit(Grading, hostile, True, tmp_path_factory.mktemp("hostile"))
        for hostile in chosen if hostile in HOSTILE and not hostile.needs}
    yield futures
    for future in futures.values():
        future.cancel()
    pool.shutdown()


class Grading:
    """Grades a Hostile in the folder ``root``, and notes what happened: ``ended``, as of
    subprocess.run, ``left_running`` and ``changed``, command lines and files."""

    def __init__(self, hostile, landlock, root):
        self.root = root
        hostile.write(root)
        before = contents_of(root)
        try:
            self.ended = run_grader(root, "--json", "result.json", *hostile.numbers,
                                    time_limit=hostile.time_limit, landlock=landlock)
        finally:
            self.left_running = end_processes_of(root)
        self.result = json.loads((root / "result.json").read_text())
        (root / "result.json").unlink()
        after = contents_of(root)
        self.changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]


@pytest.mark.parametrize("hostile, landlock", CASES)
def test_hostile_code_costs_its_own_points_and_nothing_else(hostile, landlock, tmp_path, request):
    if hostile.needs and hostile.needs not in request.getfixturevalue("protections"):
        pytest.skip(f"would do damage: this system has no protection {hostile.needs!r}")
    shared_before = leftovers.shared_memory()
    ahead = request.getfixturevalue("gradings").get(hostile.name)
    graded = ahead.result() if ahead else Grading(hostile, landlock, tmp_path)
    report = graded.ended.stdout
    assert (graded.ended.returncode, graded.ended.stderr) == (0, ""), report

    failed = {p["key"] for p in graded.result["problems"] if not p["passed"]}
    assert failed == set(hostile.fails), report
    points = {p.key: p.points for p in GRADED
              if p.number in hostile.numbers and p.key not in hostile.fails}
    expected = {problem.key: points.get(problem.key, 0) for problem in PROBLEMS}
    assert json.loads(report.splitlines()[-1]) == {"scores": expected}

    assert hostile.says in report
    assert "FOUND" not in report
    assert len(report) < 20_000
    assert [line for line in report.split("\n") if line.startswith("FORGED")] == []
    assert [character for character in report if character in "\x1b\r\a\b"] == []
    assert graded.left_running == []
    assert leftovers.shared_memory() <= shared_before
    assert os.listdir(str(graded.root / "temporary")) == []
    assert graded.changed == []


def contents_of(root):
    """Path → bytes of all files below ``root`` but compiled ones."""
    return {path: path.read_bytes() for path in root.rglob("*")
            if path.is_file() and path.suffix != ".pyc"}


def end_processes_of(root):
    """End what still runs of the grading in ``root``; returns the command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(str(root)) in command and int(folder.name) != os.getpid():
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
            os.kill(int(folder.name), signal.SIGKILL)
    return found


def test_there_are_at_least_24_hostile_solutions_of_each_kind_with_different_names():
    assert len({hostile.name for hostile in HOSTILE + SYSTEM}) == len(HOSTILE) + len(SYSTEM)
    assert len(HOSTILE) >= 24 and len(SYSTEM) >= 24
    assert {*QUICK, *QUICK_WITHOUT} <= {hostile.name for hostile in HOSTILE + SYSTEM}


def test_the_graders_own_folder_is_not_touched_by_these_tests():
    assert (GRADER / "grader/answers.json").is_file()
