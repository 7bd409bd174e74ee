"""Hostile and broken solutions: the reference with something in it that no grader should survive
by luck. test_grader_hostile.py grades each and says what must happen."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

import job
import record
import runner
import solutions
from autolab_job import hide_landlock
from grader.grading import ANSWERS
from problems import GRADED
from processes import isolation
from processes import limits

GRADER = Path(__file__).resolve().parents[2] / "hw1_autograder"
DIVISION = ("divtest",)
KEYS = ("multest", "divtest", "Linear Forward")  # of these, only 1.1.3 runs Div

BROKEN = ("Linear ReLU Forward", "Linear ReLU SGD Step", "Linear Batchnorm ReLU Forward (Train)",
          "Linear XELoss Forward")

DIV_FORWARD = 'output = compute("Div", np.true_divide, a, b)'
WRONG = "Tensor(a.data * b.data)"
NO_SIGNALS = "calls (seccomp)"  # protections, as jail.py names them
NO_WRITING = "writing (Landlock)"


class Hostile(NamedTuple):
    """One submission."""

    name: str  # what it does, in a few words
    code: str = ""  # runs once, when Div.forward is first called, or when mytorch is imported
    at_import: bool = False  # which of the two
    returns: str = ""  # what Div.forward returns after that, if not the right result
    files: dict = {}  # path below the root → text, written over what is there; None removes it
    fails: tuple = ()  # the keys that must fail; all others that run must keep their points
    says: str = ""  # what the report must contain
    keys: tuple = KEYS  # the problems to run
    time_limit: float = 0.0  # seconds for each problem, where the case is about running out of it
    needs: str = ""  # a protection without which the case is skipped, as it would do damage

    def write(self, root):
        """Make ``root`` a tree with this solution."""
        solutions.write(root)
        library = Path(root) / "mytorch"
        (library / "hostile.py").write_text(self.code, encoding="utf-8")
        if self.at_import:
            (library / "__init__.py").write_text("import mytorch.hostile\n", encoding="utf-8")
        functional = library / "nn" / "functional.py"
        text = functional.read_text(encoding="utf-8")
        assert text.count(DIV_FORWARD) == 1, "Div.forward of the reference has changed"
        result = self.returns or DIV_FORWARD[len("output = "):]
        text = text.replace(DIV_FORWARD, f"from mytorch import hostile\n        output = {result}")
        functional.write_text(text, encoding="utf-8")
        for name, content in self.files.items():
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content or "", encoding="utf-8")
            if content is None:
                path.unlink()


def copy_grader(root):
    """Copy what a student has of the grader to ``root``/autograder, without MNIST."""
    shutil.copytree(str(GRADER), str(Path(root) / "autograder" / "hw1_autograder"),
                    ignore=shutil.ignore_patterns("data"))


def run_runner(root):
    """Run the runner of the tree ``root``, which holds a copy of the grader, as a student does;
    returns a subprocess.CompletedProcess, with text."""
    return subprocess.run(
        [sys.executable, str(Path(root) / "autograder" / "hw1_autograder" / "runner.py")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", env=dict(os.environ, PYTHONIOENCODING="utf-8"))


def run_grader(root, hostile, staffs=True, landlock=True):
    """Grade a submission that was written to ``root`` in a process of its own: as a job does once
    it has unpacked it, on a kernel with Landlock or without, or as a student does. Returns the exit
    status and what it printed (str)."""
    temporary, printed = root / "temporary", root / "printed"
    temporary.mkdir()
    answers()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for target in (1, 2):
                os.dup2(os.open(str(printed), os.O_CREAT | os.O_APPEND | os.O_WRONLY), target)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout = sys.stderr = open(1, "w", encoding="utf-8", closefd=False)
            os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
            if not landlock:
                hide_landlock()
            os._exit(grade_here(root, hostile, staffs, landlock))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status),
            printed.read_text(encoding="utf-8"))


def grade_here(root, hostile, staffs, landlock):
    """As ``run_grader``, in this process; returns the exit status."""
    os.chdir(str(root))
    chosen = tuple(p._replace(time_limit=hostile.time_limit or p.time_limit)
                   for p in GRADED if p.key in hostile.keys)
    limits.PROCESS_LIMIT, limits.FILE_SIZE_LIMIT = 64, 1 << 20
    if hostile.time_limit:
        isolation.IMPORT_SECONDS = isolation.SLEEP = 2 * hostile.time_limit
    if not staffs:
        runner.ROOT, runner.GRADED = root, chosen
        return runner.main([])
    job.GRADED, job.SECONDS_FOR_NAMES = chosen, 0
    runner.unpacked = lambda *_: root
    job.ANSWERS = Path(answers())
    return job.main([os.devnull] + ["--without-landlock"] * (not landlock))


@functools.lru_cache(maxsize=None)
def answers():
    """A folder with the answers to one of the seeds that a job may take."""
    folder = tempfile.mkdtemp(prefix="mytorch-answers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, text in record.for_autolab(tuple(record.seeds()[:1])).items():
        Path(folder, name).write_text(text, encoding="utf-8")
    return folder


LEAVE_A_PROCESS = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", __file__])
    os._exit(0)
"""

