"""The recorded answers and mistakes: what record.py writes, complete, small, of no use to a student."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import record
from grader import grading
from planted_bugs import BUGS

STAFF = Path(record.__file__).parent
GRADER = STAFF.parent / "hw1_autograder"
RECORDED = json.loads(grading.ANSWERS.read_text(encoding="utf-8"))


def arrays(answers):
    """(test, label) → array, of all answers that are such."""
    return {(test, label): np.array(answer["values"], dtype=float) for test in answers
            for label, answer in answers[test].items() if isinstance(answer, dict)}


@pytest.mark.slow
def test_the_recorded_answers_are_what_record_writes(tmp_path):
    """That the mistakes are, test_grader.py shows: each bug is found by what is recorded of it."""
    path = tmp_path / "answers.json"  # in a Python of their own, as this one has imported mytorch
    subprocess.run([sys.executable, str(STAFF / "record.py"), "--right", str(path)], check=True)
    made, recorded = arrays(json.loads(path.read_text())["answers"]), arrays(RECORDED["answers"])
    assert list(made) == list(recorded)
    for where, values in recorded.items():
        assert np.allclose(values, made[where], rtol=1e-6, atol=1e-9), (
            f"{where}: run python3 autograder/staff/record.py again")


def test_every_bug_is_recorded_once_under_the_number_of_its_problem():
    recorded = [json.dumps(mistake) for mistake in RECORDED["mistakes"]]
    assert len(set(recorded)) == len(recorded)
    assert {(mistake["number"], mistake["says"]) for mistake in RECORDED["mistakes"]} == {
        (bug.number, bug.says) for bug in BUGS}


def test_autolab_has_64_seeds_and_the_one_of_students_is_not_among_them():
    assert len(set(record.seeds())) == record.COUNT == 64 and record.SEED not in record.seeds()


@pytest.mark.slow
def test_a_bug_costs_the_same_and_a_style_nothing_at_two_seeds_of_autolab():
    code = ("import json, record; changes = (*record.STYLES, *record.BUGS)[::16]; "
            "print(json.dumps(record.unfit(record.seeds()[:2], changes)))")
    ended = subprocess.run([sys.executable, "-c", code], cwd=str(STAFF), check=True,
                           stdout=subprocess.PIPE, encoding="utf-8")
    assert list(json.loads(ended.stdout).values()) == [[], []]


def test_a_seed_is_fit_if_a_bug_loses_there_what_it_loses_at_home_in_both_precisions(monkeypatch):
    failed = {record.SEED: ["one"], 7: ["one"], 8: ["one", "two"], 9: ["one"]}
    monkeypatch.setattr(record, "grade_change", lambda change, numbers, answers: {
        "failed": failed[answers.seed], "failed in float32": failed[answers.seed] * (answers.seed != 9)})
    assert record.unfit_for(BUGS[0], dict.fromkeys(failed)) == [8, 9]
    failed[7] = []
    assert 7 not in record.unfit_for(record.STYLES[0], dict.fromkeys(failed))


def test_the_file_stays_small():
    assert grading.ANSWERS.stat().st_size < 500_000


def test_nothing_that_students_get_imports_what_they_do_not():
    staff = {path.stem for path in STAFF.glob("*.py")} | {"staff"}
    for path in GRADER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            assert not {part for name in names for part in name.split(".")} & staff, path.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["record", "bug_table", "benchmark", "collect"])
def test_a_command_that_lacks_numpy_says_so_in_a_sentence(name):
    code = (f"import runpy, sys; sys.modules['numpy'] = None; sys.argv = ['{name}.py']; "
            f"sys.path.insert(0, {str(STAFF)!r}); "
            f"runpy.run_path({str(STAFF / name)!r} + '.py', run_name='__main__')")
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert f"{name}.py needs NumPy, which " in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
