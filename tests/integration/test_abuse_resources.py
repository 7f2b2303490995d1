"""Attacks on resources: rows R1 to R14 of the catalogue (abuse_rows.py has all of them).

Each runs in a real kernel and is followed by the rules of aftermath.py.
"""

import ast
import operator
import os
import re
import resource
import subprocess
import textwrap
import time

import pytest

from aftermath import MARK, REST, Target
from helpers import Kernel, kernel_argv, own_cgroup, plain, wait_until, zygote_pid
from rawclient import RawClient, new_connection, write_connection

pytestmark = pytest.mark.ringfence_only("limits of Ringfence's profiles")

TIGHT = {"memory": "200M", "disk": "1G", "network": "off"}
SMALL = {"base": "strict", "memory": "400M", "disk": "16M", "inodes": 2000, "open_files": 100}
ROOMY = {"output_bytes": "1M", "processes": 40, "network": "off"}
TRIED = 600  # MB that an attack on the memory of TIGHT asks for in the end


def a_target(name, **profile):
    target = Target(name, **profile)
    yield target
    target.close()


@pytest.fixture(scope="module")
def tight(kernel_name):
    yield from a_target(kernel_name, **TIGHT)


@pytest.fixture(scope="module")
def small(kernel_name):
    yield from a_target(kernel_name, **SMALL)


@pytest.fixture(scope="module")
def roomy(kernel_name):
    yield from a_target(kernel_name, **ROOMY)


# R1, R2: processes and threads

def test_fork_bomb(roomy):
    """What has left the worker's session lives on within the limit, until no room is left for
    the next worker or the kernel ends (SECURITY.md)."""
    cell = roomy.attack("""
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        if not os.fork(): os.setsid()
    except BaseException: pass""", timeout_s=1)
    assert cell.content["ename"] == "WorkerDied" and "timeout_s (1 s)" in cell.stderr
    assert len(roomy.processes()) <= 40
    roomy.kernel.restart()
    wait_until(lambda: len(roomy.processes()) <= 2)


