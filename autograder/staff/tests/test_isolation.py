"""What limits the processes of student code, and what the limits leave allowed. Their tasks here
are a few lines of Python (isolation_tasks.py); how they end: test_isolation_endings.py."""

import ctypes
import os
import resource
import signal
import subprocess

import pytest

from processes import isolation
from processes import limits
from crews import HERE, filtered, landlock, linux, run, said

LIMITS = """
import ctypes, os, resource, signal, socket, sys, tempfile

def denied(what):
    try:
        what()
    except PermissionError:
        return True
    return False

def inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False

prctl = ctypes.CDLL(None).prctl
dying = ctypes.c_int()
prctl(2, ctypes.byref(dying), 0, 0, 0)
said.update(
    seed=seed, session=os.getsid(0) == os.getpid(), folder=os.listdir("."),
    temporary=os.path.realpath(tempfile.gettempdir()) == os.getcwd(),
    limits={name: resource.getrlimit(getattr(resource, name)) for name in (
        "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_MSGQUEUE", "RLIMIT_NPROC")},
    dies_with_the_helper=dying.value == signal.SIGKILL, dumpable=prctl(3, 0, 0, 0, 0),
    inherited=[fd for fd in range(3, 64) if inheritable(fd)], keyboard=sys.stdin.read(), argv=sys.argv, main=dir(sys.modules["__main__"]),
    path=sys.path[0] == str(root), grader=[path for path in sys.path if "hw1_autograder" in path],
    interrupt=signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    files=[name for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)],
    denied={
        "writing": denied(lambda: open(outside, "w")),
        "network": denied(lambda: socket.create_connection(("127.0.0.1", 9))),
        "signals": denied(lambda: os.kill(int(someone), 0)),
        "reading": denied(lambda: os.listdir("/tmp"))})
open("file", "w").close()
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """What a process says of its limits, and the names of those that it has."""
    outside = str(tmp_path_factory.mktemp("outside") / "file")
    someone = subprocess.Popen(["sleep", "1000"])
    try:
        (outcome,) = run(f"someone, outside = {someone.pid}, {outside!r}\n" + LIMITS)
    finally:
        someone.kill()
        someone.wait()
    return said(outcome), outcome.protections


@linux
@pytest.mark.parametrize("name, most", [
    ("RLIMIT_AS", limits.MEMORY_LIMIT), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", limits.FILE_SIZE_LIMIT),
    ("RLIMIT_MSGQUEUE", 0)])
def test_memory_files_and_the_like_are_limited(name, most, limited):
    assert limited[0]["limits"][name] == [most, most]


def test_processor_time_is_limited_to_that_of_the_task_and_what_was_used_before(limited):
    soft, hard = limited[0]["limits"]["RLIMIT_CPU"]
    assert 5 <= soft < 5 + isolation.IMPORT_SECONDS / 2 and hard == soft + 1


@linux
def test_the_number_of_processes_is_limited_to_what_the_user_has_and_256_more(limited):
    most = limited[0]["limits"]["RLIMIT_NPROC"][1]
    assert 256 < most and most <= 256 + 2 * limits.processes_of_this_user() + 100


def test_a_process_has_a_session_a_folder_and_a_seed_and_nobody_types(limited):
    told = limited[0]
    assert told["session"] and told["folder"] == [] and told["temporary"]
    assert told["seed"] == 7 and told["keyboard"] == "" and told["interrupt"]


def test_a_process_shows_no_trace_of_the_grader(limited):
    told = limited[0]
    assert told["argv"] == [""] and told["path"] and told["grader"] == []
    assert "__file__" not in told["main"] and "run" not in told["main"]


@linux
def test_a_process_holds_no_file_but_its_own_and_ends_with_the_helper(limited):
    assert len(limited[0]["files"]) == 4  # standard input, output, error and the results
    assert limited[0]["inherited"] == []  # by programs that it executes
    assert limited[0]["dies_with_the_helper"]


@linux
def test_no_other_process_can_read_its_memory_or_the_helpers(limited):
    assert limited[0]["dumpable"] == 0


@landlock
def test_landlock_denies_writing_network_and_signals_but_no_reading_at_home(limited):
    told, names = limited
    assert told["denied"] == {"writing": True, "network": True, "signals": True, "reading": False}
    assert {"writing (Landlock)", "network (Landlock)", "signals (Landlock)"} < set(names)


WRITE = """
try:
    open({outside!r}, "w")
