"""The walls around a kernel, attacked from a cell of a real kernel.

Names E1, P2 ... are rows of the catalogue of abuses (see SECURITY.md).  An attack
runs in a shared kernel unless it may end it; what the whole module shares is that
afterwards the kernel answers and has its state.
"""

import ast
import hashlib
import os
import signal
import socket
import subprocess
import textwrap
import time

import pytest

import processes
from helpers import Kernel, Settings, kernel_environment, mounts, new_folder, wait_until, \
    zygote

pytestmark = pytest.mark.ringfence_only("other kernels have no walls")

PRELUDE = """
import ctypes, errno, os, socket, stat, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)

def told(function, *arguments):
    try:
        return function(*arguments)
    except OSError as exc:
        return errno.errorcode[exc.errno]

def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result

def read(path):
    with open(path, "rb") as file:
        return file.read(4096)

def write(path, text="1"):
    with open(path, "w") as file:
        file.write(text)
    return "written"
kept = 41
"""

REFUSED = ("EACCES", "EPERM", "ENOENT", "EROFS", "ENOSYS", "EBADF", "ESRCH", "ENOTDIR", "ENXIO")


@pytest.fixture(scope="module")
def box(kernel_name):
    """A kernel with PRELUDE; a value() of it comes back as Python object."""
    kernel = Kernel(kernel_name)
    cell = kernel.run(PRELUDE)
    assert cell.status == "ok", cell.error
    yield kernel
    assert kernel.value("kept + 1") == 42
    kernel.stop()


def said(kernel, code):
    """What the code prints, as a Python object."""
    cell = kernel.run(textwrap.dedent(code))
    assert cell.status == "ok", cell.error
    return ast.literal_eval(cell.stdout.strip().splitlines()[-1])


def all_refused(found):
    assert found and all(each in REFUSED for each in found.values()), found


# -- 2 Reading and reaching out -------------------------------------------------------------


def test_E1_processes_of_the_machine_are_not_seen(box):
    pids = box.value("sorted(int(p) for p in os.listdir('/proc') if p.isdigit())")
    assert pids[0] == 1 and len(pids) < 10, pids
    commands = box.value("[told(read, f'/proc/{p}/cmdline') for p in os.listdir('/proc') "
                         "if p.isdigit()]")  # one of them may have ended: ENOENT
    assert not [each for each in map(str, commands) if "pytest" in each or "kernel\\x00-f" in each]
    all_refused(said(box, """
        print({name: told(read, f'/proc/1/{name}') for name in ('environ', 'maps', 'mem', 'auxv')}
              | {name: told(os.listdir, f'/proc/1/{name}') for name in ('fd', 'root', 'cwd')})"""))


def test_E2_parts_of_proc_that_are_the_machine(box):
    found = said(box, """
        print({path: told(write, path) for path in (
            '/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches',
            '/proc/sys/fs/binfmt_misc/register', '/proc/sys/kernel/hostname', '/proc/1/oom_score_adj',
            '/proc/irq/default_smp_affinity', '/proc/sys/net/ipv4/ip_forward')})""")
    all_refused(found)
    empty = said(box, """
        print({path: told(read, path) for path in (
            '/proc/kcore', '/proc/kallsyms', '/proc/keys', '/proc/key-users', '/proc/timer_list',
            '/proc/kmsg', '/proc/iomem', '/proc/slabinfo', '/proc/vmallocinfo')})""")
    assert all(each == b"" or each in REFUSED for each in empty.values()), empty
    folders = said(box, """
        print({path: told(os.listdir, path) for path in ('/proc/scsi', '/proc/acpi',
                                                         '/proc/sys/fs/binfmt_misc')})""")
    assert all(each == [] or each in REFUSED for each in folders.values()), folders


def test_E3_sys_and_cgroups(box):
    assert set(box.value("os.listdir('/sys')")) <= {"devices", "kernel"}
    assert box.value("os.listdir('/sys/kernel')") in ([], ["mm"])
    assert box.value("os.path.exists('/sys/fs')") is False
    assert box.value("told(write, '/sys/devices/system/cpu/cpu1/online')") in REFUSED
    assert box.value("call(165, 0, 0, 0, 0, 0)") == "EPERM"  # mount


