"""The plots of a session: their numbers, what is known of each, %plots.

A matplotlib figure is a plot when it is shown or saved, and one plot within a
cell however often; plotly, bokeh and altair are known by the mime types that
they publish.  What is known of a plot goes into the metadata of its output
under `ringfence`.  Nothing here imports matplotlib.
"""

from __future__ import annotations

import functools
import os
import struct
import sys
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core import formatters
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

KEY = "ringfence"  # in the metadata of an output
_KEPT = 32 << 20  # bytes of pictures that %plots can show; beyond it the oldest go

_PICTURES = {
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
}
_CHARTS = {
    "application/vnd.plotly.v1+json": "plotly",
    "application/vnd.bokehjs_exec.v0+json": "bokeh",
    "application/vnd.vegalite.v4+json": "vega-lite",
    "application/vnd.vegalite.v5+json": "vega-lite",
    "application/vnd.vegalite.v6+json": "vega-lite",
    "application/vnd.vega.v5+json": "vega",
    "application/vnd.vega.v6+json": "vega",
}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(eq=False)
class Plot:
    number: int
    cell: int
    format: str
    size: list[int] | None = None  # pixels
    dpi: float | None = None
    files: list[str] = field(default_factory=list)
    shown: tuple[dict[str, Any], dict[str, Any]] | None = None  # data, metadata

    def public(self) -> dict[str, Any]:
        """What its output's metadata says."""
        known = {"number": self.number, "cell": self.cell, "format": self.format,
                 "size": self.size, "dpi": self.dpi}
        return known | ({"files": list(self.files)} if self.files else {})

    def line(self) -> str:
        size = f"{self.size[0]} x {self.size[1]}" if self.size else ""
        dpi = f"{self.dpi:g} dpi" if self.dpi else ""
        cell, files = f"In [{self.cell}]", ", ".join(self.files)
        return f"{self.number:>4}  {cell:<9} {self.format:<9} {size:<12} {dpi:<8} {files}".rstrip()


