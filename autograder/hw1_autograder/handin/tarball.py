"""The tarball: packs handin.tar for handing in, and unpacks one for grading.
What goes in and what may come out stands here once; ./create_tarball.sh runs this file."""

import errno
import io
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath

GRADER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(GRADER)

from handin import archive  # noqa: E402

FOLDERS = ("mytorch", "hw1")
PLOT = "hw1/validation_accuracy.png"
TEXT = ("hw1/README.md", "hw1/figures/")  # given, so it need not come back
REQUIRED = tuple("mytorch/" + name for name in (
    "autograd_engine.py", "tensor.py", "nn/activations.py", "nn/batchnorm.py",
    "nn/functional.py", "nn/linear.py", "nn/loss.py", "nn/module.py", "nn/sequential.py",
    "optim/optimizer.py", "optim/sgd.py")) + ("hw1/mnist.py",)

MAX_FILES = 500
MAX_BYTES = 20 << 20  # of the tarball, and of all that comes out of it
MAX_DEPTH = 10  # folders
BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL,
            errno.EILSEQ)  # errors that come of a file's name


class HandinError(Exception):
    """The tree or the tarball cannot be handed in or graded; the message is for the student."""


def is_litter(path):
    """Whether ``path`` (PurePosixPath) is a cache, or a trace of an editor or of Finder."""
    return (path.suffix in (".pyc", ".pyo", ".swp", ".orig", ".bak")
            or any(part in ("__pycache__", "__MACOSX", ".DS_Store", ".ipynb_checkpoints", ".idea",
                            ".vscode") or part.startswith("._") or part.endswith("~")
                   for part in path.parts))


# Packing.


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
            if path.is_symlink():
                warnings.append(f"left out, as it is a link: {name}")
            elif path.is_file() and (name.suffix == ".py" or str(name) == PLOT):
                names.append(str(name))
            elif not path.is_dir() and not str(name).startswith(TEXT):
                warnings.append(f"left out, as it is neither Python nor the plot: {name}")
    return sorted(names), warnings


