"""Reads a tar archive that anybody may have made, in time and memory that grow with its size alone.
Not so tarfile: a megabyte of odd headers can keep that busy for minutes, or fill the memory."""

import tarfile
from typing import NamedTuple

BLOCK = tarfile.BLOCKSIZE
MAX_NOTES = 8 << 10  # bytes of a header that only says something of the member after it
LONG_NAME, LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
OF_NEXT, OF_ALL = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), tarfile.XGLTYPE
NOTES = (LONG_NAME, LONG_LINK, OF_ALL) + OF_NEXT


class NoArchive(Exception):
    """What was read is no whole tar archive; says why."""


class Member(NamedTuple):
    """An entry of an archive: its name, its type (as in tarfile), where its content is."""

    name: str
    type: bytes
    start: int
    size: int

    @property
    def is_file(self):
        return self.type in (tarfile.REGTYPE, tarfile.AREGTYPE)


def members(content):
    """Yield the Members of an archive, in their order.

    Args:
        content (bytes): the archive, from memory.

    Raises:
        NoArchive: where it cannot be read on.
    """
    place, notes = 0, {}
    while any(content[place:place + BLOCK]):  # a block of zeros is the end
        header = read_header(content[place:place + BLOCK])
        start, kind = place + BLOCK, header.type
        size = size_of(notes.get("size", header.size)) if has_content(kind) else 0
        place = start + size + -size % BLOCK
        if kind in NOTES and size > MAX_NOTES:
            raise NoArchive(f"it holds a header of {size:,} bytes")
        if place > len(content):
            raise NoArchive("its end is missing")
        if kind == LONG_NAME:
            notes["path"] = as_text(content[start:start + size].partition(b"\0")[0])
        elif kind in OF_NEXT:
            notes.update(read_notes(content[start:start + size]))
        elif kind not in NOTES:
            if any(key.startswith("GNU.sparse") for key in notes):
                kind = tarfile.GNUTYPE_SPARSE  # a file with holes, which nobody hands in
            yield Member(notes.get("path", header.name), kind, start, size)
            notes = {}
    if place + BLOCK > len(content) or notes:
        raise NoArchive("its end is missing")


def read_header(block):
    """The tarfile.TarInfo of a block; it knows the forms that names and numbers have there."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except Exception as error:  # which ones tarfile raises depends on the version
        raise NoArchive(str(error)) from None


def has_content(kind):
    """Whether blocks of content follow a header of that type; of unknown types they do."""
    return kind in tarfile.REGULAR_TYPES + NOTES or kind not in tarfile.SUPPORTED_TYPES


def size_of(number):
    """The size that a header (int) or notes (str) tell."""
    if isinstance(number, str):
        number = int(number) if number.isdecimal() and len(number) < 20 else -1
    if number < 0:
        raise NoArchive("a header tells no size")
    return number


def read_notes(content):
    """What pax notes say, key → value. Each is b"LENGTH KEY=VALUE\\n", with its own length."""
    notes, place = {}, 0
    while place < len(content):
        digits, space, _ = content[place:place + 6].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        key, equals, value = content[place + len(digits) + 1:place + length - 1].partition(b"=")
        if not equals or content[place + length - 1:place + length] != b"\n":
            raise NoArchive("notes in a header are not as they must be")
        notes[as_text(key)] = as_text(value)
        place += length
    return notes


def as_text(name):
    return name.decode("utf-8", "surrogateescape")
