"""sys.stdout and sys.stderr of a worker.

Text goes to the gateway at once, in program order with what the process, C
code and children write to the descriptors 1 and 2 (kernel/worker.h sees to
that).  So nothing is buffered here and flush() has nothing to do.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

import _ringfence

from . import request
from .display import Hook, Hooks

_NAMES = {1: "stdout", 2: "stderr"}


class OutStream(io.TextIOBase):
    """A text stream whose lines reach the client as `stream` messages (spec: Streams)."""

    def __init__(self, fd: int) -> None:
        """`fd`: 1 for stdout, 2 for stderr."""
        self._fd = fd
        self.name = _NAMES[fd]
        self.mode = "w"
        self._hooks = Hooks()

    @property
    def encoding(self) -> str:
        return "UTF-8"

    @property
    def errors(self) -> str:
        return "replace"  # of lone surrogates; all else can be written

    @property
    def line_buffering(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return False

    def write(self, text: str) -> int:
        """Sends `text`; its length in code points.  TypeError unless it is a str."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        sent = self._passed(text) if self._hooks.hooks else text
        if sent:
            _ringfence.stream_write(self._fd, sent, request.current_id())
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The worker needs its streams to the end, so this closes nothing."""

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    # -- what ipykernel's streams have, too

    def _passed(self, text: str) -> str:
        """The text as the hooks let it go."""
        message = self._hooks.passed("stream", {"name": _NAMES[self._fd], "text": text})
        return message["content"]["text"] if message is not None else ""

    def register_hook(self, hook: Hook) -> None:
        """`hook` sees each message of this thread first, and may change or keep it."""
        self._hooks.hooks.append(hook)

    def unregister_hook(self, hook: Hook) -> bool:
        """True if it was registered."""
        return self._hooks.remove(hook)

    @property
    def parent_header(self) -> dict[str, Any]:
        return request.current().part("header")

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Output of this context belongs to `parent` from now on, if it is known."""
        request.set_current(request.find(parent))

    def set_thread_parent(self, parent: dict[str, Any]) -> Any:
        """As set_parent; returns what reset_thread_parent takes."""
        return request.set_current(request.find(parent))

    def reset_thread_parent(self, token: Any) -> None:
        request.reset_current(token)

    def _is_master_process(self) -> bool:
        return _ringfence.is_worker()


def _unbuffered(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    stream = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)  # type: ignore
    stream.mode = "w"  # type: ignore[misc]
    return stream


def install() -> None:
    """Replaces the standard streams of this process.

    sys.__stdout__ and sys.__stderr__ write to the descriptors without a buffer,
    so that no text waits in them when output is put in order or a fork copies it.
    """
    sys.__stdout__ = _unbuffered(1)  # type: ignore[misc]
    sys.__stderr__ = _unbuffered(2)  # type: ignore[misc]
    sys.stdout = OutStream(1)
    sys.stderr = OutStream(2)
