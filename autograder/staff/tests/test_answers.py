"""The recorded answers: made by answers.py, complete, right, and of no use to a student.
Some are held against numbers that a person can check by hand."""

import ast
import json
import subprocess
import sys
import types
from pathlib import Path

import answers
import by_hand
from grader import judge
import numpy as np
import pytest
from problems import FULL_SCORE

STAFF = Path(answers.__file__).parent
GRADER = answers.GRADER
WITH_ANSWERS = [case.name for case in answers.CASES.values() if case.scored]


@pytest.fixture(scope="module")
def recorded():
    return json.loads(answers.FILE.read_text(encoding="ascii"))


@pytest.fixture(scope="module")
def made():
    return json.loads(json.dumps(answers.work_out_all(answers.SEED)))


@pytest.fixture(scope="module")
def of_another_seed(tmp_path_factory):
    """A file of answers made by the command with another seed."""
    path = tmp_path_factory.mktemp("answers") / "another.json"
    subprocess.run([sys.executable, str(STAFF / "answers.py"), "--seed", "7", str(path)],
                   check=True, cwd=str(path.parent))
    return path


def arrays(everything):
    """(where, array as recorded) of all answers and mistakes."""
    for test, by_label in everything["answers"].items():
        for label, answer in by_label.items():
            if isinstance(answer, dict):
                yield f"{test}, {label}", answer
                for mistake, made in judge.recorded_mistakes(answer).items():
                    if made:
                        yield f"{test}, {label}, {mistake}", made


def without_numbers(everything):
    """The same with a count of the numbers in their place."""
    def emptied(part):
        if not isinstance(part, dict):
            return part
        return {key: len(value) if key == "values" else emptied(value)
                for key, value in part.items()}
    return emptied(everything)


def close(a, b):
    return np.allclose(a["values"], b["values"], rtol=1e-9, atol=1e-12)  # ten digits each


def test_the_recorded_file_is_what_answers_makes(recorded, made):
    assert without_numbers(recorded) == without_numbers(made)
    for (where, old), (_, new) in zip(arrays(recorded), arrays(made)):
        assert close(old, new), f"{where}: run autograder/staff/answers.py again"


def test_every_graded_test_has_answers_and_nothing_else_has(recorded):
    assert set(recorded["answers"]) == set(WITH_ANSWERS)
    assert set(recorded["answers"]) == set(answers.WORKED_OUT_BY)


@pytest.mark.parametrize("name", WITH_ANSWERS)
def test_there_is_an_answer_to_each_result_of_a_test(recorded, name):
    case = answers.CASES[name]
    assert list(case.function(case.draw(1))) == list(recorded["answers"][name])


@pytest.mark.slow
def test_the_reference_scores_100_with_another_seed(of_another_seed):
    run = subprocess.run(
        [sys.executable, str(GRADER / "runner.py"), "--answers", str(of_another_seed)],
        stdout=subprocess.PIPE, universal_newlines=True, encoding="utf-8", check=True)
    scores = json.loads(run.stdout.splitlines()[-1])["scores"]
    assert sum(scores.values()) == FULL_SCORE, run.stdout


def test_another_seed_gives_other_numbers(recorded, of_another_seed):
    other = json.loads(of_another_seed.read_text(encoding="ascii"))
    assert other["seed"] == 7
    for test, by_label in recorded["answers"].items():
        if any(isinstance(answer, dict) for answer in by_label.values()):
            same = [close(answer, other["answers"][test][label])
                    for label, answer in by_label.items() if isinstance(answer, dict)]
            assert not all(same) or test.startswith("test_backward_starts_from_ones"), test


def test_the_judge_finds_no_fault_with_right_answers_and_names_each_mistake(recorded):
    for test, by_label in recorded["answers"].items():
        for label, answer in by_label.items():
            if isinstance(answer, dict):
                tensor = {"kind": "Tensor", "type": "ndarray"}
                assert judge.compare(label, answer, {**answer, **tensor}) == []
                mistakes = judge.recorded_mistakes(answer)
                for mistake, made in mistakes.items():
                    if made:
                        (_, line) = judge.compare(label, answer, {**made, **tensor})
                        same = [m for m in mistakes if mistakes[m] == made]
                        assert mistake in same and len(same) < 3, (test, label)
                        some = " one of" if len(same) > 1 else ""
                        assert line == f"looks like{some}: {'; '.join(same)}", (test, label)


def test_a_mistake_that_another_result_refutes_is_not_named(recorded):
    expected = recorded["answers"]["test_momentum_over_four_steps"]
    forgotten = {label: {"kind": "bool", "value": True} if answer is True else {
        "kind": "Tensor", "type": "ndarray", **answer["mistakes"]["momentum forgotten"]}
        for label, answer in expected.items()}
    assert "momentum forgotten" in judge.mistakes_that_fit([(expected, {"results": forgotten})])[0]
    only_biases = {**forgotten, "layer.weight": {
        "kind": "Tensor", "type": "ndarray", **expected["layer.weight"]}}
    fit, refuted = judge.mistakes_that_fit([(expected, {"results": only_biases})])
    assert fit == set() and "momentum forgotten" in refuted


