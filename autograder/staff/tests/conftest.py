"""Lets the tests be started under nohup or with &, where SIGHUP or SIGINT is ignored: programs that
the tests start would inherit that. A handler that does nothing ignores them for pytest alone."""

import signal

for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
