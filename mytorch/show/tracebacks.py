"""Lets a traceback that went through this folder end in the student's own line.
What is printed below it would be of files that the student neither wrote nor should change."""

import sys
import sysconfig
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


def is_ours(frame):
    """Whether a frame runs code of this folder."""
    return str(Path(frame.f_code.co_filename).resolve().parent) == FOLDER


def is_students(frame):
    """Whether a frame runs code that is neither of this folder nor of an installed library."""
    return not is_ours(frame) and not frame.f_code.co_filename.startswith(("<frozen", *LIBRARIES))


def entries_of(error):
    """The traceback of an exception as a list, the innermost last."""
    entries, entry = [], error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    return entries


def is_refusal(error):
    """Whether code of this folder raised an exception, whose message then says all."""
    return is_ours(entries_of(error)[-1].tb_frame)


def cut(error):
    """Cut the traceback of an exception behind the last line of the student's, if it went through
    this folder; returns the exception."""
    entries = entries_of(error)
    students = [entry for entry in entries if is_students(entry.tb_frame)]
    if students and any(is_ours(entry.tb_frame) for entry in entries):
        students[-1].tb_next = None
    return error


def install():
    """From now on cut each traceback before it is printed because nothing has caught it."""
    print_it = sys.excepthook

    def excepthook(kind, error, entries):
        """What Python calls with an exception that ends the program."""
        print_it(kind, cut(error), error.__traceback__)

    sys.excepthook = excepthook
