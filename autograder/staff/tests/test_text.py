"""The two READMEs hold what they say: every command and every Python block is run and compared.
That numbers and points are those of the table of problems is in test_problems.py."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import figures
import handout
import pytest
import runner
import sandbox
from handin import packing
from mytorch.tensor import Tensor
from planted_bugs import BUGS
from problems import PROBLEMS

ROOT = Path(__file__).resolve().parents[3]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "hw1/README.md")}
EVERYTHING = "\n".join(TEXTS.values())
POINTS = {number: sum(p.points for p in PROBLEMS if p.number == number)
          for number in dict.fromkeys(p.number for p in PROBLEMS)}

# Before a console block a comment may say in which tree it runs, and with which planted bug.
CONSOLE = re.compile(r"(?:<!-- run: (\w+)(?:, after: ([^>]+))? -->\n)?```console\n(.*?)^```",
                     re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Folders by name: the untouched handout, and one with all problems solved."""
    folder = tmp_path_factory.mktemp("trees")
    handout.write(handout.make(ROOT), ROOT, folder / "handout")
    solved = handout.make(ROOT, solved=list(POINTS))
    handout.write(solved, ROOT, folder / "reference")
    return folder


def run(command, folder):
    """What a command prints, on a terminal of 80 columns, with this Python as python3."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = shlex.split(command, comments=True)
    words = [sys.executable, *words[1:]] if words[0] == "python3" else words
    ran = subprocess.run(words, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**os.environ, "COLUMNS": "80", "PATH": path}, encoding="utf-8")
    return ran.stdout


def pattern_of(shown):
    """A regular expression for shown output: a line of dots stands for any lines, and the last
    digits of a rounding error may differ."""
    lines = []
    for line in shown.splitlines():
        exact = re.sub(r"\\?\d\\?\.\de\\?-\d\d", r"\\d.\\de-\\d\\d", re.escape(line))
        lines.append(r"(.*\n)*?" if line.strip() == "..." else exact + " *\n")
    return "".join(lines)


CONSOLES = [(f"{name}: {block.splitlines()[0]}", tree or "reference", mistake, block)
            for name, text in TEXTS.items() for tree, mistake, block in CONSOLE.findall(text)]


@pytest.mark.slow
@pytest.mark.parametrize("tree, mistake, block", [case[1:] for case in CONSOLES],
                         ids=[case[0] for case in CONSOLES])
def test_a_shown_command_prints_what_is_shown(tree, mistake, block, trees, tmp_path):
    folder = trees / tree
    for bug in [bug for bug in BUGS if bug.name == mistake]:
        shutil.copytree(str(folder), str(tmp_path / "tree"))
        folder = tmp_path / "tree"
        for file, old, new in bug.edits:
            path = folder / "mytorch" / file
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        printed = run(command, folder)
        assert re.fullmatch(pattern_of(shown), printed), f"$ {command}\n{printed}"


BLOCKS = [(name, block) for name, text in TEXTS.items() for block in PYTHON.findall(text)]


@pytest.mark.parametrize("block", [block for _, block in BLOCKS],
                         ids=[f"{name} {i}" for i, (name, _) in enumerate(BLOCKS)])
def test_a_python_block_prints_what_its_comments_say(block, tmp_path, monkeypatch):
    # What a line prints stands behind it, after two blanks at least, or in lines of comment below.
    monkeypatch.chdir(tmp_path)
    shown = "".join(f"{found[0] or found[1]}\n" for found in re.findall(
        r"^(?:print\(.*\) {2,}# (.*)|# ?(.*))$", block, re.MULTILINE))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block, {})
    assert re.fullmatch(pattern_of(shown), printed.getvalue()), printed.getvalue()


def test_there_are_blocks_to_run():
    assert len(CONSOLES) >= 3 and len(BLOCKS) >= 5


# Commands inside a sentence.


def inline(start):
    """What follows ``start`` in the code spans of both texts that begin with it."""
    return sorted(set(re.findall(rf"`{re.escape(start)}([^`\n]*)`", EVERYTHING)))


def test_problems_named_to_the_grader_exist():
    commands = inline("./grade.sh 1 ")
    assert len(commands) >= len(POINTS) - 2
    for arguments in commands:
        options = runner.parse_arguments(arguments.split())
        assert runner.select(options.problems), arguments


def test_checks_and_options_named_to_the_sandbox_exist_and_few_checks_are_not_named():
    named = {word for arguments in inline("python3 sandbox.py ") for word in arguments.split()}
    assert named - set(sandbox.CHECKS) == {"--trace", "--steps"}
    not_named = set(sandbox.CHECKS) - named
    assert not_named == {"test_add", "testbroadcast_sub", "testbroadcast_mul", "testbroadcast_div"}


def test_every_command_of_grade_sh_is_told_in_the_readme():
    usage = run("./grade.sh", ROOT)
    commands = re.findall(r"^  (\w+) ", usage, re.MULTILINE)
    assert commands[:2] == ["1", "m"]
    assert [command for command in commands if f"`./grade.sh {command}" not in TEXTS["README.md"]] == []


def test_a_problem_given_for_a_command_is_told_where_it_belongs():
    ended = subprocess.run(["./grade.sh", "1.1.1"], cwd=str(ROOT), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, universal_newlines=True)
    assert ended.returncode == 2
    assert ended.stdout == "grade.sh: a problem is graded by ./grade.sh 1 1.1.1\n"


@pytest.mark.parametrize("path", sorted(set(re.findall(
    r"`((?:mytorch|hw1|autograder|nn|optim|show)/[\w/.]+)`", EVERYTHING))))
def test_a_file_that_is_named_is_in_the_handout(path):
    places = [path, f"mytorch/{path}"]
    assert any((ROOT / place).exists() for place in places) or path == "hw1/validation_accuracy.png"


# Its parts


def test_each_problem_of_the_text_says_what_to_write_the_usual_mistake_and_how_to_check():
    parts = re.findall(r"^### Problem ([\d.]+): .*\n((?:(?!#).*\n)*)", TEXTS["hw1/README.md"],
                       re.MULTILINE)
    assert [number for number, _ in parts] == list(POINTS)
    for number, part in parts[1:]:
        assert "*Write*" in part and "\n- *Common mistake:* " in part, number
        command = "./grade.sh m" if number == "3" else f"./grade.sh 1 {number}"
        assert f"\n- *Check:* `{command}`" in part, number


def test_the_text_says_of_a_tensor_what_is_given_what_is_to_write_and_what_is_not_there():
    given, to_write, missing = re.findall(r"^\| (?:given|yours to write|not there)[^|]*\|(.*)\|$",
                                          TEXTS["hw1/README.md"], re.MULTILINE)
    source = "mytorch/tensor.py"
    handed_out = handout.hand_out(source, (ROOT / source).read_text(encoding="utf-8"))
    for name in re.findall(r"`(?:Tensor\.)?([a-zA-Z_]+)", given):
        assert re.search(rf"(def |self\.){name}\b", handed_out), name
    for name in re.findall(r"`(__\w+__)`", to_write):
        assert hasattr(Tensor, name) and f"def {name}(" not in handed_out, name
    for name in ("neg", "pow", "rmul", "getitem", "len"):
        assert f"__{name}__" not in handed_out, name
    assert "def sum" not in handed_out and "def mean" not in handed_out and "sums, means" in missing


# Its form: Markdown that a code host renders and a terminal of 80 columns shows.


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", TEXTS)
def test_lines_fit_80_columns_and_code_fits_95_and_is_not_broken_over_two_lines(name):
    for line in without_code(TEXTS[name]).splitlines():
        assert len(line) <= 80 or line.startswith(("|", "$$", "  [")), line
        assert line.count("`") % 2 == 0, line
    for block in re.findall(r"^```.*?\n(.*?)^```", TEXTS[name], re.DOTALL | re.MULTILINE):
        assert max(map(len, block.splitlines())) <= 95, block


def test_each_formula_is_a_paragraph_of_its_own():
    text = TEXTS["hw1/README.md"]
    formulas = re.findall(r"^\$\$ .* \$\$$", text, re.MULTILINE)
    assert len(formulas) > 10 and text.count("$$") == 2 * len(formulas)
    for formula in formulas:
        assert f"\n\n{formula}\n\n" in text, formula
        # Of a backslash before a sign, Markdown takes the backslash away; but "\\ " is a blank.
        assert not re.search(r"\\[^a-zA-Z ]", formula), formula


def anchors(text):
    """What a code host calls the headings of a text."""
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)]


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_and_picture_leads_somewhere(name):
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[name])):
        file, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            assert (folder / file).exists(), target
            assert not anchor or anchor in anchors(TEXTS[name]), target


def test_the_table_of_contents_names_every_section():
    text = TEXTS["hw1/README.md"]
    sections = re.findall(r"^## (.*)$", without_code(text), re.MULTILINE)
    listed = re.findall(r"^- \[(.*?)\]\(#", text, re.MULTILINE)
    assert ["Contents", *listed] == sections


def test_every_answer_is_folded_away():
    text = TEXTS["hw1/README.md"]
    folds = re.findall(r"\n\n<details>\n<summary>Answers?</summary>\n\n.*?\n\n</details>\n\n", text,
                       re.DOTALL)
    asked = re.findall(r"^\*\*Questions?\.\*\*", text, re.MULTILINE)
    assert len(folds) == text.count("<details>") == text.count("</details>") >= len(asked) > 10


# Its pictures


@pytest.mark.slow
def test_one_command_makes_the_pictures_that_the_text_shows(digits, tmp_path):
    for figure in figures.FIGURES:
        figure(tmp_path / f"{figure.__name__}.png", *[digits] * (figure is figures.accuracy))
    names = {path.name for path in tmp_path.iterdir()}
    shown = set(re.findall(r"\]\(figures/([\w.]+)\)", TEXTS["hw1/README.md"]))
    assert names == shown == {path.name for path in figures.FOLDER.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path.name


def test_the_pictures_in_the_tree_are_small_and_one_is_on_the_first_screen_of_the_readme():
    for path in figures.FOLDER.iterdir():
        assert path.stat().st_size < 100_000, path.name
    assert "](hw1/figures/" in "\n".join(TEXTS["README.md"].splitlines()[:15])


@pytest.mark.slow
def test_students_get_the_pictures_and_do_not_hand_them_in(trees):
    given = trees / "reference"
    assert {path.name for path in (given / "hw1/figures").iterdir()} == {
        path.name for path in figures.FOLDER.iterdir()}
    found = packing.pack(given, given / "handin.tar")
    assert "figures" not in str(found)