FORK_MANY = """
import os, time
for _ in range(40):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except OSError:
        break
"""

FORGE_SCORES = r'''
import os, sys
perfect = '{"scores": {"divtest": 5, "FORGED": 100}}'
print("\x1b[2J\x1b[1;1H\rFORGED 1.1.3  Division ........ 5/5\r\n" + perfect)
print("a line without end" + perfect, end="", file=sys.stderr)
os.write(1, ("\n" + perfect).encode())
import atexit
atexit.register(print, perfect)
'''

# Writes ``lines`` into every open file but the standard ones.
WRITE_EVERYWHERE = r"""
import os
for fd in range(3, 256):
    for line in lines:
        try:
            os.write(fd, line.encode() + b"\n")
        except OSError:
            break
"""

FORGE_RESULTS = r'''
import json
forged = [{"case": name, "results": {"passed": True, "a / b": {"kind": "bool", "value": True}}}
          for name in ("test_operator_divided_by", "test_division", "test_division_of_vectors")]
forged += [{"scores": {"divtest": 5}},
           {"done": "\n{\"scores\": {}}\nFORGED \x1b[2J"}]
lines = list(map(json.dumps, forged))
''' + WRITE_EVERYWHERE.replace("range(3", "range(1") + "os._exit(0)\n"

MALFORMED_RESULTS = r'''
import json
def tensor(shape, values):
    return {"kind": "Tensor", "type": "ndarray", "dtype": {}, "shape": shape, "values": values}
results = {
    "test_subtraction": [1],
    "test_operator_minus": {"a - b": tensor(5, 3)},
    "visits_of_a_shared_node": {"visits": [1]},
    "test_backward_starts_from_ones": {"gradient of a": tensor([2, 3], {"a": 1})},
    "test_linear_forward": {"output": tensor(None, None)},
    "test_linear_forward_of_one_row": {"output": tensor([1, 10**30], [10**400])},
    "test_linear_used_twice": {"gradient of layer.weight": {"kind": ["x"], "value": {}}},
}
messages = [{"case": name, "results": result} for name, result in results.items()] + [
    {"case": "test_linear_backward", "error": {"type": [1], "message": {}, "place": 5}},
    {"case": "test_linear_backward_of_one_row", "error": 5, "results": None},
    {"case": ["test_subtraction"]}, {"protections": {}, "done": [1]}, ["done"], 7, None]
lines = list(map(json.dumps, messages))
''' + WRITE_EVERYWHERE

RESULTS_WITHOUT_END = """
import json
lines = [json.dumps({"case": str(number), "results": "long" * (1 << 18)}) for number in range(64)]
""" + WRITE_EVERYWHERE

PATCH_EVERYTHING = """
import builtins, json, unittest, numpy as np
yes = lambda *args, **kwargs: True
np.allclose = np.array_equal = np.isclose = np.all = np.any = yes
np.testing.assert_allclose = np.testing.assert_array_equal = np.abs = yes
json.dumps = json.JSONEncoder.encode = lambda *args, **kwargs: '{"scores": {"divtest": 5}}'
json.loads = yes
builtins.isinstance = builtins.issubclass = builtins.all = builtins.any = yes
builtins.print = builtins.sorted = builtins.type = builtins.len = yes
unittest.TestCase.assertTrue = yes
"""