def test_the_file_stays_small_and_has_a_line_for_each_label(recorded):
    text = answers.FILE.read_text(encoding="ascii")
    assert len(text) < 275_000
    labels = sum(len(by_label) for by_label in recorded["answers"].values())
    assert len(text.splitlines()) == 1 + len(recorded["answers"]) + labels


def test_nothing_that_students_get_imports_what_they_do_not():
    staff = {path.stem for path in STAFF.glob("*.py")} | {"staff"}
    for path in GRADER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            assert not {part for name in names for part in name.split(".")} & staff, path.name


def test_answers_are_worked_out_without_mytorch(tmp_path):
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import answers; answers.work_out_all(1);"
            "assert not any(name.startswith('mytorch') for name in sys.modules)")
    subprocess.run([sys.executable, "-c", code, str(STAFF)], check=True, cwd=str(tmp_path))


def test_a_wrong_gradient_formula_is_noticed():
    x = np.array([1.0, -2.0])
    assert by_hand.gradient(2 * x, lambda: x**2, x) is not None
    with pytest.raises(ArithmeticError, match="central differences"):
        by_hand.gradient(2.001 * x, lambda: x**2, x)
    with pytest.raises(ArithmeticError):
        by_hand.gradient(2 * x[:1], lambda: x**2, x)
    assert x.tolist() == [1, -2]


# Numbers to check by hand


def given(**inputs):
    return types.SimpleNamespace(**{name: np.array(value) for name, value in inputs.items()})


def results(test, **inputs):
    """The answers to a test for these inputs, as nested lists of rounded numbers."""
    return {label: value if value is True else np.round(value, 9).tolist()
            for label, value in answers.WORKED_OUT_BY[test](given(**inputs)).items()}


def test_division_by_hand():
    assert results("test_division_of_vectors", a=[6.0], b=[2.0], upstream=[4.0]) == {
        "output of forward": [3], "gradient of a": [2], "gradient of b": [-6],
        "a, afterwards": [6], "b, afterwards": [2],
        "upstream gradient, afterwards": [4]}


def test_a_result_used_twice_by_hand():
    assert results("test_a_result_used_twice", a=[2.0], b=[3.0], p=[10.0], q=[-1.0]) == {
        "gradient of a": [27], "gradient of b": [18]}


def test_linear_by_hand():
    found = results("test_linear_backward", x=[[1.0, 2.0], [3.0, 4.0]],
                    weight=[[1.0, -1.0]], bias=[5.0], upstream=[[10.0], [1.0]])
    assert found == {"gradient of layer.weight": [[13, 24]], "gradient of layer.bias": [11],
                     "gradient of x": [[10, -10], [1, -1]]}


def test_relu_by_hand():
    assert results("test_relu_backward_at_and_around_zero",
                   z=[[-1.0, 0.0, 2.0]], upstream=[[5.0, 6.0, -7.0]]) == {
        "gradient of z": [[0, 0, -7]]}


def test_running_averages_by_hand():
    found = results("test_running_averages_with_another_momentum",
                    x=[[0.0], [4.0]], gamma=[1.0], beta=[0.0])
    assert found == {"layer.running_mean": [0.8],  # 0.6 · 0 + 0.4 · 2
                     "layer.running_var": [3.8]}  # 0.6 · 1 + 0.4 · (4 + 4) / 1


def test_batchnorm_by_hand():
    found = results("test_batchnorm_forward_with_another_eps",
                    x=[[1.0], [1.6]], gamma=[2.0], beta=[10.0])
    root = np.sqrt(0.09 + 0.1)
    assert found == {"output": np.round([[10 - 0.6 / root], [10 + 0.6 / root]], 9).tolist()}


def test_cross_entropy_by_hand():
    logits, labels = np.log([[1.0, 3.0], [2.0, 2.0]]), [1, 0]
    assert results("test_cross_entropy_of_one_row", logits=logits, labels=labels) == {
        "loss": round(-(np.log(3 / 4) + np.log(1 / 2)) / 2, 9)}
    assert results("test_cross_entropy_backward", logits=logits, labels=labels) == {
        "gradient of the logits": [[0.125, -0.125], [-0.25, 0.25]]}


def test_momentum_by_hand():
    found = results("test_momentum_over_four_steps", x=[[[1.0]]] * 2, upstream=[[[1.0]]] * 2,
                    weight=[[0.0]], bias=[1.0])
    assert found["layer.weight"] == [[-0.28]]  # -0.1, then -0.1 · 0.8 - 0.1 more
    assert found["layer.bias"] == [0.72]


@pytest.mark.parametrize("name", ["answers", "referee", "bug_table", "benchmark", "collect"])
def test_a_command_that_lacks_numpy_says_so_in_a_sentence(name):
    code = (f"import runpy, sys; sys.modules['numpy'] = None; sys.argv = ['{name}.py']; "
            f"sys.path.insert(0, {str(STAFF)!r}); "
            f"runpy.run_path({str(STAFF / name)!r} + '.py', run_name='__main__')")
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert f"{name}.py needs NumPy, which " in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
