"""Grades problems: runs the student's code elsewhere, holds the answers here, and judges.
Verdict is the judgement on one problem; report.py shows it to people."""

import json
import sys
from pathlib import Path

from grader import child
from grader import errors
from processes import isolation
from grader import judge
from grader import messages
from grader.graded import CASES

HERE = Path(__file__).resolve().parent
ANSWERS = HERE / "answers.json"


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
        self.path = Path(path)
        self.by_case = {}
        self.mistakes = []
        self.seed = None

    def load(self):
        """Read the file; returns the seed.

        Raises:
            CannotGrade: if it cannot be read, or lacks the answers to a test.
        """
        try:
            recorded = json.loads(self.text())
            self.seed, self.by_case = int(recorded["seed"]), recorded["answers"]
            self.mistakes = recorded.get("mistakes", [])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CannotGrade(f"cannot read the answers in {self.path}: {error}") from None
        check_complete(self.by_case)
        return self.seed

    def text(self):
        """The content of the file."""
        return self.path.read_text(encoding="utf-8")


def check_complete(by_case):
    """Raise CannotGrade if the answers to a test are missing."""
    missing = [case.name for case in CASES.values()
               if case.name not in by_case and case.scored]
    if missing:
        raise CannotGrade(f"there are no answers for {', '.join(missing)}")


class Verdict:
    """The judgement on one problem.

    Args:
        problem (Problem): which one.
        outcome (isolation.Outcome): what came back from its process.
        answers (RecordedAnswers): what is right, loaded.
        cases (sequence of Case): the tests that count; all of the problem by default.
        refuted (list): recorded mistakes that results of earlier problems speak against; is
            added to.

    Attributes:
        complaints (dict): name of a failing test → list of str, what is wrong.
        errors (dict): name of a test that ended in an exception → what the child said of it.
        unfinished, unfinished_at (str): what the TODO said, and where, if the problem has not been
            written yet.
        remarks (list of str): what is worth knowing and costs no points.
        clues (list of str): what a closer look at a failure found.
        recognised (bool): whether the numbers of the first failing test are those of a mistake.
        defined_at (str): where the code in question is, of the first failing test.
        passed (bool), points (int): the score.
    """

    def __init__(self, problem, outcome, answers, cases=None, refuted=None):
        self.problem = problem
        self.outcome = outcome
        self.complaints = {}
        self.errors = {}
        self.unfinished = self.unfinished_at = ""
        self.remarks = []
        self.clues = []
        self.recognised = False
        self.defined_at = outcome.defined_at
        self._refuted = [] if refuted is None else refuted
        self._judge(cases_of(problem) if cases is None else cases, answers)
        self.passed = not self.complaints
        self.points = problem.points if self.passed else 0

    def _judge(self, cases, answers):
        scored = [case for case in cases if case.scored]
        mistakes = self._fitting_mistakes(scored, answers)
        for case in scored:
            try:
                self._judge_case(case, answers, [
                    (mistake["says"], mistake["results"].get(case.name, {}))
                    for mistake in mistakes])
            except Exception:  # forged messages can have any form
                self.complaints[case.name] = ["what came back cannot be judged"]
        for case in cases:
            if not case.scored:
                try:
                    self._take_note(case)
                except Exception:
                    pass

    def _fitting_mistakes(self, cases, answers):
        """The recorded mistakes that fit all results of this problem and of those before it."""
        mistakes = [mistake for mistake in answers.mistakes if mistake not in self._refuted
                    and mistake["number"] == self.problem.number]
        came = [(case.name, answers.by_case[case.name], self.outcome.cases[case.name])
                for case in cases if self.outcome.cases.get(case.name)]
        try:
            fit, refuted = judge.mistakes_that_fit(mistakes, came)
        except Exception:  # forged messages can have any form
            return []
        self._refuted += refuted
        return fit

    def _judge_case(self, case, answers, mistakes):
        message = self.outcome.cases.get(case.name)
        if message is None:
            if not self.complaints:  # the tests after the one that ended the process are lost too
                reason = errors.explain_ending(self.outcome, self.problem.time_limit)
                self.complaints[case.name] = [reason]
        elif isinstance(message.get("error"), dict):
            error = {str(key): str(value)[:1000] for key, value in message["error"].items()}
            if not self.unfinished:
                self.unfinished = errors.unfinished(error, self.problem.number)
                self.unfinished_at = error.get("place", "")
            self.errors[case.name] = error
            self.complaints[case.name] = errors.explain_error(error)
        else:
            complaints = judge.judge_case(answers.by_case[case.name], message, mistakes)
            if complaints and not self.complaints:
                self.recognised = any(says in line for line in complaints for says, _ in mistakes)
                self.defined_at = errors.defined_at(complaints, message) or self.defined_at
            if complaints:
                shapes = ", ".join(f"{name} {array.shape}"
                                   for name, array in vars(case.draw(answers.seed)).items())
                self.complaints[case.name] = [
                    *complaints, f"input: {shapes}; seed {answers.seed}"]

    def _take_note(self, case):
        results = (self.outcome.cases.get(case.name) or {}).get("results") or {}
        if case.remark:
            remark = case.remark(results)
            self.remarks += [remark] if remark else []
        elif case.clue:
            self.clues += errors.read_clues(results)

    def text(self):
        """All complaints, as indented lines."""
        return "\n".join(f"  {name}\n" + "\n".join("    " + line for line in lines)
                         for name, lines in self.complaints.items())


