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

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal
JOB_SECONDS = 180  # at most, for one handin
BY_HAND = [problem.key for problem in PROBLEMS if problem.by_hand]


# Grading, several at a time


class Grading:
    """A ``job`` (Path) that grades one handin, the file ``tarball``; what it unpacks goes to a
    folder (str) that others share, and so does its report until it has ended."""

    def __init__(self, submission, tarball, job, options, scratch):
        self.submission = submission
        self.log = Path(scratch, f"{report_name(submission)}.txt")
        self.give_up = time.monotonic() + JOB_SECONDS
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-B", str(job), str(tarball.resolve()), *options],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                preexec_fn=let_stop, env={**os.environ, "TMPDIR": scratch})

    def done(self):
        """Whether it has ended; ends it if it takes too long."""
        if time.monotonic() > self.give_up:
            self.stop()
        return self.process.poll() is not None

    def stop(self):
        self.process.kill()
        self.process.wait()

    def scores(self):
        """What stands in the last line of the report: a dict of key → points, or a sentence that
        says why there are no scores."""
        last = self.log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
        if self.process.returncode != 0:
            return last or f"the grading ended with status {self.process.returncode}"
        scores = scores_in(last)
        return ("the report does not end in scores: read the code of this handin"
                if scores is None else scores)


def scores_in(line):
    """The scores in a report's last line, key → points; None if there are none that can be so.
    Where there is no Landlock, a submission can write what it likes there."""
    known = {problem.key: (0, problem.points) for problem in GRADED}
    try:
        scores = json.loads(line)["scores"]
        possible = all(type(points) is int and points in known[key]
                       for key, points in scores.items())
    except Exception:  # any form that JSON can have
        return None
    return scores if possible else None


def grade_all(tarballs, at_a_time, job, options, scratch):
    """Yield a Grading for each of ``tarballs`` (Submission → Path) when it has ended, in whatever
    order."""
    waiting, running = list(reversed(list(tarballs))), []
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                submission = waiting.pop()
                signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # else its number could be lost
                try:
                    running.append(Grading(submission, tarballs[submission], job, options, scratch))
                finally:
                    let_stop()
            for grading in [grading for grading in running if grading.done()]:
                running.remove(grading)
                yield grading
            time.sleep(0.02)
    finally:
        for grading in running:
            grading.stop()


@contextlib.contextmanager
def scratch_of(folder):
    """Context with a folder (str) for what is of no use afterwards. A run that was ended by force
    has left one of the same name, which goes first; a request to stop removes it, too."""
    name = hashlib.sha256(os.fsencode(str(folder.resolve()))).hexdigest()[:16]
    scratch = os.path.join(tempfile.gettempdir(), f"mytorch-handins-{os.getuid()}-{name}")
    if os.path.lexists(scratch):
        jail.remove_tree(scratch, patience=60.0)
    os.mkdir(scratch, 0o700)  # which somebody else's must not be
    before = {number: signal.signal(number, interrupt_once) for number in STOPPING
              if signal.getsignal(number) != signal.SIG_IGN}  # as under nohup
    try:
        yield scratch
    finally:
        ignore_stopping()
        jail.remove_tree(scratch, patience=60.0)  # also what the stopped ones have left
        for number, action in before.items():
            signal.signal(number, action)


def ignore_stopping():
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def interrupt_once(*_):
    """Takes the first request to stop; a second one would come in the midst of the cleaning up."""
    ignore_stopping()
    raise KeyboardInterrupt


