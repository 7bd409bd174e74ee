"""Grades one handin.tar as a job of Autolab, with inputs that it takes from many by chance.
autolab.py packs it, autograde-Makefile runs it; the last line it prints is the one Autolab reads."""

import sys

NO_SCORES = "No scores, for no fault of the submission: "
SAID = 3  # the exit status after such a line; autograde-Makefile knows it

if sys.version_info < (3, 8):
    print(NO_SCORES + "the host's python3 is %d.%d; 3.8 is needed." % sys.version_info[:2])
    sys.exit(SAID)

import argparse
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import time
import traceback
from pathlib import Path

STAFF = Path(__file__).resolve().parent
sys.path[0] = str(STAFF.parent / "hw1_autograder")

try:
    import runner  # first: it sets the number of threads that NumPy starts
    from grader import grading
    from handin import tarball as handin
    from processes import helper
    from problems import FULL_SCORE, GRADED
    from grader.report import Report
except ImportError as problem:
    print(f"{NO_SCORES}the grader cannot start on this host: {problem}.")
    sys.exit(SAID)

SECONDS = 120  # for all problems; Autolab itself stops the job after 180
OVERDUE = 30  # seconds more, after which something is wrong that no deadline has caught


class DrawnAnswers(grading.RecordedAnswers):
    """The answers for one of the seeds in the package, which this job takes by chance.

    Args:
        remove (sequence of Path): files and folders to delete before student code runs: what
            holds the answers, so that no submission can read them.
    """

    def __init__(self, remove=()):
        super().__init__()
        self.remove = remove

    def load(self):
        """Choose a seed and read its answers; returns the seed. Called when the processes for
        student code have been made: none of them holds what is read here."""
        files = sorted(STAFF.glob("answers/*.json"))
        if not files:
            raise grading.CannotGrade("the package holds no answers")
        self.path = secrets.choice(files)
        super().load()
        for path in self.remove:
            shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
        return self.seed


def grade(options, answers, report):
    """Yield the verdicts on the problems of a tarball, each shown; none if it holds no solution."""
    options.handin.open("rb").close()  # missing or unreadable, it is no fault of the student's
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(runner.unpacked(options.handin, report))
        except handin.HandinError as error:
            report.line(f"Nothing was graded: {error}.")
            return
        for verdict in grading.grade(GRADED, root, answers, time.monotonic() + SECONDS,
                                     limit_reading=True,
                                     need_landlock=not options.without_landlock):
            report.show(verdict)
            yield verdict


def semantic_line(verdicts):
    """The line Autolab shows as a table: stages (problem numbers), tests, hints."""
    stages = {}
    for verdict in verdicts:
        hint = verdict.unfinished and f"not started ({verdict.unfinished})"
        for name, lines in verdict.complaints.items():
            hint = hint or f"{lines[0]} ({name})"
        shown = {"passed": verdict.passed, **({"hint": hint} if hint else {})}
        stages.setdefault(verdict.problem.number, {})[verdict.problem.title] = shown
    line = json.dumps({"_presentation": "semantic", "stages": list(stages), **stages})
    # Autolab puts quotes around every word before a colon, also within strings.
    return re.sub(r"(\w):", r"\1 -", line)


def conclude(verdicts, report, clean_up):
    """Print what Autolab reads, with the score line last.

    In it are the problems that a program has judged: Autolab keeps what it has of all others, the
    mark given by hand above all. A tarball that holds no solution has no verdicts and scores 0.
    """
    points = {v.problem.key: v.points for v in verdicts if v.outcome.ending != "never"}
    left_out = [v.problem.title for v in verdicts if v.problem.key not in points]
    if left_out:
        report.line(f"The time of the job was over before {'; '.join(left_out)} could run: "
                    "these scores stay as they are. If your code is quick at home, hand in again.")
    if not verdicts:
        points = {problem.key: 0 for problem in GRADED}
    else:
        active = max((v.outcome.protections for v in verdicts), key=len)
        report.line(f"Limits: {', '.join(active) or 'none'}")
    ran = ", of what has run" if left_out else ""
    report.line(f"Total score: {sum(points.values())}/{FULL_SCORE}{ran}", 1)
    with contextlib.suppress(Exception):  # it only helps the eye, and it holds students' words
        print(semantic_line(verdicts), flush=True)
    runner.print_last(json.dumps({"scores": points}), clean_up)


def parse_arguments(arguments):
    """The options of a job, as argparse's namespace."""
    parser = argparse.ArgumentParser(description="Grade a tarball as a job of Autolab.")
    parser.add_argument("--handin", type=Path, default=Path("handin.tar"), metavar="FILE")
    parser.add_argument("--without-landlock", action="store_true",
                        help="grade also where a submission can write the log")
    parser.add_argument("--remove", nargs="*", type=Path, default=(), metavar="PATH",
                        help="delete these before any submission code runs")
    parser.add_argument("--json", metavar="FILE", help="also write the result to FILE")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Grade as the command line says; returns the exit status.

    It is 0 with the score line last in the log, and SAID with a reason last, where no scores are to
    be written; autograde-Makefile then adds the line that says so to Autolab.
    """
    leave_after(SECONDS + OVERDUE, SAID, "the job did not come to an end")
    options = parse_arguments(arguments)
    report = Report(sys.stdout)
    try:
        grading_now = grade(options, DrawnAnswers(options.remove), report)
        verdicts = list(itertools.islice(grading_now, len(GRADED)))
        conclude(verdicts, report, grading_now)
        leave_after(OVERDUE, 0)
        with contextlib.suppress(Exception):
            helper.be_silent()  # nothing may stand in the log after the score line
            if options.json:
                runner.write_json(options.json, verdicts)
            grading_now.close()
        return 0
    except (grading.CannotGrade, OSError, MemoryError) as error:
        print(f"{NO_SCORES}{error}. See autograder/staff/README.md.")
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"{NO_SCORES}the grader broke down, see above.")
    return SAID


def leave_after(seconds, status, words=""):
    """End this process with that status, whatever it is doing then."""
    def leave(*_):
        if words:
            os.write(1, f"\n{NO_SCORES}{words}\n".encode())
        os._exit(status)

    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)


if __name__ == "__main__":
    sys.exit(main())