def test_thread_bomb(roomy):
    cell = roomy.attack("""
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
    assert 10 < int(cell.result) < 40, cell.result


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
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        def told(result):
            if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return result
        for _ in range(TRIED // 50):
            at = libc.shmat(told(libc.shmget(0, 50 << 20, 0o1600)), None, 0)
            ctypes.memset(at, 1, 50 << 20)
            libc.shmdt(ctypes.c_void_p(at))""",
    "children": """
        import os, time
        children = [os.fork() for _ in range(6)]
        if 0 in children:
            held = bytearray(b"x") * (TRIED // 6 << 20)
            time.sleep(60)
        while not (ended := os.waitpid(-1, os.WNOHANG)[0]): time.sleep(0.1)
        for each in children: ended == each or os.kill(each, 9)
        raise MemoryError("the limit's victim was a child")""",
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
    refused = ["MemoryError", "out of memory: the limit memory (200 MB)", "Cannot allocate memory"]
    if not own_cgroup("memory"):  # what only a cgroup counts cannot be had
        refused += ["Function not implemented"]
    assert cell.status == "error" and any(each in text for each in refused), cell.describe()


def test_slow_growth(tight):
    """Checkpoints and forks share pages with the worker, and count once."""
    tight.attack("held = [bytearray(b'x') * (60 << 20)]")
    cell = tight.attack("import os\nchildren = [os.fork() for _ in range(2)]\n"
                        "if 0 in children: __import__('time').sleep(60)\n"
                        "for each in children: os.kill(each, 9); os.waitpid(each, 0)")
    assert cell.status == "ok" and not cell.stderr, cell.describe()
    for _ in range(TRIED // 40):
        cell = tight.kernel.run("held.append(bytearray(b'x') * (40 << 20))")
        time.sleep(REST)
        if cell.status == "error":
            break
    told = plain(cell.error) + "".join(  # to no cell if it is killed between two
        each["content"].get("text", "") for each in tight.kernel.client.order)
    assert "MemoryError" in told or "out of memory: the limit memory (200 MB)" in told, cell.describe()
    tight.attack("held = None")


# R5: files

def test_full_disk(small):
    cell = small.attack(f"""
import errno, os
def fill(path):
    try:
        with open(path, "wb", buffering=0) as file:
            while True: file.write(b"x" * (1 << 20))
    except OSError as exc:
        return errno.errorcode[exc.errno]
def number(folder):
    os.makedirs(folder)
    try:
        for n in range(10**6): open(f"{{folder}}/{{n}}", "w").close()
    except OSError as exc:
        return errno.errorcode[exc.errno], n
def dig(folder):
    os.chdir(folder)
    for n in range(3000):  # longer than PATH_MAX
        try:
            os.mkdir("d" * 200); os.chdir("d" * 200)
        except OSError as exc:
            return errno.errorcode[exc.errno]
here, found = os.getcwd(), []
for folder in ("/tmp", "/dev/shm", here, os.path.expanduser("~")):
    path = f"{{folder}}/{MARK}"
    with open(path + "-sparse", "wb") as file: file.truncate(1 << 40)
    found.append((fill(path), *number(path + "-many")))
    for n in range(1000): os.unlink(f"{{path}}-many/{{n}}")
    found.append(dig(folder))
os.chdir(here)
print(found)""")
    assert cell.status == "ok", cell.error
    found = ast.literal_eval(cell.stdout)
    assert found[1::2] == ["ENOSPC"] * 4 and all(each[:2] == ("ENOSPC", "ENOSPC") and each[2] < 2000
                                                  for each in found[0::2]), found
    assert small.kernel.run("%time 1").status == "ok"


# R6: output.  TIGHT lets 1 MB of it through

FLOODS = {
    "one line": "print('x' * (400 << 20), end='')",
    "lines": "for _ in range(300): print('line\\n' * (1 << 18))",
    "returns": "for _ in range(300): print('\\r%' * (1 << 19), end='')",
    "descriptor": "import os\nfor _ in range(300): os.write(1, b'x' * (1 << 20))",
    "displays": "from IPython.display import display\n"
                "for n in range(20_000): display({'text/plain': 'x' * 1000}, raw=True)",
    "repr": "class Large:\n    def __repr__(self): return 'x' * (300 << 20)\nLarge()",
    "display": "from IPython.display import display\ndisplay({'text/html': 'x' * (60 << 20)}, raw=True)",
}


def gateway_peak(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) >> 10


@pytest.mark.parametrize("what", FLOODS)
def test_output_flood(roomy, what):
    cell = roomy.attack(FLOODS[what], timeout=120)
    received = sum(len(str(each["content"])) for each in cell.messages)
    assert received < 3 << 20, received
    assert cell.status == "error" or "output_bytes (1 MB)" in cell.stderr, cell.describe()


def test_gateway_memory_under_floods(roomy):
    """One message of a worker is 256 MB at the most (RF_WORKER_MESSAGE_MAX)."""
    assert gateway_peak(roomy.kernel.pid) < 2 * 256 + 64


# R8: time that is spent in C

LOOPS = {
    "regular expression": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "power": "7 ** 10 ** 8",
    "digits": "import sys; sys.set_int_max_str_digits(0); str(1 << 30_000_000)",
    "sum": "sum(range(10 ** 12))",
    "blocked": "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
               "while True: time.sleep(1)",
}


@pytest.mark.parametrize("what", LOOPS)
def test_endless(roomy, what):
    cell = roomy.attack(LOOPS[what], timeout_s=0.5)
    assert cell.content["ename"] in ("KeyboardInterrupt", "WorkerDied"), cell.describe()
    assert "timeout_s (0.5 s)" in cell.stderr


# R10: processes that hide

DAEMON = """
import os, signal
if not os.fork():
    os.setsid()
    for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
    if os.fork(): os._exit(0)
    for fd in range(64):
        try: os.close(fd)
        except OSError: pass
    os.execv("/bin/sleep", ["sleep", "4321"])
os.wait()
"""


def test_daemon(roomy):
    """It lives as long as the kernel; Target.close() sees to the rest."""
    for _ in range(3):
        cell = roomy.attack(DAEMON)
        assert cell.status == "ok", cell.describe()
    wait_until(lambda: roomy.processes().count("sleep") == 3)
    roomy.attack("import os; os.kill(os.getpid(), 9)")
    assert roomy.processes().count("sleep") in (0, 3)  # 0: the sandbox was made anew


# R12: many kernels

def footprint(env):
    """Of the zygote: descriptors, children, memory in MB; and entries of its folder."""
    pid = zygote_pid(env)
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = len(file.read().split())
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        memory = int(file.read().split()[1]) >> 8
    return (len(os.listdir(f"/proc/{pid}/fd")), children, memory,
            sum(map(len, (entry[2] for entry in os.walk(env["XDG_RUNTIME_DIR"])))),
            len(os.listdir(os.environ["JUPYTER_RUNTIME_DIR"])))


class Bare:
    """A kernel's process and sockets by hand: ten times as quick as jupyter_client's."""

    def __init__(self, name, env):
        path = os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], "bare.json")
        info = new_connection()
        write_connection(path, info)
        self.client = RawClient(info)
        self.log = os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], "bare.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(kernel_argv(name, path), env=env, stderr=log)

    def answer(self):
        asked = self.client.execute("x = 6 * 7", user_expressions={"x": "x"})
        try:
            content = self.client.reply("shell", asked)["content"]
        except TimeoutError as late:
            with open(self.log, encoding="utf-8") as log:
                raise AssertionError(f"{late}; it ended: {self.child.poll()}; {log.read()}") from None
        return content["user_expressions"]["x"]["data"]["text/plain"]

    def stop(self, now):
        if now:
            self.child.kill()
        self.client.send("control", "shutdown_request", {"restart": False})
        self.child.wait(20)
        self.client.close()


