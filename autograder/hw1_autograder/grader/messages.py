"""Reads what the process of a problem says of its tests. It may be anything that a student's code
wrote: only what is known by name and has the right form is taken over, the rest is passed over."""

import json

RESULT_FIELDS = {"kind": str, "type": str, "dtype": str, "shape": list, "values": list,
                 "value": (bool, int, str), "at": str}
ERROR_FIELDS = dict.fromkeys(("type", "message", "place", "source", "caller", "test", "unwritten",
                              "circle", "import"), str)
TEXT_LIMIT = 600  # characters of one field
LABELS_LIMIT = 100  # results of one test
AXES_LIMIT = 32  # of one result


def read(lines, names):
    """The messages in ``lines``, the first of each test.

    Args:
        lines (sequence of bytes): each should be a dict in JSON: "case", and "results" or "error".
        names (container of str): of the tests that can have sent something.

    Returns:
        dict: name of a test → {"results": {label: fields}} or {"error": fields}.
    """
    messages = {}
    for line in lines:
        try:
            message = json.loads(line.decode("utf-8", "replace"), parse_int=number)
        except (ValueError, RecursionError):
            continue
        case = message.get("case") if isinstance(message, dict) else None
        if isinstance(case, str) and case in names and case not in messages:
            messages[case] = taken_over(message)
    return messages


def number(digits):
    """An int, or where it has more digits than any result, a float."""
    return int(digits) if len(digits) < 20 else float(digits)


def taken_over(message):
    """The part of a test's message that is known and has the right form."""
    error, results = message.get("error"), message.get("results")
    if isinstance(error, dict):
        return {"error": known_fields(error, ERROR_FIELDS)}
    if isinstance(results, dict) and len(results) <= LABELS_LIMIT:
        taken = {"results": {label[:TEXT_LIMIT]: known_fields(fields, RESULT_FIELDS)
                             for label, fields in results.items() if isinstance(fields, dict)}}
        if isinstance(message.get("warning"), dict):
            taken["warning"] = known_fields(message["warning"], ERROR_FIELDS)
        return taken
    return {}


def known_fields(fields, known):
    """Those of ``fields`` whose name and type are in ``known``, long texts cut off; a shape only
    if it can be one."""
    taken = {name: value[:TEXT_LIMIT] if isinstance(value, str) else value
             for name, value in fields.items()
             if name in known and isinstance(value, known[name])}
    axes = taken.get("shape", ())
    if len(axes) > AXES_LIMIT or not all(type(axis) is int for axis in axes):
        del taken["shape"]
    return taken
