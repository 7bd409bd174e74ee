"""Grades a folder of downloaded handins, and puts their MNIST plots on one page to mark by hand.
`python3 autograder/staff/collect.py FOLDER` writes FOLDER/scores.csv and FOLDER/plots.html."""

import argparse
import base64
import collections
import compileall
import contextlib
import csv
import fcntl
import hashlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import packages  # noqa: E402, F401
import autolab  # noqa: E402
import handins  # noqa: E402
import looks  # noqa: E402
import jail  # noqa: E402
from handin import packing, unpacking  # noqa: E402
from processes import isolation  # noqa: E402
from problems import FULL_SCORE, GRADED, PROBLEMS  # noqa: E402

BY_HAND = [problem for problem in PROBLEMS if problem.by_hand]


# Grading, several at a time


@contextlib.contextmanager
def scratch_for(folder, progress):
    """Context with a folder (str) for what is of no use after a run on ``folder``. A run that was
    killed has left one of the same name, which goes first.

    Raises:
        OSError: while another run holds the file ``progress``.
    """
    name = hashlib.sha256(os.fsencode(str(folder.resolve()))).hexdigest()[:16]
    scratch = os.path.join(tempfile.gettempdir(), f"mytorch-handins-{os.getuid()}-{name}")
    with progress.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another collect.py is at work on {folder}") from None
        jail.remove_tree(scratch, patience=60.0)
        os.mkdir(scratch, 0o700)  # which somebody else's must not be
        try:
            yield scratch
        finally:
            jail.remove_tree(scratch, patience=60.0)  # also what stopped jobs have left


def unpacked_grader(folder):
    """The grader as Autolab gets it, in a new folder (Path): the Path of its job, and its version."""
    for name, content in autolab.packed().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    compileall.compile_dir(str(folder), quiet=2)  # once, not in each job
    staff = folder / "autograder" / "staff"
    return staff / "job.py", (staff / "version").read_text()


def grade_all(tarballs, reports, options, scratch):
    """Grade what an earlier run has not; a job for each handin, as many at a time as there are
    processors.

    Args:
        tarballs (dict): Submission → Path of its tarball.
        reports (Path): the folder for what students would read, and for the progress.
        options (list of str): of the jobs.
        scratch (str): the folder for whatever the jobs unpack.

    Returns:
        dict: Submission → scores, or a sentence that says why there are none.
    """
    job, version = unpacked_grader(Path(scratch, "grader"))
    progress = reports / "progress.jsonl"
    known = read_progress(progress, version)
    digests = {one: hashlib.sha256(tarball.read_bytes()).hexdigest()
               for one, tarball in tarballs.items()}
    graded = {one: known[digest] for one, digest in digests.items() if digest in known}
    if graded:
        print(f"{len(graded)} of {len(tarballs)} are graded already.")
    waiting, running = [one for one in reversed(list(tarballs)) if one not in graded], {}
    try:
        while waiting or running:
            while waiting and len(running) < isolation.processors():
                one = waiting.pop()
                running[one] = start(job, tarballs[one], options, report_of(one, reports), scratch)
            for one in [one for one, process in running.items() if process.poll() is not None]:
                scores = graded[one] = scores_of(report_of(one, reports), running.pop(one).returncode)
                if isinstance(scores, dict):  # else the next run tries again
                    add_progress(progress, version, digests[one], scores)
                print(f"\r{len(graded)} of {len(tarballs)} graded", end="", flush=True)
            time.sleep(0.02)
    finally:
        print()
        for process in running.values():
            process.kill()
            process.wait()
    return graded


def start(job, tarball, options, report, scratch):
    """Start a job (Path) that grades a tarball and writes what it says into ``report``; the Popen. It
    ends by itself, whatever happens."""
    with report.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-B", str(job), str(tarball.resolve()), *options],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            env={**os.environ, "TMPDIR": scratch})


def report_of(submission, folder, ending=".txt"):
    """The Path of the file in a folder that is written about a Submission."""
    return folder / f"{submission.student}_{submission.version}{ending}"


def scores_of(report, status):
    """What a job says in the last line of its report: key → points, or a sentence that says why there
    are no scores."""
    last = report.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    if status != 0:
        return last or f"the grading ended with status {status}"
    return scores_in(last) or "the report does not end in scores: read the code of this handin"


def scores_in(line):
    """The scores in a report's last line, key → points; None unless all are there and can be so.
    Where there is no Landlock, a submission can write what it likes there."""
    try:
        scores = json.loads(line)["scores"]
        if len(scores) == len(GRADED) and all(
                type(scores[problem.key]) is int and scores[problem.key] in (0, problem.points)
                for problem in GRADED):
            return scores
    except Exception:  # any form that JSON can have
        pass
    return None


