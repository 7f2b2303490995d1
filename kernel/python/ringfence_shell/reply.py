"""What a request is answered with: the parts of RF_MSG_REPLY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import _ringfence

from . import wire
from .request import Request
from .shell import text_of


@dataclass(slots=True)
class Reply:
    """`content` has "status"; `source` and `text` are for the history."""

    content: dict[str, Any] | bytes  # bytes: JSON already
    metadata: bytes = wire.EMPTY
    source: str = ""  # the cell as it was compiled
    text: str = ""  # text/plain of its result


def error(exc: BaseException, **more: Any) -> Reply:
    """A reply that says what was raised (spec: Request-Reply)."""
    content = {
        "status": "error",
        "ename": type(exc).__name__,
        "evalue": text_of(exc),
        "traceback": [],
    }
    return Reply(content | more)


def send(request: Request, reply: Reply) -> None:
    """Sends the reply, or an error reply if it cannot be written or is too large; only
    the first of a request goes out."""
    if request.answered:
        return
    request.answered = True
    try:
        _ringfence.send(_ringfence.MSG_REPLY, request.id, parts(reply))
    except (TypeError, ValueError) as exc:
        count = {"execution_count": request.execution_count}
        failed = error(exc, **count if request.msg_type == "execute_request" else {})
        _ringfence.send(_ringfence.MSG_REPLY, request.id, parts(failed))


def parts(reply: Reply) -> list[bytes]:
    """ValueError or TypeError when it cannot be written."""
    content = reply.content
    if not isinstance(content, bytes):
        content = wire.dumps(content)
    return [content, reply.metadata, wire.utf8(reply.source), wire.utf8(reply.text)]
