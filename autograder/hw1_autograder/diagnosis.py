"""Says in words why a student's code raised an exception or ended.
Works on plain data alone, as judge.py does: no student code runs here."""

import re

from places import student_place


def unfinished(error):
    """What a student has not written yet, if that is why an exception was raised, else "".

    Args:
        error (dict): "type" and "message" of the exception.
    """
    kind, message = str(error.get("type")), str(error.get("message"))
    if kind == "NotImplementedError":
        return f'raises NotImplementedError "{shortened(message, 100)}"'
    operator = re.match(r"(?:unsupported operand type\(s\) for|bad operand type for unary) "
                        r"(\S+): '(Tensor|ndarray)'", message)
    if kind == "TypeError" and operator and "Tensor" in message:
        return f"Tensor has no operator {operator.group(1)} yet, in mytorch/tensor.py"
    missing = re.match(r"module 'mytorch\.nn\.functional' has no attribute '(\w+)'", message)
    if kind == "AttributeError" and missing:
        return f"mytorch/nn/functional.py has no {missing.group(1)} yet"
    return ""


def explain_error(error):
    """An exception of the student's code, as plain data from isolation.describe_error, in words."""
    kind, message = str(error.get("type")), str(error.get("message")).strip()
    first = shortened(message.splitlines()[0], 160) if message else ""
    lines = [f"{kind}: {first}" if first else kind]
    plain_words = {
        "SystemExit": "the code called sys.exit() or exit(); remove the call",
        "SyntaxError": "Python cannot read this file",
        "IndentationError": "Python cannot read this file: look at the spaces before the line",
        "RecursionError": "the code calls itself without end",
        "MemoryError": "the code asked for more memory than the grader gives (2 GiB)",
        "ModuleNotFoundError": "this file is missing, or it is named differently",
        "ImportError": "this name is missing in the file",
        "KeyboardInterrupt": "the code raised KeyboardInterrupt",
        "EOFError": "there is nobody to type: remove input()",
    }
    kind = "MemoryError" if kind == "_ArrayMemoryError" else kind  # NumPy's
    if kind in plain_words and (kind != "ModuleNotFoundError" or "mytorch" in message):
        lines.append(plain_words[kind])
    if error.get("place"):
        source = f":  {shortened(error['source'], 100)}" if error.get("source") else ""
        lines.append(f"at {error['place']}{source}")
    return lines


def shortened(text, most):
    """``text`` of at most that many characters; what is longer ends after a word, with dots."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " ..."


def explain_ending(outcome, time_limit):
    """Why a process ended before all its tests were done, in words."""
    kind, _, number = outcome.ending.partition(" ")
    places = (student_place(*place, outcome.root) for place in outcome.stuck_at)
    stuck_at = next(filter(None, places), "")
    place = f", at {stuck_at}" if stuck_at else ""
    if kind == "time":
        return f"still running after {time_limit:g} s and stopped{place}: an endless loop?"
    if kind == "done":
        return "no result came back for this test"
    if kind == "flood":
        return "the results are far too large"
    if kind == "never":
        return "not run: the time for the whole grading was over"
    if kind == "signal" and number == "9":
        return "the process was killed (signal 9)"
    if kind == "signal" and number == "24":
        return f"used up its processor time and was stopped{place}: an endless loop?"
    if kind == "signal":
        name = {"11": "segmentation fault", "6": "abort", "8": "arithmetic error"}.get(number, "")
        return f"the process crashed: signal {number} {name}".rstrip() + place
    return f"the process ended in the middle (exit status {number}): a call of os._exit()?"
