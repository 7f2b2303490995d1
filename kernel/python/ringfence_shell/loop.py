"""The asyncio event loop of the worker's main thread.

There is one, made when first needed.  Every request is handled inside it, so
that a cell sees a running loop as it does in ipykernel; between requests it
runs only while something is scheduled on it or watched by it, else the worker
sleeps in poll().  A thread that calls loop.call_soon_threadsafe() wakes it
through the loop's self-pipe.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import _ringfence


class Interruptible:
    """Awaits a coroutine; interrupt() raises KeyboardInterrupt where it awaits.

    A task can only be cancelled; this turns the CancelledError that follows
    interrupt() into KeyboardInterrupt before the coroutine sees it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """To be made and awaited inside a task."""
        self._coroutine = coroutine
        self._interrupted = False
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task

    def interrupt(self) -> None:
        """From the main thread's signal handler."""
        self._interrupted = True
        self.task.cancel()
        self.task.get_loop().call_soon_threadsafe(_nothing)  # ends the wait in select()

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                waited = step(value)
            except StopIteration as stop:
                return stop.value
            try:
                value = yield waited
                step = self._coroutine.send
            except BaseException as exc:
                meant = self._meaning(exc).with_traceback(None)  # this frame is nobody's business
                step, value = self._coroutine.throw, meant

    def _meaning(self, exc: BaseException) -> BaseException:
        if self._interrupted and isinstance(exc, asyncio.CancelledError):
            self._interrupted = False
            self.task.uncancel()
            return KeyboardInterrupt()
        return exc


def _nothing() -> None:
    pass


_PLAIN_LOOP = asyncio.SelectorEventLoop  # CPython's own, whose parts are known


_FIRST_FD = 8  # below are those that a worker is given (kernel/worker.h)


