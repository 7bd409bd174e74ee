"""Prints what is said of each engine given: `python stories.py ROOT ...`, as JSON.
Each ROOT holds a mytorch/ with an engine of its own, so each is imported by a fork of its own."""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np


def expressions(Tensor):
    """(tensor, names) of each expression, of new leaves, with Tensors as operands only."""
    def new(value, requires_grad=True):
        return Tensor(np.array(value, float), requires_grad=requires_grad)

    a, b, c = new(1.0), new(2.0, False), new(3.0)
    d = a + a * b
    yield (d + c) + new(3.0, False), dict(a=a, b=b, c=c, d=d)
    a, b = new([[1.0, 2.0], [4.0, 8.0]]), new([[3.0, 5.0], [7.0, 6.0]])
    yield (a - b) / b - a / (a * b), dict(a=a, b=b)
    a.grad = new(np.full((2, 2), 10.0))
    yield a * b + a, dict(a=a, b=b)


def tell(root):
    """What is said of the engine in ``root``: by explain_engine, and by trace of expressions."""
    sys.path.insert(0, root)
    import mytorch.nn.activations  # noqa: F401  (first, as in hw1/mnist.py)
    from mytorch.show import trace
    from mytorch.show.trace import explain_engine
    from mytorch.tensor import Tensor

    stories = []
    for tensor, names in expressions(Tensor):
        before = {key: named.grad for key, named in names.items()}
        held = {key: grad.data.copy() for key, grad in before.items() if grad is not None}
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                trace(tensor, **names)
        except Exception as error:
            output.write(f"RAISED {type(error).__name__}: {error}")
        for key, named in names.items():
            if named.grad is not before[key] or key in held and not np.array_equal(
                    named.grad.data, held[key]):
                output.write(f"CHANGED {key}.grad")
        stories.append(output.getvalue())
    return {"engine": explain_engine(), "stories": stories}


def main(roots):
    """Print {root: what tell says}; a fork for each root."""
    told = {}
    for root in roots:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                with open(writing, "w", encoding="utf-8") as pipe:
                    json.dump(tell(root), pipe)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        told[root] = json.loads(text) if text else {}
    print(json.dumps(told))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent)
    main(sys.argv[1:])
