"""Hostile solutions that attack the machine, its files and the grader's own processes; as those of
hostile.py. test_grader_hostile.py grades each with Landlock and on a kernel that has none."""

from hostile import DIVISION, NO_SIGNALS, WRITE_EVERYWHERE, WRONG, Hostile

RUNNER = """
import os
if os.fork() == 0:
    while True:
        try:
            if os.fork():
                os._exit(0)
            os.setsid()
        except OSError:
            pass
"""

EXECUTING_RUNNERS = r"""
import os, sys
code = ("import os, sys\nif os.fork() == 0:\n    os.setsid()\n    os.execv(sys.executable, "
        "[sys.executable, '-S', '-E', '-c', sys.argv[1], sys.argv[1], sys.argv[2]])\nos._exit(0)")
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", code, code, __file__])
"""

PROCESS_THAT_STAYS = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {doing}
    os._exit(0)
"""

ATTACKS = """
import ctypes, fcntl, os, resource, signal, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
stat = open(f"/proc/{os.getppid()}/stat").read()
grader, parent = os.getppid(), int(stat.rpartition(")")[2].split()[1])

def attempt(what, *args):
    try:
        what(*args)
    except OSError as error:
        print(error)

attempt(os.kill, -1, 9)
attempt(os.killpg, os.getpgid(grader), 9)
attempt(os.setpriority, os.PRIO_USER, 0, 19)
for pid in (grader, parent):
    attempt(os.kill, pid, 9)
    attempt(os.kill, pid, 19)
    for left, right in (os.pipe(), [end.detach() for end in socket.socketpair()]):
        attempt(fcntl.fcntl, left, 10, 9)  # F_SETSIG
        attempt(fcntl.fcntl, left, 8, pid)  # F_SETOWN
        attempt(fcntl.ioctl, left, 0x8901, struct.pack("i", pid))  # FIOSETOWN
        attempt(fcntl.fcntl, left, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        attempt(os.write, right, b"x")
    attempt(os.sched_setaffinity, pid, {0})
    attempt(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0))
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        attempt(resource.prlimit, pid, kind, (0, 0))
    if libc.ptrace(16, pid, 0, 0) == 0:
        raise RuntimeError("FOUND: traced")
    for number in range(3, 30):
        if libc.syscall(438, libc.syscall(434, pid, 0), number, 0) >= 0:
            raise RuntimeError("FOUND: a file")
"""

ODD_JSON = """
start = '{"case": "test_division", "results": {"output of forward": {"kind": "Tensor", '
lines = [start + '"type": "ndarray", "shape": [3, 4], "values": [' + "9" * 5000 + "]}}}",
         '{"case": "test_division", "results": ' + "[" * 60_000,
         '{"case": "test_division", "results": {"a":' * 3000,
         '{"case": "test_division", "results": [' + "{}," * 9000 + "{}]}", "[" + "{}," * 9000 + "{}]",
         '{"ready": true}', '{"protections": ["x"], "refused": "no"}', '{"done": {}}', '{"done": 5']
""" + WRITE_EVERYWHERE

CALLS_UNDER_WAY = r"""
lines = ['  File "' * 450_000 + "\n" + '  File "x", line 1 in f\n' * 9000]
""" + WRITE_EVERYWHERE

NESTED_FOLDERS = """
import os
os.symlink("loop", "loop")
for _ in range(60):  # their path is too long for the system
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
os.mkdir("closed", 0)
open("file", "w").close()
"""

CLOSE_FOLDERS = """
import os
folder = os.getcwd()
import mytorch
for path in (os.path.dirname(mytorch.__file__), folder, os.path.dirname(folder),
             os.path.dirname(os.path.dirname(folder))):
    try:
        os.chmod(path, 0)  # which the filter denies
    except PermissionError:
        pass
"""

SHARED_MEMORY = """
import ctypes, os
try:
    for number in range(50):
        open(f"/dev/shm/left{os.getpid()}-{number}", "wb").write(bytes(10_000))
