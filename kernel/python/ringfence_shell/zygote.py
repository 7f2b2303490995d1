"""The zygote: imports everything once and then only forks (in C).

Single-threaded, idle, one per interpreter and preload list.  Everything is
warmed on a shell that is thrown away; the shell that the workers inherit has
run nothing.  zygote_serve() returns in every forked worker.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import io
import linecache
import os
import site
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from collections.abc import Iterator
from typing import Any

import _ringfence

from . import pools

_REHEARSALS = 64  # CPython 3.11 specializes code at its eighth call, in several rounds
_MPLBACKEND = "module://matplotlib_inline.backend_inline"


def main(argv: list[str]) -> None:
    """--listen-fd N --keeper PATH [--preload a,b] [--direct] [--idle SECONDS]
    [--renew SECONDS]

    Returns in a worker that has ended; in the zygote SystemExit comes out of
    zygote_serve().
    """
    options = _options(argv)
    preload = [name for name in options.preload.split(",") if name]
    path = _leave_out_cwd()
    with pools.single_threaded(), _inline_backend():
        from . import plots, stubs

        stubs.install()
        plots.install()
        shell = _warm_shell()
        failed = _import(preload)
    _put_back(path)
    from . import comms, hygiene, memory, worker

    comms.install()
    hygiene.warm()
    notes = [f"Preloading {name} failed: {why}" for name, why in failed]
    made = worker.Worker(shell, notes)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        made.loop.prepare()
        if sys.version_info < (3, 13):  # later ones do not specialize calls of what was changed
            memory.gather_code(lambda: (made.rehearse_start(), made.rehearse(1)))
        made.rehearse(_REHEARSALS)
        for _ in range(16):
            made.rehearse_start()
    watch, imports = watch_list(), import_list()
    _settle(made)
    _ringfence.zygote_serve(
        options.listen_fd,
        options.direct,
        os.fsencode(options.keeper),
        options.idle,
        options.renew,
        options.preload,
        watch,
        imports,
    )
    worker.main(made)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ringfence-kernel", allow_abbrev=False)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--keeper", required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--renew", type=int, default=0)
    return parser.parse_args(argv)


def _log(text: str) -> None:
    print(f"ringfence zygote: {text}", file=sys.stderr, flush=True)


# -- sys.path -----------------------------------------------------------------


def _leave_out_cwd() -> list[tuple[int, str]]:
    """Takes '' and the working directory off sys.path, so that no file that lies
    there by chance or malice runs outside a sandbox.  Returns where they were."""
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""
    out = [(i, p) for i, p in enumerate(sys.path) if p in ("", ".") or _same(p, cwd)]
    for index, _ in reversed(out):
        del sys.path[index]
    return out


def _same(path: str, cwd: str) -> bool:
    return bool(cwd) and os.path.realpath(path) == os.path.realpath(cwd)


def _put_back(out: list[tuple[int, str]]) -> None:
    """Entries that PYTHONPATH names come back; '' is the worker's business."""
    for index, path in out:
        if path not in ("", "."):
            sys.path.insert(index, path)


# -- imports and warming ------------------------------------------------------


@contextmanager
def _inline_backend() -> Iterator[None]:
    """matplotlib reads its backend from the environment when it is imported."""
    if "MPLBACKEND" in os.environ:
        yield
        return
    os.environ["MPLBACKEND"] = _MPLBACKEND
    try:
        yield
    finally:
        del os.environ["MPLBACKEND"]


def _import(names: list[str]) -> list[tuple[str, str]]:
    """Imports the preload list; (name, reason) of what failed."""
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as exc:
            _log(f"preloading {name} failed: {exc!r}")
            failed.append((name, f"{type(exc).__name__}: {exc}"))
    return failed


def _warm_shell() -> Any:
    """The shell for the workers, after another one has warmed what they share:
    modules that are imported on first use, caches of regular expressions,
    pygments and jedi."""
    import pdb

    from IPython.core import debugger

    from . import config, memory, worker  # noqa: F401  (what the worker needs)
    from .shell import ZMQInteractiveShell

    # The debugger must be one that an interrupt can stop.
    debugger.Pdb = pdb.Pdb = debugger.InterruptiblePdb
    pdb.set_trace = debugger.set_trace

    modules, known = sys.modules.copy(), set(linecache.cache)
    spare = config.default_shell()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            _warm(spare)
        except Exception as exc:
            _log(f"warming failed: {exc!r}")
    atexit.unregister(spare.atexit_operations)
    ZMQInteractiveShell.clear_instance()
    for name in set(linecache.cache) - known:
        if name.startswith("<"):
            del linecache.cache[name]
    sys.modules["__main__"] = modules["__main__"]
    gc.collect()
    memory.fill_holes()  # what follows is needed by each worker: side by side
    shell = config.default_shell()
    shell.Completer, shell.inspector  # noqa: B018  (IPython 9 makes them when asked)
    return shell


