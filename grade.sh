#!/usr/bin/env bash
# The one command for grading, training and testing; run without arguments it explains itself.
# Sets up what it needs. Written for bash 3.2, the one macOS has.
set -eu

# What a user may have exported, and what would lead us, Python or pip astray.
unset CDPATH PYTHONHOME PYTHONSAFEPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT MPLBACKEND
here=$0
while [ -L "$here" ]; do # the tree is where the file is, not where a link to it is
    link=$(readlink -- "$here")
    case $link in /*) here=$link ;; *) here=$(dirname -- "$here")/$link ;; esac
done
cd -- "$(dirname -- "$here")"

usage() {
    cat <<'END'
usage: ./grade.sh COMMAND

  1 [PROBLEM ...]   score problems 1.1 to 2.6, or only those named: ./grade.sh 1 2.1 2.4
                    one with your breakpoint()s and pdb: ./grade.sh 1 2.4 --debug
  m                 Problem 3: train on MNIST, plot to hw1/validation_accuracy.png
  t                 pack handin.tar and grade that file as Autolab would
  test [OPTION ...] run the test suite; options go to pytest

If this Python lacks numpy, matplotlib or pytest, they are first installed into .venv.
END
}

# Exits with 0 if this Python and its packages are new enough, and prints where it is;
# otherwise prints what is wrong.
check='
import sys
if sys.version_info < (3, 8):
    sys.exit("it is Python %d.%d" % sys.version_info[:2])
sys.path[:] = [folder for folder in sys.path if folder]  # no file beside grade.sh is a package
import re
from importlib.metadata import PackageNotFoundError, version
numbers = lambda text: [int(n) for n in re.findall(r"\d+", text)[:3]]
for line in open("requirements.txt"):
    name, bound = line.strip().split(">=")
    try:
        if numbers(version(name)) < numbers(bound):
            sys.exit("it has %s %s, and %s is needed" % (name, version(name), bound))
    except PackageNotFoundError:
        sys.exit("it lacks " + name)
try:
    import numpy
except Exception as error:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    sys.exit("NumPy is installed but cannot be imported: " + first)
print(sys.executable)
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
    # None yet, or one that no longer works, as after an upgrade of the system's Python.
    if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
        python3 -m venv --clear .venv >&2 ||
            stop "could not make .venv (see above). On Debian and Ubuntu: sudo apt install python3-venv, then again."
    fi
    local said why
    said=$(.venv/bin/python -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt 2>&1) || {
        printf '%s\n' "$said" >&2
        stop "could not install the packages of requirements.txt (see above). Is there a network?"
    }
    python=.venv/bin/python
    why=$("$python" -c "$check" 2>&1 >/dev/null) ||
        stop "$python has the packages, but cannot be used: $(printf '%s\n' "$why" | tail -n 1)"
}

( : 3>&1 ) 2>/dev/null || stop "there is no standard output to write to."
command=${1-}
[ $# -eq 0 ] || shift
grader=autograder/hw1_autograder
case $command in
    "" | -h | --help | help) usage ;;
    1) find_python; exec "$python" $grader/runner.py "$@" ;;
    m) find_python; exec "$python" $grader/test_mnist.py "$@" ;;
    t)
        find_python
        "$python" $grader/handin/packing.py || exit 2
        exec "$python" $grader/runner.py --handin handin.tar "$@"
        ;;
    pack) find_python; exec "$python" $grader/handin/packing.py ;; # what ./create_tarball.sh does
    test) find_python; exec "$python" -m pytest "$@" ;;
    3) stop "Problem 3 is run by ./grade.sh m" ;;
    [12].* | 2) stop "a problem is graded by ./grade.sh 1 $command" ;;
    *) usage >&2; stop "unknown command: $command" ;;
esac
