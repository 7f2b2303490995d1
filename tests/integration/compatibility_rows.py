"""What a user of ipykernel relies on: one row for each behaviour, run on both kernels.

A row is a cell and what comes of it.  Where the outcome on ipykernel is another one,
`ipykernel` holds that outcome and `why` the reason; docs/compatibility.md shows all rows
(tests/compatibility.py compares the two).  Rows follow each other in one kernel, and some
use what the one before has made.
"""

from dataclasses import dataclass, field


@dataclass
class Row:
    name: str
    code: str
    out: str | None = None      # pattern in stdout
    err: str | None = None      # pattern in stderr
    result: str | None = None   # pattern in text/plain of the result
    error: str = ""             # pattern of the whole ename; "" for a cell that succeeds
    mimes: tuple = ()           # of display_data, in their order: one mime type of each
    shows: tuple = ()           # other message types among its output
    payload: str | None = None  # source of the only payload
    answers: tuple = ()         # to input requests
    setup: str = ""             # a cell before
    ipykernel: dict = field(default_factory=dict)  # fields that differ there
    why: str = ""

    def on(self, kernel_name):
        """The row as it is on that kernel."""
        return self if kernel_name.startswith("ringfence") else Row(**{**vars(self), **self.ipykernel})


# Runs first in a new kernel, so that a row can also be run alone.
BEFORE = "import asyncio, base64, comm, json, os\nfrom IPython.display import *"
BEFORE_LIBRARIES = ("import ipywidgets as w, matplotlib.pyplot as plt, pandas\n"
                    "s, o = w.IntSlider(value=3), w.Output()")

DETECTION = [
    Row("class name", "type(get_ipython()).__name__", result="'ZMQInteractiveShell'"),
    Row("class module", "str(type(get_ipython()))", result="ipykernel.zmqshell.ZMQInteractiveShell"),
    Row("IPKernelApp in config", "'IPKernelApp' in get_ipython().config", result="True"),
    Row("ipykernel in sys.modules", "import sys; {'ipykernel', 'ipykernel.zmqshell'} <= set(sys.modules)",
        result="True"),
    Row("ipykernel.version_info", "import ipykernel; ipykernel.version_info >= (7,)", result="True"),
    Row("isinstance of ZMQInteractiveShell",
        "from ipykernel.zmqshell import ZMQInteractiveShell as Z; isinstance(get_ipython(), Z)", result="True"),
    Row("isinstance of OutStream",
        "from ipykernel.iostream import OutStream; import sys; "
        "[isinstance(s, OutStream) for s in (sys.stdout, sys.stderr)]", result=r"\[True, True\]"),
    Row("connection file", "from ipykernel.connect import get_connection_file; import ipykernel\n"
        "f = get_connection_file(); f == ipykernel.get_connection_file() and f.endswith('.json')",
        result="True"),
    Row("IPKernelApp.instance()", "from ipykernel.kernelapp import IPKernelApp as A\n"
        "a = A.instance(); A.initialized(), a.kernel is get_ipython().kernel, a.connection_file[-5:]",
        result=r"\(True, True, '.json'\)"),
    Row("ipykernel.comm", "import warnings; warnings.simplefilter('ignore')\n"
        "from ipykernel.comm import Comm\nc = Comm(target_name='row'); c.close(); c.comm_id == ''",
        result="False"),
    Row("ipykernel.pylab", "import ipykernel.pylab.backend_inline as b; b.__name__", result="'ipykernel.pylab"),
    Row("kernel members", "k = get_ipython().kernel\n"
        "k.get_parent('shell')['header']['msg_type'], k.shell is get_ipython(), bool(k.session.session), "
        "k.comm_manager is not None, bool(k.log), k.io_loop is not None, set(k._parent_ident) >= {'shell'}",
        result=r"\('execute_request', True, True, True, True, True, True\)"),
    Row("kernel.send_response", "k = get_ipython().kernel\n"
        "_ = k.send_response(k.iopub_socket, 'display_data', "
        "{'data': {'text/html': 'x'}, 'metadata': {}, 'transient': {}})", mimes=("text/html",)),
    Row("parent of the shell", "p = get_ipython().get_parent(); "
        "p['content']['code'][:1], p['header']['msg_type']", result=r"\('p', 'execute_request'\)"),
    Row("the cell's loop runs", "import asyncio; asyncio.get_event_loop().is_running()", result="True"),
    Row("environment for colours", "import os; os.environ['TERM'], os.environ['PAGER'], os.environ['CLICOLOR']",
        result=r"\('xterm-color', 'cat', '1'\)"),
    Row("standard streams", "import sys; sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.name, "
        "sys.stdout.write('')", result=r"\(False, 'UTF-8', 'stdout', 0\)"),
    Row("the user has a name", "import getpass; bool(getpass.getuser())", result="True"),
    Row("hooks of the streams", "seen = []\ndef hook(m): seen.append(m['content']['text'])\n"
        "sys.stdout.register_hook(hook); print('kept'); sys.stdout.flush()\n"
        "import time; time.sleep(.1); sys.stdout.unregister_hook(hook), ''.join(seen)",
        result=r"\(True, 'kept\\n'\)", out="^$",
        ipykernel={"result": r"\(True, ''\)", "out": "kept"},
        why="ipykernel's hooks are those of the thread that writes to the socket, not of the one that prints."),
    Row("hooks of displays", "seen = []\ndef hook(m): seen.append(m['msg_type'])\n"
        "p = get_ipython().display_pub; p.register_hook(hook)\nfrom IPython.display import display\n"
        "display(1); p.unregister_hook(hook), seen", result=r"\(True, \['display_data'\]\)"),
]

