"""How far a cell reaches: sockets, other kernels, the network, tools that run beside it.

Rows E9 to E12, E14 and P9 of the catalogue of abuses.  The network is one of the test's
own (machine.py), so that addresses which must be refused are really there.
"""

import ast
import glob
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from contextlib import contextmanager

import pytest

import machine
import processes
from helpers import Kernel, Settings, client_of, kernel_argv, need, new_folder, wait_until
from rawclient import new_connection
from test_profiles import configured
from test_sandbox_walls import PRELUDE, said

pytestmark = pytest.mark.ringfence_only("other kernels have no walls")

TRY = PRELUDE + """
def connect(address, port, family=socket.AF_INET):
    with socket.socket(family) as sock:
        sock.settimeout(5)
        try:
            sock.connect((address, port))
            return sock.recv(100)
        except socket.timeout:
            return 'timeout'
        except OSError as exc:
            return errno.errorcode.get(exc.errno, str(exc))

def send(address, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        return told(sock.sendto, b'x', (address, port))

def resolve(name):
    try:
        return socket.gethostbyname(name)
    except OSError as exc:
        return type(exc).__name__
"""


@contextmanager
def elsewhere(env, arguments, *kernel_arguments):
    """A kernel on a machine of its own, over Unix sockets; `log` is its stderr so far."""
    need("ip")
    begin = machine.wrapper(*arguments)
    if begin is None:
        pytest.skip("absent layer: this user gets no namespaces")
    folder = tempfile.mkdtemp(prefix="rf", dir="/var/tmp")  # root's kernel is another user here
    os.chmod(folder, 0o777)
    path = os.path.join(new_folder(), "kernel.json")
    log = open(os.path.join(new_folder(), "log"), "w+", encoding="utf-8")
    child = subprocess.Popen([*begin, *kernel_argv("ringfence", path), "--transport", "ipc", "--ip",
                              os.path.join(new_folder(), "s"), *kernel_arguments],
                             env=env, cwd=folder, stderr=log)
    try:
        wait_until(lambda: os.path.exists(path) or child.poll() is not None)
        client = client_of(path)
        client.pid, client.log = child.pid, lambda: open(log.name, encoding="utf-8").read()
        yield client
        client.kc.shutdown()
        assert child.wait(20) == 0
        client.close()
    finally:
        child.kill()
        child.wait()
        log.close()
        shutil.rmtree(folder)


def banner(client):
    return client.request("shell", "kernel_info_request")["banner"]


# -- the network of its own -----------------------------------------------------------------

HELPERS = {"slirp4netns": [], "pasta": ["--cover", "/usr/bin/slirp4netns"]}


