"""Lets plain pytest run the graded tests: each fails as the grader's verdict on it says.
A test itself only returns what the student's code gave; see grader/graded.py."""

import pytest

from grader import child, grading
from grader.graded import CASES
from problems import BY_KEY
from processes import isolation

ROOT = grading.HERE.parents[2]


@pytest.fixture
def given():
    """What ./grade.sh 1 draws for a graded test, in the process of the problem; nothing here."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Grade a graded test instead of calling it here; True says that the call is done."""
    case = CASES.get(pyfuncitem.name)
    if case is None or pyfuncitem.obj is not case.function:
        return None
    answers = grading.RecordedAnswers()
    answers.load()
    with isolation.Crew(child.__name__, ROOT) as crew:
        (ran,) = grading.run(crew, [BY_KEY[case.key]], answers.seed)
    verdict = grading.Verdict(*ran, answers, cases=[case])
    if not verdict.passed:
        pytest.fail(verdict.text(), pytrace=False)  # no lines of the grader: it is not what failed
    return True
