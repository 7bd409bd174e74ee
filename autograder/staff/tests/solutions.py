"""The correct solutions that styles and planted bugs are small textual changes of.
The second and the third are written as students write; their files replace those of the reference."""

import compileall
import functools
import py_compile
import re
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parents[2] / "mytorch"
SECOND = HERE / "second_solution"
THIRD = HERE / "third_solution"

TENSOR, ENGINE, FUNCTIONAL = "tensor.py", "autograd_engine.py", "nn/functional.py"
LINEAR, MODULE, SEQUENTIAL = "nn/linear.py", "nn/module.py", "nn/sequential.py"
ACTIVATIONS, BATCHNORM, LOSS = "nn/activations.py", "nn/batchnorm.py", "nn/loss.py"
OPTIMIZER, SGD = "optim/optimizer.py", "optim/sgd.py"

# Parts of the second that styles and planted bugs replace.
RECURSION = """\
    if isinstance(grad_fn, AccumulateGrad):
        grad_fn.apply(grad_of_outputs)
        return
    grads = grad_fn.apply(grad_of_outputs)
    if not isinstance(grads, tuple):
        grads = (grads,)
    for i in range(len(grad_fn.next_functions)):
        if grad_fn.next_functions[i] is not None:
            backward(grad_fn.next_functions[i], grads[i])
"""
SGD_BUFFERS = "self.momentums = [np.zeros(p.shape) for p in self.params]"


def write(root, solution=REFERENCE, edits=()):
    """Make ``root``/mytorch a copy of a solution, changed.

    Args:
        root (Path): a folder without mytorch.
        solution (Path): REFERENCE, SECOND or THIRD.
        edits (sequence): triples (file below mytorch, old, new), as for ``edited``.
    """
    for name, content in compiled(solution).items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for file, text in edited(solution, edits).items():
        (Path(root) / "mytorch" / file).write_text(text, encoding="utf-8")


@functools.lru_cache(maxsize=None)
def compiled(solution):
    """The files of a solution's mytorch, name → bytes, with compiled ones that hold as long as the
    text they were made from: compiled once for all that write it."""
    with tempfile.TemporaryDirectory(prefix="mytorch-solution-") as folder:
        library = Path(folder) / "mytorch"
        shutil.copytree(str(REFERENCE), str(library), ignore=shutil.ignore_patterns("__pycache__"))
        for path in solution.rglob("*.py") if solution != REFERENCE else ():
            replaced = library / path.relative_to(solution)
            assert replaced.is_file(), f"{path}: the reference has no such file"
            shutil.copy(str(path), str(replaced))
        compileall.compile_dir(folder, rx=re.compile("mytorch.show"), quiet=2,
                               invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        return {str(path.relative_to(folder)): path.read_bytes()
                for path in library.rglob("*") if path.is_file()}


def edited(solution, edits):
    """The files of a solution that edits change, as a dict of file → text.

    Each edit replaces ``old``, which must occur once in the file by then, by ``new``.

    Raises:
        ValueError: if the solution has changed so that ``old`` is not found once.
    """
    texts = {}
    for file, old, new in edits:
        if file not in texts:
            path = solution / file
            path = path if path.is_file() else REFERENCE / file
            texts[file] = path.read_text(encoding="utf-8")
        count = texts[file].count(old)
        if count != 1:
            raise ValueError(f"expected once in {file}, found {count} times:\n{old}")
        texts[file] = texts[file].replace(old, new)
    return texts
