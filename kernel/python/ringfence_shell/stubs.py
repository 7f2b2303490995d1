"""The modules of ipykernel that libraries look for, in this process only.

rich, tqdm, ipywidgets, bokeh, plotly and many copies of is_notebook() ask for
`ipykernel` in sys.modules, for classes of its modules, or import from them.
What concerns the kernel of this process is ours, whether ipykernel is
installed or not: its own classes would talk to sockets that are not here.
All else is taken from an ipykernel that is installed, if there is one, so
that code which subclasses its Kernel works.

Two module objects are made at once, the others when they are imported, and
none of their names is resolved before it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_ROOT = "ipykernel"

# module -> name -> where it is; "?": only if no ipykernel is installed.
_NAMES: dict[str, dict[str, str]] = {
    "ipykernel": {
        "__version__": "ringfence_shell.stubs:VERSION",
        "version_info": "ringfence_shell.stubs:VERSION_INFO",
        "get_connection_file": "ringfence_shell.kernel:get_connection_file",
        "get_connection_info": "ringfence_shell.kernel:get_connection_info",
    },
    "ipykernel.connect": {
        "get_connection_file": "ringfence_shell.kernel:get_connection_file",
        "get_connection_info": "ringfence_shell.kernel:get_connection_info",
    },
    "ipykernel.zmqshell": {
        "ZMQInteractiveShell": "ringfence_shell.shell:ZMQInteractiveShell",
        "ZMQDisplayPublisher": "ringfence_shell.display:ShellDisplayPublisher",
        "KernelMagics": "ringfence_shell.magics:KernelMagics",
    },
    "ipykernel.displayhook": {
        "ZMQShellDisplayHook": "ringfence_shell.display:ShellDisplayHook",
    },
    "ipykernel.iostream": {"OutStream": "ringfence_shell.streams:OutStream"},
    "ipykernel.kernelapp": {"IPKernelApp": "ringfence_shell.kernel:KernelApp"},
    "ipykernel.kernelbase": {"Kernel": "?ringfence_shell.kernel:Kernel"},
    "ipykernel.ipkernel": {"IPythonKernel": "?ringfence_shell.kernel:Kernel"},
    "ipykernel.comm": {
        "Comm": "ringfence_shell.comms:Comm",
        "CommManager": "ringfence_shell.comms:CommManager",
    },
    "ipykernel.comm.comm": {
        "Comm": "ringfence_shell.comms:Comm",
        "BaseComm": "ringfence_shell.comms:Comm",
    },
    "ipykernel.comm.manager": {"CommManager": "ringfence_shell.comms:CommManager"},
    "ipykernel.jsonutil": {
        "json_clean": "?ringfence_shell.stubs:as_it_is",
        "encode_images": "?ringfence_shell.stubs:as_it_is",
    },
    "ipykernel.eventloops": {"enable_gui": "ringfence_shell.stubs:enable_gui"},
    "ipykernel.pylab": {},
    "ipykernel.pylab.backend_inline": {},
    "ipykernel.pylab.config": {},
}
# Modules that are another one under an old name.
_MOVED = {
    "ipykernel.pylab.backend_inline": "matplotlib_inline.backend_inline",
    "ipykernel.pylab.config": "matplotlib_inline.config",
}
_PACKAGES = {_ROOT, "ipykernel.comm", "ipykernel.pylab"}
_EAGER = (_ROOT, "ipykernel.zmqshell")

VERSION_INFO = (7, 0, 0)  # what this kernel behaves as, whatever is installed beside it
VERSION = ".".join(map(str, VERSION_INFO))


def as_it_is(value: Any) -> Any:
    """ipykernel.jsonutil's functions have had nothing to do since its version 6."""
    return value


def enable_gui(gui: str | None, kernel: Any = None) -> None:
    from IPython import get_ipython

    get_ipython().enable_gui(gui)


class _Stub(ModuleType):
    """A module whose names are looked up when they are used."""

    def __getattr__(self, name: str) -> Any:
        module = self.__name__
        where = _NAMES[module].get(name)
        if where is None and name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = _MISSING if where and where[0] != "?" else _real_value(module, name)
        if value is _MISSING and where:
            value = _imported(where.lstrip("?"))
        if value is _MISSING and module in _MOVED:
            value = getattr(importlib.import_module(_MOVED[module]), name, _MISSING)
        if value is _MISSING:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_NAMES[self.__name__]})

    @property
    def __all__(self) -> list[str]:
        return [name for name in _NAMES[self.__name__] if not name.startswith("__")]


class _StubPackage(_Stub):
    @property
    def __path__(self) -> list[str]:
        """Submodules that are not ours come from the installed package."""
        spec = _real_spec(self.__name__)
        return list(spec.submodule_search_locations or ()) if spec is not None else []


_MISSING = object()
_loaded: dict[str, ModuleType] = {}  # modules of the installed ipykernel behind ours


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _real_spec(name: str) -> ModuleSpec | None:
    """Of the module of an installed ipykernel; None if there is none."""
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        above = _real_spec(parent)
        if above is None:
            return None
        path = above.submodule_search_locations
    return PathFinder.find_spec(name, path)


def _real_value(module: str, name: str) -> Any:
    """From the installed ipykernel; _MISSING if it does not have it."""
    if module not in _loaded:
        spec = _real_spec(module)
        source = getattr(spec and spec.loader, "get_source", lambda name: None)(module)
        # pickle and others ask each module for any name: that should not load ipykernel.
        if spec is None or spec.loader is None or name not in (source or ""):
            return _MISSING
        loading = _loaded[module] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(loading)
        except BaseException:
            del _loaded[module]
            raise
        finally:
            from . import comms

            comms.install()  # ipykernel.ipkernel puts its own into the comm package
    return getattr(_loaded[module], name, _MISSING)


class _Finder:
    """Finds our modules; stands before the finder of what is installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name not in _NAMES:
            return None
        return ModuleSpec(name, _Finder, is_package=name in _PACKAGES)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return (_StubPackage if spec.name in _PACKAGES else _Stub)(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """There is nothing to run."""


def install() -> None:
    """Puts the finder and the two modules in place that libraries look for unasked."""
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
    for name in _EAGER:
        importlib.import_module(name)
