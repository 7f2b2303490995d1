"""Thread pools of numeric libraries: one thread in the zygote, the user's number in a worker.

OpenBLAS, MKL, BLIS and OpenMP read their environment variables when they are
loaded, and some start their threads then.  The zygote must stay
single-threaded, so it loads them with one thread; a worker sets the number
again before its first cell, through the libraries' own functions (ctypes on
what is loaded already).  A library that is not loaded, or has no such
function, is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Environment variables, the most particular first, and the functions they stand for.
_LIBRARIES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "openblas",
        ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
        (
            "openblas_set_num_threads",
            "openblas_set_num_threads64_",
            "scipy_openblas_set_num_threads",
            "scipy_openblas_set_num_threads64_",
        ),
    ),
    ("mkl_rt", ("MKL_NUM_THREADS", "OMP_NUM_THREADS"), ("MKL_Set_Num_Threads",)),
    ("blis", ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"), ("bli_thread_set_num_threads",)),
    ("gomp", ("OMP_NUM_THREADS",), ("omp_set_num_threads",)),
    ("iomp", ("OMP_NUM_THREADS",), ("omp_set_num_threads",)),
    ("libomp", ("OMP_NUM_THREADS",), ("omp_set_num_threads",)),
)

_VARIABLES = sorted(
    {variable for _, variables, _ in _LIBRARIES for variable in variables}
    | {"NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"}
)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Libraries that are loaded inside get one thread each."""
    saved = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def loaded_libraries() -> list[tuple[str, str]]:
    """(kind, path) of the pool libraries in this process."""
    found: dict[str, str] = {}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            name = os.path.basename(path)
            for kind, _, _ in _LIBRARIES:
                if kind in name and ".so" in name:
                    found["/" + path] = kind
    return [(kind, path) for path, kind in found.items()]


def restore(libraries: list[tuple[str, str]], environ: Mapping[str, str]) -> None:
    """Gives the libraries as many threads as the environment, or the machine, says."""
    if not libraries:
        return
    import ctypes

    for kind, path in libraries:
        variables, functions = next(row[1:] for row in _LIBRARIES if row[0] == kind)
        threads = _threads(variables, environ)
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
        except OSError:
            continue
        for function in functions:
            if threads > 1 and hasattr(library, function):
                getattr(library, function)(ctypes.c_int(threads))
                break


_PAUSE_HARD = 2  # omp_pause_hard


def pause() -> None:
    """Before a fork: libgomp ends its threads, and makes new ones when they are needed.
    Without that it would wait in the copy for threads that are not there."""
    for kind, path in loaded_libraries():
        if kind == "gomp":
            import ctypes

            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
            if hasattr(library, "omp_pause_resource_all"):
                library.omp_pause_resource_all(_PAUSE_HARD)


def _threads(variables: tuple[str, ...], environ: Mapping[str, str]) -> int:
    for name in variables:
        first = environ.get(name, "").split(",")[0].strip()  # OMP_NUM_THREADS may be a list
        if first.isdigit() and int(first) > 0:
            return int(first)
    return len(os.sched_getaffinity(0))
