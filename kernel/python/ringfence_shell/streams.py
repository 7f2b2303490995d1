"""sys.stdout and sys.stderr of a worker.

Text goes to the gateway at once, in program order with what the process, C
code and children write to the descriptors 1 and 2 (kernel/worker.h sees to
that).  So nothing is buffered here and flush() has nothing to do.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

import _ringfence

from . import request

_NAMES = {1: "stdout", 2: "stderr"}


class OutStream(io.TextIOBase):
    """A text stream whose lines reach the client as `stream` messages (spec: Streams)."""

    def __init__(self, fd: int) -> None:
        """`fd`: 1 for stdout, 2 for stderr."""
        self._fd = fd
        self.name = f"<{_NAMES[fd]}>"
        self.mode = "w"

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
        if text:
            _ringfence.stream_write(self._fd, text, request.current_id())
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
