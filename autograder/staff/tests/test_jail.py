"""The jail: what it denies a submission, and that what one leaves behind is ended and removed. The
tasks here are a few lines of Python (isolation_tasks.py)."""

import ctypes
import os
import resource
from pathlib import Path

import pytest

import jail
from crews import HERE, Task, filtered, landlock, linux, run, said, sleeping
from jail import Jail
from processes import isolation
from processes import limits

pytestmark = linux

DENIED = """
import ctypes, fcntl, os, resource, select, signal, socket, ssl, struct, subprocess, numpy.polynomial
def denied(what):
    try:
        what()
    except PermissionError:
        return True
    return False

libc = ctypes.CDLL(None, use_errno=True)
grader = os.getppid()
dying = ctypes.c_int()
libc.prctl(2, ctypes.byref(dying), 0, 0, 0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
child = subprocess.Popen(["sleep", "1000"])
os.kill(os.getpid(), 0)
said.update(
    dies_with_the_grader=dying.value == signal.SIGKILL, dumpable=libc.prctl(3, 0, 0, 0, 0),
    first_without_memory=open("/proc/self/oom_score_adj").read().strip(),
    powers=int(status["CapEff"], 16) | int(status["CapPrm"], 16),
    limits={name: resource.prlimit(0, getattr(resource, name))[1] for name in (
        "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_SIGPENDING", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE")},
    writing=[denied(lambda: open(outside, "w"))],
    reading=[denied(lambda: os.listdir(path)) for path in ("/tmp", "/dev", "/etc", str(root.parent), grader_files)],
    allowed=[denied(lambda: os.listdir(path)) for path in (".", str(root), os.path.dirname(os.__file__))],
    shared=[denied(lambda: os.open(f"/dev/shm/left{os.getpid()}", os.O_CREAT | os.O_WRONLY))],
    signals=[denied(lambda: os.kill(pid, 0)) for pid in (someone, grader, -os.getpgid(grader))],
    limits_of_others=[denied(lambda: resource.prlimit(grader, resource.RLIMIT_CORE))],
    sockets=[denied(lambda: socket.socket(kind, socket.SOCK_DGRAM))
             for kind in (socket.AF_INET, socket.AF_UNIX)],
    hinders=[denied(lambda: os.setpriority(os.PRIO_USER, 0, 1)),
             denied(lambda: os.sched_setaffinity(grader, {0})),
             denied(lambda: os.sched_setscheduler(grader, os.SCHED_IDLE, os.sched_param(0)))],
    changes=[denied(lambda: os.chmod(outside, 0)), denied(lambda: os.chown(outside, -1, -1)),
             denied(lambda: os.utime(outside)), denied(lambda: os.truncate(outside, 0)),
             denied(lambda: os.setxattr(outside, "user.a", b""))],
    sends=[denied(lambda: fcntl.fcntl(0, command, 1)) for command in (
               fcntl.F_SETOWN, fcntl.F_SETSIG, fcntl.F_SETLEASE)]
          + [denied(lambda: fcntl.ioctl(0, command, struct.pack("i", grader)))
             for command in (0x8901, 0x5412, 0x5402)],
    counted_for_all_processes_of_a_user=[denied(select.epoll)],
    calls=[libc.syscall(250 if os.uname().machine == "x86_64" else 219, 0, -4, 0),
           libc.syscall(425, 1, None), libc.ptrace(16, grader, 0, 0), libc.shmget(0, 4096, 0o1600),
           libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600), libc.inotify_init1(0),
           libc.timer_create(1, None, ctypes.byref(dying))])
"""


@pytest.fixture(scope="module")
def jailed(tmp_path_factory):
    """What a process says of all that it is denied, and the names of what denies it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "root").mkdir()
    (folder / "file").write_text("x")
    with sleeping() as (someone,):
        code = (f"someone, outside = {someone.pid}, {str(folder / 'file')!r}\n"
                f"grader_files = {os.path.dirname(isolation.__file__)!r}\n" + DENIED)
        (outcome,) = run(code, root=folder / "root", jail=Jail())
    return said(outcome), outcome.protections


@filtered
@landlock
@pytest.mark.parametrize("what", [
    "writing", "reading", "shared", "signals", "limits_of_others", "sockets", "hinders", "changes",
    "sends", "counted_for_all_processes_of_a_user"])
def test_in_the_jail_what_reaches_others_is_denied(what, jailed):
    assert set(jailed[0][what]) == {True}, jailed[0][what]


@filtered
@landlock
def test_in_the_jail_no_call_works_that_leaves_something_behind_or_looks_into_others(jailed):
    assert set(jailed[0]["calls"]) == {-1}
    assert set(jailed[0]["allowed"]) == {False}
    assert {"writing (Landlock)", "reading (Landlock)", "network (Landlock)", "signals (Landlock)",
            "calls (seccomp)"} < set(jailed[1])


@filtered
@landlock
def test_a_jailed_process_has_no_power_ends_first_and_leaves_room_for_others(jailed):
    told = jailed[0]
    assert told["dies_with_the_grader"] and told["dumpable"] == 0
    assert told["first_without_memory"] == "1000"
    assert told["powers"] & ~jail.CAP_DAC_READ_SEARCH == 0
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    assert most < 0 or told["limits"].pop("RLIMIT_NPROC") <= most * 3 // 4
    assert all(told["limits"][kind] <= most for _, kind, most in jail.LIMITS)


WRITE = """
import os
try:
    open({outside!r}, "w")
