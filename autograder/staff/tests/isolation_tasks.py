"""Tasks for the tests of isolation (crews.py): the key of each is the code that it runs.
As child.py does, but what a task wants to say it puts into a dict called ``said``."""


def prepare(key, seed, root):
    """Run what stands in ``key`` before "# ready"; returns what ``run_task`` takes."""
    code, mark, rest = key.rpartition("# ready")
    names = {"said": {}, "seed": seed, "root": root}
    exec(compile(code, "prepare", "exec"), names)
    return names, rest


def run_task(prepared, root, send):
    """Run the rest and send what it said."""
    names, rest = prepared
    names["send"] = send
    exec(compile(rest, str(root / "mytorch/task.py"), "exec"), names)
    send({"case": "said", **names["said"]})
    send({"done": ""})
