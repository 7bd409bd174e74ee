"""Whatever happens in one verdict, in the report or in cleaning up: the score line of what was
judged is printed, last, and before anything is cleaned up."""

import errno
import io
import json

import pytest

from grader import grading
from processes import isolation
import runner

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
    judge, broken = grading.Verdict._judge, []

    def breaking(verdict, *args):
        if verdict.problem.key == "multest" and not broken:
            broken.append(verdict)
            raise KeyError("something nobody foresaw")
        return judge(verdict, *args)

    monkeypatch.setattr(grading.Verdict, "_judge", breaking)
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
    (runner.tempfile, "mkdtemp", FileNotFoundError("No usable temporary directory found")),
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
