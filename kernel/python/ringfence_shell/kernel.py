"""get_ipython().kernel: what libraries expect of ipykernel's kernel object.

Small on purpose: every attribute here works; what is missing raises
AttributeError.  The kernel that clients talk to is the gateway's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from functools import cached_property
from typing import Any

import _ringfence

from . import comms, request, wire


class IOPubSocket:
    """Stands for the iopub socket in session.send() and send_response()."""


class Session:
    """The part of jupyter_client's Session that user code sends output with."""

    @cached_property
    def session(self) -> str:
        """An id of its own for each worker: not made in the zygote."""
        return uuid.uuid4().hex

    def msg(
        self,
        msg_type: str,
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A message dict; the gateway makes the header that clients see."""
        header = header or {"msg_id": uuid.uuid4().hex, "msg_type": msg_type}
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": (parent or {}).get("header", parent or {}),
            "content": content or {},
            "metadata": metadata or {},
        }

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Publishes a message on iopub; ValueError for any other socket, and for
        messages that are not a worker's (status, execute_input)."""
        if not isinstance(stream, IOPubSocket):
            raise ValueError("only kernel.iopub_socket can be sent to")
        if isinstance(msg_or_type, dict):
            message = msg_or_type
            parent = parent or message.get("parent_header")
        else:
            message = self.msg(msg_or_type, content, parent, header, metadata)
        owner = request.find(parent).id
        msg_type, content = message["header"]["msg_type"], message["content"]
        if msg_type == "stream":
            fd = 2 if content.get("name") == "stderr" else 1
            _ringfence.stream_write(fd, str(content.get("text", "")), owner)
            return message
        topic = ident[0] if isinstance(ident, (list, tuple)) and ident else ident
        wire.publish(
            owner,
            msg_type,
            content,
            metadata=message.get("metadata"),
            topic=topic.encode() if isinstance(topic, str) else topic,
            buffers=buffers or message.get("buffers") or (),
        )
        return message


class Kernel:
    """One per shell."""

    implementation = "ipython"
    connection: dict[str, Any] = {}  # what the gateway says of its sockets; never the key

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.session = Session()
        self.iopub_socket = IOPubSocket()
        self.log = logging.getLogger("ringfence.kernel")
        self._parent_ident = {"shell": b"", "control": b""}
        comms.Comm.kernel = self

    @property
    def comm_manager(self) -> Any:
        return comms.manager()

    @property
    def user_ns(self) -> dict[str, Any]:
        return self.shell.user_ns

    @property
    def execution_count(self) -> int:
        return self.shell.execution_count

    @property
    def banner(self) -> str:
        return self.shell.banner

    @property
    def io_loop(self) -> Any:
        """tornado's view of the one event loop; ImportError without tornado."""
        from tornado.ioloop import IOLoop

        return IOLoop.current()

    async def do_one_iteration(self) -> None:
        """Lets other tasks run.  Requests are not handled within a cell: they wait in the
        gateway."""
        await asyncio.sleep(0)

    @property
    def _parent_header(self) -> dict[str, Any]:
        return self.get_parent()

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The request that output of the calling code belongs to, as a message dict."""
        return request.current().message()

    def set_parent(self, ident: Any, parent: dict[str, Any], channel: str = "shell") -> None:
        """Output of this context belongs to `parent` from now on, if it is known."""
        request.set_current(request.find(parent))

    def send_response(
        self,
        stream: Any,
        msg_or_type: Any,
        content: dict[str, Any] | None = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        channel: str | None = None,
    ) -> dict[str, Any]:
        """Publishes a message as output of the current request."""
        return self.session.send(
            stream,
            msg_or_type,
            content,
            self.get_parent(),
            ident,
            buffers,
            header=header,
            metadata=metadata,
        )


class KernelApp:
    """ipykernel.kernelapp.IPKernelApp: the application that runs this kernel."""

    _instance: KernelApp | None = None

    @classmethod
    def initialized(cls) -> bool:
        return True

    @classmethod
    def instance(cls, *args: Any, **kwargs: Any) -> KernelApp:
        if KernelApp._instance is None:
            KernelApp._instance = KernelApp()
        return KernelApp._instance

    @property
    def shell(self) -> Any:
        from IPython import get_ipython

        return get_ipython()

    @property
    def kernel(self) -> Kernel:
        return self.shell.kernel

    @property
    def config(self) -> Any:
        return self.shell.config

    @property
    def log(self) -> logging.Logger:
        return self.kernel.log

    @property
    def session(self) -> Session:
        return self.kernel.session

    @property
    def abs_connection_file(self) -> str:
        """Its path for the client; a sandbox does not show the file itself."""
        return self.kernel.connection.get("connection_file", "")

    @property
    def connection_file(self) -> str:
        return self.abs_connection_file

    @property
    def connection_dir(self) -> str:
        return os.path.dirname(self.abs_connection_file)

    def get_connection_info(self) -> dict[str, Any]:
        """Transport, address and ports."""
        known = self.kernel.connection.items()
        return {name: value for name, value in known if name != "connection_file"}


def get_connection_file(app: Any = None) -> str:
    """ipykernel.connect.get_connection_file(): the path of this kernel's file."""
    return (app or KernelApp.instance()).abs_connection_file


def get_connection_info(connection_file: str | None = None, unpack: bool = False) -> Any:
    """ipykernel.connect.get_connection_info() for this kernel, without the key, which it
    does not have.  ValueError for another kernel's file."""
    app = KernelApp.instance()
    if connection_file not in (None, app.abs_connection_file):
        raise ValueError(f"a kernel knows its own connection only, not {connection_file!r}")
    info = app.get_connection_info()
    return info if unpack else json.dumps(info, indent=2)