def test_E4_the_interpreter_cannot_be_written(box):
    program = os.path.join(Settings.prefix, "libexec", "ringfence", "ringfence-kernel")
    before = hashlib.sha256(open(program, "rb").read()).hexdigest()
    all_refused(said(box, """
        fd = os.open('/proc/self/exe', os.O_PATH)
        print({'exe': told(open, '/proc/self/exe', 'wb'), 'python': told(open, sys.executable, 'wb'),
               'fd': told(open, f'/proc/self/fd/{fd}', 'r+b'),
               'child': subprocess.run(['/bin/sh', '-c', f'exec 2>/dev/null; echo x > /proc/self/fd/{fd}'
                                        ' && echo done'], pass_fds=[fd], capture_output=True,
                                       text=True).stdout.strip() or 'EACCES'})
        os.close(fd)"""))
    assert hashlib.sha256(open(program, "rb").read()).hexdigest() == before


def test_E5_descriptors(box):
    found = said(box, """
        print({int(fd): told(os.readlink, f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')})""")
    others = {what for what in found.values() if not what.startswith(
        ("pipe:", "socket:", "anon_inode:", "/dev/null", "/memfd:", "ENOENT"))}
    assert not others, found
    assert said(box, """
        print([fd for fd in range(3, 1024) if not isinstance(told(os.fstat, fd), str)
               and stat.S_ISDIR(os.fstat(fd).st_mode)])""") == []


def test_E6_other_processes_memory(box):
    found = said(box, """
        print({'ptrace': call(101, 16, 1, 0, 0), 'readv': call(310, 1, 0, 0, 0, 0, 0),
               'writev': call(311, 1, 0, 0, 0, 0, 0), 'kcmp': call(312, 1, 1, 0, 0, 0),
               'getfd': call(438, call(434, 1, 0), 0, 0), 'mem': told(open, '/proc/1/mem', 'r+b')})""")
    all_refused(found)


@pytest.mark.parametrize("attack", ["os.kill(os.getppid(), 9)", "os.kill(1, 9)", "os.kill(-1, 9)",
                                    "os.kill(0, 9)"])
def test_E7_kill(fresh, attack):
    fresh.run("x = 41")
    cell = fresh.run(f"import os, time\n{attack}\ntime.sleep(0.5); print('alive')")
    assert cell.stdout == "alive\n" or cell.content["ename"] in ("WorkerDied", "PermissionError")
    assert fresh.run("1 + 1").result == "2"