DISPLAY = [
    Row("HTML", "from IPython.display import *\ndisplay(HTML('<b>x</b>'))", mimes=("text/html",)),
    Row("Markdown, Latex, JSON, Javascript, SVG, Math",
        "display(Markdown('*x*')); display(Latex('$x$')); display(JSON({'a': 1})); "
        "display(Javascript('1')); display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')); display(Math('x'))",
        mimes=("text/markdown", "text/latex", "application/json", "application/javascript",
               "image/svg+xml", "text/latex")),
    Row("Image from bytes", "import base64; png = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
        "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='); display(Image(png))", mimes=("image/png",)),
    Row("Audio, Video, IFrame, YouTubeVideo",
        "display(Audio(b'RIFF', rate=1)); display(Video(url='x.mp4')); display(IFrame('x', 1, 1)); "
        "display(YouTubeVideo('x'))", mimes=("text/html",) * 4),
    Row("FileLink", "open('f.txt', 'w').close(); display(FileLink('f.txt'))", mimes=("text/html",)),
    Row("ProgressBar, Code, Pretty", "display(ProgressBar(2)); display(Code('x', language='python')); "
        "display(Pretty('x'))", mimes=("text/html", "text/html", "text/plain")),
    Row("display_id and update", "h = display(1, display_id='d'); h.update(2)", mimes=("text/plain",),
        shows=("update_display_data",)),
    Row("_repr_html_", "class R:\n    def _repr_html_(self): return '<i>r</i>'\ndisplay(R())", mimes=("text/html",)),
    Row("_repr_mimebundle_", "class M:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
        "        return {'application/x-row': {'a': 1}}, {'m': 1}\ndisplay(M())", mimes=("application/x-row",)),
    Row("_ipython_display_", "class D:\n    def _ipython_display_(self): print('own')\nD()", out="own"),
    Row("formatter for a type", "f = get_ipython().display_formatter.formatters['text/html']\n"
        "f.for_type(complex, lambda c: '<c>')\ndisplay(1j)", mimes=("text/html",)),
    Row("%precision and pprint", "%precision 2\n3.14159", result="3.14"),
    Row("clear_output", "clear_output(wait=True); print('x')", out="x", shows=("clear_output",)),
    Row("DisplayHandle of another cell", "update_display(3, display_id='d')", shows=("update_display_data",)),
    Row("display of raw data", "display({'text/html': 'x', 'text/plain': 'y'}, raw=True)", mimes=("text/html",)),
    Row("user_ns display functions", "display(display)", mimes=("text/plain",)),
]

