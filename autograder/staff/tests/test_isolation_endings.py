"""How the processes of student code end, who makes them, what they may say, and that all is
cleaned up. Their tasks here are a few lines of Python (isolation_tasks.py)."""

import errno
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from processes import helper
from processes import isolation
from processes import leftovers
from processes import limits
from crews import HERE, Task, linux, run, said

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


@pytest.mark.slow
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


def test_shared_memory_is_removed_and_closed_folders_are_opened_again(monkeypatch):
    monkeypatch.setattr(limits, "filter_calls", lambda **_: False)  # which denies to close any
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


def test_a_socket_closed_before_all_was_read_is_at_its_end_for_the_helper():
    control, other = socket.socketpair()
    control.send(b"news that nobody reads")
    other.close()
    assert helper.receive(control) == (b"", [])
    control.close()


@linux
def test_with_closed_standard_files_the_helper_hears_of_the_end_and_leaves():
    standard = [os.dup(number) for number in range(3)]
    try:
        os.closerange(0, 3)
        with isolation.Crew("isolation_tasks", HERE) as crew:
            control, pid = crew._control.fileno(), crew._pid
        ended = not os.path.exists(f"/proc/{pid}")
    finally:
        for number, file in enumerate(standard):
            os.dup2(file, number)
            os.close(file)
    assert control > 2 and ended
