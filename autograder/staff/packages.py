"""Says in one sentence what a staff command lacks: NumPy, or a Python that is new enough.
To be imported before all else of ours; it ends the command then, in the place of a traceback."""

import sys

if sys.version_info < (3, 8):
    sys.exit("This needs Python 3.8 or newer; this is %d.%d." % sys.version_info[:2])

try:
    import numpy  # noqa: F401
except ImportError:
    sys.exit(f"{sys.argv[0]} needs NumPy, which {sys.executable} lacks: run it with "
             ".venv/bin/python, which the first ./grade.sh makes.")
