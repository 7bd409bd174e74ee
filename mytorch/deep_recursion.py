"""Room for deep recursion: a graph may be a million operations deep, Python's default limit
is a thousand calls. Nothing here knows about gradients."""

import contextlib
import contextvars
import ctypes
import gc
import sys
import threading

import numpy as np

# Up to 3.10 each Python call also takes C stack, about 500 bytes (measured on 3.8 to 3.10,
# x86-64); the default stack of any thread has room for SHALLOW calls.
CALLS_TAKE_C_STACK = sys.version_info < (3, 11)
BYTES_PER_CALL = 1024
SHALLOW = 400
LOCK = threading.Lock()  # around what all threads of a process share


def call_with_room_for(depth, function, *args):
    """Call ``function(*args)``, which recurses at most ``depth`` calls deep.

    Changes Python's recursion limit for the time of the call. In a deep one the cycle collector is
    paused as well: it would look at the same growing stack and graph again and again, which
    takes most of the time from a hundred thousand calls on. Both are put back, also after an
    exception. Where calls take C stack (Python 3.10 and older) a deep one runs in a thread whose
    stack is large enough.
    """
    pauses = depth > SHALLOW and gc.isenabled()
    raise_limit_by(depth)
    try:
        if pauses:
            gc.disable()
        if CALLS_TAKE_C_STACK and depth > SHALLOW:
            return call_in_thread(depth * BYTES_PER_CALL, function, *args)
        return function(*args)
    finally:
        if pauses:
            gc.enable()
        raise_limit_by(-depth)


def raise_limit_by(depth):
    """Add ``depth`` to the recursion limit. Relative, because all threads share the one limit:
    each takes back what it added, and leaves the others' room alone."""
    with LOCK:
        limit = sys.getrecursionlimit() + depth
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:  # up to 3.10, within 50 calls of the limit; a new thread is not
            thread = threading.Thread(target=sys.setrecursionlimit, args=(limit,))
            thread.start()
            thread.join()


def call_in_thread(stack_bytes, function, *args):
    """Call ``function(*args)`` in a thread with that much stack, under the caller's context and
    its np.errstate. Exceptions come through; an interrupt of the caller ends the call first."""
    context, handling = contextvars.copy_context(), np.geterr()
    # Not thread.join(), which in Python 3.9 to 3.12 takes an interrupt for the end of the thread.
    outcome, ended = {}, threading.Event()

    def run():
        """In the thread: keep what comes out, be it a result or an exception."""
        try:
            with np.errstate(**handling):
                outcome["result"] = context.run(function, *args)
        except BaseException as error:
            outcome["error"] = error
        finally:
            ended.set()

    thread = threading.Thread(target=run, daemon=True)
    try:
        with LOCK:  # the size is the whole process's, so it is set for this moment only
            previous = threading.stack_size((1 << 20) + (stack_bytes & ~0xFFF))
            try:
                thread.start()
            finally:
                threading.stack_size(previous)
        ended.wait()
    except BaseException as interrupt:  # KeyboardInterrupt, or what a signal's handler raises
        while thread.is_alive() and not ended.is_set():
            with contextlib.suppress(KeyboardInterrupt):
                raise_in(thread, type(interrupt))
                ended.wait(0.1)
        raise
    if "error" in outcome:
        raise outcome.pop("error")
    return outcome["result"]


def raise_in(thread, kind):
    """Raise an exception of that class in a running thread, at its next step of Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
