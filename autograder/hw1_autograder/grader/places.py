"""Where in a student's code something is, as people write it: mytorch/tensor.py:12.
Paths of the machine never reach a report."""

import os
import re

LIMIT = 200  # characters of a path

ABSOLUTE = re.compile(r"(?<![\w.~/-])/(?:[^\s/'\":,;()]+/)+([^\s/'\":,;()]+)")


def student_place(filename, line, root):
    """``mytorch/tensor.py:12`` for a place in the student's code, else an empty string.

    Args:
        filename (str): an absolute path, from anywhere: it is compared as text, never looked up.
        line (int): in that file.
        root (Path): the folder that holds the student's ``mytorch``, resolved.
    """
    top = os.path.join(str(root), "")
    if not filename.startswith(top):
        return ""
    parts = filename[len(top):].split(os.sep)
    if parts[0] not in ("mytorch", "hw1") or ".." in parts:
        return ""
    return f"{'/'.join(parts)}:{line}"[:LIMIT]


def without_paths(text, root):
    """``text`` with files below ``root`` named from there, and of other absolute paths the last
    part alone: /tmp/me/mytorch/tensor.py is mytorch/tensor.py."""
    return ABSOLUTE.sub(r".../\1", text.replace(f"{root}/", ""))
