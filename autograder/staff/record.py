"""Writes what is right: runs the graded tests on the reference and keeps what comes back.
`python3 autograder/staff/record.py` writes grader/answers.json, `--check` chooses Autolab's seeds.

Nobody writes the right answers down a second time. That the reference is right is shown by what
does not depend on it, in staff/tests: central differences of every operation at uneven upstream
gradients, PyTorch's recorded figures for whole trainings, and two further solutions, written in
other styles, which the graded tests find right. Beside the answers stand the mistakes: what each
planted bug makes of the results of its own problem, and what a student should read about it."""

import argparse
import compileall
import contextlib
import functools
import hashlib
import importlib
import io
import json
import multiprocessing
import re
import signal
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from packages import STAFF  # noqa: E402
import numpy as np  # noqa: E402

sys.path.insert(0, str(STAFF / "tests"))

from grader import child, judge  # noqa: E402
from grader.graded import CASES  # noqa: E402
from grader.grading import ANSWERS  # noqa: E402
import solutions  # noqa: E402
from planted_bugs import BUGS  # noqa: E402
from problems import GRADED  # noqa: E402
from styles import FLOAT64_THROUGHOUT, STYLES  # noqa: E402

SEED = 11785  # of the inputs that students have at home
SEEDS = STAFF / "seeds.json"  # those of Autolab's jobs
COUNT, MORE = 64, 4  # so many, and so many more to try at once
SECONDS = 5  # of processor time, for the tests of a problem
DIGITS, DIGITS_OF_MISTAKES = 10, 8  # that are kept; the judge compares six
NOT_RUN = re.compile("mytorch.show")  # by the graded tests


# Running the tests of a solution


@contextlib.contextmanager
def importing_from(root):
    """Context in which mytorch is imported from ``root``, and what it changes is put back."""
    path, floating, limit = sys.path[:], np.geterr(), sys.getrecursionlimit()
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield Path(root)
    finally:
        sys.path[:] = path
        np.seterr(**floating)
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def changed(solution, edits):
    """Context with the folder of a correct solution that was changed, fit to be imported."""
    with tempfile.TemporaryDirectory(prefix="mytorch-change-") as root, importing_from(root):
        solutions.write(root, solution, edits)
        compileall.compile_dir(root, rx=NOT_RUN, quiet=2)  # once, not for each problem
        yield Path(root)


def run_tests(problem, root, seed, cases=None):
    """What the tests of a problem send, in this process; one that goes on for seconds is stopped.

    Args:
        problem (Problem): which one.
        root (Path): the folder that ``mytorch`` is imported from.
        seed (int): of the inputs.
        cases (container of Case): the tests to run; those with answers by default.

    Returns:
        list of dict: the messages, as child.run_task sends them.
    """
    sent, nowhere = [], io.StringIO()
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), \
            warnings.catch_warnings():
        key, drawn = child.prepare(problem.key, seed, root)
        drawn = [(case, given) for case, given in drawn
                 if (case.scored if cases is None else case in cases)]
        child.run_task((key, drawn), root, sent.append)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return [message for message in sent if message.get("case") in CASES]


def stop(*_):
    raise TimeoutError(f"still running after {SECONDS} s")


# What is kept of it


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


def right_answers(seed):
    """Name of a test → label → answer, of all graded tests."""
    answers = {}
    with changed(solutions.REFERENCE, []) as root:  # a copy, as the tree may not be compiled
        for problem in GRADED:
            for message in run_tests(problem, root, seed):
                if "case" not in message:
                    continue
                if "error" in message:
                    sys.exit(f"{message['case']} fails with the reference: {message['error']}")
                answers[message["case"]] = {
                    label: as_answer(got) for label, got in message["results"].items()}
    for case in CASES.values():
        if case.optional:
            for answer in answers[case.name].values():
                answer["optional"] = True
    return answers


def mistake(bug, answers, seed):
    """What a planted bug makes of its own problem, as it is recorded: "says" and "number"; "results",
    the answers that differ; "errors", name of a test → what the exception says that ended it."""
    edits = [*bug.edits, *(FLOAT64_THROUGHOUT if bug.solution == solutions.THIRD else ())]
    results, errors = {}, {}
    with changed(bug.solution, edits) as root:
        for problem in [problem for problem in GRADED if problem.number == bug.number]:
            for message in run_tests(problem, root, seed):
                if "error" in message:
                    errors[message["case"]] = {
                        name: message["error"][name] for name in ("type", "message")}
                for label, got in message.get("results", {}).items():
                    right = answers[message["case"]][label]
                    if judge.compare(label, right, got):
                        results.setdefault(message["case"], {})[label] = as_answer(
                            got, DIGITS_OF_MISTAKES)
    return {"says": bug.says or bug.name, "number": bug.number, "results": results,
            "errors": errors}


