"""Lets a staff command find our modules, and says in one sentence what it lacks: NumPy, or a
Python that is new enough. To be imported before all else of ours."""

import sys
from pathlib import Path

if sys.version_info < (3, 8):
    sys.exit("This needs Python 3.8 or newer; this is %d.%d." % sys.version_info[:2])

try:
    import numpy  # noqa: F401
except ImportError:
    sys.exit(f"{sys.argv[0]} needs NumPy, which {sys.executable} lacks: run it with "
             ".venv/bin/python, which the first ./grade.sh makes.")

STAFF = Path(__file__).resolve().parent
ROOT = STAFF.parents[1]
GRADER = ROOT / "autograder" / "hw1_autograder"
sys.path[:0] = [str(ROOT), str(GRADER), str(STAFF)]
