"""Verdict: the judgement on one problem, from what came back of its process.
Works on plain data alone; report.py shows it to people."""

import contextlib
import re

from grader import errors
from grader import judge
from grader.graded import CASES
from problems import HINTS, LEFT_TO_WRITE

TO_WRITE = "left to write"  # the name of the child's message on what the files still lack


class Verdict:
    """The judgement on one problem.

    Args:
        problem (Problem): which one.
        outcome (isolation.Outcome): what came back from its process.
        answers (RecordedAnswers): what is right, loaded.
        cases (sequence of Case): the tests that count; all of the problem by default.
        above (sequence of Verdict): on the problems before it.

    Attributes:
        complaints (dict): name of a failing test → list of str, what is wrong.
        errors (dict): name of a test that ended in an exception → what the child said of it.
        shown (str): the name of the failing test that tells most.
        mistakes (list of str): what the mistake behind its results is called; several where they
            all give just these.
        missing (list of str): functions of this problem that are still to be written, as "Sub.backward
            in mytorch/nn/functional.py:88".
        uses (list of str): the numbers of problems that failed above and that this one uses.
        waits_for (str): the number of another problem that is to be written first: all failing tests
            end without it, or this one uses it and it is not started.
        notes (list of str): what is worth knowing and costs no points.
        closer (list of str): what a closer look at the failure found (closer_look.py).
        at (str): where the code in question is, in the form of ``missing``.
        hints (list of str): what to think of, where that is known of the results that are wrong.
        passed (bool), points (int): the score.
    """

    def __init__(self, problem, outcome, answers, cases=None, above=()):
        self.problem, self.outcome, self.at = problem, outcome, outcome.defined_at
        self.complaints, self.errors, self.shown, self.waits_for = {}, {}, "", ""
        self.mistakes, self.missing, self.notes, self.closer, self.hints = [], [], [], [], []
        self._results, self._wrong = [], {}  # see _judge_case
        used = [other for other in above
                if not other.passed and other.problem.number in problem.needs]
        self.uses = list(dict.fromkeys(other.problem.number for other in used))
        cases = cases_of(problem) if cases is None else cases
        try:
            for case in cases:
                if case.scored:
                    self._judge_case(case, answers)
            if self.complaints:
                self._read_missing()
                self._name_mistakes(answers, above)
                self._choose()
        except Exception:  # forged messages can have any form
            self.shown = next(iter(self.complaints), cases[0].name)
            self.complaints[self.shown] = ["what came back cannot be judged"]
        with contextlib.suppress(Exception):
            self._read_notes([case for case in cases if not case.scored])
        self.passed = not self.complaints
        if not (self.passed or self.mistakes or self.missing or self.waits_for):
            self.waits_for = next((other.problem.number for other in used if other.not_started), "")
        self.points = problem.points if self.passed else 0

    @property
    def not_started(self):
        """Whether nothing of what the handout leaves to write for the problem is written."""
        return len(self.missing) >= LEFT_TO_WRITE.get(self.problem.number, 1)

    def _judge_case(self, case, answers):
        """Take in what came back of one test: into ``_results``, triples (its name, the answers, its
        message), and what is wrong into ``_wrong``, its name → label of a result → complaint."""
        message = self.outcome.cases.get(case.name)
        if message is None:
            if not self.complaints:  # the tests after the one that ended the process are lost too
                self.complaints[case.name] = [errors.explain_ending(self.outcome)]
            return
        expected = answers.by_case[case.name]
        self._results.append((case.name, expected, message))
        if isinstance(message.get("error"), dict):
            error = {str(key): str(value)[:1000] for key, value in message["error"].items()}
            self.errors[case.name] = error
            self.complaints[case.name] = errors.explain_error(error, self.problem.number)
            return
        wrong = judge.judge_case(expected, message)
        if wrong:
            self._wrong[case.name] = wrong
            shapes = ", ".join(f"{name} {array.shape}"
                               for name, array in vars(case.draw(answers.seed)).items())
            self.complaints[case.name] = [*judge.described(wrong, expected, message),
                                          f"input: {shapes}; seed {answers.seed}"]

    def _read_missing(self):
        """Take over what the child said is still to be written, and what the failure waits for."""
        said = (self.outcome.cases.get(TO_WRITE) or {}).get("results") or {}
        for got in list(said.values())[:100]:
            number, _, function = str(got.get("value")).partition(" ")
            if number == self.problem.number and function not in self.missing:
                self.missing.append(function[:200])
        todos = [errors.todo_of(self.errors.get(name, {})) for name in self.complaints]
        earlier = [todo for todo in todos
                   if todo and errors.order(todo) < errors.order(self.problem.number)]
        if len(earlier) == len(todos) and not self.missing:
            self.waits_for = earlier[0]

    def _name_mistakes(self, answers, above):
        """Choose the failing test that is shown: the first, or the first of which the recorded
        mistakes tell that fit all results of this problem and of those before it of its number."""
        number = self.problem.number
        failing = [name for name in self.complaints
                   if not errors.todo_of(self.errors.get(name, {}))]
        self.shown = next(iter(failing), next(iter(self.complaints)))
        if self.uses:  # with other gradients than they should be, names are false
            return
        tests = [test for verdict in (*above, self) if verdict.problem.number == number
                 for test in verdict._results]
        fitting = [mistake for mistake in answers.mistakes if mistake["number"] == number
                   and all(judge.agrees(mistake, *test) for test in tests)]
        for name in failing:
            self.mistakes = judge.names_of(fitting, name, self._wrong.get(name, {}),
                                           self.outcome.cases.get(name) or {})
            if self.mistakes:
                if self.shown not in self.errors:
                    self.shown = name
                lines = self.complaints[self.shown]
                lines[:] = [line for line in lines if not line.startswith(judge.THAT_IS)]
                return

    def _choose(self):
        """What to think of, and where, of the results that are wrong in the test that is shown."""
        wrong = self._wrong.get(self.shown, {})
        if wrong:
            got = self.outcome.cases[self.shown]["results"].get(next(iter(wrong))) or {}
            self.at = str(got.get("at") or "")[:200] or self.at
            hints = [hint_for(self.problem, label, wrong[label]) for label in wrong]
            self.hints = list(dict.fromkeys(filter(None, hints)))[:2]

    def _read_notes(self, cases):
        for case in cases:
            results = (self.outcome.cases.get(case.name) or {}).get("results") or {}
            found = {label: (got.get("values") or [got.get("value")])[0]
                     for label, got in results.items()}
            if case.closer:
                self.closer += str(found.get("found", ""))[:400].splitlines()[:4]
            elif found and not self.complaints and all(
                    isinstance(number, (int, float)) for number in found.values()):
                self.notes.append("no points lost, but " + case.note.format(**found))

    def text(self):
        """All complaints, as indented lines."""
        return "\n".join(f"  {name}\n" + "\n".join("    " + line for line in lines)
                         for name, lines in self.complaints.items())


def hint_for(problem, label, complaint):
    """The hint of the problem on a result of which only the numbers are wrong; "" if it has none."""
    if ": expected " not in complaint or complaint.partition(": expected ")[2].startswith(
            ("a Tensor", "shape", "None", "numbers")) or re.search(r"got (nan|-?inf)\b", complaint):
        return ""
    hints = HINTS.get(problem.number, {})
    return next((hint for part, hint in hints.items() if part in label), "")


def cases_of(problem):
    """The graded tests of a problem, in their order."""
    return [case for case in CASES.values() if case.key == problem.key]
