"""Bad messages and bad connection files: each has a defined answer and harms nothing else."""

import hashlib
import hmac
import json
import os
import socket
import stat
import subprocess
import time

import pytest
import zmq

from helpers import (QUIET, kernel_argv, kernel_environment, new_folder, ringfence_program,
                     wait_until)
from rawclient import (DELIMITER, PORTS, RawClient, new_connection, read_connection,
                       write_connection)

UNKNOWN_TYPE = "no-such-type_request"


@pytest.fixture
def raw(kernel):
    with RawClient(kernel.connection) as client:
        client.ready()
        drain(client)
        yield client
        assert_well(client)


def drain(client):
    for channel in ("shell", "control", "iopub"):
        while client.receive(channel, 0.05) is not None:
            pass


def assert_well(client):
    drain(client)
    reply, messages = client.run("6 * 7", timeout=20)
    assert reply["content"]["status"] == "ok"
    assert "42" in [each["content"]["data"]["text/plain"] for each in messages
                    if each["msg_type"] == "execute_result"]


def assert_ignored(client, channel="shell"):
    """Neither a reply nor busy and idle come (ipykernel shows a traceback on stderr)."""
    assert client.receive(channel, QUIET) is None
    while (message := client.receive("iopub", 0)) is not None:
        assert message["msg_type"] == "stream", message


def request(client, **changes):
    """(header, frames) of a request that would be answered if it were right."""
    header = client.header("kernel_info_request", **changes)
    return header, client.frames("kernel_info_request", {}, header=header)[1]


@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize("signature", [b"0" * 64, b"", b"short", b"\xff" * 64, b"A" * 100_000],
                         ids=["wrong", "unsigned", "short", "binary", "long"])
def test_signature(raw, channel, signature):
    _, frames = request(raw)
    frames[1] = signature
    raw.send_frames(channel, frames)
    assert_ignored(raw, channel)


@pytest.mark.parametrize("frame", [2, 3, 4, 5], ids=["header", "parent", "metadata", "content"])
def test_changed_after_signing(raw, frame):
    _, frames = request(raw)
    frames[frame] = frames[frame].replace(b"{", b"{ ", 1)
    raw.send_frames("shell", frames)
    assert_ignored(raw)


def test_signature_in_capitals_is_not_ours(raw):
    _, frames = request(raw)
    if frames[1].upper() != frames[1]:
        frames[1] = frames[1].upper()
        raw.send_frames("shell", frames)
        assert_ignored(raw)


def test_replay(raw):
    header, frames = request(raw)
    raw.send_frames("shell", frames)
    raw.reply("shell", header["msg_id"])
    raw.until_idle(header["msg_id"])
    for _ in range(3):
        raw.send_frames("shell", frames)
    assert_ignored(raw)
    raw.send_frames("control", frames)
    assert raw.receive("control", QUIET) is None


@pytest.mark.ringfence_only("ipykernel remembers a signature before it has checked it")
def test_replay_memory_cannot_be_poisoned(raw):
    """Whoever has no key but sees a signature must not be able to use it up."""
    header, frames = request(raw)
    forged = list(frames)
    forged[5] = b'{"forged": 1}'
    raw.send_frames("shell", forged)
    time.sleep(QUIET)
    raw.send_frames("shell", frames)
    assert raw.reply("shell", header["msg_id"], 10)["content"]["status"] == "ok"


@pytest.mark.parametrize("keep", range(6))
def test_missing_frames(raw, keep):
    _, frames = request(raw)
    raw.send_frames("shell", frames[:keep] or [b""])
    assert_ignored(raw)


def test_no_delimiter(raw):
    _, frames = request(raw)
    raw.send_frames("shell", frames[1:])
    assert_ignored(raw)


def test_frames_before_the_delimiter(raw):
    """They are identities, and come back before the delimiter of the reply."""
    header, frames = request(raw)
    raw.send_frames("shell", [b"one", b"two", *frames])
    reply = raw.reply("shell", header["msg_id"], 10)
    assert reply["topic"] == [b"one", b"two"]


def test_nothing_stands_before_the_delimiter_of_a_reply(raw):
    for channel in ("shell", "control"):
        msg_id = raw.send(channel, "kernel_info_request")
        assert raw.reply(channel, msg_id, 10)["topic"] == []


@pytest.mark.ringfence_only("a bound of ours")
def test_too_many_frames(raw):
    _, frames = request(raw)
    raw.send_frames("shell", frames + [b"x"] * 5000)
    assert_ignored(raw)


