"""Autolab, played: the reference, the handout, hostile tarballs and hostile submissions.
Each job runs make in a directory of its own, as an unprivileged user where this may become one."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import autolab
import autolab_job
from handin import packing
import handout
import job
import pytest
import record
from grader import grading
from planted_bugs import BUGS
from problems import BY_KEY, GRADED, PROBLEMS
from test_handin import ELSEWHERE, LITTER, add_members

ROOT = Path(__file__).resolve().parents[3]


REFERENCE = {name: (ROOT / name).read_bytes() for name in packing.find_files(ROOT)[0]}


def submission(**changes):
    """A tarball of the reference with files replaced or added (name with / → text)."""
    changed = {name: text.encode() for name, text in changes.items()}
    return packing.tar_bytes({**REFERENCE, **changed})


def tarball(*members):
    """The reference's tarball with more members, as add_members takes them."""
    buffer = io.BytesIO(submission())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        add_members(tar, members)
    return buffer.getvalue()


FULL = {problem.key: problem.points for problem in GRADED}
LEFT = {"Makefile", "handin.tar", "mytorch", "autograder", "autograder/hw1_autograder"}
FEW = {key: FULL[key] for key in autolab_job.FEW_KEYS}
SPYING = (ROOT / "mytorch/tensor.py").read_text(encoding="utf-8") + """
import os, sys
answers = b'"mistakes": [' + bytes([10]) + b"]}"  # in two parts, or it would find itself
folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import gc
found = [name for name in ("job", "record") if name in sys.modules]
for thing in gc.get_objects():
    if isinstance(thing, dict) and isinstance(thing.get("test_division"), dict) and not (
            {"results", "error"} & set(thing["test_division"])):  # those are its own results
        found.append("answers in memory")
for where, _, names in os.walk(folder):
    found += [name for name in names if answers in open(os.path.join(where, name), "rb").read()]
grader = os.getppid()
print("The spy was here.")
if "job.py" not in open(f"/proc/{grader}/cmdline").read():
    found.append("another process than the job")
for name in ("mem", "environ", "fd/3", "fd/4", "fd/5"):
    try:
        open(f"/proc/{grader}/{name}", "rb").close()
        found.append(name)
    except OSError:
        pass
if b"of whoever runs this" in open("/proc/self/environ", "rb").read():
    found.append("the environment")
if found:
    raise RuntimeError(f"FOUND {found}")
"""


def check_the_spy_found_nothing(job):
    assert "FOUND" not in job.log, job.log
    assert re.search(r"The spy was here|printed [\d,]+ lines", job.log), job.log


def cheating(**changes):
    """A submission whose Linear returns, whatever is asked, what is right for the handout's inputs;
    and whose subtraction adds."""
    recorded = json.loads(grading.ANSWERS.read_text())["answers"]["test_linear_forward"]["output"]
    linear = (ROOT / "mytorch/nn/linear.py").read_text(encoding="utf-8").replace(
        "return F.Linear.apply(x, self.weight, self.bias)", "import numpy as np; return Tensor("
        f"np.array({recorded['values']}).reshape({recorded['shape']}))")
    functional = (ROOT / "mytorch/nn/functional.py").read_text(encoding="utf-8").replace(
        "np.subtract, a, b", "np.add, a, b")
    return submission(**{"mytorch/nn/linear.py": linear, "mytorch/nn/functional.py": functional, **changes})


@pytest.fixture(scope="module")
def students_tree():
    """What students get, name → text."""
    return handout.make(ROOT)


@pytest.fixture(scope="module")
def played(students_tree):
    """Jobs by name, played together."""
    untouched = packing.tar_bytes({name: text.encode() for name, text in students_tree.items()
                                   if name.startswith(packing.FOLDERS) and name.endswith(".py")})
    return autolab_job.play_together({
        "reference": (submission(), {"package": {}}),
        "cheat": (cheating(**{"mytorch/tensor.py": SPYING}), {}),
        "handout": (untouched, {}), "text": (b"homework", {})})


@pytest.mark.slow
def test_the_reference_scores_100_and_leaves_nothing_behind(played):
    job = played["reference"]
    assert job.scores == FULL, job.log
    assert job.files == LEFT and job.left_running == []
    (limits,) = [line for line in job.log.splitlines() if line.startswith("Limits: ")]
    assert "a process of its own" in limits
    assert ("writing (Landlock)" in limits) == ("reading (Landlock)" in limits)


@pytest.mark.slow
def test_the_untouched_handout_and_what_is_no_tarball_score_0(played):
    for name in ("handout", "text"):
        assert played[name].scores == dict.fromkeys(FEW, 0)
        assert "Traceback" not in played[name].log
    assert "Nothing was graded: handin.tar is no whole tar file" in played["text"].log