def read_progress(path, version):
    """What that version of the grader has found: digest of a tarball → scores."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):  # cut off, where it was interrupted
            grader, digest, scores = json.loads(line)
            if grader == version:
                found[digest] = scores
    return found


def add_progress(path, version, digest, scores):
    """Remember scores, so that an interrupted run can go on."""
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps([version, digest, scores]))  # the line before may be cut off


# What a person should look at


class Result(NamedTuple):
    """What is known of one handin.

    Attributes:
        submission (Submission): which.
        scores: dict of key → points, those given by hand among them, or why there are none.
        look (list of str): what a person should look at.
        plot (bytes): its plot, b"" if there is none to show.
    """

    submission: handins.Submission
    scores: object
    look: list
    plot: bytes

    @property
    def points(self):
        """Key → points, empty where there are no scores."""
        return self.scores if isinstance(self.scores, dict) else {}

    @property
    def total(self):
        """All points, or "" where there are no scores."""
        return sum(self.points.values()) if self.points else ""

    @property
    def total_in_words(self):
        marked = sum(problem.points for problem in BY_HAND if problem.key in self.points)
        return f"{self.total}/{FULL_SCORE + marked}" if self.points else "no score"


def examine(graded, tarballs, marks, comparison):
    """The Results of all handins, a list; writes what each student has written into ``comparison``.

    Args:
        graded (dict): Submission → scores, or why there are none.
        tarballs (dict): Submission → Path of its tarball, for those that have one.
        marks (dict): (student, version) as text → what was given by hand, key → points.
        comparison (Path): the folder.
    """
    same, results = collections.defaultdict(list), []
    for submission, scores in graded.items():
        files, look = read(tarballs.get(submission))
        plot, wrong = looks.plot_of(files)
        if isinstance(scores, dict):
            scores = {**scores, **marks.get(row_of(submission), {})}
        else:
            look = [scores, *look]
        if files and wrong:
            look.append(wrong)
        results.append(Result(submission, scores, look, plot))
        for name, digest in looks.fingerprints(files).items():
            same[name, digest].append(results[-1])
        own = looks.own_parts(files)
        if own:
            report_of(submission, comparison, ".py").write_bytes(own)
    add_twins(same)
    return results


def read(tarball):
    """Files (name → bytes) of a tarball that count, as the grader takes them, and what is odd about
    it (list of str); nothing of None."""
    try:
        files, remarks = unpacking.read(tarball) if tarball else ({}, [])
    except packing.HandinError as error:
        return {}, ["no tarball to grade: it " + str(error).replace(f"{tarball.name} ", "", 1)]
    # That a README was passed over is not odd.
    return files, [re.sub("^look at ", "", remark) for remark in remarks
                   if not remark.startswith("passed over: ")][:5]


def add_twins(same):
    """Note in each Result what it has in common with those of other students.

    Args:
        same (dict): (name of a file, digest) → the Results that have it.
    """
    shared = collections.defaultdict(list)  # students → (names of files, their Results)
    for (name, _), having in same.items():
        students = sorted({result.submission.student for result in having})
        if len(students) > 1:
            shared[tuple(students)].append((name, having))
    for number, (_, files) in enumerate(sorted(shared.items()), start=1):
        names = ", ".join(sorted({name for name, _ in files}))
        for result in {id(one): one for _, having in files for one in having}.values():
            result.look.append(f"group {number}: the same, but for names and comments, in {names}")


def list_what_to_look_at(results, others):
    """Print each reason once, with the names it holds for; ``others`` are (reason, name) of what was
    passed over."""
    reasons = collections.defaultdict(list)
    for result in results:
        for reason in result.look:
            reasons[reason].append(result.submission.student)
    for reason, name in others:
        reasons[f"passed over, because {reason}"].append(name)
    for reason, names in reasons.items():
        print(shown(f"{reason}: {', '.join(names)}"))


# What is written


def row_of(submission):
    """The first two cells of a row of scores.csv, as text."""
    return as_text(shown(submission.student)), str(submission.version)


def shown(text):
    """The text with escape characters and the like written out, as ``\\x1b``: they could move the
    cursor or colour the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_text(value):
    """The value, so that no spreadsheet takes it for a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def read_marks(path):
    """What was typed into scores.csv for what is graded by hand: (student, version) → key → points.
    It may come back from a spreadsheet, which has semicolons and a mark of its own at the start."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    marks = collections.defaultdict(dict)
    for row in csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first.count)):
        for key in [problem.key for problem in BY_HAND if (row.get(problem.key) or "").strip()]:
            try:
                mark = float(row[key].replace(",", "."))
            except ValueError:
                raise OSError(f"{path}: {key} of {row['student']} is no number: "
                              f"{shown(row[key])}") from None
            marks[row["student"], row["version"]][key] = int(mark) if mark.is_integer() else mark
    return marks