PAYLOADS = [
    Row("help?", "len?", payload="page"),
    Row("source??", "def row():\n    return 1\nrow??", payload="page"),
    Row("%pinfo of nothing", "nothing_at_all?", out="not found"),
    Row("%page", "shown = [1]\n%page -r shown", payload="page"),
    Row("%psource, %pdoc, %pdef, %pfile", "import textwrap\n%psource textwrap.dedent", payload="page"),
    Row("%load", "open('l.py', 'w').write('a = 1\\n')\n%load l.py", payload="set_next_input"),
    Row("%recall", "1\n%recall", payload="set_next_input"),
    Row("set_next_input", "get_ipython().set_next_input('n')", payload="set_next_input"),
    Row("%edit", "%edit l.py", payload="edit_magic"),
    Row("%less", "%less l.py", payload="page"),
    Row("%man", "%man no_such_manual_page", payload="page"),
    Row("exit with keepkernel", "get_ipython().keepkernel_on_exit = True\nget_ipython().ask_exit()\n"
        "get_ipython().keepkernel_on_exit = None; get_ipython().exit_now = False", payload="ask_exit"),
]

MAGICS = [
    Row("%time", "%time 1 + 1", out=r"(?s)Wall time", result="2"),
    Row("%%time", "%%time\nx = 1", out="Wall time"),
    Row("%timeit", "%timeit -n 2 -r 2 1", out="per loop"),
    Row("%%timeit", "%%timeit -n 2 -r 2 y = 1\ny + 1", out="per loop"),
    Row("%prun", "%prun -q -T prof.txt sum(range(9))", out="prof.txt|^$"),
    Row("%who", "who_a = 1\n%who int", out="who_a"),
    Row("%whos", "%whos int", out="(?s)Variable.*who_a"),
    Row("%who_ls", "%who_ls int", result="who_a"),
    Row("%psearch", "%psearch who_*", payload="page"),
    Row("%xdel", "%xdel who_a\n'who_a' in globals()", result="False"),
    Row("%reset_selective", "rs_a = 1\n%reset_selective -f ^rs_\n'rs_a' in globals()", result="False"),
    Row("%run", "open('r.py', 'w').write('import sys; ran = sys.argv[1]; print(__name__)')\n"
        "%run r.py arg\nran", out="__main__", result="'arg'"),
    Row("%run -i -n", "open('r2.py', 'w').write('print(ran, __name__)')\n%run -i -n r2.py", out="arg r2"),
    Row("%run of a notebook", "import json\njson.dump({'cells': [{'cell_type': 'code', 'source': 'nb_ran = 5', "
        "'metadata': {}, 'outputs': [], 'execution_count': None}], 'metadata': {}, 'nbformat': 4, "
        "'nbformat_minor': 5}, open('n.ipynb', 'w'))\n%run n.ipynb\nnb_ran", result="5"),
    Row("%load_ext autoreload", "%load_ext autoreload\n%autoreload 2\nopen('am.py', 'w').write('v = 1')\n"
        "import am; am.v", result="1"),
    Row("autoreload reloads", "am.v", setup="import os, time\nopen('am.py', 'w').write('v = 22')\n"
        "os.utime('am.py', (time.time() + 5,) * 2)", result="22"),
    Row("%pip", "%pip --version", out=r"pip \d"),
    Row("!cmd", "!echo out; echo err >&2", out="^out$", err="^err$",
        ipykernel={"out": "(?s)out.*err", "err": None},
        why="ipykernel gives a command a terminal, in which its two streams become one; here it has "
            "the kernel's own two, live and in order."),
    Row("!cmd in an expression", "a = !echo one; echo two\na", result=r"\['one', 'two'\]"),
    Row("!cmd with {expressions}", "word = 'w'\n!echo {word} $word", out="w w"),
    Row("_exit_code", "!exit 3\n_exit_code", result="3"),
    Row("%%bash", "%%bash\necho b; echo e >&2", out="b", err="e"),
    Row("%%bash --out", "%%bash --out bo\necho b", setup="", out="^$"),
    Row("%%sh that fails", "%%sh\nexit 4", error="CalledProcessError"),
    Row("%%script python", "%%script python3\nprint(6 * 7)", out="42"),
    Row("%sx", "%sx echo s", result=r"\['s'\]"),
    Row("%cd, %pwd", "import os; os.makedirs('sub', exist_ok=True)\n%cd -q sub\np = %pwd\n%cd -q -\n"
        "p.endswith('sub') and os.path.exists('sub')", result="True"),
    Row("%pushd, %popd, %dirs, %dhist", "%pushd sub\n%popd\n%dirs\n%dhist", out="Directory history"),
    Row("%bookmark", "%bookmark here\n%bookmark -l", out="here"),
    Row("%env", "%env ROW=7\nimport os; os.environ['ROW']", out="env: ROW=7", result="'7'"),
    Row("%set_env", "%set_env ROW=8\nos.environ['ROW']", result="'8'"),
    Row("%%writefile", "%%writefile w.txt\ntext", out="Writing w.txt|Overwriting w.txt"),
    Row("%pycat", "%pycat r.py", payload="page"),
    Row("%history", "%history -n", out="%who_ls"),
    Row("%history -l", "%history -l 2", out="."),
    Row("%rerun", "%rerun", setup="print('again')", out="again"),
    Row("%save", "%save -f saved 1", out="saved.py"),
    Row("%macro", "%macro -q mac 1\ntype(mac).__name__", result="'Macro'"),
    Row("%store", "stored = 5\n%store stored\ndel stored\n%store -r stored\nstored", out="Stored 'stored'",
        result="5"),
    Row("%pastebin is asked for", "get_ipython().find_line_magic('pastebin') is not None", result="True"),
    Row("%matplotlib --list", "%matplotlib --list", out="inline"),
    Row("%config of a class", "%config IPCompleter", out="IPCompleter.greedy"),
    Row("%config sets", "%config IPCompleter.greedy = True\nget_ipython().Completer.greedy", result="True"),
    Row("%config list", "%config", out="(?s)DisplayFormatter.*IPCompleter"),
    Row("%gui asyncio", "%gui asyncio"),
    Row("%gui of no toolkit", "%gui no_such_toolkit", err="no_such_toolkit"),
    Row("%gui of a toolkit", "%gui wx", err="not supported in this kernel", ipykernel={"err": None, "error": ".*"},
        why="A toolkit's loop needs a display, which a sandbox does not have."),
    Row("%colors", "%colors nocolor\n%colors linux"),
    Row("%xmode", "%xmode Minimal\n%xmode Context", out="Minimal"),
    Row("%pprint", "%pprint\n%pprint", out="Pretty printing"),
    Row("%logstart", "%logstart -q log.py\n%logstop\nimport os; os.path.exists('log.py')", result="True"),
    Row("%alias", "row_alias", setup="%alias row_alias echo alias", out="alias"),
    Row("%automagic", "%automagic", out="Automagic is"),
    Row("%autocall", "%autocall 0", out="."),
    Row("%lsmagic", "%lsmagic", result="%%bash"),
    Row("%magic", "%magic", payload="page"),
    Row("%quickref", "%quickref", payload="page"),
    Row("%%html", "%%html\n<b>h</b>", mimes=("text/html",)),
    Row("%%latex, %%markdown, %%svg", "%%markdown\n*m*", mimes=("text/markdown",)),
    Row("%%javascript", "%%javascript\n1", mimes=("application/javascript",)),
    Row("%%capture", "%%capture cap\nprint('c'); display(1)", out="^$"),
    Row("cap.show()", "cap.show(); cap.stdout", out="c", result=r"'c\\n'", mimes=("text/plain",)),
    Row("%notebook", "%notebook exported.ipynb\nimport os; os.path.exists('exported.ipynb')", result="True"),
    Row("%tb", "%tb", setup="1/0", shows=("error",)),
    Row("%clear", "%clear"),
    Row("%connect_info", "%connect_info", out='(?s)"shell_port".*--existing'),
    Row("%autosave", "%autosave 9", out="Autosaving every 9 seconds", mimes=("application/javascript",)),
    Row("%subshell", "%subshell", err="not found", error="UsageError",
        ipykernel={"err": None, "error": "", "out": "subshell id"},
        why="Subshells come later and are not advertised, so nothing asks for them."),
    Row("%plots", "%plots", out="no plots yet", ipykernel={"out": None, "err": "not found", "error": "UsageError"},
        why="The list of a session's plots is ours."),
    Row("%unload_ext", "%unload_ext autoreload"),
    Row("%reset", "kept_not = 1\n%reset -f\n'kept_not' in globals()", result="False"),
]