def let_stop():
    """Let requests to stop come in again, and those that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


class Progress:
    """Remembers what has been graded, by line, so that an interrupted run can go on.

    Args:
        path (Path): the file.
        grader (str): version of the grader; what another one found does not count.
    """

    def __init__(self, path, grader):
        self.path, self.grader = path, grader
        self.found = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                if entry["grader"] == grader:
                    self.found[entry["handin"]] = entry["scores"]
            except (ValueError, KeyError, TypeError):  # cut off by the interruption
                continue

    def add(self, digest, scores):
        self.found[digest] = scores
        entry = {"handin": digest, "grader": self.grader, "scores": scores}
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(entry))  # the line before may have been cut off


def unpacked_grader(folder):
    """The grader as Autolab gets it, in a new folder (Path): the Path of its job, and its version."""
    for name, content in autolab.packed().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    compileall.compile_dir(str(folder), quiet=2)  # once, not in each job
    staff = folder / "autograder" / "staff"
    return staff / "job.py", (staff / "version").read_text()


def grade_what_is_left(tarballs, reports, options, scratch):
    """Grade what an earlier run has not; returns dict of Submission → scores, or why there are
    none."""
    job, version = unpacked_grader(Path(scratch, "grader"))
    progress = Progress(reports / "progress.jsonl", version)
    digests = {submission: hashlib.sha256(tarball.read_bytes()).hexdigest()
               for submission, tarball in tarballs.items()}
    graded = {submission: progress.found[digest] for submission, digest in digests.items()
              if digest in progress.found}
    left = {one: tarball for one, tarball in tarballs.items() if one not in graded}
    if graded:
        print(f"{len(graded)} of {len(tarballs)} are graded already.")
    started = time.monotonic()
    with contextlib.closing(grade_all(
            left, isolation.processors(), job, options, scratch)) as grading_now:
        for count, ended in enumerate(grading_now, start=1):
            scores = graded[ended.submission] = ended.scores()
            shutil.move(str(ended.log), str(reports / ended.log.name))
            if is_complete(scores):  # else the next run tries again
                progress.add(digests[ended.submission], scores)
            show_progress(count, len(left), started)
    return graded


def report_name(submission):
    """What the files that are written about a Submission are called, without their endings."""
    return f"{submission.student}_{submission.version}"


def is_complete(scores):
    """Whether these are scores of all problems, neither of a few nor a sentence."""
    return isinstance(scores, dict) and all(problem.key in scores for problem in GRADED)


def show_progress(done, total, started):
    """A bar on a terminal, a line for every tenth elsewhere."""
    rate = (time.monotonic() - started) / done
    text = f"{done}/{total}, about {rate * (total - done):.0f} s left"
    if sys.stdout.isatty():
        bar = "#" * (40 * done // total)
        print(f"\r[{bar:.<40}] {text}   ", end="\n" if done == total else "", flush=True)
    elif done == total or done * 10 // total > (done - 1) * 10 // total:
        print(text, flush=True)


# What a person should look at


class Result(NamedTuple):
    """What is known of one handin.

    Attributes:
        submission (Submission): which.
        scores: dict of key → points, those given by hand among them, or why there are none.
        look (list of str): what a person should look at.
        plot (bytes): its plot, b"" if there is none to show.
        plot_is_bad (str): what is wrong with the plot, "" if nothing.
    """

    submission: handins.Submission
    scores: object
    look: list
    plot: bytes
    plot_is_bad: str

    @property
    def total(self):
        """All points, or "" where a problem has no score."""
        return sum(self.scores.values()) if is_complete(self.scores) else ""

    @property
    def total_in_words(self):
        if self.total != "":
            marked = sum(p.points for p in PROBLEMS if p.by_hand and p.key in self.scores)
            return f"{self.total}/{FULL_SCORE + marked}"
        return "incomplete" if isinstance(self.scores, dict) else "no score"


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
        if not is_complete(scores):
            look = [why_no_total(scores), *look]
        if files and wrong:
            look.append(wrong)
        results.append(Result(submission, scores, look, plot, wrong))
        for name, digest in looks.fingerprints(files).items():
            same[name, digest].append(results[-1])
        own = looks.own_parts(files)
        if own:
            (comparison / f"{report_name(submission)}.py").write_bytes(own)
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


def why_no_total(scores):
    """Why these scores, or this sentence, have no total."""
    if isinstance(scores, str):
        return scores
    missing = sum(problem.key not in scores for problem in GRADED)
    return f"not all problems were run: {missing} of {len(GRADED)} have no score"


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


def some_of(names):
    """Them, ten at most."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


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
    rows = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    marks = {}
    for row in rows:
        for key in BY_HAND:
            if (row.get(key) or "").strip():
                try:
                    number = float(row[key].replace(",", "."))
                    number = int(number) if number == int(number) else number
                except (ValueError, OverflowError):
                    raise OSError(f"{path}: {key} of {row['student']} is no number: "
                                  f"{shown(row[key])}") from None
                marks.setdefault((row["student"], row["version"]), {})[key] = number
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
            scores = result.scores if isinstance(result.scores, dict) else {}
            row = [*row_of(result.submission), result.total,
                   *(scores.get(problem.key, "") for problem in PROBLEMS),
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
body {{ font: 15px sans-serif; margin: 1em; background: #f4f4f4; color: #111; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 10px; }}
figure {{ margin: 0; padding: 8px; background: #fff; border: 1px solid #ccc; }}
img {{ width: 100%; height: 260px; object-fit: contain; }}
.none {{ height: 260px; display: grid; place-items: center; color: #a00; }}
figcaption, li {{ overflow-wrap: anywhere; }}
.look {{ color: #a00; }}
</style>
<h1>MNIST plots of {count} handins</h1>
<ul>{look}</ul>
<main>
"""

FIGURE = """\
<figure id="{anchor}">{picture}
<figcaption><b>{student}</b>, version {version}: {total}{look}</figcaption></figure>
"""


def in_html(text):
    return html.escape(shown(text))


def write_plots(results, path):
    """One page that holds every plot beside the name, and needs no other file."""
    anchors = {id(result): f"h{number}" for number, result in enumerate(results)}
    look = "".join(
        f"<li>{in_html(reason)}: " + ", ".join(
            f'<a href="#{anchors[id(result)]}">{in_html(result.submission.student)}</a>'
            for result in having) + "</li>"
        for reason, having in reasons_in(results).items())
    with written_whole(path) as file:
        file.write(PAGE.format(count=len(results), look=look or "<li>Nothing is odd.</li>"))
        for result in results:
            data = base64.b64encode(result.plot).decode()
            file.write(FIGURE.format(
                anchor=anchors[id(result)], student=in_html(result.submission.student),
                version=result.submission.version, total=result.total_in_words,
                look="".join(f'<br><span class="look">{in_html(words)}</span>'
                             for words in result.look),
                picture=f'<img src="data:image/png;base64,{data}" alt="plot">' if data else
                        f'<div class="none">{in_html(result.plot_is_bad)}</div>'))
        file.write("</main>\n")


def reasons_in(results):
    """What there is to look at: reason → the Results that it holds for."""
    reasons = collections.defaultdict(list)
    for result in results:
        for reason in result.look:
            reasons[reason].append(result)
    return reasons


def list_what_to_look_at(results, others):
    """Print each reason once, with the names it holds for."""
    reasons = [(reason, [result.submission.student for result in having])
               for reason, having in reasons_in(results).items()]
    passed_over = collections.defaultdict(list)
    for reason, name in others:
        passed_over[f"passed over, because {reason}"].append(name)
    for reason, names in [*reasons, *passed_over.items()]:
        print(shown(f"{reason}: {some_of(names)}"))


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
    with (reports / "progress.jsonl").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"collect.py: another collect.py is at work on {folder}", file=sys.stderr)
            return 1
        read_marks(folder / "scores.csv")  # what is wrong in it is told now, not after the grading
        with scratch_of(folder) as scratch:
            graded, tarballs = {}, {}
            for submission in submissions:
                try:
                    tarballs[submission] = handins.as_tar(submission, Path(scratch))
                except packing.HandinError as error:
                    graded[submission] = f"it {error}".replace(f"{submission.path.name} ", "", 1)
            graded.update(grade_what_is_left(
                tarballs, reports, ["--without-landlock"] * options.without_landlock, scratch))
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
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from here.")
    # No room, no leave to write, no process, a handin that is gone.
    except (OSError, autolab.handout.HandoutError) as error:
        sys.exit(f"collect.py: {error}. The same command goes on from here.")
