"""The runner, as a student starts it: tarballs, the choice of problems, --debug, a reader that leaves;
and the score line, which comes last and before anything is cleaned up, whatever happens."""

import errno
import io
import json
import re
import signal
import subprocess
import sys
import tempfile

from handin import packing
import pytest
import runner
import solutions
from grader import grading
from hostile import copy_grader
from problems import GRADED, PROBLEMS
from processes import isolation
from solutions import SECOND


def test_a_tarball_is_graded_with_a_word_on_whose_rights_its_code_has(tmp_path, capsys):
    (tmp_path / "handin.tar").write_bytes(packing.tar_bytes({"mytorch/a.py": b""}))
    runner.main(["--handin", str(tmp_path / "handin.tar"), "1.1.1"])
    assert capsys.readouterr().out.startswith("The code in handin.tar runs with your rights")


def test_what_imports_would_stumble_over_at_home_or_on_autolab_is_named(tmp_path, monkeypatch, capsys):
    for name, text in {"random.py": "", "mine.py": "", "hw1/string.py": "", "mytorch/nn/linear.py":
                       "import numpy as np, matplotlib.pyplot as plt\n", "mytorch/tensor.py":
                       "from . import nn\ntry:\n    import matplotlib\nexcept ImportError: pass\n",
                       "mytorch/broken.py": "import matplotlib\n(", "mytorch/random.py": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = packing.about_imports(tmp_path)
    assert said == ["hw1/string.py hides the module string from programs started there: rename it",
                    "mytorch/nn/linear.py:1 imports matplotlib, which is not on Autolab; use NumPy alone",
                    "random.py hides the module random from programs started there: rename it"]
    assert packing.about_imports(runner.ROOT) == []
    monkeypatch.setattr(packing, "about_imports", lambda root: said)
    runner.main(["1.1"])
    assert capsys.readouterr().out.startswith(f"Note: {said[0]}.\nNote: {said[1]}.\n")


def test_no_number_selects_all_and_a_number_its_parts():
    assert runner.select([]) == list(GRADED)
    assert {problem.number for problem in runner.select(["2.1"])} == {"2.1"}
    assert {problem.number for problem in runner.select(["1"])} == {
        problem.number for problem in GRADED if problem.number.startswith("1.")}
    with pytest.raises(runner.CannotGrade, match="unknown problem 2.10; there are 1.1, 1.1.1"):
        runner.select(["2.10"])


def test_the_score_line_has_every_key_also_of_what_is_graded_by_hand():
    scores = json.loads(runner.score_line({"divtest": 5}))["scores"]
    assert list(scores) == [problem.key for problem in PROBLEMS]
    assert {key: points for key, points in scores.items() if points} == {"divtest": 5}


WAITS = """
import sys, signal, tempfile, time
sys.path.insert(0, {folder!r})
import runner
tempfile.tempdir = {scratch!r}
runner.unpacking.unpack = lambda *_: (print("unpacked", flush=True), time.sleep(60))
runner.stop_as_by_ctrl_c()
try:
    runner.main(["--handin", {tarball!r}])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_killed_or_without_its_terminal_it_leaves_no_temporary_files(tmp_path):
    (tmp_path / "handin.tar").write_bytes(packing.tar_bytes({"mytorch/a.py": b""}))
    (tmp_path / "scratch").mkdir()
    code = WAITS.format(folder=str(runner.HERE), scratch=str(tmp_path / "scratch"),
                        tarball=str(tmp_path / "handin.tar"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline().startswith(b"The code in handin.tar")
        assert running.stdout.readline() == b"unpacked\n"
        assert list((tmp_path / "scratch").iterdir())
        running.send_signal(signal.SIGHUP)
        assert running.wait() == 130
    assert list((tmp_path / "scratch").iterdir()) == []


# The score line.

THREE = {problem.key: problem.points for problem in runner.select(["1.1"]) if problem.points}


def last_line(text):
    scores = json.loads(text.splitlines()[-1])["scores"]
    return {key: points for key, points in scores.items() if points}


def test_the_score_is_printed_before_anything_is_cleaned_up(monkeypatch, capsys):
    printed, clean_up = [], isolation.Crew.__exit__

    def late(crew, *args):
        printed.append(capsys.readouterr().out)
        return clean_up(crew, *args)

    monkeypatch.setattr(isolation.Crew, "__exit__", late)
    assert runner.main(["1.1"]) == 0
    assert len(printed) == 1 and last_line(printed[0]) == THREE
    assert capsys.readouterr().out == ""


def test_one_verdict_that_breaks_costs_its_own_problem_alone(monkeypatch, capsys):
    judge_case = grading.Verdict._judge_case

    def breaking(verdict, *args):
        if verdict.problem.key == "multest":
            raise KeyError("something nobody foresaw")
        judge_case(verdict, *args)

    monkeypatch.setattr(grading.Verdict, "_judge_case", breaking)
    assert runner.main(["1.1"]) == 1
    report = capsys.readouterr().out
    assert last_line(report) == {key: THREE[key] for key in THREE if key != "multest"}
    assert "what came back cannot be judged" in report


def test_a_report_that_breaks_costs_nothing(monkeypatch, capsys):
    def breaking(report, verdict):
        raise UnicodeError("something nobody foresaw")

    monkeypatch.setattr(runner.Report, "_show", breaking)
    assert runner.main(["1.1"]) == 0
    report = capsys.readouterr().out
    assert last_line(report) == THREE and "this cannot be shown (UnicodeError)" in report


class Disk(io.StringIO):
    """A log on a disk that is full until something is cleaned up."""

    full = True

    def write(self, text):
        if Disk.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.mark.slow
def test_on_a_full_disk_the_score_is_printed_once_more_after_cleaning_up(monkeypatch):
    log, clean_up = Disk(), isolation.Crew.__exit__

    def make_room(crew, *args):
        clean_up(crew, *args)
        Disk.full = False

    monkeypatch.setattr(isolation.Crew, "__exit__", make_room)
    monkeypatch.setattr("sys.stdout", log)
    assert runner.main(["1.1"]) == 0
    assert last_line(log.getvalue()) == THREE


@pytest.mark.parametrize("owner, name, error", [
    (isolation.Crew, "_start", isolation.HostFault("no process can be made")),
    (tempfile, "mkdtemp", FileNotFoundError("No usable temporary directory found")),
    (runner.unpacking, "unpack", OSError(errno.ENOSPC, "No space left on device"))])
def test_a_machine_that_lacks_what_it_needs_gives_no_score_but_a_sentence(
        owner, name, error, monkeypatch, capsys, tmp_path):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(owner, name, fails)
    assert runner.main(["--handin", str(tmp_path / "handin.tar")] if name == "unpack" else ["1.1"]) == 2
    out, err = capsys.readouterr()
    assert "scores" not in out and str(error) in err and err.count("\n") == 1


@pytest.fixture(autouse=True)
def full_again():
    yield
    Disk.full = True


# With --debug, and without a reader.

@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A project with a breakpoint in the ReLU layer, and the grader."""
    root = tmp_path_factory.mktemp("debugged")
    solutions.write(root, SECOND, [
        ("nn/activations.py", "        return ", "        breakpoint()\n        return ")])
    copy_grader(root)
    return root


def start(tree, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(tree / "autograder/hw1_autograder/runner.py"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, encoding="utf-8", **options)


@pytest.mark.slow
def test_debug_stops_at_breakpoints_with_the_keyboard_and_says_that_nothing_is_limited(tree):
    out, err = start(tree, "2.2", "--debug").communicate("p x.shape\n" + "c\n" * 20)
    assert out.startswith("Debugging: your code runs in this process. Nothing is limited")
    assert "activations.py" in out and "(Pdb) (4, 3)\n" in out and err == ""
    assert re.findall(r" (\d/\d)\n", out) == ["1/1", "1/1", "1/1", "2/2"]
    assert out.splitlines()[-1].startswith('{"scores": ')


@pytest.mark.slow
def test_debug_ends_when_the_debugger_is_left(tree):
    process = start(tree, "2.2", "--debug")
    out, err = process.communicate("q\n")
    assert process.returncode == 130 and err == "" and "scores" not in out


def test_debug_wants_one_problem(capsys):
    for arguments in ([], ["2.1", "2.2"], ["2.1", "--handin", "handin.tar"]):
        with pytest.raises(SystemExit, match="2"):
            runner.main([*arguments, "--debug"])
        assert "--debug takes one problem of the tree" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_ends_the_report_quietly(tree):
    process = start(tree, "1.1")
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close(), process.stdin.close()
    assert process.wait() == 141 and error == ""
