"""What holds for all tests. One thread for NumPy: arrays here are small, and threads that wait for
each other on a busy machine cost six times the processor time. And a start under nohup or with &."""

import os
import signal

for library in ("OPENBLAS", "OMP", "MKL", "VECLIB"):  # before NumPy is imported
    os.environ[library + "_NUM_THREADS"] = "1"

# There SIGHUP or SIGINT is ignored, which programs that the tests start would inherit. A handler
# that does nothing ignores them for pytest alone.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
