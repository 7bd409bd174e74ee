"""The processes of student code: what limits each of them, what they may say, how they end, and
that all is cleaned up. Their tasks here are a few lines of Python (isolation_tasks.py)."""

import ctypes
import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import calls
import helper
import isolation
import leftovers
import limits

HERE = Path(__file__).resolve().parent
filtered = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in calls.AUDIT_ARCH, reason="no filter here")
landlock = pytest.mark.skipif(limits.landlock_version() < 6, reason="no Landlock of Linux 6.12")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can do that")


class Task(NamedTuple):
    key: str
    time_limit: float = 5.0


def run(*codes, root=HERE, time_limit=5.0, deadline=None, **options):
    """The Outcomes of tasks."""
    with isolation.Crew("isolation_tasks", root, **options) as crew:
        tasks = [Task(code, time_limit) for code in codes]
        return [outcome for _, outcome in crew.run(tasks, seed=7, deadline=deadline)]


def said(outcome):
    """What a task put into ``said``."""
    assert outcome.ending == "done", (outcome.ending, outcome.output)
    return json.loads(outcome.lines[-1])


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
said.update(submission=denied(root), python=denied(os.path.dirname(os.__file__)),
            grader=denied({grader!r}), beside=denied(root.parent), temporary=denied("/tmp"),
            sockets=[no_socket(socket.AF_INET), no_socket(socket.AF_UNIX)])
"""


@filtered
@landlock
def test_where_reading_is_limited_only_python_and_the_submission_can_be_read_and_no_socket_opened(tmp_path):
    (tmp_path / "submission").mkdir()
    (outcome,) = run(READ.format(grader=limits.HERE), root=tmp_path / "submission",
                     limit_reading=True, need_landlock=True)
    told = said(outcome)
    del told["case"]
    assert told == {"submission": None, "python": None, "grader": True, "beside": True,
                    "temporary": True, "sockets": [True, True]}
    assert "reading (Landlock)" in outcome.protections


REACH = """
import ctypes, os, resource, signal, subprocess

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
    rings=libc.syscall(425, 1, None), tracing=libc.ptrace(16, helper, 0, 0), memory=libc.shmget(0, 4096, 0o1600),
    semaphores=libc.semget(0, 1, 0o1600), messages=libc.msgget(0, 0o1600))
