"""Grades problems 1.1 to 2.6 and prints the score: what ./grade.sh 1 runs.
The parent process here holds the answers and judges; isolation.py runs the student's code."""

import argparse
import contextlib
import itertools
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

# One thread is enough for small arrays, starts faster, and leaves forks clean.
for library in ("OPENBLAS", "OMP", "MKL", "VECLIB"):
    os.environ[library + "_NUM_THREADS"] = "1"

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import handin  # noqa: E402
import isolation  # noqa: E402
import judge  # noqa: E402
import test_autograd  # noqa: E402, F401  (registers its tests in graded.CASES)
import test_mlp  # noqa: E402, F401
from graded import CASES  # noqa: E402
from problems import BY_KEY, FULL_SCORE, GRADED, PROBLEMS  # noqa: E402

ROOT = HERE.parents[1]
ANSWERS = HERE / "answers.json"
AUTOLAB_SECONDS = 120  # for all problems; Autolab itself stops the job after 180
WIDTH = 72
MAX_LINES = 6  # of a student's own output, per problem; 100 with --verbose
UNGRADED = "test_visits"


class CannotGrade(Exception):
    """The command line or the grader itself is at fault: exit status 2."""


class Answers:
    """The recorded answers, read only once ``read_seed`` is called.

    Args:
        path (Path): a file made by autograder/staff/answers.py.
        delete (tuple of Path): what to remove when it has been read, so that no submission can
            read it too.
    """

    def __init__(self, path, delete=()):
        self.path = Path(path)
        self.delete = delete
        self.by_case = {}
        self.seed = None

    def read_seed(self):
        try:
            recorded = json.loads(self.path.read_text(encoding="utf-8"))
            self.seed, self.by_case = int(recorded["seed"]), recorded["answers"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotGrade(f"cannot read the answers in {self.path}: {error}") from None
        missing = [name for name in CASES if name not in self.by_case and name != UNGRADED]
        if missing:
            raise CannotGrade(f"{self.path} holds no answers for {', '.join(missing)}")
        for path in self.delete:
            path.unlink()
        return self.seed


class Verdict:
    """The judgement on one problem.

    Attributes:
        problem (Problem): which one.
        complaints (dict): name of a failing test → list of str, what is wrong.
        raised (set): names of tests that ended in an exception.
        unfinished (str): what the TODO said, if the problem has not been written yet.
        remark (str): something worth knowing that costs no points.
        outcome (isolation.Outcome): what came back.
    """

    def __init__(self, problem, outcome, answers):
        self.problem = problem
        self.outcome = outcome
        self.complaints = {}
        self.raised = set()
        self.unfinished = self.remark = ""
        for case in CASES.values():
            if case.key == problem.key:
                try:
                    self._judge(case, answers)
                except Exception as error:  # forged messages can have any form
                    self.complaints[case.name] = [
                        f"what came back cannot be judged ({type(error).__name__})"]
        self.passed = not self.complaints
        self.points = problem.points if self.passed else 0

    def _judge(self, case, answers):
        message = self.outcome.cases.get(case.name)
        if case.name == UNGRADED:
            self._remark_on_visits(message)
        elif message is None:
            reason = judge.explain_ending(self.outcome, self.problem.time_limit)
            if not self.complaints:  # the tests after the one that ended the process are lost too
                self.complaints[case.name] = [reason]
        elif isinstance(message.get("error"), dict):
            error = message["error"]
            self.unfinished = self.unfinished or judge.unfinished(error)
            self.complaints[case.name] = judge.explain_error(error)
            self.raised.add(case.name)
        else:
            complaints = judge.judge_case(answers.by_case[case.name], message)
            if complaints:
                self.complaints[case.name] = complaints
                drawn = case.draw(answers.seed)
                shapes = ", ".join(f"{name} {array.shape}" for name, array in vars(drawn).items())
                self.complaints[case.name].append(f"input: {shapes}; seed {answers.seed}")

    def _remark_on_visits(self, message):
        results = (message or {}).get("results") or {}
        visits = (results.get("visits") or {}).get("value")
        if isinstance(visits, int) and visits > 1:
            self.remark = (
                f"no points lost, but a node with 2 uses ran its backward again for each path:\n"
                f"{visits} times in a chain of 8 such nodes, and twice as often for each more.\n"
                "Why, and what to do: the docstring of backward() in the engine; README, 1.2"
            )

    def text(self):
        """All complaints, as indented lines."""
        return "\n".join(f"  {name}\n" + "\n".join("    " + line for line in lines)
                         for name, lines in self.complaints.items())


def grade(problems, root, answers, deadline=None):
    """Yield the Verdict on each problem, in their order.

    Args:
        problems (sequence of Problem): what to grade.
        root (Path): the folder that holds ``mytorch``.
        answers (Answers): what is right; read here, at the last moment.
        deadline (float): as isolation.run.
    """
    for problem, outcome in isolation.run(problems, root, answers.read_seed, deadline):
        yield Verdict(problem, outcome, answers)


def grade_case(name):
    """The Verdict on the problem of one test, restricted to that test; for plain pytest."""
    case = CASES[name]
    (verdict,) = grade([BY_KEY[case.key]], ROOT, Answers(ANSWERS))
    verdict.complaints = {k: v for k, v in verdict.complaints.items() if k == name}
    verdict.passed = not verdict.complaints
    return verdict


class Report:
    """Prints verdicts for a person, with colour and signs where the terminal has them."""

    def __init__(self, stream, verbose=False):
        self.stream = stream
        self.verbose = verbose
        self.pretty = stream.isatty() and "NO_COLOR" not in os.environ and (
            os.environ.get("TERM") != "dumb")
        self.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        self.failed = []  # numbers of problems that lost points
        self.last_complaint = None

    def line(self, text, colour=None):
        """Print one line; what in it comes from a student can neither break nor colour it."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if not self.unicode:
            text = text.translate({ord(a): b for a, b in zip("×·ε←ᵀ²✓✗", "x*e<T2+-")})
            text = text.encode("ascii", "replace").decode()
        if colour and self.pretty:
            text = f"\033[{colour}m{text}\033[0m"
        print(text, file=self.stream, flush=True)

    def show(self, verdict):
        """Print one problem: its score, and what is wrong, if anything is."""
        problem = verdict.problem
        sign = ("✓ " if verdict.passed else "✗ ") if self.pretty else ""
        colour = 32 if verdict.passed else 33 if verdict.unfinished else 31
        head = f"{sign}{problem.number:6} {problem.title} "
        self.line(f"{head:.<{WIDTH - 6}} {verdict.points}/{problem.points}", colour)
        if not verdict.passed:
            self._explain(verdict)
            if problem.points:
                self.failed.append(problem.number)
        elif verdict.remark:
            for line in verdict.remark.splitlines():
                self.line("       " + line)
        self._show_output(verdict.outcome)
        if self.verbose:
            self.line(f"       limits: {', '.join(verdict.outcome.protections) or 'none'}")

    def _explain(self, verdict):
        problem = verdict.problem
        if verdict.unfinished:
            self.line(f"       (not started: {verdict.unfinished})")
            return
        name, lines = next(iter(verdict.complaints.items()))
        causes = [number for number in problem.needs if number in self.failed]
        if causes and not self.verbose:
            self.line(f"       probably caused by {causes[0]}: {lines[0]}")
            for line in lines[1:2]:
                if line.startswith("looks like"):
                    self.line("       " + line)
            return
        if lines == self.last_complaint and not self.verbose:
            self.line("       the same as above")
            return
        self.last_complaint = lines
        for line in lines:
            self.line("       " + line)
        if verdict.outcome.defined_at:
            self.line(f"       test: {name};  defined at {verdict.outcome.defined_at}")
        others = len(verdict.complaints) - 1
        if others:
            self.line(f"       {others} more test{'s' * (others > 1)} of this problem failed")
            if self.verbose:
                for line in verdict.text().splitlines():
                    self.line("       " + line)
        if name not in verdict.raised:
            self.line(f"       hint: {problem.hint}")
        self.line(f"       run again: ./grade.sh 1 {problem.number}")

    def _show_output(self, outcome):
        """What the student's code printed, so marked that it cannot pass for the report."""
        lines = outcome.output.splitlines()
        runs = [(line, len(list(same))) for line, same in itertools.groupby(lines)]
        shown = runs[:100 if self.verbose else MAX_LINES]
        for line, times in shown:
            self.line("       | " + line[:160] + (f"   ({times} times)" if times > 1 else ""))
        total = max(outcome.output_lines, len(lines))
        if total > sum(times for _, times in shown):
            self.line(f"       | ... {total:,} lines in all")


def select(numbers):
    """The graded problems with those numbers, such as "2.1", or "2" for all of 2; all for none.

    Raises:
        CannotGrade: for a number that is not in the table.
    """
    known = [problem.number for problem in GRADED]

    def chosen(problem, number):
        return problem.number == number or problem.number.startswith(number + ".")

    for number in numbers:
        if not any(chosen(problem, number) for problem in GRADED):
            there_are = ", ".join(dict.fromkeys(known))
            raise CannotGrade(f"unknown problem {number}; there are {there_are}")
    return [problem for problem in GRADED
            if not numbers or any(chosen(problem, number) for number in numbers)]


def list_problems(report):
    """Print a line for each problem: number, points, title and Autolab's key."""
    for problem in PROBLEMS:
        report.line(f"{problem.number:6} {problem.points:3}  {problem.title}  [{problem.key}]")


def parse_arguments(arguments):
    """The options of ./grade.sh 1, as argparse's namespace."""
    parser = argparse.ArgumentParser(
        prog="./grade.sh 1", description="Grade problems 1.1 to 2.6 of homework 1.")
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help="such as 1.2 or 2.4")
    parser.add_argument("--list", action="store_true", help="list the problems and stop")
    parser.add_argument("--verbose", action="store_true", help="show all that failed, and limits")
    parser.add_argument("--json", metavar="FILE", help="also write the result to FILE")
    parser.add_argument("--answers", metavar="FILE", type=Path, default=ANSWERS,
                        help="grade with another set of inputs and answers")
    parser.add_argument("--handin", metavar="FILE", type=Path,
                        help="grade this tarball instead of the tree")
    parser.add_argument("--autolab", action="store_true",
                        help="grade handin.tar as a job of Autolab (see autograder/staff)")
    return parser.parse_args(arguments)


