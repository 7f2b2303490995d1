"""Comms (spec: Custom messages): the `comm` package on top of the worker protocol.

Without that package no library can open a comm here; a client that tries is
told with comm_close.
"""

from __future__ import annotations

import logging
from typing import Any

from . import wire
from .request import Request, current_id

try:
    import comm
    from comm.base_comm import BaseComm, CommManager
except ImportError:
    comm = None  # type: ignore[assignment]
    BaseComm = CommManager = object  # type: ignore[assignment,misc]

_log = logging.getLogger("ringfence.comm")


class Comm(BaseComm):  # type: ignore[misc,valid-type]
    """A comm whose other end is in the client."""

    kernel: Any = None  # older widgets read it; kernel.Kernel sets it

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: Any = None,
        **keys: Any,
    ) -> None:
        """Sends comm_open, comm_msg or comm_close with this comm's id."""
        content = {"data": {} if data is None else data, "comm_id": self.comm_id, **keys}
        wire.publish(
            current_id(),
            msg_type,
            content,
            metadata=metadata,
            topic=self.topic,
            buffers=buffers or (),
        )


_manager: Any = None


def _create_comm(*args: Any, **kwargs: Any) -> Comm:
    return Comm(*args, **kwargs)


def manager() -> Any:
    """The process's comm manager; None without the comm package."""
    global _manager
    if _manager is None and comm is not None:
        _manager = CommManager()
    return _manager


def install() -> None:
    """Makes comm.create_comm() and comm.get_comm_manager() ours."""
    if comm is not None:
        comm.create_comm = _create_comm
        comm.get_comm_manager = manager


def on_message(request: Request) -> None:
    """comm_open, comm_msg or comm_close of a client.  ValueError for bad content;
    what the user's callback raises is logged to its stderr."""
    content = request.content
    if not isinstance(content.get("comm_id"), str):
        raise ValueError(f"{request.msg_type} without a comm_id")
    if request.msg_type == "comm_open" and not _can_open(content):
        _refuse(content)
        return
    if manager() is None:
        return
    if request.msg_type != "comm_open" and content["comm_id"] not in manager().comms:
        _log.warning("No such comm: %s", content["comm_id"])
        return
    getattr(manager(), request.msg_type)(None, None, request.message())


def _can_open(content: dict[str, Any]) -> bool:
    return manager() is not None and content.get("target_name") in manager().targets


def _refuse(content: dict[str, Any]) -> None:
    _log.error("No such comm target registered: %s", content.get("target_name"))
    wire.publish(current_id(), "comm_close", {"comm_id": content["comm_id"], "data": {}})


def info(target_name: object) -> dict[str, dict[str, str]]:
    """The open comms for comm_info_reply, of one target or (None) of all."""
    if manager() is None:
        return {}
    return {
        comm_id: {"target_name": one.target_name}
        for comm_id, one in list(manager().comms.items())
        if target_name is None or one.target_name == target_name
    }
