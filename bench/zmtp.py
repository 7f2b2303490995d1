"""Connections to ZeroMQ sockets without a library: plain TCP and ZMTP 3.0 (RFC 23).

pyzmq hands each message to a thread of its own and back, which takes longer than a short
cell does.  Only what a round trip needs: the NULL handshake, messages out, bytes in.
"""

import socket
import struct

_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)


def framed(frames):
    """The bytes of a multipart message."""
    parts = []
    for at, frame in enumerate(frames, 1):
        more = at < len(frames)
        if len(frame) < 256:
            parts.append(struct.pack(">BB", more, len(frame)))
        else:
            parts.append(struct.pack(">BQ", 2 | more, len(frame)))
        parts.append(frame)
    return b"".join(parts)


def _exactly(sock, count):
    got = b""
    while len(got) < count:
        some = sock.recv(count - len(got))
        if not some:
            raise EOFError("the kernel closed the connection")
        got += some
    return got


def connect(address, socket_type):
    """A blocking socket whose handshake is done."""
    sock = socket.create_connection(address, 20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_GREETING)
    _exactly(sock, len(_GREETING))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type
    sock.sendall(struct.pack(">BB", 4, len(ready)) + ready)
    _, length = _exactly(sock, 2)
    _exactly(sock, length)
    return sock


def subscribe(sock):
    """To everything."""
    sock.sendall(b"\x00\x01\x01")
