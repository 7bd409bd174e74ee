"""Prints which planted bugs (tests/planted_bugs.py) cost which problems, and what a student reads,
and the styles (tests/styles.py), which must cost none.
python3 autograder/staff/bug_table.py [--report] [WORD ...]: all, or those of a number or word."""

import argparse
import io
import json
import multiprocessing
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from packages import STAFF  # noqa: E402

sys.path.insert(0, str(STAFF / "tests"))

from grader import grading  # noqa: E402
from processes import isolation  # noqa: E402
import record  # noqa: E402
from planted_bugs import BUGS  # noqa: E402
from problems import BY_KEY, GRADED  # noqa: E402
from grader.report import Report  # noqa: E402
from styles import STYLES  # noqa: E402

NUMBERS = tuple(dict.fromkeys(problem.number for problem in GRADED))
WIDTH = 110
LEGEND = f"""\
Each style and bug, with a column for each problem: {'  '.join(NUMBERS)}
X the problem fails, . it does not; below: what the report says first, of a bug's own problem.
"""


def grade_change(change, numbers=NUMBERS, with_closer_look=True):
    """Grade a correct solution that was changed, all problems in this process, one after another:
    twenty processes for each change would take ten times as long.

    Args:
        change (planted_bugs.Bug or styles.Style): how.
        numbers (sequence of str): the numbers of the problems to run.
        with_closer_look (bool): whether to look closer at failures, which takes as long as the rest.

    Returns:
        dict: "failed", the keys of problems that failed; "failed in float32", those that would
        if float32's tolerance held for all; "complaints", key → lines about the test that tells
        most, and "mistakes", key → what the mistake is called; "notes" and "closer" of problems
        that passed, lists of str; "report", the whole report.
    """
    report = Report(io.StringIO())
    report.unicode = True
    found = {"failed": [], "failed in float32": [], "complaints": {}, "mistakes": {},
             "notes": [], "closer": []}
    answers, above = grading.RecordedAnswers(), []
    seed = answers.load()
    problems = [p for p in GRADED if p.number in numbers]
    with record.changed(change.solution, change.edits) as root:
        for problem in problems:
            outcome = outcome_of(problem, root, seed, with_closer_look)
            verdict = grading.Verdict(problem, outcome, answers, above=above)
            above.append(verdict)
            report.show(verdict)
            if verdict.passed:
                found["notes"] += verdict.notes
                found["closer"] += verdict.closer
                continue
            found["failed"].append(problem.key)
            found["mistakes"][problem.key] = verdict.mistakes
            found["complaints"][problem.key] = [
                line for line in verdict.complaints[verdict.shown]
                if not line.startswith("input: ")]
            with record.float32_tolerance():
                if not grading.Verdict(problem, outcome, answers).passed:
                    found["failed in float32"].append(problem.key)
    return {**found, "report": report.stream.getvalue()}


def outcome_of(problem, root, seed, with_closer_look):
    """What a problem's tests send, as isolation.Outcome."""
    outcome = isolation.Outcome(root)
    cases = [case for case in grading.cases_of(problem) if with_closer_look or not case.closer]
    sent = record.run_tests(problem, root, seed, cases)
    outcome.ending = "done"
    outcome.cases = grading.read([json.dumps(message).encode() for message in sent],
                                 {case.name for case in cases})
    return outcome


def is_caught(bug, failed):
    """Whether the bug lost points in its own problem, and in none before it.

    Args:
        bug (planted_bugs.Bug): the mistake.
        failed (list of str): the keys of problems that failed.
    """
    return [BY_KEY[key].number for key in failed][:1] == [bug.number]


def marks(failed):
    """``. . X. ..`` for all graded problems, a space between two numbers."""
    return " ".join(
        "".join("X" if problem.key in failed else "." for problem in GRADED
                if problem.number == number)
        for number in NUMBERS)


def lost_elsewhere(bugs, findings):
    """Points that a bug loses outside its own problem, on average over ``bugs``."""
    lost = [sum(BY_KEY[key].points for key in findings[bug.name]["failed"]
                if BY_KEY[key].number != bug.number) for bug in bugs]
    return sum(lost) / max(len(lost), 1)


def show(number, change, finding, faults):
    """Print the lines of one style or bug; ``faults`` says what of the grader is wrong."""
    columns = marks(finding["failed"])
    name = f"{number:6} {change.name} "
    print(f"{name:.<{WIDTH - len(columns) - 1}} {columns}")
    own = [lines for key, lines in finding["complaints"].items()
           if number in (BY_KEY[key].number, "style")]
    for line in [*faults, *(own[0] if own else [])][:3]:
        line = f"       {line}"
        print(line if len(line) <= WIDTH else line[:WIDTH - 4] + " ...")


def faults_with_bug(bug, finding):
    """What the grader gets wrong about a bug, in words."""
    faults = []
    if not is_caught(bug, finding["failed"]):
        faults.append("ALSO FAILS AN EARLIER PROBLEM" if finding["failed"] else "NOT CAUGHT")
    elif not is_caught(bug, finding["failed in float32"]):
        faults.append("NOT CAUGHT WITH THE TOLERANCE OF FLOAT32")
    return faults


def chosen(changes, words):
    return [change for change in changes if not words or any(
        word == getattr(change, "number", "style") or word in change.name for word in words)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD",
                        help='only styles and bugs with one of these; "style" for all styles')
    parser.add_argument("--report", action="store_true", help="print the student's whole report")
    parser.add_argument("--json", action="store_true", help="run each bug's own problem and those "
                        "before it, and all of each style; print JSON by name")
    options = parser.parse_args()
    styles, bugs = chosen(STYLES, options.words), chosen(BUGS, options.words)
    tasks = [(style, NUMBERS, options.report) for style in styles] + [
        (bug, NUMBERS[:NUMBERS.index(bug.number) + 1] if options.json else NUMBERS, options.report)
        for bug in bugs]
    with multiprocessing.Pool(2) as pool:
        findings = pool.starmap(grade_change, tasks, chunksize=1)
    if options.json:
        print(json.dumps({change.name: found for (change, *_), found in zip(tasks, findings)}))
        return
    print(LEGEND)
    wrong = []
    for (change, *_), finding in zip(tasks, findings):
        number = getattr(change, "number", "style")
        faults = ["LOSES POINTS"] if finding["failed"] else []
        if number != "style":
            faults = faults_with_bug(change, finding)
        show(number, change, finding, faults)
        if options.report:
            print(textwrap.indent(finding["report"], "    "))
        wrong += [f"{fault.lower()}: {change.name}" for fault in faults]
    print(f"\n{len(styles)} styles, {len(bugs)} bugs; judged wrongly: {len(wrong)}")
    print("\n".join(wrong))
    by_name = {change.name: finding for (change, *_), finding in zip(tasks, findings)}
    operations = [bug for bug in bugs if bug.number.startswith("1.1")]
    print(f"Points lost outside the bug's own problem, on average: {lost_elsewhere(bugs, by_name):.1f}; "
          f"by the bugs of 1.1: {lost_elsewhere(operations, by_name):.1f}")


if __name__ == "__main__":
    main()
