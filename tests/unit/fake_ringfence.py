"""A stand-in for the C module _ringfence, for tests of ringfence_shell without C.

The same functions with the same promises, on a stream socket to the harness
(shell_harness.py).  A message is "<BQI": type, request id, number of parts;
then the length of each part as "<I" and the parts.  Run as a program it is a
zygote: it puts itself in the place of _ringfence and calls the zygote's main.
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

MSG_REQUEST = 1
MSG_INPUT_REPLY = 2
MSG_CHECKPOINT = 3
MSG_EXIT = 4
MSG_RESUME = 8
MSG_ANSWER = 10
MSG_HELLO = 16
MSG_REPLY = 17
MSG_PUBLISH = 18
MSG_STREAM = 19
MSG_INPUT_REQUEST = 20
MSG_CHECKPOINTED = 22
MSG_ORDERED = 5
MSG_ORDER = 23
MSG_TIMING = 99  # of this stand-in alone: ns from the fork to HELLO

SOCKET, FENCE, CRASH, TEXT, LAST = 3, 4, 5, 6, 7  # as in kernel/worker.h
HEAD = struct.Struct("<BQI")
LENGTH = struct.Struct("<I")

_pid = 0  # of the worker
_served_at = 0
_lock = threading.Lock()
_received = bytearray()
_checkpoints = ""  # folder of their sockets
_spawned = {}


def pack(kind, about, parts):
    blocks = [bytes(memoryview(part).cast("B")) for part in parts]
    return b"".join(
        [HEAD.pack(kind, about, len(blocks)), *(LENGTH.pack(len(b)) for b in blocks), *blocks]
    )


def needed(data):
    """How long `data` must be before more can be said; its length: it is a message."""
    if len(data) < HEAD.size:
        return HEAD.size
    n = HEAD.unpack_from(data)[2]
    at = HEAD.size + n * LENGTH.size
    if len(data) < at:
        return at
    return at + sum(LENGTH.unpack_from(data, HEAD.size + i * LENGTH.size)[0] for i in range(n))


def unpack(data):
    """(message or None, bytes used)"""
    length = 0
    while length < needed(data[:length]):
        length = needed(data[:length])
        if len(data) < length:
            return None, 0
    kind, about, n = HEAD.unpack_from(data)
    at, parts = HEAD.size + n * LENGTH.size, []
    for i in range(n):
        size = LENGTH.unpack_from(data, HEAD.size + i * LENGTH.size)[0]
        parts.append(bytes(data[at : at + size]))
        at += size
    return (kind, about, parts), length


def recv(timeout_ms=-1):
    """Reads no byte of the next message, so that fileno() tells whether there is one."""
    wait = None if timeout_ms < 0 else timeout_ms / 1000
    while len(_received) < needed(_received):
        if not select.select([SOCKET], [], [], wait)[0]:
            return None
        chunk = os.read(SOCKET, needed(_received) - len(_received))
        if not chunk:
            raise EOFError("the gateway closed the worker's socket")
        _received.extend(chunk)
    message, used = unpack(_received)
    del _received[:used]
    return message


def fileno():
    return SOCKET


def is_worker():
    return os.getpid() == _pid


def send(kind, about, parts):
    if os.getpid() != _pid:  # whatever a rehearsal has put in the place of is_worker()
        return
    if kind == MSG_HELLO and _served_at:
        spent = time.perf_counter_ns() - _served_at
        _write(pack(MSG_TIMING, 0, [str(spent).encode()]))
    _write(pack(kind, about, parts))


def _write(data):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _lock:
            view = memoryview(data)
            while view:
                view = view[os.write(SOCKET, view) :]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def stream_write(fd, text, about):
    if not isinstance(text, str):
        raise TypeError("text must be str")
    data = text.encode("utf-8", "replace")
    if is_worker():
        _write(pack(MSG_STREAM, about, [b"stdout" if fd == 1 else b"stderr", data]))
    else:
        os.write(fd, data)


def renew_loop(epoll, reading, writing):
    with select.epoll() as fresh:
        os.dup2(fresh.fileno(), epoll, inheritable=False)
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    for end, fd in zip(socket.socketpair(type=kind), (reading, writing)):
        os.dup2(end.fileno(), fd, inheritable=False)
        end.close()
    with select.epoll.fromfd(os.dup(epoll)) as watching:
        watching.register(reading, select.EPOLLIN)


def gather():
    """Nothing to put together."""


def checkpoint(checkpoint_id, reason, spared):
    """The copy listens on a socket in the checkpoints' folder; each connection
    brings 8 bytes of generation and becomes a new worker's socket."""
    global _pid, _served_at
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(_checkpoints, str(checkpoint_id)))
    listener.listen()
    pid = os.fork()
    if pid:
        listener.close()
        send(MSG_CHECKPOINTED, checkpoint_id, [str(pid).encode(), b"0", b"0", b"full", b""])
        return None
    os.close(SOCKET)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    os.setsid()
    _served_at = time.perf_counter_ns()
    generation = struct.unpack("<Q", connection.recv(8))[0]
    os.dup2(connection.detach(), SOCKET)
    listener.close()
    _received.clear()
    _pid = os.getpid()
    return MSG_RESUME, generation, []


def take_snapshot():
    raise OSError("this stand-in has no memory of its own")


def zygote_serve(listen_fd, direct, keeper_path, idle_s, renew_s, preload, watch, imports):
    global _spawned
    assert isinstance(keeper_path, bytes) and all(
        isinstance(path, bytes) for path in [*watch, *imports])
    listener = socket.socket(fileno=listen_fd)
    while True:
        connection, _ = listener.accept()
        data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not data:
            sys.exit()
        asked = json.loads(data)
        if "wait" in asked:
            status = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
            connection.sendall(str(status).encode())
            connection.close()
            continue
        if os.fork() == 0:
            break
        connection.close()
        for fd in fds:
            os.close(fd)
    listener.close()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (connection.detach(), *fds)]
    for fd in fds:
        os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for place in range(SOCKET, LAST + 1):  # a spare keeps these numbers for later
        os.dup2(null, place)
    if null > LAST:
        os.close(null)
    _spawned = {"asked": asked, "connection": socket.socket(fileno=high[0]), "fds": high[1:]}


def is_asked():
    """A worker of this stand-in is made when it is asked for; say otherwise, so
    that it prepares itself as a spare one does."""
    return False


def await_spawn():
    global _pid, _served_at, _checkpoints
    _served_at = time.perf_counter_ns()
    asked, connection, fds = _spawned["asked"], _spawned["connection"], _spawned["fds"]
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    given = {SOCKET: connection.fileno(), 1: fds[0], 2: fds[1], CRASH: fds[2]}
    given |= {place: null for place in (FENCE, TEXT, LAST)}
    high = {place: fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for place, fd in given.items()}
    for fd in (null, connection.detach(), *fds):
        os.close(fd)
    for place, fd in high.items():
        os.dup2(fd, place)
        os.close(fd)
    _pid, _checkpoints = os.getpid(), asked["checkpoints"]
    return {
        "generation": asked["generation"],
        "environ": "".join(f"{k}={v}\0" for k, v in asked["environ"].items()).encode(),
        "argv": asked["argv"],
        "crash_fd": CRASH,
    }


def confine():
    os.chdir(_spawned["asked"]["cwd"])


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path not in ("", here)]
    sys.path.append(os.path.join(here, "..", "..", "kernel", "python"))
    sys.modules["_ringfence"] = sys.modules["__main__"]
    from ringfence_shell.zygote import main

    main(sys.argv[1:])