except PermissionError:
    said.update(denied=True)
os = __import__("os")
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
    monkeypatch.setattr(limits, "landlock_version", lambda: version)
    (outcome,) = run(WRITE.format(outside=str(tmp_path / "file")), need_landlock=True)
    told = said(outcome)
    assert told["denied"] and told["own"] == ["other"]
    assert [name for name in outcome.protections if "Landlock" in name] == [
        f"{name} (Landlock)" for name in ["writing", *more]]


READ = """
import os, socket, ssl, numpy.polynomial
def no_socket(kind):
    try:
        socket.socket(kind, socket.SOCK_DGRAM)
    except PermissionError:
        return True
def denied(path):
    try:
        os.listdir(path)
    except PermissionError:
        return True
def no_shared_memory():
    try:
        os.open("/dev/shm/left" + str(os.getpid()), os.O_CREAT | os.O_WRONLY)
    except PermissionError:
        return True
said.update(shared_memory=no_shared_memory(), submission=denied(root), python=denied(os.path.dirname(os.__file__)),
            grader=denied({grader!r}), beside=denied(root.parent), temporary=denied("/tmp"),
            sockets=[no_socket(socket.AF_INET), no_socket(socket.AF_UNIX)])
"""


@filtered
@landlock
def test_where_reading_is_limited_only_python_and_the_submission_can_be_read_and_no_socket_opened(tmp_path):
    (tmp_path / "submission").mkdir()
    (outcome,) = run(READ.format(grader=limits.GRADER), root=tmp_path / "submission",
                     limit_reading=True, need_landlock=True)
    told = said(outcome)
    del told["case"]
    assert told == {"submission": None, "python": None, "grader": True, "beside": True,
                    "temporary": True, "sockets": [True, True], "shared_memory": True}
    assert "reading (Landlock)" in outcome.protections


REACH = """
import ctypes, fcntl, os, resource, signal, struct, subprocess

def denied(what):
    try:
        what()
    except PermissionError:
        return True
    return False

libc = ctypes.CDLL(None, use_errno=True)
helper = os.getppid()
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
os.killpg(child.pid, signal.SIGKILL)
said.update(
    own=child.wait(), own_limits=resource.prlimit(0, resource.RLIMIT_CORE),
    pids=denied(lambda: os.kill(helper, 0)) and denied(lambda: os.kill(int(grader), 0)),
    groups=denied(lambda: os.killpg(os.getpgid(helper), 0)), all=denied(lambda: os.kill(-1, 0)),
    limits=denied(lambda: resource.prlimit(helper, resource.RLIMIT_CORE)),
    hinders=[denied(lambda: os.setpriority(os.PRIO_USER, 0, 1)),
             denied(lambda: os.sched_setaffinity(helper, {0})),
             denied(lambda: os.sched_setscheduler(helper, os.SCHED_IDLE, os.sched_param(0)))],
    changes=[denied(lambda: os.chmod(outside, 0)), denied(lambda: os.chown(outside, -1, -1)),
             denied(lambda: os.utime(outside)), denied(lambda: os.truncate(outside, 0)),
             denied(lambda: os.setxattr(outside, "user.a", b""))],
    sends=[denied(lambda: fcntl.fcntl(0, command, 1)) for command in (
               fcntl.F_SETOWN, fcntl.F_SETSIG, fcntl.F_SETLEASE)]
          + [denied(lambda: fcntl.ioctl(0, 0x8901, struct.pack("i", helper)))],
    keys=libc.syscall(250 if os.uname().machine == "x86_64" else 219, 0, -4, 0),
    rings=libc.syscall(425, 1, None), tracing=libc.ptrace(16, helper, 0, 0), memory=libc.shmget(0, 4096, 0o1600),
    semaphores=libc.semget(0, 1, 0o1600), messages=libc.msgget(0, 0o1600))
"""


