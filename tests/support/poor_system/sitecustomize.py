"""Python as on a system without what POSIX and Linux have; runs as each process starts.

``hyperspec`` sees modules ``os`` and ``signal`` that lack it, and some modules not at all: other
packages, which have ways of their own for Windows, see what is there. Nobody forks, and a file that
this process has open is not replaced, as on Windows.
"""

import builtins
import multiprocessing
import os
import re
import signal
import sys
import types
from pathlib import Path

ABSENT = {
    "os": "preadv pwritev pread pwrite posix_fadvise POSIX_FADV_WILLNEED RWF_NOWAIT link "
    "sched_getaffinity sched_setaffinity getuid geteuid getgid getegid fork forkpty killpg setsid "
    "getpgid setpgid getsid uname getloadavg statvfs fstatvfs sysconf mkfifo nice fchmod fchown "
    "chown O_NOFOLLOW O_CLOEXEC O_DIRECTORY O_NONBLOCK WNOHANG wait3 wait4",
    "signal": "pthread_kill pthread_sigmask SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE "
    "alarm setitimer siginterrupt sigwait pause",
}
BLOCKED = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"}
# Where Linux tells of processes.
HIDDEN = {
    "hyperspec.utils.process": ("_PROC",),
    "hyperspec.training.allocator": ("_CLEAR_REFS", "_STATUS"),
}
REFUSED = 32  # ERROR_SHARING_VIOLATION
_real = {"import": builtins.__import__, "replace": os.replace, "rename": os.rename}


def without(name):
    full = sys.modules[name]
    poor = types.ModuleType(name)
    absent = ABSENT[name].split()
    poor.__dict__.update({key: value for key, value in vars(full).items() if key not in absent})
    return poor


def poor_import(name, names=None, *more, **words):
    names = words.pop("globals", names)
    level = words.get("level", more[2] if len(more) > 2 else 0)
    asks = str((names or {}).get("__name__", "")).partition(".")[0]
    if asks == "hyperspec" and level == 0:
        if name in BLOCKED:
            raise ImportError(f"No module named {name!r}", name=name)
        if name in POOR:
            return POOR[name]
    found = _real["import"](name, names, *more, **words)
    if asks == "hyperspec":
        for module, places in HIDDEN.items():
            for place in places if hasattr(sys.modules.get(module), places[0]) else ():
                setattr(sys.modules[module], place, Path("/nowhere/at/all"))  # written, too
    return found


def is_open(path):
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        return False
    held = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            held.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # the listing's own
            continue
    with open("/proc/self/maps") as maps:
        return real in held or any(line.rstrip().endswith(real) for line in maps)


def moving(kind):
    def move(source, target, **words):
        for path in (source, target):
            if is_open(path):
                error = PermissionError(13, "it is being used by another process", str(path))
                error.winerror = REFUSED
                raise error
        _real[kind](source, target, **words)
        if re.search(os.environ.get("POOR_INTERRUPT") or "(?!)", str(target)):
            del os.environ["POOR_INTERRUPT"]
            _killpg(0, signal.SIGINT)  # as a terminal does: to the whole group

    return move


_killpg = os.killpg
POOR = {name: without(name) for name in ABSENT}
POOR["os"].name = "nt"
builtins.__import__ = poor_import
os.replace, os.rename = moving("replace"), moving("rename")
del os.fork, os.forkpty
multiprocessing.set_start_method("spawn")
