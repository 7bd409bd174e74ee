"""collect.py: a folder of handins becomes scores.csv and plots.html.
A stand-in for the grading job makes it quick; one slow test grades for true."""

import csv
import json
import re
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import collect
from handin import tarball as handin
import handout
import pytest
from problems import FULL_SCORE, GRADED

ROOT = collect.ROOT
FULL = {problem.key: problem.points for problem in GRADED}

# Notes that it ran; ends without scores where the tarball says so.
STAND_IN = f"""
import sys
tarball = open(sys.argv[2], "rb").read()
with open(__file__ + ".ran", "a") as file:
    print(sys.argv[2], *sys.argv[3:], file=file)
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
    monkeypatch.setattr(collect, "JOB", path)
    return Path(f"{path}.ran")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "handins"
    folder.mkdir()
    return folder


def png(width=640, height=480, text=b""):
    """A PNG file of one colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"tEXt", b"Title\0" + text) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def solution(plot=png(), **changes):
    """A tarball: small files, a plot and others (name with / → bytes)."""
    files = {"mytorch/tensor.py": b"pass\n", handin.PLOT: plot, **changes}
    return handin.tar_bytes({name: content for name, content in files.items() if content})


def rows(folder):
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        return {(row["email"], row["version"]): row for row in csv.DictReader(file)}


def looks(folder):
    return {student: row["look at"] for (student, _), row in rows(folder).items()}


@pytest.mark.slow
def test_the_newest_version_of_each_student_is_graded_or_all_of_them(folder, job):
    for name in ("a_b@x.edu_9", "a_b@x.edu_10", "c@x.edu_1"):
        (folder / f"{name}_handin.tar").write_bytes(solution(png(text=name.encode())))
    (folder / "handin.tar").write_bytes(b"")
    assert collect.main([str(folder)]) == 0
    assert list(rows(folder)) == [("a_b@x.edu", "10"), ("c@x.edu", "1")]
    assert len(job.read_text().splitlines()) == 2
    assert collect.main([str(folder), "--all"]) == 0
    assert list(rows(folder)) == [("a_b@x.edu", "9"), ("a_b@x.edu", "10"), ("c@x.edu", "1")]
    assert len(job.read_text().splitlines()) == 3


