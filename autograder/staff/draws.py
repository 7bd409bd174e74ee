"""Which drawn inputs are fit to be graded with: a job of Autolab draws until they are.
The recorded inputs were chosen by people; see also test_draws.py."""

import numpy as np

import answers
import by_hand
from grader.graded import CASES
from grader.judge import IN_FLOAT32, close

SHARE = 0.1  # of what the judge forgives in float32, that the formulas may be off by


def mistakes_told_apart(by_case):
    """(key of the problem, words) of each typical mistake that these answers (as work_out_all gives
    them) tell from what is right. All units of a ReLU may be off, and any gradient pass."""
    return {(CASES[name].key, mistake)
            for name, by_label in by_case.items() for answer in by_label.values()
            if isinstance(answer, dict) for mistake in answer.get("mistakes", ())}


def magnify_rounding(seed):
    """Whether some network makes so much of the rounding of float32 that a correct solution in
    float32 could be taken for a wrong one: a unit almost at 0, a batch almost without variance."""
    checked, by_hand.CHECKED = by_hand.CHECKED, False  # differences are nothing for float32
    try:
        return any(magnifies_rounding(case, seed) for case in CASES.values()
                   if case.scored and case.function.__module__ == "test_mlp")
    finally:
        by_hand.CHECKED = checked


def magnifies_rounding(case, seed):
    """The same of one graded test."""
    given, rounded = case.draw(seed), case.draw(seed)
    for name, drawn in vars(rounded).items():
        if np.asarray(drawn).dtype == np.float64:
            setattr(rounded, name, np.asarray(drawn, dtype=np.float32))
    with np.errstate(all="ignore"):
        right, near = (answers.WORKED_OUT_BY[case.name](inputs) for inputs in (given, rounded))
    tolerance = {name: SHARE * value for name, value in IN_FLOAT32.items()}
    return not all(close(answers.numbers(near[label]), answers.numbers(result), **tolerance).all()
                   for label, result in right.items()
                   if not (result is None or isinstance(result, bool)))
