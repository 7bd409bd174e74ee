"""Decides whether what came back is right, and says in words how it is wrong.
Works on plain data alone: no student code runs here."""

import numpy as np

AFTERWARDS = ", afterwards"  # ends the label of an input, looked at again after the call
RELATIVE = 1e-6
ABSOLUTE = 1e-9  # for entries that are 0, or should be but for rounding

# Of the third solution of staff/tests, all in float32, no result is off by a twentieth of this.
IN_FLOAT32 = dict(relative=1e-4, absolute=1e-5, of_largest=1e-5)


def judge_case(expected, message, mistakes=()):
    """Compare one test's results with its answers.

    Args:
        expected (dict): label → answer: None, True, False, or a dict with "shape" and "values".
        message (dict): the child's "results" or "error" for the test.
        mistakes (sequence): pairs of what a mistake is called, and label → what it gives.

    Returns:
        list of str: complaints, the most telling first; empty if all is right.
    """
    results = message.get("results")
    if not isinstance(results, dict):
        return ["the test returned nothing"]
    tolerance, changed, complaints = tolerance_for(results), [], []
    for label, answer in expected.items():
        name, is_input, _ = label.partition(AFTERWARDS)
        if is_left_out(label, answer, results):
            continue
        got = results.get(label)
        if not isinstance(got, dict):
            complaints.append(f"{label}: nothing came back")
            continue
        found = compare(name if is_input else label, answer, got, **tolerance)
        names = [says for says, made in mistakes
                 if label in made and gives(made[label], got, **tolerance)] if found else []
        if 0 < len(names) < 3:
            found[1:] = [f"looks like{' one of' * (len(names) > 1)}: {'; '.join(names)}"]
        if is_input and found:
            found = [says_changed(name), *(found[1:] if names else [])]
        (changed if is_input else complaints).extend(found)
    return changed + complaints


def is_left_out(label, answer, results):
    """Whether there is no result, and there need not be one."""
    return label not in results and isinstance(answer, dict) and bool(answer.get("optional"))


def says_changed(name):
    """The complaint about an input that a call should leave as it was before."""
    what = "backward changed the gradient it was given" if name == "upstream gradient" else (
        f"forward changed its input {name}")
    return what + ", in place: make a new array instead"


def tolerance_for(results):
    """The tolerance for one test's results: float32's for all where one came back in float32, as
    what is float64 by then may have been computed from it."""
    in_float32 = any(isinstance(got, dict) and got.get("dtype") == "float32"
                     for got in results.values())
    return IN_FLOAT32 if in_float32 else {}


def compare(label, answer, got, **tolerance):
    """Complaints about one result ``got``, as plain data from isolation.plain; ``tolerance`` as
    for close."""
    if answer is None or isinstance(answer, bool):
        expected = {"kind": "None"} if answer is None else {"kind": "bool", "value": answer}
        if got.get("kind") == expected["kind"] and got.get("value") == expected.get("value"):
            return []
        return [f"{label}: expected {answer}, got {describe(got)}"]
    if got.get("kind") not in ("Tensor", "Numbers"):
        return [f"{label}: expected a Tensor, got {describe(got)}"]
    if got.get("type") != "ndarray":
        return [f"{label}: expected a Tensor with an ndarray as data, got {describe(got)}"]
    bare = got.get("kind") == "Numbers"  # in which the shape is no matter
    right = as_array(answer).ravel() if bare else as_array(answer)
    shape = right.shape
    try:
        values = as_array(got)
    except (TypeError, ValueError, KeyError, OverflowError):
        return [f"{label}: expected numbers of shape {shape}, got {describe(got)}"]
    wrong = ~close(values, right, **tolerance) if values.shape == shape else None
    if wrong is not None and not wrong.any():
        return []
    likely = likely_mistake(values, right, **tolerance)
    likely = [f"looks like: {likely}"] if likely else []
    if wrong is None:
        return [f"{label}: expected shape {shape}, got {values.shape}"] + likely
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = str(list(index)) if index else ""
    with np.errstate(all="ignore"):
        error = np.abs(values - right)[wrong].max()
    entries = f"{wrong.sum()} of {wrong.size} differ, by up to" if wrong.size > 1 else "off by"
    digits = next(d for d in (6, 9, 17) if f"{right[index]:.{d}g}" != f"{values[index]:.{d}g}")
    return [f"{label}{place}: expected {right[index]:.{digits}g}, got {values[index]:.{digits}g}; "
            f"{entries} {error:.3g}"] + likely


