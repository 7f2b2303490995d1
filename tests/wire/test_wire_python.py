"""What the codec sends, read by jupyter_client.

RF_WIRE_DUMP names the program made from dump.c.
"""

import datetime
import os
import subprocess

import pytest

session_module = pytest.importorskip("jupyter_client.session")


def dump(key, scheme):
    out = subprocess.run([os.environ["RF_WIRE_DUMP"], key, scheme], check=True,
                         capture_output=True, text=True, timeout=10).stdout
    return [[bytes.fromhex(frame) for frame in line.split(" ")] for line in out.splitlines()]


@pytest.mark.parametrize(("key", "scheme"), [
    ("some key", "hmac-sha256"), ("some key", "hmac-sha512"), ("k", "hmac-sha384"),
    ("", "hmac-sha256"),
])
def test_jupyter_client_reads_it(key, scheme):
    session = session_module.Session(key=key.encode(), signature_scheme=scheme)
    messages = []
    for frames in dump(key, scheme):
        identities, rest = session.feed_identities(frames)
        message = session.deserialize(rest)
        messages.append((identities, message))
    status, reply, display = messages

    assert [m["header"]["msg_id"] for _, m in messages] == ['s"é_0', 's"é_1', 's"é_2']
    for _, message in messages:
        header = message["header"]
        assert header["version"] == "5.4"
        assert header["session"] == 's"é'
        assert header["username"] == "ann\ufffd"
        assert header["date"] == datetime.datetime(2023, 11, 14, 22, 13, 20, 123456,
                                                   tzinfo=datetime.timezone.utc)
    assert status[0] == [b"peer"]
    assert status[1]["parent_header"] == status[1]["metadata"] == status[1]["content"] == {}
    assert reply[0] == [b"peer", b"\0\xff"]
    assert reply[1]["msg_type"] == "execute_reply"
    assert reply[1]["parent_header"]["msg_id"] == "p"
    assert reply[1]["metadata"] == {"a": "é"}
    assert reply[1]["content"] == {"status": "ok", "execution_count": 1}
    assert [bytes(b) for b in display[1]["buffers"]] == [b"\0\1\xff", b""]