def signed(client, header=None, parent=b"{}", metadata=b"{}", content=b"{}"):
    if header is None:
        header = json.dumps(client.header("kernel_info_request")).encode()
    parts = [header, parent, metadata, content]
    return [DELIMITER, client.sign(parts), *parts]


@pytest.mark.parametrize("header", [
    b"", b"{", b"nonsense", b"[]", b"1", b"null", b'"text"', b"{}", b'{"msg_id": "a"}',
    b'{"msg_type": "kernel_info_request"}', b'{"msg_id": 1, "msg_type": 2}',
    b'{"msg_id": null, "msg_type": null}', b"\xff\xfe", b'{"msg_id": "a",}', b"{}" * 100,
])
def test_header_is_no_header(raw, header):
    raw.send_frames("shell", signed(raw, header=header))
    assert raw.receive("shell", QUIET) is None


@pytest.mark.parametrize("content", [b"", b"{", b"nonsense", b"[]", b"null", b"\xff", b'{"code"'])
@pytest.mark.parametrize("msg_type", ["execute_request", "complete_request", "kernel_info_request"])
def test_content_is_not_json(raw, msg_type, content):
    """Dropped, or answered with an error; never with ok for code that is not there."""
    raw.send_frames("shell", signed(
        raw, json.dumps(raw.header(msg_type)).encode(), content=content))
    reply = raw.receive("shell", QUIET)
    assert reply is None or msg_type == "kernel_info_request" or \
        reply["content"]["status"] != "ok"


@pytest.mark.parametrize("content", [
    {}, {"code": 1}, {"code": None}, {"code": ["x"]}, {"code": {"a": 1}},
    {"code": "1", "silent": "maybe", "user_expressions": 5},
    {"code": "1", "user_expressions": {"a": 1}},
], ids=json.dumps)
def test_execute_request_of_wrong_types(raw, content):
    raw.send("shell", "execute_request", content)
    reply = raw.receive("shell", 1)
    assert reply is None or reply["content"]["status"] in ("ok", "error")


@pytest.mark.parametrize("msg_type, content", [
    ("complete_request", {}), ("complete_request", {"code": "abc", "cursor_pos": -5}),
    ("complete_request", {"code": "abc", "cursor_pos": 10**18}),
    ("complete_request", {"code": "abc", "cursor_pos": "x"}),
    ("inspect_request", {}), ("inspect_request", {"code": "a", "cursor_pos": 99,
                                                  "detail_level": 7}),
    ("history_request", {}), ("history_request", {"hist_access_type": "nonsense"}),
    ("history_request", {"hist_access_type": "tail", "n": -1}),
    ("history_request", {"hist_access_type": "range", "session": 10**30, "start": "a"}),
    ("is_complete_request", {}), ("comm_msg", {}), ("comm_open", {}), ("comm_close", {}),
    ("comm_msg", {"comm_id": "unknown", "data": {}}),
    ("comm_open", {"comm_id": "c", "target_name": "unknown", "data": {}}),
], ids=lambda value: value if isinstance(value, str) else json.dumps(value))
def test_other_requests_of_wrong_types(raw, msg_type, content):
    raw.send("shell", msg_type, content)
    raw.receive("shell", 0.2)


@pytest.mark.parametrize("depth", [900, 5000, 200_000])
@pytest.mark.ringfence_only("ipykernel stops reading its shell after a RecursionError")
def test_deep_json(raw, depth):
    deep = b'{"code": "1", "x": ' + b"[" * depth + b"]" * depth + b"}"
    raw.send_frames("shell", signed(
        raw, json.dumps(raw.header("execute_request")).encode(), content=deep))
    raw.receive("shell", QUIET)


def test_lone_surrogates_in_the_header(raw):
    header = json.dumps(raw.header("kernel_info_request", username="\ud83d")).encode()
    assert b"\\ud83d" in header
    raw.send_frames("shell", signed(raw, header=header))
    raw.receive("shell", 0.5)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 400])
def test_numbers_that_are_not_json(raw, value):
    header = raw.header("execute_request")
    frames = signed(raw, json.dumps(header).encode(), metadata=b'{"n": ' + value + b"}",
                    content=b'{"code": "1", "silent": false, "store_history": true, '
                            b'"user_expressions": {}, "allow_stdin": false}')
    raw.send_frames("shell", frames)
    assert raw.reply("shell", header["msg_id"], 10)["content"]["status"] == "ok"


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_unknown_message_type(raw, channel):
    """No reply; busy and idle may come."""
    msg_id = raw.send(channel, UNKNOWN_TYPE)
    assert raw.receive(channel, QUIET) is None
    while (message := raw.receive("iopub", 0.05)) is not None:
        assert message["parent"] == msg_id and message["msg_type"] == "status"


