"""JSON and messages of the worker protocol (include/ringfence/worker.h).

Reading is lenient as jupyter_client's reader is: bytes that are no UTF-8 are
replaced, NaN and lone surrogates pass.  Writing is strict: what goes out is
always valid UTF-8 and JSON of RFC 8259, since the gateway and browsers read it.
"""

from __future__ import annotations

import codecs
import json
import math
import numbers
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

import _ringfence

EMPTY = b"{}"

# What the gateway takes from a worker; anything else would be the worker's death.
_PUBLISHED = {
    "clear_output",
    "comm_close",
    "comm_msg",
    "comm_open",
    "debug_event",
    "display_data",
    "error",
    "execute_result",
    "update_display_data",
}
_DEPTH_MAX = 1000  # nesting of JSON (RF_JSON_DEPTH_MAX)
_NO_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STRING = re.compile(rb'"[^"]*"')

codecs.register_error("ringfence.mend", lambda e: (b"\xef\xbf\xbd" * (e.end - e.start), e.end))


def utf8(text: str) -> bytes:
    """UTF-8 of `text`; a lone surrogate becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "ringfence.mend")


def iso_date(moment: datetime) -> str:
    """ISO 8601 with microseconds and a zone; a naive date is local time."""
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def iso_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")[:-6] + "Z"


def _default(value: object) -> Any:
    """What json cannot write itself, in JSON's own types; TypeError if that cannot be."""
    if isinstance(value, datetime):
        return iso_date(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode("ascii")
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else repr(number)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r:.100}")


def _clean(value: object) -> Any:
    """A copy without NaN, infinities (their repr instead) and keys that are no str."""
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(float(value))
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _clean(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return _clean(_default(value))


def _encoder(ensure_ascii: bool) -> Any:
    return json.JSONEncoder(
        ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":"), default=_default
    ).encode


_encode, _encode_ascii = _encoder(False), _encoder(True)


def _encoded(value: object) -> bytes:
    """CPython escapes ASCII twice as fast in the mode for ASCII: 15 ms less for 10 MB."""
    text = _encode_ascii(value)
    return utf8(_encode(value)) if "\\u" in text else text.encode("ascii")


def dumps(value: object) -> bytes:
    """`value` as JSON.  ValueError or TypeError when it cannot be written."""
    try:
        data = _encoded(value)
    except (TypeError, ValueError, RecursionError):
        try:
            data = _encoded(_clean(value))
        except RecursionError:
            raise ValueError("the value contains itself or is nested too deep for JSON") from None
    if _is_deep(data):
        raise ValueError(f"the value is nested more than {_DEPTH_MAX} levels deep")
    return data


def _has_many(data: bytes, bracket: bytes) -> bool:
    """True if there may be enough of them for too deep a nesting; find() where they are
    rare is ten times as fast as count()."""
    at = -1
    for _ in range(_DEPTH_MAX // 2):
        at = data.find(bracket, at + 1)
        if at < 0:
            return False
    return True


def _is_deep(data: bytes) -> bool:
    """True if the JSON text is nested more than _DEPTH_MAX levels.

    All but brackets goes first; then each turn takes away the innermost level.
    """
    if not (_has_many(data, b"[") or _has_many(data, b"{")):
        return False
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_BRACKETS)
    data = _STRING.sub(b"", data)
    for _ in range(_DEPTH_MAX):
        before = len(data)
        data = data.replace(b"[]", b"").replace(b"{}", b"")
        if len(data) == before:
            break
    return bool(data)


def loads_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.  ValueError when it is none."""
    if data == EMPTY:
        return {}
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def publish(
    request_id: int,
    msg_type: str,
    content: Mapping[str, Any],
    *,
    metadata: Mapping[str, Any] | None = None,
    topic: bytes | None = None,
    buffers: Sequence[Any] = (),
) -> None:
    """Sends one message for iopub as output of the request `request_id`.

    ValueError or TypeError for what the gateway would not take.
    """
    if msg_type not in _PUBLISHED:
        raise ValueError(f"a message of type {msg_type!r} cannot be published")
    if not isinstance(content, Mapping) or not isinstance(metadata or {}, Mapping):
        raise TypeError("content and metadata of a message must be dicts")
    parts = [
        msg_type.encode(),
        topic or b"",
        dumps(metadata) if metadata else EMPTY,
        dumps(content),
    ]
    parts.extend(contiguous(buffer) for buffer in buffers)
    if _held is None:
        _ringfence.send(_ringfence.MSG_PUBLISH, request_id, parts)
    else:
        _held.append((request_id, [bytes(part) for part in parts]))


_held: list[tuple[int, list[bytes]]] | None = None


def hold() -> None:
    """Before HELLO nothing may be published: keeps it until release()."""
    global _held
    _held = []


def holds() -> bool:
    return _held is not None


def release() -> None:
    """Sends what was kept, after HELLO."""
    global _held
    held, _held = _held or [], None
    for request_id, parts in held:
        _ringfence.send(_ringfence.MSG_PUBLISH, request_id, parts)


def contiguous(buffer: Any) -> Any:
    """`buffer` itself, or its bytes when its memory is not one block."""
    view = memoryview(buffer)
    return buffer if view.c_contiguous else view.tobytes()
