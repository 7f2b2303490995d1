"""What a process must put right after it was forked, and before it is copied.

After every fork the children share all that the parent had computed: seeds,
entropy, names for temporary files.  Each function here is cheap when the
module in question was never imported.
"""

from __future__ import annotations

import gc
import io
import os
import resource
import stat
import sys
import time
import weakref
from collections.abc import Iterable
from fcntl import F_GETFL, fcntl
from typing import Any

from .shell import ENVIRONMENT

_FIRST_USER_FD = 8  # below are the standard streams and the worker's own (kernel/worker.h)


def reseed() -> None:
    """New randomness for everything that would repeat another process's.  (The module
    random sees to itself.)  Nothing is written that need not be: pages are shared."""
    loaded = sys.modules
    if (numpy_random := loaded.get("numpy.random")) is not None:
        numpy_random.seed()
    if (tempfile := loaded.get("tempfile")) is not None and tempfile._name_sequence:
        # It notices a fork by the pid, and pids repeat across pid namespaces.
        tempfile._name_sequence = None
    if (uuid := loaded.get("uuid")) is not None and uuid._last_timestamp:
        uuid._last_timestamp = None
    if os.getpid() in _known and (ssl := loaded.get("_ssl")) is not None:
        ssl.RAND_add(os.urandom(32), 0.0)  # OpenSSL, too, notices a fork by the pid
    _known.add(os.getpid())
    if (process := loaded.get("multiprocessing.process")) is not None:
        process.current_process().authkey = os.urandom(32)


def warm() -> None:
    """In the zygote: what costs much at its first call and little after a fork."""
    reseed()
    if (ssl := sys.modules.get("_ssl")) is not None:
        ssl.RAND_bytes(1)  # OpenSSL sets itself up


_known = {os.getpid()}  # of this process and those that it comes of


def apply_environment(block: bytes) -> None:
    """Makes os.environ what the client had (NAME=value, each ended by NUL), with
    the variables that a kernel sets, as ipykernel does."""
    wanted: dict[bytes, bytes] = {}
    for item in block.split(b"\0"):
        name, separator, value = item.partition(b"=")
        if name and separator:
            wanted[name] = value
    wanted |= _ENVIRONMENT
    wanted.setdefault(b"MPLBACKEND", b"module://matplotlib_inline.backend_inline")
    old = dict(os.environb)
    for name in old.keys() - wanted.keys():
        del os.environb[name]
    for name, value in wanted.items():
        if old.get(name) != value:
            os.environb[name] = value
    if wanted.get(b"TZ") != old.get(b"TZ"):
        time.tzset()
    if any(wanted.get(name) != old.get(name) for name in _LOCALE):
        _set_locale()


_ENVIRONMENT = {name.encode(): value.encode() for name, value in ENVIRONMENT.items()}
_LOCALE = (b"LC_ALL", b"LC_CTYPE", b"LANG")


def _set_locale() -> None:
    import locale

    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        print("ringfence: the locale of the environment is not installed", file=sys.stderr)


def flush_files() -> None:
    """Before a checkpoint: writes out what Python holds in the buffers of files.

    Else both the worker and whatever resumes from the copy would write it.
    Looking for file objects costs some 45 ns for each object of the session
    (measured: 9 ms for 200,000 lists), so it is done only when a regular file
    is open for writing that was not found before.  Pipes and sockets are left
    alone: a flush could block.
    """
    wanted = set(filter(_is_writable_file, open_fds()))
    if wanted - {fd for fd, _ in _found(_files, wanted)}:
        _files.update(thing for _, thing in _found(gc.get_objects(), wanted))
    for _, thing in _found(_files, wanted):
        try:
            thing.flush()
        except Exception:
            pass  # a full disk: the file's owner will see it, too


_files: weakref.WeakSet[Any] = weakref.WeakSet()  # file objects that were found


def _found(things: Iterable[Any], fds: set[int]) -> list[tuple[int, Any]]:
    """The file objects among `things` that write to one of `fds`."""
    found = []
    for thing in [thing for thing in things if type(thing) in _BUFFERED]:
        try:
            if thing.fileno() in fds:
                found.append((thing.fileno(), thing))
        except Exception:
            pass  # closed, detached, or around an object of the user's that has none
    return found


_BUFFERED: tuple[Any, ...] = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def open_fds() -> list[int]:
    """Descriptors that are not the worker's own."""
    try:
        fds = map(int, os.listdir("/proc/self/fd"))
    except OSError:  # user code has used up all numbers: none left to look with
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        fds = range(min(soft, 65536))
    return [fd for fd in fds if fd >= _FIRST_USER_FD]


def _is_writable_file(fd: int) -> bool:
    try:
        writable = fcntl(fd, F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        return writable and stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
