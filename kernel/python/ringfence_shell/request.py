"""The client request that is being handled, and which one output belongs to.

Output finds its request through a ContextVar, so that an asyncio task prints
to the cell that made it; a plain thread has no value there and prints to the
newest request (as ipykernel 7.1 and later).  The messaging spec calls the
request the parent of its output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any

from . import wire

_REMEMBERED = 1024  # as many headers as the gateway keeps (RF_PARENTS_MAX)


class Request:
    """One RF_MSG_REQUEST.  JSON is read when it is first asked for."""

    __slots__ = (
        "id", "msg_type", "execution_count", "raw", "buffers", "reply", "answered", "_parsed"
    )

    def __init__(self, request_id: int, parts: list[bytes]) -> None:
        """`parts` as in ringfence/worker.h; ValueError when some are missing."""
        if len(parts) < 5:
            raise ValueError(f"a request has at least 5 parts, this one {len(parts)}")
        self.id = request_id
        self.msg_type = parts[0].decode("utf-8", "replace")
        self.execution_count = int(parts[1] or b"0")
        self.raw = {"header": parts[2], "metadata": parts[3], "content": parts[4]}
        self.buffers = parts[5:]
        self.reply: Any = None  # set once there is one
        self.answered = False  # it was sent
        self._parsed: dict[str, dict[str, Any]] = {}

    def part(self, name: str) -> dict[str, Any]:
        """header, metadata or content; ValueError when it is no JSON object."""
        value = self._parsed.get(name)
        if value is None:
            value = self._parsed[name] = wire.loads_object(self.raw[name])
        return value

    @property
    def content(self) -> dict[str, Any]:
        return self.part("content")

    def message(self) -> dict[str, Any]:
        """The request as jupyter_client would give it, for code that asks for a parent."""
        header = self.part("header")
        return {
            "header": header,
            "msg_id": header.get("msg_id", ""),
            "msg_type": header.get("msg_type", self.msg_type),
            "parent_header": {},
            "metadata": self.part("metadata"),
            "content": self.content,
            "buffers": [memoryview(b) for b in self.buffers],
        }

    def forget(self) -> None:
        """Lets go of content and buffers; the header stays for late output."""
        self.raw = {"header": self.raw["header"], "metadata": wire.EMPTY, "content": wire.EMPTY}
        self.buffers = []
        header = self._parsed.get("header")
        self._parsed = {"header": header} if header is not None else {}


NOBODY = Request(0, [b"", b"0", wire.EMPTY, wire.EMPTY, wire.EMPTY])

_current: ContextVar[Request] = ContextVar("ringfence_request")
_latest = NOBODY
_recent: deque[Request] = deque(maxlen=_REMEMBERED)


def current() -> Request:
    """The request that output of the calling code belongs to; id 0 before the first."""
    return _current.get(_latest)


def current_id() -> int:
    return _current.get(_latest).id


def enter(request: Request) -> None:
    """Makes `request` the newest, and the current one of this context."""
    global _latest
    if _recent:
        _recent[-1].forget()
    _recent.append(request)
    _latest = request
    _current.set(request)


def set_current(request: Request) -> Token[Request]:
    return _current.set(request)


def reset_current(token: Token[Request]) -> None:
    _current.reset(token)


def find(parent: Mapping[str, Any] | None) -> Request:
    """The request with the header of the message `parent`; else the current one."""
    header = (parent or {}).get("header", parent) or {}
    msg_id = header.get("msg_id") if isinstance(header, Mapping) else None
    if msg_id:
        for request in reversed(_recent):
            if request.part("header").get("msg_id") == msg_id:
                return request
    return current()
