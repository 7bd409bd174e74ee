"""Prints which planted bugs (tests/planted_bugs.py) cost which problems, and what a student reads.
python3 autograder/staff/bug_table.py [--report] [WORD ...]: all, or those of a number or word."""

import argparse
import compileall
import io
import json
import sys
import tempfile
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "tests"), str(HERE.parent / "hw1_autograder")]

import grading  # noqa: E402
from planted_bugs import BUGS  # noqa: E402
from problems import BY_KEY, GRADED  # noqa: E402
from report import Report  # noqa: E402

NUMBERS = tuple(dict.fromkeys(problem.number for problem in GRADED))
WIDTH = 110
LEGEND = f"""\
Each bug, with a column for each problem: {'  '.join(NUMBERS)}
X the problem fails, . it does not; below: what the report says first of the bug's own problem.
"""


def grade_bug(bug, numbers=NUMBERS):
    """Grade a correct solution with one bug in it.

    Args:
        bug (planted_bugs.Bug): the mistake.
        numbers (sequence of str): the problems to run.

    Returns:
        dict: "failed", the keys of problems that failed; "first", the lines with which the
        report starts on the bug's own problem; "report", the whole report.
    """
    failed, first, stream = [], [], io.StringIO()
    report = Report(stream)
    report.unicode = True
    problems = [problem for problem in GRADED if problem.number in numbers]
    with tempfile.TemporaryDirectory(prefix="mytorch-bug-") as root:
        bug.plant(root)
        compileall.compile_dir(root, quiet=2)  # once, not in each problem's process
        for verdict in grading.grade(problems, Path(root), grading.RecordedAnswers()):
            report.show(verdict)
            if not verdict.passed:
                failed.append(verdict.problem.key)
                if verdict.problem.number == bug.number and not first:
                    first = [verdict.unfinished] if verdict.unfinished else [
                        line for line in next(iter(verdict.complaints.values()))
                        if not line.startswith("input: ")]
    return {"failed": failed, "first": first, "report": stream.getvalue()}


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


def show(bug, finding):
    """Print the lines of one bug."""
    columns = marks(finding["failed"])
    name = f"{bug.number:6} {bug.name} "
    print(f"{name:.<{WIDTH - len(columns) - 1}} {columns}")
    first = finding["first"] or ["NOT CAUGHT"]
    if not is_caught(bug, finding["failed"]) and finding["first"]:
        first = ["ALSO FAILS AN EARLIER PROBLEM", *first]
    for line in first[:3]:
        line = f"       {line}"
        print(line if len(line) <= WIDTH else line[:WIDTH - 4] + " ...")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="only bugs with one of these")
    parser.add_argument("--report", action="store_true", help="print the student's whole report")
    parser.add_argument("--json", action="store_true",
                        help="run each bug's own problem and those before it, print JSON by name")
    options = parser.parse_args()
    bugs = [bug for bug in BUGS if not options.words
            or any(word == bug.number or word in bug.name for word in options.words)]
    if options.json:
        until = {number: NUMBERS[:i] for i, number in enumerate(NUMBERS, 1)}
        print(json.dumps({bug.name: grade_bug(bug, until[bug.number]) for bug in bugs}))
        return
    print(LEGEND)
    missed = []
    for bug in bugs:
        finding = grade_bug(bug)
        show(bug, finding)
        if options.report:
            print(textwrap.indent(finding["report"], "    "))
        if not is_caught(bug, finding["failed"]):
            missed.append(bug.name)
    print(f"\n{len(bugs) - len(missed)} of {len(bugs)} bugs caught, each in its own problem"
          + "".join(f"\nnot caught: {name}" for name in missed))


if __name__ == "__main__":
    main()
