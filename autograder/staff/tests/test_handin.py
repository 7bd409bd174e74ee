"""The tarball: what goes in, always the same bytes, and what may come out of a hostile one.
Hostile tarballs are made by hand here, member by member."""

import errno
import gzip
import io
import os
import re
import resource
import shutil
import tarfile
from pathlib import Path

from handin import packing, unpacking
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path):
    """A copy of the reference's mytorch/ and hw1/, with a plot."""
    for folder in packing.FOLDERS:
        shutil.copytree(str(ROOT / folder), str(tmp_path / folder),
                        ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    (tmp_path / packing.PLOT).write_bytes(b"\x89PNG")
    return tmp_path


def names_in(tarball):
    with tarfile.open(str(tarball)) as tar:
        return tar.getnames()


def add_members(tar, members):
    """Add members (name, content or a TarInfo's changes as a dict) to an open tarball."""
    for name, content in members:
        member = tarfile.TarInfo(name)
        if isinstance(content, bytes):
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        else:
            for attribute, value in content.items():
                setattr(member, attribute, value)
            tar.addfile(member)


def tar_of(path, *members):
    """A tarball with members, as add_members takes them."""
    with tarfile.open(str(path), "w") as tar:
        add_members(tar, members)
    return path


def unpacked(tmp_path, *members):
    """Names of the files that come out of a tarball of such members, and the remarks."""
    out = tmp_path / "out"
    out.mkdir()
    remarks = unpacking.unpack(tar_of(tmp_path / "handin.tar", *members), out)
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*")
                  if p.is_file() and p.suffix != ".pyc"), remarks


def test_it_holds_the_sources_and_the_plot_and_nothing_else(tree):
    for litter in ("mytorch/__pycache__/x.pyc", "mytorch/.DS_Store", "mytorch/._tensor.py",
                   "hw1/mnist.py~", "hw1/notes.txt", "hw1/data.npy", "hw1/README.md"):
        (tree / litter).parent.mkdir(exist_ok=True)
        (tree / litter).write_bytes(b"x")
    os.symlink("tensor.py", str(tree / "mytorch/link.py"))
    names, warnings = packing.pack(tree, tree / "handin.tar")
    assert names == names_in(tree / "handin.tar")
    assert set(packing.REQUIRED) | {packing.PLOT} <= set(names)
    assert not any(word in name for name in names for word in ("link", "notes", "data", "DS_", "~", "README"))
    assert len(warnings) == 3  # the link, the notes, the data; the homework's text is no surprise


def test_the_same_files_give_the_same_bytes(tree, tmp_path):
    packing.pack(tree, tmp_path / "first.tar")
    for path in tree.rglob("*.py"):
        os.utime(str(path), (1, 1))
    (tree / "mytorch/tensor.py").chmod(0o755)
    packing.pack(tree, tmp_path / "second.tar")
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_a_missing_or_old_plot_is_warned_of(tree):
    os.utime(str(tree / packing.PLOT), (1, 1))
    assert "older than hw1/mnist.py" in packing.pack(tree, tree / "a.tar")[1][0]
    (tree / packing.PLOT).unlink()
    assert packing.pack(tree, tree / "a.tar")[1] == [
        "hw1/validation_accuracy.png is missing. Problem 3 needs it: ./grade.sh m"]


@pytest.mark.parametrize("content, complaint", [
    ("x = 1\ndef f(:\n", "mytorch/tensor.py:2: "), ("x = '\0'\n", "mytorch/tensor.py"),
    (None, "mytorch/tensor.py is missing")])
def test_what_is_missing_or_does_not_compile_is_refused_and_an_earlier_tarball_kept(
        content, complaint, tree):
    (tree / "handin.tar").write_bytes(b"earlier")
    (tree / "mytorch/tensor.py").unlink()
    if content is not None:
        (tree / "mytorch/tensor.py").write_text(content)
    with pytest.raises(packing.HandinError, match=complaint):
        packing.pack(tree, tree / "handin.tar")
    assert (tree / "handin.tar").read_bytes() == b"earlier"
    assert not (tree / "handin.tar.part").exists()


@pytest.mark.parametrize("compressed", [bytes, gzip.compress])
def test_what_was_packed_comes_out(compressed, tree, tmp_path):
    names, _ = packing.pack(tree, tmp_path / "handin.tar")
    (tmp_path / "handin.tar").write_bytes(compressed((tmp_path / "handin.tar").read_bytes()))
    assert unpacking.extract(tmp_path / "handin.tar", tmp_path / "out") == []
    assert all((tmp_path / "out" / name).read_bytes() == (tree / name).read_bytes() for name in names)