STDIN = [
    Row("%debug", "%debug", setup="def broken():\n    local = 41\n    1/0\nbroken()",
        answers=("p local + 1", "q"), out="42"),
    Row("%pdb", "%pdb on\ninner = 40\n1/0", answers=("p inner + 3", "q"), out="43", error="ZeroDivisionError"),
    Row("%pdb off", "%pdb off", out="OFF"),
    Row("breakpoint()", "def stops():\n    here = 44\n    breakpoint()\n    return here\nstops()", answers=("p here", "c"), out="44",
        result="44", ipykernel={"answers": (), "out": None},
        why="ipykernel loads debugpy, which takes breakpoint() for itself and does nothing without a client."),
    Row("pdb.set_trace()", "import pdb\ndef stops():\n    here = 45\n    pdb.set_trace()\nstops()",
        answers=("n", "p here", "c"), out="45"),
    Row("%run -d", "open('d.py', 'w').write('in_d = 46\\n')\n%run -d d.py", answers=("n", "p in_d", "c"), out="46"),
    Row("input()", "input('? ')", answers=("typed",), result="'typed'"),
    Row("getpass()", "import getpass; getpass.getpass()", answers=("secret",), result="'secret'"),
    Row("%reset asks", "%reset", answers=("n",), out="Nothing done"),
]