"""


@filtered
def test_a_filter_denies_what_reaches_others_also_without_landlock(monkeypatch):
    monkeypatch.setattr(limits, "landlock_version", lambda: 0)
    (outcome,) = run(f"grader = {os.getpid()}\n" + REACH)
    told = said(outcome)
    assert (told["own"], told["own_limits"]) == (-signal.SIGKILL, [0, 0])
    assert told["pids"] and told["groups"] and told["all"] and told["limits"]
    assert [told[name] for name in (
        "tracing", "memory", "semaphores", "messages", "rings")] == [-1] * 5
    assert "calls (seccomp)" in outcome.protections


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


# How they end.

LOOP = "# ready\nwhile True:\n    pass"
SLEEP = "# ready\nimport time\ntime.sleep(1000)"


def test_a_loop_ends_when_its_processor_time_is_used_up_and_its_line_is_known():
    (outcome,) = run(LOOP, time_limit=0.5)
    assert (outcome.ending, outcome.limit, outcome.ready) == ("processor", 0.5, True)
    assert outcome.stuck_at[0] in [(str(HERE / "mytorch/task.py"), line) for line in (2, 3)]


def test_sleep_ends_by_the_clock_and_its_line_is_known():
    (outcome,) = run(SLEEP, time_limit=0.1)
    assert outcome.ending == "time" and outcome.stuck_at[0][1] == 3


def test_slow_imports_have_a_limit_of_their_own_and_cost_its_time_only_once(monkeypatch):
    monkeypatch.setattr(isolation, "IMPORT_SECONDS", 0.5)
    monkeypatch.setattr(isolation, "processors", lambda: 1)
    looping = LOOP.replace("# ready", "") + "\n# ready"
    outcomes = run(looping, "said.update()", "said.update(a=1)")
    assert [(o.ending, o.limit, o.ready) for o in outcomes] == [("import", 0.5, False)] * 3
    assert outcomes[0].stuck_at == outcomes[1].stuck_at != [] and not outcomes[1].protections


def test_a_slow_import_leaves_the_problem_all_of_its_own_time():
    busy = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end:\n    pass\n"
    (outcome,) = run(busy.format(1.05) + "# ready\n" + busy.format(0.6), time_limit=0.8)
    assert outcome.ending == "done"


def test_at_the_deadline_all_that_is_left_has_never_run():
    outcomes = run(SLEEP, SLEEP + " ", "said.update()", deadline=time.monotonic() + 0.3)
    assert [outcome.ending for outcome in outcomes] == ["never"] * 3


def test_an_exit_and_a_signal_are_told():
    outcomes = run("# ready\nimport os\nos._exit(3)",
                   "# ready\nimport os\nos.kill(os.getpid(), 11)")
    assert [outcome.ending for outcome in outcomes] == ["exit 3", "signal 11"]
    assert outcomes[1].stuck_at[0][1] == 3


def test_never_more_run_at_once_than_there_are_processors(monkeypatch):
    most, start = [], isolation.Crew._start

    def counted(crew, *args):
        start(crew, *args)
        most.append(len(crew._children))

    monkeypatch.setattr(isolation.Crew, "_start", counted)
    for processors, workers in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(isolation, "processors", lambda: processors)
        run("a = 1", "a = 2", "a = 3")
        assert max(most) == workers


# Who makes them.

def test_a_process_that_cannot_be_made_is_tried_again(monkeypatch):
    fork, calls = os.fork, []

    def failing():
        calls.append(None)
        if len(calls) in (1, 3, 4):  # once for the helper, twice in it
            raise BlockingIOError(errno.EAGAIN, "no process left")
        return fork()

    monkeypatch.setattr(os, "fork", failing)
    assert said(run("said.update(ran=True)")[0])["ran"]
    assert len(calls) == 2


def test_where_none_can_be_made_for_long_the_host_is_at_fault(monkeypatch):
    fork, calls = os.fork, []

    def failing():
        calls.append(None)
        if len(calls) > 1:
            raise BlockingIOError(errno.EAGAIN, "no process left")
        return fork()

    monkeypatch.setattr(os, "fork", failing)
    monkeypatch.setattr(isolation, "PATIENCE", 0.3)
    with pytest.raises(isolation.HostFault, match="no process could be made"):
        run("said.update(ran=True)")


def test_where_not_even_the_helper_can_be_made_nothing_is_left(monkeypatch):
    def failing():
        raise BlockingIOError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(os, "fork", failing)
    monkeypatch.setattr(isolation, "PATIENCE", 0.1)
    crew = isolation.Crew("isolation_tasks", HERE)
    with pytest.raises(isolation.HostFault, match="no process can be made"):
        with crew:
            pass
    assert not os.path.exists(crew.scratch)


def test_where_forks_are_unsafe_one_new_python_makes_all_processes(monkeypatch):
    monkeypatch.setattr(isolation, "CAN_FORK", False)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setattr(os, "fork", None)
    who = ("import ctypes, os, sys\nsaid.update(helper=os.getppid(), pytest='pytest' in sys.modules,\n"
           "readable=sys.platform == 'linux' and ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))")
    told = [said(outcome) for outcome in run(who, who + "\n")]
    assert told[0]["helper"] == told[1]["helper"] != os.getpid()
    assert not any(one["pytest"] or one["readable"] for one in told)


def test_a_helper_that_is_killed_is_the_hosts_fault_and_leaves_nothing():
    with pytest.raises(isolation.HostFault, match="helper process was killed"):
        with isolation.Crew("isolation_tasks", HERE) as crew:
            os.kill(crew._pid, signal.SIGKILL)
            list(crew.run([Task(SLEEP)], seed=7))
    assert not os.path.exists(crew.scratch)


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


@linux
@pytest.mark.parametrize("signals_stay_inside", [True, False])
def test_what_a_process_left_running_ends_and_what_others_started_does_not(
        signals_stay_inside, monkeypatch):
    if not signals_stay_inside:  # an older kernel
        monkeypatch.setattr(limits, "landlock_version", lambda: 0)
    mine = [subprocess.Popen(["sleep", "1000"]), subprocess.Popen(["sleep", "1000"],
                                                                 start_new_session=True)]
    try:
        with isolation.Crew("isolation_tasks", HERE) as crew:
            for _, outcome in crew.run([Task(STRAY)], seed=7):
                assert not Path(f"/proc/{said(outcome)['stray']}").exists()  # not only at the end
        assert [process.poll() for process in mine] == [None, None]
    finally:
        for process in mine:
            process.kill()
            process.wait()


@pytest.mark.parametrize("ends_by_itself", [True, False])
def test_where_orphans_are_not_adopted_the_group_of_a_process_ends_with_it(
        ends_by_itself, monkeypatch):
    monkeypatch.setattr(limits, "landlock_version", lambda: 0)  # as on macOS
    for module in (helper, isolation):
        monkeypatch.setattr(module, "end_children", lambda *_, **__: None)
    code = STRAY.replace("    os.setsid()\n", "") + "print(said['stray'], flush=True)\n"
    (outcome,) = run(code + "os._exit(0)" * ends_by_itself)
    assert outcome.ending == ("exit 0" if ends_by_itself else "done")
    assert leftovers.wait_for(int(outcome.output), patience=5.0)


LEFT = """
import os
if os.path.isdir("/dev/shm"):
    open(f"/dev/shm/left-{os.getpid()}", "w").close()