@pytest.mark.parametrize("msg_type", ["execute_reply", "status", "stream", "input_request", ""])
def test_message_types_that_only_kernels_send(raw, msg_type):
    raw.send("shell", msg_type, {"status": "ok", "execution_state": "idle", "name": "stdout",
                                 "text": "forged"})
    assert raw.receive("shell", QUIET) is None
    while (message := raw.receive("iopub", 0.05)) is not None:
        assert message["msg_type"] == "status"


def test_unasked_input_reply(raw):
    raw.send("stdin", "input_reply", {"value": "nobody asked"})
    raw.send("stdin", "execute_request", {"code": "raise SystemExit"})
    raw.send_frames("stdin", [b"junk"])
    assert raw.receive("stdin", QUIET) is None


def test_unknown_subshell(raw):
    header = raw.header("execute_request", subshell_id="no-such-subshell")
    raw.send("shell", "execute_request", {"code": "1"}, header=header)
    raw.receive("shell", QUIET)


def test_bytes_that_are_no_zmq(kernel, raw):
    for channel in ("shell", "iopub", "control", "stdin", "hb"):
        with socket.create_connection(("127.0.0.1", kernel.connection[f"{channel}_port"])) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(1000))


def test_a_thousand_bad_messages(raw):
    for number in range(1000):
        raw.send_frames("shell", [DELIMITER, os.urandom(number % 70), b"{}", b"{}", b"{}", b"{}"])


@pytest.mark.parametrize("payload", [b"", b"ping", b"x" * 100_000, bytes(range(256))],
                         ids=["empty", "ping", "long", "binary"])
def test_heartbeat_echoes_anything(raw, payload):
    sock = raw.sockets["hb"]
    sock.send(payload)
    assert sock.poll(5000), "no echo"
    assert sock.recv() == payload


# A kernel's process and its connection file

class Started:
    """A kernel's process with a connection file of ours."""

    def __init__(self, name, path, *arguments):
        self.child = subprocess.Popen(
            [*kernel_argv(name, path), *arguments], env=kernel_environment(),
            cwd=new_folder(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def fails(self, timeout=30):
        """Text on stderr of a start that must fail."""
        _, text = self.child.communicate(timeout=timeout)
        assert self.child.returncode > 0, f"{self.child.returncode}: {text}"
        return text

    def stop(self):
        self.child.kill()
        self.child.communicate()


@pytest.fixture
def launch(kernel_name):
    started = []

    def launcher(path, *arguments):
        started.append(Started(kernel_name, path, *arguments))
        return started[-1]

    yield launcher
    for each in started:
        each.stop()


def connection_path():
    return os.path.join(new_folder(), "kernel.json")


def complete(path):
    """The connection once all ports stand in the file."""
    try:
        info = read_connection(path)
    except (OSError, ValueError):
        return None
    return info if all(info.get(port) for port in PORTS) else None


def check_answers(info):
    with RawClient(info) as client:
        client.ready()
        assert_well(client)


def test_missing_connection_file_is_created(launch):
    path = connection_path()
    launch(path)
    info = wait_until(lambda: complete(path))
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    assert info["transport"] == "tcp" and len(info["key"]) >= 32
    assert info["signature_scheme"] == "hmac-sha256"
    check_answers(info)


def test_ports_zero_are_chosen_and_written_back(launch):
    path = connection_path()
    write_connection(path, new_connection(**dict.fromkeys(PORTS, 0)))
    key = read_connection(path)["key"]
    launch(path)
    info = wait_until(lambda: complete(path))
    assert len({info[port] for port in PORTS}) == 5
    assert info["key"] == key
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    check_answers(info)


@pytest.mark.ringfence_only("members it does not know")
def test_written_back_with_what_was_there(launch):
    path = connection_path()
    write_connection(path, new_connection(shell_port=0, jupyter_session="/a/b.ipynb", extra=[1]))
    before = read_connection(path)
    launch(path)
    info = wait_until(lambda: complete(path))
    assert {**info, "shell_port": 0} == before
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_no_key_means_no_signatures(launch):
    path = connection_path()
    write_connection(path, new_connection(key=""))
    launch(path)
    info = read_connection(path)
    with RawClient(info) as client:
        client.sign = lambda parts: b""
        client.ready()
        assert_well(client)


def test_sha512_scheme(launch):
    path = connection_path()
    write_connection(path, new_connection(signature_scheme="hmac-sha512"))
    launch(path)
    info = read_connection(path)
    with RawClient(info) as client:
        client.sign = lambda parts: hmac.new(
            client.key, b"".join(parts), hashlib.sha512).hexdigest().encode()
        client.ready()
        assert_well(client)


@pytest.mark.ringfence_only("ipykernel goes on with a file that it cannot use")
@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"{} trailing", b'{"shell_port": "x"}',
    json.dumps(new_connection(shell_port=70_000)).encode(),
    json.dumps(new_connection(shell_port=-1)).encode(),
    json.dumps(new_connection(transport="carrier-pigeon")).encode(),
    json.dumps(new_connection(signature_scheme="hmac-nonsense")).encode(),
    json.dumps(new_connection(signature_scheme="plain")).encode(),
    json.dumps(new_connection(ip="not an address")).encode(),
    json.dumps(new_connection(key=5)).encode(),
    json.dumps(new_connection(key="k" * 100_000)).encode(),
], ids=["empty", "cut", "list", "null", "binary", "trailing", "port-text", "port-large",
        "port-negative", "transport", "digest", "scheme", "ip", "key-number", "key-long"])
