"""Reads what a student would: the report on a correct solution with a mistake in it.
For the tests of messages; each grades as few problems as it needs."""

import io
import tempfile
from pathlib import Path

from grader import grading
from grader import report
import solutions
from planted_bugs import BUGS, FUNCTIONAL
from problems import GRADED

BY_NAME = {bug.name: bug for bug in BUGS}
SECOND_BATCHNORM = "return F.BatchNorm.apply(x, self.gamma, self.beta, self.eps)"


def report_of(*numbers, changes=(), bug=None, remove=(), more=""):
    """The report on problems, as one line.

    Args:
        *numbers (str): of the problems.
        changes (list): edits of the second solution, as solutions.edited takes them.
        bug (str): name of a planted bug, instead.
        remove (list of str): files to remove.
        more (str): what is written at the end of functional.py.
    """
    stream = io.StringIO()
    shown = report.Report(stream)
    shown.unicode = True
    with tempfile.TemporaryDirectory(prefix="mytorch-message-") as root:
        if bug:
            BY_NAME[bug].plant(root)
        else:
            solutions.write(root, solutions.SECOND, changes)
        library = Path(root) / "mytorch"
        with open(str(library / FUNCTIONAL), "a", encoding="utf-8") as functional:
            functional.write(more)
        for name in remove:
            (library / name).unlink()
        problems = [problem for problem in GRADED if problem.number in numbers]
        for verdict in grading.grade(problems, Path(root), grading.RecordedAnswers()):
            shown.show(verdict)
        shown.end()
    return " ".join(stream.getvalue().split())
