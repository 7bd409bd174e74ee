"""Grades one handin.tar as an Autolab job: in the jail, with inputs chosen at random from many.
autolab.py packs it, autograde-Makefile runs it; Autolab reads the last line it prints."""

import sys

NO_SCORES = "No scores, through no fault of the submission: "
SAID = 3  # the exit status after such a line; autograde-Makefile knows it

if sys.version_info < (3, 8):
    print(NO_SCORES + "the host's python3 is %d.%d; 3.8 is needed." % sys.version_info[:2])
    sys.exit(SAID)

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from pathlib import Path

STAFF = Path(__file__).resolve().parent
sys.path[0] = str(STAFF.parent / "hw1_autograder")

try:
    import runner  # first: it sets the number of threads that NumPy starts
    from grader import child, grading
    from handin import unpacking
    from processes import isolation
    from problems import FULL_SCORE, GRADED
    from grader.report import Report
    sys.path.insert(0, str(STAFF))
    from jail import Jail, remove_tree
except ImportError as problem:
    print(f"{NO_SCORES}the grader cannot start on this host: {problem}.")
    sys.exit(SAID)

ANSWERS = STAFF / "answers"  # SEED.json for each of many seeds
VERSION = (STAFF / "version").read_text() if (STAFF / "version").exists() else "the course's tree"
SECONDS = 120  # for all problems; Autolab itself stops the job after 180
SECONDS_FOR_NAMES = 20  # of these, at most, for the names of mistakes
OVERDUE = 30  # seconds after that, something must be wrong that no deadline has caught
PROBE, BUSY = 0.1, 20  # seconds of processor time; a host that takes 20 times as long is too busy
FAULTS = (grading.CannotGrade, isolation.HostFault, OSError, MemoryError, subprocess.SubprocessError)
ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "TZ", "TERM", "NO_COLOR", "LD_LIBRARY_PATH")


class SealedAnswers(grading.RecordedAnswers):
    """The answers for one seed, SEED.json, which no other process can read: this one holds the file
    open, and it is deleted before any submission code runs."""

    def __init__(self, path):
        super().__init__(path)
        self.seed = int(path.stem)
        self._file = path.open(encoding="utf-8")

    def text(self):
        self._file.seek(0)
        return self._file.read()


def answers_for(options):
    """The SealedAnswers that the command line asks for, chosen at random where it names no seed.
    If no folder holds any, as in the course's own tree, another process records them.

    Raises:
        CannotGrade: if the folder does not hold them.
    """
    if ANSWERS.is_dir():
        seed = "*" if options.seed is None else options.seed
        files = list(ANSWERS.glob(f"{seed}.json"))
        if not files:
            raise grading.CannotGrade(f"there are no answers in {ANSWERS}")
        return SealedAnswers(secrets.choice(files))
    seed = options.seed
    if seed is None:
        seed = secrets.choice(json.loads((STAFF / "seeds.json").read_text())["seeds"])
    with tempfile.TemporaryDirectory(prefix="mytorch-answers-") as folder:
        subprocess.run([sys.executable, "-B", str(STAFF / "record.py"), f"{folder}/{seed}.json",
                        "--seed", str(seed), "--right"], check=True)
        return SealedAnswers(Path(folder, f"{seed}.json"))


def grade(crew, answers):
    """The verdicts on all problems, with the seed of ``answers`` (SealedAnswers). Once this process
    knows an answer, it starts no more processes for the student's code."""
    deadline = time.monotonic() + SECONDS
    outcomes = dict(grading.run(crew, GRADED, answers.seed, deadline))
    if any(outcome.ending in ("time", "never") for outcome in outcomes.values()):
        check_that_the_host_is_not_busy()
    # A problem that fails is run once more with the seed that students have: for that seed, the
    # results of typical mistakes are recorded, and students can reproduce the report at home.
    known = grading.RecordedAnswers()
    failed, seed = failing(outcomes, answers, known)
    deadline = min(deadline, time.monotonic() + SECONDS_FOR_NAMES)
    again = {}
    with contextlib.suppress(OSError, isolation.HostFault):  # such as a disk they have filled
        again = {problem: outcome for problem, outcome in grading.run(crew, failed, seed, deadline)
                 if outcome.ending == "done"}
    answers.load()
    known.load()
    better = {verdict.problem: verdict for verdict in judge_all(again, known) if not verdict.passed}
    return [verdict if verdict.passed else better.get(verdict.problem, verdict)
            for verdict in judge_all(outcomes, answers)]


def judge_all(outcomes, answers):
    """The verdicts on a dict of outcomes (problem → isolation.Outcome)."""
    verdicts = []
    for problem, outcome in outcomes.items():
        verdicts.append(grading.Verdict(problem, outcome, answers, above=verdicts))
    return verdicts


def failing(outcomes, answers, known):
    """The problems whose tests ran to the end but failed, and the seed of the answers ``known``.
    A separate process finds out, because that one may know the answers."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answers.load()
            keys = [verdict.problem.key for verdict in judge_all(outcomes, answers)
                    if not verdict.passed and verdict.outcome.ending == "done"]
            os.write(writing, json.dumps([keys, known.load()]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        keys, seed = json.loads(pipe.read() or b"[[], 0]")
    os.waitpid(pid, 0)
    return [problem for problem in GRADED if problem.key in keys], seed


def check_that_the_host_is_not_busy():
    """Raise CannotGrade if other programs leave this job next to no processor time. It is measured
    after all the submission's processes have ended, so that none of them can fake a busy host."""
    began, end = time.monotonic(), time.process_time() + PROBE
    while time.process_time() < end:
        pass
    if time.monotonic() - began > BUSY * PROBE:
        raise grading.CannotGrade("this host is too busy with other work")


