"""input() and getpass() through the client (spec: Messages on the stdin channel)."""

from __future__ import annotations

import builtins
import getpass
import threading
import time
from collections import deque
from typing import Any

import _ringfence
from IPython.core.error import StdinNotImplementedError

from . import wire

_POLL_MS = 50  # how long a thread other than the main one holds the socket at a time
_PAUSE_S = 0.001  # and then leaves it: a lock does not go to who has waited for it

Message = tuple[int, int, list[bytes]]


class Stdin:
    """Asks the client for text while a cell runs.

    `queue` is the worker's: what arrives meanwhile and is no answer goes there.
    """

    def __init__(self, queue: deque[Message]) -> None:
        self._queue = queue
        self._allowed = False
        self._request: int | None = None  # of the cell that runs
        self._saved: tuple[Any, Any] = builtins.input, getpass.getpass
        self.renew()

    def renew(self) -> None:
        """Also after a fork: a thread that is no more may have held it."""
        self.socket = threading.RLock()  # of whoever reads from the worker's socket

    def begin(self, request_id: int, allowed: bool) -> None:
        """Puts our functions in the place of Python's until end() of that request's cell."""
        self._saved = builtins.input, getpass.getpass
        self._allowed, self._request = allowed, request_id
        builtins.input, getpass.getpass = self.input, self.getpass

    def end(self) -> None:
        builtins.input, getpass.getpass = self._saved
        with self.socket:  # a thread that waits for an answer gives up first
            self._request = None

    def input(self, prompt: object = "", /) -> str:
        """Python's input(): EOFError if the client says so, KeyboardInterrupt,
        StdinNotImplementedError if the client takes no input requests."""
        __tracebackhide__ = True
        return self._ask("input", str(prompt), password=False)

    def getpass(self, prompt: str = "Password: ", stream: Any = None, **kwargs: Any) -> str:
        """Python's getpass.getpass(); stream and echo_char have no meaning here."""
        __tracebackhide__ = True
        return self._ask("getpass", str(prompt), password=True)

    def _ask(self, function: str, prompt: str, password: bool) -> str:
        __tracebackhide__ = True
        if not self._allowed:
            raise StdinNotImplementedError(
                f"{function} was called, but this frontend does not support input requests."
            )
        content = wire.dumps({"prompt": prompt, "password": password})
        with self.socket:
            # Only the cell that runs may ask, also for tasks and threads of others.
            request_id = self._cell()
            self._drop_stale()
            _ringfence.send(_ringfence.MSG_INPUT_REQUEST, request_id, [content])
        value = self._answer(request_id)
        if value == "\x04":
            raise EOFError
        return value

    def _cell(self) -> int:
        if self._request is None:
            raise EOFError("the cell that asked for input has ended")
        return self._request

    def _drop_stale(self) -> None:
        """Drops answers to questions that were interrupted."""
        while (message := _ringfence.recv(0)) is not None:
            if message[0] != _ringfence.MSG_INPUT_REPLY:
                self._queue.append(message)

    def _answer(self, request_id: int) -> str:
        __tracebackhide__ = True
        main = threading.current_thread() is threading.main_thread()
        while True:
            with self.socket:
                self._cell()
                message = _ringfence.recv(-1 if main else _POLL_MS)
            if message is None:
                time.sleep(_PAUSE_S)
                continue
            kind, about, parts = message
            if kind != _ringfence.MSG_INPUT_REPLY:
                self._queue.append(message)
                if kind == _ringfence.MSG_EXIT:
                    raise KeyboardInterrupt("the kernel is shutting down")
            elif about == request_id:
                return _value(parts)


def _value(parts: list[bytes]) -> str:
    try:
        value = wire.loads_object(parts[0]).get("value", "")
    except (IndexError, ValueError):
        return ""
    return value if isinstance(value, str) else str(value)
