"""Processes of student code at home: what limits them, how they end, what they may say. Their tasks
here are a few lines of Python (isolation_tasks.py); what only defends Autolab: test_jail.py."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crews import HERE, Task, linux, run, said
from processes import isolation
from processes import limits

# What limits them.

LIMITS = """
import os, resource, signal, sys, tempfile
def open_file(fd):
    try:
        return os.fstat(fd) is not None
    except OSError:
        return False
said.update(
    seed=seed, session=os.getsid(0) == os.getpid(), folder=os.listdir("."),
    temporary=os.path.realpath(tempfile.gettempdir()) == os.getcwd() == os.environ["HOME"],
    limits={name: resource.getrlimit(getattr(resource, name)) for name in (
        "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NPROC")},
    files=[fd for fd in range(64) if open_file(fd)],
    inherited=[fd for fd in range(3, 64) if open_file(fd) and os.get_inheritable(fd)],
    keyboard=sys.stdin.read(), argv=sys.argv, main=dir(sys.modules["__main__"]),
    path=sys.path[0] == str(root), grader=[path for path in sys.path if "hw1_autograder" in path],
    interrupt=signal.getsignal(signal.SIGINT) is signal.default_int_handler)
# ready
import time
time.sleep(0.2)
said.update(processor=resource.getrlimit(resource.RLIMIT_CPU))
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A process may sleep for half a second."""
    monkeypatch.setattr(isolation, "SLEEP", 0.5)


@pytest.fixture(scope="module")
def limited():
    """What a process says of its limits."""
    return said(run(LIMITS)[0])


@linux
def test_memory_processes_and_the_size_of_files_are_limited(limited):
    for name, most in (("RLIMIT_AS", limits.MEMORY_LIMIT), ("RLIMIT_CORE", 0),
                       ("RLIMIT_FSIZE", limits.FILE_SIZE_LIMIT)):
        assert limited["limits"][name] == [most, most], name
    most = limited["limits"]["RLIMIT_NPROC"][1]
    assert 256 < most and most <= 256 + 2 * limits.processes_of_this_user() + 100


def test_processor_time_is_limited_to_that_of_the_task_and_what_was_used_before(limited):
    soft, hard = limited["processor"]
    assert 5 < soft < 5 + isolation.IMPORT_SECONDS / 2 and hard <= soft + 3


def test_a_process_has_a_session_a_folder_and_a_seed_and_nobody_types(limited):
    assert limited["session"] and limited["folder"] == [] and limited["temporary"]
    assert limited["seed"] == 7 and limited["keyboard"] == "" and limited["interrupt"]


def test_a_process_shows_no_trace_of_the_grader(limited):
    assert limited["argv"] == [""] and limited["path"] and limited["grader"] == []
    assert "__file__" not in limited["main"]


def test_a_process_holds_no_file_but_its_own_and_hands_none_on(limited):
    assert len(limited["files"]) == 4  # standard input, output, error and the results
    assert limited["inherited"] == []


PATCHING = """
import math, resource, time
resource.setrlimit = resource.prlimit = math.ceil = lambda *_: None
# ready
while True:
    pass
"""


@linux
def test_limits_hold_whatever_a_student_patches():
    assert run(PATCHING, time_limit=0.1)[0].ending == "processor"


# How they end.

LOOP = "# ready\nwhile True:\n    pass"
SLEEP = "# ready\nimport time\ntime.sleep(1000)"


def test_a_loop_ends_when_its_processor_time_is_used_up_and_its_line_is_known():
    (outcome,) = run(LOOP, time_limit=0.1)
    assert (outcome.ending, outcome.limit, outcome.ready) == ("processor", 0.1, True)
    assert outcome.stuck_at[0][:2] in [
        (str(HERE / "mytorch/task.py"), line) for line in (2, 3)]


@pytest.mark.slow
def test_the_system_ends_a_loop_that_the_grader_does_not(monkeypatch):
    monkeypatch.setattr(limits, "processor_time_of", lambda pid: 0.0)
    monkeypatch.setattr(isolation, "SLEEP", 100.0)
    assert run(LOOP, time_limit=0.1)[0].ending == "processor"


WORK = """# ready
import time
end = time.process_time() + {seconds}
while time.process_time() < end:
    pass
"""


@pytest.mark.slow
def test_what_is_right_and_slow_has_all_its_time_beside_an_endless_loop(monkeypatch):
    monkeypatch.setattr(isolation, "processors", lambda: 1)
    outcomes = run(WORK.format(seconds=1000), WORK.format(seconds=0.6), time_limit=0.8)
    assert [outcome.ending for outcome in outcomes] == ["processor", "done"]


@pytest.mark.slow
def test_sleep_ends_by_the_clock_and_its_line_is_known():
    (outcome,) = run(SLEEP)
    assert outcome.ending == "time" and outcome.stuck_at[0][1] == 3


LAZY = """# ready
import time
while True:
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_a_little_work_now_and_then_ends_when_the_share_of_the_clock_is_used_up():
    outcomes = run(*[LAZY + " " * n for n in range(4)], deadline=time.monotonic() + 1.2)
    assert [outcome.ending for outcome in outcomes] == ["time"] * 4
    assert outcomes[0].stuck_at and outcomes[0].limit <= 1


@pytest.mark.slow
def test_slow_imports_have_a_limit_of_their_own_and_cost_its_time_only_once(monkeypatch):
    monkeypatch.setattr(isolation, "IMPORT_SECONDS", 0.2)
    monkeypatch.setattr(isolation, "processors", lambda: 1)
    looping = LOOP.replace("# ready", "") + "\n# ready"
    outcomes = run(looping, "said.update()", "said.update(a=1)")
    assert [(o.ending, o.limit, o.ready) for o in outcomes] == [("import", 0.2, False)] * 3
    assert outcomes[0].stuck_at and outcomes[1] is outcomes[2] is outcomes[0]


