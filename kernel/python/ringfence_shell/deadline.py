"""Answers in time, also about objects whose own code hangs.

Completion and inspection call code of the user's objects (__getattr__, __dir__,
properties).  A timer raises TooLong in the main thread, again and again, since
libraries swallow exceptions there; and when even that does not help, the reply is
sent from the signal's handler.  Code in C that does not look for signals is not
stopped.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import reply
from .request import Request

_AGAIN = 0.03  # seconds between two exceptions
_LATEST = 0.85  # seconds after which the reply goes out whatever happens


class TooLong(BaseException):
    """The time is over.  No Exception, so that few swallow it."""


class _Timer:
    def __init__(self, request: Request, nothing: dict[str, Any]) -> None:
        self._request, self._nothing = request, nothing
        self._begun = time.monotonic()
        self._armed = False

    def _on_alarm(self, signum: int, frame: object) -> None:
        if not self._armed:
            return
        # Without an id a checkpoint answers, which the gateway does not wait for.
        if self._request.id and time.monotonic() - self._begun > _LATEST:
            reply.send(self._request, reply.Reply(self._nothing))
        raise TooLong

    def limit(self, seconds: float, compute: Callable[[], Any]) -> Any:
        """compute()'s value, or None when it took longer."""
        value = None
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
            value = compute()
        except TooLong:
            pass
        while self._armed:
            try:
                self._armed = False
            except TooLong:
                pass
        return value


def answer(
    request: Request,
    attempts: Sequence[tuple[float, Callable[[], Any]]],
    nothing: dict[str, Any],
) -> dict[str, Any]:
    """The value of the first function that comes back within its seconds; `nothing` if
    none does.  The user's own SIGALRM and timer are put back."""
    timer = _Timer(request, nothing)
    handler = signal.signal(signal.SIGALRM, timer._on_alarm)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        values = (timer.limit(seconds, compute) for seconds, compute in attempts)
        return next((value for value in values if value is not None), nothing)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            used = time.monotonic() - timer._begun
            signal.setitimer(signal.ITIMER_REAL, max(left - used, 1e-6), interval)