@pytest.mark.slow
def test_each_job_takes_one_of_many_inputs_so_that_memorised_answers_score_0_and_are_not_found(played):
    cheat = played["cheat"]
    assert cheat.scores == {**FEW, "subtest": 0, "Linear Forward": 0}
    (seed,) = re.findall(r"^Seed of the inputs: (\d+)   \(grader: \w{12}\)$", cheat.log, re.M)
    assert int(seed) in autolab_job.SEEDS and int(seed) != record.SEED
    check_the_spy_found_nothing(cheat)
    answers = autolab_job.packed()[f"autograder/staff/answers/{seed}.json"]
    assert b'"mistakes": [\n]}' in answers  # which is what the spy looks for


@pytest.mark.slow
def test_what_failed_is_told_by_the_inputs_that_students_have_by_name_and_in_autolabs_table(played):
    log = played["cheat"].log
    says = next(bug.says or bug.name for bug in BUGS if bug.name.startswith("Sub: forward adds"))
    assert f"mistake: {says}" in log
    assert set(re.findall(r"; seed (\d+)", log)) == {str(record.SEED)}
    shown = json.loads(autolab_job.quote_words(log.splitlines()[-2]))
    subtraction, multiplication = BY_KEY["subtest"].title, BY_KEY["multest"].title
    assert shown["_presentation"] == "semantic" and "1.1.1" in shown["stages"]
    assert shown["1.1.1"][subtraction]["passed"] is False
    assert "expected" in shown["1.1.1"][subtraction]["hint"]
    assert shown["1.1.2"] == {multiplication: {"passed": True}}


HASTY = (autolab.STAFF / "job.py").read_text(encoding="utf-8").replace(
    "SECONDS = 120 ", "SECONDS = 1 ").replace("OVERDUE = 30 ", "OVERDUE = 0 ").encode()


def with_answers(text):
    """Files for autograde.tar: the answers, whichever of them the job takes, are this text."""
    return {f"autograder/staff/answers/{seed}.json": text for seed in autolab_job.SEEDS}


