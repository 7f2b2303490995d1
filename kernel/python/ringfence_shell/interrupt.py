"""SIGINT in a worker: an interrupt ends the cell and nothing else.

Three handlers take turns.  Idle, and at the edges of a request, _on_edge
raises nothing: a signal that comes while a request waits in the socket, or is
taken but not yet running, is kept for that request; any other is dropped.
While a request runs it is signal.default_int_handler, which libraries test
for.  While a cell awaits it is _on_await, which never raises inside asyncio:
it cancels the cell, and loop.Interruptible turns that into KeyboardInterrupt
where the cell awaits.

A Python handler instead of SIG_IGN while idle: a child that a background task
starts then would inherit SIG_IGN for ever.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import signal
from _signal import signal as set_handler  # signal.signal() without its enums: 2 us less a call
from types import FrameType
from typing import Protocol

import _ringfence

_SIGINT = int(signal.SIGINT)

_MACHINERY = (
    os.path.dirname(asyncio.__file__) + os.sep,
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    selectors.__file__,
)


class Cancellable(Protocol):
    """A running cell that can be cancelled from a signal handler (loop.Interruptible)."""

    task: asyncio.Task[object]

    def interrupt(self) -> None: ...


class Interrupts:
    """Owns the process's SIGINT handler.  All methods: main thread only."""

    def __init__(self) -> None:
        self._taken = False  # a message is taken from the socket, and no request is armed yet
        self._pending = False
        self._awaiting: Cancellable | None = None
        self._pressed = 0  # while _awaiting

    def install(self) -> None:
        set_handler(_SIGINT, self._on_edge)

    def take(self) -> None:
        """A message is about to be taken, and is there: if it is a request, a signal counts
        for it from here on."""
        self._taken = True

    def drop(self) -> None:
        """What came was no request: a signal is kept for one that waits behind it."""
        self._taken = False
        self._pending = self._pending and _message_waits()

    def arm(self) -> None:
        """From here on a signal raises KeyboardInterrupt; at once if one was kept."""
        set_handler(_SIGINT, signal.default_int_handler)
        self._taken = False
        self._awaiting = None
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def disarm(self) -> None:
        """Back to the edge.  A signal that comes during the call is for a
        request that has run, so it is dropped.  KeyboardInterrupt only from
        the call itself, before the first line: then call it again."""
        while True:
            try:
                set_handler(_SIGINT, self._on_edge)
                break
            except KeyboardInterrupt:
                continue
        self._taken = self._pending = False
        self._awaiting = None

    def await_cell(self, cell: Cancellable) -> None:
        """The armed request is a cell that may await."""
        self._awaiting, self._pressed = cell, 0
        set_handler(_SIGINT, self._on_await)

    def _on_edge(self, signum: int, frame: FrameType | None) -> None:
        if self._taken:
            self._pending = True
        else:
            self._pending = _message_waits()

    def _on_await(self, signum: int, frame: FrameType | None) -> None:
        cell = self._awaiting
        if cell is None:
            return
        self._pressed += 1
        inside = frame is not None and not frame.f_code.co_filename.startswith(_MACHINERY)
        running = _current_task(cell.task)
        if inside and (running is cell.task or self._pressed > 1):
            raise KeyboardInterrupt
        cell.interrupt()


def _message_waits() -> bool:
    try:
        return bool(select.select([_ringfence.fileno()], [], [], 0)[0])
    except (OSError, ValueError):
        return False  # closed: the worker is at its end


def _current_task(task: asyncio.Task[object]) -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task(task.get_loop())
    except RuntimeError:
        return None
