"""Makes the students' handout from the reference solution, by the marks in its comments.
`python3 autograder/staff/handout.py DIR [--tar]` writes the tree; the rules are in marks below."""

import argparse
import ast
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import packages  # noqa: E402
import leaks  # noqa: E402
from handin.packing import is_litter, tar_bytes  # noqa: E402
from problems import PROBLEMS  # noqa: E402

ROOT = packages.ROOT

# What students get; everything else, autograder/staff above all, stays here.
GIVEN = ("mytorch", "hw1", "autograder/hw1_autograder", "sandbox.py", "grade.sh",
         "create_tarball.sh", "README.md", "requirements.txt", ".gitignore", ".gitattributes",
         ".pytest.ini")
PICTURE = ".png"  # files of this kind are no texts, and are copied as they are
MADE_BY_RUNNING = ("hw1/validation_accuracy.png", "autograder/hw1_autograder/data/")

# A region of the solution, as nbgrader and Otter mark theirs:
#     # BEGIN SOLUTION 1.1.1: subtract, like Add above
#     ...
#     # END SOLUTION 1.1.1
# becomes "# TODO (1.1.1): subtract, like Add above". Inside a function, where nothing follows
# the region in its block, code is needed there: a NotImplementedError follows the comment.
MARK = re.compile(r"^( *)# (BEGIN|END) SOLUTION (\d[\d.]*)(?:: (\S.*))?$")


class HandoutError(Exception):
    """A mark is wrong, or the handout would be; the message names file and line."""


class Region(NamedTuple):
    """A marked region: lines first to last (counted from 0, marks included) of a file."""

    number: str
    prompt: str
    indent: str
    first: int
    last: int


def find_regions(name, lines):
    """The marked regions of a file, checked.

    Raises:
        HandoutError: for a stray or nested mark, numbers that disagree or are in no table.
    """
    known = {problem.number for problem in PROBLEMS}
    regions, opened = [], None
    for index, line in enumerate(lines):
        where = f"{name}:{index + 1}"
        mark = MARK.match(line)
        if mark is None:
            if "SOLUTION" in line and ("BEGIN" in line or "END" in line):
                raise HandoutError(f"{where}: not a mark, but looks like one: {line.strip()}")
            continue
        indent, kind, number, prompt = mark.groups()
        if number not in known:
            raise HandoutError(f"{where}: there is no problem {number} in the table of problems")
        if kind == "BEGIN":
            if opened:
                raise HandoutError(f"{where}: a region begins inside the one of line {opened[3] + 1}")
            if not prompt:
                raise HandoutError(f"{where}: a region needs a prompt: BEGIN SOLUTION {number}: ...")
            opened = (number, prompt, indent, index)
        elif opened is None or opened[0] != number:
            raise HandoutError(f"{where}: END SOLUTION {number} without a BEGIN of that number")
        else:
            regions.append(Region(*opened, index))
            opened = None
    if opened:
        raise HandoutError(f"{name}:{opened[3] + 1}: BEGIN SOLUTION {opened[0]} without an END")
    return regions


def needs_code(region, lines, tree):
    """Whether the handout must raise there: in a function, with nothing after it in its block."""
    if not any(isinstance(node, ast.FunctionDef)
               and node.lineno - 1 < region.first < node.end_lineno for node in ast.walk(tree)):
        return False
    following = next((line for line in lines[region.last + 1:] if line.strip()), "")
    return len(following) - len(following.lstrip()) < len(region.indent)


def hand_out(name, text, solved=()):
    """The handout's text of a file of the reference.

    Args:
        name (str): its path, for errors.
        text (str): its content.
        solved (collection of str): numbers of problems whose solution stays, without marks.

    Returns:
        str: the content in the handout.
    """
    if name == ".pytest.ini":
        text = text.replace("testpaths = autograder/staff/tests", "testpaths = autograder/hw1_autograder")
        return text.replace(" autograder/staff\n", "\n")
    if not name.endswith(".py"):
        return text
    lines = text.split("\n")
    regions = find_regions(name, lines)
    tree = ast.parse(text, name) if regions else None
    result, position = [], 0
    for region in regions:
        result += lines[position:region.first]
        if region.number in solved:
            result += lines[region.first + 1:region.last]
        else:
            todo = f"TODO ({region.number}): {region.prompt}"
            result.append(f"{region.indent}# {todo}")
            if needs_code(region, lines, tree):
                result.append(f'{region.indent}raise NotImplementedError("{todo}")')
        position = region.last + 1
    return "\n".join(result + lines[position:])


