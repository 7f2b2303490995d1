"""The zygote's memory, arranged so that workers copy little of it.

A page that is shared after a fork is copied at the first write to it.  What a worker
allocates would fill holes that the zygote's imports left all over the heap, a page each.
So these are filled before, with objects that stay: a worker then allocates side by side,
on few pages of its own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

_POOL = 16384  # of CPython's allocator; all blocks in one have one size
_POOL_HEADER = 48
_SMALL = 512  # larger objects come from malloc(), in whose heap large holes go first
_LARGE = (65536, 32768, 16384, 8192, 4096, 2048, 1024, 752, 640, 592, 560, 544)
_BUDGET = 4 << 20  # bytes of one size; an allocator that needs more has another layout

_fillers: list[Any] = []


def fill_holes() -> None:
    """Before the first fork."""
    for size in range(16, _SMALL + 1, 16):
        _fill(size, (_POOL - _POOL_HEADER) // size)
    for size in _LARGE:
        _fill(size, 4)


def gather_code(run: Callable[[], object]) -> None:
    """Puts the code of all functions that run() calls side by side, in copies: what a call
    writes to is its code's count of references."""
    called: dict[int, CodeType] = {}
    sys.setprofile(lambda frame, event, arg: called.setdefault(id(frame.f_code), frame.f_code))
    try:
        run()
    finally:
        sys.setprofile(None)
    gc.collect()
    fill_holes()
    copies: dict[int, CodeType] = {}
    for code in called.values():
        _copy(code, copies)
    for thing in gc.get_objects():
        if type(thing) is FunctionType and id(thing.__code__) in copies:
            thing.__code__ = copies[id(thing.__code__)]


def _copy(code: CodeType, copies: dict[int, CodeType]) -> CodeType:
    """The one copy of `code`, with copies of the code within it."""
    if id(code) not in copies:
        consts = (_copy(c, copies) if type(c) is CodeType else c for c in code.co_consts)
        copies[id(code)] = code.replace(co_consts=tuple(consts))
    return copies[id(code)]


def _fill(size: int, row: int) -> None:
    """Allocates blocks of `size` until a row of so many lies without a gap: these were
    no holes, and are given back."""
    make, length, last, first = _maker(size), 0, 0, len(_fillers)
    for _ in range(_BUDGET // size):
        filler = make()
        _fillers.append(filler)
        length = length + 1 if id(filler) == last + size else 1
        last = id(filler)
        if length == row:
            del _fillers[-row:]
            return
    del _fillers[first:]


def _maker(size: int) -> Callable[[], Any]:
    """Makes objects that take a block of `size`."""
    if size == 16:
        return object
    if size == 32:
        return lambda: float("0.5")
    malloc_header = 16 if size > _SMALL else 0
    return lambda: bytes(size - malloc_header - bytes().__sizeof__())
