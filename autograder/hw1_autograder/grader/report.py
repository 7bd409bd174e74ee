"""Shows verdicts to people: the report of ./grade.sh 1, on a terminal or in a log.
What in it comes from a student's code is always told from what the grader says."""

import contextlib
import itertools
import os
import re
import shutil
import textwrap

from grader import errors
from grader.places import without_paths

WIDTH = 72  # of a problem's first line
LOG_WIDTH = 100  # of what is said below it, where there is no terminal
SHOWN = 2  # wrong results of one test that are shown; of the others it says how many
MAX_LINES = 6  # of a failing problem's own output; 100 with --verbose


class Report:
    """Prints verdicts for a person, with colour and signs where the terminal has them.

    Problems of one number that are not started are one line, printed once another number comes,
    or at ``end``.
    """

    def __init__(self, stream, verbose=False):
        self.stream = stream
        self.verbose = verbose
        self.pretty = stream.isatty() and "NO_COLOR" not in os.environ and (
            os.environ.get("TERM") != "dumb")
        self.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        self.width = LOG_WIDTH
        if stream.isatty():
            self.width = max(40, shutil.get_terminal_size((LOG_WIDTH, 24)).columns)
        self.folded = []  # verdicts that are to be one line
        self.said = {}  # what identifies an exception or a mistake -> number of the problem
        self.next = ""  # where to go on

    def line(self, text="", colour=None):
        """Print one line; what in it comes from a student can neither break nor colour it."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if not self.unicode:
            text = text.translate({ord(a): b for a, b in zip("×·ε←ᵀ²✓✗", "x*e<T2+-")})
            text = text.encode("ascii", "replace").decode()
        if colour and self.pretty:
            text = f"\033[{colour}m{text}\033[0m"
        with contextlib.suppress(OSError):  # a full disk, or nobody reads this: grading goes on
            print(text, file=self.stream, flush=True)

    def show(self, verdict):
        """Print one problem: its score, and what is wrong, if anything is."""
        try:
            self._show(verdict)
        except Exception as error:  # what is shown comes from a student's process
            self.line(f"       this cannot be shown ({type(error).__name__})")

    def end(self):
        """Print what has been held back, and where to go on."""
        self._unfold()
        if self.next:
            self.line(f"next: {self.next}")

    def _show(self, verdict):
        number = verdict.problem.number
        if self.folded and self.folded[0].problem.number != number:
            self._unfold()
        if not verdict.passed and not self.next:
            code = (verdict.missing or [place_of(verdict)])[0]
            self.next = f"{number}, {code}" if code else number
        if not self.verbose and not verdict.outcome.output and (
                verdict.not_started or verdict.waits_for):  # one line says all
            self.folded.append(verdict)
            return
        self._unfold()
        self._head([verdict])
        if not verdict.passed:
            self.explain(verdict)
        for note in verdict.notes:
            self._indented(f"note: {note}")
        self._show_output(verdict)
        if self.verbose:
            self._indented(f"limits: {', '.join(verdict.outcome.protections) or 'none'}")

    def _unfold(self):
        """Print the line for the problems that are held back."""
        folded, self.folded = self.folded, []
        if folded:
            started = not any(verdict.not_started for verdict in folded)
            self._head(folded, f"uses {folded[0].waits_for}, not finished" if started else
                       "not started")

    def _head(self, verdicts, state=""):
        """The first line: number, title and points; of several problems those of all together."""
        problem, more = verdicts[0].problem, len(verdicts) - 1
        passed = verdicts[0].passed
        sign = ("✓ " if passed else "✗ ") if self.pretty else ""
        title = problem.title + (f", and {more} more" if more else "")
        head = f"{sign}{problem.number:6} {title} "
        points = sum(verdict.points for verdict in verdicts)
        most = sum(verdict.problem.points for verdict in verdicts)
        colour = 32 if passed else 33 if state or verdicts[0].missing else 31
        self.line(f"{head:.<{WIDTH - 6}} {points}/{most}" + f"  {state}" * bool(state), colour)

    def explain(self, verdict):
        """Print what is wrong with a problem."""
        if verdict.missing:
            state = "not started" if verdict.not_started else "in work"
            are = "is" if len(verdict.missing) == 1 else "are"
            self._indented(f"{state}: {', '.join(verdict.missing)} {are} missing")
            if verdict.problem.number == "1.2" or errors.todo_of(
                    verdict.errors.get(verdict.shown, {})):
                return  # what else fails only follows
        if self.verbose:
            for line in verdict.text().splitlines() + verdict.mistakes + verdict.closer:
                self._indented(line)
        elif not self._was_said(verdict):
            self._complain(verdict)
        for other in verdict.uses:
            self._indented(f"uses {other}, which fails above")
        if verdict.shown not in verdict.errors:
            at = f", at {verdict.at}" if verdict.at else ""
            self._indented(f"test: {verdict.shown}{at}")
        others = len(verdict.complaints) - 1
        if others and not self.verbose:
            self._indented(f"{others} more test{'s' * (others > 1)} of this problem failed")
        for hint in () if verdict.mistakes or verdict.closer or verdict.uses else verdict.hints:
            self._indented(f"hint: {hint}")
        self._indented(f"run again: ./grade.sh 1 {verdict.problem.number}")

    def _complain(self, verdict):
        """What is wrong in the test that is shown, and the mistake behind it."""
        lines = shortened(verdict.complaints[verdict.shown])
        if verdict.shown in verdict.errors and verdict.closer:  # the exception only follows
            lines[0] = f"which then raises {lines[0]}"
            lines = [*verdict.closer, *lines]
        elif verdict.closer and not (verdict.mistakes and verdict.problem.number == "1.2"):
            lines[1:1] = verdict.closer
        first = "mistake, one of" if len(verdict.mistakes) > 1 else "mistake"
        lines[1:1] = [f"{'or' if number else first}: {says}"
                      for number, says in enumerate(verdict.mistakes)]
        for line in lines:
            self._indented(line)

    def _was_said(self, verdict):
        """Whether the same complaint was printed above; says so then, and names its place."""
        error = verdict.errors.get(verdict.shown)
        key = (error.get("type"), error.get("place"), errors.without_addresses(
            error.get("message"))) if error else tuple(verdict.mistakes)
        if not key or key not in self.said:
            self.said[key] = verdict.problem.number
            return False
        place = f", at {error['place']}" if error and error.get("place") else ""
        self._indented(f"the same as in {self.said[key]}, above{place}")
        return True

    def _indented(self, text):
        for line in textwrap.wrap(text, self.width - 7, subsequent_indent="  ",
                                  break_long_words=False, break_on_hyphens=False) or [""]:
            self.line("       " + line)

    def _show_output(self, verdict):
        """What the student's code printed, so marked that it cannot pass for the report; of a
        problem that passed only how much."""
        outcome = verdict.outcome
        lines = without_paths(outcome.output, outcome.root).splitlines()
        total = max(outcome.output_lines, len(lines))
        if verdict.passed and total > 1 and not self.verbose:
            self._indented(f"printed {total:,} lines")
            return
        runs = [(line, len(list(same))) for line, same in itertools.groupby(lines)]
        shown = runs[:100 if self.verbose else MAX_LINES]
        for line, times in shown:
            self.line("       | " + line[:160] + (f"   ({times} times)" if times > 1 else ""))
        if total > sum(times for _, times in shown):
            self.line(f"       | ... {total:,} lines in all")


def place_of(verdict):
    """Where to go on: what a closer look has found wrong; or the line of an exception, unless it is
    in another file than the code in question."""
    found = re.match(r"[\w.]+ in mytorch/\S+:\d+", "".join(verdict.closer[:1]))
    if found:
        return found.group()
    error = verdict.errors.get(verdict.shown) or {}
    file = verdict.at.partition(" in ")[2].partition(":")[0]
    places = (str(error.get(name) or "").partition(":  ")[0] for name in ("caller", "place"))
    return next((place for place in places if place.startswith(f"{file}:" if file else "mytorch/")),
                verdict.at)


def shortened(lines):
    """The complaints about one test, without those about its third wrong result and all after it;
    the last line is that on its input."""
    results = [i for i, line in enumerate(lines)
               if ": expected" in line or ": nothing came back" in line]
    more = len(results) - SHOWN
    return list(lines) if more <= 0 else [
        *lines[:results[SHOWN]], f"further results of this test that are wrong: {more}", lines[-1]]