def score_line(points):
    """The line Autolab parses: every key of the table, 0 for what did not run."""
    return json.dumps({"scores": {problem.key: points.get(problem.key, 0) for problem in PROBLEMS}})


def write_json(path, verdicts):
    """Write scores and complaints for programs to read."""
    described = [
        {"number": v.problem.number, "key": v.problem.key, "points": v.points,
         "max_points": v.problem.points, "passed": v.passed, "unfinished": v.unfinished,
         "complaints": v.complaints, "remark": v.remark}
        for v in verdicts
    ]
    Path(path).write_text(json.dumps({"problems": described}, indent=1) + "\n", encoding="utf-8")


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


@contextlib.contextmanager
def unpacked(tarball, report):
    """Context with the folder that holds what may be graded of a tarball."""
    with tempfile.TemporaryDirectory(prefix="mytorch-handin-") as folder:
        for remark in handin.unpack(tarball, folder)[:10]:
            report.line(f"{tarball.name}: {remark}")
        yield Path(folder)


def grade_and_report(options, problems, report):
    """Grade tree or tarball, printing each verdict; returns the verdicts."""
    deadline, answers = None, Answers(options.answers)
    if options.autolab:
        deadline = time.monotonic() + AUTOLAB_SECONDS
        answers.delete = (options.answers, Path("autograde.tar"))
    verdicts = []
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(unpacked(options.handin, report)) if options.handin else ROOT
        for verdict in grade(problems, root, answers, deadline):
            verdicts.append(verdict)
            report.show(verdict)
    if options.autolab:
        limits = max((verdict.outcome.protections for verdict in verdicts), key=len)
        report.line(f"Limits: {', '.join(limits)}")
    return verdicts


def main(arguments=None):
    """Grade as the command line says; returns the exit status."""
    options = parse_arguments(arguments)
    report = Report(sys.stdout, options.verbose)
    if options.list:
        list_problems(report)
        return 0
    if options.autolab:
        options.handin = Path("handin.tar")
    verdicts = []
    try:
        verdicts = grade_and_report(options, select(options.problems), report)
    except handin.HandinError as error:
        report.line(f"Nothing was graded: {error}.")
    except CannotGrade as error:
        print(f"./grade.sh 1: {error}", file=sys.stderr)
        return 2
    points = {verdict.problem.key: verdict.points for verdict in verdicts}
    if options.problems:
        report.line(f"Only {', '.join(options.problems)} ran; the others count 0 here.")
    report.line(f"Total score: {sum(points.values())}/{FULL_SCORE}   "
                "(MNIST, 10 points, is graded by hand: ./grade.sh m)", 1)
    if options.json:
        try:
            write_json(options.json, verdicts)
        except OSError as error:
            report.line(f"Cannot write {options.json}: {error.strerror}")
    if options.autolab:
        print(semantic_line(verdicts), flush=True)
    print(score_line(points), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
