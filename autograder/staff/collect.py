"""Grades a folder of downloaded handins, and puts their MNIST plots on one page to mark by hand.
`python3 autograder/staff/collect.py FOLDER` writes FOLDER/scores.csv and FOLDER/plots.html."""

import argparse
import base64
import collections
import contextlib
import csv
import functools
import hashlib
import html
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import tokenize
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import handout  # noqa: E402
from packages import GRADER, ROOT, STAFF  # noqa: E402
from handin import tarball as handin  # noqa: E402
from processes import leftovers  # noqa: E402
from problems import FULL_SCORE, GRADED, PROBLEMS  # noqa: E402

JOB = STAFF / "job.py"
HANDIN = re.compile(r"(?P<student>.+)_(?P<version>\d{1,9})_handin\.tar")  # as Autolab names them
WRITTEN = ("scores.csv", "plots.html")  # by this program
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a closed terminal
JOB_SECONDS = 180  # at most, for one handin
PLOT_BYTES, PLOT_PIXELS = 1 << 20, 4000  # at most; pixels each way
FILE_BYTES = 200_000  # of a file that is compared with others'
OWN_WORDS = 100  # that a file needs beside the handout's, to be compared with others'


class Submission(NamedTuple):
    """A downloaded tarball: whose it is, which of theirs, and where."""

    student: str
    version: int
    path: Path


def find_handins(folder, every_version=False):
    """The handins in a folder, sorted by student, and the names of other files in it.

    Args:
        folder (Path): where they were unpacked.
        every_version (bool): all of each student, not the newest alone.
    """
    found, others = [], []
    for path in sorted(folder.iterdir()):
        name = HANDIN.fullmatch(path.name)
        if name and path.is_file():
            found.append(Submission(name["student"], int(name["version"]), path))
        elif (name or path.is_file()) and path.name not in WRITTEN and path.name[0] != ".":
            others.append(path.name)
    found.sort(key=lambda one: (one.student, one.version))
    newest = {one.student: one for one in found}
    return found if every_version else list(newest.values()), others


# Grading, several at a time


class Grading:
    """A job that grades one handin; its report goes to a file of its own, and what it unpacks to
    a folder (str) that others share."""

    def __init__(self, submission, log, options, scratch):
        self.submission, self.log = submission, log
        self.give_up = time.monotonic() + JOB_SECONDS
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(JOB), "--handin", str(submission.path.resolve()), *options],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                env={**os.environ, "TMPDIR": scratch})

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


def grade_all(submissions, folder, at_a_time, options):
    """Yield each Grading when it has ended, in whatever order."""
    waiting, running = list(reversed(submissions)), []
    scratch = tempfile.mkdtemp(prefix="mytorch-handins-")
    before = {number: signal.signal(number, interrupt_once) for number in STOPPING
              if signal.getsignal(number) != signal.SIG_IGN}  # as under nohup
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                submission = waiting.pop()
                log = folder / f"{submission.path.name}.txt"
                running.append(Grading(submission, log, options, scratch))
            for grading in [grading for grading in running if grading.done()]:
                running.remove(grading)
                yield grading
            time.sleep(0.02)
    finally:
        ignore_stopping()
        for grading in running:
            grading.stop()
        leftovers.remove_tree(scratch, patience=60.0)  # also what the stopped ones have left
        for number, action in before.items():
            signal.signal(number, action)


def ignore_stopping():
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def interrupt_once(*_):
    """Takes the first request to stop; a second one would come in the midst of the cleaning up."""
    ignore_stopping()
    raise KeyboardInterrupt


class Progress:
    """Remembers what has been graded, by line, so that an interrupted run can go on.

    Args:
        path (Path): the file.
        grader (str): digest of the grader; what another one found does not count.
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


def grade_what_is_left(submissions, reports, without_landlock):
    """Grade what an earlier run has not; returns dict of Submission → scores, or why there are
    none."""
    grader = digest_of(*sorted(GRADER.glob("*.py")), *sorted(JOB.parent.glob("*.py")))
    progress = Progress(reports / "progress.jsonl", grader)
    digests = {submission: digest_of(submission.path) for submission in submissions}
    graded = {submission: progress.found[digest] for submission, digest in digests.items()
              if digest in progress.found}
    left = [submission for submission in submissions if submission not in graded]
    if graded:
        print(f"{len(graded)} of {len(submissions)} are graded already.")
    options = ["--without-landlock"] if without_landlock else []
    started = time.monotonic()
    with contextlib.closing(grade_all(left, reports, processors(), options)) as grading_now:
        for count, ended in enumerate(grading_now, start=1):
            graded[ended.submission] = ended.scores()
            if is_complete(graded[ended.submission]):  # else the next run tries again
                progress.add(digests[ended.submission], graded[ended.submission])
            show_progress(count, len(left), started)
    return graded


def is_complete(scores):
    """Whether these are scores of all problems, neither of a few nor a sentence."""
    return isinstance(scores, dict) and all(problem.key in scores for problem in GRADED)


def processors():
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def digest_of(*paths):
    """A short name for the content of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


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