def semantic_line(verdicts):
    """The line Autolab shows as a table: stages (problem numbers), tests, hints."""
    stages = {}
    for verdict in verdicts:
        hint = verdict.missing and f"left to write: {verdict.missing[0]}"
        for name, lines in verdict.complaints.items():
            hint = hint or f"{lines[0]} ({name})"
        shown = {"passed": verdict.passed, **({"hint": hint} if hint else {})}
        stages.setdefault(verdict.problem.number, {})[verdict.problem.title] = shown
    line = json.dumps({"_presentation": "semantic", "stages": list(stages), **stages})
    # Autolab puts quotes around every word before a colon, even inside strings.
    return re.sub(r"(\w):", r"\1 -", line)


def report_limits(verdicts, report):
    """Say what limited the submission's processes, if there were any."""
    if verdicts:
        active = max((verdict.outcome.protections for verdict in verdicts), key=len)
        report.line(f"Limits: {', '.join(active) or 'none'}")


def conclude(verdicts, report, clean_up):
    """Print what Autolab reads, with the score line last.

    That line lists only the problems that a program judges: for the others, Autolab keeps the mark
    that was given by hand. A tarball without a solution has no verdicts and scores 0.
    """
    points = {problem.key: 0 for problem in GRADED}
    points.update((verdict.problem.key, verdict.points) for verdict in verdicts)
    report_limits(verdicts, report)
    report.line(f"Total score: {sum(points.values())}/{FULL_SCORE}", 1)
    with contextlib.suppress(Exception):  # it is only for display, and contains students' words
        print(semantic_line(verdicts), flush=True)
    runner.print_last(json.dumps({"scores": points}), clean_up)


def parse_arguments(arguments):
    """The options of a job, as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Grade a tarball as an Autolab job.")
    parser.add_argument("handin", nargs="?", type=Path, default=Path("handin.tar"), metavar="FILE")
    parser.add_argument("--seed", type=int, metavar="N",
                        help="use the same inputs as the job whose log names this seed")
    parser.add_argument("--without-landlock", action="store_true",
                        help="grade even where a submission could write to the log")
    parser.add_argument("--user", type=int, metavar="N",
                        help="run the submission as the user with this number; needs root")
    parser.add_argument("--remove", nargs="*", type=Path, default=(), metavar="PATH",
                        help="delete these files before any submission code runs")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Grade as the command line says; returns the exit status.

    It is 0 if the score line is last in the log, and SAID if a reason is last because there are no
    scores to write; autograde-Makefile then adds the line that tells Autolab so.
    """
    leave_after(SECONDS + OVERDUE, SAID, "the job did not finish in time.")
    options, report = parse_arguments(arguments), Report(sys.stdout)
    clean_up, status = contextlib.ExitStack(), SAID
    try:
        verdicts = run(options, report, clean_up)
        conclude(verdicts, report, clean_up)
        status = 0
    except FAULTS as error:
        print(f"{NO_SCORES}{error}. See autograder/staff/README.md.", flush=True)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"{NO_SCORES}the grader crashed; see above.", flush=True)
    leave_after(OVERDUE, status)
    with contextlib.suppress(Exception):
        for stream in (1, 2):  # nothing may follow the last line in the log
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        clean_up.close()
    return status


def run(options, report, clean_up):
    """Show and return the verdicts on a tarball's problems; none if it holds no solution."""
    options.handin.open("rb").close()  # if it cannot be read, that is not the student's fault
    answers = answers_for(options)
    for path in options.remove:
        shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
    jail = Jail(not options.without_landlock, options.user) if sys.platform == "linux" else None
    if not jail and not options.without_landlock:
        raise grading.CannotGrade("only Linux can confine a submission")
    try:
        root = runner.unpacked(options.handin, report, clean_up, remove_tree)
    except unpacking.HandinError as error:
        report.line(f"Nothing was graded: {error}.")
        return []
    if options.user is not None:
        os.chmod(str(root), 0o755)
    crew = clean_up.enter_context(isolation.Crew(child.__name__, root, jail))
    report.line(f"Seed of the inputs: {answers.seed}   (grader: {VERSION})")
    verdicts = grade(crew, answers)
    for verdict in verdicts:
        report.show(verdict)
    return verdicts


def leave_after(seconds, status, words=""):
    """End this process after that many seconds with this status, whatever it is doing then."""
    def leave(*_):
        if words:
            os.write(1, f"\n{NO_SCORES}{words}\n".encode())
        os._exit(status)

    signal.signal(signal.SIGALRM, leave)
    signal.alarm(seconds)


def forget_the_environment():
    """Start again with only the few variables that a grader needs: a submission cannot find the
    others in any process's memory, because no process has them."""
    kept = {name: value for name, value in os.environ.items()
            if name in ENVIRONMENT or name.startswith(("LC_", "LANG", "PYTHON"))}
    if set(os.environ) - set(kept) - {name + "_NUM_THREADS" for name in runner.THREADS}:
        flags = subprocess._args_from_interpreter_flags()
        os.execve(sys.executable, [sys.executable, *flags, *sys.argv], kept)


if __name__ == "__main__":
    forget_the_environment()
    sys.exit(main())
