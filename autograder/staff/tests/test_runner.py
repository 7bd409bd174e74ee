"""The runner: what it makes of a tarball before anything is graded, which problems it selects, and
the score line of a student's own machine."""

import io
import json
import signal
import subprocess
import sys

from handin import tarball as handin
import pytest
from grader import report
import runner
from problems import GRADED, PROBLEMS


def unpacked(tmp_path, **files):
    """Context with what the runner unpacks of a tarball of these files (name with / → bytes)."""
    tarball = tmp_path / "handin.tar"
    tarball.write_bytes(handin.tar_bytes(files))
    return runner.unpacked(tarball, report.Report(io.StringIO()))


@pytest.mark.skipif(not runner.isolation.CAN_FORK, reason="this system does not fork")
def test_a_tarball_is_compiled_once_whatever_the_compiler_makes_of_some_files(tmp_path, capfd):
    files = {"mytorch/a.py": b"x = '\\d'\n", "mytorch/b.py": b"no python\n",
             "mytorch/c.py": b"(" * 5_000, "mytorch/d.py": b"\0", "mytorch/nn/e.py": b"y = 1\n"}
    with unpacked(tmp_path, **files) as folder:
        compiled = {path.name.split(".")[0] for path in folder.rglob("*.pyc")}
        sources = {name: (folder / name).read_bytes() for name in files}
    assert compiled == {"a", "e"} and sources == files
    assert capfd.readouterr() == ("", "")
    assert not folder.exists()


def test_compiling_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "COMPILE_SECONDS", 0)
    with unpacked(tmp_path, **{"mytorch/a.py": b"x = [1, 2, 3]\n" * 100_000}) as folder:
        assert list(folder.rglob("*.pyc")) == []
        assert (folder / "mytorch/a.py").exists()


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
runner.compile_once = lambda folder: (print("unpacked", flush=True), time.sleep(60))
runner.stop_as_by_ctrl_c()
try:
    runner.main(["--handin", {tarball!r}])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_killed_or_without_its_terminal_it_leaves_no_temporary_files(number, tmp_path):
    (tmp_path / "handin.tar").write_bytes(handin.tar_bytes({"mytorch/a.py": b""}))
    (tmp_path / "scratch").mkdir()
    code = WAITS.format(folder=str(runner.HERE), scratch=str(tmp_path / "scratch"),
                        tarball=str(tmp_path / "handin.tar"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"unpacked\n"
        assert list((tmp_path / "scratch").iterdir())
        running.send_signal(number)
        assert running.wait() == 130
    assert list((tmp_path / "scratch").iterdir()) == []


def test_no_place_for_temporary_files_is_said_in_a_sentence(monkeypatch, capsys):
    def none(**_):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(runner.tempfile, "mkdtemp", none)
    assert runner.main(["1.1.1"]) == 2
    assert capsys.readouterr().err == "./grade.sh 1: No usable temporary directory found\n"
