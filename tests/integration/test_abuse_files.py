"""Attacks by files: what of rows F1 to F3 there is today (abuse_rows.py has all of them).

The files that a cell makes and that something outside of its sandbox touches later are
those of a workspace's layer of packages, which `ringfence env reset` removes.
"""

import os
import subprocess

import pytest

from aftermath import Target
from helpers import ringfence_program

pytestmark = pytest.mark.ringfence_only("other kernels have no layers")

TRAPS = """
import os, socket
layer = os.environ["RINGFENCE_LAYER"]
os.makedirs(f"{layer}/a/b")
for name, to in (("file", SECRET), ("folder", FOLDER), ("a/b/up", "../../../.."), ("self", "."),
                 ("pid", "/proc/self/root"), ("/a/b/layer", layer)):
    os.symlink(to, f"{layer}/{name}")
os.mkfifo(f"{layer}/fifo")
socket.socket(socket.AF_UNIX).bind(f"{layer}/socket")
for name in (b"line\\nbreak", b"\\xff\\xfe", b"-rf", b"  ", b"x" * 255, b"\\x1b]0;title\\x07"):
    open(os.fsencode(layer) + b"/a/" + name, "w").close()
with open(f"{layer}/sparse", "wb") as file: file.truncate(1 << 40)
os.link(f"{layer}/sparse", f"{layer}/a/linked")
os.chdir(layer)
for n in range(300):  # longer than PATH_MAX
    os.mkdir("d" * 100); os.chdir("d" * 100)
os.chdir(layer)
os.makedirs("locked/inner/most"); open("locked/inner/most/file", "w").close()
for name in ("locked/inner/most", "locked/inner", "locked"): os.chmod(name, 0)
print(len(os.listdir(layer)))
"""


@pytest.fixture(scope="module")
def target(kernel_name):
    target = Target(kernel_name, network="off")
    yield target
    target.close()


def reset(target):
    return subprocess.run([ringfence_program(), "env", "reset", "--workspace", target.kernel.folder],
                          env=target.env, capture_output=True, text=True, timeout=60, check=False)


def test_a_layer_full_of_traps(target):
    secret = os.path.join(os.environ["HOME"], "precious", "file")
    os.makedirs(os.path.dirname(secret))
    with open(secret, "w", encoding="ascii") as file:
        file.write("precious")
    code = TRAPS.replace("SECRET", repr(secret)).replace("FOLDER", repr(os.path.dirname(secret)))
    cell = target.attack(code)
    assert cell.status == "ok", cell.error
    layer = target.kernel.value("__import__('os').environ['RINGFENCE_LAYER']")
    assert len(os.listdir(layer)) == int(cell.stdout)
    done = reset(target)
    assert done.returncode == 0, done.stderr
    assert os.listdir(layer) == []
    with open(secret, encoding="ascii") as file:
        assert file.read() == "precious"


def test_a_layer_that_changes_meanwhile(target):
    """A folder is swapped for a link to what is precious, again and again."""
    folder = os.path.join(os.environ["HOME"], "kept")
    os.makedirs(os.path.join(folder, "inner"))
    cell = target.kernel.execute(f"""
import os, time
layer, end = os.environ["RINGFENCE_LAYER"], time.monotonic() + 3
print("on", flush=True)
while time.monotonic() < end:
    try:
        os.makedirs(f"{{layer}}/swapped/inner/most", exist_ok=True)
        os.rename(f"{{layer}}/swapped", f"{{layer}}/away-{{time.monotonic_ns()}}")
        os.symlink({folder!r}, f"{{layer}}/swapped")
        os.unlink(f"{{layer}}/swapped")
    except OSError: pass""")
    cell.wait_for(lambda each: "on" in each.stdout)
    while not cell.done:
        reset(target)
        target.kernel.client.pump(0.01)
    assert os.listdir(folder) == ["inner"]
    assert reset(target).returncode == 0
    target.attack("1")