except PermissionError:
    said.update(denied=True)
os.mkdir("a"), os.mkdir("b")
open("a/file", "w").close()
os.rename("a/file", "a/other")
said.update(own=os.listdir("a"))
"""


@landlock
@pytest.mark.parametrize("version, more", [
    (1, []), (2, []), (3, []), (4, ["network"]), (5, ["network"]), (6, ["network", "signals"])])
def test_older_versions_of_landlock_are_used_as_far_as_they_go(
        version, more, monkeypatch, tmp_path):
    monkeypatch.setattr(jail, "landlock_version", lambda: version)
    (outcome,) = run(WRITE.format(outside=str(tmp_path / "file")), jail=Jail())
    told = said(outcome)
    assert told["denied"] and told["own"] == ["other"]
    assert [name for name in outcome.protections if "Landlock" in name] == [
        f"{name} (Landlock)" for name in ["writing", "reading", *more]]


SIGNAL = """
import os, signal
def denied(pid):
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
said.update(others=[denied(someone), denied(os.getppid()), denied(-os.getpgid(os.getppid())), denied(-1)],
            own=[denied(os.getpid()), denied(0), denied(-os.getpid())])
signal.signal(signal.SIGTERM, lambda *_: said.update(raised=True))
signal.raise_signal(signal.SIGTERM)
"""


@filtered
def test_where_landlock_leaves_signals_open_a_submission_can_signal_itself_alone(monkeypatch):
    monkeypatch.setattr(jail, "landlock_version", lambda: 0)
    with sleeping() as (someone,):  # such as another job
        told = said(run(f"someone = {someone.pid}\n" + SIGNAL, jail=Jail(need_landlock=False))[0])
    assert told["others"] == [True] * 4 and told["own"] == [None] * 3 and told["raised"]


def test_where_landlock_is_demanded_nothing_runs_without(monkeypatch, tmp_path):
    monkeypatch.setattr(jail, "landlock_version", lambda: 0)
    (tmp_path / "root").mkdir()
    code = "print('ran')"
    with pytest.raises(isolation.HostFault, match='lacks "writing'):
        run(code, jail=Jail())
    assert run(code, jail=Jail(need_landlock=False))[0].output == "ran\n"


def test_nobody_can_look_into_the_one_who_knows_the_answers_nor_leave_it_a_process():
    orphans = ctypes.c_int()
    with isolation.Crew("isolation_tasks", HERE, Jail()):
        jail.LIBC.prctl(37, ctypes.byref(orphans), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
        assert (jail.prctl(3), orphans.value) == (0, 1)  # PR_GET_DUMPABLE


# What it leaves behind.

STRAY = """
import os, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, b"%d" % os.getpid())
        time.sleep(1000)
    os._exit(0)
os.wait()
said.update(stray=int(os.read(reading, 100)))
"""


def test_what_a_process_left_running_ends_and_what_others_started_does_not():
    with sleeping({"start_new_session": True}, {}) as mine:
        with isolation.Crew("isolation_tasks", HERE, Jail(need_landlock=False)) as crew:
            for _, outcome in crew.run([Task(STRAY)], seed=7):
                assert not Path(f"/proc/{said(outcome)['stray']}").exists()  # not only at the end
        assert [process.poll() for process in mine] == [None, None]


def test_children_end_but_for_those_that_are_kept_or_carry_other_limits():
    def limit():
        limits.lower("RLIMIT_FSIZE", limits.FILE_SIZE_LIMIT)

    with sleeping({"preexec_fn": limit}, {"preexec_fn": limit}, {}) as (kept, ended, other):
        jail.end_children([kept.pid], patience=5.0)
        assert (kept.poll(), other.poll()) == (None, None)
        assert ended.pid not in jail.children_of_this_process()
        ended.returncode = 0  # it was reaped above


def test_a_folder_is_removed_and_where_that_cannot_be_there_is_no_error(tmp_path, monkeypatch):
    assert jail.remove_tree(tmp_path / "nothing")
    (tmp_path / "top/closed").mkdir(parents=True)
    (tmp_path / "top/closed/file").write_text("x")
    (tmp_path / "top/out").symlink_to(tmp_path)
    (tmp_path / "top/closed").chmod(0)
    assert jail.remove_tree(tmp_path / "top") and tmp_path.exists()
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("PATH", "")
    assert not jail.remove_tree(tmp_path)


@pytest.mark.skipif(not os.path.isdir(jail.SHARED_MEMORY), reason="shared memory lies elsewhere")
def test_only_shared_memory_that_is_new_and_unused_is_removed():
    before, used, unused = (
        Path(jail.SHARED_MEMORY, f"{name}-{os.getpid()}") for name in ("before", "used", "new"))
    try:
        before.write_text("x")
        known = jail.shared_memory()
        unused.write_text("x")
        with used.open("w"):
            jail.remove_shared_memory(known)
        assert [path.exists() for path in (before, used, unused)] == [True, True, False]
    finally:
        before.unlink()
        used.unlink()