os.chmod(os.path.dirname(os.getcwd()), 0o500)
said.update(pid=os.getpid())
"""


def test_shared_memory_is_removed_and_closed_folders_are_opened_again():
    with isolation.Crew("isolation_tasks", HERE) as crew:
        for _, outcome in crew.run([Task(LEFT)], seed=7):
            assert os.stat(crew.scratch).st_mode & 0o777 == 0o700
    assert f"left-{said(outcome)['pid']}" not in leftovers.shared_memory()


@linux
def test_the_strays_of_a_helper_that_was_killed_end_too(monkeypatch, tmp_path):
    # Where a process may signal all others of its user, and write anywhere.
    monkeypatch.setattr(limits, "restrict_with_landlock", lambda *_: [])
    monkeypatch.setattr(limits, "filter_calls", lambda **_: False)
    mine = subprocess.Popen(["sleep", "1000"])
    kill = (f"with open({str(tmp_path / 'stray')!r}, 'w') as file:\n"
            "    file.write(str(said['stray']))\n"
            "import signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    try:
        with pytest.raises(isolation.HostFault):
            with isolation.Crew("isolation_tasks", HERE) as crew:
                list(crew.run([Task(STRAY + kill)], seed=7))
        assert mine.poll() is None
        stray = int((tmp_path / "stray").read_text())
        assert not Path(f"/proc/{stray}").exists(), leftovers.end(stray)
    finally:
        mine.kill()
        mine.wait()


# What they say.

def test_a_line_that_is_no_result_and_too_long_is_passed_over():
    text = "# ready\nimport time\nsend({'done': 'x' * %d})\ntime.sleep(1000)"
    assert run(text % 900)[0].ending == "done"
    assert run(text % 1100, time_limit=0.1)[0].ending == "time"


def test_more_than_256_kb_of_results_are_a_flood_and_none_is_kept_of_it():
    (outcome,) = run("# ready\nfor n in range(300):\n    send({'case': 'x' * 1000})\n" + SLEEP[7:])
    assert outcome.ending == "flood" and len(b"".join(outcome.lines)) <= isolation.RESULT_LIMIT


def test_forged_calls_under_way_are_few_and_never_take_long_to_read():
    forged = """# ready
import os
for fd in range(3, 20):
    try:
        os.write(fd, b'  File "' * 7000 + b'\\n' + b'  File "x", line 7 in f\\n' * 500
                 + b'  File "x", line ' + b'9' * 5000 + b' in f\\n')
    except OSError:
        pass
send({'done': ''})
"""
    (outcome,) = run(forged)
    assert outcome.ending == "done"
    assert outcome.stuck_at == [("x", 7)] * isolation.PLACES_LIMIT


def test_output_is_cut_off_and_its_lines_are_counted():
    (outcome,) = run("print('ä' * 50_000)\nprint('x\\n' * 1000)")
    assert outcome.output_lines == 1002
    assert len(outcome.output.encode()) <= isolation.OUTPUT_LIMIT + 3
    assert set(outcome.output[:-1]) == {"ä"}