def _warm(shell: Any) -> None:
    from . import handlers, wire

    for count, code in enumerate(("a = 1\na", "raise ValueError(1)", "%time 1"), start=1):
        shell.begin_cell(count)
        shell.run_cell(code, store_history=True)
    shell.user_expressions({"a": "a"})
    wire.dumps({"a": [1.5, None]})
    wire.iso_now()
    shell.input_transformer_manager.check_complete("for a in b:")
    shell.object_inspect_mime("a", detail_level=0)
    for code in ("import os\nos.pa", "a.re", "%ti", "si"):
        list(_completions(shell, code))
    assert handlers.HANDLERS


def _completions(shell: Any, code: str) -> Iterator[Any]:
    from IPython.core.completer import provisionalcompleter, rectify_completions

    with provisionalcompleter():
        yield from rectify_completions(code, shell.Completer.completions(code, len(code)))


# -- before the first fork ----------------------------------------------------


def watch_list() -> list[bytes]:
    """Paths whose change makes this zygote stale: files of loaded modules,
    folders of sys.path, .pth files."""
    paths = {getattr(m, "__file__", None) for m in list(sys.modules.values())}
    folders = [p for p in sys.path if p and os.path.exists(p)]
    paths.update(folders)
    if site.ENABLE_USER_SITE:  # it comes to sys.path with the first package in it
        paths.add(site.getusersitepackages())
    for folder in {*folders, *site.getsitepackages(), site.getusersitepackages()}:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        paths.update(os.path.join(folder, name) for name in names if name.endswith(".pth"))
    return sorted(os.fsencode(p) for p in paths if isinstance(p, str) and os.path.isabs(p))


def import_list() -> list[bytes]:
    """Folders and files that this interpreter imports from, there or not, without those
    that lie in another.  In a sandbox they are read-only: what a cell writes there would
    run in the next zygote, outside."""
    paths = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *sys.path}
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    paths.update(site.getsitepackages())
    for name, module in list(sys.modules.items()):
        if "." not in name:
            paths.update(_places(module))
    paths.update(_mapped_files())
    home = os.path.join(os.path.expanduser("~"), "")
    outer, kept = ["/usr/"], []
    for path in sorted(os.path.abspath(p) for p in paths if p and os.path.isabs(p)):
        folder = os.path.join(path, "")
        if not folder.startswith(tuple(outer)):
            kept.append(os.fsencode(path))
            if not home.startswith(folder):  # of a home folder a sandbox shows parts only
                outer.append(folder)
    return kept


def _places(module: Any) -> list[str]:
    """A package's folders, or a module's file."""
    try:
        folders = [os.fspath(p) for p in getattr(module, "__path__", ())]
        file = getattr(module, "__file__", None)
    except Exception:  # whatever a strange module does when it is asked
        return []
    return folders or ([file] if isinstance(file, str) else [])


def _mapped_files() -> list[str]:
    """Shared libraries, wherever they were loaded from."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        found = {line.rstrip("\n").partition("/")[2] for line in maps}
    return ["/" + path for path in found if ".so" in path and not path.endswith(" (deleted)")]


def _settle(made: Any) -> None:
    """Memory that the forks share for long, and no thread that they would lose."""
    from . import memory, streams

    tasks = os.listdir("/proc/self/task")
    if len(tasks) != 1:
        names = []
        for task in tasks:
            with open(f"/proc/self/task/{task}/comm", encoding="utf-8") as comm:
                names.append(comm.read().strip())
        _log(f"{len(tasks)} threads before the first fork: {', '.join(names)}")
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    memory.fill_holes()
    # What a cell leaves behind, here and not in each worker; and what it needs while it
    # runs has its place beside that.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        made.rehearse(8)
    made.loop.keep_plain()
    streams.install()  # outside of a worker they write to the descriptors
    gc.freeze()
    try:
        _ringfence.take_snapshot()
    except OSError as exc:
        _log(f"workers cannot give back memory: {exc}")