def test_malformed_connection_file(launch, text):
    path = connection_path()
    with open(path, "wb") as file:
        file.write(text)
    message = launch(path).fails()
    assert path in message or "signature scheme" in message
    assert "Traceback" not in message


@pytest.mark.ringfence_only("the text is ours")
def test_connection_file_is_a_folder(launch):
    path = connection_path()
    os.mkdir(path)
    assert path in launch(path).fails()


@pytest.mark.ringfence_only("the text is ours")
def test_connection_file_in_no_folder(launch):
    path = os.path.join(new_folder(), "none", "kernel.json")
    assert path in launch(path).fails()


@pytest.mark.ringfence_only("the text is ours")
def test_connection_file_that_cannot_be_read(launch):
    if os.geteuid() == 0:
        pytest.skip("absent layer: root reads every file (the suite of an ordinary user runs this)")
    path = connection_path()
    write_connection(path, new_connection())
    os.chmod(path, 0)
    message = launch(path).fails()
    assert path in message and "ermission" in message


@pytest.mark.ringfence_only("ipykernel hangs when the port of iopub or hb is in use")
@pytest.mark.parametrize("port", PORTS)
def test_port_in_use(launch, port):
    path = connection_path()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        write_connection(path, new_connection(**{port: number}))
        message = launch(path).fails()
    assert "in use" in message and str(number) in message


@pytest.mark.ringfence_only("a limit of ours")
def test_oversized_message(launch):
    path = connection_path()
    info = new_connection()
    write_connection(path, info)
    launch(path, "--max-message=65536")
    with RawClient(info) as good, RawClient(info) as bad:
        good.ready()
        bad.ready()
        bad.execute("x = '" + "y" * 200_000 + "'")
        assert bad.receive("shell", 1) is None
        assert_well(good)
        small = bad.execute("'" + "z" * 1000 + "'")  # the peer was closed and came back
        assert bad.reply("shell", small)["content"]["status"] == "ok"
        for _ in range(20):  # many frames below the limit that are above it together
            _, frames = request(bad)
            bad.send_frames("shell", frames + [b"b" * 20_000] * 10)
        assert_well(good)


@pytest.mark.ringfence_only("the text is ours")
@pytest.mark.parametrize("arguments", [["kernel"], ["kernel", "-f"], ["no-such-command"],
                                       ["kernel", "--max-message=x", "-f", "unused.json"]])
def test_wrong_command_lines(kernel_name, arguments):
    done = subprocess.run([ringfence_program(), *arguments], capture_output=True, text=True,
                          timeout=30, env=kernel_environment(), cwd=new_folder(), check=False)
    assert done.returncode > 0 and done.stderr.strip()


def test_peer_that_connects_and_says_nothing(kernel, raw):
    held = [socket.create_connection(("127.0.0.1", kernel.connection["shell_port"]))
            for _ in range(50)]
    assert_well(raw)
    for each in held:
        each.close()


def test_identity_of_another_client_cannot_steal_the_connection_for_good(kernel, raw):
    """ROUTER hands an identity over to the newest; the older client may connect again."""
    thief = raw.context.socket(zmq.DEALER)
    thief.linger = 0
    thief.identity = raw.session.encode()
    thief.connect(raw.address("shell"))
    time.sleep(0.2)
    thief.close()
    fresh = RawClient(kernel.connection)
    fresh.ready()
    assert_well(fresh)
    fresh.close()
    raw.sockets["shell"].disconnect(raw.address("shell"))
    raw.sockets["shell"].connect(raw.address("shell"))
