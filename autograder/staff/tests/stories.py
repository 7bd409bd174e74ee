"""Prints what trace says of each engine given: `python stories.py ROOT ...`, as JSON.
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
    """Dict from name to (tensor, names), each of new leaves, with Tensors as operands only."""
    def leaf(value):
        return Tensor(np.array(value, float), requires_grad=True)

    def constant(value):
        return Tensor(np.array(value, float))

    found = {}
    a, b, c, k = leaf(1.0), constant(2.0), leaf(3.0), constant(5.0)
    d = a + a * b
    e = (d + c) + constant(3.0)
    found["example"] = e, dict(a=a, b=b, c=c, d=d, e=e)
    a = leaf(1.0)
    b = a + a
    c = b + b
    found["diamond"] = c, dict(a=a, b=b, c=c)
    a, b = leaf([2.0, 4.0]), leaf([3.0, 5.0])
    found["constants first"] = (k_like(k, a) * a) + (k_like(k, a) + b) * b, dict(a=a, b=b)
    a, b = leaf(2.0), leaf(3.0)
    found["handed to two"] = (b * constant(4.0) + a * constant(5.0)) + (a + b), dict(a=a, b=b)
    a, b = leaf(2.0), leaf(3.0)
    found["handed to two, first"] = (a + b) + (b * constant(4.0) + a * constant(5.0)), dict(a=a, b=b)
    a, b = leaf(2.0), leaf(3.0)
    p, q = a * constant(2.0), b * constant(3.0)
    found["results handed to two"] = ((p + q) + (p * constant(7.0) + q * constant(5.0))), dict(
        a=a, b=b, p=p, q=q)
    a, b = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    s = a * b
    t = s * a + s
    found["at two depths"] = t * s, dict(a=a, b=b, s=s, t=t)
    a, b = leaf([[1.0, 2.0], [4.0, 8.0]]), leaf([[3.0, 5.0], [7.0, 6.0]])
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    found["sum"] = x + y, dict(x=x, y=y)
    found["square"] = a * a, dict(a=a)
    found["all four"] = (a - b) / b - a / (a * b), dict(a=a, b=b)
    a.grad = Tensor(np.full((2, 2), 10.0))
    found["grad held"] = a * b + a, dict(a=a, b=b)
    return found


def k_like(k, a):
    """A constant of the shape of ``a``: not every engine broadcasts."""
    return type(k)(np.full(a.data.shape, float(k.data)))


def tell(root):
    """What is said of the engine in ``root``: of itself, and by trace of each expression."""
    sys.path.insert(0, root)
    from mytorch.show import recording, trace
    from mytorch.show.trace import explain_engine
    from mytorch.tensor import Tensor

    stories = {}
    for name, (tensor, names) in expressions(Tensor).items():
        before = {key: named.grad for key, named in names.items()}
        held = {key: grad.data.copy() for key, grad in before.items() if grad is not None}
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                trace(tensor, **names)
        except Exception as error:
            output.write(f"RAISED {type(error).__name__}: {error}\n{traceback.format_exc()}")
        for key, named in names.items():
            if named.grad is not before[key] or key in held and not np.array_equal(
                    named.grad.data, held[key]):
                output.write(f"CHANGED {key}.grad")
        stories[name] = output.getvalue()
    return {"engine": explain_engine(), "notes": recording.find_notes(), "stories": stories}


def main(roots):
    """Print {root: {expression: story}}; a fork for each root."""
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
