"""collect.py: a folder of handins becomes scores.csv, plots.html, reports and texts to compare.
A stand-in for the grading job makes it quick; one slow test grades for true."""

import csv
import fcntl
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import autolab_job
import collect
import handins
import looks as looking
from handin import packing
import handout
import pytest
from pictures import png
from problems import FULL_SCORE, GRADED

ROOT = collect.packages.ROOT
FULL = {problem.key: problem.points for problem in GRADED}

# Notes that it ran; ends without scores where the tarball says so.
STAND_IN = f"""
import sys
tarball = open(sys.argv[1], "rb").read()
with open(__file__ + ".ran", "a") as file:
    print(sys.argv[1], *sys.argv[2:], file=file)
if b"no host for this" in tarball:
    sys.exit("No scores: this host is at fault")
if b"no time for this" in tarball:
    sys.exit(print('{{"scores": {{"divtest": 5}}}}'))
print("a report")
print('{json.dumps({"scores": FULL})}')
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The stand-in, and what it leaves: a line for each time it ran."""
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


def solution(plot=png(), **changes):
    """A tarball: small files, a plot and others (name with / → bytes)."""
    files = {"mytorch/tensor.py": b"pass\n", packing.PLOT: plot, **changes}
    return packing.tar_bytes({name: content for name, content in files.items() if content})


def hand_in(folder, *students, **files):
    """A handin of each of some students."""
    for student in students:
        (folder / f"{student}_1_handin.tar").write_bytes(solution(**files))


def rows(folder):
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def looks(folder):
    return {student: row["look at"] for student, row in rows(folder).items()}


def test_a_row_has_the_scores_under_autolabs_keys_and_none_for_what_is_graded_by_hand(folder, job):
    hand_in(folder, "a@x.edu")
    assert collect.main([str(folder)]) == 0
    row = rows(folder)["a@x.edu"]
    assert row["total"] == str(FULL_SCORE) and row["MNIST"] == "" and row["look at"] == ""
    assert {key: int(row[key]) for key in FULL} == FULL
    assert (folder / "reports" / "a@x.edu_1.txt").read_text().startswith("a report\n")


@pytest.mark.parametrize("delimiter, start, mark, kept", [
    (",", "", "9", "9"), (";", "\ufeff", "9,5", "9.5"), ("\t", "", "10", "10")])
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


def test_a_second_run_goes_on_where_the_first_stopped(folder, job, capsys):
    for name in "abc":
        hand_in(folder, name, plot=png(text=name.encode()))
    assert collect.main([str(folder)]) == 0
    progress = folder / "reports" / "progress.jsonl"
    lines = progress.read_text().split("\n")[1:]
    progress.write_text("\n".join(lines[:2]) + "\n" + lines[2][:50])  # stopped while it wrote
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "2 of 3 are graded already" in capsys.readouterr().out
    assert len(job.read_text().splitlines()) == 1
    assert len(rows(folder)) == 3
    hand_in(folder, "b", plot=png(text=b"another"))
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "b_1_handin.tar" in job.read_text() and len(job.read_text().splitlines()) == 1


def test_what_another_grader_found_does_not_count(tmp_path):
    collect.Progress(tmp_path / "progress", "old").add("digest", {"divtest": 5})
    assert collect.Progress(tmp_path / "progress", "old").found == {"digest": {"divtest": 5}}
    assert collect.Progress(tmp_path / "progress", "new").found == {}


@pytest.mark.parametrize("why, divtest, reason, in_words", [
    (b"# no host for this", "", "No scores: this host is at fault", "no score"),
    (b"# no time for this", "5", "not all problems were run: ", "incomplete")])