def cases_of(problem):
    """The graded tests of a problem, in their order."""
    return [case for case in CASES.values() if case.key == problem.key]


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
    refuted = []
    try:
        with isolation.Crew(child.__name__, root) as crew:
            for problem, outcome in run(crew, problems, answers.seed):
                yield judged(problem, outcome, answers, refuted)
    except isolation.HostFault as error:
        raise CannotGrade(f"this machine does not let the grader work: {error}") from None


def run(crew, problems, seed, deadline=None):
    """Yield (problem, isolation.Outcome) for each problem, in their order, with what its tests sent.

    Args:
        crew (isolation.Crew): entered, with what runs in each process: ``child``.
        problems (sequence of Problem): which.
        seed (int): of the inputs.
        deadline (float): as of Crew.run.
    """
    for problem, outcome in crew.run(problems, seed, deadline):
        outcome.cases = messages.read(outcome.lines, {case.name for case in cases_of(problem)})
        outcome.lines = []  # they may be many, and are needed no more
        yield problem, outcome


def judged(problem, outcome, answers, refuted):
    """The Verdict on an outcome, whatever came back."""
    try:
        return Verdict(problem, outcome, answers, refuted=refuted)
    except Exception:  # it has a form that nobody foresaw
        outcome.cases, outcome.ending = {}, "odd"
        return Verdict(problem, outcome, answers)


def grade_here(problems, root, answers):
    """As ``grade``, but in this process, with the keyboard: for pdb. Nothing is limited here.

    Raises:
        KeyboardInterrupt: when the student leaves the debugger, or types Ctrl-C.
    """
    seed, root, refuted = answers.load(), Path(root).resolve(), []
    sys.path.insert(0, str(root))
    for problem in problems:
        outcome = isolation.Outcome(root)

        def take(message):
            if (message.get("error") or {}).get("type") in ("BdbQuit", "KeyboardInterrupt"):
                raise KeyboardInterrupt
            outcome.cases[message.get("case")] = message
            outcome.defined_at = message.get("done", "")

        key, drawn = child.prepare(problem.key, seed, root)
        child.run_task((key, [(case, given) for case, given in drawn if case.scored]), root, take)
        outcome.ending = "exit 0"
        yield Verdict(problem, outcome, answers, refuted=refuted)