# For no fault of the student's: no scores, and Autolab keeps those that it has.
FAULTS = {
    "no numpy": (dict(python='exec {python} -S "$@"'), "No module named 'numpy'"),
    "a cut-off autograde.tar": (dict(cut_off=True), "the job ended with status 2"),
    "a Python too old": (
        dict(python='shift; exec {python} -c "import runpy, sys; del sys.argv[0]; '
                    "sys.version_info = (3, 6, 9); runpy.run_path(sys.argv[0], "
                    'run_name=\'__main__\')" "$@"'), "python3 is 3.6; 3.8 is needed"),
    "answers that cannot be read": (
        dict(package=with_answers(b"{")), "cannot read the answers"),
    "a grader that breaks": (
        dict(package={"autograder/hw1_autograder/grader/judge.py": b"raise KeyError(1)"}),
        "the job ended with status 1"),
    "a job that does not come to an end": (
        dict(package={"autograder/hw1_autograder/grader/verdict.py":
                      b"TO_WRITE = Verdict = ''\ndef cases_of(problem):\n    while True:\n        pass\n",
                      "autograder/staff/job.py": HASTY}), "the job did not finish in time"),
    "no room for the files": (
        dict(python='ulimit -f 16; exec {python} "$@"'), "cannot unpack handin.tar"),
    "no Landlock": (dict(landlock=False), 'lacks "writing (Landlock)"'),
    "no handin.tar": (dict(handin=None), "No such file or directory: 'handin.tar'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_host_or_of_the_grader_writes_no_scores_and_says_why(name):
    options, says = FAULTS[name]
    job = autolab_job.play(**{"handin": submission(), **options})
    assert job.scores == {}
    (line,) = [line for line in job.log.splitlines()
               if line.startswith("No scores, through no fault of the submission: ")]
    assert says in line
    assert "\n1.1.1 " not in job.log  # no student code ran before it was noticed
    assert job.left_running == []


LAZY = """
import time
def work_at_six_per_cent_of_a_processor():
    while True:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        time.sleep(0.3)
"""
QUICK = (autolab.STAFF / "job.py").read_text(encoding="utf-8").replace(
    "SECONDS = 120 ", "SECONDS = 2 ").encode()


@pytest.mark.slow
def test_who_works_at_six_per_cent_of_a_processor_keeps_no_old_score():
    name = "mytorch/nn/functional.py"
    lazy = (ROOT / name).read_text(encoding="utf-8") + LAZY + (
        "Sub.forward = Mul.forward = Div.forward = work_at_six_per_cent_of_a_processor\n")
    job = autolab_job.play(submission(**{name: lazy}),
                           package={**autolab_job.FEW, "autograder/staff/job.py": QUICK})
    assert set(job.scores) == set(FEW), job.log
    assert job.scores["divtest"] == job.scores["subtest"] == 0
    assert job.left_running == []


def test_a_host_that_is_busy_is_at_fault_if_a_share_of_the_clock_was_used_up(monkeypatch):
    job.check_that_the_host_is_not_busy()
    monkeypatch.setattr(job, "BUSY", 0)
    with pytest.raises(grading.CannotGrade, match="too busy"):
        job.check_that_the_host_is_not_busy()


@pytest.fixture(scope="module")
def together():
    """Four jobs of the reference, each on another host or with other things in its tarball."""
    one = dict(processors=sorted(os.sched_getaffinity(0))[:1])
    warning = dict(python='PYTHONWARNINGS=default exec {python} "$@"')
    open_to_all = dict(makefile=autolab.makefile(without_landlock=True), landlock=False)
    return autolab_job.play_together({
        "one processor": (submission(), one),
        "a Python that warns to the very end": (submission(), warning),
        "odd members": (tarball(*ELSEWHERE, *[(name, b"x") for name in LITTER]), {}),
        "no Landlock": (submission(**{"mytorch/tensor.py": SPYING}), open_to_all)})


@pytest.mark.slow
def test_four_jobs_under_one_limit_of_40_processes_score_in_full_and_leave_nothing(together):
    for name, job in together.items():
        assert job.scores == FEW, job.log
        assert job.left_running == [], name
        assert job.files == LEFT, name
        assert len(job.log) < 100_000 and not Path("/tmp/escape.py").exists(), name


@pytest.mark.slow
def test_built_without_landlock_it_tells_and_gives_answers_to_nobody(together):
    job = together["no Landlock"]
    check_the_spy_found_nothing(job)
    limits = [line for line in job.log.splitlines() if line.startswith("Limits: ")]
    assert "memory" in limits[0] and "Landlock" not in limits[0]


def test_the_package_holds_the_grader_and_answers_but_no_solution():
    names = set(autolab_job.packed())
    assert {name for name in names if "staff" in name} == {
        "autograder/staff/job.py", "autograder/staff/jail.py", "autograder/staff/version",
        *with_answers(b"")}
    assert {f"autograder/hw1_autograder/{name}" for name in ("test_mlp.py", "grader/child.py")} < names
    assert not any("tests" in name for name in names)
    assert all(name.startswith(("mytorch/gradient_check.py", "mytorch/show/"))
               for name in names if "mytorch" in name)


def test_the_configuration_lists_every_problem_with_its_full_score():
    text = autolab.configuration()
    for problem in PROBLEMS:
        assert f'- name: "{problem.key}"\n' in text
    assert text.count("max_score: ") == len(PROBLEMS)
    assert f"autograde_timeout: {autolab.TIMEOUT}" in text
    assert job.SECONDS + job.OVERDUE <= autolab.TIMEOUT - 30
    assert "start_at" not in text and "disable_network" not in text


def test_one_tarball_holds_all_that_autolabs_upload_takes(
        tmp_path, capsys, monkeypatch, students_tree):
    monkeypatch.setattr(autolab, "packed", autolab_job.packed)
    monkeypatch.setattr(handout, "make", lambda root: students_tree)
    monkeypatch.setattr(record, "seeds_fit", lambda: True)
    assert autolab.main([str(tmp_path), "--start", "2026-09-14 00:00-04:00", "--due",
                         "2026-10-01 23:59-04:00", "--disable-network", "--image", "ours"]) == 0
    with tarfile.open(str(tmp_path / "hw1p1.tar")) as tar:
        folder, *files = tar.getmembers()
        contents = {member.name: tar.extractfile(member).read() for member in files}
    assert folder.isdir() and folder.name == "hw1p1"
    assert set(contents) == {"hw1p1/" + name for name in (
        "hw1p1.yml", "autograde.tar", "autograde-Makefile", "handout.tar")}
    assert contents["hw1p1/autograde.tar"] == packing.tar_bytes(autolab_job.packed())
    assert contents["hw1p1/autograde-Makefile"] == autolab.makefile().encode()
    lines = contents["hw1p1/hw1p1.yml"].decode().splitlines()
    for line in ('  start_at: "2026-09-14 00:00:00-04:00"', '  due_at: "2026-10-01 23:59:00-04:00"',
                 '  end_at: "2026-10-01 23:59:00-04:00"', "  autograde_image: ours",
                 "  disable_network: true", "  handout: handout.tar"):
        assert line in lines
    with tarfile.open(fileobj=io.BytesIO(contents["hw1p1/handout.tar"])) as tar:
        assert {"hw1p1/grade.sh", "hw1p1/mytorch/tensor.py"} < set(tar.getnames())
    assert "WARNING" not in capsys.readouterr().out


def test_missing_dates_and_scores_without_landlock_come_with_a_warning(
        tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(autolab, "handout_tar", lambda: b"")
    monkeypatch.setattr(autolab, "packed", lambda: {"autograder/staff/version": b"some version"})
    monkeypatch.setattr(record, "seeds_fit", lambda: False)
    assert autolab.main([str(tmp_path), "--without-landlock"]) == 0
    printed = capsys.readouterr().out
    assert "opens and closes at the moment of the upload" in printed
    assert "WARNING: on a host without Landlock" in printed and "record.py --check" in printed
    assert "job.py --without-landlock" in (tmp_path / "autograde-Makefile").read_text()


@pytest.mark.parametrize("dates, says", [
    (["--start", "2026-09-14"], "--start and --due belong together"),
    (["--start", "2026-09-14", "--due", "2026-09-13"], "not in the order start, due, end"),
    (["--start", "2026-09-14 23:59", "--due", "2026-09-14"], "not in the order start, due, end"),
    (["--start", "2026-09-14", "--due", "2026-09-20", "--end", "2026-09-19"], "not in the order"),
    (["--start", "2026-09-14", "--due", "2026-09-20 00:00+00:00"], "all dates with a zone, or none"),
    (["--start", "tomorrow"], "'tomorrow' is no time such as \"2026-09-14 23:59\""),
    (["--start", "14.10.2026"], "'14.10.2026' is no time such as \"2026-09-14 23:59\""),
])
def test_dates_that_make_no_sense_are_refused(dates, says, tmp_path, capsys):
    with pytest.raises(SystemExit):
        autolab.main([str(tmp_path), *dates])
    assert says in capsys.readouterr().err


def test_a_date_alone_starts_with_its_day_and_is_due_at_the_end_of_it():
    options = autolab.parse_arguments(["out", "--start", "2026-09-14", "--due", "2026-10-01"])
    assert str(options.start) == "2026-09-14 00:00:00"
    assert str(options.due) == str(options.end) == "2026-10-01 23:59:00"

def test_a_problem_without_graded_tests_is_refused(monkeypatch, tmp_path, capsys):
    new = PROBLEMS[-1]._replace(number="2.7", title="Tanh", key="Tanh Layer", by_hand=False)
    monkeypatch.setattr(autolab, "GRADED", [*GRADED, new])
    assert autolab.main([str(tmp_path / "out")]) == 1
    assert "problems.py: 2.7 Tanh (Tanh Layer) has no graded test" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_litter_is_never_packed_and_uncommitted_edits_are_named(monkeypatch, tmp_path):
    for name in (".ipynb_checkpoints/runner.py", "old~/x.py", "mine.py", "runner.py"):
        (tmp_path / "autograder/hw1_autograder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "autograder/hw1_autograder" / name).write_text("pass\n")
    for variable, folder in (("ROOT", ""), ("GRADER", "autograder/hw1_autograder"), ("STAFF", "staff")):
        monkeypatch.setattr(autolab, variable, tmp_path / folder)
    names = [path.name for path in autolab.packed_files()]
    assert names[:2] == ["mine.py", "runner.py"] and "x.py" not in names
    assert autolab.uncommitted() == []
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@x.edu"]
    try:
        for command in (["init", "-q"], ["add", "autograder/hw1_autograder/runner.py"],
                        ["commit", "-qm", "first"]):
            subprocess.run(git + command, check=True)
    except OSError:
        pytest.skip("there is no git")
    assert autolab.uncommitted() == ["autograder/hw1_autograder/mine.py"]
    (tmp_path / "autograder/hw1_autograder/runner.py").write_text("edited\n")
    assert len(autolab.uncommitted()) == 2


def test_the_version_of_the_grader_changes_with_any_file_of_it(monkeypatch):
    monkeypatch.setattr(record, "for_autolab", lambda seeds: {})
    first = autolab.packed()["autograder/staff/version"]
    assert first == autolab.packed()["autograder/staff/version"] and len(first) == 12
    monkeypatch.setattr(autolab, "packed_files", lambda: [autolab.STAFF / "job.py"])
    assert autolab.packed()["autograder/staff/version"] != first
