"""Unpacks a handed-in tarball for grading. Anybody may have made it, and a megabyte of odd headers can
keep tarfile busy for minutes: it is read in a process with limits, whose tasks stand here too."""

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

from handin.packing import FOLDERS, MAX_BYTES, MAX_FILES, HandinError, is_litter
from processes import isolation
from processes import limits

MAX_DEPTH = 10  # folders
MAX_NOTES = 64 << 10  # bytes of a header that only says something of the member after it
MAX_REMARKS = 50
SECONDS = 3.0  # of processor time, to unpack and to compile
MEMORY = 1 << 30  # bytes of address space
NOTES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
         tarfile.SOLARIS_XHDTYPE)
BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL,
            errno.EILSEQ)  # errors that come of a file's name


def unpack(tarball, directory):
    """Write what may be graded of a tarball into an empty ``directory``, and compile it.

    Only regular files below mytorch/ and hw1/ count, also if both lie in one folder more. Links out
    of it, devices, absolute names and ".." are never followed.

    Args:
        tarball (Path): as it was handed in.
        directory (Path): where to.

    Returns:
        list of str: remarks: what was passed over, and which files stand in the way of others.

    Raises:
        HandinError: if it is not a tar archive, too large, or holds no mytorch/.
        OSError: if there is no room for it, or the like: no fault of the tarball.
    """
    task = Task(json.dumps([os.path.abspath(str(tarball)), str(directory)]))
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
    time_limit: float = SECONDS


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
    compileall.compile_dir(str(directory), quiet=2)  # what is not Python says so when it is imported
    send({"done": ""})


def extract(tarball, directory):
    """As ``unpack``, in this process."""
    try:
        if os.path.getsize(str(tarball)) > MAX_BYTES:
            raise HandinError(f"{tarball.name} is larger than {MAX_BYTES >> 20} MiB")
        start = tarball.open("rb").read(8)
    except OSError as error:
        raise HandinError(f"cannot read {tarball.name}: {error.strerror or error}") from None
    try:
        members, remarks = read_members(tarball)
    except HandinError:
        raise
    except Exception as error:  # which ones tarfile raises depends on the version
        raise HandinError(explain_no_tar(tarball.name, start, error)) from None
    files, prefix = {}, find_prefix(members, remarks)
    for path, content in members.items():
        inside = path[len(prefix):]
        if path[:len(prefix)] != prefix or inside[0] not in FOLDERS or len(inside) < 2:
            remarks.append(f"passed over: {PurePosixPath(*path)}"[:120])
        else:
            files["/".join(inside)] = content
    for name, content in files.items():
        try:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        except OSError as error:
            if error.errno not in BAD_NAME:
                raise
            raise HandinError(f"cannot unpack {name[:100]}: {error.strerror}") from None
    return shadows(files) + remarks


class Header(tarfile.TarInfo):
    """A header of a tar archive."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        header = super().frombuf(buf, encoding, errors)
        if header.type in NOTES and header.size > MAX_NOTES:
            raise tarfile.ReadError(f"it holds a header of {header.size:,} bytes")
        return header


def read_members(tarball):
    """The regular files of an archive, parts of the name → bytes, and remarks."""
    files, remarks, total = {}, [], 0
    with tarfile.open(str(tarball), mode="r:", tarinfo=Header) as tar:
        for count, member in enumerate(tar):
            if count >= 4 * MAX_FILES or len(files) > MAX_FILES:
                raise HandinError(f"the tarball holds more than {MAX_FILES} files")
            name = PurePosixPath(member.name)
            shown = member.name.encode("ascii", "replace").decode()[:100]
            regular = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
            if member.isdir() or is_litter(name):
                if name.suffix == ".pyc" and name.parent.name != "__pycache__":
                    remarks.append(f"passed over, as it is compiled: {shown}")
                continue
            if leads_elsewhere(member.name):
                remarks.append(f"passed over, as its name leads elsewhere: {shown}")
            elif len(name.parts) > MAX_DEPTH:
                remarks.append(f"passed over, as it lies {len(name.parts)} folders deep: {shown}")
            elif member.islnk() and PurePosixPath(member.linkname).parts in files:
                files[name.parts] = files[PurePosixPath(member.linkname).parts]
            elif not regular:
                remarks.append(f"passed over, as it is no regular file: {shown}")
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
    """Whether a member of that name (str) would not be a file in the folder it is unpacked to."""
    parts = PurePosixPath(name).parts
    return not parts or parts[0] == "/" or ".." in parts or not name.isprintable()


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


def explain_no_tar(name, start, error):
    """Why reading a tarball with that start (bytes) failed, for the student."""
    if not start:
        return f"{name} is empty; make it with ./create_tarball.sh"
    for magic, kind in ((b"\x1f\x8b", "is compressed with gzip"), (b"BZh", "is compressed with bzip2"),
                        (b"\xfd7zXZ", "is compressed with xz"), (b"PK\x03\x04", "is a zip file")):
        if start.startswith(magic):
            return f"{name} {kind}, but must be a plain tar file; make it with ./create_tarball.sh"
    return f"{name} is no whole tar file ({error}); make it with ./create_tarball.sh"
