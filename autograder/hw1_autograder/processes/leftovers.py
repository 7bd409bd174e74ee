"""Ends and removes what a student's process leaves behind: processes that still run, folders
however deep, long-named or closed, shared memory. Nothing here raises an error or takes long."""

import contextlib
import fcntl
import os
import signal
import stat
import time
from pathlib import Path

SHARED_MEMORY = "/dev/shm"  # Linux keeps semaphores and shared memory there, as files


def children_of_this_process():
    """Process numbers of this process's children; none where the system does not list them."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # no Linux
        return []
    return [int(number) for numbers in lists for number in numbers.split()]


def end_children(keep, patience, only=None):
    """Kill the children of this process, and theirs, which become its own once orphaned.

    Args:
        keep (container of int): process numbers that are left alone.
        patience (float): seconds; some make new processes as fast as they are killed.
        only: tells by its number whether a process may be killed at all.
    """
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        found = [pid for pid in children_of_this_process()
                 if pid not in keep and (only is None or only(pid))]
        if not found:
            return
        for pid in found:
            end(pid)
            wait_for(pid, patience=0)


def end(pid, group=False):
    """Send SIGKILL to a process or its group, if it is still there."""
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def wait_for(pid, patience):
    """Wait up to ``patience`` seconds until the child ``pid`` has ended; whether it has."""
    give_up = time.monotonic() + patience
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(0.002)


def remove_tree(top, patience=10.0):
    """Remove a folder that a student's code could fill; returns whether it is gone.

    What cannot be removed is tried again, as it may be someone else who is removing it.
    """
    give_up = time.monotonic() + patience
    while os.path.lexists(str(top)):
        empty_tree(str(top), give_up)
        with contextlib.suppress(OSError):
            os.rmdir(str(top))
        if time.monotonic() > give_up:
            break
        time.sleep(0.002)
    return not os.path.lexists(str(top))


def empty_tree(top, give_up):
    """Remove what a folder holds, as far as it can be removed until time.monotonic() is ``give_up``.

    Folders deeper in it are moved up into ``top`` before they are emptied, so that no path gets
    longer than the system takes, whatever was built.
    """
    folders = [top]
    while folders and time.monotonic() < give_up:
        folder = folders.pop()
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if time.monotonic() > give_up:
                        return
                    with contextlib.suppress(OSError):
                        if not entry.is_dir(follow_symlinks=False):
                            os.unlink(entry.path)
                        # Those in top stay: under new names they would be found once more.
                        elif folder == top:
                            folders.append(entry.path)
                        else:
                            folders.append(moved_up(entry.path, top))
        if folder != top:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def moved_up(folder, top):
    """Move a folder into ``top`` under a new short name; returns that path."""
    os.chmod(folder, 0o700)
    place = os.path.join(top, os.urandom(8).hex())
    os.rename(folder, place)
    return place


def modes_above(*folders):
    """The modes of folders and of all that they lie in, as far as they belong to this user:
    path → mode, the topmost first. A student's code can close them; see restore_modes."""
    modes = {}
    for folder in folders:
        for path in [*reversed(Path(folder).parents), Path(folder)]:
            with contextlib.suppress(OSError):
                if path.stat().st_uid == os.getuid():
                    modes[str(path)] = stat.S_IMODE(path.stat().st_mode)
    return modes


def restore_modes(modes):
    """Give folders (path → mode) back the modes that they had."""
    for path, mode in modes.items():
        with contextlib.suppress(OSError):
            if stat.S_IMODE(os.stat(path).st_mode) != mode:
                os.chmod(path, mode)


def shared_memory():
    """Names of what there is of shared memory on this machine."""
    try:
        return set(os.listdir(SHARED_MEMORY))
    except OSError:
        return set()


def remove_shared_memory(known, patience=1.0):
    """Remove shared memory of this user that is not ``known`` and that nobody uses any more.

    Whoever calls this ignores SIGIO, which tells that someone is opening the file meanwhile.
    """
    give_up = time.monotonic() + patience
    for name in shared_memory() - set(known):
        if time.monotonic() > give_up:
            break
        with contextlib.suppress(OSError):
            # Without O_NONBLOCK, a lease that someone has on the file would make this wait.
            file = os.open(os.path.join(SHARED_MEMORY, name),
                           os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if os.fstat(file).st_uid == os.getuid():
                    # Refused while anyone else has the file open.
                    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                    os.unlink(os.path.join(SHARED_MEMORY, name))
            finally:
                os.close(file)
