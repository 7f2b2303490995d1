"""The table of docs/checkpoints.md: which class a checkpoint has, and what works after it.

Each row is tried in a kernel that goes back to a clean state between rows: set up,
checkpoint, crash, use; and, where the class is full, roll back, use.  Rows of large
libraries need the environment of tests/requirements-libraries.txt, whose interpreter
RINGFENCE_LIBRARIES names (./run-tests --libraries).
"""

import os
import subprocess

import pytest

from helpers import Kernel, new_folder, plain, ringfence_program

pytestmark = pytest.mark.ringfence_only("ipykernel has no checkpoints")

KILL = "import os; os.kill(os.getpid(), 9)"

# name: set-up; what is tried afterwards; its result; words of the reason ("": full).
SMALL = {
    "plain": ("x = [1, 2]", "sum(x)", "3", ""),
    "sqlite in memory": ("import sqlite3; db = sqlite3.connect(':memory:')\n"
                         "db.execute('create table t(a)'); db.execute('insert into t values(1)');",
                         "db.execute('select * from t').fetchall()", "[(1,)]", ""),
    "sqlite in a transaction": ("import sqlite3; db = sqlite3.connect('locked.db')\n"
                                "db.execute('create table t(a)'); db.execute('begin immediate');",
                                "db is not None", "True", "locked.db is locked"),
    "sqlite open": ("import sqlite3; db = sqlite3.connect('open.db')\n"
                    "db.execute('create table t(a)'); db.commit();",
                    "db is not None", "True", "the SQLite file"),
    "sqlite closed": ("db.close() if 'db' in globals() else None\nx = 1", "x", "1", ""),
    "a lock": ("import fcntl; file = open('lock', 'w'); fcntl.flock(file, fcntl.LOCK_EX)",
               "file.closed", "False", "lock is locked"),
    "idle ThreadPoolExecutor": ("from concurrent.futures import ThreadPoolExecutor\n"
                                "pool = ThreadPoolExecutor(3); list(pool.map(str, range(9)));",
                                "list(pool.map(str, range(3)))", "['0', '1', '2']", ""),
    "busy ThreadPoolExecutor": ("from concurrent.futures import ThreadPoolExecutor\nimport time\n"
                                "pool = ThreadPoolExecutor(1); job = pool.submit(time.sleep, 60)\n"
                                "late = pool.submit(str, 1)",
                                "[late.exception() is not None,\n"
                                " getattr(pool, '_broken') and True]", "[True, True]",
                                "ThreadPoolExecutor"),
    "a thread": ("import threading, time\n"
                 "mine = threading.Thread(target=time.sleep, args=(60,), name='mine', daemon=True)\n"
                 "mine.start()", "mine.is_alive()", "False", "'mine'"),
    "a thread of _thread": ("import _thread, time; _thread.start_new_thread(time.sleep, (60,))\n"
                            "while not _thread._count(): time.sleep(0.01)",
                            "1", "1", "_thread"),
    "Popen": ("import subprocess; child = subprocess.Popen(['sleep', '60'])",
              "child.poll()", "-9", "(sleep)"),
    "ProcessPoolExecutor": ("from concurrent.futures import ProcessPoolExecutor\n"
                            "pool = ProcessPoolExecutor(1); pool.submit(abs, -1).result()",
                            "type(pool._broken) is str", "True", "run"),
    "a program that has ended": ("import subprocess; child = subprocess.Popen(['true'])\n"
                                 "import time; time.sleep(0.5)", "child.args", "['true']", ""),
}