def given_files(root):
    """Paths (str, relative, sorted) of what goes into the handout."""
    files = []
    for given in GIVEN:
        path = root / given
        if not path.exists():
            raise HandoutError(f"{given}: is missing")
        found = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        files += [p.relative_to(root) for p in found]
    names = [str(path.as_posix()) for path in files if not is_litter(path)]
    return sorted(name for name in names
                  if name.endswith("README.md") or not name.startswith(MADE_BY_RUNNING))


def read_given(root):
    """The texts that go into the handout as they are in the reference, as a dict of path → text."""
    return {name: (root / name).read_text(encoding="utf-8") for name in given_files(root)
            if not name.endswith(PICTURE)}


def make(root, solved=()):
    """The whole handout as a dict of path → text, checked.

    Raises:
        HandoutError: naming file and line, for a wrong mark or a handout that would be wrong.
    """
    reference = read_given(root)
    handout = {name: hand_out(name, text, solved) for name, text in reference.items()}
    regions = {name: find_regions(name, text.split("\n"))
               for name, text in reference.items() if name.endswith(".py")}
    marked = {region.number for found in regions.values() for region in found}
    for problem in PROBLEMS:
        if problem.points and problem.number not in marked:  # addition, for 0 points, is given
            raise HandoutError(f"problem {problem.number} has no region in any file")
    for name in [name for name, found in regions.items() if found]:
        try:
            ast.parse(handout[name], name)
        except SyntaxError as error:
            raise HandoutError(f"{name}:{error.lineno}: does not parse without its solution: "
                               f"{error.msg}") from None
    if not solved:  # with solutions in it, it is for tests alone
        check_nothing_leaks(reference, handout, regions)
    return handout


def check_nothing_leaks(reference, handout, regions):
    """No mark, no line of a solution, and no code that does the work of 1.2 is in the handout."""
    solutions = {}
    for name, found in regions.items():
        lines = reference[name].split("\n")
        for region in found:
            for index in range(region.first + 1, region.last):
                solutions.setdefault(lines[index], f"{name}:{index + 1}")
    for complaint in (*leaks.surviving_marks(handout), *leaks.surviving_lines(handout, solutions),
                      *leaks.graph_walks(handout)):
        raise HandoutError(complaint)


def write(handout, root, folder):
    """Write a handout (path → text) into a new or empty folder, with the pictures and the modes
    of ``root``."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HandoutError(f"{folder} exists and is not an empty folder; choose another name")
    contents = {name: text.encode("utf-8") for name, text in handout.items()}
    contents.update({name: (root / name).read_bytes() for name in given_files(root)
                     if name.endswith(PICTURE)})
    for name, content in contents.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        shutil.copymode(str(root / name), str(target))


def pack(folder):
    """Pack a folder beside itself as FOLDER.tar, without owners and times."""
    tarball = folder.with_name(folder.name + ".tar")
    paths = {path.relative_to(folder.parent).as_posix(): path for path in sorted(folder.rglob("*"))}
    tarball.write_bytes(tar_bytes(
        {name: None if path.is_dir() else path.read_bytes() for name, path in paths.items()},
        [name for name, path in paths.items() if path.stat().st_mode & 0o100]))
    return tarball


def main():
    """Write the handout as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the students' handout.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--tar", action="store_true", help="also pack it, as DIR.tar")
    options = parser.parse_args()
    try:
        handout = make(ROOT)
        write(handout, ROOT, options.folder.resolve())
    except HandoutError as error:
        print(f"handout.py: {error}", file=sys.stderr)
        return 1
    print(f"{len(handout)} files written to {options.folder}")
    if options.tar:
        print(f"packed as {pack(options.folder.resolve())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
