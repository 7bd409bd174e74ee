#!/usr/bin/env bash
# Writes handin.tar, which is what you hand in: mytorch/ and hw1/ with the plot.
set -eu
cd "$(dirname "$0")"
exec python3 autograder/hw1_autograder/handin/tarball.py