def test_E8_nothing_of_the_user_is_there(kernel_name):
    canary = "canary-" + os.urandom(8).hex()
    home = os.environ["HOME"]
    for name in (".ssh/id_rsa", ".jupyter/token", ".gitconfig", "notes.txt", ".netrc"):
        path = os.path.join(home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(canary)
    kernel = Kernel(kernel_name)
    try:
        kernel.run(PRELUDE)
        # .local: the way to the layer of %pip
        assert set(kernel.value("os.listdir(os.path.expanduser('~'))")) <= {".ipython", ".local"}
        key = kernel.connection["key"]
        assert not kernel.value(f"os.path.exists({kernel.km.connection_file!r})")
        for secret in (canary, key):
            found = kernel.run("print(subprocess.run(['grep', '-rlsF', '-D', 'skip', "
                               f"{secret!r}[:-1] + {secret[-1]!r}, os.path.expanduser('~'), '/tmp', '.', "
                               "'/run', '/var', '/home', '/dev/shm', '/proc/1'], capture_output=True, "
                               "text=True).stdout)", timeout=60)
            assert found.stdout.strip() == "", found.stdout
        assert not kernel.value(f"any({key!r} in value for value in os.environ.values())")
    finally:
        kernel.stop()


def test_E9_abstract_sockets_of_the_machine(box):
    name = "\0ringfence-test-" + os.urandom(4).hex()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert box.value(f"told(socket.socket(socket.AF_UNIX).connect, {name!r})") in \
            ("EPERM", "ECONNREFUSED")


def test_E13_families_of_sockets(box):
    found = said(box, """
        print({(family, kind): told(lambda: socket.socket(family, kind, 0).close())
               for family, kind in ((17, 3), (40, 1), (38, 5), (44, 3), (31, 3), (29, 3), (30, 1))})""")
    assert set(found.values()) == {"EAFNOSUPPORT"}, found
    raw = said(box, """
        print([told(lambda: socket.socket(2, 3, 1).close()), told(lambda: socket.socket(10, 3, 58).close()),
               told(lambda: socket.socket(16, 3, 9).close())])""")
    assert raw == ["EPERM"] * 3
    assert box.value("socket.if_nameindex()[0][1]") == "lo"


def test_E15_terminals(box):
    assert said(box, """
        import fcntl, pty, termios
        master, slave = pty.openpty()
        print([told(fcntl.ioctl, slave, termios.TIOCSTI, b'x'), told(fcntl.ioctl, slave, 0x541C, b'\\3'),
               told(os.open, '/dev/tty', os.O_RDWR), os.getsid(0) == os.getpid()])""") == \
        ["EPERM", "EPERM", "ENXIO", True]


def test_E16_other_folders_of_the_machine(box):
    planted = [os.path.join(folder, "ringfence-test-" + os.urandom(4).hex())
               for folder in ("/tmp", "/dev/shm", "/var/tmp")]
    for path in planted:
        with open(path, "w", encoding="ascii"):
            pass
    try:
        assert box.value(f"[os.path.exists(p) for p in {planted}]") == [False] * 3
    finally:
        for path in planted:
            os.unlink(path)
    assert box.value("os.listdir('/run')") == []
    assert box.value("os.path.exists('/tmp/.X11-unix')") is False
    box.run("write('/dev/shm/mine'); write('/tmp/mine'); write('/var/tmp/mine')")
    assert not any(os.path.exists(f"{folder}/mine") for folder in ("/tmp", "/dev/shm", "/var/tmp"))


# -- 3 Privilege ----------------------------------------------------------------------------


def test_P1_set_user_id(box):
    found = said(box, """
        status = dict(line.split(':', 1) for line in open('/proc/self/status'))
        print([status[name].strip() for name in ('NoNewPrivs', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]
              + [bool(os.statvfs('/usr').f_flag & os.ST_NOSUID), os.getuid() != 0])""")
    assert found == ["1"] + ["0" * 16] * 4 + [True, True]
    assert box.run("subprocess.run(['su', '-c', 'id -u'], stdin=subprocess.DEVNULL, "
                   "capture_output=True, text=True).stdout").result in ("''", "'%d\\n'" % os.getuid())


def test_P2_P3_P4_namespaces_and_mounts(box):
    found = said(box, """
        print({'unshare': call(272, 0x10000000), 'setns': call(308, 0, 0), 'mount': call(165, 0, 0, 0, 0, 0),
               'umount': call(166, 0, 0), 'pivot_root': call(155, 0, 0), 'chroot': call(161, 0),
               'by_handle': call(304, 0, 0, 0), 'open_tree': call(428, 0, 0, 0),
               'move_mount': call(429, 0, 0, 0, 0, 0), 'fsopen': call(430, 0, 0),
               'mount_setattr': call(442, 0, 0, 0, 0, 0), 'clone': call(56, 0x10000000 | 17, 0, 0, 0, 0)})""")
    assert set(found.values()) == {"EPERM"}, found
    assert box.value("call(435, 0, 0)") == "ENOSYS"  # clone3
    for path in ("/proc/kallsyms", "/proc/sys"):
        tool = box.run(f"subprocess.run(['umount', '{path}'], capture_output=True).returncode")
        assert tool.result != "0"


def test_P5_P6_calls_about_the_machine(box):
    found = said(box, """
        print({n: call(n, 0, 0, 0, 0, 0) for n in (250, 248, 249, 321, 298, 323, 246, 175, 313, 172, 173,
                                                   154, 179, 167, 169, 164, 212, 159, 103, 153)})""")
    assert set(found.values()) == {"EPERM"}, found
    assert box.value("[call(135, 0x40000), call(425, 1, 0), call(426, 0, 0, 0, 0)]") == ["ENOSYS"] * 3


def test_P7_other_abis(box):
    assert box.value("call(0x40000000 + 39)") == "ENOSYS"
    assert said(box, """
        import mmap
        code = bytes.fromhex('b814000000cd80c3')  # mov eax, 20; int 0x80; ret
        memory = mmap.mmap(-1, 4096, prot=7)
        memory.write(code)
        pid = os.fork()
        if not pid:
            run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
            os._exit(-run() & 255)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))""") in (38, -11)  # ENOSYS, SIGSEGV


def test_P8_P10_devices(box):
    found = said(box, """
        print([told(os.mknod, 'disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0)),
               told(os.mknod, '/tmp/mem', 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
               told(os.mkfifo, 'fifo'), os.unlink('fifo')])""")
    assert found == ["EPERM", "EPERM", None, None]
    assert box.value("sorted(os.listdir('/dev'))") == sorted(
        "core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split())


# -- files ----------------------------------------------------------------------------------


def test_the_workspace_is_written_as_its_owner(box):
    box.run("write('made', 'text'); os.mkdir('folder'); os.rename('made', 'folder/made')")
    path = os.path.join(box.folder, "folder", "made")
    with open(path, encoding="ascii") as file:
        assert file.read() == "text"
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (os.getuid(), os.getgid())


@pytest.mark.skipif(os.getuid() != 0, reason="absent layer: not root")
def test_another_owner_has_his_main_group(start):
    """Of one who is not in /etc/passwd getent knows it, here a stand-in."""
    tools, folder = new_folder("tools"), new_folder()
    with open(os.path.join(tools, "getent"), "w", encoding="ascii") as file:
        file.write('#!/bin/sh\n[ "$*" = "passwd 54321" ] && echo "him:x:54321:777::/:/bin/sh"\n')
    os.chmod(file.name, 0o755)
    os.chown(folder, 54321, 0)
    env = kernel_environment(PATH=f"{tools}:{os.environ['PATH']}")
    assert start(env=env, cwd=folder).value("__import__('os').getresgid()") == (777, 777, 777)


def test_files_of_others(box):
    found = said(box, """
        print({path: told(read, path) for path in ('/etc/shadow', '/etc/sudoers', '/root/.bashrc',
               '/etc/ssh/sshd_config', '/var/log/syslog', '/etc/machine-id', '/etc/hostname')})""")
    all_refused(found)
    all_refused(said(box, """
        print({path: told(write, path) for path in ('/usr/bin/evil', '/etc/passwd', '/opt/evil', '/evil',
               '/usr/lib/python3/dist-packages/evil.pth', '/usr/local/evil', '/home/evil')})"""))


def test_our_own_package_is_read_only(box):
    folder = os.path.join(Settings.prefix, "lib", "ringfence", "ringfence_shell")
    assert box.value(f"told(write, {folder + '/evil.py'!r})") in REFUSED
    assert box.value(f"os.path.exists({folder + '/worker.py'!r})") is True


# -- what must work -------------------------------------------------------------------------

WORKS = {
    "numpy": "import numpy; print((numpy.ones((300, 300)) @ numpy.ones((300, 300)))[0, 0])",
    "random": "import numpy.random, secrets, uuid, ssl; secrets.token_hex(); uuid.uuid4(); print(1)",
    "threads": """
        import threading
        found = []
        t = [threading.Thread(target=found.append, args=(n,)) for n in range(20)]
        [x.start() for x in t]; [x.join() for x in t]; print(sorted(found) == list(range(20)))""",
    "asyncio": """
        import asyncio
        async def main():
            p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1)
            out, _ = await p.communicate()
            server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)
            server.close()
            return out
        print(await main())""",
    "subprocess": "import subprocess; print(subprocess.check_output('echo $((6*7)) | cat', shell=True))",
    "ctypes": "import ctypes; print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)(1))",
    "mmap": """
        import mmap
        with open('mapped', 'w+b') as f:
            f.truncate(8192)
            m = mmap.mmap(f.fileno(), 0); m[:2] = b'ok'; m.flush(); m.close()
        print(open('mapped', 'rb').read(2))""",
    "sqlite3": """
        import sqlite3
        with sqlite3.connect('file.db') as db:
            db.execute('pragma journal_mode=wal'); db.execute('create table if not exists t(x)')
            db.execute('insert into t values (1)')
        print(db.execute('select count(*) > 0 from t').fetchone())""",
    "tempfile": """
        import os, tempfile
        with tempfile.NamedTemporaryFile() as f, tempfile.TemporaryDirectory() as d:
            f.write(b'x'); os.mkdir(os.path.join(d, 'y'))
        print(tempfile.gettempdir())""",
    "shared memory": """
        from multiprocessing import shared_memory
        s = shared_memory.SharedMemory(create=True, size=100); s.buf[0] = 7; print(s.buf[0])
        s.close(); s.unlink()""",
    "files": """
        import os, shutil, pathlib
        os.makedirs('a/b', exist_ok=True); pathlib.Path('a/b/c').write_text('x')
        shutil.copytree('a', 'z'); os.link('a/b/c', 'hard'); os.symlink('hard', 'soft')
        os.replace('soft', 'a/soft'); shutil.rmtree('z'); os.chmod('hard', 0o600)
        print(sorted(os.listdir('a')), os.stat('hard').st_nlink)""",
    "users": "import getpass, os, pwd, time; os.getgroups(); time.tzset(); print(pwd.getpwuid(0).pw_name)",
    "terminal": "import pty, os; m, s = pty.openpty(); os.write(s, b'x'); print(os.read(m, 1))",
    "pip": "import subprocess, sys; print(subprocess.run([sys.executable, '-m', 'pip', '--version'], "
           "capture_output=True).stdout[:4] in (b'pip ', b''))",
    "matplotlib": """
        import matplotlib; matplotlib.use('agg')
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.savefig('plot.png'); print(open('plot.png', 'rb').read(4))""",
    "pandas": """
        try:
            import pandas
        except ImportError:
            print('absent')
        else:
            pandas.DataFrame({'a': [1, 2]}).to_csv('t.csv'); print(pandas.read_csv('t.csv').a.sum())""",
}


@pytest.mark.parametrize("what", WORKS)
def test_works(box, what):
    cell = box.run(textwrap.dedent(WORKS[what]), timeout=120)
    assert cell.status == "ok", cell.error
    assert cell.stdout.strip(), cell.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(box, method):
    with open(os.path.join(box.folder, "task.py"), "w", encoding="ascii") as file:
        file.write("def double(n):\n    return 2 * n\n")
    cell = box.run(f"""
import multiprocessing, task
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    print(pool.map(task.double, [1, 2, 3]))""", timeout=60)
    assert cell.stdout.strip().endswith("[2, 4, 6]"), cell.describe()


def test_a_checkpoint_goes_on_inside(fresh):
    fresh.run(PRELUDE)
    fresh.run("import numpy; a = numpy.arange(10); f = open('log', 'w')")
    time.sleep(1)  # idle, so that there is a checkpoint of it however slow the machine is
    assert fresh.run("os.kill(os.getpid(), 11)").content["ename"] == "WorkerDied"
    assert fresh.run("int(a.sum())").result == "45"
    found = said(fresh, """
        status = dict(line.split(':', 1) for line in open('/proc/self/status'))
        print([status['Seccomp'].strip(), status['CapBnd'].strip(), status['NoNewPrivs'].strip(),
               call(272, 0x10000000), told(write, '/usr/x'), int(read('/proc/self/oom_score_adj'))])""")
    assert found == ["2", "0" * 16, "1", "EPERM", "EROFS", 200]


def test_oom_order(fresh):
    fresh.run("x = 1")

    def scores():
        found = {}
        for each in processes.below(Settings.reaper).values():
            try:
                with open(f"/proc/{each.pid}/oom_score_adj", encoding="ascii") as file:
                    found.setdefault(each.name, int(file.read()))
            except OSError:
                pass
        return found

    def ordered():
        found = scores()
        keeper = next(score for name, score in found.items() if name.startswith("ringfence-keep"))
        return found["ringfence-worke"] > found.get("ringfence-ckpt", keeper) > keeper

    wait_until(ordered)


# -- planting -------------------------------------------------------------------------------


def environment_in(folder):
    path = os.path.join(folder, ".venv")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--system-site-packages", "--without-pip", path],
                   check=True, timeout=60)
    return path


def has_debian_ipython():
    return subprocess.run(["/usr/bin/python3", "-c", "import IPython"], capture_output=True,
                          check=False).returncode == 0


def test_nothing_planted_in_a_venv_of_the_workspace_runs_outside(kernel_name, own_runtime):
    if not has_debian_ipython():
        pytest.skip("absent layer: IPython of Debian's Python")
    folder = new_folder("project")
    marker = os.path.join(new_folder("marker"), "ran")
    venv = environment_in(folder)
    python = os.path.join(venv, "bin", "python")
    packages = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                              capture_output=True, text=True, check=True).stdout.strip()
    evil = f"open({marker!r}, 'w').close()"

    def start():
        return Kernel(kernel_name, arguments=["--python", python], env=own_runtime, cwd=folder)

    kernel = start()
    try:
        assert kernel.value("__import__('sys').prefix") == venv
        kernel.run(PRELUDE)
        targets = [f"{packages}/{name}" for name in ("evil.pth", "sitecustomize.py", "numpy.py",
                                                     "usercustomize.py", "IPython.py")]
        targets += [f"{venv}/pyvenv.cfg", f"{venv}/bin/python", f"{venv}/bin/evil"]
        all_refused(said(kernel, f"""
            print({{path: told(write, path, {'import os; ' + evil!r}) for path in {targets!r}}})"""))
        assert said(kernel, f"""
            print([told(os.rename, {venv!r}, {venv + '2'!r}), told(os.unlink, {python!r}),
                   told(os.rename, {packages!r}, {packages + '2'!r})])""") == ["EBUSY", "EROFS", "EROFS"]
        # The folder of the notebook is the user's to write; no zygote looks there.
        kernel.run(f"[write(n, {evil!r}) for n in ('numpy.py', 'sitecustomize.py', 'IPython.py')]")
    finally:
        kernel.stop()
    zygote("stop", env=own_runtime)
    kernel = start()
    kernel.stop()
    assert os.path.exists(os.path.join(folder, "sitecustomize.py"))
    assert not os.path.exists(marker)


