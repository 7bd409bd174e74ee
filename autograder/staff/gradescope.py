"""Writes what Gradescope's *Configure Autograder* takes: a zip with the grader and two scripts.
`python3 autograder/staff/gradescope.py DIR`; README.md beside this file says what to click."""

import argparse
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import packages  # noqa: E402
import autolab  # noqa: E402

ALSO = ("gradescope_job.py", "handins.py")  # of this folder
SCRIPTS = {
    "setup.sh": """\
#!/usr/bin/env bash
# Run by Gradescope once, when it makes the container's image.
set -eu
apt-get update
apt-get install -y --no-install-recommends python3 python3-numpy
""",
    "run_autograder": """\
#!/usr/bin/env bash
# Run by Gradescope for each submission, in /autograder.
cd "$(dirname "$0")"
exec python3 -B source/autograder/staff/gradescope_job.py
"""}


def package():
    """What the zip holds: name → bytes.

    Raises:
        handout.HandoutError: as autolab.packed.
    """
    also = {f"autograder/staff/{name}": (packages.STAFF / name).read_bytes() for name in ALSO}
    return {**{name: text.encode() for name, text in SCRIPTS.items()}, **autolab.packed(), **also}


def main(arguments=None):
    """Write the zip into the folder that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make the autograder that Gradescope takes.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    folder = parser.parse_args(arguments).folder
    try:
        contents = package()
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(str(folder / "gradescope.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                member = zipfile.ZipInfo(name)
                member.external_attr = (0o755 if name in SCRIPTS else 0o644) << 16
                archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    except (OSError, autolab.handout.HandoutError) as error:
        print(f"gradescope.py: {error}", file=sys.stderr)
        return 1
    autolab.report_version(contents)
    print(f"Written: {folder / 'gradescope.zip'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
