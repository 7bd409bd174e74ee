"""Packs handin.tar for handing in; ./create_tarball.sh runs this file. What goes in is decided here,
what may come out again in unpacking.py."""

import ast
import contextlib
import io
import os
import sys
import tarfile
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

FOLDERS = ("mytorch", "hw1")
PLOT = "hw1/validation_accuracy.png"
TEXT = ("hw1/README.md", "hw1/figures/")  # given, so it need not come back
REQUIRED = tuple("mytorch/" + name for name in (
    "autograd_engine.py", "tensor.py", "nn/activations.py", "nn/batchnorm.py",
    "nn/functional.py", "nn/linear.py", "nn/loss.py", "nn/module.py", "nn/sequential.py",
    "optim/optimizer.py", "optim/sgd.py")) + ("hw1/mnist.py",)

MAX_FILES = 500
MAX_BYTES = 20 << 20  # of the tarball, and of all that comes out of it


class HandinError(Exception):
    """The tree or the tarball cannot be handed in or graded; the message is for the student."""


def is_litter(path):
    """Whether ``path`` (PurePosixPath) is a cache, or a trace of an editor or of Finder."""
    return (path.suffix in (".pyc", ".pyo", ".swp", ".orig", ".bak")
            or any(part in ("__pycache__", "__MACOSX", ".DS_Store", ".ipynb_checkpoints", ".idea",
                            ".vscode") or part.startswith("._") or part.endswith("~")
                   for part in path.parts))


def pack(root, tarball):
    """Write the tarball of the tree ``root``: the same bytes for the same files, anywhere.

    Args:
        root (Path): the folder that holds mytorch/ and hw1/.
        tarball (Path): written in one go; left as it was if this fails.

    Returns:
        tuple: names of the files that went in, and warnings, two lists of str.

    Raises:
        HandinError: if a file is missing or is no Python, naming file and line.
    """
    names, warnings = find_files(root)
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise HandinError(f"{missing[0]} is missing" + (
            f" (and {len(missing) - 1} more: {', '.join(missing[1:])})" if missing[1:] else ""))
    contents = {name: (root / name).read_bytes() for name in names}
    for name, content in contents.items():
        if name.endswith(".py"):
            check_python(name, content)
    if PLOT not in contents:
        warnings.append(f"{PLOT} is missing. Problem 3 needs it: ./grade.sh m")
    elif (root / PLOT).stat().st_mtime < (root / "hw1/mnist.py").stat().st_mtime:
        warnings.append(f"{PLOT} is older than hw1/mnist.py. To draw it again: ./grade.sh m")
    part = tarball.with_name(tarball.name + ".part")
    try:
        part.write_bytes(tar_bytes(contents))
        os.replace(str(part), str(tarball))
    except OSError as error:
        raise HandinError(f"cannot write {tarball}: {error}") from None
    return names, warnings


def find_files(root):
    """What belongs into the tarball, sorted, and a warning for each thing that is left out."""
    names, warnings = [], []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = PurePosixPath(path.relative_to(root).as_posix())
            if is_litter(name):
                continue
            if path.is_file() and not path.is_symlink() and (
                    name.suffix == ".py" or str(name) == PLOT):
                names.append(str(name))
            elif path.is_symlink() or not path.is_dir() and not str(name).startswith(TEXT):
                warnings.append(f"left out, because it is not a Python file or the plot: {name}")
    return sorted(names), warnings


def check_python(name, content):
    """Raise HandinError, with the line, unless the bytes ``content`` compile as Python."""
    try:
        compile(content, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise HandinError(f"{name}:{error.lineno}: {error.msg}: {(error.text or '').strip()}") from None
    except ValueError as error:  # a NUL byte
        raise HandinError(f"{name}: {error}") from None


def about_imports(root):
    """Sentences on files of the tree that hide a module of Python's or an installed package from
    programs started beside them, and on imports by mytorch of packages that Autolab lacks. What is
    imported within a function or a try counts as not needed."""
    folders = [folder for folder in sys.path if folder and Path(folder) not in (root, root / "hw1")
               and Path(__file__).resolve().parent.parent not in (Path(folder), Path(folder).parent)]
    said = []
    for path in [*root.glob("*.py"), *(root / "hw1").glob("*.py")]:
        if path.stem in sys.builtin_module_names or PathFinder.find_spec(path.stem, folders):
            said.append(f"{path.relative_to(root).as_posix()} hides the module {path.stem} from programs "
                        "started there: rename it")
    for path in (root / "mytorch").rglob("*.py"):
        imports = []
        with contextlib.suppress(SyntaxError, ValueError):  # it cannot be graded either
            imports = [node for node in ast.parse(path.read_bytes()).body
                       if isinstance(node, (ast.Import, ast.ImportFrom))]
        for node in imports:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [] if node.level else [node.module])
            for name in {name.partition(".")[0] for name in names} - {"numpy", "mytorch"}:
                found = PathFinder.find_spec(name, folders)
                if found and "-packages" in str(found.origin):
                    said.append(f"{path.relative_to(root).as_posix()}:{node.lineno} imports {name}, "
                                "which is not on Autolab; use NumPy alone")
    return sorted(said)


def tar_bytes(contents, executable=()):
    """A tar archive (bytes) without owners, times and other traces.

    Args:
        contents (dict): name → bytes of a file, or None for a folder.
        executable (container of str): names of the files that can be run.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.mode = 0o755 if content is None or name in executable else 0o644
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))
    return buffer.getvalue()


def main():
    """Pack the tree this file belongs to; returns the exit status."""
    root = Path(__file__).resolve().parents[3]
    tarball = root / "handin.tar"
    try:
        names, warnings = pack(root, tarball)
    except HandinError as error:
        print(f"create_tarball.sh: {error}\nNo tarball was written.", file=sys.stderr)
        return 1
    for name in names:
        print("  " + name)
    print(f"handin.tar: {len(names)} files, {tarball.stat().st_size:,} bytes")
    for warning in warnings + about_imports(root):
        print(f"Warning: {warning}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:  # a full disk
        print(f"create_tarball.sh: cannot write: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