@contextlib.contextmanager
def written_whole(path):
    """Context with a text file that takes the place of ``path`` when it is complete."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        yield file
    os.replace(str(part), str(path))


def write_scores(results, path):
    """One row for each handin, with Autolab's keys as columns."""
    with written_whole(path) as file:
        writer = csv.writer(file)
        writer.writerow(["student", "version", "total", *(p.key for p in PROBLEMS), "look at"])
        for result in results:
            row = [*row_of(result.submission), result.total,
                   *(result.points.get(problem.key, "") for problem in PROBLEMS),
                   shown("; ".join(result.look))]
            writer.writerow([as_text(value) for value in row])


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>MNIST plots</title>
<style>
body { font: 15px sans-serif; margin: 1em; background: #f4f4f4; color: #111; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 10px; }
figure { margin: 0; padding: 8px; background: #fff; border: 1px solid #ccc; }
img { width: 100%; height: 260px; object-fit: contain; }
figcaption { overflow-wrap: anywhere; }
.look { color: #a00; }
</style>
<h1>MNIST plots</h1>
<main>
"""

FIGURE = """\
<figure><img src="data:image/png;base64,{data}" alt="no plot">
<figcaption><b>{student}</b>, version {version}: {total}{look}</figcaption></figure>
"""


def write_plots(results, path):
    """One page that holds every plot beside the name, and needs no other file."""
    with written_whole(path) as file:
        file.write(PAGE)
        for result in results:
            file.write(FIGURE.format(
                data=base64.b64encode(result.plot).decode(),
                student=html.escape(shown(result.submission.student)),
                version=result.submission.version, total=result.total_in_words,
                look="".join(f'<br><span class="look">{html.escape(shown(words))}</span>'
                             for words in result.look)))
        file.write("</main>\n")


def parse_arguments(arguments):
    """The options of the command line, as argparse's namespace."""
    parser = argparse.ArgumentParser(description="Grade a folder of downloaded handins.")
    parser.add_argument("folder", type=Path, metavar="FOLDER",
                        help="holds them as Autolab, Canvas or Moodle names them, or a folder for "
                             "each student; tar, tar.gz, zip, or the files themselves")
    parser.add_argument("--all", action="store_true",
                        help="grade all versions of each student, not the newest alone")
    parser.add_argument("--without-landlock", action="store_true",
                        help="grade also where a submission can write its own score")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Grade, and write what was found, as the command line says; returns the exit status."""
    options = parse_arguments(arguments)
    folder = options.folder
    if not folder.is_dir():
        print(f"collect.py: there is no folder {folder}", file=sys.stderr)
        return 1
    submissions, others = handins.find(folder, options.all)
    if not submissions:
        print(f"collect.py: {folder} holds no handin", file=sys.stderr)
        list_what_to_look_at((), others)
        return 1
    reports, comparison = folder / "reports", folder / "for-comparison"
    reports.mkdir(exist_ok=True)
    read_marks(folder / "scores.csv")  # what is wrong in it is told now, not after the grading
    with scratch_for(folder, reports / "progress.jsonl") as scratch:
        unreadable, tarballs = {}, {}
        for submission in submissions:
            try:
                tarballs[submission] = handins.as_tar(submission, Path(scratch))
            except packing.HandinError as error:
                unreadable[submission] = f"it {error}".replace(f"{submission.path.name} ", "", 1)
        graded = {**unreadable, **grade_all(
            tarballs, reports, ["--without-landlock"] * options.without_landlock, scratch)}
        marks = read_marks(folder / "scores.csv")
        shutil.rmtree(str(comparison), ignore_errors=True)
        (comparison / "students").mkdir(parents=True)
        (comparison / "given.py").write_bytes(b"\n".join(looks.given().values()))
        results = examine({submission: graded[submission] for submission in submissions},
                          tarballs, marks, comparison / "students")
    write_scores(results, folder / "scores.csv")
    write_plots(results, folder / "plots.html")
    list_what_to_look_at(results, others)
    for student, version in sorted(marks.keys() - {row_of(one) for one in submissions}):
        print(f"no longer in scores.csv: the mark of {student}, version {version}: "
              f"{marks[student, version]}")
    print(f"Written to {folder}: scores.csv, plots.html, reports/ and for-comparison/")
    return 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal is as good as Ctrl-C
        if signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from here.")
    # No room, no leave to write, no process, a handin that is gone.
    except (OSError, autolab.handout.HandoutError) as error:
        sys.exit(f"collect.py: {error}. The same command goes on from here.")
