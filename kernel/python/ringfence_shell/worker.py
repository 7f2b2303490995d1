"""The main loop of a worker: takes messages of the gateway until EXIT or its end.

Runs in the main thread of each process that zygote_serve() returns in.  For
every REQUEST there is exactly one REPLY, whatever the handler or user code
does; SIGINT never ends the loop (interrupt.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import gc
import os
import sys
import time
import traceback
from collections import deque
from typing import Any, NoReturn

import _ringfence

from . import (
    classes,
    config,
    environment,
    handlers,
    hygiene,
    orders,
    pools,
    reply,
    request,
    wire,
)
from .execute import execute, leave_child
from .interrupt import Interrupts
from .loop import CellLoop
from .reply import Reply
from .request import Request
from .stdin import Message, Stdin

_DOCS = (
    ("Python Reference", "https://docs.python.org/{0}.{1}"),
    ("IPython Reference", "https://ipython.readthedocs.io/en/stable/"),
    ("NumPy Reference", "https://numpy.org/doc/stable/reference/"),
    ("SciPy Reference", "https://docs.scipy.org/doc/scipy/reference/"),
    ("Matplotlib Reference", "https://matplotlib.org/stable/contents.html"),
    ("SymPy Reference", "https://docs.sympy.org/latest/"),
    ("pandas Reference", "https://pandas.pydata.org/docs/"),
)


def kernel_info(banner: str) -> bytes:
    """What HELLO tells of this kernel, as JSON (spec: Kernel info)."""
    import IPython

    info = {
        "implementation": "ipython",
        "implementation_version": IPython.__version__,
        "language_info": {
            "name": "python",
            "version": sys.version.split()[0],
            "mimetype": "text/x-python",
            "codemirror_mode": {"name": "ipython", "version": sys.version_info[0]},
            "pygments_lexer": "ipython3",
            "nbconvert_exporter": "python",
            "file_extension": ".py",
        },
        "banner": banner,
        "help_links": [{"text": t, "url": u.format(*sys.version_info)} for t, u in _DOCS],
    }
    return wire.dumps(info)


# What the socket says when the gateway has closed it, or user code has.
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTSOCK, errno.ENOTCONN)


def banner(shell: Any, notes: list[str]) -> str:
    return "\n".join([shell.banner.rstrip("\n"), *notes]) + "\n"


_RAISED_MAX = 100  # errors in a second while it waits: more will not end
_TYPES_MS = 30  # for the types of completions while the worker is busy; else 400

_EMPTY_CELL = b'{"code": "pass", "user_expressions": {}}'


class Worker:
    """One process that runs cells.  Made in the zygote, of its shell and lines for the
    banner; each process that is forked from there goes on with it."""

    def __init__(self, shell: Any, notes: list[str]) -> None:
        self.shell = shell
        self._notes = notes
        self._info = kernel_info(banner(shell, notes))
        self._libraries = pools.loaded_libraries()  # until they have their threads
        self.queue: deque[Message] = deque()  # messages that came during input()
        self.stdin = Stdin(self.queue)
        self.orders = orders.Orders(self.queue, self.stdin)
        orders.serve(self.orders)
        self.interrupts = Interrupts()
        self.loop = CellLoop()
        self._raised, self._raised_since = 0, 0.0  # while it waits for a message
        self._messages = {
            _ringfence.MSG_REQUEST: self._on_request,
            _ringfence.MSG_CHECKPOINT: self._on_checkpoint,
            _ringfence.MSG_EXIT: self._on_exit,
        }

    # -- start ----------------------------------------------------------------

    def rehearse(self, times: int) -> None:
        """Runs an empty cell, which leaves nothing behind; what it would send goes
        nowhere.  In the zygote, so often that the interpreter has specialized the code on
        the way and writes to it no more; then its pages stay shared.  In a spare once, so
        that the pages that are written have been copied already."""
        parts = [b"execute_request", b"0", wire.EMPTY, wire.EMPTY, _EMPTY_CELL]
        is_worker, libraries = _ringfence.is_worker, self._libraries
        _ringfence.is_worker, self._libraries = lambda: True, []
        try:
            for _ in range(times):
                self._on_request(0, parts)
                hook = self.shell.displayhook
                hook.start_displayhook()
                hook.write_format_data(*hook.compute_format_data(1))
                hook.finish_displayhook()
        finally:
            _ringfence.is_worker, self._libraries = is_worker, libraries
            self.shell.history_manager.forget_all()

    def rehearse_start(self) -> None:
        """In a spare: what start() will do, with the zygote's environment and no file of the
        user's; it is all done again."""
        block = b"".join(b"%s=%s\0" % item for item in os.environb.items())
        hygiene.apply_environment(block)
        hygiene.reseed()
        environment.rehearse()
        startup = config.Startup([], load=False)
        startup.shell_for(self.shell).start_here()
        startup.has_code()

    def start(self, spawned: dict[str, Any]) -> None:
        """Becomes the worker that `spawned` (of zygote_serve) describes, up to HELLO."""
        faulthandler.enable(file=spawned["crash_fd"], all_threads=True)
        hygiene.apply_environment(spawned["environ"])
        hygiene.reseed()
        sys.argv = [""]
        wire.hold()
        _ringfence.confine()
        environment.name_user()
        environment.use_layer()
        self._configure(config.Startup(spawned["argv"]))
        self._hello(spawned["generation"])
        wire.release()

    def _configure(self, startup: config.Startup) -> None:
        if startup.includes_cwd():
            _put_cwd_on_path()
        shell = startup.shell_for(self.shell)
        shell.kernel.connection = startup.connection
        if shell is not self.shell:
            self.shell = shell
            self._info = kernel_info(banner(shell, self._notes))
        shell.start_here()
        if session := os.environ.get("JPY_SESSION_NAME"):
            shell.user_ns["__session__"] = session
        if startup.has_code():
            policy = asyncio.get_event_loop_policy()
            startup.run(shell)
            if asyncio.get_event_loop_policy() is not policy:
                self.loop.close()  # the next one is made by the new policy

    def _hello(self, generation: int) -> None:
        _ringfence.send(_ringfence.MSG_HELLO, generation, [b"%d" % os.getpid(), self._info])

    # -- messages -------------------------------------------------------------

    def serve(self) -> None:
        """Until EXIT, or until the gateway is gone."""
        self.loop.get()  # while the gateway is busy with HELLO
        going = True
        while going:
            try:
                going = self._step()
            except KeyboardInterrupt:
                pass  # from the edge of a request that has its reply
            except OSError as exc:
                going = exc.errno not in _GONE
            except EOFError:
                going = False
            if not _ringfence.is_worker():
                leave_child(None)
        self.interrupts.disarm()

    def _step(self) -> bool:
        """Takes one message; False after EXIT."""
        if self.queue:
            self.interrupts.take()
            kind, about, parts = self.queue.popleft()
        else:
            if not self._wait() or not _ringfence.is_worker():
                return True
            self.interrupts.take()
            kind, about, parts = _ringfence.recv(-1)
        if kind != _ringfence.MSG_REQUEST:
            self.interrupts.drop()
        act = self._messages.get(kind)  # a stale INPUT_REPLY finds nobody
        return act is None or act(about, parts)

    def _wait(self) -> bool:
        """True when a message may be read.  Meanwhile a handler that a cell left for some
        signal may raise: nothing is taken yet, so nothing is lost."""
        try:
            self.loop.wait()
            return True
        except Exception as exc:
            now = time.monotonic()
            if now - self._raised_since > 1:
                self._raised_since, self._raised = now, 0
            self._raised += 1
            if self._raised > _RAISED_MAX or getattr(exc, "errno", None) in _GONE:
                raise
            with contextlib.suppress(Exception):  # of the user's sys.stderr, or once more
                traceback.print_exc()
            return False

    def _on_exit(self, about: int, parts: list[bytes]) -> bool:
        return False

    def _on_checkpoint(self, checkpoint_id: int, parts: list[bytes]) -> bool:
        if self.loop.is_idle():
            _ringfence.gather()
        self._checkpoint(checkpoint_id)
        return True

    def _checkpoint(self, checkpoint_id: int) -> bool:
        """True in a process that goes on from it, perhaps much later."""
        hygiene.flush_files()
        found = classes.survey()
        order = _ringfence.checkpoint(checkpoint_id, found.reason, found.spared)
        if order is None:
            return False
        kind, about, parts = order
        if kind == _ringfence.MSG_ANSWER:
            self._answer_and_end(about, parts)
        self._resume(about)
        return True

    def _answer_and_end(self, about: int, parts: list[bytes]) -> NoReturn:
        """This process was forked from a checkpoint to answer one request while the worker
        is busy.  Nothing of what it does is seen but the answer."""
        try:
            gc.disable()  # it would copy what is shared
            self.shell.Completer.jedi_compute_type_timeout = _TYPES_MS
            asked = Request(0, parts)
            request.enter(asked)
            _ringfence.answer(about, reply.parts(self._handle(asked)))
        finally:
            os._exit(0)

    def _resume(self, generation: int) -> None:
        """This process goes on from a checkpoint."""
        self.queue.clear()
        self.stdin.renew()
        hygiene.reseed()
        self.loop.renew()
        classes.mend()
        self.interrupts.install()
        self._hello(generation)

    # -- requests -------------------------------------------------------------

    def _on_request(self, request_id: int, parts: list[bytes]) -> bool:
        try:
            asked = Request(request_id, parts)
        except ValueError as exc:
            asked = Request(request_id, [b"", b"0", wire.EMPTY, wire.EMPTY, wire.EMPTY])
            asked.reply = reply.error(exc)
        try:
            if asked.reply is None:
                self.loop.run(self._answer(asked))
        except BaseException as exc:
            self._at_edge(asked, exc)
        try:
            self.interrupts.disarm()
        except KeyboardInterrupt:
            self.interrupts.disarm()
        if not _ringfence.is_worker():
            leave_child(None)
        if not self._keep_order(asked):
            reply.send(asked, asked.reply)
        return True

    def _keep_order(self, asked: Request) -> bool:
        """Makes the checkpoint that the cell has ordered.  True in a process that goes on
        from it: the request was answered long ago."""
        checkpoint_id = self.orders.take_checkpoint()
        if checkpoint_id is None:
            return False
        if self._checkpoint(checkpoint_id):
            return True
        fd, text = orders.outcome(self.orders.answer(asked.id))
        _ringfence.stream_write(fd, text, asked.id)
        return False

    def _at_edge(self, asked: Request, exc: BaseException) -> None:
        """Something left the handler: an interrupt at its edge, or a cancelled task."""
        if asked.reply is None:
            more = {"execution_count": asked.execution_count, "user_expressions": {}}
            asked.reply = reply.error(exc, **more)

    async def _answer(self, asked: Request) -> None:
        request.enter(asked)
        try:
            if asked.msg_type == "execute_request":
                asked.reply = await execute(self, asked)
            else:
                asked.reply = self._handle(asked)
        except Exception as exc:
            self.interrupts.disarm()
            traceback.print_exc()
            asked.reply = reply.error(exc, execution_count=asked.execution_count)

    def _handle(self, asked: Request) -> Reply:
        handler = handlers.HANDLERS.get(asked.msg_type)
        if handler is None:
            return reply.error(NotImplementedError(f"message type {asked.msg_type!r}"))
        try:
            self.interrupts.arm()
            return Reply(handler(self, asked))
        except (Exception, KeyboardInterrupt) as exc:
            self.interrupts.disarm()
            return reply.error(exc)
        finally:
            self.interrupts.disarm()

    def before_cell(self) -> None:
        """What a worker that never runs a cell need not pay for."""
        if self._libraries:
            libraries, self._libraries = self._libraries, []
            pools.restore(libraries, os.environ)


def _put_cwd_on_path() -> None:
    """'' on sys.path behind the standard library, as IPython has it."""
    if "" in sys.path:
        return
    for index, path in enumerate(sys.path):
        if os.path.basename(path) in ("site-packages", "dist-packages"):
            break
    else:
        index = 0
    sys.path.insert(index, "")


def main(worker: Worker) -> None:
    """Runs a worker to its end; the caller then ends the interpreter the normal way."""
    worker.interrupts.install()
    worker.loop.take_over()
    if not _ringfence.is_asked():
        worker.rehearse_start()
        worker.rehearse(1)
    worker.start(_ringfence.await_spawn())
    worker.serve()
    worker.loop.close()
