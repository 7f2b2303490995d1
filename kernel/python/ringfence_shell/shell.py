"""The shell: IPython's InteractiveShell, publishing through the worker protocol.

Its class must be called ZMQInteractiveShell: rich, tqdm and hundreds of copies
of is_notebook() test for the name, and for IPKernelApp in its config.

One object per process, built in the zygote without touching any directory and
inherited by the workers; a worker whose user has a configuration for it builds
another (see config.py).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import _ringfence
from IPython.core import interactiveshell, page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell, InteractiveShellABC
from IPython.core.profiledir import ProfileDir
from IPython.core.usage import default_banner
from traitlets import Any as AnyTrait
from traitlets import All, CBool, Instance, Type, default, observe

from . import environment, request, transform, wire
from .display import ShellDisplayHook, ShellDisplayPublisher
from .history import SessionHistory
from .magics import KernelMagics
from .orders import CheckpointMagics
from .plots import DisplayFormatter, PlotMagics, Plots

ENVIRONMENT = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}

_EACH_CELL = ("execution_count", "last_execution_result")
_GUIS_WITHOUT_LOOP = (
    None, "", "inline", "asyncio", "nbagg", "notebook", "webagg", "ipympl", "widget"
)


class QuietProfileDir(ProfileDir):
    """A profile folder that is read if it exists and never created."""

    @observe("location")
    def _location_changed(self, change: Any) -> None:
        self._location_isset = True
        for name in ("security", "log", "startup", "pid", "static"):
            folder = os.path.join(change["new"], getattr(self, f"{name}_dir_name"))
            setattr(self, f"{name}_dir", folder)

    def check_log_dir(self, change: Any = None) -> None:
        pass

    check_startup_dir = check_security_dir = check_pid_dir = check_log_dir


class ZMQInteractiveShell(InteractiveShell):
    """InteractiveShell as the engine of a worker."""

    displayhook_class = Type(ShellDisplayHook)
    display_pub_class = Type(ShellDisplayPublisher)
    input_transformer_manager = Instance(transform.Transformer, ())
    kernel = AnyTrait()
    exiter = Instance(ZMQExitAutocall)
    autoindent = CBool(False)
    keepkernel_on_exit: bool | None = None

    cell_count = 0  # execution_count of the cell that runs
    _last_traceback: list[str] | None = None
    _last_error: tuple[str, str] | None = None  # ename and evalue of what was shown
    _traceback_in_displayhook = False
    _transformed: tuple[str, str] | None = None
    _lazy_db: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # IPython 8.5 makes the folder of shell.db at once.
        pickleshare = getattr(interactiveshell, "PickleShareDB", None)
        if pickleshare is not None:
            interactiveshell.PickleShareDB = lambda root: None
        try:
            super().__init__(*args, **kwargs)
        finally:
            if pickleshare is not None:
                interactiveshell.PickleShareDB = pickleshare
        if "IPKernelApp" not in self.config:
            self.config.IPKernelApp.parent_appname = "ringfence"  # tqdm looks for the section

    @property
    def db(self) -> Any:
        """IPython's store (%store, %cd, %bookmark), made on first use: in the workspace's
        layer, since a sandbox's home folder goes with the kernel; else in the profile."""
        if self._lazy_db is None:
            layer = os.environ.get(environment.LAYER)
            home = os.path.join(layer, "ipython") if layer else self.profile_dir.location
            folder = os.path.join(home, "db")
            with contextlib.suppress(OSError):
                os.makedirs(folder, exist_ok=True)
            if not os.access(folder, os.W_OK):  # a sandbox shows the user's profile read-only
                folder = tempfile.mkdtemp(prefix="ipython-db-")
            self._lazy_db = _store(folder)
        return self._lazy_db

    @db.setter
    def db(self, value: Any) -> None:
        self._lazy_db = value

    @default("banner1")
    def _default_banner1(self) -> str:
        return default_banner

    @default("exiter")
    def _default_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)

    # -- what IPython sets up at construction ---------------------------------

    def _ipython_dir_changed(self, change: Any) -> None:
        """IPython would create the folder here."""

    def init_environment(self) -> None:
        """The environment is the worker's business (hygiene.apply_environment)."""

    def init_virtualenv(self) -> None:
        """The interpreter is the right one already."""

    def init_history(self) -> None:
        self.history_manager = SessionHistory(shell=self, parent=self)
        self.configurables.append(self.history_manager)

    def init_hooks(self) -> None:
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self.payloadpage_page), 99)

    def init_display_formatter(self) -> None:
        self.display_formatter = DisplayFormatter(parent=self)
        self.configurables.append(self.display_formatter)
        self.plots = Plots(self)

    def init_extension_manager(self) -> None:
        super().init_extension_manager()
        manager = self.extension_manager
        if hasattr(manager, "_on_ipython_dir_changed"):  # IPython 8 would create a folder there
            self.unobserve(manager._on_ipython_dir_changed, names=("ipython_dir",))

    def init_magics(self) -> None:
        super().init_magics()
        self.register_magics(KernelMagics, CheckpointMagics, PlotMagics)
        self.magics_manager.register_alias("ed", "edit")

    def start_here(self) -> None:
        """%cd and %dhist begin with this folder; at construction it was the zygote's."""
        with contextlib.suppress(OSError):
            self.starting_dir = os.getcwd()
            self.history_manager.dir_hist[:] = [Path(self.starting_dir)]

    # -- running cells --------------------------------------------------------

    def begin_cell(self, count: int) -> None:
        """Before a cell: its number is `count`, and nothing has failed."""
        self.cell_count = count
        if self.execution_count != count:
            self.execution_count = count
        self._last_traceback = self._last_error = None
        self._traceback_in_displayhook = False
        self.displayhook.reset()

    def remember_transformed(self, raw: str, transformed: str) -> None:
        """transform_cell(raw) is known; the next call may have it."""
        self._transformed = (raw, transformed)

    def transform_cell(self, raw_cell: str) -> str:
        known, self._transformed = self._transformed, None
        if known is not None and known[0] == raw_cell:
            return known[1]
        cell: str = self.input_transformer_manager.transform_cell(raw_cell)
        if not self.input_transformers_post and transform.is_left_alone(self, cell):
            return cell
        return super().transform_cell(raw_cell)

    def _notify_trait(self, name: str, old_value: Any, new_value: Any) -> None:
        """Two traits change with each cell, and nearly never is there anybody to be told."""
        told = self._trait_notifiers
        if name not in _EACH_CELL or name in told or any(told.get(All, {}).values()):
            super()._notify_trait(name, old_value, new_value)

    def should_run_async(self, raw_cell: str, *, transformed_cell: Any = None, **kw: Any) -> bool:
        """Without either word a cell cannot hold a top-level await: no need to compile it."""
        if transformed_cell is not None:
            if "await" not in transformed_cell and "async" not in transformed_cell:
                return False
        return super().should_run_async(raw_cell, transformed_cell=transformed_cell, **kw)

    def _tee(self, channel: str) -> Any:
        """IPython 9 copies all that a cell prints into its history; the gateway has it."""
        return contextlib.nullcontext()

    # -- what goes to the client ----------------------------------------------

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        """Sends `error` (spec: Execution errors) and keeps the traceback for the reply."""
        if self.displayhook.is_publishing:
            self._traceback_in_displayhook = True
        self._last_traceback = stb
        self._last_error = str(etype.__name__), text_of(evalue)
        if not _ringfence.is_worker() or wire.holds():  # a child of user code, or start-up
            sys.stderr.write(self.InteractiveTB.stb2text(stb) + "\n")
            return
        ename, evalue = self._last_error
        content = {"ename": ename, "evalue": evalue, "traceback": stb}
        wire.publish(request.current_id(), "error", content)

    def ask_exit(self) -> None:
        """exit or quit: the client or the gateway ends the kernel (payload ask_exit)."""
        self.exit_now = not self.keepkernel_on_exit
        payload = {"source": "ask_exit", "keepkernel": bool(self.keepkernel_on_exit)}
        self.payload_manager.write_payload(payload)

    def set_next_input(self, text: str, replace: bool = False) -> None:
        payload = {"source": "set_next_input", "text": text, "replace": replace}
        self.payload_manager.write_payload(payload)

    def payloadpage_page(
        self, strg: Any, start: int = 0, screen_lines: int = 0, pager_cmd: Any = None
    ) -> None:
        """Shows text, or a mime bundle, in the frontend's pager (payload page)."""
        data = strg if isinstance(strg, dict) else {"text/plain": strg}
        payload = {"source": "page", "data": data, "start": max(0, start)}
        self.payload_manager.write_payload(payload)

    def enable_gui(self, gui: str | None = None) -> None:
        """UsageError for the GUI toolkits: their loops cannot run here."""
        if gui not in _GUIS_WITHOUT_LOOP:
            raise UsageError(f"GUI event loop {gui!r} is not supported in this kernel")
        self.active_eventloop = gui or None

    # -- the parent of output -------------------------------------------------

    @property
    def parent_header(self) -> dict[str, Any]:
        return self.get_parent()

    def get_parent(self) -> dict[str, Any]:
        """The request that output of the calling code belongs to, as a message dict."""
        return request.current().message()

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Output of this context belongs to `parent` from now on, if it is known."""
        request.set_current(request.find(parent))

    def set_thread_parent(self, parent: dict[str, Any]) -> Any:
        """As set_parent; returns what reset_thread_parent takes."""
        return request.set_current(request.find(parent))

    def reset_thread_parent(self, token: Any) -> None:
        request.reset_current(token)

    # -- !cmd -----------------------------------------------------------------

    def system_piped(self, cmd: str) -> None:
        """Runs `cmd` in the user's shell; its output is this worker's fd 1 and 2.

        _exit_code in the namespace is the exit status, or minus the signal.
        KeyboardInterrupt ends the command and then the cell.
        """
        __tracebackhide__ = True
        if cmd.rstrip().endswith("&"):
            raise OSError("Background processes not supported.")
        cmd = self.var_expand(cmd, depth=1)
        code = -2
        try:
            code = _run(cmd)
        finally:
            self.user_ns["_exit_code"] = code
        if getattr(self, "system_raise_on_error", False) and code != 0:
            raise CalledProcessError(code, cmd)

    system = system_piped


InteractiveShellABC.register(ZMQInteractiveShell)
# str(type(get_ipython())) is looked at, too, and plotly looks at the module.
ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"


def _store(folder: str) -> Any:
    try:
        from IPython.external.pickleshare import PickleShareDB
    except ImportError:
        from pickleshare import PickleShareDB
    return PickleShareDB(folder)


def text_of(value: object) -> str:
    """str(value), also of exceptions whose own __str__ fails."""
    try:
        return str(value)
    except Exception as exc:
        return f"<no text: {type(value).__name__}.__str__ raised {type(exc).__name__}>"


def _run(cmd: str) -> int:
    """Exit status of `cmd`; minus the signal that ended it or its last process."""
    __tracebackhide__ = True
    executable = os.environ.get("SHELL") or "/bin/sh"
    if not os.access(executable, os.X_OK):
        executable = "/bin/sh"
    # The child is in the worker's process group, so that an interrupt reaches it too.
    child = subprocess.Popen([executable, "-c", cmd])
    try:
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    return code if code <= 128 else 128 - code


def _end(child: subprocess.Popen[bytes]) -> None:
    """Gives an interrupted command a second, then ends it."""
    for stop in (child.terminate, child.kill, None):
        try:
            child.wait(timeout=1.0)
            return
        except subprocess.TimeoutExpired:
            if stop is not None:
                stop()
