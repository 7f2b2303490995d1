"""IPython's configuration for one worker: arguments, profile, startup files.

The zygote's shell has IPython's defaults.  A worker whose user configures
nothing uses it as it is; one with settings for the shell or its parts builds a
new shell, since many settings are only read at construction.  All of this
happens in the worker, never in the zygote, as it runs the user's files.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS
from IPython.core.shellapp import InteractiveShellApp, shell_aliases, shell_flags
from traitlets import List, Unicode
from traitlets.config.loader import Config, DeferredConfigList, PyFileConfigLoader

from .kernel import Kernel
from .shell import QuietProfileDir, ZMQInteractiveShell

_FILES = ("ipython_config.py", "ipython_kernel_config.py")

# Sections that change nothing in a shell of ours: the gateway's business, or off here.
_INERT = {
    "Application",
    "BaseIPythonApplication",
    "ConnectionFileMixin",
    "HistoryAccessor",
    "HistoryManager",
    "IPythonKernel",
    "JupyterApp",
    "Kernel",
    "KernelApp",
    "ProfileDir",
    "Session",
}
_APP = {"InteractiveShellApp", "IPKernelApp"}

# Arguments of ipykernel that the gateway has dealt with; of them what says where it listens.
_PORTS = {"shell", "iopub", "stdin", "hb", "control"}
_GATEWAY = {"f", "ip", "transport", "debug", "quiet"} | _PORTS

_PROFILE = {"profile", "profile-dir", "ipython-dir"}


class IPKernelApp(InteractiveShellApp):
    """Runs IPython's start-up steps (extensions, exec_lines, startup files, --matplotlib).

    Its name makes the sections InteractiveShellApp and IPKernelApp of the
    user's configuration apply.
    """

    extra_args = List(Unicode())
    ipython_dir = Unicode()
    profile_dir: Any = None
    log = logging.getLogger("ringfence.config")

    def exit(self, status: int = 0) -> None:
        """A kernel goes on where `ipython script.py` would end."""


class Arguments:
    """What the kernel's command line says: IPython's traitlets style."""

    def __init__(self, argv: list[str], warn: Callable[[str], None]) -> None:
        self.config = Config()
        self.profile: dict[str, str] = {}  # of _PROFILE
        self.connection: dict[str, Any] = {}
        self._warn = warn
        items = iter(argv)
        for item in items:
            if item == "-f":
                self.connection["connection_file"] = os.path.abspath(next(items, ""))
            else:
                self._take(item)

    def _take(self, item: str) -> None:
        name, separator, value = item.lstrip("-").partition("=")
        if not item.startswith("-") or not name:
            self._warn(f"the argument {item!r} is not known and ignored")
        elif name in _PROFILE:
            self.profile[name] = value
        elif name in _PORTS and value.isdigit():
            self.connection[f"{name}_port"] = int(value)
        elif name in _GATEWAY:
            self.connection[name] = value
        elif "." in name and separator:
            self._set(name, value)
        elif name in shell_aliases and separator:
            self._set(shell_aliases[name], value)
        elif name in shell_flags:
            for section, values in shell_flags[name][0].items():
                self.config[section].merge(values)
        else:
            self._warn(f"the argument {item!r} is not known and ignored")

    def _set(self, name: str, value: str) -> None:
        *path, trait = name.split(".")
        section = self.config
        for part in path:
            if not part[:1].isupper():
                self._warn(f"the argument --{name} names no configurable class and is ignored")
                return
            section = section[part]
        given = section[trait] if trait in section else ()
        section[trait] = DeferredConfigList([*given, value])  # a list for lists, else one value


def _has_startup_files(folder: str) -> bool:
    try:
        names = os.listdir(os.path.join(folder, "startup"))
    except OSError:
        return False
    return any(name.endswith((".py", ".ipy")) for name in names)


def ipython_dir(given: str = "") -> str:
    """IPython's folder: $IPYTHONDIR or ~/.ipython.  Made by nobody here."""
    return os.path.abspath(os.path.expanduser(given or os.environ.get("IPYTHONDIR", "~/.ipython")))


