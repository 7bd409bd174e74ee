"""Grades one handin.tar as a job of Autolab, with inputs and answers that this job alone has.
autolab.py packs it, autograde-Makefile runs it; the last line it prints is the one Autolab reads."""

import sys

if sys.version_info < (3, 8):
    sys.exit("This host's python3 is %d.%d; the grader needs 3.8 or newer." % sys.version_info[:2])

import argparse
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path

STAFF = Path(__file__).resolve().parent
sys.path[0] = str(STAFF.parent / "hw1_autograder")

try:
    import runner  # first: it sets the number of threads that NumPy starts
    import grading
    import handin
    from limits import WRITE_PROTECTION, protect_child
    from problems import FULL_SCORE, GRADED
    from report import Report
except ImportError as problem:
    sys.exit(f"The grader cannot start on this host: {problem}.")

SECONDS = 120  # for all problems; Autolab itself stops the job after 180
OVERDUE = 30  # seconds more, after which something is wrong that no deadline has caught


class DrawnAnswers:
    """Answers to inputs that this job draws, as grading.RecordedAnswers has those of a file.

    Args:
        remove (sequence of Path): files and folders to delete before student code runs: what
            knows the formulas, so that no submission can ask it.
    """

    def __init__(self, remove=()):
        self.remove = remove
        self.seed = None
        self.by_case = {}

    def load(self):
        """Draw a seed from the system and work the answers out; returns the seed.

        Called when the processes for student code have been made: none of them holds what is
        imported here.
        """
        sys.path.insert(0, str(STAFF))
        import answers
        import by_hand
        del sys.path[0]
        by_hand.CHECKED = False  # the tests have compared each formula with central differences
        self.seed = secrets.randbits(32)
        self.by_case = answers.work_out_all(self.seed)["answers"]
        grading.check_complete(self.by_case)
        for path in self.remove:
            shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
        return self.seed


class NoScores(Exception):
    """The host or the grader is at fault, not the submission; the message says how."""


def protections_here():
    """What limits a student's process on this host, tried in a process of its own."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as home:
        pid = fork()
        if pid == 0:
            try:
                os.write(writing, json.dumps(protect_child(home, 5)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as answer:
            names = answer.read()
        os.waitpid(pid, 0)
    return json.loads(names or "[]")


def fork(patience=20.0):
    """os.fork(), tried again for some seconds where the host has no process left."""
    give_up = time.monotonic() + patience
    while True:
        try:
            return os.fork()
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise NoScores("it has no process left for this job") from None
            time.sleep(0.1)


def demand_landlock():
    """Raise NoScores where a submission could write the log, and with it any score it likes."""
    active = protections_here()
    if WRITE_PROTECTION not in active:
        raise NoScores(
            f"it lacks the protection \"{WRITE_PROTECTION}\": Linux 5.13 or newer with Landlock "
            f"enabled, in a container that lets its calls through. It has: {', '.join(active)}. "
            "Without it a submission can write the score it likes (README, For staff)")


def grade(options, answers, report):
    """Yield the verdicts on the problems of a tarball, each shown; none if it holds no solution."""
    options.handin.open("rb").close()  # missing or unreadable, it is no fault of the student's
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(runner.unpacked(options.handin, report))
        except handin.HandinError as error:
            report.line(f"Nothing was graded: {error}.")
            return
        for verdict in grading.grade(GRADED, root, answers, time.monotonic() + SECONDS):
            try:
                report.show(verdict)
            except Exception as error:  # what is shown comes from a student's process
                report.line(f"This problem cannot be shown ({type(error).__name__}).")
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


def conclude(verdicts, report):
    """Print what Autolab reads, with the score line last.

    In it are the problems that a program has judged: Autolab keeps what it has of all others, the
    mark given by hand above all. A tarball that holds no solution has no verdicts and scores 0.
    """
    points = {v.problem.key: v.points for v in verdicts if v.outcome.ending != "never"}
    left_out = [v.problem.number for v in verdicts if v.problem.key not in points]
    if left_out:
        report.line(f"The time of the job was over before {', '.join(left_out)} could run; their "
                    "scores stay as they are. If your code is quick at home, hand in again.")
    if not verdicts:
        points = {problem.key: 0 for problem in GRADED}
    active = max((v.outcome.protections for v in verdicts), key=len, default=[])
    report.line(f"Limits: {', '.join(active) or 'none'}")
    report.line(f"Total score: {sum(points.values())}/{FULL_SCORE}", 1)
    with contextlib.suppress(Exception):  # it only helps the eye, and it holds students' words
        print(semantic_line(verdicts))
    print(json.dumps({"scores": points}), flush=True)


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

    It is 0 with the score line last in the log, and another with a reason last, where no scores
    are to be written; autograde-Makefile then adds the line that says so to Autolab.
    """
    leave_after(SECONDS + OVERDUE, 1, "No scores: the grader did not come to an end.\n")
    options = parse_arguments(arguments)
    report = Report(sys.stdout)
    try:
        if not options.without_landlock:
            demand_landlock()
        grading_now = grade(options, DrawnAnswers(options.remove), report)
        verdicts = list(itertools.islice(grading_now, len(GRADED)))
        conclude(verdicts, report)
        leave_after(OVERDUE, 0)
        with contextlib.suppress(Exception):  # nothing may stand in the log after the score line
            if options.json:
                runner.write_json(options.json, verdicts)
            grading_now.close()
        return 0
    except (NoScores, grading.CannotGrade, OSError, MemoryError) as error:
        return f"No scores: this host is at fault, not the submission: {error}."
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return "No scores: the grader is at fault, not the submission; see above."


def leave_after(seconds, status, words=""):
    """End this process with that status, whatever it is doing then."""
    def leave(*_):
        os.write(2, words.encode())
        os._exit(status)

    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)


if __name__ == "__main__":
    sys.exit(main())