class Managed(Kernel):
    def __init__(self, name, env):
        super().__init__(name, env=env)

    def answer(self):
        return self.run("6 * 7").result


def run_many(kind, kernel_name, env, rounds, at_once):
    before = None
    for number in range(rounds):
        kernels = [kind(kernel_name, env) for _ in range(at_once)]
        for each in kernels:
            assert each.answer() == "42"
        for each in kernels:
            each.stop(now=number % 2 == 1)
        if number == 1:
            before = wait_until(lambda: at_rest(env), 20)
    most = [then + slack for then, slack in zip(before, (0, 0, 4, 0, 0))]
    wait_until(lambda: all(map(operator.le, footprint(env), most)), 20)


def at_rest(env):
    """The footprint once only the spare is left."""
    found = footprint(env)
    return found if found[1] == 1 else None


def test_start_and_stop(kernel_name, own_runtime):
    run_many(Managed, kernel_name, own_runtime, rounds=5, at_once=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_at_once(kernel_name, own_runtime):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each client has some twenty
    run_many(Managed, kernel_name, own_runtime, rounds=4, at_once=100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_start_and_stop_for_long(kernel_name, own_runtime):
    run_many(Bare, kernel_name, own_runtime, rounds=10_000, at_once=1)


# R13, R14: descriptors and what the machine counts for each user

def test_descriptors(small):
    cell = small.attack("""
import errno, os, socket
one, other = socket.socketpair()
sent, code, held = 0, None, []
os.set_blocking(one.fileno(), False)
try:
    for sent in range(10**6): socket.send_fds(one, [b"x"], [1] * 8)
except OSError as exc:
    code = exc.errno
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as exc:
    print(errno.errorcode[code], sent < 10**5, errno.errorcode[exc.errno], len(held) < 100)""")
    assert cell.stdout.split() in (["ETOOMANYREFS", "True", "EMFILE", "True"],
                                   ["EAGAIN", "True", "EMFILE", "True"]), cell.describe()
    small.kernel.run("for each in held: os.close(each)\none.close(); other.close()")


QUOTAS = """
import ctypes, errno, os, select, time
libc = ctypes.CDLL(None, use_errno=True)
def until(call, most=3000):
    '''How often it goes well, and what then.'''
    for n in range(most):
        if call() < 0:
            return n, errno.errorcode[ctypes.get_errno()]
    return most, None
print({
    'inotify': until(lambda: libc.inotify_init1(0)),
    'epoll': until(lambda: libc.epoll_create1(0)),
    'queue': until(lambda: libc.mq_open(b'/MARK%d' % time.monotonic_ns(), os.O_CREAT | os.O_RDWR, 0o600, None)),
    'keyring': until(lambda: libc.syscall(248, b'user', b'MARK', b'x', 1, -3)),
    'semaphores': until(lambda: libc.semget(0, 100, 0o1600)),
    'messages': until(lambda: libc.msgget(0, 0o1600)),
})"""


def test_quotas(roomy):
    cell = roomy.attack(QUOTAS.replace("MARK", MARK))
    assert cell.status == "ok", cell.describe()
    found = ast.literal_eval(cell.stdout)
    assert found["keyring"] == (0, "EPERM")
    assert found["queue"][1] in ("EACCES", "EMFILE", "ENOSPC") and found["inotify"][1] == "EMFILE", found
    assert roomy.beside.run("import ctypes; ctypes.CDLL(None).inotify_init1(0) >= 0").result == "True"
    assert roomy.beside.run("import ctypes; ctypes.CDLL(None).semget(0, 1, 0o1600) >= 0").result == "True"