def check_python(name, content):
    """Raise HandinError, with the line, unless the bytes ``content`` compile as Python."""
    try:
        compile(content, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise HandinError(f"{name}:{error.lineno}: {error.msg}: {(error.text or '').strip()}") from None
    except ValueError as error:  # a NUL byte
        raise HandinError(f"{name}: {error}") from None


def tar_bytes(contents):
    """A tar archive of files (name → bytes), without owners, times and other traces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, 0
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


# Unpacking.


def unpack(tarball, directory):
    """Write what may be graded of a tarball into an empty ``directory``.

    Returns:
        list of str: remarks, as of ``read``.

    Raises:
        HandinError: as ``read``.
        OSError: if there is no room for it, or the like: no fault of the tarball.
    """
    files, remarks = read(tarball)
    for name, content in files.items():
        target = Path(directory, name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            if error.errno not in BAD_NAME:
                raise
            raise HandinError(f"cannot unpack {name[:100]}: {error.strerror}") from None
    return remarks


def read(tarball):
    """What may be graded of a tarball (Path), by an allow-list.

    Only regular files below mytorch/ and hw1/ count, also if both lie in one folder more. Links,
    devices, absolute names and ".." are never followed.

    Returns:
        tuple: dict of name → bytes, and a list of remarks (str): what was passed over, and which
        files stand in the way of others.

    Raises:
        HandinError: if it is no tar archive, too large, or holds no mytorch/.
    """
    try:
        if os.path.getsize(str(tarball)) > MAX_BYTES:
            raise HandinError(f"{tarball.name} is larger than {MAX_BYTES >> 20} MiB")
        content = tarball.read_bytes()
    except OSError as error:
        raise HandinError(f"cannot read {tarball.name}: {error.strerror or error}") from None
    try:
        members, remarks = read_members(content)
    except archive.NoArchive as error:
        raise HandinError(explain_no_tar(tarball.name, content, error)) from None
    files, prefix = {}, find_prefix(members)
    for path, content in members.items():
        inside = path[len(prefix):]
        if path[:len(prefix)] != prefix or inside[0] not in FOLDERS or len(inside) < 2:
            remarks.append(f"passed over: {PurePosixPath(*path)}"[:120])
        else:
            files["/".join(inside)] = content
    return files, shadows(files) + remarks


def read_members(content):
    """The regular files of an archive (bytes), parts of the name → bytes, and remarks."""
    files, remarks, total = {}, [], 0
    for count, member in enumerate(archive.members(content)):
        if count >= 4 * MAX_FILES or len(files) > MAX_FILES:
            raise HandinError(f"the tarball holds more than {MAX_FILES} files")
        name = PurePosixPath(member.name)
        shown = member.name.encode("ascii", "replace").decode()[:100]
        if member.type == tarfile.DIRTYPE or is_litter(name):
            if name.suffix == ".pyc" and name.parent.name != "__pycache__":
                remarks.append(f"passed over, as it is compiled: {shown}")
            continue
        if name.is_absolute() or ".." in name.parts or not member.name.isprintable() or not name.parts:
            remarks.append(f"passed over, as its name leads elsewhere: {shown}")
        elif len(name.parts) > MAX_DEPTH:
            remarks.append(f"passed over, as it lies {len(name.parts)} folders deep: {shown}")
        elif not member.is_file:
            remarks.append(f"passed over, as it is no regular file: {shown}")
        else:
            total += member.size
            if total > MAX_BYTES:
                raise HandinError(f"the tarball holds more than {MAX_BYTES >> 20} MiB")
            files[name.parts] = content[member.start:member.start + member.size]
    return files, remarks


def shadows(files):
    """Remarks on files (names, such as mytorch/tensor.py) that Python would import in the place of
    others, or that are no Python source."""
    modules = {name[:-len(".py")] for name in files if name.endswith(".py")}
    remarks = []
    for name in files:
        folder, _, last = name.rpartition("/")
        module = f"{folder}/{last.partition('.')[0]}"
        if last == "__init__.py" and folder in modules:
            remarks.append(f"look at {name}: Python imports it in the place of {folder}.py")
        elif name.endswith((".so", ".pyd", ".dll", ".dylib")):
            hidden = f", in the place of {module}.py" if module in modules else ""
            remarks.append(f"look at {name}: it is compiled code, which Python imports{hidden}")
    return remarks


def find_prefix(files):
    """() if mytorch/ lies at the top, (folder,) if it lies in the one folder there is."""
    if any(path[0] == "mytorch" for path in files):
        return ()
    folders = {path[0] for path in files if path[1:2] == ("mytorch",)}
    if len(folders) != 1:
        found = ", ".join(sorted({path[0] for path in files})[:5]) or "nothing"
        raise HandinError(f"the tarball holds no folder mytorch/, but {found}; "
                          "make it with ./create_tarball.sh")
    return (folders.pop(),)


def explain_no_tar(name, content, error):
    """Why reading a tarball's content failed, for the student."""
    start = content[:4]
    if not start:
        reason = "is empty"
    elif start[:2] == b"\x1f\x8b":
        reason = "is compressed with gzip, but must be a plain tar file"
    elif start == b"PK\x03\x04":
        reason = "is a zip file, but must be a tar file"
    else:
        reason = f"is no whole tar file ({error})"
    return f"{name} {reason}; make it with ./create_tarball.sh"


def main():
    """Pack the tree this file belongs to; returns the exit status."""
    root = GRADER.parents[1]
    tarball = root / "handin.tar"
    try:
        names, warnings = pack(root, tarball)
    except HandinError as error:
        print(f"create_tarball.sh: {error}\nNo tarball was written.", file=sys.stderr)
        return 1
    for name in names:
        print("  " + name)
    print(f"handin.tar: {len(names)} files, {tarball.stat().st_size:,} bytes")
    for warning in warnings:
        print(f"Warning: {warning}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
