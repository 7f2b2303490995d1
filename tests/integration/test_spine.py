"""The spine: a Jupyter client, the gateway, zygote, keeper, worker, one checkpoint.

`1+1` is answered through all of them; after a cell that kills its own worker
the next cell answers `x` with its old value.  As root and as an ordinary user.
"""

import os
import pwd
import shutil
import subprocess
import textwrap

import pytest

PREFIX = os.environ.get("RINGFENCE_PREFIX", "")

CLIENT = textwrap.dedent(
    """
    import os, subprocess, sys, time
    from jupyter_client import BlockingKernelClient

    file = os.path.join(os.environ["HOME"], "kernel-spine.json")
    gateway = subprocess.Popen([sys.argv[1], "kernel", "-f", file])
    while not os.path.exists(file):
        assert gateway.poll() is None, "the gateway ended"
        time.sleep(0.01)
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code):
        results = []
        reply = client.execute_interactive(code, timeout=30, allow_stdin=False, output_hook=lambda m: (
            results.append(m["content"]["data"]["text/plain"])
            if m["msg_type"] == "execute_result" else None))
        return reply["content"]["status"], results

    seen = [run("1+1"), run("x = 41")]
    time.sleep(1)
    print(os.getuid(), *seen, run("import os; os.kill(os.getpid(), 9)"), run("x"),
          run("int(open('/proc/self/stat').read().split()[3])"))
    client.shutdown()
    gateway.wait(20)
    subprocess.run([sys.argv[1], "zygote", "stop"], check=True, stdout=subprocess.DEVNULL)
    """
)


def ordinary_user():
    users = sorted(pwd.getpwall(), key=lambda u: (u.pw_uid < 1000, u.pw_uid))
    return users[0] if users[0].pw_uid >= 1000 else pwd.getpwnam("nobody")


@pytest.mark.parametrize("who", ["root", "user"])
def test_a_crash_costs_the_cell_and_not_the_session(who, tmp_path_factory):
    if who == "root" and os.getuid() != 0:
        pytest.skip("absent layer: not root")
    home = tmp_path_factory.mktemp("spine")
    prefix, uid, identity = PREFIX, os.getuid(), {}
    if who == "user" and uid == 0:
        user = ordinary_user()
        uid = user.pw_uid
        home = os.path.join("/var/tmp", f"spine-{os.getpid()}")
        os.mkdir(home, 0o700)
        os.chown(home, user.pw_uid, user.pw_gid)
        prefix = shutil.copytree(PREFIX, os.path.join(home, "prefix"))  # root's folder may be shut
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    command = ["/usr/bin/python3", "-c", CLIENT, os.path.join(prefix, "bin/ringfence")]
    env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True,
                              timeout=120, **identity)
    finally:
        if who == "user":
            shutil.rmtree(home, ignore_errors=True)
    assert done.stdout.strip() == (
        f"{uid} ('ok', ['2']) ('ok', []) ('error', []) ('ok', ['41']) ('ok', ['1'])"
    ), done.stderr