class CellLoop:
    """Owns the loop and the context in which all cells run."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.copy_context()  # ContextVars last from cell to cell
        self._poll: select.poll | None = None
        os.register_at_fork(after_in_child=self._after_fork_in_child)

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, made if there is none, and current in this thread."""
        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            self._poll = None
        return loop

    def prepare(self) -> None:
        """In the zygote: a loop that the workers inherit.  Making one takes a worker longer
        than a cell."""
        held = []
        while (fd := os.open(os.devnull, os.O_RDONLY)) < _FIRST_FD:
            held.append(fd)
        self.get()
        for each in (fd, *held):
            os.close(each)

    def keep_plain(self) -> None:
        """In the zygote, after the last rehearsal: of another kind none is inherited."""
        loop: Any = self._loop
        if type(loop) is not _PLAIN_LOOP or type(loop._selector) is not selectors.EpollSelector:
            self.close()

    def take_over(self) -> None:
        """In a process forked from the zygote: its descriptors were shared."""
        loop: Any = self._loop
        if loop is not None and not loop.is_closed():
            ends = loop._selector.fileno(), loop._ssock.fileno(), loop._csock.fileno()
            _ringfence.renew_loop(*ends)
            asyncio.set_event_loop(loop)  # since 3.12 a fork has none

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a request to its end.  Raises what it raises; KeyboardInterrupt
        only when it came outside of the coroutine's own care."""
        loop = self.get()
        task = loop.create_task(coroutine, context=self._context)
        while True:
            try:
                self._step_at_once(loop, task)
                if task.done():
                    return task.result()
                return loop.run_until_complete(task)
            except (RuntimeError, KeyboardInterrupt, SystemExit):
                # Stopped by user code (loop.stop()), or by an exception in
                # another task or callback: the request goes on.
                if task.done() or loop.is_closed() or not _ringfence.is_worker():
                    raise

    @staticmethod
    def _step_at_once(loop: Any, task: asyncio.Task[None]) -> None:
        """Runs what alone is ready as loop.run_forever() does, but without the two turns of
        the loop around it: a request that awaits nothing is done then, and most await
        nothing.  Does nothing where something else is to run before."""
        if type(loop) is not _PLAIN_LOOP or len(loop._ready) != 1 or loop.get_debug():
            return
        hooks = sys.get_asyncgen_hooks()
        loop._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(loop._asyncgen_firstiter_hook, loop._asyncgen_finalizer_hook)
        asyncio._set_running_loop(loop)
        try:
            loop._ready.popleft()._run()
        finally:
            loop._stopping = False
            loop._thread_id = None
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
        if not task.done() and not _ringfence.is_worker():
            raise RuntimeError("a child of user code goes on with no request")

    def wait(self) -> None:
        """Returns when a message may be read; meanwhile the loop runs if it has work."""
        while True:
            if self._loop is None or self._loop.is_closed():
                select.select([_ringfence.fileno()], [], [])
                return
            if self._has_work(self._loop):
                if self._run_until_message(self._loop):
                    return
            elif self._sleep(self._loop):
                return

    def is_idle(self) -> bool:
        """No task or callback of the user's waits to go on."""
        loop = self._loop
        return loop is None or loop.is_closed() or not self._has_work(loop)

    @staticmethod
    def _has_work(loop: Any) -> bool:
        try:
            # The selector watches the loop's own self-pipe at least.
            return bool(loop._ready or loop._scheduled or len(loop._selector.get_map()) > 1)
        except AttributeError:
            return True  # another kind of loop: only running it can tell

    def _sleep(self, loop: Any) -> bool:
        """Waits for a message (True) or for something to do in the loop (False)."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(_ringfence.fileno(), select.POLLIN)
            self._poll.register(loop._ssock.fileno(), select.POLLIN)
        fds = [fd for fd, _ in self._poll.poll()]
        if _ringfence.fileno() in fds:
            return True
        self._turn(loop)
        return False

    @staticmethod
    def _turn(loop: asyncio.AbstractEventLoop) -> None:
        """One turn of the loop, for what woke it."""
        loop.call_soon(loop.stop)
        CellLoop._run_forever(loop)

    @staticmethod
    def _run_until_message(loop: asyncio.AbstractEventLoop) -> bool:
        """Runs the loop until a message can be read (True) or something stopped it."""
        readable = False

        def on_readable() -> None:
            nonlocal readable
            readable = True
            loop.stop()

        loop.add_reader(_ringfence.fileno(), on_readable)
        CellLoop._run_forever(loop)
        if not _ringfence.is_worker():
            return True  # a child shares the selector: it must not touch it
        loop.remove_reader(_ringfence.fileno())
        return readable

    @staticmethod
    def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        except BaseException:  # SystemExit of a background task must not end the worker
            traceback.print_exc()

    def _after_fork_in_child(self) -> None:
        """A child that user code forked must not run what is scheduled a second time."""
        loop = self._loop
        if loop is not None and loop.is_running() and not _ringfence.is_worker():
            loop.stop()

    def renew(self) -> None:
        """After a resume: selector and self-pipe were shared with the process that
        was copied; new ones take over what user code had registered."""
        loop: Any = self._loop
        self._poll = None
        if loop is None or loop.is_closed() or not hasattr(loop, "_selector"):
            return
        old, old_pair = loop._selector, (loop._ssock, loop._csock)
        fresh = selectors.DefaultSelector()
        for key in list(old.get_map().values()):
            if key.fd == old_pair[0].fileno():
                continue
            try:
                fresh.register(key.fileobj, key.events, key.data)
            except (OSError, ValueError):
                pass  # closed meanwhile, or nothing that epoll takes
        loop._selector = fresh
        loop._stopping = False
        loop._internal_fds -= 1
        loop._make_self_pipe()
        if getattr(loop, "_signal_handlers", None):
            signal.set_wakeup_fd(loop._csock.fileno())
        if sys.version_info >= (3, 12):  # a fork has forgotten it
            asyncio.set_event_loop(loop)
        old.close()
        for end in old_pair:
            end.close()

    def close(self) -> None:
        """At the end of the worker: cancels what still runs, so that it can clean up."""
        loop = self._loop
        if loop is None or loop.is_closed() or loop.is_running():
            return
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except Exception:
            traceback.print_exc()
        finally:
            loop.close()
