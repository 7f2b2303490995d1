"""execute_request: one cell (spec: Execute).

The cell's number came with the request; the gateway counts.  A cell without
top-level await runs through shell.run_cell() inside the running loop, one with
it as a coroutine of the loop.
"""

from __future__ import annotations

import inspect
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import _ringfence
from IPython.core import interactiveshell

from . import environment, wire
from .loop import Interruptible
from .reply import Reply
from .request import Request
from .shell import text_of

if TYPE_CHECKING:
    from .worker import Worker


class _Cell:
    """What an execute_request asks for.  ValueError for content of a wrong kind."""

    def __init__(self, request: Request) -> None:
        content = request.content
        self.code = content.get("code")
        if not isinstance(self.code, str):
            raise ValueError("execute_request: code is missing or no string")
        # As the gateway reads them (gateway/jupyter/request.c): it must agree.
        self.silent = content.get("silent") is True
        self.store_history = not self.silent and content.get("store_history") is not False
        self.allow_stdin = content.get("allow_stdin") is True
        expressions = content.get("user_expressions")
        self.expressions = expressions if isinstance(expressions, dict) else {}
        self.metadata = request.part("metadata")
        self.transformed = ""
        self.failure: Any = None  # sys.exc_info() of the transformation

    def transform(self, shell: Any) -> None:
        """IPython's input transformations; what they raise is shown by the shell later.
        SyntaxError when the code is no Unicode text."""
        _refuse_surrogates(self.code)
        try:
            self.transformed = shell.transform_cell(self.code)
        except Exception:
            self.failure = sys.exc_info()
            self.transformed = self.code

    def arguments(self, function: Any) -> dict[str, Any]:
        """Keyword arguments for run_cell or run_cell_async of this IPython."""
        known = {"cell_id": self.metadata.get("cellId"), "cell_meta": self.metadata}
        given = {"store_history": self.store_history, "silent": self.silent}
        return given | {name: known[name] for name in _extras(function)}


@cache
def _extras(function: Any) -> tuple[str, ...]:
    """Which of the later arguments this IPython knows; by function, not bound method."""
    known = inspect.signature(function).parameters
    return tuple(name for name in ("cell_id", "cell_meta") if name in known)


def _refuse_surrogates(code: str) -> None:
    """SyntaxError if the code holds what is no Unicode text."""
    try:
        code.encode()
    except UnicodeEncodeError as exc:
        before = code[: exc.start]
        line, column = before.count("\n") + 1, exc.start - before.rfind("\n")
        shown = wire.utf8(code.split("\n")[line - 1]).decode()
        message = f"lone surrogate U+{ord(code[exc.start]):04X} in the source"
        raise SyntaxError(message, ("<cell>", line, column, shown)) from None


async def execute(worker: Worker, request: Request) -> Reply:
    """Runs the cell; the reply says how it ended, whatever it did."""
    shell = worker.shell
    started = wire.iso_now()
    cell = _Cell(request)
    shell.begin_cell(request.execution_count)
    worker.before_cell()
    worker.stdin.begin(request.id, cell.allow_stdin)
    worker.orders.begin(request)
    try:
        with environment.during(cell.metadata):
            error, expressions = await _attempt(worker, cell)
    finally:
        worker.orders.end()
        worker.stdin.end()
    if not _ringfence.is_worker():
        leave_child(error)
    payload = _take_payload(shell)
    succeeded = _succeeded(shell, error)
    content: dict[str, Any] | bytes = _NOTHING_TO_SAY % request.execution_count
    if not succeeded or expressions or payload:
        content = _content(shell, request, error)
        content |= {"user_expressions": expressions, "payload": payload}
    metadata = _METADATA % (started.encode(), b"ok" if succeeded else b"error")
    return Reply(content, metadata, cell.transformed, shell.displayhook.result_text)


# JSON of nearly every reply.
_NOTHING_TO_SAY = b'{"status":"ok","execution_count":%d,"user_expressions":{},"payload":[]}'
_METADATA = b'{"started":"%s","dependencies_met":true,"engine":"","status":"%s"}'


def _take_payload(shell: Any) -> list[dict[str, Any]]:
    payload: list[dict[str, Any]] = shell.payload_manager.read_payload()
    if payload:
        shell.payload_manager.clear_payload()
    return payload


def _succeeded(shell: Any, error: BaseException | None) -> bool:
    """A formatter that failed marks the cell as failed, too (as ipykernel 7.3)."""
    return error is None and not shell._traceback_in_displayhook


def _content(shell: Any, request: Request, error: BaseException | None) -> dict[str, Any]:
    content: dict[str, Any] = {"status": "ok", "execution_count": request.execution_count}
    if not _succeeded(shell, error):
        shown = shell._last_error if error is None else None
        ename, evalue = shown or (type(error).__name__, text_of(error))
        content |= {
            "status": "error",
            "ename": ename,
            "evalue": evalue,
            "traceback": shell._last_traceback or [],
        }
    return content


async def _attempt(worker: Worker, cell: _Cell) -> tuple[BaseException | None, dict[str, Any]]:
    """What it raised, if anything, and what its user_expressions are."""
    error, expressions = None, {}
    try:
        worker.interrupts.arm()
        result = await _run(worker, cell)
        error = result.error_before_exec or result.error_in_exec
        if cell.expressions and _ringfence.is_worker() and _succeeded(worker.shell, error):
            expressions = worker.shell.user_expressions(cell.expressions)
    except BaseException as exc:  # what came between IPython's own try blocks
        worker.interrupts.disarm()
        error = exc
        _show(worker.shell, exc)
    worker.interrupts.disarm()
    return error, expressions


async def _run(worker: Worker, cell: _Cell) -> Any:
    """IPython's ExecutionResult of the cell."""
    shell = worker.shell
    cell.transform(shell)
    if shell.loop_runner is interactiveshell._asyncio_runner and shell.should_run_async(
        cell.code, transformed_cell=cell.transformed, preprocessing_exc_tuple=cell.failure
    ):
        return await _run_async(worker, cell)
    if cell.failure is None:
        shell.remember_transformed(cell.code, cell.transformed)
    return shell.run_cell(cell.code, **cell.arguments(type(shell).run_cell))


async def _run_async(worker: Worker, cell: _Cell) -> Any:
    shell = worker.shell
    result = None
    running = Interruptible(
        shell.run_cell_async(
            cell.code,
            transformed_cell=cell.transformed,
            preprocessing_exc_tuple=cell.failure,
            **cell.arguments(type(shell).run_cell_async),
        )
    )
    try:
        worker.interrupts.await_cell(running)
        result = await running
    finally:
        worker.interrupts.arm()
        shell.events.trigger("post_execute")
        if not cell.silent:
            shell.events.trigger("post_run_cell", result)
    return result


def _show(shell: Any, exc: BaseException) -> None:
    """Shows `exc` without the frames of this package at its beginning."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_HERE):
        tb = tb.tb_next
    try:
        shell.showtraceback((type(exc), exc, tb))
    except Exception as failure:
        print(f"{type(exc).__name__}: {text_of(exc)} (not shown: {failure!r})", file=sys.stderr)


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def leave_child(error: BaseException | None) -> None:
    """Ends a child that user code forked and that came back from its cell:
    with SystemExit's code if it raised that, 1 after another error, else 0."""
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    flush_c_streams()
    os._exit(status & 0xFF)


def flush_c_streams() -> None:
    import ctypes

    ctypes.CDLL(None).fflush(None)