ASYNC = [
    Row("top-level await", "import asyncio; await asyncio.sleep(0, 5)", result="5"),
    Row("async for and with", "async def g():\n    yield 1\n[x async for x in g()]", result=r"\[1\]"),
    Row("%autoawait", "%autoawait", out="on"),
    Row("%autoawait off", "%autoawait off\n%autoawait\n%autoawait on", out="off"),
    Row("a task goes on", "n", setup="n = 0\nasync def count():\n    global n\n    for _ in range(5):\n"
        "        await asyncio.sleep(.01); n += 1\nt = asyncio.ensure_future(count())", result=r"\d"),
    Row("a task of an earlier cell is awaited", "await late", setup="async def answer():\n"
        "    await asyncio.sleep(.05); return 5\nlate = asyncio.ensure_future(answer())", result="5"),
    Row("contextvars last", "var.get()", setup="import contextvars; var = contextvars.ContextVar('v'); var.set(8)",
        result="8"),
    Row("contextvars of a cell with await", "var.get()", setup="await asyncio.sleep(0); var.set(9)", result="9",
        ipykernel={"result": "8"}, why="ipykernel runs a cell with await in a copy of the context."),
    Row("asyncio.run is refused", "asyncio.run(asyncio.sleep(0))", error="RuntimeError"),
    Row("create_task", "await asyncio.create_task(asyncio.sleep(0, 'done'))", result="'done'"),
    Row("to_thread", "await asyncio.to_thread(lambda: 4)", result="4"),
    Row("an exception in an await", "await asyncio.wait_for(asyncio.sleep(9), .01)", error="TimeoutError"),
    Row("the traceback of a timeout", "import traceback\ntry:\n    async with asyncio.timeout(.01): await "
        "asyncio.sleep(9)\nexcept TimeoutError: traceback.print_exc(file=sys.stdout)", setup="import sys",
        out=r"(?s)^(?!.*(ringfence_shell|ipykernel/)).*CancelledError.*TimeoutError"),
    Row("subprocess of asyncio", "p = await asyncio.create_subprocess_shell('echo sub', stdout=-1)\n"
        "(await p.communicate())[0]", result=r"b'sub\\n'"),
    Row("%%time with await", "%%time\nawait asyncio.sleep(0)", error="SyntaxError"),
]

