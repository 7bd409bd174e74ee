"""The runner: what it makes of a tarball before anything is graded, which problems it selects, and
the score line of a student's own machine."""

import json
import signal
import subprocess
import sys

from handin import packing
import pytest
import runner
from problems import GRADED, PROBLEMS


def test_a_tarball_is_graded_with_a_word_on_whose_rights_its_code_has(tmp_path, capsys):
    (tmp_path / "handin.tar").write_bytes(packing.tar_bytes({"mytorch/a.py": b""}))
    runner.main(["--handin", str(tmp_path / "handin.tar"), "1.1.1"])
    assert capsys.readouterr().out.startswith("The code in handin.tar runs with your rights")


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_killed_or_without_its_terminal_it_leaves_no_temporary_files(number, tmp_path):
    (tmp_path / "handin.tar").write_bytes(packing.tar_bytes({"mytorch/a.py": b""}))
    (tmp_path / "scratch").mkdir()
    code = WAITS.format(folder=str(runner.HERE), scratch=str(tmp_path / "scratch"),
                        tarball=str(tmp_path / "handin.tar"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline().startswith(b"The code in handin.tar")
        assert running.stdout.readline() == b"unpacked\n"
        assert list((tmp_path / "scratch").iterdir())
        running.send_signal(number)
        assert running.wait() == 130
    assert list((tmp_path / "scratch").iterdir()) == []