def test_a_row_has_the_scores_under_autolabs_keys_and_none_for_what_is_graded_by_hand(folder, job):
    (folder / "a@x.edu_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    row = rows(folder)["a@x.edu", "1"]
    assert row["total"] == str(FULL_SCORE) and row["MNIST"] == "" and row["look at"] == ""
    assert {key: int(row[key]) for key in FULL} == FULL
    assert (folder / "reports" / "a@x.edu_1_handin.tar.txt").read_text().startswith("a report\n")


def test_a_second_run_goes_on_where_the_first_stopped(folder, job, capsys):
    for name in "abc":
        (folder / f"{name}_1_handin.tar").write_bytes(solution(png(text=name.encode())))
    assert collect.main([str(folder)]) == 0
    progress = folder / "reports" / "progress.jsonl"
    lines = progress.read_text().split("\n")[1:]
    progress.write_text("\n".join(lines[:2]) + "\n" + lines[2][:50])  # stopped while it wrote
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "2 of 3 are graded already" in capsys.readouterr().out
    assert len(job.read_text().splitlines()) == 1
    assert len(rows(folder)) == 3
    (folder / "b_1_handin.tar").write_bytes(solution(png(text=b"another")))
    job.unlink()
    assert collect.main([str(folder)]) == 0
    assert "b_1_handin.tar" in job.read_text() and len(job.read_text().splitlines()) == 1


def test_what_another_grader_found_does_not_count(tmp_path):
    collect.Progress(tmp_path / "progress", "old").add("digest", {"divtest": 5})
    assert collect.Progress(tmp_path / "progress", "old").found == {"digest": {"divtest": 5}}
    assert collect.Progress(tmp_path / "progress", "new").found == {}


def test_a_grading_without_scores_has_none_says_why_and_is_tried_again(folder, job):
    (folder / "a_1_handin.tar").write_bytes(solution(**{"hw1/x.py": b"# no host for this"}))
    for count in (1, 2):
        assert collect.main([str(folder)]) == 0
        row = rows(folder)["a", "1"]
        assert row["total"] == row["divtest"] == ""
        assert row["look at"] == "No scores: this host is at fault"
        assert len(job.read_text().splitlines()) == count
    assert "no score" in (folder / "plots.html").read_text(encoding="utf-8")


def test_scores_of_a_few_problems_have_no_total_and_are_tried_again(folder, job, capsys):
    (folder / "a_1_handin.tar").write_bytes(solution(**{"hw1/x.py": b"# no time for this"}))
    for count in (1, 2):
        assert collect.main([str(folder)]) == 0
        row = rows(folder)["a", "1"]
        assert (row["divtest"], row["multest"], row["total"]) == ("5", "", "")
        assert row["look at"].startswith("not all problems were run: ")
        assert "look at a_1_handin.tar: not all problems were run: " in capsys.readouterr().out
        assert len(job.read_text().splitlines()) == count
    assert "version 1: incomplete" in (folder / "plots.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_in_the_folder_for_temporary_files(
        number, folder, job, tmp_path, monkeypatch):
    stop = f"os.kill(os.getppid(), {number:d})\n"
    collect.JOB.write_text(
        f"import os, tempfile, time\ntempfile.mkdtemp()\n{stop}{stop}time.sleep(60)\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(collect.tempfile, "tempdir", str(scratch))
    for name in "ab":
        (folder / f"{name}_1_handin.tar").write_bytes(solution())
    with pytest.raises(KeyboardInterrupt):
        collect.main([str(folder)])
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("line", [
    '{"scores": {"divtest": "5"}}', '{"scores": {"divtest": 6}}', '{"scores": {"MNIST": 10}}',
    '{"scores": {"divtest": 1e400}}', '{"scores": [5]}', "[" * 100_000, "5", ""])
def test_scores_that_a_submission_wrote_into_its_report_are_named_and_stop_nobody(line, folder, job):
    collect.JOB.write_text(f"print({line!r})")
    (folder / "a_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    assert rows(folder)["a", "1"]["total"] == ""
    assert looks(folder)["a"].startswith("the report does not end in scores")


def test_a_folder_and_an_odd_name_stop_nobody(folder, job, capsys):
    (folder / "b_1_handin.tar").mkdir()
    for name in ("a", "odd\udcff"):
        (folder / f"{name}_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    assert sorted(student for student, _ in rows(folder)) == ["a", "odd\\udcff"]
    assert "no file named email_version_handin.tar: b_1_handin.tar" in capsys.readouterr().out


def test_where_it_cannot_write_it_says_so_in_a_sentence(folder):
    (folder / "a_1_handin.tar").write_bytes(solution())
    (folder / "reports").write_text("no folder")
    ended = subprocess.run([sys.executable, collect.__file__, str(folder)], stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert re.fullmatch(r"collect.py: .*File exists: '.*reports'. The same command goes on from here.",
                        ended.stderr.decode().strip())


def test_a_grading_that_does_not_end_is_ended(folder, job, monkeypatch):
    collect.JOB.write_text("while True: pass")
    monkeypatch.setattr(collect, "JOB_SECONDS", 0)
    (folder / "a_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    assert looks(folder)["a"] == "the grading ended with status -9"


def test_scores_without_landlock_only_where_staff_asks_for_it(folder, job):
    (folder / "a_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder), "--without-landlock"]) == 0
    assert job.read_text().split()[-1] == "--without-landlock"


def test_no_more_jobs_run_than_there_are_processors(tmp_path, monkeypatch):
    running, most = set(), []

    class Counted:
        def __init__(self, submission, log, options, scratch):
            self.submission, self.asked = submission, 0
            running.add(self)
            most.append(len(running))

        def done(self):
            self.asked += 1
            if self.asked > self.submission.version:
                running.discard(self)
            return self not in running

    monkeypatch.setattr(collect, "Grading", Counted)
    submissions = [collect.Submission("a", version, tmp_path / "a") for version in range(9)]
    ended = [grading.submission for grading in collect.grade_all(submissions, tmp_path, 3, [])]
    assert sorted(ended) == submissions
    assert max(most) == 3


def test_the_page_shows_each_plot_and_a_hostile_name_or_file_is_only_text(folder, job):
    plot, name = png(text=b"<script>alert(1)</script>"), "<script>alert(1)<∕script>&\"'"
    (folder / f"{name}_1_handin.tar").write_bytes(solution(plot))
    (folder / "=1+1_1_handin.tar").write_bytes(solution(b"<script>alert(2)</script>"))
    assert collect.main([str(folder)]) == 0
    page = (folder / "plots.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1 and page.count("<figure ") == 2
    assert f"data:image/png;base64,{collect.base64.b64encode(plot).decode()}" in page
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page and "http://" not in page and "src=\"h" not in page
    assert ("'=1+1", "1") in rows(folder)  # no formula for a spreadsheet


@pytest.mark.parametrize("plot, says", [
    (b"", "no plot"),
    (b"GIF89a", "plot is no PNG file"),
    (b"\x89PNG\r\n\x1a\n", "plot is no PNG file"),
    (b"\x89PNG\r\n\x1a\n0000IHDR", "plot is no PNG file"),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "plot is no PNG file"),
    (png(width=100_000), "plot too large: 100000 x 480 pixels"),
    (png(text=bytes(2 << 20)), "plot too large: 2,097,"),
])
def test_what_is_no_plot_is_not_shown_but_named(plot, says):
    shown, wrong = collect.plot_of({handin.PLOT: plot})
    assert shown == b"" and wrong.startswith(says)


def test_what_is_no_tarball_is_named(folder, job):
    (folder / "a_1_handin.tar").write_bytes(b"my homework")
    assert collect.main([str(folder)]) == 0
    assert looks(folder)["a"].startswith("no tarball to grade: ")


def test_a_file_in_the_place_of_another_is_named(folder, job):
    (folder / "a_1_handin.tar").write_bytes(solution(
        **{"mytorch/tensor/__init__.py": b"pass\n", "README.md": b"read me\n"}))
    assert collect.main([str(folder)]) == 0
    assert looks(folder) == {
        "a": "mytorch/tensor/__init__.py: Python imports it in the place of mytorch/tensor.py"}


def of_the_reference(change, student=""):
    """A tarball of the reference solution with its sources changed (text → text)."""
    sources = {name: change((ROOT / name).read_text(encoding="utf-8")).encode()
               for name in handin.find_files(ROOT)[0] if name.endswith(".py")}
    return handin.tar_bytes({**sources, handin.PLOT: png(text=student.encode())})


@pytest.mark.slow
def test_solutions_that_differ_in_white_space_and_comments_alone_are_named(folder, job, capsys):
    given = {name: text.encode() for name, text in handout.make(ROOT).items()
             if name.startswith(handin.FOLDERS)}
    for name, content in {
            "a": of_the_reference(lambda text: text, "a"),
            "b": of_the_reference(lambda text: text + "# all my own work\n", "b"),
            "c": of_the_reference(lambda text: text.replace("):\n", ") :  # here\n\n"), "c"),
            "d": of_the_reference(lambda text: re.sub("grad|mean", "other", text), "d"),
            "blank": handin.tar_bytes(given),
            "blank too": handin.tar_bytes(given)}.items():
        (folder / f"{name}_1_handin.tar").write_bytes(content)
    assert collect.main([str(folder)]) == 0
    found = looks(folder)
    assert found["a"].startswith("same as b, c: hw1/mnist.py, mytorch/autograd_engine.py, ")
    assert "mytorch/nn/functional.py" in found["a"] and "the plot" not in found["a"]
    assert found["b"].startswith("same as a, c: ") and found["c"].startswith("same as a, b: ")
    lines = [line for line in capsys.readouterr().out.splitlines() if "hw1/mnist.py" in line]
    assert len(lines) == 1 and lines[0].startswith("the same of a, b, c: hw1/mnist.py, ")
    assert found["d"] == ""
    assert found["blank"] == found["blank too"] == "no plot"


def test_the_same_plot_of_two_students_is_named(folder, job):
    for name in "ab":
        (folder / f"{name}_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    assert looks(folder) == {"a": "same as b: the plot", "b": "same as a: the plot"}
    for name in "cdefg":
        (folder / f"{name}_1_handin.tar").write_bytes(solution())
    assert collect.main([str(folder)]) == 0
    assert looks(folder)["a"] == "same as b, c, d, e, f and 1 more: the plot"


def test_words_leave_out_white_space_comments_and_docstrings():
    source = b'"""Doc."""\ndef f(x):  # why\n    """Doc."""\n\n    return  x +1\n'
    assert collect.words_of(source) == collect.words_of(b"def f(x):\n  return x + 1")
    assert collect.words_of(source) != collect.words_of(b"def f(x):\n  return x + 2")
    assert collect.words_of(b"x = 'a'") != collect.words_of(b"x = 'b'")


@pytest.mark.parametrize("source", [
    b"", b"\0\xff\xfe", b"(" * 50_000, b"'''never closed", b"  x\n y\n", b"\\" * 1000, b"'" * 9999])
def test_words_of_what_is_no_python_are_found_all_the_same(source):
    assert isinstance(collect.words_of(source), list)


def test_a_folder_without_handins_or_that_does_not_exist_is_refused(folder, capsys):
    (folder / "a_1_handin.tar.gz").write_bytes(b"")
    assert collect.main([str(folder)]) == 1
    printed = capsys.readouterr()
    assert "holds no email_version_handin.tar" in printed.err
    assert "passed over, as it is no file named email_version_handin.tar: a_1_handin.tar.gz" in printed.out
    assert collect.main([str(folder / "nowhere")]) == 1
    assert "there is no folder " in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_job_grades_the_reference_the_handout_and_what_is_no_tarball(folder):
    given = {name: text.encode() for name, text in handout.make(ROOT).items()
             if name.startswith(handin.FOLDERS)}
    for name, content in {"reference": of_the_reference(lambda text: text),
                          "handout": handin.tar_bytes(given), "text": b"homework"}.items():
        (folder / f"{name}_1_handin.tar").write_bytes(content)
    assert collect.main([str(folder), "--without-landlock"]) == 0
    totals = {student: row["total"] for (student, _), row in rows(folder).items()}
    assert totals == {"reference": str(FULL_SCORE), "handout": "0", "text": "0"}
    assert (ROOT / "autograder/staff/answers.py").exists()