except PermissionError:
    pass
libc = ctypes.CDLL(None, use_errno=True)
libc.shmget(0, 1 << 20, 0o1600), libc.semget(0, 5, 0o1600), libc.msgget(0, 0o1600)
"""

WRITING_ON = r"""
while True:
            for fd in range(1, 64):
                try:
                    os.write(fd, b'{"case": "test_subtraction", "results": {}}\n{"done": ""}\n')
                except OSError:
                    pass
"""

OWN_LIMITS = """
import resource
for name in dir(resource):
    if name.startswith("RLIMIT_"):
        kind = getattr(resource, name)
        for limit in ((resource.getrlimit(kind)[1],) * 2, (0, 0)):
            try:
                resource.setrlimit(kind, limit)
            except (OSError, ValueError):
                pass
"""

ZOMBIES = """
import os, time
end = time.time() + 0.2
while time.time() < end:
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError:
        break
"""

BURN = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        while True:
            pass
time.sleep(1000)
"""

LEASES = """
import fcntl, os, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
files = []
for number in range(20):
    try:
        files.append(os.open(f"/dev/shm/left{os.getpid()}-{number}", os.O_CREAT | os.O_RDWR))
        fcntl.fcntl(files[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        pass
"""

SHAPE = """
import json
fields = {"kind": "Tensor", "type": "ndarray", "shape": ["x" * 50] * 4000, "values": []}
lines = [json.dumps({"case": "test_division", "results": {"gradient of a": fields}})]
""" + WRITE_EVERYWHERE

CODES = {
    "a process that forks, moves on and exits, again and again": RUNNER,
    "such processes that execute a new program each time": EXECUTING_RUNNERS,
    "a process that goes on writing results": PROCESS_THAT_STAYS.format(doing=WRITING_ON.strip()),
    "a process that the end of its parent does not end": "import ctypes\nctypes.CDLL(None).prctl"
        "(1, 0, 0, 0, 0)\n" + PROCESS_THAT_STAYS.format(doing="os.execv('/bin/sleep', ['sleep', "
                                                        "'1000', __file__])"),
    "a fifth of a second's worth of zombies": ZOMBIES,
    "a hundred threads": "import threading, time\ntry:\n    for _ in range(100):\n        "
        "threading.Thread(target=time.sleep, args=(100,)).start()\nexcept RuntimeError:\n    pass",
    "kills, stops, hinders and looks into the grader": ATTACKS,
    "numbers of 5,000 digits, deep nesting, floods of empty objects, forged news": ODD_JSON,
    "3.6 MB of calls under way": CALLS_UNDER_WAY,
    "a link to itself, 60 nested folders and a closed one": NESTED_FOLDERS,
    "closes its folders and those above": CLOSE_FOLDERS,
    "shared memory of every kind": SHARED_MEMORY,
    "shared memory that makes others wait": LEASES,
    "raises and lowers its own limits": OWN_LIMITS,
    "200 files and 100 folders side by side": "import os\nfor number in range(200):\n    "
        "open(f'file{number}', 'w').close()\n    os.makedirs(f'{number % 100}/in', exist_ok=True)",
    "a shape of 200 KB": SHAPE,
}
UNTIL_STOPPED = {
    "four processes that burn the processor, and sleep": BURN,
    "executes another program": "import os\nos.execv('/bin/sleep', ['sleep', '1000'])",
    "output without lines or an end":
        "import os\nwhile True:\n    os.write(1, b'\\0\\xff' * 30_000)",
}

SYSTEM = tuple(
    Hostile(name, code, returns=WRONG, fails=DIVISION,
            time_limit=0.2 if name in UNTIL_STOPPED else 0.0,
            needs=NO_SIGNALS if code is ATTACKS else "")
    for name, code in {**CODES, **UNTIL_STOPPED}.items())
