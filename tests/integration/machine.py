"""A machine of a test's own: where a program runs that is to have another network, or
fewer devices and tools, than this one.

    machine.py [--network FOLDER] [--cover PATH]... -- COMMAND...

Namespaces around the command; no setting of this machine is touched, so an ordinary
user can have it, too.  Whoever asks for a machine calls wrapper(), which says how to run
this file.

--network FOLDER: the command's host has the address HOST, and beyond it is one other,
FAR, which also has the addresses of METADATA.  FAR answers on port 80 with its word and
is the name server; on port 81 of all addresses, loopback too, the host itself listens, and
notes in FOLDER/visitors whoever comes.  FOLDER/reached lists what was reached from the
host, so that a test of what is refused cannot pass for want of a network.
--cover PATH: that file or folder is an empty one.
"""

import argparse
import os
import socket
import struct
import subprocess
import sys
import threading
import time

HOST, FAR, WORD = "198.18.0.1", "198.18.0.2", b"far away\n"
HOST6, FAR6 = "fd00:ec2::1", "fd00:ec2::254"
WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]  # ends when its parent does
METADATA = ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16"]


def wrapper(*arguments, network=True):
    """The beginning of a command line; None where this user gets no such machine."""
    begin = ["unshare", "--mount", "--fork", "--kill-child", *(["--net"] if network else [])]
    if os.getuid():
        begin += ["--user", "--map-current-user", "--keep-caps"]
    if subprocess.run([*begin, "true"], capture_output=True, check=False).returncode:
        return None
    return [*begin, sys.executable, os.path.abspath(__file__), *arguments, "--"]


def run(*command):
    subprocess.run(command, check=True)


# --- the far side ---


def answer_names():
    """Each question for an address gets that of FAR."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((FAR, 53))
    while True:
        question, client = server.recvfrom(512)
        end = question.index(b"\0", 12) + 5
        found = question[end - 4:end - 2] == b"\0\1"  # type A
        reply = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(found), 0, 0) + question[12:end]
        if found:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(FAR)
        server.sendto(reply, client)


def far_side():
    """Waits for its interface, then serves for as long as the machine is there."""
    while subprocess.run(["ip", "link", "show", "far"], capture_output=True, check=False).returncode:
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    for address in (f"{FAR}/24", *(f"{each}/32" for each in METADATA)):
        run("ip", "address", "add", address, "dev", "far")
    run("ip", "address", "add", f"{FAR6}/64", "dev", "far", "nodad")
    run("ip", "link", "set", "far", "up")
    threading.Thread(target=answer_names, daemon=True).start()
    server = socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        client, _ = server.accept()
        client.sendall(WORD)
        client.close()


# --- the host ---


def note_visitors(folder):
    server = socket.create_server(("", 81), family=socket.AF_INET6, dualstack_ipv6=True)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("", 81))

    def note(take):
        while True:
            visitor = take()[1]
            with open(os.path.join(folder, "visitors"), "a", encoding="ascii") as file:
                file.write(f"{visitor}\n")

    threading.Thread(target=note, args=(lambda: names.recvfrom(512),), daemon=True).start()
    note(server.accept)


def reach(folder):
    with open(os.path.join(folder, "reached"), "w", encoding="ascii") as file:
        for address in (FAR, FAR6, *METADATA):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    with socket.create_connection((address, 80), 1) as sock:
                        if sock.recv(100) == WORD:
                            file.write(f"{address}\n")
                            break
                except OSError:
                    time.sleep(0.02)


def make_network(folder):
    far = subprocess.Popen([*WITH_US, "unshare", "--net", sys.executable, __file__, "--far-side"])
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "far")
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{far.pid}/ns/net") == own:
        time.sleep(0.02)
    run("ip", "link", "set", "far", "netns", str(far.pid))
    run("ip", "address", "add", f"{HOST}/24", "dev", "wan")
    run("ip", "address", "add", f"{HOST6}/64", "dev", "wan", "nodad")
    run("ip", "link", "set", "wan", "up")
    run("ip", "route", "add", "default", "via", FAR)
    resolver = os.path.join(folder, "resolv.conf")
    with open(resolver, "w", encoding="ascii") as file:
        file.write(f"nameserver {FAR}\n")
    os.chmod(resolver, 0o644)
    run("mount", "--bind", resolver, "/etc/resolv.conf")
    subprocess.Popen([*WITH_US, sys.executable, __file__, "--visitors", folder])
    reach(folder)


def cover(path):
    if os.path.isdir(path):
        run("mount", "-t", "tmpfs", "none", path)
    else:
        run("mount", "--bind", "/dev/null", path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network")
    parser.add_argument("--cover", action="append", default=[])
    parser.add_argument("--far-side", action="store_true")
    parser.add_argument("--visitors")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.far_side:
        far_side()
    if options.visitors:
        note_visitors(options.visitors)
    if options.network:
        make_network(options.network)
    for path in options.cover:
        cover(path)
    plain = ["--inh-caps=-all", "--ambient-caps=-all"] if os.getuid() else []
    child = subprocess.Popen([*WITH_US[:-1], *plain, "--", *options.command])
    os._exit(child.wait() & 0xFF)


if __name__ == "__main__":
    main()