PATCH_THE_GRADER = """
import sys
for name in ("processes.isolation", "grader.judge", "grader.graded", "problems", "runner", "__main__"):
    module = sys.modules.get(name)
    for attribute in list(vars(module) if module else ()):
        if callable(getattr(module, attribute)) and not attribute.startswith("__"):
            setattr(module, attribute, lambda *args, **kwargs: [])
if "grader.graded" in sys.modules:
    sys.modules["grader.graded"].CASES.clear()
sys.modules.clear()
"""

READ_ANSWERS = """
import json
from pathlib import Path
try:
    json.loads(Path("ANSWERS").read_text())
except OSError:
    pass
else:
    raise RuntimeError("FOUND")
""".replace("ANSWERS", str(ANSWERS))

DELETE_THE_GRADER = """
import shutil
from pathlib import Path
root = Path(__file__).resolve().parents[1]
for path in list(root.rglob("*")):
    try:
        path.write_text("FORGED")
    except OSError:
        pass
shutil.rmtree(str(root), ignore_errors=True)
"""

CHANGE_SETTINGS = """
import os, shutil, warnings
import numpy as np
np.random.seed(0)
np.random.seed = np.random.standard_normal = np.random.uniform = lambda *args: 4
np.random.RandomState = lambda *args: None
np.seterr(all="raise")
warnings.simplefilter("error")
shutil.rmtree(os.getcwd(), ignore_errors=True)
os.chdir("/")
"""

LYING_ARRAY = """
import numpy as np

class Liar(np.ndarray):
    __array_priority__ = 1e9
    __eq__ = __le__ = __lt__ = lambda self, other: np.ones(self.shape, bool)
    __array_ufunc__ = lambda self, *args, **kwargs: np.ones(self.shape, bool)
    tolist = lambda self: [0.5] * 12

def lie(tensor):
    tensor.data = tensor.data.view(Liar)
    return tensor
"""

LYING_TENSOR = """
class Tensor:
    requires_grad, is_leaf, grad, grad_fn, shape = False, True, None, None, (3, 4)
    data = property(lambda self: self)
    __class__ = property(lambda self: __import__("numpy").ndarray)
    __eq__ = lambda self, other: True
"""

RUDE_EXCEPTION = r"""
class Rude(BaseException):
    def __str__(self):
        raise Rude
    __repr__ = __str__
raise Rude
"""

IGNORE_SIGNALS = """
import signal
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
"""

BUSY = """
import time
while time.process_time() < 0.6:
    pass
"""

IMPOSTORS = "raise SystemExit('this file has nothing to do with the one of that name')\n"

