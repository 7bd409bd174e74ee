"""Writes what an Autolab course needs to grade this homework, from the one table of problems.
`python3 autograder/staff/autolab.py DIR --seed N`; the README's staff part says where it goes."""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRADER = ROOT / "autograder" / "hw1_autograder"
sys.path.insert(0, str(GRADER))

import answers  # noqa: E402
from handin import tar_bytes  # noqa: E402
from problems import PROBLEMS  # noqa: E402
from runner import score_line  # noqa: E402

# What a job needs of the grader; Problem 3 is graded by hand.
FILES = ("runner.py", "grading.py", "report.py", "isolation.py", "limits.py", "child.py",
         "places.py", "judge.py", "diagnosis.py", "graded.py", "problems.py", "handin.py",
         "test_autograd.py", "test_mlp.py")
TIMEOUT = 180  # seconds, Autolab's own limit; runner.AUTOLAB_SECONDS lies well below

# make must end with status 0, or Autolab would find make's own last line and not the score.
MAKEFILE = """\
# Runs a submission of homework 1: autograde.tar and handin.tar lie beside this file.
all:
	@rm -rf autograder
	@tar xf autograde.tar
	@python3 -B autograder/hw1_autograder/runner.py --autolab || echo '{zeros}'
"""

CONFIGURATION = """\
---
general:
  name: hw1p1
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
problems:
{problems}
autograder:
  autograde_timeout: {timeout}
  autograde_image: autograding_image
  release_score: true
"""


def package(seed):
    """The content of autograde.tar (bytes), with inputs and answers drawn from ``seed``."""
    folder = "autograder/hw1_autograder/"
    contents = {folder + name: (GRADER / name).read_bytes() for name in sorted(FILES)}
    contents[folder + "answers.json"] = answers.as_json(seed).encode()
    return tar_bytes(contents)


def makefile():
    """The content of autograde-Makefile, which Autolab runs as Makefile."""
    return MAKEFILE.format(zeros=score_line({}))


def configuration():
    """The content of hw1p1.yml: every problem of the table with its full score."""
    problems = "\n".join(
        f"- name: {json.dumps(problem.key)}\n  description: {json.dumps(problem.title)}\n"
        f"  max_score: {float(problem.points)}\n  optional: {str(problem.points == 0).lower()}"
        for problem in PROBLEMS)
    return CONFIGURATION.format(problems=problems, timeout=TIMEOUT)


def main():
    """Write the three files as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the files of an Autolab assessment.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    parser.add_argument("--seed", type=int, default=answers.SEED,
                        help="draw inputs from this seed instead of the one students have")
    options = parser.parse_args()
    if options.seed == answers.SEED:
        print("WARNING: these are the students' own inputs and answers, which a submission may "
              "have memorised; --seed N draws others.")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
            ("autograde.tar", package(options.seed)),
            ("autograde-Makefile", makefile().encode()),
            ("hw1p1.yml", configuration().encode())):
        (options.folder / name).write_bytes(content)
        print(f"{options.folder / name}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
