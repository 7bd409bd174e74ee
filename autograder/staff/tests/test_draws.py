"""A job of Autolab draws inputs until they are fit to be graded with: no typical mistake goes
unseen, and no network makes so much of rounding that a correct solution in float32 would lose."""

import answers
import by_hand
import draws
from grader import grading
import job
import numpy as np
import pytest


@pytest.fixture
def recorded():
    recorded = grading.RecordedAnswers()
    recorded.load()
    return recorded


def drawn_from(seeds, monkeypatch):
    """What a job loads that draws these seeds, one after another."""
    seeds = iter(seeds)
    monkeypatch.setattr(by_hand, "CHECKED", True)  # load() changes it; this changes it back
    monkeypatch.setattr(job.secrets, "randbits", lambda bits: next(seeds) if bits == 32 else 1)
    drawn = job.DrawnAnswers()
    return drawn, drawn.load()


def test_the_recorded_inputs_are_fit(recorded):
    assert not draws.magnify_rounding(recorded.seed)
    assert ("divtest", "-a/b instead of -a/b²") in draws.mistakes_told_apart(recorded.by_case)


def test_inputs_that_hide_a_typical_mistake_are_drawn_again(recorded, monkeypatch):
    def work_out_all(seed, true=answers.work_out_all):
        worked_out = true(11785)
        if seed != 7:  # as if it had not mattered
            for by_label in worked_out["answers"].values():
                for answer in by_label.values():
                    if isinstance(answer, dict):
                        answer.get("mistakes", {}).pop("-a/b instead of -a/b²", None)
        return worked_out

    monkeypatch.setattr(answers, "work_out_all", work_out_all)
    monkeypatch.setattr(draws, "magnify_rounding", lambda seed: False)
    drawn, seed = drawn_from([5, 6, 7], monkeypatch)
    assert seed == drawn.seed == 7
    assert draws.mistakes_told_apart(drawn.by_case) == draws.mistakes_told_apart(recorded.by_case)


def test_inputs_that_magnify_rounding_are_drawn_again(monkeypatch):
    monkeypatch.setattr(draws, "mistakes_told_apart", lambda by_case: set())
    monkeypatch.setattr(draws, "magnify_rounding", lambda seed: seed != 7)
    assert drawn_from([5, 6, 7], monkeypatch)[1] == 7


def test_after_many_draws_that_are_not_fit_the_job_gives_up(monkeypatch):
    monkeypatch.setattr(draws, "magnify_rounding", lambda seed: True)
    monkeypatch.setattr(draws, "mistakes_told_apart", lambda by_case: set())
    monkeypatch.setattr(job, "DRAWS", 2)
    with pytest.raises(grading.CannotGrade, match="none of 2 drawn inputs is fit"):
        drawn_from([5, 6], monkeypatch)


@pytest.mark.parametrize("formula, magnifies", [
    (lambda g: {"output": g.x + 1}, False),
    (lambda g: {"output": (g.x + 1000) - 1000}, True),
    (lambda g: {"output": np.where(np.abs(g.x - np.float64(g.x[0, 0])) < 1e-12, g.x, 0)}, False),
    (lambda g: {"flag": True, "nothing": None}, False),
])
def test_what_is_lost_in_float32_is_noticed(formula, magnifies, monkeypatch):
    monkeypatch.setattr(draws, "CASES", {"test_linear_forward": answers.CASES["test_linear_forward"]})
    monkeypatch.setitem(answers.WORKED_OUT_BY, "test_linear_forward", formula)
    assert draws.magnify_rounding(3) == magnifies
