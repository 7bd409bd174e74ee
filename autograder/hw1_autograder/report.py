"""Shows verdicts to people: the report of ./grade.sh 1, on a terminal or in a log.
What in it comes from a student's code is always told from what the grader says."""

import itertools
import os

WIDTH = 72
MAX_LINES = 6  # of a student's own output, per problem; 100 with --verbose


class Report:
    """Prints verdicts for a person, with colour and signs where the terminal has them."""

    def __init__(self, stream, verbose=False):
        self.stream = stream
        self.verbose = verbose
        self.pretty = stream.isatty() and "NO_COLOR" not in os.environ and (
            os.environ.get("TERM") != "dumb")
        self.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        self.failed = []  # numbers of problems that lost points
        self.last_complaint = None

    def line(self, text, colour=None):
        """Print one line; what in it comes from a student can neither break nor colour it."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if not self.unicode:
            text = text.translate({ord(a): b for a, b in zip("×·ε←ᵀ²✓✗", "x*e<T2+-")})
            text = text.encode("ascii", "replace").decode()
        if colour and self.pretty:
            text = f"\033[{colour}m{text}\033[0m"
        print(text, file=self.stream, flush=True)

    def show(self, verdict):
        """Print one problem: its score, and what is wrong, if anything is."""
        problem = verdict.problem
        sign = ("✓ " if verdict.passed else "✗ ") if self.pretty else ""
        colour = 32 if verdict.passed else 33 if verdict.unfinished else 31
        head = f"{sign}{problem.number:6} {problem.title} "
        self.line(f"{head:.<{WIDTH - 6}} {verdict.points}/{problem.points}", colour)
        if not verdict.passed:
            self._explain(verdict)
            if problem.points:
                self.failed.append(problem.number)
        for remark in verdict.remarks if verdict.passed else ():
            for line in remark.splitlines():
                self.line("       " + line)
        self._show_output(verdict.outcome)
        if self.verbose:
            self.line(f"       limits: {', '.join(verdict.outcome.protections) or 'none'}")

    def _explain(self, verdict):
        problem = verdict.problem
        if verdict.unfinished:
            self.line(f"       (not started: {verdict.unfinished})")
            return
        name, lines = next(iter(verdict.complaints.items()))
        causes = [number for number in problem.needs if number in self.failed]
        if causes and not self.verbose:
            self.line(f"       probably caused by {causes[0]}: {lines[0]}")
            for line in lines[1:2]:
                if line.startswith("looks like"):
                    self.line("       " + line)
            return
        if lines == self.last_complaint and not self.verbose:
            self.line("       the same as above")
            return
        self.last_complaint = lines
        for line in lines:
            self.line("       " + line)
        if verdict.outcome.defined_at:
            self.line(f"       test: {name};  defined at {verdict.outcome.defined_at}")
        others = len(verdict.complaints) - 1
        if others:
            self.line(f"       {others} more test{'s' * (others > 1)} of this problem failed")
            if self.verbose:
                for line in verdict.text().splitlines():
                    self.line("       " + line)
        if name not in verdict.raised:
            self.line(f"       hint: {problem.hint}")
        self.line(f"       run again: ./grade.sh 1 {problem.number}")

    def _show_output(self, outcome):
        """What the student's code printed, so marked that it cannot pass for the report."""
        lines = outcome.output.splitlines()
        runs = [(line, len(list(same))) for line, same in itertools.groupby(lines)]
        shown = runs[:100 if self.verbose else MAX_LINES]
        for line, times in shown:
            self.line("       | " + line[:160] + (f"   ({times} times)" if times > 1 else ""))
        total = max(outcome.output_lines, len(lines))
        if total > sum(times for _, times in shown):
            self.line(f"       | ... {total:,} lines in all")