class Startup:
    """Everything that configures one worker's shell."""

    def __init__(self, argv: list[str], load: bool = True) -> None:
        """`load`: read the user's files, which runs them."""
        arguments = Arguments(argv, _warn)
        self.connection = arguments.connection
        self.ipython_dir = ipython_dir(arguments.profile.get("ipython-dir", ""))
        name = arguments.profile.get("profile", "default")
        self.location = os.path.abspath(
            arguments.profile.get("profile-dir")
            or os.path.join(self.ipython_dir, f"profile_{name}")
        )
        self._shared = [*SYSTEM_CONFIG_DIRS, *ENV_CONFIG_DIRS]
        self.config = Config()
        for folder in dict.fromkeys([*self._shared, self.location]) if load else ():
            self._load(folder)
        self.config.merge(arguments.config)

    def _load(self, folder: str) -> None:
        """Merges the folder's configuration files; one that fails is reported and skipped."""
        for name in _FILES:
            if os.path.isfile(os.path.join(folder, name)):
                try:
                    self.config.merge(PyFileConfigLoader(name, path=folder).load_config())
                except Exception as exc:
                    _warn(f"{os.path.join(folder, name)} was not loaded: {exc!r}")

    def configures_shell(self) -> bool:
        return bool(set(self.config) - _INERT - _APP)

    def has_code(self) -> bool:
        """True if some start-up step would do something."""
        return bool(
            _APP & set(self.config)
            or os.environ.get("PYTHONSTARTUP")
            or any(map(_has_startup_files, [self.location, *self._shared]))
        )

    def shell_for(self, shell: Any) -> Any:
        """The zygote's shell with this user's folders, or a new one if it is configured."""
        if self.configures_shell():
            try:
                return self._rebuild(shell)
            except Exception as exc:
                _warn(f"the configuration is not used: {exc!r}")
                shell = ZMQInteractiveShell.instance()
        if self.config:
            shell.config.merge(self.config)
        if shell.ipython_dir != self.ipython_dir or shell.profile_dir.location != self.location:
            shell.ipython_dir = self.ipython_dir
            shell.profile_dir = QuietProfileDir(location=self.location)
        return shell

    def _rebuild(self, old: Any) -> Any:
        """A new shell in the old one's place; what preloaded modules hooked in moves over."""
        ZMQInteractiveShell.clear_instance()
        try:
            new = build_shell(copy.deepcopy(self.config), self.ipython_dir, self.location)
        except Exception:
            ZMQInteractiveShell.clear_instance()
            for parent in ZMQInteractiveShell._walk_mro():
                parent._instance = old
            raise
        for event, functions in old.events.callbacks.items():
            for function in functions:
                if not (getattr(function, "__module__", "") or "").startswith(_OURS):
                    new.events.register(event, function)
        return new

    @cached_property
    def app(self) -> IPKernelApp | None:
        """IPython's start-up steps with this configuration; None if it is unusable."""
        try:
            app = IPKernelApp(config=self._known_to_app())
        except Exception as exc:
            _warn(f"the start-up configuration is not used: {exc!r}")
            return None
        app.ipython_dir = self.ipython_dir
        return app

    def run(self, shell: Any) -> None:
        """The start-up steps: extensions, --matplotlib, startup files, exec_lines."""
        if self.app is None:
            return
        self.app.shell, self.app.profile_dir = shell, shell.profile_dir
        for step in (self.app.init_gui_pylab, self.app.init_extensions, self.app.init_code):
            try:
                step()
            except (Exception, SystemExit) as exc:
                _warn(f"{step.__name__}: {exc!r}")

    def _known_to_app(self) -> Config:
        """The configuration without options that only ipykernel's application has."""
        config = Config(self.config)
        section = Config()
        for name in set(config.get("IPKernelApp", ())) & set(IPKernelApp.class_trait_names()):
            section[name] = config.IPKernelApp[name]
        config.IPKernelApp = section
        return config

    def includes_cwd(self) -> bool:
        """False if the user wants '' kept off sys.path."""
        if os.environ.get("PYTHONSAFEPATH"):
            return False
        return not (_APP & set(self.config) and self.app is not None and self.app.ignore_cwd)


_OURS = ("IPython", "ringfence_shell")


def build_shell(config: Config, folder: str, location: str) -> ZMQInteractiveShell:
    """The process's shell, with IPython's folder and the profile's.  Touches neither."""
    shell = ZMQInteractiveShell.instance(
        config=config, ipython_dir=folder, profile_dir=QuietProfileDir(location=location)
    )
    shell.extension_manager.load_extension("storemagic")
    shell.kernel = Kernel(shell)
    return shell


def default_shell() -> ZMQInteractiveShell:
    """The shell of a user who has configured nothing."""
    startup = Startup([], load=False)
    return build_shell(Config(), startup.ipython_dir, startup.location)


def _warn(text: str) -> None:
    print(f"ringfence: {text}", file=sys.stderr)
