"""What lies in a folder of downloaded handins: whose each is, and the tarball that it stands for.
Names are read as Autolab, Canvas and Moodle give them; for collect.py and Gradescope's job."""

import gzip
import hashlib
import os
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from handin import packing

ARCHIVE = r"\.(?:tar|tar\.gz|tgz|zip)"
NAMES = [re.compile(pattern + ARCHIVE) for pattern in (
    r"(?P<student>[^_]+(?:_LATE)?_\d+)_(?P<version>\d+)_.+",  # Canvas: name_user_file_name.tar
    r"(?P<student>.+)_(?P<version>\d+)_handin",               # Autolab: email_version_handin.tar
    r"(?P<student>.+)_assignsubmission_file_.*")]             # Moodle: Name_number_...
WRITTEN = ("scores.csv", "plots.html", "reports", "for-comparison")  # by collect.py


class Submission(NamedTuple):
    """A downloaded handin: whose it is, which of theirs, and where: a tar, zip or folder."""

    student: str
    version: int
    path: Path


def find(folder, every_version=False):
    """The Submissions in a folder, sorted by student, and the names of what was passed over with
    the reason: a list of (reason, name).

    Args:
        folder (Path): where they were unpacked.
        every_version (bool): all of each student, not the newest alone.
    """
    found, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name in WRITTEN or path.name[0] == "." or packing.is_litter(PurePosixPath(path.name)):
            continue
        named = list(filter(None, (name.fullmatch(path.name) for name in NAMES)))
        if path.is_dir():
            inside = in_folder(path)
            if isinstance(inside, Path):
                student = re.sub("_assignsubmission_file_?$", "", path.name)  # so does Moodle
                found.append(Submission(student, 1, inside))
            else:
                others.append((inside, path.name))
        elif named:
            known = named[0].groupdict()
            student = re.sub(r"_LATE(_\d+)$", r"\1", known["student"])
            found.append(Submission(student, int(known.get("version", 1)), path))
        else:
            others.append(("its name does not say whose it is", path.name))
    found.sort(key=lambda one: (one.student, one.version))
    newest = {one.student: one for one in found}
    return found if every_version else list(newest.values()), others


def in_folder(folder):
    """The Path of the handin in a student's folder: an archive, or the folder that holds mytorch/.
    A reason (str) where there is none, or more than one."""
    inside = [path for path in sorted(folder.iterdir())
              if path.name[0] != "." and not packing.is_litter(PurePosixPath(path.name))]
    folders = [path for path in (folder, *inside) if (path / "mytorch").is_dir()]
    archives = [path for path in inside if re.search(ARCHIVE + "$", path.name) and path.is_file()]
    found = folders[:1] or [path for path in archives if path.name == "handin.tar"] or archives
    if not found:
        return "this folder holds neither mytorch/ nor a tar or zip file"
    return found[0] if len(found) == 1 else "this folder holds several tar or zip files"


def as_tar(submission, folder):
    """The Path of a handin as the plain tar file that the grader reads: itself, or one that is
    written into ``folder`` from a zip file, a compressed tar or a folder with its files.

    Raises:
        packing.HandinError: where it cannot be read so; the message names the reason.
    """
    path = submission.path
    try:
        if path.is_dir():
            content = packing.tar_bytes(files_below(path))
        else:
            with path.open("rb") as file:
                start = file.read(4)
            if start == b"PK\x03\x04":
                content = packing.tar_bytes(zipped(path))
            elif start[:2] == b"\x1f\x8b":
                with gzip.open(str(path)) as file:
                    content = file.read(packing.MAX_BYTES + 1)  # the grader refuses more
            else:
                return path
    except Exception as error:  # which errors there are depends on the kind and the version
        raise packing.HandinError(f"{path.name} cannot be read: {error}") from None
    tarball = folder / f"{hashlib.sha256(os.fsencode(str(path))).hexdigest()}.tar"
    tarball.write_bytes(content)
    return tarball


def files_below(folder):
    """The files in a folder (name → bytes), links not followed."""
    paths = [Path(where, name) for where, folders, names in os.walk(str(folder)) for name in names]
    paths = [path for path in sorted(paths) if path.is_file() and not path.is_symlink()]
    check_sizes([path.stat().st_size for path in paths])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def zipped(path):
    """The files in a zip file (name → bytes)."""
    with zipfile.ZipFile(str(path)) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        check_sizes([member.file_size for member in members])  # one that lies is a BadZipFile
        return {member.filename: archive.read(member) for member in members}


def check_sizes(sizes):
    """Fail if there are more files of these sizes (in bytes) than can be handed in."""
    if len(sizes) > packing.MAX_FILES or sum(sizes) > packing.MAX_BYTES:
        raise ValueError("too many files, or too large ones")
