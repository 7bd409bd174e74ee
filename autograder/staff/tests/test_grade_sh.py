"""grade.sh and create_tarball.sh on machines of all kinds: which tree, which Python, what they say.
In small trees whose grader only tells where it is, with stand-ins for python3."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ("runner.py", "test_mnist.py", "handin/packing.py")
TELLS = """\
import os, sys
print(os.path.basename(__file__), "of", os.path.basename(os.getcwd()), *sys.argv[1:])
sys.exit(os.environ.get("STATUS") and int(os.environ["STATUS"]))
"""
PYTHON3 = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
LACKING = f"""#!/bin/sh
case "$*" in
    *requirements.txt*) exit 1 ;;
    "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$NEW_PYTHON" .venv/bin/python ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
PIP_FAILS = f"""#!/bin/sh
case "$*" in
    *"pip install"*) echo "$PIP_SAYS"; exit 1 ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def make_tree(tmp_path):
    """A function that makes a tree of that name, and returns its folder."""
    def make(name):
        for program in PROGRAMS:
            executable(tmp_path / name / "autograder" / "hw1_autograder" / program, TELLS)
        for file in ("grade.sh", "create_tarball.sh", "requirements.txt"):
            shutil.copy(str(ROOT / file), str(tmp_path / name / file))
        return tmp_path / name
    executable(tmp_path / "bin" / "python3", PYTHON3)
    return make


@pytest.fixture
def tree(make_tree):
    return make_tree("mine")


def run(folder, *command, python3=None, **environment):
    """Exit status and output of a command in a folder beside bin/, whose python3 it finds first."""
    found = folder.parent / "bin"
    if python3:
        executable(found / "python3", python3)
    ran = subprocess.run(command, cwd=str(folder), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, universal_newlines=True,
                         env={**os.environ, "PATH": f"{found}:{os.environ['PATH']}", **environment})
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("command, answer", [
    ("grade.sh 1 2.1", "runner.py of mine 2.1\n"), ("create_tarball.sh", "packing.py of mine\n")])
def test_it_works_on_its_own_tree_whatever_is_exported(make_tree, command, answer):
    mine = make_tree("mine")
    make_tree("other/mine")
    script, *arguments = command.split()
    assert run(mine.parent, "bash", f"mine/{script}", *arguments, PATH=f"{mine.parent}/bin:"
               + os.environ["PATH"], CDPATH="other", PYTHONSAFEPATH="1") == (0, answer)


def test_through_a_link_it_works_on_the_tree_that_it_belongs_to(make_tree):
    make_tree("mine")
    other = make_tree("other")
    (other / "first").symlink_to(Path("..", "mine", "grade.sh"))
    (other / "second").symlink_to("first")
    assert run(other, "./second", "1") == (0, "runner.py of mine\n")


def test_no_file_needs_its_execute_bit(tree):
    for name in ("grade.sh", "create_tarball.sh"):
        (tree / name).chmod(0o644)
    assert run(tree, "bash", "grade.sh", "t") == (
        0, "packing.py of mine\nrunner.py of mine --handin handin.tar\n")
    assert run(tree, "bash", "create_tarball.sh") == (0, "packing.py of mine\n")


@pytest.mark.parametrize("command, status, ends_with", [
    ("1", 1, 1), ("m", 2, 2), ("t", 1, 2), ("nonsense", 0, 2)])
def test_it_ends_as_the_grader_does_and_with_2_where_nothing_was_graded(
        tree, command, status, ends_with):
    assert run(tree, "./grade.sh", command, STATUS=str(status))[0] == ends_with


@pytest.mark.parametrize("command, says", [
    ("./grade.sh 3", "./grade.sh m"), ("./grade.sh 2", "./grade.sh 1 2"),
    ("./grade.sh 1.2", "./grade.sh 1 1.2"), ("./grade.sh 1 3", "./grade.sh m"),
    ("python3 sandbox.py 1.2", "./grade.sh 1 1.2"), ("python3 hw1/mnist.py", "./grade.sh m")])
def test_what_is_near_a_command_is_told_the_command(command, says):
    ran = subprocess.run([sys.executable if word == "python3" else word for word in command.split()],
                         cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (line,) = ran.stdout.decode().splitlines()
    assert ran.returncode != 0 and line.endswith(" " + says)


def test_without_a_standard_output_it_says_so_in_a_sentence(tree):
    assert run(tree, "bash", "-c", "./grade.sh 1 3>&1 >&- 2>&3 3>&-") == (
        2, "grade.sh: there is no standard output to write to.\n")


def test_a_python_that_is_too_old_is_named(tree):
    old = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.7.1\n'
    assert run(tree, "./create_tarball.sh", python3=old) == (
        2, "grade.sh: needs Python 3.8 or newer as python3; found: Python 3.7.1\n")


@pytest.mark.parametrize("broken", [None, "#!/nowhere/python\n"])
def test_a_venv_that_does_not_work_is_made_anew(tree, tmp_path, broken):
    if broken:
        executable(tree / ".venv" / "bin" / "python", broken)
    status, output = run(tree, "./grade.sh", "1", python3=LACKING,
                         NEW_PYTHON=str(executable(tmp_path / "new", PYTHON3.replace(
                             'exec', 'case "$*" in *"pip install"*) exit ;; esac; exec'))))
    assert (status, output.splitlines()[1:]) == (0, ["runner.py of mine"])
    assert output.startswith("Setting up .venv with numpy, matplotlib and pytest (once,")


def test_what_pip_says_is_shown_where_it_fails(tree, tmp_path):
    status, output = run(tree, "./grade.sh", "1", python3=LACKING, PIP_SAYS="[Errno 28] No space left",
                         NEW_PYTHON=str(executable(tmp_path / "new", PIP_FAILS.replace(
                             "    *)", "    *requirements.txt*) exit 1 ;;\n    *)"))))
    assert status == 2 and "[Errno 28] No space left\n" in output
    assert output.endswith("of requirements.txt (see above). Is there a network?\n")


def test_a_numpy_that_cannot_be_imported_is_named(tree, tmp_path):
    executable(tmp_path / "elsewhere" / "numpy" / "__init__.py", "raise ImportError('no libblas')")
    executable(tree / ".venv" / "bin" / "python", PYTHON3.replace(
        'exec', 'case "$*" in *"pip install"*) exit ;; esac; exec'))
    status, output = run(tree, "./grade.sh", "1", PYTHONPATH=str(tmp_path / "elsewhere"))
    assert status == 2 and output.endswith(
        "cannot be used: NumPy is installed but cannot be imported: no libblas\n")
