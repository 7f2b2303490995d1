"""Machines that deny layers of the sandbox: made, not pretended.

A filter refuses calls as a container's would, a limit refuses namespaces, a part of
/proc is covered.  With --sandbox=auto a kernel starts, and banner and log name what is
lost; with --sandbox=require it does not; `ringfence doctor` says the same and what to do.
"""

import ast
import ctypes
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

import pytest

import machine
from helpers import Settings, client_of, kernel_argv, new_folder, ringfence_program, wait_until
from test_limits import own_cgroup
from test_sandbox_walls import PRELUDE

pytestmark = pytest.mark.ringfence_only("other kernels have no walls")


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


ALLOW, REFUSE, MASKED_EQUAL = 0x7FFF0000, 0x00050000 | 1, 7  # SCMP_ACT_ALLOW, _ERRNO(EPERM), _CMP_
NAMESPACES = (0x10000000, 0x20000000, 0x00020000)  # of CLONE_NEW*: USER, PID, NS


def refuse(calls, clone_flags=()):
    """For preexec_fn: these calls, and clone with one of these flags, get EPERM."""
    def load():
        seccomp = ctypes.CDLL("libseccomp.so.2")
        seccomp.seccomp_init.restype = ctypes.c_void_p
        context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ALLOW)))
        rules = [(b"clone", (Compare * 1)(Compare(0, MASKED_EQUAL, flag, flag))) for flag in clone_flags]
        rules += [(name.encode(), None) for name in calls]
        for name, compare in rules:
            number = seccomp.seccomp_syscall_resolve_name(name)
            if seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(REFUSE), number,
                                              int(compare is not None), compare):
                os._exit(9)
        if seccomp.seccomp_load(context):
            os._exit(9)
    return load


@dataclass
class Denial:
    """How it is made, and which layers are lost by it."""
    lost: list
    how: dict = None      # of Popen
    command: tuple = ()   # that comes before
    no_root: str = ""     # why root has the layer all the same


LIMIT = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all " \
    "--ambient-caps=-all -- \"$@\""
DENIALS = {
    "namespaces": Denial(["pid", "mount", "root", "proc"],
                         {"preexec_fn": refuse(["unshare", "mount", "fsopen"], NAMESPACES)}),
    "mounts": Denial(["root", "proc", "mask_proc"],
                     {"preexec_fn": refuse(["fsopen", "open_tree", "move_mount", "mount_setattr"])}),
    "landlock": Denial(["landlock"], {"preexec_fn": refuse(["landlock_create_ruleset"])}),
    "filters": Denial(["seccomp", "keeper_seccomp"], {"preexec_fn": refuse(["seccomp"])}),
    "user namespaces": Denial(["user", "pid", "mount"], {},
                              ("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", LIMIT, "sh"),
                              no_root="root needs no user namespace"),
    "masked proc": Denial(["proc"], {}, ("cover", "/proc/irq"),
                          no_root="root may mount a new /proc beside a masked one"),
}


def command_of(denial):
    """What comes before a kernel's command; the test ends here where it cannot be had."""
    if denial.no_root and not os.getuid():
        pytest.skip(f"absent layer: {denial.no_root}")
    if denial.command[:1] == ("cover",):
        begin = machine.wrapper("--cover", denial.command[1], network=False)
    else:
        begin = list(denial.command)
    if begin is None or subprocess.run([*begin, "true"], capture_output=True, check=False).returncode:
        pytest.skip("absent layer: this machine makes no user namespace, or cannot limit them")
    return begin


def run_denied(denial, env, cell):
    """What a cell prints in a kernel on such a machine, its banner, and its log."""
    begin = command_of(denial)
    path = os.path.join(new_folder(), "kernel.json")
    folder = tempfile.mkdtemp(prefix="rf", dir="/var/tmp")  # root's kernel is another user here
    os.chmod(folder, 0o777)
    with open(os.path.join(new_folder(), "log"), "w+", encoding="utf-8") as log:
        child = subprocess.Popen([*begin, *kernel_argv("ringfence", path)], env=env, cwd=folder,
                                 stderr=log, **denial.how)
        try:
            wait_until(lambda: os.path.exists(path) or child.poll() is not None)
            client = client_of(path)
            client.run(PRELUDE)
            found = client.run(cell)
            assert found.status == "ok", found.error
            banner = client.request("shell", "kernel_info_request")["banner"]
            client.kc.shutdown()
            client.close()
            assert child.wait(20) == 0
        finally:
            child.kill()
            shutil.rmtree(folder)
        log.seek(0)
        return ast.literal_eval(found.stdout), banner, log.read()