def test_a_user_site_that_is_not_there_cannot_be_made(kernel_name):
    home = new_folder("home")
    env = kernel_environment(HOME=home, XDG_RUNTIME_DIR=new_folder("run"), PYTHONUSERBASE=None,
                             IPYTHONDIR=None)
    kernel = Kernel(kernel_name, env=env, cwd=home)
    try:
        kernel.run(PRELUDE + "import site")
        folder = kernel.value("site.getusersitepackages()")
        assert folder.startswith(home)
        all_refused(said(kernel, f"""
            print({{'write': told(write, {folder + '/sitecustomize.py'!r}),
                    'move': {{'EBUSY': 'EPERM'}}.get(told(os.rename, {folder!r}, {home + '/x'!r}), 'EPERM')}})"""))
    finally:
        kernel.stop()
        zygote("stop", env=env)


def test_a_workspace_that_is_imported_from_is_read_only(kernel_name, own_runtime):
    folder = new_folder("imported")
    with open(os.path.join(folder, "mine.py"), "w", encoding="ascii") as file:
        file.write("x = 41")
    kernel = Kernel(kernel_name, env={**own_runtime, "PYTHONPATH": folder}, cwd=folder)
    try:
        kernel.run(PRELUDE)
        assert kernel.value("__import__('mine').x") == 41
        assert kernel.value("told(write, 'sitecustomize.py')") == "EROFS"
    finally:
        kernel.stop()
        zygote("stop", env=own_runtime)


# -- what is left ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["shutdown", "SIGKILL"])
def test_nothing_is_left(kernel_name, own_runtime, how):
    before = mounts()
    running = processes.table()
    kernel = Kernel(kernel_name, env=own_runtime)
    started = set()
    try:
        kernel.run("import subprocess, os\n"
                   "subprocess.Popen('setsid sleep 1000 &', shell=True)\n"
                   "open('/tmp/left', 'w'); open('/dev/shm/left', 'w')")
        started = set(processes.below(Settings.reaper)) - set(running)
        assert len(started) >= 4  # gateway, zygote, keeper, worker
        assert mounts() == before
        if how == "SIGKILL":
            os.kill(kernel.pid, signal.SIGKILL)
    finally:
        kernel.stop(now=how == "SIGKILL")
    zygote("stop", env=own_runtime)
    assert not processes.wait_gone(started, 10)
    assert mounts() == before
    assert not os.path.exists("/tmp/left") and not os.path.exists("/dev/shm/left")