def test_a_grading_without_all_scores_has_no_total_says_why_and_is_tried_again(
        why, divtest, reason, in_words, folder, job, capsys):
    hand_in(folder, "a", "b", **{"hw1/x.py": why})
    for count in (2, 4):
        assert collect.main([str(folder)]) == 0
        row = rows(folder)["a"]
        assert (row["total"], row["divtest"]) == ("", divtest)
        assert row["look at"].startswith(reason)
        assert len(job.read_text().splitlines()) == count
    (line,) = set(re.findall(f"^{reason}.*$", capsys.readouterr().out, re.MULTILINE))
    assert line.endswith(": a, b")  # the reason once, with everybody's name
    assert f"version 1: {in_words}" in (folder / "plots.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_in_the_folder_for_temporary_files(
        number, folder, job, tmp_path):
    stop = f"os.kill(os.getppid(), {number:d})\n"
    job.with_suffix("").write_text(
        f"import os, tempfile, time\ntempfile.mkdtemp()\n{stop}{stop}time.sleep(60)\n")
    hand_in(folder, "a", "b")
    with pytest.raises(KeyboardInterrupt):
        collect.main([str(folder)])
    assert list((tmp_path / "scratch").iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
import collect
collect.tempfile.tempdir = sys.argv[2]
collect.unpacked_grader = lambda folder: (Path(sys.argv[3]), "some version")
collect.main([sys.argv[1]])
"""


def test_what_a_run_that_was_killed_has_left_the_next_one_clears(folder, job, tmp_path):
    job_that_ends_it = tmp_path / "killer.py"
    job_that_ends_it.write_text("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    hand_in(folder, "a")
    ran = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(tmp_path / "scratch"),
                          str(job_that_ends_it)], env={**os.environ, "PYTHONPATH": str(ROOT / "autograder" / "staff")})
    assert ran.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    assert collect.main([str(folder)]) == 0
    assert list((tmp_path / "scratch").iterdir()) == [] and rows(folder)["a"]["total"] == "100"


def test_two_runs_at_once_do_not_disturb_each_other(folder, job, capsys):
    hand_in(folder, "a")
    (folder / "reports").mkdir()
    with (folder / "reports" / "progress.jsonl").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert collect.main([str(folder)]) == 1
    assert "another collect.py is at work on" in capsys.readouterr().err


@pytest.mark.parametrize("line", [
    '{"scores": {"divtest": "5"}}', '{"scores": {"divtest": 6}}', '{"scores": {"MNIST": 10}}',
    '{"scores": {"divtest": 1e400}}', '{"scores": [5]}', "[" * 100_000, "5", ""])
def test_scores_that_a_submission_wrote_into_its_report_do_not_count(line):
    assert collect.scores_in(line) is None


def test_odd_names_and_what_cannot_be_read_stop_nobody(folder, job, capsys):
    hand_in(folder, "a", "odd\udcff", "red\x1b[31m")
    (folder / "b_1_handin.tar.gz").write_bytes(gzip.compress(solution())[:-5])
    (folder / "c").mkdir()
    assert collect.main([str(folder)]) == 0
    assert sorted(rows(folder)) == ["a", "b", "odd\\udcff", "red\\x1b[31m"]
    printed = capsys.readouterr().out
    assert "it cannot be read: " in printed and "\x1b" not in printed
    assert "passed over, because this folder holds neither mytorch/ nor a tar or zip file: c" in printed


def test_where_it_cannot_write_it_says_so_in_a_sentence(folder):
    hand_in(folder, "a")
    (folder / "reports").write_text("no folder")
    ended = subprocess.run([sys.executable, collect.__file__, str(folder)], stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert re.fullmatch(r"collect.py: .*File exists: '.*reports'. The same command goes on from here.",
                        ended.stderr.decode().strip())


@pytest.mark.parametrize("code, seconds, says", [
    ("print('{}')", collect.JOB_SECONDS, "the report does not end in scores"),
    ("while True: pass", 0, "the grading ended with status -9")])
def test_a_grading_that_ends_without_scores_or_not_at_all_is_named(
        code, seconds, says, folder, job, monkeypatch):
    job.with_suffix("").write_text(code)
    monkeypatch.setattr(collect, "JOB_SECONDS", seconds)
    hand_in(folder, "a")
    assert collect.main([str(folder)]) == 0
    assert rows(folder)["a"]["total"] == "" and looks(folder)["a"].startswith(says)


def test_scores_without_landlock_only_where_staff_asks_for_it(folder, job):
    hand_in(folder, "a")
    assert collect.main([str(folder), "--without-landlock"]) == 0
    assert job.read_text().split()[-1] == "--without-landlock"


def test_no_more_jobs_run_than_there_are_processors(tmp_path, monkeypatch):
    running, most = set(), []

    class Counted:
        def __init__(self, submission, tarball, job, options, scratch):
            self.submission, self.asked = submission, 0
            running.add(self)
            most.append(len(running))

        def done(self):
            self.asked += 1
            if self.asked > self.submission.version:
                running.discard(self)
            return self not in running

    monkeypatch.setattr(collect, "Grading", Counted)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    submissions = [handins.Submission("a", version, tmp_path / "a") for version in range(9)]
    ended = collect.grade_all({one: one.path for one in submissions}, 3, None, [], str(tmp_path))
    assert sorted(grading.submission for grading in ended) == submissions
    assert max(most) == 3


def test_the_page_shows_each_plot_and_a_hostile_name_or_file_is_only_text(folder, job):
    plot, name = png(text=b"<script>alert(1)</script>"), "<script>alert(1)<∕script>&\"'"
    hand_in(folder, name, plot=plot)
    hand_in(folder, "=1+1", plot=b"<script>alert(2)</script>")
    assert collect.main([str(folder)]) == 0
    page = (folder / "plots.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1 and page.count("<figure ") == 2
    assert f"data:image/png;base64,{collect.base64.b64encode(plot).decode()}" in page
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page and "http://" not in page and "src=\"h" not in page
    assert "<li>the plot is not a PNG file: <a href=\"#h1\">=1+1</a></li>" in page
    assert "'=1+1" in rows(folder)  # no formula for a spreadsheet


def test_what_is_no_tarball_and_a_file_in_the_place_of_another_are_named(folder, job):
    (folder / "a_1_handin.tar").write_bytes(b"my homework")
    hand_in(folder, "b", **{"mytorch/tensor/__init__.py": b"pass\n", "README.md": b"read me\n"})
    assert collect.main([str(folder)]) == 0
    assert looks(folder)["a"].startswith("no tarball to grade: ")
    assert looks(folder)["b"] == (
        "mytorch/tensor/__init__.py: Python imports it in the place of mytorch/tensor.py")


def of_the_reference(change, student=""):
    """A tarball of the reference solution with its sources changed (text → text)."""
    sources = {name: change((ROOT / name).read_text(encoding="utf-8")).encode()
               for name in packing.find_files(ROOT)[0] if name.endswith(".py")}
    return packing.tar_bytes({**sources, packing.PLOT: png(text=student.encode())})


@pytest.mark.slow
def test_solutions_that_differ_in_names_and_comments_alone_are_named_and_plots_accuse_nobody(
        folder, job, capsys):
    blank = packing.tar_bytes({name: content for name, content in looking.given().items()})
    for name, content in {
            "a": of_the_reference(lambda text: text),
            "b": of_the_reference(lambda text: text + "# all my own work\n"),
            "c": of_the_reference(lambda text: text.replace("grad_output", "g").replace("):\n", ") :\n\n")),
            "d": of_the_reference(lambda text: re.sub("unbroadcast|mean", "other", text) + "other = 1\n"),
            "blank": blank, "blank too": blank}.items():
        (folder / f"{name}_1_handin.tar").write_bytes(content)
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
def test_the_real_job_grades_the_reference_the_handout_and_what_is_no_tarball(folder, monkeypatch):
    monkeypatch.setattr(collect.autolab.record, "seeds", lambda: autolab_job.SEEDS)
    for name, content in {"reference": of_the_reference(lambda text: text),
                          "handout": packing.tar_bytes(looking.given()), "text": b"homework"}.items():
        (folder / f"{name}_1_handin.tar").write_bytes(content)
    handout.write(handout.make(ROOT, solved=["1.1.1"]), ROOT, folder / "the files")
    assert collect.main([str(folder), "--without-landlock"]) == 0
    totals = {student: row["total"] for student, row in rows(folder).items()}
    assert totals == {"reference": str(FULL_SCORE), "handout": "0", "text": "0", "the files": "5"}
