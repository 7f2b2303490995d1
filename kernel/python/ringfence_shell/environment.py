"""Variables and packages that a kernel has beside those of its interpreter.

`during` serves metadata.ringfence.env of one request; `use_layer` the folder in
which %pip installs and libraries have their caches (profiles with a workspace of
the machine's).
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

LAYER = "RINGFENCE_LAYER"


def during(metadata: Mapping[str, Any]) -> AbstractContextManager[None]:
    """os.environ with the request's own variables, which are taken back at the end;
    the gateway has checked them (gateway/jupyter/run_options.h)."""
    ours = metadata.get("ringfence")
    wanted = ours.get("env") if isinstance(ours, dict) else None
    return _variables(wanted) if wanted else _NO_VARIABLES


_NO_VARIABLES = nullcontext()


@contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


_ZYGOTE_UID = os.getuid()


def name_user() -> None:
    """getpass.getuser() has an answer: the user that root's kernels run as may be in no list,
    and where no variable names one either, this one says what root's login would."""
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    if os.getuid() != _ZYGOTE_UID and not any(map(os.environ.get, names)):
        os.environ["USER"] = "root"


def use_layer() -> None:
    """Packages of the layer go before the interpreter's, here and in what is started
    from here, and pip installs into it.

    The user scheme is what pip treats as it should: what the interpreter has need not be
    installed again, and an upgrade is put before the old version and not in its place.  A
    virtual environment knows no user scheme; there it is a plain folder on PYTHONPATH.
    """
    layer = os.environ.get(LAYER)
    if not layer:
        return
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = os.path.join(layer, "lib", version, "site-packages")
    if sys.prefix == sys.base_prefix:
        os.environ |= {"PYTHONUSERBASE": layer, "PIP_USER": "1", "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    else:
        os.environ |= {"PIP_TARGET": packages, "PIP_UPGRADE": "1"}
        more = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{packages}{os.pathsep}{more}" if more else packages
    # The home folder is empty in each kernel; matplotlib's list of fonts and models that
    # libraries download need not be made anew in each.
    os.environ.setdefault("XDG_CACHE_HOME", os.path.join(layer, "cache"))
    os.environ["PATH"] = os.pathsep.join([os.path.join(layer, "bin"), os.environ.get("PATH", os.defpath)])
    _put_first(packages)


def rehearse() -> None:
    """In a spare: what use_layer() will do, with a folder in which there is nothing for it."""
    before = list(sys.path)
    _put_first(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = before


def _put_first(packages: str) -> None:
    """Before the first folder of installed packages, with what its .pth files name."""
    before = list(sys.path)
    if not os.path.isdir(packages):  # Python remembers of a folder that is not there that it is not
        with suppress(OSError):
            os.makedirs(packages, exist_ok=True)
    site.addsitedir(packages, set(before))
    added = [path for path in sys.path if path not in before]
    names = ("site-packages", "dist-packages")
    at = next((i for i, path in enumerate(before) if os.path.basename(path) in names), len(before))
    sys.path[:] = before[:at] + added + before[at:]
