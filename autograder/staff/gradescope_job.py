"""Grades one submission in a container of Gradescope, whose folders lie in the current one.
gradescope.py packs it, run_autograder runs it; it writes results/results.json."""

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import job  # noqa: E402
import handins  # noqa: E402
from grader.report import Report  # noqa: E402
from handin import packing  # noqa: E402
from problems import GRADED  # noqa: E402

NOBODY = 65534  # the number of the user as whom submissions run


class Text(io.StringIO):
    """What is printed into it, as if into a file in UTF-8."""

    encoding = "utf-8"


class TestsReport(Report):
    """Keeps what it says of each problem apart."""

    def __init__(self):
        super().__init__(Text())
        self.shown = {}  # key of a problem → what was said of it

    def show(self, verdict):
        start = self.stream.tell()
        super().show(verdict)
        self.shown[verdict.problem.key] = self.stream.getvalue()[start:]
        self.stream.truncate(start)
        self.stream.seek(start)


def close_to_others():
    """Let no other user read the answers and what else is nobody's business, or write results."""
    os.umask(0o022)
    for name, mode in (("source/autograder", 0o700), ("results", 0o700), ("submission", 0o700),
                       ("submission_metadata.json", 0o600)):
        if os.path.exists(name):
            os.chmod(name, mode)


def grade(report, clean_up):
    """The verdicts on what was submitted; none if it holds no solution."""
    scratch = Path(clean_up.enter_context(tempfile.TemporaryDirectory()))
    try:
        found = handins.in_folder(Path("submission"))
        if not isinstance(found, Path):
            raise packing.HandinError(f"{found}; hand in handin.tar, or the folders mytorch and hw1")
        handin = handins.as_tar(handins.Submission("", 1, found), scratch)
    except packing.HandinError as error:
        report.line(f"Nothing was graded: {error}.")
        return []
    as_nobody = ["--without-landlock", f"--user={NOBODY}"] if os.geteuid() == 0 else []
    return job.run(job.parse_arguments([str(handin), *as_nobody]), report, clean_up)


def results_of(verdicts, report):
    """What Gradescope reads: a test for each score line."""
    job.report_limits(verdicts, report)
    points = {verdict.problem.key: verdict.points for verdict in verdicts}
    return {"score": sum(points.values()), "output": report.stream.getvalue(), "tests": [
        {"name": problem.title, "number": problem.number, "score": points.get(problem.key, 0),
         "max_score": problem.points, "output": report.shown.get(problem.key, "")}
        for problem in GRADED]}


def results_without_scores(reason):
    """What Gradescope reads where the host is at fault: the score that the student has; None where
    there is no such."""
    try:
        before = json.loads(Path("submission_metadata.json").read_text())["previous_submissions"]
        scores = [float(one["score"]) for one in before if one.get("score") is not None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        scores = []
    return {"score": scores[-1], "output": f"{reason}\nThis is the score of your last "
            "submission. Tell the staff, or submit again later."} if scores else None


def main():
    """Grade, and write the results; returns the exit status, 1 where there are none."""
    job.leave_after(job.SECONDS + job.OVERDUE, 1, "the job did not finish in time.")
    report, reason = TestsReport(), ""
    close_to_others()
    with contextlib.ExitStack() as clean_up:
        try:
            results = results_of(grade(report, clean_up), report)
        except job.FAULTS as error:
            reason = f"{job.NO_SCORES}{error}"
        except Exception:
            reason = f"{job.NO_SCORES}the grader crashed.\n{traceback.format_exc()}"
        if reason:
            print(reason)
            results = results_without_scores(reason.splitlines()[0])
        if results:
            Path("results").mkdir(exist_ok=True)
            Path("results", "results.json").write_text(json.dumps(results), encoding="utf-8")
    return 0 if results else 1


if __name__ == "__main__":
    job.forget_the_environment()
    sys.exit(main())