class Plots:
    """All plots of this process's session, in their order."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._figures: WeakKeyDictionary[Any, Plot] = WeakKeyDictionary()
        self._count = 0
        self._size = 0  # bytes of pictures
        self.all: list[Plot] = []

    def clear(self) -> None:
        self.__init__(self._shell)  # type: ignore[misc]

    def _new(self, name: str) -> Plot:
        self._count += 1
        plot = Plot(self._count, self._shell.cell_count, name)
        self.all.append(plot)
        return plot

    def _of(self, figure: Any, name: str) -> Plot:
        """The figure's plot in this cell."""
        plot = self._figures.get(figure)
        if plot is None or plot.cell != self._shell.cell_count:
            plot = self._figures[figure] = self._new(name)
        return plot

    def on_figure(self, figure: Any, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """A figure was formatted as `data`: completes its metadata."""
        mime = next((mime for mime in _PICTURES if mime in data), None)
        if mime is None:
            return
        plot = self._of(figure, _PICTURES[mime])
        plot.format, plot.dpi = _PICTURES[mime], figure.dpi
        plot.size = _png_size(data[mime])
        if plot.size is None:
            plot.size = _pixels(figure, plot.dpi)
        elif declared := metadata.get(mime, {}).get("width"):  # retina
            plot.dpi *= round(plot.size[0] / declared)
        self._keep(plot, data, metadata)

    def on_bundle(
        self, data: dict[str, Any], metadata: dict[str, Any], known: str | None = None
    ) -> None:
        """A mime bundle is about to be shown: the same for charts of other libraries, by
        mime type unless their format is `known`."""
        mime = next((mime for mime in _CHARTS if mime in data), None)
        name = _CHARTS[mime] if mime else known
        if name is None or KEY in metadata:
            return
        plot, chart = self._new(name), data.get(mime)
        layout = chart.get("layout", {}) if isinstance(chart, dict) else {}
        if isinstance(layout, dict) and {"width", "height"} <= set(layout):
            plot.size = [layout["width"], layout["height"]]
        self._keep(plot, data, metadata)

    def _keep(self, plot: Plot, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        metadata[KEY] = plot.public()
        self._size += _weight(data) - (_weight(plot.shown[0]) if plot.shown else 0)
        plot.shown = (data, metadata)
        for old in self.all:
            if self._size <= _KEPT:
                break
            if old.shown:
                self._size -= _weight(old.shown[0])
                old.shown = None

    def on_saved(self, figure: Any, file: Any, options: dict[str, Any]) -> None:
        """Figure.savefig() has written to `file`."""
        rc = sys.modules["matplotlib"].rcParams
        path = os.path.abspath(os.fsdecode(file)) if isinstance(file, (str, os.PathLike)) else None
        name = options.get("format") or os.path.splitext(path or "")[1][1:] or rc["savefig.format"]
        dpi = options.get("dpi") or rc["savefig.dpi"]
        dpi = figure.dpi if dpi == "figure" else dpi
        plot = self._of(figure, name)
        if plot.shown is None:
            plot.format, plot.dpi = name, dpi
            plot.size = _file_size(path) or _pixels(figure, dpi)
        if path and path not in plot.files:
            plot.files.append(path)

    def show(self, plot: Plot) -> None:
        """Its picture once more, or of a file that it was saved to."""
        if plot.shown is not None:
            data, metadata = plot.shown
            self._shell.display_pub.publish(data, metadata | {KEY: plot.public()})
            return
        for file in plot.files:
            mime = next((mime for mime, name in _PICTURES.items() if file.endswith(name)), None)
            if mime is not None and os.path.isfile(file):
                with open(file, "rb") as picture:
                    content = picture.read()
                shown = content.decode("utf-8", "replace") if mime.endswith("xml") else content
                self._shell.display_pub.publish({mime: shown}, {KEY: plot.public()})
                return


def _pixels(figure: Any, dpi: float) -> list[int]:
    return [round(inches * dpi) for inches in figure.get_size_inches()]


def _png_size(picture: bytes | str) -> list[int] | None:
    """[width, height] of a PNG image, base64 or not; None for anything else."""
    try:
        head = b64decode(picture[:32]) if isinstance(picture, str) else bytes(picture[:24])
    except ValueError:
        return None
    if not head.startswith(_PNG) or len(head) < 24:
        return None
    return [*struct.unpack(">II", head[16:24])]


def _file_size(path: str | None) -> list[int] | None:
    try:
        with open(path or "", "rb") as file:
            return _png_size(file.read(24))
    except OSError:
        return None


def _weight(data: dict[str, Any]) -> int:
    return sum(len(part) for part in data.values() if isinstance(part, (str, bytes)))


# -- where plots are noticed --------------------------------------------------


class DisplayFormatter(formatters.DisplayFormatter):
    """IPython's, which also notices figures.  Its name is that of IPython's configuration."""

    def format(self, obj: Any, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super().format(obj, *args, **kwargs)
        if data and type(obj).__module__.startswith("altair.vegalite"):  # it may publish HTML only
            self.parent.plots.on_bundle(data, metadata, "vega-lite")
        module = sys.modules.get("matplotlib.figure")
        if module is not None and data:
            figure = getattr(obj, "figure", None) if _WIDGET in data else obj  # ipympl's canvas
            if isinstance(figure, getattr(module, "Figure", ())):
                self.parent.plots.on_figure(figure, data, metadata)
        return data, metadata


class _Finder:
    """Waits for matplotlib.figure, whose savefig() is watched."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name != "matplotlib.figure":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _watch(module.Figure)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _watch(figure_class: Any) -> None:
    plain = figure_class.savefig

    @functools.wraps(plain)
    def savefig(self: Any, fname: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        result = plain(self, fname, *args, **kwargs)
        from IPython import get_ipython

        shell = get_ipython()
        if shell is not None:
            shell.plots.on_saved(self, fname, kwargs)
        return result

    figure_class.savefig = savefig


def install() -> None:
    """Before anybody imports matplotlib."""
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]


@magics_class
class PlotMagics(Magics):
    """%plots"""

    shell: Any

    @line_magic
    def plots(self, parameter_s: str = "") -> None:
        """The plots of this session.

        %plots          list them all and show them
        %plots list     list them only
        %plots 3 5      show these again
        %plots clear    forget them; the next one is number 1
        """
        plots, words = self.shell.plots, parameter_s.split()
        if words == ["clear"]:
            plots.clear()
        elif words in ([], ["list"]):
            for plot in list(plots.all):
                print(plot.line())
                if not words:
                    plots.show(plot)
            if not plots.all:
                print("no plots yet")
        else:
            for plot in self._chosen(words):
                plots.show(plot)

    def _chosen(self, words: list[str]) -> list[Plot]:
        known = {str(plot.number): plot for plot in self.shell.plots.all}
        for word in words:
            if word not in known:
                raise UsageError(f"%plots: there is no plot {word}; say list, clear or numbers")
        return [known[word] for word in words]
