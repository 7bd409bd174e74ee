"""Writes what is right: runs the graded tests on the reference and keeps what comes back.
`python3 autograder/staff/record.py` writes grader/answers.json, `--check` chooses Autolab's seeds.

Nobody writes the right answers down a second time. That the reference is right is shown by what
does not depend on it, in staff/tests: central differences of every operation at uneven upstream
gradients, PyTorch's recorded figures for whole trainings, and two further solutions, written in
other styles, which the graded tests find right. Beside the answers stand the mistakes: what each
planted bug makes of the results of its own problem, and what a student should read about it."""

import argparse
import functools
import hashlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from packages import STAFF  # noqa: E402
import numpy as np  # noqa: E402

from changes import NUMBERS, changed, grade_change, outcome_of  # noqa: E402
from grader import judge  # noqa: E402
from grader.graded import CASES  # noqa: E402
from grader.grading import ANSWERS, RecordedAnswers  # noqa: E402
import solutions  # noqa: E402
from planted_bugs import BUGS  # noqa: E402
from problems import GRADED  # noqa: E402
from styles import FLOAT64_THROUGHOUT, STYLES  # noqa: E402

SEED = 11785  # of the inputs that students have at home
SEEDS = STAFF / "seeds.json"  # those of Autolab's jobs
COUNT, MORE = 64, 4  # so many, and so many more to try at once
DIGITS, DIGITS_OF_MISTAKES = 10, 8  # that are kept; the judge compares six


def as_answer(got, digits=DIGITS):
    """A result (as child.plain gives it) as it is kept: None, a flag, shape and values of an array
    (null for inf and nan), or for what is no such thing its kind."""
    if got["kind"] == "None":
        return None
    if got["kind"] == "bool":
        return got["value"]
    if "values" in got:
        return {"shape": got["shape"], "values": [
            float(f"{value:.{digits}g}") if np.isfinite(value) else None
            for value in got["values"]]}
    return {name: got[name] for name in ("kind", "type", "value") if name in got}


def messages_of(problem, root, seed):
    """(name of a test, what it sent) of all scored tests of a problem."""
    sent = outcome_of(problem, root, seed).cases
    return [(name, message) for name, message in sent.items() if name in CASES]


def right_answers(seed):
    """Name of a test → label → answer, of all graded tests."""
    answers = {}
    with changed(solutions.REFERENCE) as root:  # a copy, as the tree may not be compiled
        for problem in GRADED:
            for name, message in messages_of(problem, root, seed):
                if "error" in message:
                    sys.exit(f"{name} fails with the reference: {message['error']}")
                answers[name] = {
                    label: as_answer(got) for label, got in message["results"].items()}
    for case in CASES.values():
        if case.optional:
            for answer in answers[case.name].values():
                answer["optional"] = True
    return answers


def in_float64(bug):
    """The same bug, in the third solution as if that one computed in float64."""
    return bug._replace(also=(*bug.also, *FLOAT64_THROUGHOUT * (bug.solution == solutions.THIRD)))


def mistake(bug, answers, seed):
    """What a planted bug makes of its own problem, as it is recorded: "says" and "number"; "results",
    the answers that differ; "errors", name of a test → what the exception says that ended it."""
    results, errors = {}, {}
    with changed(bug.solution, in_float64(bug).edits) as root:
        for problem in [problem for problem in GRADED if problem.number == bug.number]:
            for name, message in messages_of(problem, root, seed):
                if "error" in message:
                    errors[name] = {part: message["error"][part] for part in ("type", "message")}
                for label, got in message.get("results", {}).items():
                    if judge.compare(label, answers[name][label], got):
                        results.setdefault(name, {})[label] = as_answer(got, DIGITS_OF_MISTAKES)
    return {"says": bug.says or bug.name, "number": bug.number, "results": results,
            "errors": errors}


def record(seed):
    """All that the file holds; of mistakes that say and give the same only the first."""
    with ProcessPoolExecutor() as pool:
        answers = pool.submit(right_answers, seed).result()
        mistakes = pool.map(functools.partial(mistake, answers=answers, seed=seed), BUGS, chunksize=4)
    different = {json.dumps(found, sort_keys=True): found for found in mistakes}
    return {"seed": seed, "answers": answers, "mistakes": list(different.values())}


def answers_to(seeds):
    """Seed → ``right_answers``, for each of ``seeds``."""
    with ProcessPoolExecutor() as pool:
        return dict(zip(seeds, pool.map(right_answers, seeds, chunksize=4)))


