#!/usr/bin/env python3
"""Writes vectors.json: messages as jupyter_client puts them on the wire.

Everything in them is fixed, so that a run with another version of
jupyter_client shows by `git diff` what changed.  test_vectors.c holds the
gateway's codec to them.  Run by hand:  python3 make_vectors.py
"""

import json
import pathlib

from jupyter_client.session import Session

KEY = "5ecd0de5-2c4a2f0b8f0c7f8d1e6b9a33"
DATE = "2024-05-06T07:08:09.012345Z"

# name, identities, msg_type, content, and what is out of the ordinary
MESSAGES = [
    ("kernel_info_request", [b"\x00\x6b\x8b\x45\x67"], "kernel_info_request", {}, {}),
    ("execute_request", [b"client-session"], "execute_request",
     {"code": "print('grüße, 世界 😀')\n", "silent": False, "store_history": True,
      "user_expressions": {"x": "1\t+\"2\"\\"}, "allow_stdin": True, "stop_on_error": True},
     {"metadata": {"cellId": "c1", "deletedCells": [], "tags": ["a", "é"]}}),
    ("two identities", [b"proxy\xff\x00", b"peer"], "complete_request",
     {"code": "im", "cursor_pos": 2}, {}),
    ("no identity", [], "is_complete_request", {"code": "for i in x:"}, {}),
    ("buffers", [b"c"], "comm_msg", {"comm_id": "abc", "data": {"buffer_paths": [["v"]]}},
     {"buffers": [b"\x00\x01\xfe\xff", b"", b"{not json", b"<IDS|MSG>"]}),
    ("subshell", [b"c"], "execute_request", {"code": "1"},
     {"header": {"subshell_id": "sub-1", "version": "5.2"}}),
    ("no subshell", [b"c"], "execute_request", {"code": "1"}, {"header": {"subshell_id": None}}),
    ("lenient content", [b"c"], "execute_request",
     b'{"code":"\\ud83d \\u0000","n":[NaN,-Infinity,1e999,123456789012345678901],"n":2}', {}),
    ("escaped header", [b"c"], 'odd"type\\é\n', {"code": ""}, {}),
    # the other direction: what a kernel sends
    ("stream", [b"kernel.1234.stream"], "stream", {"name": "stdout", "text": "1\n" * 50},
     {"parent": True}),
    ("execute_reply", [b"client-session"], "execute_reply",
     {"status": "ok", "execution_count": 7, "payload": [], "user_expressions": {}},
     {"parent": True, "metadata": {"started": DATE}}),
    ("display_data", [b"display_data"], "display_data",
     {"data": {"text/plain": "x", "image/png": "iVBORw0KGgo" * 300}, "metadata": {},
      "transient": {}}, {"parent": True, "buffers": [bytes(range(256))]}),
]

KEYS = [(KEY, "hmac-sha256"), ("k", "hmac-sha256"), ("x" * 200, "hmac-sha256"),
        (KEY, "hmac-sha512"), (KEY, "hmac-sha1"), (KEY, "hmac-sha384"), (KEY, "hmac-md5"),
        ("", "hmac-sha256")]


def header(msg_id, msg_type, **more):
    return {"msg_id": msg_id, "msg_type": msg_type, "username": "ann", "session": "s-é",
            "date": DATE, "version": "5.4", **more}


def frames_of(session, number, message):
    _, identities, msg_type, content, more = message
    own = header(f"s_1_{number}", msg_type, **more.get("header", {}))
    parent = header("p_1_0", "execute_request") if more.get("parent") else {}
    msg = {"header": own, "parent_header": parent, "metadata": more.get("metadata", {}),
           "content": content}
    return own, session.serialize(msg, identities) + more.get("buffers", [])


def vector(name, key, scheme, frames, drop, **more):
    return {"name": name, "key": key, "scheme": scheme,
            "frames": [frame.hex() for frame in frames], "drop": drop, **more}


def good_vectors():
    for key, scheme in KEYS:
        session = Session(key=key.encode(), signature_scheme=scheme, packer="json",
                          unpacker="json", session="s", username="ann")
        for number, message in enumerate(MESSAGES):
            own, frames = frames_of(session, number, message)
            identities, rest = session.feed_identities(frames)
            session.deserialize(rest)  # jupyter_client itself takes it
            yield vector(f"{message[0]}, {scheme}, key of {len(key)}", key, scheme, frames, "ok",
                         identities=len(identities), buffers=len(rest) - 5,
                         msg_id=own["msg_id"], msg_type=own["msg_type"])


def bad_vectors():
    session = Session(key=KEY.encode(), packer="json", unpacker="json", session="s",
                      username="ann")
    _, frames = frames_of(session, 0, MESSAGES[1])
    changes = {
        "unsigned": (2, b""),
        "wrong signature": (6, frames[6].replace(b"print", b"exec_")),
        "wrong frames": (1, b"<IDS|MSH>"),
    }
    for drop, (at, frame) in changes.items():
        changed = frames[:at] + [frame] + frames[at + 1:]
        try:
            session.deserialize(session.feed_identities(changed)[1])
        except ValueError:
            yield vector(drop, KEY, "hmac-sha256", changed, drop)
        else:
            raise SystemExit(f"jupyter_client takes what is {drop}")


def main():
    path = pathlib.Path(__file__).with_name("vectors.json")
    vectors = [*good_vectors(), *bad_vectors()]
    lines = ",\n".join(json.dumps(v) for v in vectors)
    path.write_text(f"[\n{lines}\n]\n")
    print(f"{len(vectors)} vectors in {path.name}")


if __name__ == "__main__":
    main()
