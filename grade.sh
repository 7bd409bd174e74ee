#!/usr/bin/env bash
# The one command for grading, training and testing; run without arguments it explains itself.
# Sets up what it needs. Written for bash 3.2, the one macOS has.
set -eu
cd "$(dirname "$0")"

usage() {
    cat <<'END'
usage: ./grade.sh COMMAND

  1 [PROBLEM ...]   score problems 1.1 to 2.6, or only those named: ./grade.sh 1 2.1 2.4
                    one with your breakpoint()s and pdb: ./grade.sh 1 2.4 --debug
  m                 Problem 3: train on MNIST, plot to hw1/validation_accuracy.png
  t                 pack handin.tar and grade that file as Autolab would
  test [OPTION ...] run the test suite; options go to pytest

Where this Python lacks numpy, matplotlib or pytest, they are first installed into .venv.
END
}

# Exits with 0 if this Python and its packages are new enough; prints where it is.
check='
import re, sys
print(sys.executable)
if sys.version_info < (3, 8):
    sys.exit(1)
from importlib.metadata import PackageNotFoundError, version
numbers = lambda text: [int(n) for n in re.findall(r"\d+", text)[:3]]
for line in open("requirements.txt"):
    name, bound = line.strip().split(">=")
    try:
        if numbers(version(name)) < numbers(bound):
            sys.exit(1)
    except PackageNotFoundError:
        sys.exit(1)
'

stop() {
    printf 'grade.sh: %s\n' "$1" >&2
    exit 2
}

# Sets $python to one that has all packages, made if need be.
find_python() {
    if python=$(python3 -c "$check" 2>/dev/null); then return; fi
    if python=$(.venv/bin/python -c "$check" 2>/dev/null); then return; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null ||
        stop "needs Python 3.8 or newer as python3; found: $(python3 --version 2>&1 | tail -n 1)"
    echo "Setting up .venv with numpy, matplotlib and pytest (once, about half a minute) ..." >&2
    python3 -m venv .venv >&2 ||
        stop "could not make .venv. On Debian and Ubuntu: sudo apt install python3-venv, then again."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2 ||
        stop "could not install the packages of requirements.txt (see above). Is there a network?"
    python=.venv/bin/python
}

command=${1-}
[ $# -eq 0 ] || shift
case $command in
    "" | -h | --help | help) usage ;;
    1) find_python; exec "$python" autograder/hw1_autograder/runner.py "$@" ;;
    t) find_python; ./create_tarball.sh; exec "$python" autograder/hw1_autograder/runner.py --handin handin.tar "$@" ;;
    m) find_python; exec "$python" autograder/hw1_autograder/test_mnist.py "$@" ;;
    test) find_python; exec "$python" -m pytest "$@" ;;
    [1-3].*) stop "a problem is graded by ./grade.sh 1 $command" ;;
    *) usage >&2; stop "unknown command: $command" ;;
esac
