"""Shows verdicts to people: the report of ./grade.sh 1, on a terminal or in a log.
What in it comes from a student's code is always told from what the grader says."""

import itertools
import os
import re
import textwrap

from grader import errors
from grader.graded import CASES
from grader.places import without_paths

WIDTH = 72  # of a problem's first line
TEXT_WIDTH = 93  # of what is said below it, after 7 spaces
SHOWN = 2  # wrong results of one test that are shown; of the others it says how many
MAX_LINES = 6  # of a student's own output, per problem; 100 with --verbose

RESULT = re.compile(r".*: (expected|nothing came back)")  # a complaint about one result of a test


class Report:
    """Prints verdicts for a person, with colour and signs where the terminal has them."""

    def __init__(self, stream, verbose=False):
        self.stream = stream
        self.verbose = verbose
        self.pretty = stream.isatty() and "NO_COLOR" not in os.environ and (
            os.environ.get("TERM") != "dumb")
        self.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        self.judged = []  # verdicts so far
        self.said = {}  # complaint, or what identifies an exception -> problem that it was said of
        self.reasons = {}  # number of a problem that failed -> of the one that it was put down to

    def line(self, text, colour=None):
        """Print one line; what in it comes from a student can neither break nor colour it."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if not self.unicode:
            text = text.translate({ord(a): b for a, b in zip("×·ε←ᵀ²✓✗", "x*e<T2+-")})
            text = text.encode("ascii", "replace").decode()
        if colour and self.pretty:
            text = f"\033[{colour}m{text}\033[0m"
        try:
            print(text, file=self.stream, flush=True)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk: no reason to stop grading
            pass

    def show(self, verdict):
        """Print one problem: its score, and what is wrong, if anything is."""
        try:
            self._show(verdict)
        except BrokenPipeError:
            raise
        except Exception as error:  # what is shown comes from a student's process
            self.line(f"       this cannot be shown ({type(error).__name__})")

    def _show(self, verdict):
        problem = verdict.problem
        sign = ("✓ " if verdict.passed else "✗ ") if self.pretty else ""
        colour = 32 if verdict.passed else 33 if verdict.unfinished else 31
        head = f"{sign}{problem.number:6} {problem.title} "
        self.line(f"{head:.<{WIDTH - 6}} {verdict.points}/{problem.points}", colour)
        if not verdict.passed:
            self._explain(verdict)
        self.judged.append(verdict)
        for remark in verdict.remarks if verdict.passed else ():
            for line in remark.splitlines():
                self.line("       " + line)
        self._show_output(verdict.outcome)
        if self.verbose:
            self.line(f"       limits: {', '.join(verdict.outcome.protections) or 'none'}")

    def _explain(self, verdict):
        problem = verdict.problem
        if verdict.unfinished:
            self._indented(f"(not started: {verdict.unfinished})")
            if verdict.unfinished_at:
                self._indented(f"at {verdict.unfinished_at}")
            return
        name, lines = next(iter(verdict.complaints.items()))
        ran = name in verdict.outcome.cases  # else its process ended before, as is said
        explained = bool(not ran or name in verdict.errors or verdict.clues or verdict.recognised)
        if self.verbose:
            for line in verdict.text().splitlines() + verdict.clues:
                self._indented(line)
        elif self._was_said(verdict, name):
            return
        else:
            explained |= self._complain(verdict, name, shortened(lines))
        if name not in verdict.errors:
            self._indented(f"test: {name}")
            if verdict.defined_at:
                self._indented(f"defined at {verdict.defined_at}")
        others = len(verdict.complaints) - 1
        if others and not self.verbose:
            self._indented(f"{others} more test{'s' * (others > 1)} of this problem failed")
        # Of a problem that failed above as well, this may be the same mistake, and no hint fits it.
        if not explained and problem.number not in [v.problem.number for v in self.judged
                                                    if not v.passed]:
            self._indented(f"hint: {errors.hint(problem, lines)}")
        self._indented(f"run again: ./grade.sh 1 {problem.number}")

    def _complain(self, verdict, name, lines):
        """The first complaint, whole or, where an earlier failure explains it, in short; returns
        whether one does."""
        number = errors.cause_of(verdict, self.judged, CASES[name].uses)
        for clue in verdict.clues[:1]:  # the operation or line at fault may have been named above
            number = self.said.setdefault(re.split(":  |: the ", clue)[0], verdict.problem.number)
            number = "" if number == verdict.problem.number else number
        cause = self.reasons.get(number, number)
        self._put_down(verdict.problem.number, cause)
        at = [line for line in lines if line.startswith("at ")]  # of an exception
        if cause:
            lines = [f"probably caused by {cause}: {lines[0]}", *verdict.clues[:1], *at]
        elif name in verdict.errors and verdict.clues:  # the exception only follows
            lines = [*verdict.clues, f"which then raises {lines[0]}", *at]
        else:
            end = 1 + (lines[1:2] != [] and lines[1].startswith("looks like"))
            lines = [*lines[:end], *verdict.clues, *lines[end:]]
        for line in lines:
            self._indented(line)
        return cause != ""

    def _put_down(self, number, cause):
        """Note to what the failure of a problem was put down; one failure of its own outweighs."""
        if self.reasons.get(number) != number:
            self.reasons[number] = cause or number

    def _was_said(self, verdict, name):
        """Whether the same complaint stands above already; says so then, and names its place."""
        error = verdict.errors.get(name)
        key = errors.signature(error) if error else tuple(verdict.complaints[name])
        if key not in self.said:
            self.said[key] = verdict.problem.number
            return False
        place = f", at {error['place']}" if error and error.get("place") else ""
        self._indented(f"the same as in {self.said[key]}, above{place}")
        self._put_down(verdict.problem.number, self.reasons.get(self.said[key], self.said[key]))
        return True

    def _indented(self, text):
        for line in textwrap.wrap(text, TEXT_WIDTH, subsequent_indent="  ") or [""]:
            self.line("       " + line)

    def _show_output(self, outcome):
        """What the student's code printed, so marked that it cannot pass for the report."""
        lines = without_paths(outcome.output, outcome.root).splitlines()
        runs = [(line, len(list(same))) for line, same in itertools.groupby(lines)]
        shown = runs[:100 if self.verbose else MAX_LINES]
        for line, times in shown:
            self.line("       | " + line[:160] + (f"   ({times} times)" if times > 1 else ""))
        total = max(outcome.output_lines, len(lines))
        if total > sum(times for _, times in shown):
            self.line(f"       | ... {total:,} lines in all")


def shortened(lines):
    """The complaints about one test, each mistake named once, without those about its third wrong
    result and all after it."""
    lines = [line for i, line in enumerate(lines)
             if line not in lines[:i] or not line.startswith("looks like")]
    results = [i for i, line in enumerate(lines) if RESULT.match(line)]
    if len(results) <= SHOWN:
        return lines
    end = results[-1] + 1
    while end < len(lines) and lines[end].startswith("looks like"):
        end += 1
    more = len(results) - SHOWN
    return [*lines[:results[SHOWN]],
            f"{more} more result{'s' * (more > 1)} of this test {'are' if more > 1 else 'is'} wrong",
            *lines[end:]]
