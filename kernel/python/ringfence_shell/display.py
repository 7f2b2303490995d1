"""Results, displays and clear_output as messages for iopub.

Serves execute_result, display_data, update_display_data and clear_output of
the messaging spec.  Formatting is IPython's; here is only the sending.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher

from . import request, wire

Hook = Callable[[dict[str, Any]], "dict[str, Any] | None"]


class Hooks(threading.local):
    """Functions that see a message before it goes out, per thread, in order."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []

    def remove(self, hook: Hook) -> bool:
        try:
            self.hooks.remove(hook)
        except ValueError:
            return False
        return True

    def passed(self, msg_type: str, content: dict[str, Any]) -> dict[str, Any] | None:
        """The message as the hooks let it go; None if one of them keeps it."""
        message: dict[str, Any] | None = _message(msg_type, content)
        for hook in self.hooks:
            if message is None:
                break
            message = hook(message)
        return message

    def send(self, msg_type: str, content: dict[str, Any]) -> None:
        """Publishes what the hooks let go."""
        if self.hooks:
            message = self.passed(msg_type, content)
            if message is None:
                return
            msg_type, content = message["header"]["msg_type"], message["content"]
        wire.publish(request.current_id(), msg_type, content)


def _message(msg_type: str, content: dict[str, Any]) -> dict[str, Any]:
    msg_id = uuid.uuid4().hex
    return {
        "header": {"msg_id": msg_id, "msg_type": msg_type},
        "msg_id": msg_id,
        "msg_type": msg_type,
        "parent_header": request.current().part("header"),
        "content": content,
        "metadata": {},
    }


class ShellDisplayHook(DisplayHook):
    """Sends the value of a cell's last expression as execute_result."""

    exec_result = None  # set twice in each cell, and nobody observes it: no trait

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooks = Hooks()
        self._content: dict[str, Any] | None = None
        self.result_text = ""  # text/plain of the newest result; execute.py resets it

    @property
    def prompt_count(self) -> int:
        """The number of the cell that runs; it came with its request."""
        return self.shell.cell_count

    @property
    def is_publishing(self) -> bool:
        """True between the formatting of a result and its sending."""
        return self._content is not None

    def register_hook(self, hook: Hook) -> None:
        self._hooks.hooks.append(hook)

    def unregister_hook(self, hook: Hook) -> bool:
        """True if it was registered."""
        return self._hooks.remove(hook)

    def quiet(self) -> bool:
        """True if the cell ends in a semicolon."""
        cells = self.shell.history_manager.input_hist_parsed
        return bool(cells) and ";" in cells[-1] and super().quiet()

    def start_displayhook(self) -> None:
        self._content = {"execution_count": 0, "data": {}, "metadata": {}}

    def write_output_prompt(self) -> None:
        if self._content is not None:
            self._content["execution_count"] = self.prompt_count

    def write_format_data(
        self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None
    ) -> None:
        if self._content is not None:
            self._content["data"] = format_dict
            self._content["metadata"] = md_dict or {}

    def log_output(self, format_dict: dict[str, Any]) -> None:
        super().log_output(format_dict)
        self.result_text = format_dict.get("text/plain", "")

    def finish_displayhook(self) -> None:
        content, self._content = self._content, None
        if content is not None and content["data"]:
            self.shell.plots.on_bundle(content["data"], content["metadata"])
            self._hooks.send("execute_result", content)

    def reset(self) -> None:
        """Before a cell: a display that an exception cut off is over."""
        self._content = None
        self.result_text = ""


class ShellDisplayPublisher(DisplayPublisher):
    """Sends what display() shows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooks = Hooks()

    def register_hook(self, hook: Hook) -> None:
        self._hooks.hooks.append(hook)

    def unregister_hook(self, hook: Hook) -> bool:
        """True if it was registered."""
        return self._hooks.remove(hook)

    def publish(  # type: ignore[override]
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: object = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        """Sends a mime bundle; `transient` may hold display_id.  TypeError unless
        data and metadata are dicts, ValueError if they cannot be JSON."""
        metadata = {} if metadata is None else metadata
        self._validate_data(data, metadata)
        metadata = {**metadata}
        content = {"data": data, "metadata": metadata, "transient": transient or {}}
        msg_type = "update_display_data" if update else "display_data"
        if not update:
            self.shell.plots.on_bundle(data, metadata)
        self._hooks.send(msg_type, content)

    def clear_output(self, wait: bool = False) -> None:
        self._hooks.send("clear_output", {"wait": bool(wait)})
