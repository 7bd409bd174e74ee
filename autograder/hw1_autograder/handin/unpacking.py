"""Unpacks a handed-in tarball for grading. Anybody may have made it, and a megabyte of odd headers
can keep tarfile busy for minutes: it is read in a process with limits, whose tasks are here too."""

import compileall
import contextlib
import errno
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from handin.packing import FOLDERS, MAX_BYTES, MAX_FILES, PLOT, HandinError, is_litter
from processes import isolation
from processes import limits

MAX_DEPTH = 10  # folders
MAX_REMARKS = 50
SECONDS = 3.0  # of processor time, to unpack and to compile
MEMORY = 1 << 30  # bytes of address space
BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL,
            errno.EILSEQ)  # errors that come of a file's name


def unpack(tarball, directory):
    """Write what may be graded of a tarball into an empty ``directory``, and compile it.

    Only Python files below mytorch/ and hw1/ and the plot count, also if both folders lie in one
    more. Links out of it, devices, absolute names and ".." are never followed.

    Args:
        tarball (Path): as it was handed in.
        directory (Path): where to.

    Returns:
        list of str: remarks: what was passed over, and which folders stand in the way of files.

    Raises:
        HandinError: if it is not a tar archive, too large, or holds no mytorch/.
        OSError: if there is no room for it, or the like: no fault of the tarball.
    """
    task = Task(json.dumps([os.path.abspath(str(tarball)), str(directory)]), SECONDS)
    try:
        with isolation.Crew(__name__, directory) as crew:
            ((_, outcome),) = crew.run([task], seed=0)
    except isolation.HostFault as error:
        raise OSError(f"cannot unpack {tarball.name}: {error}") from None
    if not outcome.lines:
        raise HandinError(f"{tarball.name} takes too much time or memory to be unpacked; "
                          "make it with ./create_tarball.sh")
    said = json.loads(outcome.lines[0])
    if "error" in said:
        raise HandinError(said["error"])
    if "fault" in said:
        raise OSError(f"cannot unpack {tarball.name}: {said['fault']}")
    return said["remarks"]


@contextlib.contextmanager
def unpacked(tarball, remove=shutil.rmtree):
    """Context with a new folder that holds what may be graded of a tarball, and remarks, as of
    ``unpack``; ``remove`` removes it."""
    folder = Path(tempfile.mkdtemp(prefix="mytorch-handin-"))
    try:
        yield folder, unpack(tarball, folder)
    finally:
        remove(str(folder))


def read(tarball):
    """The files of a tarball that count (name → bytes), and remarks; as ``unpack``."""
    with unpacked(tarball) as (folder, remarks):
        return {path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.parent.name != "__pycache__"}, remarks


# In the process with limits.


class Task(NamedTuple):
    """A tarball and a folder, in JSON."""

    key: str
    time_limit: float


def prepare(key, seed, root):
    """As isolation.Crew wants it."""
    limits.lower("RLIMIT_AS", MEMORY)
    return json.loads(key)


def run_task(prepared, root, send):
    """Unpack, say how it went, and compile, so that not every problem's process has to."""
    tarball, directory = map(Path, prepared)
    try:
        send({"case": "", "remarks": extract(tarball, directory)[:MAX_REMARKS]})
    except HandinError as error:
        send({"case": "", "error": str(error)})
    except OSError as error:
        send({"case": "", "fault": str(error)})
    compileall.compile_dir(str(directory), quiet=2)  # what is not Python says so when imported
    send({"done": ""})


def extract(tarball, directory):
    """As ``unpack``, in this process."""
    try:
        if os.path.getsize(str(tarball)) > MAX_BYTES:
            raise HandinError(f"{tarball.name} is larger than {MAX_BYTES >> 20} MiB")
        with tarball.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise HandinError(f"cannot read {tarball.name}: {error.strerror or error}") from None
    try:
        members, remarks = read_members(tarball)
    except HandinError:
        raise
    except Exception:  # which ones tarfile raises depends on the version
        kind = {b"": "is empty", b"PK": "is a zip file"}.get(start, "is no whole tar file")
        raise HandinError(f"{tarball.name} {kind}; make it with ./create_tarball.sh") from None
    files, prefix = {}, find_prefix(members, remarks)
    for path, content in members.items():
        name = "/".join(path[len(prefix):])
        counts = name.partition("/")[0] in FOLDERS and (name.endswith(".py") or name == PLOT)
        if counts and path[:len(prefix)] == prefix:
            files[name] = content
        else:
            remarks.append(f"passed over: {PurePosixPath(*path)}"[:120])
    for name, content in files.items():
        try:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        except OSError as error:
            if error.errno not in BAD_NAME:
                raise
            raise HandinError(f"cannot unpack {name[:100]}: {error.strerror}") from None
    return [f"look at {name}: Python imports it in the place of {os.path.dirname(name)}.py"
            for name in files if f"{name.replace('/__init__.py', '')}.py" in files] + remarks


def read_members(tarball):
    """The regular files of an archive, parts of the name → bytes, and remarks."""
    files, remarks, total = {}, [], 0
    with tarfile.open(str(tarball)) as tar:
        for count, member in enumerate(tar):
            if count >= 4 * MAX_FILES or len(files) > MAX_FILES:
                raise HandinError(f"the tarball holds more than {MAX_FILES} files")
            name, target = PurePosixPath(member.name), PurePosixPath(member.linkname).parts
            if member.isdir() or is_litter(name):
                continue
            if leads_elsewhere(member.name):
                shown = member.name.encode("ascii", "replace").decode()[:100]
                remarks.append(f"passed over, because its name leads elsewhere: {shown}")
            elif member.islnk() and target in files:
                files[name.parts] = files[target]
            elif not member.isreg() or member.issparse():
                remarks.append(f"passed over, because it is not a regular file: {name}"[:150])
            else:
                total += member.size
                if total > MAX_BYTES:
                    raise HandinError(f"the tarball holds more than {MAX_BYTES >> 20} MiB")
                files[name.parts] = tar.extractfile(member).read()
        tar.fileobj.seek(tar.offset)  # where tarfile stopped, for whatever reason
        if tar.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("its end is missing")
    return files, remarks


def leads_elsewhere(name):
    """Whether a member of that name (str) would not be a file in the folder it is unpacked to, or
    one far down in it."""
    parts = PurePosixPath(name).parts
    return (not parts or parts[0] == "/" or ".." in parts or not name.isprintable()
            or len(parts) > MAX_DEPTH)


def find_prefix(files, remarks):
    """() if mytorch/ lies at the top, (folder,) if it lies in the one folder there is."""
    if any(path[0] == "mytorch" for path in files):
        return ()
    folders = {path[0] for path in files if path[1:2] == ("mytorch",)}
    if len(folders) != 1:
        found = ", ".join(sorted({path[0] for path in files})[:5]) or "nothing"
        elsewhere = [remark for remark in remarks if "leads elsewhere" in remark][:1]
        raise HandinError("; ".join([
            f"the tarball holds no folder mytorch/, but {found}", *elsewhere,
            "make it with ./create_tarball.sh"]))
    return (folders.pop(),)