LARGE = {
    "numpy": ("import numpy as np; a = np.ones((500, 500)) @ np.ones((500, 500))",
              "float((a @ a)[0, 0])", "125000000.0", ""),
    "scikit-learn, libgomp": (
        "import numpy as np; from sklearn.ensemble import HistGradientBoostingClassifier as H\n"
        "X = np.random.rand(2000, 20); m = H(max_iter=9).fit(X, X[:, 0] > .5)",
        "H(max_iter=9).fit(X, X[:, 0] > .5).predict(X).shape", "(2000,)", ""),
    "torch": ("import torch; t = torch.rand(900, 900); l = torch.nn.Linear(900, 9)\n"
              "l(t @ t).sum().backward()",
              "l(t @ t).sum().backward(); tuple((t @ t).shape)", "(900, 900)", ""),
    "pyarrow": ("import pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc\n"
                "t = pa.table({'a': list(range(100000))}); pq.write_table(t, 't.parquet')\n"
                "t = pq.read_table('t.parquet')",
                "pc.sum(pq.read_table('t.parquet')['a']).as_py()", "4999950000", ""),
    "duckdb": ("import duckdb; db = duckdb.connect()\n"
               "db.sql('create table t as select * from range(3000000) r(i)')",
               "db.sql('select sum(i) from t').fetchall()", "[(4499998500000,)]", "_duckdb"),
    "duckdb, closed": ("import duckdb, os; db = duckdb.connect(os.path.abspath('a.duck'))\n"
                       "db.sql('create table t as select * from range(9) r(i)'); db.close()",
                       "db = duckdb.connect(os.path.abspath('a.duck'))\n"
                       "rows = db.sql('select sum(i) from t').fetchall(); db.close(); rows",
                       "[(36,)]", ""),
    "polars": ("import polars as pl; d = pl.DataFrame({'a': range(1000)})\n"
               "g = d.lazy().group_by('a').agg(pl.len()).collect()",
               "d.height", "1000", "_polars"),
    "tqdm": ("from tqdm import tqdm; import time\nfor _ in tqdm(range(3)): time.sleep(0.01)",
             "sum(tqdm(range(5)))", "10", ""),
    "h5py, writing": ("import h5py; h = h5py.File('w.h5', 'w'); h['a'] = [1]", "list(h['a'])",
                      "[np.int64(1)]", "w.h5"),
    "h5py, reading": ("import h5py, numpy as np\nwith h5py.File('r.h5', 'w') as h: h['a'] = [1]\n"
                      "h = h5py.File('r.h5', 'r', locking=False)",
                      "list(h['a'])", "[np.int64(1)]", ""),
    "requests": ("import os, subprocess, sys, time, requests\n"
                 "os.mkdir('web'); server = [sys.executable, '-c', 'import os, sys\\n'\n"
                 "  'if os.fork(): os._exit(0)\\nos.setsid()\\nimport http.server as h\\n'\n"
                 "  'h.SimpleHTTPRequestHandler.protocol_version = \"HTTP/1.1\"\\n'\n"
                 "  's = h.ThreadingHTTPServer((\"127.0.0.1\", 0), h.SimpleHTTPRequestHandler)\\n'\n"
                 "  'open(\"port\", \"w\").write(str(s.server_port))\\ns.serve_forever()']\n"
                 "subprocess.run(server, cwd='web', stdout=subprocess.DEVNULL,\n"
                 "               stderr=subprocess.DEVNULL)\n"
                 "while not (os.path.exists('web/port') and open('web/port').read()):\n"
                 "    time.sleep(0.05)\n"
                 "session = requests.Session()\n"
                 "url = f\"http://127.0.0.1:{open('web/port').read()}/\"\n"
                 "assert session.get(url).ok", "session.get(url).status_code", "200", ""),
}


def ok(cell):
    assert cell.status == "ok", cell.describe()
    return cell


def check(kernel, row):
    setup, use, result, reason = row
    ok(kernel.run(setup, timeout=120))
    why = ok(kernel.run("%checkpoint --why")).stdout
    made = ok(kernel.run("%checkpoint made")).stdout
    assert (": full" in made) == why.startswith("full") == (not reason), (made, why)
    assert reason in made and reason in why
    ok(kernel.run("changed = 1"))
    crashed = kernel.run("%rollback made" if not reason else KILL, timeout=60)
    if reason:
        assert crashed.status == "error" and "changed" not in plain(crashed.error) or \
            "could not carry" in plain(crashed.error)
    assert ok(kernel.run(use, timeout=60)).result == result
    again = kernel.run("%rollback made")
    if reason:
        assert again.status == "error" and reason in again.content["evalue"], again.describe()
    else:
        ok(again)
        assert kernel.run(KILL).status == "error"
        assert ok(kernel.run(use, timeout=60)).result == result
    ok(kernel.run("%rollback clean"))


@pytest.fixture(scope="module")
def holder():
    """The kernels of this module, each in its clean state."""
    kernels = {}
    yield kernels
    for each in kernels.values():
        each.stop()


def cleaned(holder, name):
    if name in holder and not holder[name].healthy():
        holder.pop(name).stop(now=True)
    if name not in holder:
        holder[name] = Kernel(name)
        ok(holder[name].run("%checkpoint clean"))
    return holder[name]


@pytest.mark.parametrize("row", SMALL)
def test_small(holder, kernel_name, row):
    check(cleaned(holder, kernel_name), SMALL[row])


@pytest.fixture(scope="module")
def large_spec():
    """A kernelspec of the interpreter that has the large libraries."""
    prefix = new_folder("libraries")
    subprocess.run([ringfence_program(), "install", "--prefix", prefix, "--name", "libraries",
                    "--python", os.environ["RINGFENCE_LIBRARIES"]], check=True)
    before = os.environ["JUPYTER_PATH"]
    os.environ["JUPYTER_PATH"] = f"{prefix}/share/jupyter:{before}"
    yield "libraries"
    os.environ["JUPYTER_PATH"] = before


@pytest.mark.libraries
@pytest.mark.parametrize("row", LARGE)
def test_large(holder, kernel_name, large_spec, row):
    check(cleaned(holder, large_spec), LARGE[row])