def test_one_folder_around_it_is_understood(tmp_path):
    assert unpacked(tmp_path, ("handout/mytorch/a.py", b"1"), ("handout/hw1/b.py", b"2"),
                    ("handout/README.md", b"3"), ("._handout", b"litter"))[0] == [
                        "hw1/b.py", "mytorch/a.py"]


ELSEWHERE = [
    ("/tmp/escape.py", b"1"),
    ("../escape.py", b"1"),
    ("mytorch/../../escape.py", b"1"),
    ("mytorch/" + "a/" * 1900 + "b.py", b"1"),
    ("mytorch/link.py", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    ("mytorch/hard.py", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
    ("mytorch/device", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
    ("mytorch/fifo", {"type": tarfile.FIFOTYPE}),
    ("autograder/hw1_autograder/runner.py", b"print('all points')"),
    ("numpy.py", b"1"),
    ("answers.json", b"{}"),
    ("Makefile", b"all:\n\t@echo forged\n"),
    ("mytorch/new\nline.py", b"1"),
    ("mytorch/fast.so", b"1"),
]


def test_members_that_lead_elsewhere_are_passed_over_with_a_remark_each(tmp_path):
    files, remarks = unpacked(tmp_path, ("mytorch/a.py", b"1"), *ELSEWHERE)
    assert files == ["mytorch/a.py"]
    assert len(remarks) == len(ELSEWHERE)
    assert all(remark.startswith("passed over") and len(remark) < 200 for remark in remarks)


def test_a_file_cannot_be_written_through_an_earlier_link(tmp_path):
    files, _ = unpacked(tmp_path, ("mytorch/a.py", b"1"),
                        ("mytorch/sub", {"type": tarfile.SYMTYPE, "linkname": str(tmp_path)}),
                        ("mytorch/sub/escape.py", b"1"))
    assert files == ["mytorch/a.py", "mytorch/sub/escape.py"]
    assert not (tmp_path / "escape.py").exists()


def test_a_hard_link_within_the_tarball_is_the_file_that_it_names(tmp_path):
    files, remarks = unpacked(tmp_path, ("mytorch/a.py", b"x = 1\n"), (
        "mytorch/b.py", {"type": tarfile.LNKTYPE, "linkname": "./mytorch/a.py"}))
    assert (files, remarks) == (["mytorch/a.py", "mytorch/b.py"], [])
    assert (tmp_path / "out/mytorch/b.py").read_bytes() == b"x = 1\n"


@pytest.mark.parametrize("content, sentence", [
    (b"", "is empty"), (b"PK\x03\x04" + b"x" * 600, "is a zip file"),
    (b"no tar at all " * 100, "is no whole tar file")])
def test_what_is_no_tarball_is_said_plainly(content, sentence, tmp_path):
    (tmp_path / "handin.tar").write_bytes(content)
    with pytest.raises(packing.HandinError, match=sentence):
        unpacking.extract(tmp_path / "handin.tar", tmp_path)


def test_a_truncated_tarball_is_said_plainly(tree, tmp_path):
    packing.pack(tree, tmp_path / "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    for block in range(1, len(whole.rstrip(b"\0")) // 512, 25):  # headers are cut, and contents
        for end in (512 * block, 512 * block + 100):
            (tmp_path / "handin.tar").write_bytes(whole[:end])
            with pytest.raises(packing.HandinError, match="no whole tar file"):
                unpacking.extract(tmp_path / "handin.tar", tmp_path / "out")


@pytest.mark.parametrize("members, sentence", [
    ([("solution/a.py", b"1")], "holds no folder mytorch/, but solution"),
    ([("/home/me/mytorch/a.py", b"1")], "its name leads elsewhere: /home/me/mytorch/a.py"),
    ([], "holds no folder mytorch/, but nothing"),
    ([(f"mytorch/{i}.py", b"") for i in range(packing.MAX_FILES + 2)], "more than 500 files"),
    ([("mytorch", b"a file"), ("mytorch/a.py", b"1")], "cannot unpack|passed over"),
])
def test_a_tarball_that_cannot_be_graded_is_said_plainly(members, sentence, tmp_path):
    try:
        _, remarks = unpacked(tmp_path, *members)
    except packing.HandinError as error:
        remarks = [str(error)]
    assert any(re.search(sentence, remark) for remark in remarks), remarks


def long_names(count):
    """A tarball that is a chain of headers, each with a long name for the next."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 200
    return (header.tobuf(tarfile.GNU_FORMAT) + b"mytorch/".ljust(512, b"x")) * count + bytes(1024)


def with_notes(*notes, kind=tarfile.XHDTYPE, content=b""):
    """A tarball of mytorch/a.py, with a pax header before it for each of ``notes`` (bytes)."""
    def entry(name, kind, content):
        header = tarfile.TarInfo(name)
        header.type, header.size = kind, len(content)
        return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)

    headers = [entry("notes", kind, text) for text in notes]
    return b"".join(headers) + entry("mytorch/a.py", tarfile.REGTYPE, content) + bytes(1024)


@pytest.mark.parametrize("content", [
    long_names(1200),
    with_notes(b"1" * (1 << 20)),
    with_notes(*[b"1" * 60_000] * 300),  # minutes for tarfile
    with_notes(*[b"2 " * 4094 + b"x=\n"] * 2000),  # 30 GB for tarfile
    with_notes(b"16 size=-1000000\n"),
    with_notes(b"17 size=-1000000\n"),
    with_notes(b"4007 size=" + b"9" * 3996 + b"\n"),
    with_notes(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n30 GNU.sparse.realsize=300000\n",
               content=b"300000\n" + b"".join(b"%d\n1\n" % i for i in range(300_000))),
], ids=["long names", "long", "digits", "overlapping", "wrong length", "negative", "endless", "holes"])
@pytest.mark.slow
def test_a_tarball_of_odd_headers_ends_in_a_sentence_and_soon(content, tmp_path, monkeypatch):
    (tmp_path / "handin.tar").write_bytes(content)
    monkeypatch.setattr(unpacking, "SECONDS", 0.3)
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(packing.HandinError, match="make it with|more than 20 MiB"):
        unpacking.read(tmp_path / "handin.tar")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 2


def test_four_times_the_most_files_are_the_most_members_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_FILES", 5)
    folders = [(f"mytorch/{i}", {"type": tarfile.DIRTYPE}) for i in range(20)]
    assert unpacked(tmp_path, ("mytorch/a.py", b"1"), *folders[1:])[0] == ["mytorch/a.py"]
    tar_of(tmp_path / "more.tar", ("mytorch/a.py", b"1"), *folders)
    with pytest.raises(packing.HandinError, match="more than 5 files"):
        unpacking.read(tmp_path / "more.tar")


def test_a_folder_in_the_place_of_a_file_is_remarked_on(tmp_path):
    _, remarks = unpacked(tmp_path, ("mytorch/__init__.py", b""), ("mytorch/nn/functional.py", b"1"),
                          ("mytorch/nn/functional/__init__.py", b"1"))
    assert len(remarks) == 1 and "in the place of mytorch/nn/functional.py" in remarks[0]


LITTER = ("mytorch/a.pyc", "mytorch/a.pyo", "mytorch/.a.py.swp", "mytorch/a.py.orig",
          "mytorch/a.py.bak", "mytorch/a.py~", "mytorch/._a.py", "mytorch/__pycache__/a.py",
          "__MACOSX/mytorch/a.py", "mytorch/.DS_Store", "mytorch/.ipynb_checkpoints/a.py",
          "mytorch/.idea/a.py", "mytorch/.vscode/a.py")


def test_litter_is_neither_packed_nor_unpacked(tree, tmp_path):
    without = packing.pack(tree, tree / "handin.tar")
    for name in LITTER:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"1")
    assert packing.pack(tree, tree / "handin.tar") == without
    files = unpacked(tmp_path, ("mytorch/a.py", b"1"), *[(name, b"1") for name in LITTER])[0]
    assert files == ["mytorch/a.py"]


def test_no_room_to_unpack_is_no_fault_of_the_tarball(tree, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    packing.pack(tree, tree / "handin.tar")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        unpacking.read(tree / "handin.tar")


def test_it_is_compiled_whatever_the_compiler_makes_of_some_files(tmp_path, capfd):
    files, remarks = unpacked(
        tmp_path, ("mytorch/a.py", b"x = '\\d'\n"), ("mytorch/b.py", b"no python\n"),
        ("mytorch/c.py", b"(" * 5_000), ("mytorch/d.py", b"\0"), ("mytorch/nn/e.py", b"y = 1\n"))
    assert {path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")} >= {"a"}
    assert len(files) == 5 and remarks == []
    assert capfd.readouterr() == ("", "")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 10_000)
    tarball = tar_of(tmp_path / "handin.tar", ("mytorch/a.py", b"1" * 20_000))
    with pytest.raises(packing.HandinError, match="larger than"):
        unpacking.unpack(tarball, tmp_path)
