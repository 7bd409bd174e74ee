"""collect.py: a folder of handins becomes scores.csv, plots.html, reports and texts to compare.
A stand-in for the grading job makes it quick; one slow test grades for true."""

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import autolab_job
import collect
import looks as looking
from handin import packing
import pytest
from pictures import png
from problems import FULL_SCORE, GRADED

ROOT = collect.packages.ROOT
FULL = {problem.key: problem.points for problem in GRADED}

# Notes when it begins and ends; what it says last depends on what the tarball says.
STAND_IN = f"""
import os, signal, sys
print("begins", *sys.argv[1:], file=open(__file__ + ".ran", "a"))
tarball = open(sys.argv[1], "rb").read()
if b"no host for this" in tarball:
    sys.exit("No scores: this host is at fault")
if b"stop this" in tarball:
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()
print("a report")
if b"no scores for this" not in tarball:
    print('{json.dumps({"scores": FULL})}')
print("ends", file=open(__file__ + ".ran", "a"))
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """What the stand-in leaves: a line for each time that one began or ended."""
    path = tmp_path / "job.py"
    path.write_text(STAND_IN)
    monkeypatch.setattr(collect, "unpacked_grader", lambda folder: (path, "some version"))
    return Path(f"{path}.ran")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "handins"
    folder.mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(collect.tempfile, "tempdir", str(tmp_path / "scratch"))
    return folder


def hand_in(folder, *students, **changes):
    """A tarball of each of some students: small files, a plot and others (name with / → bytes)."""
    files = {"mytorch/tensor.py": b"pass\n", packing.PLOT: png(), **changes}
    for student in students:
        (folder / f"{student}_1_handin.tar").write_bytes(packing.tar_bytes(files))


def rows(folder):
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def looks(folder):
    return {student: row["look at"] for student, row in rows(folder).items()}


def test_a_row_has_the_scores_under_autolabs_keys_and_none_for_what_is_graded_by_hand(folder, job):
    hand_in(folder, "a@x.edu")
    assert collect.main([str(folder), "--without-landlock"]) == 0
    row = rows(folder)["a@x.edu"]
    assert row["total"] == str(FULL_SCORE) and row["MNIST"] == "" and row["look at"] == ""
    assert {key: int(row[key]) for key in FULL} == FULL
    assert (folder / "reports" / "a@x.edu_1.txt").read_text().startswith("a report\n")
    assert job.read_text().splitlines()[0].endswith(".tar --without-landlock")


@pytest.mark.parametrize("delimiter, start, mark, kept", [(",", "", "9", "9"), (";", "\ufeff", "9,5", "9.5")])
def test_marks_typed_into_scores_csv_stay_and_count(delimiter, start, mark, kept, folder, job):
    hand_in(folder, "a", "=b")
    collect.main([str(folder)])
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    table[2][table[0].index("MNIST")] = mark
    with (folder / "scores.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(start)
        csv.writer(file, delimiter=delimiter).writerows(table)
    hand_in(folder, "c")
    assert collect.main([str(folder)]) == 0
    marked = table[2][0]
    assert {student: row["MNIST"] for student, row in rows(folder).items()} == {
        "'=b": "", "a": "", "c": "", marked: kept}
    assert float(rows(folder)[marked]["total"]) == FULL_SCORE + float(kept)
    assert f"{FULL_SCORE + float(kept):g}/{FULL_SCORE + 10}" in (folder / "plots.html").read_text()


def test_a_mark_without_a_row_is_told_and_one_that_is_no_number_stops(folder, job, capsys):
    hand_in(folder, "a")
    (folder / "scores.csv").write_text("student,version,MNIST\nb,1,7\n")
    assert collect.main([str(folder)]) == 0
    assert "no longer in scores.csv: the mark of b, version 1: {'MNIST': 7}" in capsys.readouterr().out
    (folder / "scores.csv").write_text("student,version,MNIST\na,1,good\n")
    with pytest.raises(OSError, match="scores.csv: MNIST of a is no number: good"):
        collect.main([str(folder)])


@pytest.mark.slow
def test_a_second_run_grades_what_the_first_has_not_or_another_grader_has(folder, job, capsys):
    for name in "abc":
        hand_in(folder, name, **{"hw1/x.py": name.encode()})
    assert collect.main([str(folder)]) == 0
    progress = folder / "reports" / "progress.jsonl"
    lines = progress.read_text().split("\n")[1:]
    another = lines[1].replace("some version", "another version")
    progress.write_text("\n".join([lines[0], another, lines[2][:50]]))  # stopped while it wrote
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "1 of 3 are graded already" in capsys.readouterr().out
    assert job.read_text().count("begins") == 2 and len(rows(folder)) == 3
    hand_in(folder, "b", **{"hw1/x.py": b"another"})
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "b_1_handin.tar" in job.read_text() and job.read_text().count("begins") == 1


@pytest.mark.parametrize("why, reason", [
    (b"# no host for this", "No scores: this host is at fault"),
    (b"# no scores for this", "the report does not end in scores: read the code of this handin")])
def test_a_grading_without_scores_has_no_total_says_why_and_is_tried_again(
        why, reason, folder, job, capsys):
    hand_in(folder, "a", "b", **{"hw1/x.py": why})
    for count in (2, 4):
        assert collect.main([str(folder)]) == 0
        row = rows(folder)["a"]
        assert (row["total"], row["divtest"], row["look at"]) == ("", "", reason)
        assert job.read_text().count("begins") == count
    (line,) = set(re.findall(f"^{reason}.*$", capsys.readouterr().out, re.MULTILINE))
    assert line.endswith(": a, b")  # the reason once, with everybody's name
    assert "version 1: no score" in (folder / "plots.html").read_text(encoding="utf-8")


def test_an_interrupted_run_leaves_nothing_in_the_folder_for_temporary_files(folder, job, tmp_path):
    hand_in(folder, "a", "b", **{"hw1/x.py": b"# stop this"})
    with pytest.raises(KeyboardInterrupt):
        collect.main([str(folder)])
    assert list((tmp_path / "scratch").iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
import collect
collect.tempfile.tempdir = sys.argv[2]
collect.unpacked_grader = lambda folder: os.kill(os.getpid(), 9)
collect.main([sys.argv[1]])
"""