def layers(text):
    """The names after "denies" or "denies layers of the sandbox"."""
    found = re.search(r"denies(?: layers of the sandbox)?: ([\w, ()']+)", text)
    return re.split(r", ?", found.group(1)) if found else []


@pytest.mark.parametrize("name", DENIALS)
def test_auto_starts_and_says_what_is_lost(own_runtime, name):
    denial = DENIALS[name]
    evil = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, "evil")
    found, banner, log = run_denied(denial, own_runtime, (
        f"print([call(272, 0x10000000), told(read, '/etc/shadow'), told(write, {evil!r}), "
        "told(write, '/usr/evil'), told(write, 'here')])"))
    assert set(found[1:4]) <= {"EPERM", "EACCES", "ENOENT", "EROFS"} and found[4] == "written", found
    assert found[0] in ("EPERM", "ENOSPC") or name == "filters", found
    assert set(denial.lost) <= set(layers(banner)), banner
    assert set(denial.lost) <= set(layers(log)), log


@pytest.mark.parametrize("name", DENIALS)
def test_require_refuses_and_says_why(own_runtime, name):
    denial = DENIALS[name]
    path = os.path.join(new_folder(), "kernel.json")
    got = subprocess.run([*command_of(denial), *kernel_argv("ringfence", path), "--sandbox", "require"],
                         env=own_runtime, capture_output=True, text=True, timeout=60, check=False, **denial.how)
    assert got.returncode == 1, got
    assert "Traceback" not in got.stderr and "doctor" in got.stderr, got.stderr
    if own_cgroup("memory") and own_cgroup("pids"):  # else it ends sooner, for want of these
        assert any(layer in got.stderr for layer in denial.lost), got.stderr
    else:
        assert "cgroup memory" in got.stderr


@pytest.mark.parametrize("name", DENIALS)
def test_doctor_says_what_to_do(own_runtime, name):
    denial = DENIALS[name]
    got = subprocess.run([*command_of(denial), ringfence_program(), "doctor"], env=own_runtime,
                         capture_output=True, text=True, timeout=60, check=False, **denial.how)
    lines = got.stdout.splitlines()
    for layer in denial.lost:
        at = [n for n, line in enumerate(lines) if line.split()[:2] == ["LACKS", layer]]
        assert at, got.stdout
        told = " ".join(" ".join(lines[at[0]:at[0] + 4]).split())
        assert "earlier step" in told or any(word in told for word in (
            "sysctl", "--security-opt", "lsm=landlock", "CONFIG_SECCOMP_FILTER", "seccomp profile", "unconfined")), told


def test_require_starts_where_nothing_is_denied(start, own_runtime):
    if not own_cgroup("memory") or not own_cgroup("pids") or not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("absent layer: cgroups, or /dev/net/tun")
    kernel = start(env=own_runtime, arguments=["--sandbox", "require"])
    assert kernel.run("6 * 7").result == "42"
    assert "denies" not in kernel.client.request("shell", "kernel_info_request")["banner"]


def test_require_refuses_where_there_is_no_network(own_runtime):
    begin = machine.wrapper("--cover", "/dev/net")
    if begin is None:
        pytest.skip("absent layer: this user gets no namespaces")
    path = os.path.join(new_folder(), "kernel.json")
    got = subprocess.run([*begin, *kernel_argv("ringfence", path), "--sandbox", "require"],
                         env=own_runtime, capture_output=True, text=True, timeout=60, check=False)
    assert got.returncode == 1 and "network (" in got.stderr and "doctor" in got.stderr, got


def test_the_probe_tells_each_step():
    program = os.path.join(Settings.prefix, "libexec", "ringfence", "ringfence-kernel")
    free = subprocess.run([program, "--probe-sandbox"], capture_output=True, text=True, timeout=30,
                          check=False)
    steps = json.loads(free.stdout)
    assert free.returncode == (0 if all(each["works"] for each in steps.values()) else 1)
    denied = subprocess.run([program, "--probe-sandbox"], capture_output=True, text=True, timeout=30,
                            check=False, **DENIALS["namespaces"].how)
    assert denied.returncode == 1
    told = json.loads(denied.stdout)
    assert list(told) == list(steps)
    assert not told["mount"]["works"] and "namespace" in told["mount"]["why"]
    assert not told["root"]["works"] and told["root"]["why"]
    assert told["landlock"] == steps["landlock"] and told["seccomp"]["works"]
