"""What a student's process leaves behind is ended and removed, whatever it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from processes import leftovers


def test_a_folder_is_removed_however_deep_long_named_or_closed(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    os.symlink("loop", str(top / "loop"))
    os.symlink(str(tmp_path), str(top / "out"))
    (tmp_path / "kept").write_text("kept")
    here = os.getcwd()
    try:
        os.chdir(str(top))
        for _ in range(1200):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        Path("file").write_text("x")
        os.chmod("file", 0)
        for _ in range(1200):
            os.chdir("..")
            os.chmod("d" * 200, 0)
    finally:
        os.chdir(here)
    try:
        assert leftovers.remove_tree(top, patience=60.0)
        assert os.listdir(str(tmp_path)) == ["kept"]
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)  # pytest's own way cannot


def test_removing_what_is_not_there_or_takes_too_long_raises_no_error(tmp_path):
    assert leftovers.remove_tree(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "empty").mkdir()
    assert not leftovers.remove_tree(tmp_path / "folder", patience=-1.0)
    assert (tmp_path / "folder" / "empty").exists()
    (tmp_path / "folder" / "file").write_text("x")
    assert not leftovers.remove_tree(tmp_path / "folder", patience=-1.0)
    assert leftovers.remove_tree(tmp_path / "folder")


def test_what_cannot_be_removed_does_not_keep_the_rest(tmp_path, monkeypatch):
    for folder in ("a", "b/inner", "c"):
        (tmp_path / "top" / folder).mkdir(parents=True)
        (tmp_path / "top" / folder / "file").write_text("x")
    (tmp_path / "top/b/stays").write_text("x")
    real = os.unlink

    def unlink(path):
        if path.endswith("stays"):
            raise PermissionError(path)
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    assert not leftovers.remove_tree(tmp_path / "top", patience=0.1)
    assert [path.name for path in (tmp_path / "top").rglob("*") if path.is_file()] == ["stays"]
    monkeypatch.undo()
    assert leftovers.remove_tree(tmp_path / "top")


@pytest.mark.slow
def test_two_at_once_remove_a_wide_folder(tmp_path):
    for number in range(2000):
        (tmp_path / "top" / str(number) / "inner").mkdir(parents=True)
    removing = subprocess.Popen([sys.executable, "-c", (
        f"import sys; sys.path.insert(0, {leftovers.__file__!r}.rpartition('/')[0]); "
        f"import leftovers; sys.exit(not leftovers.remove_tree({str(tmp_path / 'top')!r}))")])
    assert leftovers.remove_tree(tmp_path / "top")
    assert removing.wait() == 0


LEASED = """
import fcntl, os, signal, sys, time

def released(*_):
    time.sleep(5)
    print("released", flush=True)
    os._exit(0)

signal.signal(signal.SIGIO, released)
file = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
time.sleep(1000)
"""


def test_shared_memory_that_makes_others_wait_is_passed_over():
    if not os.path.isdir(leftovers.SHARED_MEMORY):
        pytest.skip("this system keeps its shared memory elsewhere")
    known = leftovers.shared_memory()
    leased = Path(leftovers.SHARED_MEMORY, f"leased-{os.getpid()}")
    holder = subprocess.Popen([sys.executable, "-c", LEASED, str(leased)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"leased\n"
        leftovers.remove_shared_memory(known)
        holder.kill()
        assert holder.stdout.read() == b"" and leased.exists()  # it went on at once
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        leased.unlink()


def test_only_shared_memory_that_is_new_and_unused_is_removed():
    if not os.path.isdir(leftovers.SHARED_MEMORY):
        pytest.skip("this system keeps its shared memory elsewhere")
    before, used, unused = (
        Path(leftovers.SHARED_MEMORY, f"{name}-{os.getpid()}") for name in ("before", "used", "new"))
    try:
        before.write_text("x")
        known = leftovers.shared_memory()
        unused.write_text("x")
        with used.open("w"):
            leftovers.remove_shared_memory(known)
        assert [path.exists() for path in (before, used, unused)] == [True, True, False]
    finally:
        before.unlink()
        used.unlink()


def test_folders_get_back_the_modes_they_had(tmp_path):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o750)
    modes = leftovers.modes_above(inner)
    inner.chmod(0)
    inner.parent.chmod(0)
    leftovers.restore_modes(modes)
    assert inner.stat().st_mode & 0o777 == 0o750


def test_children_end_but_for_those_that_are_kept():
    kept, ended = (subprocess.Popen(["sleep", "1000"]) for _ in range(2))
    try:
        if kept.pid not in leftovers.children_of_this_process():
            pytest.skip("this system does not list a process's children")
        others = set(leftovers.children_of_this_process()) - {ended.pid}
        leftovers.end_children(others, patience=5.0)
        assert kept.poll() is None
        assert ended.pid not in leftovers.children_of_this_process()
        leftovers.end_children(others - {kept.pid}, patience=0.0)
        assert kept.poll() is None
        leftovers.end_children(others - {kept.pid}, patience=5.0, only=lambda pid: False)
        assert kept.poll() is None
    finally:
        kept.kill()
        kept.wait()
        ended.returncode = 0  # it was reaped above


def test_waiting_for_a_child_has_an_end():
    child = subprocess.Popen(["sleep", "1000"])
    assert not leftovers.wait_for(child.pid, patience=0.01)
    child.kill()
    assert leftovers.wait_for(child.pid, patience=60.0)
    child.returncode = 0
    assert leftovers.wait_for(child.pid, patience=0.0)