def read(path):
    """Files (name → bytes) of a handin that count, as the grader takes them, and what is odd about
    the tarball (list of str)."""
    try:
        files, remarks = handin.read(path)
    except handin.HandinError as error:
        return {}, [f"no tarball to grade: {error}"]
    # That a README was passed over is not odd.
    return files, [re.sub("^look at ", "", remark) for remark in remarks
                   if not remark.startswith("passed over: ")]


def plot_of(files):
    """The plot of a handin, or "" with what is wrong with it: (bytes, str)."""
    plot = files.get(handin.PLOT, b"")
    if not plot:
        return b"", "no plot"
    if len(plot) > PLOT_BYTES:
        return b"", f"plot too large: {len(plot):,} bytes"
    if plot[:8] != b"\x89PNG\r\n\x1a\n" or plot[12:16] != b"IHDR" or len(plot) < 24:
        return b"", "plot is no PNG file"
    size = struct.unpack(">II", plot[16:24])
    if max(size) > PLOT_PIXELS:
        return b"", f"plot too large: {size[0]} x {size[1]} pixels"
    return plot, ""


def words_of(source):
    """The words of a Python file, without white space, comments and docstrings.

    Args:
        source (bytes): anything; what is no Python counts as one word.
    """
    text, words, starts = source.decode("utf-8", "replace"), [], True
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.COMMENT, tokenize.NL):
                continue
            if token.string.strip() and not (starts and token.type == tokenize.STRING):
                words.append(token.string)
            starts = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    except Exception:  # hostile or broken; which errors there are depends on the version
        return ["".join(text.split())]
    return words


@functools.lru_cache(maxsize=None)
def words_given():
    """How often each word stands in each file of the handout: name → Counter."""
    return {name: collections.Counter(words_of(text.encode()))
            for name, text in handout.make(ROOT).items()
            if name.endswith(".py") and name.startswith(handin.FOLDERS)}


def fingerprints(files):
    """Digest of each file (name → str) that holds enough beside the handout's to compare."""
    found = {}
    for name, given in words_given().items():
        if len(files.get(name, b"")) <= FILE_BYTES:
            words = words_of(files.get(name, b""))
            own = collections.Counter(words) - given
            if sum(own.values()) >= OWN_WORDS:
                found[name] = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return found


class Finding(NamedTuple):
    """What is known of one handin.

    Attributes:
        submission (Submission): which.
        scores: dict of key → points, or why there are none.
        look (list of str): what a person should look at.
        twins (list of str): who handed in the same, a sentence for each set of files.
    """

    submission: Submission
    scores: object
    look: list
    twins: list

    @property
    def total(self):
        """All points, or "" where a problem has no score."""
        return sum(self.scores.values()) if is_complete(self.scores) else ""

    @property
    def total_in_words(self):
        if self.total != "":
            return f"{self.total}/{FULL_SCORE}"
        return "incomplete" if isinstance(self.scores, dict) else "no score"


def examine(graded):
    """The Finding on each of some (Submission, scores), and what the groups of students handed in
    alike, the largest part first: (students, names of files)."""
    same, findings = collections.defaultdict(list), []
    for submission, scores in graded:
        files, remarks = read(submission.path)
        plot, wrong = plot_of(files)
        look = [no_total(scores)] * (not is_complete(scores))
        findings.append(Finding(submission, scores, look + remarks[:5] + [wrong] * bool(wrong), []))
        for name, digest in fingerprints(files).items():
            same[name, digest].append(findings[-1])
        if plot:
            same["the plot", hashlib.sha256(plot).hexdigest()].append(findings[-1])
    add_twins(findings, same)
    return findings, groups(same)


def no_total(scores):
    """Why these scores, or this sentence, have no total."""
    if isinstance(scores, str):
        return scores
    missing = sum(problem.key not in scores for problem in GRADED)
    return f"not all problems were run: {missing} of {len(GRADED)} have no score"


def groups(same):
    """Of ``same``, as add_twins has it, each set of students with all that just these share."""
    shared = collections.defaultdict(set)
    for (what, _), having in same.items():
        students = sorted({finding.submission.student for finding in having})
        if len(students) > 1:
            shared[tuple(students)].add(what)
    return sorted(((students, sorted(names)) for students, names in shared.items()),
                  key=lambda group: (-len(group[1]), group))


