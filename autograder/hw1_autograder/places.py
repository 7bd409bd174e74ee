"""Where in a student's code something is, as people write it: mytorch/tensor.py:12.
Paths of the machine never reach a report."""

import re
from pathlib import Path

ABSOLUTE = re.compile(r"(?<![\w.~/-])/(?:[^\s/'\":,;()]+/)+([^\s/'\":,;()]+)")


def student_place(filename, line, root):
    """``mytorch/tensor.py:12`` for a place in the student's code, else an empty string."""
    try:
        relative = Path(filename).resolve().relative_to(root)
    except (ValueError, OSError):
        return ""
    return f"{relative.as_posix()}:{line}" if relative.parts[0] in ("mytorch", "hw1") else ""


def without_paths(text, root):
    """``text`` with files below ``root`` named from there, and of other absolute paths the last
    part alone: /tmp/me/mytorch/tensor.py is mytorch/tensor.py."""
    return ABSOLUTE.sub(r".../\1", text.replace(f"{root}/", ""))