BAD = [
    Row("__repr__ that raises", "class B:\n    def __repr__(self): raise ValueError('bad repr')\nB()",
        error="ValueError",
        ipykernel={"error": "NoneType"}, why="ipykernel's reply names no error here, its message `error` does."),
    Row("__repr__ that recurses", "class C:\n    def __repr__(self): return repr(self)\nC()",
        error="RecursionError",
        ipykernel={"error": "NoneType"}, why="ipykernel's reply names no error here, its message `error` does."),
    Row("_repr_html_ that raises", "class H:\n    def _repr_html_(self): raise ValueError('bad html')\n"
        "    def __repr__(self): return 'plain'\nH()", result="plain", error="ValueError",
        ipykernel={"error": "NoneType"}, why="ipykernel's reply names no error here, its message `error` does."),
    Row("__repr__ that is no text", "class N:\n    def __repr__(self): return 5\nN()", error="TypeError",
        ipykernel={"error": "NoneType"}, why="ipykernel's reply names no error here, its message `error` does."),
    Row("display data that is not JSON", "from IPython.display import display\n"
        "display({'application/json': {'a': object()}}, raw=True)", error="TypeError",
        ipykernel={"error": "ValueError"}, why="Another class of exception; both say what cannot be JSON."),
    Row("display data that is no dict", "display(5, raw=True)", error="TypeError"),
    Row("NaN in display data", "display({'application/json': {'a': float('nan')}}, raw=True)",
        mimes=("application/json",)),
    Row("data that holds itself", "a = []; a.append(a); display({'application/json': a}, raw=True)",
        error="ValueError", ipykernel={"error": "RecursionError"}, why="The same."),
    Row("keys that are no text", "display({'application/json': {1: 2, None: 3}}, raw=True)",
        mimes=("application/json",)),
    Row("lone surrogates", "print('\\ud83d')", out="^.$", ipykernel={"out": "^$"},
        why="ipykernel loses the text and prints an error of its own."),
    Row("an exception whose text fails", "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        error="E|ValueError"),
    Row("a comm that nobody knows", "import comm; c = comm.create_comm(target_name='nobody'); c.send({'a': 1}); "
        "c.close()"),
    Row("comm data that is not JSON", "comm.create_comm(target_name='x', data={'a': object()})", error="TypeError",
        ipykernel={"error": "ValueError"}, why="The same."),
    Row("comm buffers that are none", "comm.create_comm(target_name='x').send({}, buffers=[5])", error="TypeError"),
    Row("a deep exception chain", "def f(n):\n    try: raise KeyError(n)\n    except KeyError:\n"
        "        if n: f(n - 1)\n        raise\nf(20)", error="KeyError"),
]

GROUPS = {"detection": DETECTION, "display": DISPLAY, "payloads": PAYLOADS, "magics": MAGICS,
          "stdin": STDIN, "asyncio": ASYNC, "bad input": BAD}

WIDGET = "application/vnd.jupyter.widget-view+json"

# Libraries, as they behave by themselves: nothing here knows of Ringfence.
LIBRARIES = [
    Row("rich", "from rich.console import Console\nc = Console(); c.print('[bold]x'); c.is_jupyter", result="True",
        mimes=("text/html",)),
    Row("rich.pretty and traceback", "from rich import pretty, traceback\npretty.install(); traceback.install()\n"
        "pretty.pprint({'a': 1})", out=None, mimes=("text/html",)),
    Row("tqdm.auto", "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass", mimes=(WIDGET,),
        shows=("comm_open", "comm_msg")),
    Row("tqdm.notebook", "from tqdm.notebook import tqdm\nlist(tqdm('ab', desc='d'))", mimes=(WIDGET,), result="a"),
    Row("tqdm.autonotebook", "import warnings; warnings.simplefilter('ignore')\n"
        "import tqdm.autonotebook as t; t.tqdm.__module__", result="'tqdm.notebook'"),
    Row("ipywidgets: a widget", "import ipywidgets as w; s = w.IntSlider(value=3); display(s)", mimes=(WIDGET,),
        shows=("comm_open",)),
    Row("ipywidgets: Output", "o = w.Output()\nwith o: print('inside')\nprint('outside')",
        out="(?s)inside.*outside", shows=("comm_msg",)),
    Row("ipywidgets: an error in Output", "with o: 1/0", shows=("error", "comm_msg")),
    Row("ipywidgets: interact", "_ = w.interact(lambda x: print('x is', x), x=(0, 8))", out="x is 4",
        mimes=(WIDGET,)),
    Row("ipywidgets: interactive_output", "w.interactive_output(lambda x: print('got', x), {'x': s})", out="got 3"),
    Row("ipywidgets: link and observe", "a, b, seen = w.IntText(), w.IntText(), []\n"
        "w.link((a, 'value'), (b, 'value')); b.observe(lambda c: seen.append(c.new), 'value')\na.value = 7; seen",
        result=r"\[7\]"),
    Row("plotly", "import plotly.graph_objects as go, plotly.io as pio\n"
        "go.Figure(go.Scatter(y=[1, 2])).show(); pio.renderers.default", result="'plotly_mimetype'",
        mimes=("application/vnd.plotly.v1+json",)),
    Row("bokeh", "from bokeh.plotting import figure, show\nfrom bokeh.io import output_notebook, push_notebook\n"
        "output_notebook(hide_banner=True)\np = figure(); p.line([1, 2], [1, 2]); h = show(p, notebook_handle=True)",
        mimes=("application/vnd.bokehjs_load.v0+json", "text/html", "application/vnd.bokehjs_exec.v0+json"),
        shows=("comm_open",)),
    Row("bokeh: push_notebook", "p.line([1, 2], [2, 1]); push_notebook(handle=h)", shows=("comm_msg",)),
    Row("altair", "import altair, pandas\n"
        "altair.Chart(pandas.DataFrame({'a': [1], 'b': [2]})).mark_point().encode(x='a', y='b')", result="alt.Chart"),
    Row("pandas", "pandas.DataFrame({'a': [1]})", result="(?s)a.*1"),
    Row("pandas: style", "pandas.DataFrame({'a': [1]}).style.format('{:.2f}')", result="Styler"),
    Row("matplotlib inline", "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])", mimes=("image/png",)),
    Row("matplotlib: two figures", "_ = plt.figure().add_subplot(), plt.figure().add_subplot()",
        mimes=("image/png", "image/png")),
    Row("matplotlib: show() once", "_ = plt.plot([1]); plt.show()", mimes=("image/png",)),
    Row("matplotlib in a cell with await", "import asyncio; _ = plt.plot([1]); await asyncio.sleep(0.01)",
        mimes=("image/png",)),
    Row("matplotlib: close", "_ = plt.plot([1]); plt.close()"),
    Row("matplotlib: a figure as the result", "f, _ = plt.subplots(); plt.close(f); f", result="Figure"),
    Row("matplotlib: retina, svg, pdf", "%config InlineBackend.figure_formats = ['svg', 'pdf', 'retina']\n"
        "_ = plt.plot([1])", mimes=("image/svg+xml",)),
    Row("matplotlib: a figure that fails", "%config InlineBackend.figure_formats = ['png']\n"
        "f, x = plt.subplots(); _ = x.set_title('$\\\\broken{$')", shows=("error",), mimes=("text/plain",)),
    Row("matplotlib: savefig", "f, x = plt.subplots(); f.savefig('saved.png'); plt.close(f)\n"
        "import os; os.path.getsize('saved.png') > 0", result="True"),
    Row("matplotlib agg", "%matplotlib agg\n_ = plt.plot([1])"),
    Row("matplotlib widget (ipympl)", "plt.close('all')\n%matplotlib widget\nf, x = plt.subplots(); _ = x.plot([1]); "
        "plt.show()", mimes=(WIDGET,), shows=("comm_open",)),
    Row("matplotlib notebook", "plt.close('all')\n%matplotlib notebook\n_ = plt.plot([1])",
        mimes=("application/javascript", "text/html"), shows=("comm_open", "comm_msg")),
    Row("matplotlib inline again", "plt.close('all')\n%matplotlib inline\n_ = plt.plot([1])", mimes=("image/png",)),
    Row("%pylab", "%pylab inline --no-import-all", out="(?i)matplotlib|pylab"),
    Row("seaborn", "import seaborn\n_ = seaborn.lineplot(x=[1, 2], y=[1, 2])", mimes=("image/png",)),
]
