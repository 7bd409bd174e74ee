"""Grades all that a program can grade and prints the score: what ./grade.sh 1 runs.
The command line and the score line; grading.py grades, report.py shows."""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

# One thread is enough for small arrays, starts faster, and leaves forks clean.
THREADS = ("OPENBLAS", "OMP", "MKL", "VECLIB")
for library in THREADS:
    os.environ[library + "_NUM_THREADS"] = "1"

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    from handin import packing, unpacking
    from grader.grading import CannotGrade, RecordedAnswers, grade, grade_here
    from problems import FULL_SCORE, GRADED, PROBLEMS
    from grader.report import Report
except ImportError as problem:  # NumPy, or a file that came with the homework
    if __name__ != "__main__":
        raise
    print(f"./grade.sh 1: the grader cannot start: {problem}", file=sys.stderr)
    sys.exit(2)

ROOT = HERE.parents[1]


def select(numbers):
    """The graded problems with those numbers, such as "2.1", or "2" for all of 2; all for none.

    Raises:
        CannotGrade: for a number that is not in the table.
    """
    def chosen(problem, number):
        return problem.number == number or problem.number.startswith(number + ".")

    for number in numbers:
        if any(chosen(problem, number) for problem in PROBLEMS if problem.by_hand):
            raise CannotGrade(f"Problem {number} is graded by hand; to run it: ./grade.sh m")
        if not any(chosen(problem, number) for problem in GRADED):
            there_are = ", ".join(dict.fromkeys(problem.number for problem in GRADED))
            raise CannotGrade(f"unknown problem {number}; there are {there_are}")
    return [problem for problem in GRADED
            if not numbers or any(chosen(problem, number) for number in numbers)]


def parse_arguments(arguments):
    """The options of ./grade.sh 1, as argparse's namespace."""
    parser = argparse.ArgumentParser(
        prog="./grade.sh 1", description=(
            f"Grade problems {GRADED[0].number} to {GRADED[-1].number} of homework 1."))
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help="such as 1.2 or 2.4")
    parser.add_argument("--verbose", action="store_true", help="show all that failed, and limits")
    parser.add_argument("--json", metavar="FILE", help="also write the result to FILE")
    parser.add_argument("--handin", metavar="FILE", type=Path,
                        help="grade this tarball instead of the tree; its code runs with your "
                             "rights, so let it be your own")
    parser.add_argument("--debug", action="store_true",
                        help="grade one problem in this process, with the keyboard, for pdb")
    options = parser.parse_args(arguments)
    if options.debug and (len(options.problems) != 1 or options.handin):
        parser.error("--debug takes one problem of the tree: ./grade.sh 1 2.4 --debug")
    return options


def score_line(points):
    """The score line: every key of the table, 0 for what did not run or is graded by hand."""
    return json.dumps({"scores": {problem.key: points.get(problem.key, 0) for problem in PROBLEMS}})


def print_last(line, clean_up):
    """Print a line; if it cannot be written, as on a full disk, once more after cleaning up."""
    try:
        print(line, flush=True)
    except OSError:
        clean_up.close()
        print("\n" + line, flush=True)


def write_json(path, verdicts):
    """Write scores and complaints for programs to read."""
    described = [
        {"number": v.problem.number, "key": v.problem.key, "points": v.points,
         "max_points": v.problem.points, "passed": v.passed, "left_to_write": v.missing,
         "complaints": v.complaints, "mistakes": v.mistakes, "notes": v.notes}
        for v in verdicts
    ]
    Path(path).write_text(json.dumps({"problems": described}, indent=1) + "\n", encoding="utf-8")


def unpacked(tarball, report, clean_up, remove=shutil.rmtree):
    """The folder that holds what may be graded of a tarball; ``remove`` removes it, at ``clean_up``."""
    folder, remarks = clean_up.enter_context(unpacking.unpacked(tarball, remove))
    for remark in remarks[:10]:
        report.line(f"{tarball.name}: {remark}")
    return folder


def grade_and_report(options, problems, report, clean_up):
    """Grade tree or tarball, printing each verdict; returns the verdicts.

    What is to be cleaned up afterwards is left to ``clean_up``, a contextlib.ExitStack.
    """
    root = ROOT
    if options.handin:
        report.line(f"The code in {options.handin.name} runs with your rights, as your own does.")
        root = unpacked(options.handin, report, clean_up)
    for said in [] if options.handin else packing.about_imports(ROOT):
        report.line(f"Note: {said}.", 33)
    if options.debug:
        report.line("Debugging: your code runs in this process. Nothing is limited: no time limit, "
                    "no memory limit.")
        report.line("breakpoint() in your code stops there; c goes on, q leaves.")
    in_which = grade_here if options.debug else grade
    grading_now = clean_up.enter_context(contextlib.closing(
        in_which(problems, root, RecordedAnswers())))
    verdicts = []
    for verdict in itertools.islice(grading_now, len(problems)):  # one step more cleans up
        verdicts.append(verdict)
        report.show(verdict)
    return verdicts


def main(arguments=None):
    """Grade as the command line says; returns the exit status: 0 if all points that were asked for
    were reached, 1 if not, 2 if nothing can be graded."""
    options = parse_arguments(arguments)
    report = Report(sys.stdout, options.verbose)
    with contextlib.ExitStack() as clean_up:
        verdicts = []
        try:
            problems = select(options.problems)
            verdicts = grade_and_report(options, problems, report, clean_up)
        except unpacking.HandinError as error:
            report.line(f"Nothing was graded: {error}.")
        except (CannotGrade, OSError) as error:  # such as no room for temporary files
            print(f"./grade.sh 1: {error}", file=sys.stderr)
            return 2
        conclude(options, verdicts, report, clean_up)
    return 0 if sum(verdict.passed for verdict in verdicts) == len(problems) else 1


def conclude(options, verdicts, report, clean_up):
    """Print the total, write what --json asks for, and print the score line, last."""
    report.end()
    points = {verdict.problem.key: verdict.points for verdict in verdicts}
    if options.problems:
        report.line(f"Only {', '.join(options.problems)} ran; the others count 0 here.")
    by_hand = ", ".join(f"{p.key}, {p.points} points," for p in PROBLEMS if p.by_hand)
    report.line(f"Total score: {sum(points.values())}/{FULL_SCORE}   "
                f"({by_hand} is graded by hand: ./grade.sh m)", 1)
    if options.json:
        try:
            write_json(options.json, verdicts)
        except OSError as error:
            report.line(f"Cannot write {options.json}: {error.strerror}")
    line = score_line(points)
    print_last(f"\n\033[90m{line}\033[0m" if report.pretty else line, clean_up)


def stop_as_by_ctrl_c():
    """Let kill and a closed terminal end this as Ctrl-C does, which cleans up; nohup is obeyed."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    stop_as_by_ctrl_c()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk; or who read the report, such as | head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        print(f"./grade.sh 1: cannot write the report: {error.strerror}", file=sys.stderr)
        sys.exit(2)