@pytest.mark.slow
def test_what_a_run_that_was_killed_has_left_the_next_one_clears(folder, job, tmp_path):
    hand_in(folder, "a")
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "scratch")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "autograder" / "staff")})
    assert ran.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    assert collect.main([str(folder)]) == 0
    assert list((tmp_path / "scratch").iterdir()) == [] and rows(folder)["a"]["total"] == "100"


def test_two_runs_at_once_do_not_disturb_each_other(folder, job):
    hand_in(folder, "a")
    (folder / "reports").mkdir()
    with collect.scratch_for(folder, folder / "reports" / "progress.jsonl"):
        with pytest.raises(OSError, match="another collect.py is at work on"):
            collect.main([str(folder)])
    assert collect.main([str(folder)]) == 0


def test_no_more_jobs_run_than_there_are_processors(folder, job, monkeypatch):
    monkeypatch.setattr(collect.isolation, "processors", lambda: 1)
    hand_in(folder, "a", "b", "c")
    assert collect.main([str(folder)]) == 0
    assert [line.split()[0] for line in job.read_text().splitlines()] == ["begins", "ends"] * 3


@pytest.mark.parametrize("scores", [
    {**FULL, "divtest": "5"}, {**FULL, "divtest": 6}, {**FULL, "MNIST": 10}, {"divtest": 5}, [5]])
def test_scores_that_a_submission_wrote_into_its_report_do_not_count(scores):
    assert collect.scores_in(json.dumps({"scores": FULL})) == FULL
    assert collect.scores_in(json.dumps({"scores": scores})) is None
    assert collect.scores_in("[" * 100_000) is None


