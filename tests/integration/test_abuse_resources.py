"""Attacks on resources: rows R1 to R14 of the catalogue (abuse_rows.py has all of them).

Each runs in a real kernel and is followed by the rules of aftermath.py.
"""

import os
import re
import textwrap

import pytest

from aftermath import MARK, Target
from helpers import Kernel, Settings, configuration, new_folder, own_cgroup, ours, plain, wait_until, zygote

pytestmark = pytest.mark.ringfence_only("limits of Ringfence's profiles")

TIGHT = {"memory": "200M", "disk": "1G", "processes": 60, "output_bytes": "1M", "network": "off"}
SMALL = {"base": "strict", "memory": "400M", "disk": "16M", "inodes": 2000, "open_files": 100}
TRIED = 600  # MB that an attack on the memory of TIGHT asks for in the end


@pytest.fixture(scope="module")
def profiles(kernel_name):
    return configuration(tight=TIGHT, small=SMALL)


def a_target(name, profile, env):
    target = Target(name, env=env, arguments=["--profile", profile])
    yield target
    target.close()


@pytest.fixture(scope="module")
def tight(kernel_name, profiles):
    yield from a_target(kernel_name, "tight", profiles)


@pytest.fixture(scope="module")
def small(kernel_name, profiles):
    yield from a_target(kernel_name, "small", profiles)


# R1, R2: processes and threads

POLITE = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
RUDE = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        if not os.fork(): os.setsid()
    except BaseException: pass
"""


@pytest.mark.parametrize("bomb", [POLITE, RUDE], ids=["polite", "rude"])
def test_fork_bomb(tight, bomb):
    cell = tight.attack(bomb, timeout_s=1)
    assert cell.content["ename"] in ("KeyboardInterrupt", "WorkerDied"), cell.describe()
    wait_until(lambda: len(tight.processes()) <= 4, 10)


def test_thread_bomb(tight):
    cell = tight.attack("""
import threading
end, threads = threading.Event(), []
try:
    while True:
        threads.append(threading.Thread(target=end.wait))
        threads[-1].start()
except RuntimeError as exc:
    print(exc)
end.set()
for each in threads[:-1]: each.join()
len(threads)""")
    assert "can't start new thread" in cell.stdout
    assert 10 < int(cell.result) < 60, cell.result  # stacks count to RLIMIT_DATA


# R3, R4, R7: memory

MEMORY = {
    "numpy": "import numpy\nheld = [numpy.ones(1 << 17) for _ in range(TRIED)]",
    "mapping": """
        import mmap
        held = [mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(TRIED)]
        for each in held: each.write(block)""",
    "shared mapping": """
        import mmap
        held = [mmap.mmap(-1, 1 << 20) for _ in range(TRIED)]
        for each in held: each.write(block)""",
    "memfd": """
        import os
        fd = os.memfd_create("bomb")
        for _ in range(TRIED): os.write(fd, block)""",
    "memfd in flight": """
        import os, socket
        one, other = socket.socketpair()
        for _ in range(TRIED // 50):
            fd = os.memfd_create("bomb")
            for _ in range(50): os.write(fd, block)
            socket.send_fds(one, [b"x"], [fd])
            os.close(fd)""",
    "segment": """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        for _ in range(TRIED // 50):
            at = libc.shmat(libc.shmget(0, 50 << 20, 0o1600), None, 0)
            ctypes.memset(at, 1, 50 << 20)
            libc.shmdt(ctypes.c_void_p(at))""",
    "children": """
        import os, time
        for _ in range(6):
            if not os.fork():
                held = bytearray(b"x") * (TRIED // 6 << 20)
                time.sleep(60)""",
    "shm": "with open('/dev/shm/MARK', 'wb') as file:\n    for _ in range(TRIED): file.write(block)",
    "tmpfs": "with open('/tmp/MARK', 'wb') as file:\n    for _ in range(TRIED): file.write(block)",
    "gzip": "import gzip\ngzip.decompress(gzip.compress(block) * TRIED)",
}
WATCHED = "\nimport time\ntime.sleep(20)"  # a watchdog looks a few times a second


@pytest.mark.parametrize("what", MEMORY)
def test_memory(tight, what):
    code = textwrap.dedent(MEMORY[what]).replace("MARK", MARK).replace("TRIED", str(TRIED))
    cell = tight.attack("block = b'x' * (1 << 20)\n" + code + WATCHED)
    text = plain(cell.error)
    assert cell.status == "error", cell.describe()
    assert "MemoryError" in text or "out of memory: the limit memory (200 MB)" in text, text
