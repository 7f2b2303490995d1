"""What notebooks are made of beside text: comms, completion, figures, large displays.

Each function measures one kernel through a raw client (tests/integration/rawclient.py) and
gives {figure: value or values}.  The client decodes and checks every message that comes,
which is a part of each time.
"""

import time

MESSAGES = 10_000
LARGE = 10_000_000

PREPARE = f"""
import comm, os, json
def opened(c, msg):
    c.on_msg(lambda msg: None)
comm.get_comm_manager().register_target("bench", opened)
class Shown:
    def __init__(self, html): self.html = html
    def _repr_html_(self): return self.html
def table(size):
    # The HTML of a DataFrame: as pandas writes it, built beforehand in both kernels.
    row = "    <tr>\\n      <th>0</th>\\n" + "      <td>0.123456</td>\\n" * 8 + "    </tr>\\n"
    return '<table border="1" class="dataframe">\\n  <tbody>\\n' + row * (size // len(row)) + "  </tbody>\\n</table>"
shown, block = Shown(table({LARGE})), bytes({LARGE})
class Thing:
    def method(self): pass
    value = 1
thing, words = Thing(), {{"key": 1}}
"""
COMPLETED = ("os.pa", "thing.", "words.ke", "imp", "%ti", "json.du")


def prepare(client):
    reply, _ = client.run(PREPARE)
    assert reply["content"]["status"] == "ok", reply["content"]
    for code in COMPLETED * 2:  # what jedi loads once
        complete(client, code)


def complete(client, code):
    begun = time.perf_counter()
    msg_id = client.send("shell", "complete_request", {"code": code, "cursor_pos": len(code)})
    reply = client.reply("shell", msg_id)["content"]
    took = (time.perf_counter() - begun) * 1e3
    assert reply["status"] == "ok" and reply["matches"], (code, reply)
    client.until_idle(msg_id)
    return took


def completion(client):
    times = sorted(complete(client, code) for _ in range(20) for code in COMPLETED)
    return {"complete, 95th of 100, ms": times[len(times) * 95 // 100],
            "complete, median, ms": times[len(times) // 2]}


def comms_out(client):
    """Messages of the kernel to its client; those that never came are a figure of their own."""
    begun = time.perf_counter()
    msg_id = client.execute(f"c = comm.create_comm(target_name='b')\nfor n in range({MESSAGES}): c.send({{'n': n}})")
    seen = client.until_idle(msg_id, 120)
    took = time.perf_counter() - begun
    client.reply("shell", msg_id)
    return {f"{MESSAGES:,} comm messages to the client, ms": took * 1e3,
            "of these lost": MESSAGES - sum(m["msg_type"] == "comm_msg" for m in seen)}


def comms_in(client):
    """Messages of the client to a comm, each answered by busy and idle."""
    comm_id = f"in{client.count}"
    client.send("shell", "comm_open", {"comm_id": comm_id, "target_name": "bench", "data": {}})
    messages = [client.frames("comm_msg", {"comm_id": comm_id, "data": {"n": n}}) for n in range(MESSAGES)]
    begun = time.perf_counter()
    for _, frames in messages:
        client.send_frames("shell", frames)
    client.until_idle(messages[-1][0], 120)
    return {f"{MESSAGES:,} comm messages to the kernel, ms": (time.perf_counter() - begun) * 1e3}


def timed_cell(client, code, found):
    """Milliseconds to reply and idle; `found` must be true of some message of its output."""
    begun = time.perf_counter()
    reply, seen = client.run(code, 60)
    took = (time.perf_counter() - begun) * 1e3
    assert reply["content"]["status"] == "ok" and any(map(found, seen)), reply["content"]
    return took


def large(client):
    return {"10 MB of a table's HTML, ms": timed_cell(
                client, "shown", lambda m: len(m["content"].get("data", {}).get("text/html", "")) > LARGE * 0.9),
            "10 MB binary buffer, ms": timed_cell(
                client, "c.send({}, buffers=[block])", lambda m: [len(b) for b in m["buffers"]] == [LARGE])}


def figure(client):
    """A matplotlib figure, inline; nothing where the kernel's interpreter has no matplotlib."""
    reply, _ = client.run("import matplotlib.pyplot as plt\n_ = plt.plot([1])", 120)
    if reply["content"]["status"] != "ok":
        return {}
    return {"a matplotlib figure, ms": [timed_cell(
        client, "_ = plt.plot(range(100))", lambda m: "image/png" in m["content"].get("data", {})) for _ in range(5)]}


PARTS = (completion, comms_out, comms_in, large, figure)


def measure(client):
    return {name: value for part in PARTS for name, value in part(client).items()}