@pytest.mark.slow
def test_a_slow_import_leaves_the_problem_all_of_its_own_time():
    busy = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end:\n    pass\n"
    (outcome,) = run(busy.format(0.3) + "# ready\n" + busy.format(0.1), time_limit=0.2)
    assert outcome.ending == "done"


def test_at_the_deadline_what_waits_has_never_run(monkeypatch):
    monkeypatch.setattr(isolation, "processors", lambda: 1)
    outcomes = run(SLEEP, "said.update()", deadline=time.monotonic())
    assert [outcome.ending for outcome in outcomes] == ["never"] * 2


def test_an_exit_and_a_signal_are_told():
    outcomes = run("# ready\nimport os\nos._exit(3)",
                   "# ready\nimport os\nos.kill(os.getpid(), 11)")
    assert [outcome.ending for outcome in outcomes] == ["exit 3", "signal 11"]
    assert outcomes[1].stuck_at[0][1] == 3


STRAY = """
import os, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, b"%d" % os.getpid())
    time.sleep(1000)
print(int(os.read(reading, 100)), flush=True)
"""


@pytest.mark.parametrize("last", ["said.update()", "os._exit(0)"])
def test_what_a_process_leaves_in_its_group_ends_with_it(last):
    (outcome,) = run(STRAY + last)
    assert outcome.ending == ("exit 0" if "exit" in last else "done")
    for _ in range(100):
        if has_ended(outcome.output.strip()):
            return
        time.sleep(0.02)
    raise AssertionError("it still runs")


def has_ended(pid):
    """Whether a process is gone, or a zombie: whoever adopted it may never ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# Who makes them.

def test_never_more_run_at_once_than_there_are_processors(monkeypatch):
    most, start = [], isolation.Crew._start

    def counted(crew, *args):
        start(crew, *args)
        most.append(len(crew._running))

    monkeypatch.setattr(isolation.Crew, "_start", counted)
    for processors, workers in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(isolation, "processors", lambda: processors)
        run("a = 1", "a = 2", "a = 3")
        assert max(most) == workers


def test_a_process_that_cannot_be_made_is_tried_again_and_then_the_host_is_at_fault(monkeypatch):
    fork, failures = os.fork, [BlockingIOError(errno.EAGAIN, "no process left")] * 3

    def failing():
        if failures:
            raise failures.pop()
        return fork()

    monkeypatch.setattr(os, "fork", failing)
    assert said(run("said.update(ran=True)")[0])["ran"]
    monkeypatch.setattr(isolation, "PATIENCE", 0.1)
    failures += [BlockingIOError(errno.EAGAIN, "no process left")] * 1000
    crew = isolation.Crew("isolation_tasks", HERE)
    with pytest.raises(isolation.HostFault, match="no process can be made"), crew:
        list(crew.run([Task("")], seed=7))
    assert not os.path.exists(crew.scratch)


@pytest.mark.slow
def test_where_forks_are_unsafe_each_process_is_a_new_python(monkeypatch):
    monkeypatch.setattr(isolation, "CAN_FORK", False)
    monkeypatch.setattr(os, "fork", None)
    who = "import os, sys\nsaid.update(parent=os.getppid(), pytest='pytest' in sys.modules)"
    outcomes = run(who, LOOP, time_limit=0.1)
    assert said(outcomes[0]) == {"case": "said", "parent": os.getpid(), "pytest": False}
    assert outcomes[1].ending == "processor" and outcomes[1].stuck_at[0][1] in (2, 3)


@pytest.mark.slow
def test_with_closed_standard_files_no_process_gets_ours_as_its_own(tmp_path):
    code = ("import os\nfor fd in range(3):\n    os.close(fd)\n"
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "import crews\nopen(sys.argv[1], 'w').write(crews.run('said.update(a=1)')[0].ending)\n")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "ended")], check=True)
    assert (tmp_path / "ended").read_text() == "done"


# What they say.

def test_a_line_that_is_not_a_result_and_too_long_is_passed_over():
    for size, ending in ((900, "done"), (1100, "exit 0")):
        (outcome,) = run("# ready\nimport os\nsend({'done': 'x' * %d})\nos._exit(0)" % size)
        assert outcome.ending == ending


def test_output_is_cut_off_and_its_lines_are_counted():
    (outcome,) = run("print('ä' * 50_000)\nprint('x\\n' * 1000)")
    assert outcome.output_lines == 1002
    assert len(outcome.output.encode()) <= isolation.OUTPUT_LIMIT + 3
    assert set(outcome.output[:-1]) == {"ä"}


LOCKS = """
import concurrent.futures, multiprocessing, tempfile
lock = multiprocessing.Lock()
pool = multiprocessing.get_context("fork").Pool(2)
# ready
import os
with tempfile.TemporaryDirectory() as folder, lock:
    said.update(squares=pool.map(abs, [-1, -2]), inside=folder.startswith(os.getcwd()))
"""


def test_locks_pools_and_temporary_files_work_while_importing():
    assert said(run(LOCKS)[0]) == {"case": "said", "squares": [1, 2], "inside": True}


def test_ctrl_c_ends_them_all():
    with pytest.raises(KeyboardInterrupt):
        with isolation.Crew("isolation_tasks", HERE) as crew:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            before = signal.signal(signal.SIGALRM, signal.default_int_handler)
            list(crew.run([Task(SLEEP)], seed=7))
    signal.signal(signal.SIGALRM, before)
    assert not Path(f"/proc/{crew._running[0].pid}").exists()
    assert not os.path.exists(crew.scratch)
