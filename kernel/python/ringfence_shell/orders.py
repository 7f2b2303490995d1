"""%checkpoint, %checkpoints, %rollback, %undo and %recover: the user's orders about checkpoints.

The gateway has the checkpoints.  An order goes to it as a message
(RF_MSG_ORDER), and what became of it comes back (RF_MSG_ORDERED); a rollback
that succeeds ends this worker instead, and the gateway answers the cell.
docs/checkpoints.md has the rules.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from typing import Any

import _ringfence
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from . import request, wire
from .request import Request
from .stdin import Message, Stdin

_NAMES = ("checkpoint", "checkpoints", "rollback", "undo", "recover", "branch")


class Orders:
    """Sends orders while a cell runs.  `queue` is the worker's: what comes meanwhile and is
    no answer goes there."""

    def __init__(self, queue: deque[Message], stdin: Stdin) -> None:
        self._queue = queue
        self._stdin = stdin
        self._request: Request | None = None  # of the cell that runs

    def begin(self, asked: Request) -> None:
        """Its cell runs, until end()."""
        self._request = asked

    def end(self) -> None:
        self._request = None

    def give(self, operation: str, name: str = "") -> dict[str, Any]:
        """What the gateway says of the order.  UsageError with its reason when it refuses."""
        asked = self._request
        main = threading.current_thread() is threading.main_thread()
        own = main and request.current() is asked  # not a task of an earlier cell
        if asked is None or not own or not _ringfence.is_worker():
            raise UsageError(
                "checkpoints are ordered by a cell that runs, in the main thread of its process"
            )
        alone = b"1" if _is_alone(asked.content.get("code", "")) else b""
        # An interrupt would leave the order without a cell: it waits for the answer.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            parts = [operation.encode(), wire.utf8(name)[:256], alone]
            with self._stdin.socket:  # else a thread in input() would read our answer
                _ringfence.send(_ringfence.MSG_ORDER, asked.id, parts)
                answer = self.answer(asked.id)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if answer.get("status") != "ok":
            raise UsageError(answer.get("evalue", "the gateway gave no reason"))
        return answer

    def answer(self, request_id: int) -> dict[str, Any]:
        """The next answer of the gateway."""
        while True:
            kind, about, parts = _ringfence.recv(-1)
            if kind == _ringfence.MSG_ORDERED and about == request_id:
                return wire.loads_object(parts[0])
            self._queue.append((kind, about, parts))
            if kind == _ringfence.MSG_EXIT:
                raise KeyboardInterrupt("the kernel is shutting down")

    def take_checkpoint(self) -> int | None:
        """The id of a checkpoint that was ordered and is to be made now."""
        for message in self._queue:
            if message[0] == _ringfence.MSG_CHECKPOINT:
                self._queue.remove(message)
                return message[1]
        return None


def _is_alone(code: str) -> bool:
    """Is the cell one line, and that line one of ours?"""
    words = code.strip().split()
    return bool(words) and "\n" not in code.strip() and words[0].lstrip("%") in _NAMES


def describe(checkpoint: dict[str, Any]) -> str:
    name = f" '{checkpoint['name']}'" if checkpoint.get("name") else ""
    text = f"checkpoint {checkpoint['number']}{name}: {checkpoint['class']}"
    if checkpoint["class"] != "full":
        text += f" ({checkpoint['reason']}); it serves after a crash, not for %rollback"
    return text


def outcome(answer: dict[str, Any]) -> tuple[int, str]:
    """Descriptor and text for what became of a checkpoint."""
    if answer.get("status") == "ok" and (branch := answer["checkpoint"].get("branch")):
        return 1, f"branch {branch['number']}: jupyter console --existing {branch['connection_file']}\n"
    if answer.get("status") == "ok":
        return 1, f"{describe(answer['checkpoint'])}\n"
    return 2, f"{answer.get('evalue', 'no checkpoint could be made')}\n"


_orders: Orders | None = None


def serve(orders: Orders) -> None:
    """The magics use these from now on."""
    global _orders
    _orders = orders


def _give(operation: str, name: str = "") -> dict[str, Any]:
    if _orders is None:
        raise UsageError("this shell has no gateway, and so no checkpoints")
    return _orders.give(operation, name.strip())


@magics_class
class CheckpointMagics(Magics):
    """Checkpoints of this session: make, list, go back."""

    shell: Any

    @magic_arguments()
    @argument("name", nargs="?", default="", help="A name for it: letters, digits, _ - and .")
    @argument("--why", action="store_true",
              help="Make none; say what a checkpoint made now could serve for, and why.")
    @argument("--drop", action="store_true", help="End that checkpoint.")
    @line_magic
    def checkpoint(self, line: str) -> None:
        """Keep the state of this session, as it is at the end of this cell.

        %rollback goes back to it as often as you like.  A name that is used
        again moves to the new checkpoint.
        """
        given = parse_argstring(self.checkpoint, line)
        if given.why:
            from . import classes  # which needs the shell's module

            print(classes.survey().describe())
        elif given.drop:
            dropped = _give("drop", given.name)["checkpoint"]
            print(f"checkpoint {dropped['number']} is gone")
        else:
            _give("checkpoint", given.name)  # worker.py tells how it was made

    @magic_arguments()
    @line_magic
    def checkpoints(self, line: str) -> None:
        """List the checkpoints: yours and the automatic ones; > is what the state comes of."""
        parse_argstring(self.checkpoints, line)
        found = _give("list")["checkpoints"]
        if not found:
            print("There is no checkpoint yet.")
        for each in found:
            kind = "automatic" if each["automatic"] else each["name"] or ""
            taken = time.strftime("%H:%M:%S", time.localtime(each["taken_us"] / 1e6))
            remark = "" if each["class"] == "full" else f"  {each['class']}: {each['reason']}"
            print(f"{'>' if each['current'] else ' '} {each['number']:4}  {kind:20}  {taken}  "
                  f"after In [{each['execution_count']}]{remark}")

    @magic_arguments()
    @argument("checkpoint", nargs="?", default="",
              help="Name or number; without one, the newest that you made.")
    @line_magic
    def rollback(self, line: str) -> None:
        """Go back to a checkpoint: every variable is as it was then.

        Files that were written since stay as they are.  %undo takes it back.
        """
        _give("rollback", parse_argstring(self.rollback, line).checkpoint)

    @magic_arguments()
    @argument("checkpoint", nargs="?", default="",
              help="Name or number of a checkpoint; without one, the end of this cell.")
    @line_magic
    def branch(self, line: str) -> None:
        """Make a second kernel that goes on from here, or from a checkpoint, by itself.

        It has a connection file of its own, which is told; it ends when a client
        shuts it down, and outlives this kernel.
        """
        made = _give("branch", parse_argstring(self.branch, line).checkpoint)
        if made["checkpoint"]:  # else worker.py tells it at the end of the cell
            print(outcome(made)[1], end="")

    @magic_arguments()
    @line_magic
    def undo(self, line: str) -> None:
        """Go back to the state before the last cell; right after a rollback, undo the rollback.

        Cells that hold nothing but one of these commands do not count.
        """
        parse_argstring(self.undo, line)
        _give("undo")

    @magic_arguments()
    @line_magic
    def recover(self, line: str) -> None:
        """Put the source of the cells that were rolled back last into the next cell."""
        parse_argstring(self.recover, line)
        answer = _give("recover")
        cells = [each for each in answer["cells"] if each["source"]]
        older = answer["left_out"] + len(answer["cells"]) - len(cells)
        if older:
            print(f"{older} cell{'s' * (older > 1)} can not be put back: see %history")
        if not cells:
            print("" if older else "No cell was rolled back.\n", end="")
            return
        self.shell.set_next_input(_together(self.shell, [(c["execution_count"], c["source"])
                                                         for c in cells]))
        numbers = ", ".join(f"In [{each['execution_count']}]" for each in cells)
        print(f"Ready to run in the next cell: {numbers}")


def _together(shell: Any, cells: list[tuple[int, str]]) -> str:
    """One source of several cells; a cell magic, which must begin a cell, as a call."""
    if len(cells) == 1:
        return cells[0][1]
    texts = []
    for count, source in cells:
        if source.lstrip().startswith("%%"):
            source = shell.input_transformer_manager.transform_cell(source).rstrip("\n")
        texts.append(f"# In [{count}]\n{source}")
    return "\n\n".join(texts)