@pytest.mark.slow
def test_odd_names_and_what_cannot_be_read_stop_nobody(folder, job, capsys):
    hand_in(folder, "a", "odd\udcff", "red\x1b[31m")
    (folder / "b_1_handin.tar.gz").write_bytes(gzip.compress(packing.tar_bytes({}))[:-5])
    (folder / "c").mkdir()
    (folder / "d_1_handin.tar").write_bytes(b"my homework")
    hand_in(folder, "e", **{"mytorch/tensor/__init__.py": b"pass\n", "README.md": b"read me\n"})
    assert collect.main([str(folder)]) == 0
    assert sorted(rows(folder)) == ["a", "b", "d", "e", "odd\\udcff", "red\\x1b[31m"]
    assert looks(folder)["d"].startswith("no tarball to grade: ")
    assert looks(folder)["e"] == (
        "mytorch/tensor/__init__.py: Python imports it in the place of mytorch/tensor.py")
    printed = capsys.readouterr().out
    assert "it cannot be read: " in printed and "\x1b" not in printed
    assert "passed over, because this folder holds neither mytorch/ nor a tar or zip file: c" in printed


def test_the_page_shows_each_plot_and_a_hostile_name_or_file_is_only_text(folder, job):
    plot, name = png(text=b"<script>alert(1)</script>"), "<script>alert(1)<∕script>&\"'"
    hand_in(folder, name, **{packing.PLOT: plot})
    hand_in(folder, "=1+1", **{packing.PLOT: b"<script>alert(2)</script>"})
    assert collect.main([str(folder)]) == 0
    page = (folder / "plots.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert f"data:image/png;base64,{collect.base64.b64encode(plot).decode()}" in page
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page and "http://" not in page and "src=\"h" not in page
    assert "<b>=1+1</b>" in page and "the plot is not a PNG file" in page
    assert "'=1+1" in rows(folder)  # no formula for a spreadsheet


def of_the_reference(change=lambda text: text):
    """The files of the reference solution, changed (text → text), and a plot."""
    sources = {name: change((ROOT / name).read_text(encoding="utf-8")).encode()
               for name in packing.find_files(ROOT)[0] if name.endswith(".py")}
    return {**sources, packing.PLOT: png()}


@pytest.mark.slow
def test_solutions_that_differ_in_names_and_comments_alone_are_named_and_plots_accuse_nobody(
        folder, job, capsys):
    for name, files in {
            "a": of_the_reference(),
            "b": of_the_reference(lambda text: text + "# all my own work\n"),
            "c": of_the_reference(lambda text: text.replace("grad_output", "g").replace("):\n", ") :\n\n")),
            "d": of_the_reference(lambda text: re.sub("unbroadcast|mean", "other", text) + "other = 1\n"),
            "blank": looking.given(), "blank too": looking.given()}.items():
        (folder / f"{name}_1_handin.tar").write_bytes(packing.tar_bytes(files))
    assert collect.main([str(folder)]) == 0
    found = looks(folder)
    assert re.search(r"^group \d: the same, but for names and comments, in .*mytorch/nn/functional.py"
                     r".*: a, b, c$", capsys.readouterr().out, re.MULTILINE)
    assert found["a"] == found["b"] and "functional.py" in found["c"] and found["d"] == ""
    assert "plot" not in found["a"]
    assert found["blank"] == found["blank too"] == "no plot"
    written = sorted(path.name for path in (folder / "for-comparison" / "students").iterdir())
    assert written == ["a_1.py", "b_1.py", "c_1.py", "d_1.py"]
    assert b"all my own work" in (folder / "for-comparison" / "students" / "b_1.py").read_bytes()
    assert "TODO (1.1.1)" in (folder / "for-comparison" / "given.py").read_text(encoding="utf-8")


def test_a_folder_without_handins_or_that_does_not_exist_is_refused(folder, capsys):
    (folder / "handin.tar").write_bytes(b"")
    assert collect.main([str(folder)]) == 1
    printed = capsys.readouterr()
    assert "holds no handin" in printed.err
    assert "passed over, because its name does not say whose it is: handin.tar" in printed.out
    assert collect.main([str(folder / "nowhere")]) == 1
    assert "there is no folder " in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_job_grades_the_reference_and_what_is_no_tarball(folder, monkeypatch):
    monkeypatch.setattr(collect.autolab.record, "seeds", lambda: autolab_job.SEEDS)
    (folder / "reference_1_handin.tar").write_bytes(packing.tar_bytes(of_the_reference()))
    (folder / "text_1_handin.tar").write_bytes(b"homework")
    assert collect.main([str(folder), "--without-landlock"]) == 0
    totals = {student: row["total"] for student, row in rows(folder).items()}
    assert totals == {"reference": str(FULL_SCORE), "text": "0"}
