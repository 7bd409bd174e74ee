"""Writes what an Autolab course needs to grade this homework: one tarball for Autolab's upload.
`python3 autograder/staff/autolab.py DIR`; README.md beside this file says what to click."""

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent))
import handout  # noqa: E402
import record  # noqa: E402
from packages import GRADER, ROOT, STAFF  # noqa: E402
from grader.graded import CASES  # noqa: E402
from handin.packing import is_litter, tar_bytes  # noqa: E402
from problems import GRADED, PROBLEMS  # noqa: E402

NAME = "hw1p1"
JOB = ("job.py", "jail.py")  # of this folder
TIMEOUT = 180  # seconds, Autolab's own limit; job.SECONDS lies well below
# Autolab takes the last line of the log. make must end with status 0, or that would be make's own.
MAKEFILE = """\
# Runs a submission of homework 1: autograde.tar and handin.tar lie beside this file.
# Where the job cannot say a score, for no fault of the student's, Autolab is to keep what it has.
# With status 3 the job itself has said why.
all:
	@rm -rf autograder && tar xf autograde.tar && python3 -B autograder/staff/job.py{options} \\
	    --remove autograde.tar autograder/staff; status=$$?; \\
	case $$status in 0|3) ;; *) echo "No scores, through no fault of the submission:" \\
	    "the job ended with status $$status, see above." ;; esac; \\
	[ $$status = 0 ] || echo '{{"scores": {{}}}}'
"""

CONFIGURATION = """\
---
general:
  name: {name}
  description: "Homework 1, part 1: MyTorch"
  display_name: Homework 1 Part 1
  handin_filename: handin.tar
  handin_directory: handin
  max_grace_days: 0
  handout: handout.tar
  writeup: ""
  max_submissions: -1
  disable_handins: false
  max_size: 20
  has_svn: false
  category_name: Homework
{dates}problems:
{problems}
autograder:
  autograde_timeout: {timeout}
  autograde_image: {image}
  release_score: true
{network}"""


def packed_files():
    """The Paths of what a job needs: the grader without Problem 3, the job, and what of mytorch the
    grader uses itself. It runs the student's copy of all else."""
    found = [path for path in sorted(GRADER.rglob("*.py")) if "problem3" not in path.parts]
    found += [GRADER / "grader" / "answers.json", *(STAFF / name for name in JOB),
              ROOT / "mytorch" / "gradient_check.py", *sorted((ROOT / "mytorch" / "show").rglob("*.py"))]
    return [path for path in found if not is_litter(PurePosixPath(path.relative_to(ROOT).as_posix()))]


def packed():
    """The grader as jobs run it, name → bytes: ``packed_files``, the answers to many inputs, of
    which each job takes some by chance, and the version, a digest of all this.

    Raises:
        handout.HandoutError: if a problem of the table has no graded test.
    """
    check_table()
    contents = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in packed_files()}
    contents.update({f"autograder/staff/answers/{name}": text.encode()
                     for name, text in record.for_autolab(tuple(record.seeds())).items()})
    version = hashlib.sha256(tar_bytes(contents)).hexdigest()[:12]
    return {**contents, "autograder/staff/version": version.encode()}


def check_table():
    """Fail unless every row of problems.py has graded tests: a problem without them would give
    everybody its points."""
    tested = {case.key for case in CASES.values()}
    for problem in GRADED:
        if problem.key not in tested:
            raise handout.HandoutError(f"problems.py: {problem.number} {problem.title} "
                                       f"({problem.key}) has no graded test")


