"""The libraries that notebooks use, on ipykernel and on Ringfence; and what plots tell."""

import pytest

import compatibility_rows
from test_compatibility import check

KERNELS = ["ringfence-tests", "python3"]
pytest.importorskip("ipywidgets", reason="absent layer: the notebook libraries are not installed")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in compatibility_rows.LIBRARIES])
def test_library(kernel, row):
    check(kernel, row, compatibility_rows.BEFORE_LIBRARIES)


def widget(kernel, code):
    """Runs code that makes one widget; its comm_id."""
    cell = kernel.run(code)
    assert cell.status == "ok", cell.error
    return cell.of("comm_open")[-1]["content"]["comm_id"]


def comm(kernel, msg_type, buffers=(), metadata=None, **content):
    """Sends a comm message; what came for it, once the kernel is idle again."""
    from helpers import Cell

    client = kernel.client
    message = client.kc.session.msg(msg_type, content, metadata=metadata)
    client.kc.session.send(client.kc.shell_channel.socket, message, buffers=list(buffers))
    found = Cell(client, message["header"]["msg_id"])
    client.pump_until(lambda: found.types[-1:] == ["idle"], 30, lambda: f"{msg_type}: {found.types}")
    return found


def test_a_slider_that_is_moved(kernel):
    moved = widget(kernel, "import ipywidgets as w\ns = w.IntSlider()\n"
                           "s.observe(lambda change: print('moved to', change.new), 'value')")
    told = comm(kernel, "comm_msg", comm_id=moved, data={
        "method": "update", "state": {"value": 42}, "buffer_paths": []})
    assert told.stdout == "moved to 42\n"
    assert kernel.run("s.value").result == "42"


def test_a_callback_that_fails_is_shown_and_harms_nothing(kernel):
    pressed = widget(kernel, "b = w.Button(description='x')\nb.on_click(lambda _: 1 / 0)")
    told = comm(kernel, "comm_msg", comm_id=pressed, data={"method": "custom", "content": {"event": "click"}})
    assert "ZeroDivisionError" in told.stderr + str([e["content"] for e in told.of("error")])
    assert kernel.run("1 + 1").result == "2"


def test_binary_buffers_both_ways(kernel):
    cell = kernel.run("i = w.Image(value=bytes(range(256)) * 40)")
    opened = cell.of("comm_open")[-1]
    assert bytes(opened["buffers"][0]) == bytes(range(256)) * 40
    assert opened["content"]["data"]["buffer_paths"] == [["value"]]
    comm(kernel, "comm_msg", comm_id=opened["content"]["comm_id"], buffers=[b"\x00\xff" * 5000],
         data={"method": "update", "state": {}, "buffer_paths": [["value"]]})
    assert kernel.value("(len(i.value), bytes(i.value[:2]))") == (10000, b"\x00\xff")


def test_widget_states_are_asked_for(kernel):
    """What a page asks when it is loaded again (ipywidgets' control comm)."""
    comm(kernel, "comm_open", comm_id="control", target_name="jupyter.widget.control", data={},
         metadata={"version": "1.0.0"})
    told = comm(kernel, "comm_msg", comm_id="control", data={"method": "request_states"})
    states = told.of("comm_msg")[0]["content"]["data"]
    assert states["method"] == "update_states" and len(states["states"]) > 5


def test_a_flood_of_widget_messages(kernel):
    moved = widget(kernel, "n = 0\ns = w.IntSlider(max=10**6)\ndef count(change):\n    global n\n    n += 1\n"
                           "s.observe(count, 'value')")
    for value in range(1, 2001):
        kernel.client.kc.shell_channel.send(kernel.client.kc.session.msg("comm_msg", {
            "comm_id": moved, "data": {"method": "update", "state": {"value": value}, "buffer_paths": []}}))
    assert kernel.run("n, s.value", 60).result == "(2000, 2000)"


# What plots tell

def plots(kernel, code):
    cell = kernel.run(code)
    assert cell.status == "ok", cell.error
    return cell.count, [each["content"]["metadata"].get("ringfence") for each in cell.of("display_data")]


@pytest.mark.ringfence_only("a plot's number is ours")
def test_plots_carry_their_numbers(fresh):
    count, (one,) = plots(fresh, "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])")
    assert one == {"number": 1, "cell": count, "format": "png", "dpi": 100.0, "size": one["size"]}
    assert all(300 < pixels < 700 for pixels in one["size"])
    _, (two, three) = plots(fresh, "for n in range(2): plt.figure().add_subplot()")
    assert (two["number"], three["number"]) == (2, 3)
    _, (retina,) = plots(fresh, "%config InlineBackend.figure_format = 'retina'\n_ = plt.plot([1])")
    assert retina["dpi"] == 200.0 and retina["size"][0] > 900
    _, (svg,) = plots(fresh, "%config InlineBackend.figure_format = 'svg'\n_ = plt.plot([1])")
    assert (svg["number"], svg["format"]) == (5, "svg")
    _, (saved,) = plots(fresh, "f, x = plt.subplots(); x.plot([1]); f.savefig('p.png', dpi=50)")
    assert saved["number"] == 6 and saved["files"][0].endswith("p.png")
    _, shown = plots(fresh, "%matplotlib agg\nf, x = plt.subplots(); plt.savefig('q.pdf'); plt.close(f)")
    assert shown == []
    _, (chart,) = plots(fresh, "import plotly.graph_objects as go\n"
                               "go.Figure(layout={'width': 400, 'height': 300}).show()")
    assert chart == {"number": 8, "cell": chart["cell"], "format": "plotly", "size": [400, 300], "dpi": None}
    listed = fresh.run("%plots list").stdout.splitlines()
    assert [int(line.split()[0]) for line in listed] == list(range(1, 9))
    assert "q.pdf" in listed[6] and "200 dpi" in listed[3]
    _, again = plots(fresh, "%plots 5 6")
    assert [each["number"] for each in again] == [5, 6]
    assert len(plots(fresh, "%plots")[1]) == 8  # a PDF that was only saved is shown from its file
    assert "no plot 99" in fresh.run("%plots 99").stderr
    assert fresh.run("%plots clear").status == "ok"
    _, (first,) = plots(fresh, "%matplotlib inline\n_ = plt.plot([1])")
    assert first["number"] == 1


@pytest.mark.ringfence_only("about what a start of ours imports")
def test_nothing_of_it_is_imported_before_it_is_used(fresh):
    names = "matplotlib", "ipykernel.comm", "ipykernel.kernelapp", "matplotlib_inline.backend_inline", "ipywidgets"
    assert fresh.value(f"[m for m in {names!r} if m in __import__('sys').modules]") == []
