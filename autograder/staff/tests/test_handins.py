"""handins.py: whose a downloaded handin is, and what is in it, in whatever form it comes."""

import gzip
import io
import zipfile

import handins
import pytest
from handin import packing, unpacking

FILES = {"mytorch/tensor.py": b"pass\n", "hw1/mnist.py": b"pass\n"}


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write(folder, name, content):
    """A file in a folder; with a dict of name → bytes as content, a folder."""
    if isinstance(content, dict):
        for inside, bytes_of_it in content.items():
            write(folder / name, inside, bytes_of_it)
    else:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


TAR = packing.tar_bytes(FILES)
KINDS = {".tar": TAR, ".tar.gz": gzip.compress(TAR), ".tgz": gzip.compress(TAR), ".zip": zip_of(FILES)}


@pytest.mark.parametrize("name, student, version", [
    ("ann@x.edu_3_handin.tar", "ann@x.edu", 3),
    ("a_b@x.edu_10_handin.tar", "a_b@x.edu", 10),
    ("leeann_LATE_12_34567_my hw-1.zip", "leeann_12", 34567),
    ("leeann_12_34567_hw_1_2_part.tar.gz", "leeann_12", 34567),
    ("Ann Lee_77_assignsubmission_file_handin.tar", "Ann Lee_77", 1),
    ("Ann Lee_77_assignsubmission_file_/handin.zip", "Ann Lee_77", 1),
    ("ann/handin.tar", "ann", 1),
    ("ann/mytorch/tensor.py", "ann", 1),
])
def test_names_say_whose_a_handin_is(name, student, version, tmp_path):
    write(tmp_path, name, TAR)
    (found,), others = handins.find(tmp_path)
    assert found[:2] == (student, version) and others == []


@pytest.mark.parametrize("name, reason", [
    ("ann_1_handin.rar", "its name does not say whose it is"),
    ("ann/notes.txt", "this folder holds neither mytorch/ nor a tar or zip file")])
def test_what_is_no_students_is_named_with_the_reason(name, reason, tmp_path):
    write(tmp_path, name, TAR)
    assert handins.find(tmp_path) == ([], [(reason, name.partition("/")[0])])


def test_of_several_archives_in_a_folder_the_one_called_handin_tar_counts(tmp_path):
    write(tmp_path, "ann", {"a.tar": TAR, "b.zip": KINDS[".zip"]})
    assert handins.find(tmp_path)[1] == [("this folder holds several tar or zip files", "ann")]
    write(tmp_path, "ann/handin.tar", TAR)
    assert handins.find(tmp_path)[0] == [("ann", 1, tmp_path / "ann" / "handin.tar")]


def test_litter_and_what_collect_writes_are_passed_over_in_silence(tmp_path):
    for name in ("._ann_1_handin.tar", ".DS_Store", "__MACOSX/._x", "scores.csv", "reports/a.txt"):
        write(tmp_path, name, TAR)
    assert handins.find(tmp_path) == ([], [])


def test_the_newest_version_of_each_student_counts_or_all_of_them(tmp_path):
    for name in ("a_b@x.edu_9", "a_b@x.edu_10", "c@x.edu_1"):
        write(tmp_path, f"{name}_handin.tar", TAR)
    assert [one[:2] for one in handins.find(tmp_path)[0]] == [("a_b@x.edu", 10), ("c@x.edu", 1)]
    assert [one.version for one in handins.find(tmp_path, every_version=True)[0]] == [9, 10, 1]


@pytest.mark.parametrize("name, content", [
    *((f"a_1_handin{ending}", content) for ending, content in KINDS.items()),
    ("a_1_handin.tar", KINDS[".zip"]), ("a", FILES), ("b", {"c": FILES})])
def test_every_kind_of_archive_and_a_folder_are_read_as_the_tarball_they_stand_for(
        name, content, tmp_path):
    write(tmp_path / "in", name, content)
    (tmp_path / "out").mkdir()
    (submission,), _ = handins.find(tmp_path / "in")
    assert unpacking.read(handins.as_tar(submission, tmp_path / "out"))[0] == FILES


@pytest.mark.parametrize("content, reason", [
    (gzip.compress(TAR)[:-20], "ended before"),
    (KINDS[".zip"][:-9], "not a zip file"),
    (zip_of({"mytorch/x.py": bytes(packing.MAX_BYTES + 1)}), "too many files, or too large ones"),
    ({f"mytorch/{n}.py": b"" for n in range(packing.MAX_FILES + 1)}, "too many files")])
def test_what_cannot_be_read_is_named_with_the_reason(content, reason, tmp_path):
    write(tmp_path, "a_1_handin.tar", content)
    with pytest.raises(packing.HandinError, match=f"a_1_handin.tar cannot be read: .*{reason}"):
        handins.as_tar(handins.Submission("a", 1, tmp_path / "a_1_handin.tar"), tmp_path)