def uncommitted():
    """Names of packed files that Git does not have as they are; none where it cannot tell."""
    try:
        said = subprocess.run(
            ["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=all", "--",
             *(path.relative_to(ROOT).as_posix() for path in packed_files())],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8").stdout
    except OSError:
        return []
    return [line[3:] for line in said.splitlines()]


def makefile(without_landlock=False):
    """The content of autograde-Makefile, which Autolab runs as Makefile."""
    return MAKEFILE.format(options=" --without-landlock" if without_landlock else "")


def configuration(dates=(), image="autograding_image", disable_network=False):
    """The content of hw1p1.yml: every problem of the table with its full score.

    Args:
        dates (sequence of datetime): when the assessment starts, is due and ends; () leaves them
            to Autolab, which then takes the moment of the upload for all three.
        image (str): name of the Docker image in which jobs run.
        disable_network (bool): whether jobs run without a network.
    """
    problems = "\n".join(
        f"- name: {json.dumps(problem.key)}\n  description: {json.dumps(problem.title)}\n"
        f"  max_score: {float(problem.points)}\n  optional: {str(problem.points == 0).lower()}"
        for problem in PROBLEMS)
    return CONFIGURATION.format(
        name=NAME, problems=problems, timeout=TIMEOUT, image=image,
        dates="".join(f'  {key}: "{date.isoformat(" ")}"\n'
                      for key, date in zip(("start_at", "due_at", "end_at"), dates)),
        network="  disable_network: true\n" if disable_network else "")


def handout_tar():
    """The content of handout.tar: the students' tree as the folder hw1p1.

    Raises:
        handout.HandoutError: as handout.make.
    """
    with tempfile.TemporaryDirectory() as folder:
        handout.write(handout.make(ROOT), ROOT, Path(folder, NAME))
        return handout.pack(Path(folder, NAME)).read_bytes()


def report_version(grader):
    """Print the version of a packed grader (name → bytes), and what it was made of."""
    print(f"The grader's version, which each log names: {grader['autograder/staff/version'].decode()}")
    edited = uncommitted()
    if edited:
        more = f" and {len(edited) - 5} more" if len(edited) > 5 else ""
        print(f"NOTE: packed with edits that are not committed: {', '.join(edited[:5])}{more}")


def moment(alone):
    """A function that reads a date and time; a date without a time means that time of the day."""
    def read(text):
        try:
            return datetime.datetime.fromisoformat(f"{text} {alone}" if len(text) == 10 else text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f'{text!r} is no time such as "2026-09-14 23:59"') from None
    return read


def parse_arguments(arguments):
    """The options of the command line, checked, as argparse's namespace."""
    parser = argparse.ArgumentParser(description="Make an assessment for Autolab's upload.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    for name, alone, what in (
            ("start", "00:00", "students see it and can hand in"), ("due", "23:59", "it is due"),
            ("end", "23:59", "nothing more is taken (default: when it is due)")):
        parser.add_argument("--" + name, type=moment(alone), metavar="DATE", help=(
            f'"2026-09-14 23:59", with +00:00 or Autolab\'s own zone: {what}; a date alone '
            f"means {alone}"))
    parser.add_argument("--disable-network", action="store_true", help="jobs have no network")
    parser.add_argument("--without-landlock", action="store_true",
                        help="also give scores on hosts where a submission can write its own")
    parser.add_argument("--image", default="autograding_image", metavar="NAME",
                        help="the Docker image of the jobs (default: %(default)s)")
    options = parser.parse_args(arguments)
    if bool(options.start) != bool(options.due) or options.end and not options.due:
        parser.error("--start and --due belong together")
    options.end = options.end or options.due
    try:
        if options.start and not options.start < options.due <= options.end:
            parser.error("the dates are not in the order start, due, end")
    except TypeError:
        parser.error("give all dates with a zone, or none")
    return options


def main(arguments=None):
    """Write the assessment as the command line says; returns the exit status."""
    options = parse_arguments(arguments)
    dates = (options.start, options.due, options.end) if options.start else ()
    try:
        grader = packed()
        contents = {
            f"{NAME}.yml": configuration(dates, options.image, options.disable_network).encode(),
            "autograde.tar": tar_bytes(grader),
            "autograde-Makefile": makefile(options.without_landlock).encode(),
            "handout.tar": handout_tar(),
        }
        # The upload takes a tarball with the folder as its first entry.
        contents[f"{NAME}.tar"] = tar_bytes({NAME: None, **{
            f"{NAME}/{name}": content for name, content in contents.items()}})
        options.folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (options.folder / name).write_bytes(content)
            print(f"{options.folder / name}: {len(content):,} bytes")
    except (OSError, handout.HandoutError) as error:
        print(f"autolab.py: {error}", file=sys.stderr)
        return 1
    report_version(grader)
    if not dates:
        print("Without --start and --due the assessment opens and closes at the moment of the "
              "upload; set its dates in Autolab before students see it.")
    if not record.seeds_fit():
        print("WARNING: tests, planted bugs or styles have changed since the seeds of the jobs were "
              "chosen; run python3 autograder/staff/record.py --check (about twenty minutes).")
    if options.without_landlock:
        print("WARNING: on a host without Landlock a submission can write any score it likes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