def add_twins(findings, same):
    """Note in each Finding which other students handed in the same.

    Args:
        findings (list of Finding): all.
        same (dict): (what, its digest) → the Findings that have it.
    """
    shared = collections.defaultdict(set)  # (submission, another student) → what both have
    for (what, _), having in same.items():
        students = {finding.submission.student for finding in having}
        for finding in having:
            for student in students - {finding.submission.student}:
                shared[finding.submission, student].add(what)
    twins = collections.defaultdict(list)  # (submission, what) → the other students
    for (submission, student), what in sorted(shared.items()):
        twins[submission, ", ".join(sorted(what))].append(student)
    for finding in findings:
        for (submission, what), students in twins.items():
            if submission == finding.submission:
                finding.twins.append(f"same as {some_of(students)}: {what}")


def some_of(students):
    """Their names, five at most."""
    more = f" and {len(students) - 5} more" if len(students) > 5 else ""
    return ", ".join(students[:5]) + more


# What is written


def write_scores(findings, path):
    """One row for each handin, with Autolab's keys as columns; those given by hand are empty."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["email", "version", "total", *(p.key for p in PROBLEMS), "look at"])
        for finding in findings:
            scores = finding.scores if isinstance(finding.scores, dict) else {}
            row = [finding.submission.student, finding.submission.version, finding.total,
                   *(scores.get(problem.key, "") for problem in PROBLEMS),
                   "; ".join(finding.look + finding.twins)]
            writer.writerow([as_text(value) for value in row])


def as_text(value):
    """The value, so that no spreadsheet takes it for a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


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
figcaption {{ overflow-wrap: anywhere; }}
.look {{ color: #a00; }}
</style>
<h1>MNIST plots of {count} handins</h1>
<p>To look at: {look}</p>
<main>
"""

FIGURE = """\
<figure id="{anchor}">{picture}
<figcaption><b>{student}</b>, version {version}: {total}{look}</figcaption></figure>
"""


def write_plots(findings, path):
    """One page that holds every plot beside the name, and needs no other file."""
    names = [(f"h{number}", finding) for number, finding in enumerate(findings)]
    links = ", ".join(f'<a href="#{anchor}">{html.escape(finding.submission.student)}</a>'
                      for anchor, finding in names if finding.look + finding.twins)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(PAGE.format(count=len(findings), look=links or "none"))
        for anchor, finding in names:
            plot, wrong = plot_of(read(finding.submission.path)[0])
            data = base64.b64encode(plot).decode()
            file.write(FIGURE.format(
                anchor=anchor, student=html.escape(finding.submission.student),
                version=finding.submission.version, total=finding.total_in_words,
                look="".join(f'<br><span class="look">{html.escape(words)}</span>'
                             for words in finding.look + finding.twins),
                picture=f'<img src="data:image/png;base64,{data}" alt="plot">' if plot else
                        f'<div class="none">{html.escape(wrong)}</div>'))
        file.write("</main>\n")


def printable(text):
    """The text without what could move the cursor or colour the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def list_what_to_look_at(findings, alike, others):
    """Print a line for each; a group of students who handed in the same has one together."""
    lines = [f"look at {finding.submission.path.name}: {words}"
             for finding in findings for words in finding.look]
    lines += [f"the same of {some_of(students)}: {', '.join(names)}" for students, names in alike]
    lines += [f"passed over, as it is no file named email_version_handin.tar: {name}" for name in others]
    for line in lines:
        print(printable(line))


def parse_arguments(arguments):
    """The options of the command line, as argparse's namespace."""
    parser = argparse.ArgumentParser(description="Grade a folder of downloaded handins.")
    parser.add_argument("folder", type=Path, metavar="FOLDER",
                        help="holds them as Autolab names them: email_version_handin.tar")
    parser.add_argument("--all", action="store_true",
                        help="grade all versions of each student, not the newest alone")
    parser.add_argument("--without-landlock", action="store_true",
                        help="grade also where a submission can write its own score")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Grade, and write what was found, as the command line says; returns the exit status."""
    options = parse_arguments(arguments)
    if not options.folder.is_dir():
        print(f"collect.py: there is no folder {options.folder}", file=sys.stderr)
        return 1
    submissions, others = find_handins(options.folder, options.all)
    if not submissions:
        print(f"collect.py: {options.folder} holds no email_version_handin.tar", file=sys.stderr)
        list_what_to_look_at((), (), others)
        return 1
    reports = options.folder / "reports"
    reports.mkdir(exist_ok=True)
    graded = grade_what_is_left(submissions, reports, options.without_landlock)
    findings, alike = examine((submission, graded[submission]) for submission in submissions)
    write_scores(findings, options.folder / "scores.csv")
    write_plots(findings, options.folder / "plots.html")
    list_what_to_look_at(findings, alike, others)
    print(f"Written: {options.folder / 'scores.csv'}, {options.folder / 'plots.html'}, and a report "
          f"on each in {reports}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the same command goes on from here.")
    except OSError as error:  # no room, no leave to write, no process, a handin that is gone
        sys.exit(f"collect.py: {error}. The same command goes on from here.")