def seeds():
    """The seeds of Autolab's jobs."""
    return json.loads(SEEDS.read_text(encoding="ascii"))["seeds"]


@functools.lru_cache(maxsize=None)
def for_autolab(chosen):
    """Name of a file → its text: the answers to each of the seeds (tuple) that a job may take."""
    return {f"{seed}.json": as_json({"seed": seed, "answers": right, "mistakes": []})
            for seed, right in answers_to(chosen).items()}


def as_json(recorded):
    """The text of the file, with one test or mistake to a line, so that two can be compared."""
    def lines(parts):
        return ",\n".join(json.dumps(part, allow_nan=False, separators=(",", ":"),
                                     ensure_ascii=False) for part in parts)
    tests = ",\n".join(f"{json.dumps(name)}:{lines([answers])}"
                       for name, answers in recorded["answers"].items())
    return (f'{{"seed": {recorded["seed"]}, "answers": {{\n{tests}}},\n"mistakes": [\n'
            f'{lines(recorded["mistakes"])}]}}\n')


# Which seeds are fit for Autolab


def fingerprint():
    """What tells the tests, bugs and styles of today from others: a hash of the recorded numbers,
    five digits of each, and of the styles' edits."""
    recorded = json.loads(ANSWERS.read_text(encoding="utf-8"),
                          parse_float=lambda digits: f"{float(digits):.5g}")
    mistakes = {json.dumps([found["number"], found["results"]]) for found in recorded["mistakes"]}
    styles = [[style.solution.name, style.edits] for style in STYLES]
    parts = [recorded["answers"], sorted(mistakes), styles]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def seeds_fit():
    """Whether the seeds of Autolab were chosen with the tests, bugs and styles of today."""
    return json.loads(SEEDS.read_text(encoding="ascii"))["checked with"] == fingerprint()


def unfit_for(change, answers):
    """The seeds (of ``answers``, seed → what is right) at which a change does not lose what it should,
    in float64 and with float32's tolerance: a bug what it loses at home, a style nothing."""
    number = getattr(change, "number", NUMBERS[0])
    change = in_float64(change) if hasattr(change, "number") else change
    failed = {}
    for seed, right in answers.items():
        recorded = RecordedAnswers()
        recorded.seed, recorded.by_case = seed, right
        found = grade_change(change, NUMBERS[NUMBERS.index(number):], answers=recorded)
        failed[seed] = [found["failed"], found["failed in float32"]]
    wanted = failed[SEED][0] if hasattr(change, "number") else []
    return [seed for seed in answers if failed[seed] != [wanted, wanted]]


def unfit(candidates, changes=(*STYLES, *BUGS)):
    """What speaks against some seeds: seed → names of the changes that do not lose there what they
    should."""
    answers = answers_to([SEED, *candidates])
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(functools.partial(unfit_for, answers=answers), changes))
    return {seed: [change.name for change, against in zip(changes, found) if seed in against]
            for seed in candidates}


def check(count=COUNT):
    """Choose ``count`` seeds, and write them down; says what speaks against the others."""
    kept, first = [], 1
    while len(kept) < count:
        candidates = range(first, first + count - len(kept) + MORE)
        for seed, names in unfit(candidates).items():
            if names:
                print(f"seed {seed} is dropped, because of {len(names)}: {names[0]}", flush=True)
            else:
                kept.append(seed)
        first = candidates.stop
    SEEDS.write_text(json.dumps({"checked with": fingerprint(), "seeds": kept[:count]}) + "\n",
                     encoding="ascii")
    print(f"{SEEDS}: {count} seeds of {first - 1} tried")


def main():
    parser = argparse.ArgumentParser(description="Write the answers to the graded tests.")
    parser.add_argument("file", nargs="?", default=str(ANSWERS), metavar="FILE")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the inputs; default {SEED}")
    parser.add_argument("--check", action="store_true",
                        help="choose the seeds of Autolab's jobs anew (about twenty minutes)")
    parser.add_argument("--right", action="store_true", help="leave the mistakes out, as for a job")
    options = parser.parse_args()
    if options.check:
        check()
        return
    recorded = record(options.seed) if not options.right else {
        "seed": options.seed, "answers": right_answers(options.seed), "mistakes": []}
    Path(options.file).write_text(as_json(recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