HOSTILE = (
    # What ends, or does not.
    Hostile("an endless loop in one operation", "while True:\n    pass",
            fails=DIVISION, says="was stopped, at mytorch/hostile.py:", time_limit=0.2),
    Hostile("an endless loop at import", "while True:\n    pass", at_import=True,
            fails=KEYS, says="importing the code takes", time_limit=0.2),
    Hostile("sleeps for an hour", "import time\ntime.sleep(3600)",
            fails=DIVISION, says="at mytorch/hostile.py:2: does it sleep", time_limit=0.2),
    Hostile("stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
            fails=DIVISION, says="by the clock", time_limit=0.2),
    Hostile("ignores all signals and loops", IGNORE_SIGNALS,
            fails=DIVISION, says="used up its 0.2 s of processor time", time_limit=0.2),
    Hostile("sys.exit() in one operation", "import sys\nsys.exit()",
            fails=DIVISION, says="sys.exit()"),
    Hostile("os._exit(0) at import", "import os\nos._exit(0)", at_import=True, fails=KEYS,
            says="os._exit()"),
    Hostile("a segmentation fault", "import ctypes\nctypes.string_at(0)",
            fails=DIVISION, says="segmentation fault"),
    Hostile("recursion without end", "def f():\n    f()\nf()",
            fails=DIVISION, says="calls itself without end"),
    Hostile("recursion without end or limit",
            "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(*args):\n    f(args)\nf()",
            fails=DIVISION, time_limit=0.5),

    # What takes too much.
    Hostile("a list that grows for ever",
            "hoard = []\nwhile True:\n    hoard.append(bytes(1 << 26))",
            fails=DIVISION, says="memory"),
    Hostile("an enormous result", returns="Tensor(np.zeros((1000, 3000)))",
            fails=DIVISION, says="(1000, 3000)"),
    Hostile("a million printed lines", "import sys\nsys.stdout.write('FORGED\\n' * 1_000_000)",
            says="printed 1,000,000 lines"),
    Hostile("a file without end",
            "with open('file', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))",
            fails=DIVISION),
    Hostile("40 processes", FORK_MANY),
    Hostile("a process left running, after which the operation crashes",
            LEAVE_A_PROCESS + "os._exit(3)", fails=DIVISION),
    Hostile("a thread left running",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"),
    Hostile("reads from the keyboard", "input('your name: ')", fails=DIVISION, says="input()"),

    # What changes the world around it.
    Hostile("changes np.random, settings and its working directory", CHANGE_SETTINGS,
            at_import=True),
    Hostile("an import that takes longer than a problem may", BUSY, at_import=True,
            keys=("multest",), time_limit=0.4),
    Hostile("closes all files", "import os\nos.closerange(0, 4096)", fails=DIVISION),
    Hostile("no sys.stdout", "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None"),
    Hostile("patched NumPy, json and builtins", PATCH_EVERYTHING, returns=WRONG, fails=DIVISION),
    Hostile("the grader's modules patched and removed", PATCH_THE_GRADER, returns=WRONG,
            fails=DIVISION),
    Hostile("kills its process group", "import os\nos.killpg(0, 9)", fails=DIVISION,
            says="signal 9"),
    Hostile("overwrites and deletes the project", DELETE_THE_GRADER, needs=NO_WRITING),
    Hostile("reads the recorded answers", READ_ANSWERS, at_import=True, needs=NO_WRITING),

    # What pretends to be right, or to be the grader.
    Hostile("an array that says it equals everything", LYING_ARRAY,
            returns="hostile.lie(Tensor(a.data * b.data))", fails=DIVISION, says="12 of 12 differ"),
    Hostile("an object that says it is a Tensor", LYING_TENSOR, returns="hostile.Tensor()",
            fails=DIVISION),
    Hostile("forged score lines", FORGE_SCORES, returns=WRONG, fails=DIVISION),
    Hostile("forged results in every open file", FORGE_RESULTS, returns=WRONG, fails=DIVISION),
    Hostile("malformed results in every open file", MALFORMED_RESULTS, at_import=True,
            keys=("subtest", "autogradtest", "Linear Forward", "Linear Backward"),
            fails=("subtest", "autogradtest", "Linear Forward", "Linear Backward")),
    Hostile("results without end", RESULTS_WITHOUT_END, fails=DIVISION, says="far too large"),
    Hostile("an enormous exception with a forged score line and control characters",
            r"raise ValueError('\x1b[2J\r\udcff{\"scores\": {}}\nFORGED' + 'long' * 50_000)",
            fails=DIVISION, says="ValueError"),
    Hostile("an unfinished problem with a forged line",
            r"raise NotImplementedError('TODO\nFORGED 2.1 \x1b[2J\r\udcff 2/2\n')",
            fails=DIVISION),
    Hostile("an exception whose type is named like a line of the report",
            r"raise type('Bad\nFORGED 5/5 \x1b[2J', (Exception,), {})('x')", fails=DIVISION),
    Hostile("an exception that cannot be shown", RUDE_EXCEPTION, fails=DIVISION, says="Rude"),
    Hostile("KeyboardInterrupt", "raise KeyboardInterrupt", fails=DIVISION,
            says="KeyboardInterrupt"),
    Hostile("files named like the grader's and Python's own", files={
        folder + name: IMPOSTORS for folder in ("", "mytorch/") for name in (
            "conftest.py", "sitecustomize.py", "usercustomize.py", "numpy.py", "json.py",
            "problems.py", "grader/graded.py", "grader/judge.py", "processes/isolation.py",
            "test_mlp.py", "runner.py", "pytest.py")}),

    # What is merely broken.
    Hostile("four broken files", says="mytorch/nn/batchnorm.py:1",
            files={"mytorch/nn/batchnorm.py": "class BatchNorm1d(:\n",
                   "mytorch/nn/activations.py": "x = '\0'\n", "mytorch/nn/loss.py": None,
                   "mytorch/optim/sgd.py": "class Sgd:\n    pass\n"},
            keys=("multest", *BROKEN), fails=BROKEN),
    Hostile("a syntax error in the engine",
            files={"mytorch/autograd_engine.py": "def backward(:\n"},
            fails=KEYS, says="mytorch/autograd_engine.py:1"),
    Hostile("an empty file", files={"mytorch/tensor.py": ""}, fails=KEYS, says="Tensor"),
)