def without_equals(mistakes):
    """The mistakes, of those that say and give the same only the first."""
    return list({json.dumps(found, sort_keys=True): found for found in mistakes}.values())


def record(seed):
    """All that the file holds."""
    with multiprocessing.Pool() as pool:
        answers = pool.apply(right_answers, (seed,))
        mistakes = pool.starmap(mistake, [(bug, answers, seed) for bug in BUGS], chunksize=4)
    return {"seed": seed, "answers": answers, "mistakes": without_equals(mistakes)}


def seeds():
    """The seeds of Autolab's jobs."""
    return json.loads(SEEDS.read_text(encoding="ascii"))["seeds"]


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


def failing(change, answers):
    """The problems that a changed solution fails at some seeds.

    Args:
        change (planted_bugs.Bug or styles.Style): how it is changed. A bug is run from its own
            problem on, in float64.
        answers (dict): seed → what is right.

    Returns:
        dict: seed → keys of problems failed, and keys failed if float32's tolerance held.
    """
    edits, number, found = change.edits, getattr(change, "number", ""), {}
    if number and change.solution == solutions.THIRD:
        edits = [*edits, *FLOAT64_THROUGHOUT]
    with changed(change.solution, edits) as root:
        for seed, right in answers.items():
            failed, failed_in_float32 = found[seed] = [], []
            for problem in [problem for problem in GRADED if problem.number >= number]:
                tests = [(right[message["case"]], message)
                         for message in run_tests(problem, root, seed) if "case" in message]
                for keys, tolerance in ((failed, contextlib.nullcontext),
                                        (failed_in_float32, float32_tolerance)):
                    with tolerance():
                        if any("error" in message or judge.judge_case(expected, message)
                               for expected, message in tests):
                            keys.append(problem.key)
    return found


@contextlib.contextmanager
def float32_tolerance():
    """Context in which results are judged as if all had come back in float32."""
    by_dtype, judge.tolerance_for = judge.tolerance_for, lambda results: judge.IN_FLOAT32
    try:
        yield
    finally:
        judge.tolerance_for = by_dtype


def unfit(candidates, changes=(*STYLES, *BUGS)):
    """What speaks against some seeds: seed → names of the changes that do not lose there what they
    should."""
    against = {seed: [] for seed in candidates}
    with multiprocessing.Pool() as pool:
        wanted = (SEED, *candidates)
        answers = dict(zip(wanted, pool.map(right_answers, wanted, chunksize=1)))
        found = pool.starmap(failing, [(change, answers) for change in changes], chunksize=1)
    for change, by_seed in zip(changes, found):
        for seed in candidates:
            if not is_fit(seed, change, by_seed):
                against[seed].append(change.name)
    return against


def is_fit(seed, change, by_seed):
    """Whether a change loses at a seed what it should, in float64 and with float32's tolerance: a bug
    what it loses at home, a style nothing. ``by_seed`` is as ``failing`` gives it."""
    wanted = by_seed[SEED][0] if hasattr(change, "number") else []
    return all(failed == wanted for failed in by_seed[seed])


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


@functools.lru_cache(maxsize=None)
def for_autolab(chosen=None):
    """Name of a file → its text: the answers to each of the seeds that a job may take, or of those
    that are chosen (tuple)."""
    chosen = chosen or tuple(seeds())
    with multiprocessing.Pool() as pool:
        answers = pool.map(right_answers, chosen, chunksize=4)
    return {f"{seed}.json": as_json({"seed": seed, "answers": right, "mistakes": []})
            for seed, right in zip(chosen, answers)}


def as_json(recorded):
    """The text of the file, with one test or mistake to a line, so that two can be compared."""
    def lines(parts):
        return ",\n".join(json.dumps(part, allow_nan=False, separators=(",", ":"),
                                     ensure_ascii=False) for part in parts)
    tests = ",\n".join(f"{json.dumps(name)}:{lines([answers])}"
                       for name, answers in recorded["answers"].items())
    return (f'{{"seed": {recorded["seed"]}, "answers": {{\n{tests}}},\n"mistakes": [\n'
            f'{lines(recorded["mistakes"])}]}}\n')


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Write the answers to the graded tests.")
    parser.add_argument("file", nargs="?", default=str(ANSWERS), metavar="FILE")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the inputs; default {SEED}")
    parser.add_argument("--check", action="store_true",
                        help="choose the seeds of Autolab's jobs anew (about twenty minutes)")
    parser.add_argument("--right", action="store_true", help="leave the mistakes out, as for a job")
    options = parser.parse_args(arguments)
    if options.check:
        check()
        return
    recorded = record(options.seed) if not options.right else {
        "seed": options.seed, "answers": right_answers(options.seed), "mistakes": []}
    Path(options.file).write_text(as_json(recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