def check_helper(client, name):
    """P9: the one that is named, without set-user-ID, filtered, with few powers."""
    below = processes.below(client.pid).values()
    helper = [each for each in below if each.command.startswith(f"/usr/bin/{name}")]
    assert len({each.parent for each in helper}) == 1, below
    assert not os.stat(f"/usr/bin/{name}").st_mode & (stat.S_ISUID | stat.S_ISGID)
    with open(f"/proc/{helper[0].pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    assert status["Seccomp"] == "2"
    dangerous = 1 << 1 | 1 << 16 | 1 << 19 | 1 << 17  # DAC_OVERRIDE, SYS_MODULE, SYS_PTRACE, SYS_RAWIO
    assert not int(status["CapEff"], 16) & dangerous


@pytest.mark.parametrize("helper", HELPERS)
def test_E12_P9_network_on(own_runtime, helper):
    need(helper)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("absent layer: /dev/net/tun cannot be opened")
    folder = new_folder()
    with elsewhere(own_runtime, ["--network", folder, *HELPERS[helper]]) as client:
        client.run(TRY)
        # What must be had comes first, so that the rest means something.
        code = f"""
            import time
            for _ in range(200):
                if connect({machine.FAR!r}, 80) == {machine.WORD!r}: break
                time.sleep(0.05)
            print([connect({machine.FAR!r}, 80), resolve('far.example')])"""
        assert said(client, code) == [machine.WORD, machine.FAR], client.log()
        with open(os.path.join(folder, "reached"), encoding="ascii") as file:
            assert file.read().split() == [machine.FAR, machine.FAR6, *machine.METADATA]
        found = said(client, f"print({{a: (connect(a, 80), send(a, 80)) for a in "
                             f"{machine.METADATA + [machine.HOST]}}})")
        assert set(found.values()) == {("EHOSTUNREACH", "EHOSTUNREACH")}, found
        found = said(client, f"print({{a: connect(a, 80, socket.AF_INET6) for a in "
                             f"{[machine.FAR6, machine.HOST6]}}})")
        assert set(found.values()) == {"ENETUNREACH"}, found
        local = "fe80::1%' + socket.if_nameindex()[1][1] + '"
        assert said(client, f"print(repr(connect('{local}', 80, socket.AF_INET6)))") != machine.WORD
        # The host's own loopback, by every name that it could have inside.
        said(client, f"print([connect(a, 81) for a in ('127.0.0.1', '10.0.2.2', '10.0.2.3', '0.0.0.0', "
                     f"'10.0.2.100', '10.0.2.255', '{machine.HOST}')] + [send(a, 81) for a in "
                     f"('127.0.0.1', '10.0.2.2', '10.0.2.3', '10.0.2.100', '{machine.HOST}')])")
        assert said(client, "print([told(lambda: socket.socket(2, 3, 1).close()), "
                            "told(lambda: socket.socket(17, 3, 0).close())])") == ["EPERM", "EAFNOSUPPORT"]
        visitors = os.path.join(folder, "visitors")
        assert not os.path.exists(visitors), open(visitors, encoding="ascii").read()
        assert "network" not in banner(client)
        check_helper(client, helper)
        # The routes cannot be taken away: RTM_DELROUTE of 169.254.0.0/16.
        assert said(client, """
            import struct
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
                body = struct.pack('BBBBBBBBI', 2, 16, 0, 0, 254, 4, 0, 7, 0) + struct.pack(
                    'HH4B', 8, 1, 169, 254, 0, 0)
                sock.send(struct.pack('IHHII', 16 + len(body), 25, 5, 1, 0) + body)
                print(struct.unpack('i', sock.recv(4096)[16:20])[0])""") == -1  # EPERM
        assert said(client, f"print(repr(connect({machine.METADATA[0]!r}, 80)))") == "EHOSTUNREACH"


def test_a_host_without_a_network_is_told(own_runtime):
    """The helper starts and finds nothing that it could pass on."""
    need("pasta")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("absent layer: /dev/net/tun cannot be opened")
    with elsewhere(own_runtime, HELPERS["pasta"]) as client:
        wait_until(lambda: "network (there is none)" in banner(client))
        assert "no network (there is none): " in client.log()


@pytest.mark.parametrize("fallback", ["host", "off"])
def test_where_there_is_no_tun_device(own_runtime, fallback):
    config = configured({"profiles": {"mine": {"network_fallback": fallback}}})
    env = {**config, "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]}
    folder = new_folder()
    with elsewhere(env, ["--network", folder, "--cover", "/dev/net"], "--profile", "mine") as client:
        client.run(TRY)
        if fallback == "host":
            assert "network (the host's is shared)" in banner(client)
            assert said(client, f"print(repr(connect({machine.FAR!r}, 80)))") == machine.WORD
        else:
            assert "network (there is none)" in banner(client)
            assert said(client, f"print(repr(connect({machine.FAR!r}, 80)))") == "ENETUNREACH"
        assert "/dev/net/tun cannot be opened" in client.log()


# -- no network -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def box(kernel_name):
    kernel = Kernel(kernel_name, arguments=["--profile", "offline"])
    assert kernel.run(TRY).status == "ok"
    yield kernel
    assert kernel.value("kept + 1") == 42
    kernel.stop()


def own_addresses():
    """Addresses of this host that are not loopback: what a socket to far away would have."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.99"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((far, 9))
                found.append((sock.getsockname()[0], int(family)))
            except OSError:
                pass  # none of that family
    return found


def test_E11_nothing_is_reached_without_network(box):
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        targets = [("192.0.2.99", 2), ("169.254.169.254", 2), ("10.0.2.2", 2), ("10.0.2.3", 2),
                   ("8.8.8.8", 2), ("2001:db8::1", 10), ("fd00:ec2::254", 10), *own_addresses()]
        found = said(box, f"print({{a: (connect(a, {port}, f), send(a, 53, f)) for a, f in {targets}}})")
        assert set(found.values()) == {("ENETUNREACH", "ENETUNREACH")}, found
        found = said(box, f"print([connect('127.0.0.1', {port}), connect('::1', {port}, 10), "
                          f"connect('0.0.0.0', {port})])")
        assert set(found) == {"ECONNREFUSED"}, found
        with pytest.raises(BlockingIOError):
            server.accept()
    assert box.value("[resolve('example.com'), resolve('localhost')]") == ["gaierror", "127.0.0.1"]
    assert said(box, "print([told(lambda: socket.socket(f, 3, p).close()) for f, p in ((2, 1), (2, 255), "
                     "(10, 58))] + [len(socket.if_nameindex())])") == ["EPERM"] * 3 + [1]


def test_E9_sockets_of_the_machine(box):
    name = "rf-test-" + os.urandom(4).hex()
    own = os.path.join(os.environ["XDG_RUNTIME_DIR"], "ringfence")
    places = [f"/tmp/{name}", f"/var/tmp/{name}", f"/dev/shm/{name}", os.path.join(own, name),
              os.path.join(os.environ["HOME"], name)]
    servers = []
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            for place in (f"\0{name}{kind}", *(f"{each}{int(kind)}" for each in places)):
                servers.append(socket.socket(socket.AF_UNIX, kind))
                servers[-1].bind(place)
        zygotes = glob.glob(os.path.join(own, "*.sock"))
        assert zygotes, os.listdir(own)
        found = said(box, f"""
            found = {{}}
            for kind in (1, 2, 5):
                for place in ['\\0' + {name!r}, *{places!r}]:
                    with socket.socket(1, kind) as sock:
                        found[place, kind] = told(sock.connect, place + str(kind))
            for place in {zygotes}:
                with socket.socket(1, 1) as sock:
                    found[place] = told(sock.connect, place)
            print(found)""")
        assert set(found.values()) <= {"EPERM", "ECONNREFUSED", "ENOENT", "EACCES"}, found
    finally:
        for each in servers:
            path = each.getsockname()
            each.close()
            if isinstance(path, str) and path:
                os.unlink(path)


def zmtp(port, word):
    """A cell that shakes hands with a ZeroMQ socket, sends `word`, and says what came."""
    return f"""
        with socket.socket() as sock:
            sock.settimeout(5)
            try:
                sock.connect(('127.0.0.1', {port}))
                sock.sendall(b'\\xff' + bytes(8) + b'\\x7f\\x03\\x00NULL' + bytes(48))
                sock.sendall(b'\\x04\\x1a\\x05READY\\x0bSocket-Type\\x00\\x00\\x00\\x06DEALER')
                sock.sendall({word!r})
                print(len(sock.recv(64)))
            except OSError as exc:
                print(repr(errno.errorcode.get(exc.errno, type(exc).__name__)))"""


def forged(code):
    """An execute_request as a client would send it that has guessed at the key."""
    content = json.dumps({"code": code, "silent": False}).encode()
    header = json.dumps({"msg_id": "x", "msg_type": "execute_request", "session": "s", "username": "u",
                         "version": "5.3", "date": "2026-01-01T00:00:00Z"}).encode()
    frames = [b"<IDS|MSG>", b"0" * 64, header, b"{}", b"{}", content]
    return b"".join(bytes([3 if len(each) > 255 else each is not frames[-1]])
                    + (len(each).to_bytes(8, "big") if len(each) > 255 else bytes([len(each)]))
                    + each for each in frames)


def test_E10_another_kernel(box, start, own_runtime):
    other = start()
    other.run("x = 41")
    info, path = other.connection, other.km.connection_file
    ports = [info[each] for each in info if each.endswith("_port")]
    assert len(ports) == 5
    for kernel in (box, start(arguments=["--profile", "workspace"])):
        kernel.run(TRY)
        assert kernel.value(f"os.path.exists({path!r})") is False
        if "host's is shared" not in kernel.client.request("shell", "kernel_info_request")["banner"]:
            assert said(kernel, f"print([connect('127.0.0.1', p) for p in {ports}])") == ["ECONNREFUSED"] * 5
    # Where a profile shares the host's network the ports are there, and the key is not.
    config = configured({"profiles": {"open": {"network": "host"}}})
    shared = start(env={**config, "XDG_RUNTIME_DIR": own_runtime["XDG_RUNTIME_DIR"]},
                   arguments=["--profile", "open"])
    shared.run(TRY)
    assert shared.value(f"os.path.exists({path!r})") is False
    assert said(shared, zmtp(info["shell_port"], forged("x = 0"))) == 64  # it listens
    assert other.run("x + 1").result == "42"
    assert not [each for each in other.client.order if each["parent_header"].get("msg_id") == "x"]


# -- names that become paths ----------------------------------------------------------------


@pytest.mark.parametrize("member, value", [
    ("kernel_name", "a\0b"), ("ip", "127.0.0.1\0"), ("ip", "../../up"), ("ip", "/absolute"),
    ("kernel_id", "a\0b"), ("key", "k\0")])
def test_E14_connection_files(kernel_name, member, value):
    folder = new_folder()
    path = os.path.join(folder, "kernel.json")
    info = new_connection()
    if member == "kernel_id":
        info = {"registration_ip": "127.0.0.1", "registration_port": 1, "key": "k", "transport": "tcp",
                "signature_scheme": "hmac-sha256"}
    with open(path, "w", encoding="ascii") as file:
        json.dump({**info, member: value}, file)
    got = subprocess.run(kernel_argv("ringfence", path), cwd=folder, capture_output=True, text=True,
                         timeout=30, check=False)
    assert got.returncode == 1 and path in got.stderr, got
    assert member in got.stderr or "is not JSON" in got.stderr
    assert os.listdir(folder) == ["kernel.json"]


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", ".", "é‥", "a%2e%2e", ""])
def test_E14_names_of_profiles(kernel_name, name):
    """No name becomes a path, in whatever writing; known ones are in the message."""
    path = os.path.join(new_folder(), "kernel.json")
    for command in ([*kernel_argv("ringfence", path), "--profile", name],
                    [os.path.join(Settings.prefix, "bin", "ringfence"), "install", "--prefix",
                     os.path.dirname(path), "--profile", name]):
        got = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert got.returncode in (1, 2) and "no profile" in got.stderr, got
    assert os.listdir(os.path.dirname(path)) == []
