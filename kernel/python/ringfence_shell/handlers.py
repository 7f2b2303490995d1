"""The requests other than cells, and the table of all of them.

kernel_info, history, shutdown and interrupt are the gateway's and never come
here.  A handler returns the reply's content; what it raises becomes an error
reply.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import provisionalcompleter, rectify_completions
from IPython.utils.tokenutil import token_at_cursor

from . import comms, deadline
from .request import Request

if TYPE_CHECKING:
    from .worker import Worker

Content = dict[str, Any]

_TYPES = "_jupyter_types_experimental"


def _code(content: Content) -> str:
    code = content.get("code")
    if not isinstance(code, str):
        raise ValueError("code is missing or no string")
    return code


def _cursor(content: Content, code: str) -> int:
    """cursor_pos in code points, inside the code; its end when absent or null."""
    cursor = content.get("cursor_pos")
    if not isinstance(cursor, int):
        return len(code)
    return max(0, min(cursor, len(code)))


def complete(worker: Worker, request: Request) -> Content:
    """complete_request (spec: Completion)."""
    code = _code(request.content)
    cursor = _cursor(request.content, code)
    completer = worker.shell.Completer

    def without_jedi() -> Content:
        completer.use_jedi, uses = False, completer.use_jedi
        try:
            return _completions(completer, code, cursor)
        finally:
            completer.use_jedi = uses

    attempts = [(0.5, lambda: _completions(completer, code, cursor)), (0.2, without_jedi)]
    return deadline.answer(request, attempts, _matches([], cursor))


def _completions(completer: Any, code: str, cursor: int) -> Content:
    with provisionalcompleter():
        raw = completer.completions(code, cursor)
        return _matches(list(rectify_completions(code, raw)), cursor)


def _matches(found: list[Any], cursor: int) -> Content:
    types = [
        {"start": c.start, "end": c.end, "text": c.text, "type": c.type, "signature": c.signature}
        for c in found
    ]
    return {
        "status": "ok",
        "matches": [c.text for c in found],
        "cursor_start": found[0].start if found else cursor,
        "cursor_end": found[0].end if found else cursor,
        "metadata": {_TYPES: types},
    }


def inspect_request(worker: Worker, request: Request) -> Content:
    """inspect_request (spec: Introspection)."""
    content, shell = request.content, worker.shell
    code = _code(content)
    name = token_at_cursor(code, _cursor(content, code))
    level = content.get("detail_level", 0)
    arguments: Content = {"detail_level": level if level in (0, 1) else 0}
    known = inspect.signature(shell.object_inspect_mime).parameters
    if "omit_sections" in known and isinstance(content.get("omit_sections"), list):
        arguments["omit_sections"] = content["omit_sections"]
    attempts = [(0.7, lambda: _inspection(shell, name, arguments))]
    return deadline.answer(request, attempts, _NOT_FOUND)


_NOT_FOUND: Content = {"status": "ok", "found": False, "data": {}, "metadata": {}}


def _inspection(shell: Any, name: str, arguments: Content) -> Content:
    try:
        data = dict(shell.object_inspect_mime(name, **arguments))
    except KeyError:
        return _NOT_FOUND
    if not shell.enable_html_pager:
        data.pop("text/html", None)
    return {"status": "ok", "found": True, "data": data, "metadata": {}}


def is_complete(worker: Worker, request: Request) -> Content:
    """is_complete_request (spec: Code completeness)."""
    manager = worker.shell.input_transformer_manager
    status, indent = manager.check_complete(_code(request.content))
    content: Content = {"status": status}
    if status == "incomplete":
        content["indent"] = " " * (indent or 0)
    return content


def comm_info(worker: Worker, request: Request) -> Content:
    """comm_info_request (spec: Comm info)."""
    return {"status": "ok", "comms": comms.info(request.content.get("target_name"))}


def comm_message(worker: Worker, request: Request) -> Content:
    """comm_open, comm_msg, comm_close: no reply for the client, only for the gateway."""
    comms.on_message(request)
    return {"status": "ok"}


HANDLERS: dict[str, Callable[[Worker, Request], Content]] = {
    "complete_request": complete,
    "inspect_request": inspect_request,
    "is_complete_request": is_complete,
    "comm_info_request": comm_info,
    "comm_open": comm_message,
    "comm_msg": comm_message,
    "comm_close": comm_message,
}
