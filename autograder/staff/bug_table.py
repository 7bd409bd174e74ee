"""Prints which planted bugs (tests/planted_bugs.py) cost which problems, and what a student reads,
and the styles (tests/styles.py), which must cost none.
python3 autograder/staff/bug_table.py [--report] [WORD ...]: all, or those of a number or word."""

import argparse
import json
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import packages  # noqa: E402, F401
from changes import NUMBERS, grade_change  # noqa: E402
from planted_bugs import BUGS  # noqa: E402
from problems import BY_KEY, GRADED  # noqa: E402
from styles import STYLES  # noqa: E402

WIDTH = 110
LEGEND = f"""\
Each style and bug, with a column for each problem: {'  '.join(NUMBERS)}
X the problem fails, . it does not; below: what the report says first, of a bug's own problem.
"""


def number_of(change):
    """The number of a bug's problem; "style" of a style."""
    return getattr(change, "number", "style")


def marks(failed):
    """``. . X. ..`` for all graded problems, a space between two numbers."""
    return " ".join(
        "".join("X" if problem.key in failed else "." for problem in GRADED
                if problem.number == number)
        for number in NUMBERS)


def fault_with(change, finding):
    """What the grader gets wrong about a style or bug, in words; "" if nothing."""
    failed, in_float32 = ([BY_KEY[key].number for key in finding[kind]]
                          for kind in ("failed", "failed in float32"))
    if number_of(change) == "style":
        return "LOSES POINTS" if failed else ""
    if failed[:1] != [change.number]:
        return "ALSO FAILS AN EARLIER PROBLEM" if failed else "NOT CAUGHT"
    return "" if in_float32[:1] == [change.number] else "NOT CAUGHT WITH THE TOLERANCE OF FLOAT32"


def show(change, finding, with_report):
    """Print the lines of one style or bug."""
    columns = marks(finding["failed"])
    name = f"{number_of(change):6} {change.name} "
    print(f"{name:.<{WIDTH - len(columns) - 1}} {columns}")
    own = [lines for key, lines in finding["complaints"].items()
           if number_of(change) in (BY_KEY[key].number, "style")]
    for line in [fault_with(change, finding), *(own[0] if own else [])][:3]:
        if line:
            print(textwrap.indent(textwrap.shorten(line, WIDTH - 7, placeholder=" ..."), " " * 7))
    if with_report:
        print(textwrap.indent(finding["report"], "    "))


def lost_elsewhere(findings):
    """Points that a bug loses outside its own problem, on average over pairs of a bug and what was
    found."""
    lost = [sum(BY_KEY[key].points for key in finding["failed"]
                if BY_KEY[key].number != bug.number) for bug, finding in findings]
    return sum(lost) / max(len(lost), 1)


def numbers_for(change):
    """The numbers of the problems that --json runs: those before its own of every third bug alone,
    because what costs points there costs it for many bugs."""
    if change not in BUGS:
        return NUMBERS
    own = NUMBERS.index(change.number)
    return NUMBERS[own * (BUGS.index(change) % 3 > 0):own + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD",
                        help='only styles and bugs with one of these; "style" for all styles')
    parser.add_argument("--report", action="store_true", help="print the student's whole report")
    parser.add_argument("--json", action="store_true", help="run all of each style, each bug's own "
                        "problem, here and in other people's code, and of every third those before "
                        "it; print JSON by name")
    options = parser.parse_args()
    changes = [change for change in (*STYLES, *BUGS) if not options.words or any(
        word == number_of(change) or word in change.name for word in options.words)]
    numbers = [NUMBERS] * len(changes)
    if options.json:
        numbers = [numbers_for(change) for change in changes]
        twins = [twin for bug in changes if bug in BUGS for twin in bug.elsewhere]
        changes, numbers = changes + twins, numbers + [[twin.number] for twin in twins]
    with ProcessPoolExecutor() as pool:
        findings = list(pool.map(grade_change, changes, numbers, [options.report] * len(changes)))
    if options.json:
        print(json.dumps({change.name: found for change, found in zip(changes, findings)}))
        return
    print(LEGEND)
    found = list(zip(changes, findings))
    for change, finding in found:
        show(change, finding, options.report)
    wrong = [f"{fault_with(*one).lower()}: {one[0].name}" for one in found if fault_with(*one)]
    print(f"\n{len(found)} styles and bugs; judged wrongly: {len(wrong)}", *wrong, sep="\n")
    bugs = [one for one in found if number_of(one[0]) != "style"]
    operations = [one for one in bugs if one[0].number.startswith("1.1")]
    print(f"Points lost outside the bug's own problem, on average: {lost_elsewhere(bugs):.1f}; "
          f"by the bugs of 1.1: {lost_elsewhere(operations):.1f}")


if __name__ == "__main__":
    main()
