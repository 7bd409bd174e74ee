"""Grades problems: runs the student's code elsewhere, holds the answers here, and judges.
verdict.py is the judgement on one problem; report.py shows it to people."""

import contextlib
import functools
import json
import sys
from pathlib import Path

from grader import child
from processes import isolation
from grader.graded import CASES
from grader.verdict import TO_WRITE, Verdict, cases_of
from problems import BY_KEY

HERE = Path(__file__).resolve().parent
ANSWERS = HERE / "answers.json"
ROOT = HERE.parents[2]  # of the tree


class CannotGrade(Exception):
    """The command line or the grader itself is at fault, not the submission."""


class RecordedAnswers:
    """The recorded answers, read only once ``load`` is called.

    Args:
        path (Path): a file made by autograder/staff/record.py.

    Attributes:
        seed (int): of the inputs, once loaded.
        by_case (dict): name of a test → label → answer, once loaded.
        mistakes (list): what typical mistakes give, as recorded, once loaded; may be empty.
    """

    def __init__(self, path=ANSWERS):
        self.path, self.seed, self.by_case, self.mistakes = Path(path), None, {}, []

    def load(self):
        """Read the file; returns the seed.

        Raises:
            CannotGrade: if it cannot be read, or lacks the answers to a test.
        """
        try:
            recorded = json.loads(self.text())
            self.seed, self.by_case = int(recorded["seed"]), recorded["answers"]
            self.mistakes = recorded.get("mistakes", [])
            missing = [case.name for case in CASES.values()
                       if case.scored and case.name not in self.by_case]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotGrade(f"cannot read the answers in {self.path}: {error}") from None
        if missing:
            raise CannotGrade(f"there are no answers for {', '.join(missing)}")
        return self.seed

    def text(self):
        """The content of the file."""
        return self.path.read_text(encoding="utf-8")


def grade(problems, root, answers):
    """Yield the Verdict on each problem, in their order, as soon as it can be had. The student's code
    runs in processes with limits, but may know the answers; a job of Autolab (job.py) keeps them.

    The last one comes before anything is cleaned up; that happens at the end of the iteration, or
    when it is closed.

    Args:
        problems (sequence of Problem): what to grade.
        root (Path): the folder that holds ``mytorch``.
        answers (RecordedAnswers): what is right.

    Raises:
        CannotGrade: also if this machine does not let the grader do its work.
    """
    answers.load()
    above = []
    try:
        with isolation.Crew(child.__name__, root) as crew:
            for problem, outcome in run(crew, problems, answers.seed):
                above.append(Verdict(problem, outcome, answers, above=above))
                yield above[-1]
    except isolation.HostFault as error:
        raise CannotGrade(f"this machine does not let the grader work: {error}") from None


def verdict_on(case):
    """The Verdict that one graded test alone gives on the tree, for plain pytest."""
    answers = answers_at_home()
    return Verdict(BY_KEY[case.key], outcome_of_tree(case.key, answers.seed), answers, cases=[case])


@functools.lru_cache(maxsize=None)
def answers_at_home():
    """The answers that students have, loaded."""
    answers = RecordedAnswers()
    answers.load()
    return answers


@functools.lru_cache(maxsize=None)
def outcome_of_tree(key, seed):
    """The isolation.Outcome of a problem of the tree, which is run once."""
    with isolation.Crew(child.__name__, ROOT) as crew:
        ((_, outcome),) = run(crew, [BY_KEY[key]], seed)
        return outcome


def run(crew, problems, seed, deadline=None):
    """Yield (problem, isolation.Outcome) for each problem, in their order, with what its tests sent.

    Args:
        crew (isolation.Crew): entered, with what runs in each process: ``child``.
        problems (sequence of Problem): which.
        seed (int): of the inputs.
        deadline (float): as of Crew.run.
    """
    for problem, outcome in crew.run(problems, seed, deadline):
        outcome.cases = read(outcome.lines, {TO_WRITE, *(case.name for case in cases_of(problem))})
        outcome.lines = []  # they may be many, and are needed no more
        yield problem, outcome


def read(lines, names):
    """The messages in what a process sent, which may be anything that a student's code wrote: the
    first of each test, of known names. Whatever form their parts have is for the Verdict to bear.

    Args:
        lines (sequence of bytes): each should be a dict in JSON, as child.run_task sends it.
        names (container of str): of the tests that can have sent something.

    Returns:
        dict: name of a test → message.
    """
    messages = {}
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line.decode("utf-8", "replace"), parse_int=number)
            case = message.get("case") if isinstance(message, dict) else None
            if isinstance(case, str) and case in names:
                messages.setdefault(case, message)
    return messages


def number(digits):
    """An int, or where it has more digits than any result, a float."""
    return int(digits) if len(digits) < 20 else float(digits)


def grade_here(problems, root, answers):
    """As ``grade``, but in this process, with the keyboard: for pdb. Nothing is limited here.

    Raises:
        KeyboardInterrupt: when the student leaves the debugger, or types Ctrl-C.
    """
    seed, root, above = answers.load(), Path(root).resolve(), []
    sys.path.insert(0, str(root))
    for problem in problems:
        key, drawn = child.prepare(problem.key, seed, root)
        outcome = run_here(key, [(case, given) for case, given in drawn if case.scored], root)
        above.append(Verdict(problem, outcome, answers, above=above))
        yield above[-1]


def run_here(key, drawn, root):
    """The isolation.Outcome of some tests of a problem, run in this process.

    Args:
        key (str): the problem's.
        drawn (list): pairs of a Case and its inputs.
        root (Path): as for grade.

    Raises:
        KeyboardInterrupt: as grade_here.
    """
    outcome = isolation.Outcome(root)
    outcome.ending = "done"

    def take(message):
        if (message.get("error") or {}).get("type") in ("BdbQuit", "KeyboardInterrupt"):
            raise KeyboardInterrupt
        outcome.cases[message.get("case")] = message
        outcome.defined_at = message.get("done", "")

    child.run_task((key, drawn), root, take)
    return outcome