def describe(got):
    """A result that is no array of numbers, in a few words."""
    kind = str(got.get("kind"))[:40]
    if kind in ("bool", "int"):
        return str(got.get("value"))[:40]
    if kind == "Tensor" and got.get("type") == "ndarray":
        return f"a Tensor of shape {tuple(got.get('shape', ()))}, dtype {got.get('dtype')}"
    if kind == "Tensor":
        return f"a Tensor whose data is {str(got.get('type'))[:40]}"
    return kind if kind == "None" else f"{kind}"


def as_array(plain):
    """The float64 array of a dict with "shape" and "values"; raises if they are not such."""
    shape = tuple(plain["shape"])
    values = plain["values"]
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise ValueError("not a shape")
    if not all(type(v) in (int, float) for v in values):
        raise ValueError("not numbers")
    return np.array(values, dtype=np.float64).reshape(shape)


def close(values, right, relative=RELATIVE, absolute=ABSOLUTE, of_largest=0.0):
    """Where two float64 arrays of one shape agree, as a bool array. NaN agrees with nothing.

    Args:
        values, right (ndarray): what came, and what should have come.
        relative (float): of each entry's size, may differ.
        absolute (float): of any entry, may differ.
        of_largest (float): of the size of the largest entry, may differ in each.
    """
    with np.errstate(all="ignore"):
        sizes = np.abs(right)
        largest = sizes.max() if sizes.size else 0.0
        return np.abs(values - right) <= absolute + relative * sizes + of_largest * largest


def mistakes_that_fit(mistakes, tests):
    """The recorded mistakes with which all results of a problem agree, and those that a result
    refutes. One that fits a single result may do so by chance.

    Args:
        mistakes (list): as recorded: dicts with "says", "results" and "errors".
        tests (list): triples of a test's name, ``expected`` and ``message``, as for judge_case.

    Returns:
        tuple: two lists of mistakes.
    """
    fit, refuted = [], []
    for mistake in mistakes:
        agreed = all(agrees(mistake, *test) for test in tests)
        (fit if agreed else refuted).append(mistake)
    return fit, refuted


def agrees(mistake, name, expected, message):
    """Whether a test's results are what a recorded mistake gives; where nothing is recorded for
    it, it changes nothing. Nothing speaks against it where the test ended in an exception, with
    the mistake or here."""
    results, made = message.get("results"), mistake["results"].get(name, {})
    if not isinstance(results, dict) or name in mistake["errors"]:
        return True
    tolerance = tolerance_for(results)
    return all(isinstance(results.get(label), dict) and gives(
        made.get(label, answer), results[label], **tolerance)
        for label, answer in expected.items() if not is_left_out(label, answer, results))


def gives(made, got, **tolerance):
    """Whether the result ``got`` is what a mistake makes of it, as recorded: an answer, in whose
    values None stands for inf or nan; or the kind of what is no such thing."""
    if not isinstance(made, dict) or "kind" not in made and None not in made["values"]:
        return not compare("", made, got, **tolerance)
    if "kind" in made:
        return all(got.get(field) == value for field, value in made.items())
    try:
        values = as_array(got)
    except (TypeError, ValueError, KeyError, OverflowError):
        return False
    wanted = np.array(made["values"], dtype=float).reshape(made["shape"])
    finite = np.isfinite(wanted)
    return values.shape == wanted.shape and bool((np.isfinite(values) == finite).all() and close(
        values[finite], wanted[finite], **tolerance).all())


def likely_mistake(values, right, **tolerance):
    """How just these values come from the right ones, in words; empty if in no simple way.

    Args:
        values (ndarray): what came, float64.
        right (ndarray): what should have come.
        **tolerance: ``relative`` and ``absolute``, as for close.
    """
    def same(candidate):
        return values.shape == candidate.shape and close(values, candidate, **tolerance).all()

    if same(right):
        return ""
    candidates = []
    if right.ndim == 2:
        candidates.append(("the transpose of the right answer", right.T))
    candidates += [
        ("the right answer with the opposite sign", -right),
        ("twice the right answer (added once too often?)", 2 * right),
        ("half the right answer", right / 2),
        ("all zeros", np.zeros_like(right)),
    ]
    for count in range(3, 7):  # the batch sizes that the tests use
        candidates += [(f"the right answer times {count} (a division by {count} missing?)",
                        count * right),
                       (f"the right answer divided by {count} (a division by {count} too many?)",
                        right / count)]
    if values.size == right.size and values.shape != right.shape:
        candidates.append(("the right numbers in another shape", right.reshape(values.shape)))
    for name, candidate in candidates:
        if same(candidate):
            return name
    if not np.isfinite(values).all():
        return "a division by zero, or an overflow (nan or inf)"
    return ""