@filtered
def test_a_filter_denies_what_reaches_others_also_without_landlock(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(limits, "landlock_version", lambda: 0)
    (outcome,) = run(f"grader, outside = {os.getpid()}, {str(tmp_path / 'file')!r}\n" + REACH)
    told = said(outcome)
    assert (told["own"], told["own_limits"]) == (-signal.SIGKILL, [0, 0])
    assert told["pids"] and told["groups"] and told["all"] and told["limits"]
    assert all(told["hinders"] + told["changes"] + told["sends"]), told
    assert [told[name] for name in (
        "tracing", "memory", "semaphores", "messages", "rings", "keys")] == [-1] * 6
    assert "calls (seccomp)" in outcome.protections


SIGNAL = """
import os, signal
def denied(pid):
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
said.update(others=[denied(someone), denied(-os.getpgid(os.getppid())), denied(-1)],
            own=[denied(os.getpid()), denied(0), denied(-os.getpid())])
signal.signal(signal.SIGTERM, lambda *_: said.update(raised=True))
signal.raise_signal(signal.SIGTERM)
"""


@filtered
def test_where_landlock_leaves_signals_open_a_submission_of_others_can_signal_itself_alone(
        monkeypatch):
    monkeypatch.setattr(limits, "landlock_version", lambda: 0)
    someone = subprocess.Popen(["sleep", "1000"])  # such as another job
    try:
        told = said(run(f"someone = {someone.pid}\n" + SIGNAL, limit_reading=True)[0])
    finally:
        someone.kill()
        someone.wait()
    assert told["others"] == [True] * 3 and told["own"] == [None] * 3 and told["raised"]


MINDS = """
import os, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
said.update(score=open("/proc/self/oom_score_adj").read().strip(),
            powers=int(status["CapEff"], 16) | int(status["CapPrm"], 16),
            processes=resource.prlimit(0, resource.RLIMIT_NPROC))
"""


@linux
def test_a_process_ends_first_without_memory_has_no_power_of_root_and_leaves_others_room(monkeypatch):
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (
        (100, 100) if kind == resource.RLIMIT_NPROC else real(kind)))
    told = said(run(MINDS)[0])
    assert told["score"] == "1000"
    assert told["powers"] & ~limits.CAP_DAC_READ_SEARCH == 0
    assert told["processes"] == [75, 75]


def test_where_landlock_is_demanded_nothing_runs_without(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "landlock_version", lambda: 0)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    with pytest.raises(isolation.HostFault, match='lacks "writing'):
        run(code, need_landlock=True)
    assert not (tmp_path / "ran").exists()
    take = isolation.Child._take_news  # the process refuses by itself, were it not stopped
    monkeypatch.setattr(isolation.Child, "_take_news",
                        lambda child, message: take(child, {**message, "refused": ""}))
    assert run(code, need_landlock=True)[0].ending == "exit 0"
    assert not (tmp_path / "ran").exists()
    run(code)
    assert (tmp_path / "ran").exists()


@linux
def test_the_memory_of_the_one_who_knows_the_answers_is_closed_while_it_does():
    def state():
        orphans = ctypes.c_int()
        limits.LIBC.prctl(limits.PR_GET_CHILD_SUBREAPER, ctypes.byref(orphans), 0, 0, 0)
        return limits.LIBC.prctl(limits.PR_GET_DUMPABLE, 0, 0, 0, 0), orphans.value

    limits.prctl(limits.PR_SET_DUMPABLE, 1)
    limits.prctl(limits.PR_SET_CHILD_SUBREAPER, 0)
    with isolation.Crew("isolation_tasks", HERE):
        assert state() == (0, 1)
    assert state() == (1, 0)


@landlock
def test_landlock_protects_the_helper_also_without_the_filter(monkeypatch):
    monkeypatch.setattr(limits, "filter_calls", lambda **_: False)
    (outcome,) = run("""
import os
try:
    os.kill(os.getppid(), 0)
except PermissionError:
    said.update(denied=True)
""")
    assert said(outcome)["denied"]


LOCKS = """
import concurrent.futures, multiprocessing, tempfile
lock = multiprocessing.Lock()
pool = multiprocessing.get_context("fork").Pool(2)
# ready
import os
with tempfile.TemporaryDirectory() as folder, lock:
    said.update(squares=pool.map(abs, [-1, -2]), inside=folder.startswith(os.getcwd()))
"""


def test_locks_pools_and_temporary_files_work_while_importing(limited):
    told = said(run(LOCKS)[0])
    assert told["squares"] == [1, 2] and told["inside"]
