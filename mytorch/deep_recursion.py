"""Room for deep recursion: a graph may be a million operations deep, Python's default limit
is a thousand nested calls. Nothing here knows about gradients."""

import sys
import threading

# Up to 3.10 each Python call also takes C stack, about 500 bytes (measured on 3.8 to 3.10,
# x86-64); the default stack of any thread has room for SHALLOW calls.
CALLS_TAKE_C_STACK = sys.version_info < (3, 11)
BYTES_PER_CALL = 1024
SHALLOW = 400
LOCK = threading.Lock()


def call_with_room_for(depth, function, *args):
    """Call ``function(*args)``, which recurses at most ``depth`` calls deep.

    Raises Python's recursion limit for the time of the call and puts it back, also after an
    exception. If calls take C stack (Python 3.10 and older), a deep one runs in a thread whose
    stack is large enough.
    """
    raise_limit_by(depth)
    try:
        if CALLS_TAKE_C_STACK and depth > SHALLOW:
            return call_in_thread(depth * BYTES_PER_CALL, function, *args)
        return function(*args)
    finally:
        raise_limit_by(-depth)


def raise_limit_by(depth):
    """Add ``depth`` to the recursion limit. All threads share the one limit, so each
    only takes back what it added, and leaves the others' room alone."""
    with LOCK:
        limit = sys.getrecursionlimit() + depth
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:  # up to 3.10, within 50 calls of the limit; a new thread is not
            thread = threading.Thread(target=sys.setrecursionlimit, args=(limit,))
            thread.start()
            thread.join()


def call_in_thread(stack_bytes, function, *args):
    """Call ``function(*args)`` in a thread with that much stack; exceptions come through."""
    outcome = {}

    def run():
        """In the thread: keep what comes out, be it a result or an exception."""
        try:
            outcome["result"] = function(*args)
        except BaseException as error:
            outcome["error"] = error

    previous = threading.stack_size((1 << 20) + (stack_bytes & ~0xFFF))
    try:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
    finally:
        threading.stack_size(previous)
    thread.join()
    if "error" in outcome:
        raise outcome.pop("error")
    return outcome["result"]
