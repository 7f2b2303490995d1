"""The cells of this worker, in memory only.

The gateway has the history (history_request never comes here).  What a cell
can see of it, In, Out, _i and %history of the current session, lives in
IPython's lists; nothing is written, no thread runs.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Any

from IPython.core.history import HistoryManager


_INPUT = re.compile("_i+|_i[0-9]+")


class SessionHistory(HistoryManager):
    """IPython's history manager without its database."""

    def __init__(self, shell: Any = None, config: Any = None, **traits: Any) -> None:
        traits.update(enabled=False, hist_file=":memory:")
        self._before = ["", "", ""]  # the newest cells, the newest first
        super().__init__(shell=shell, config=config, **traits)

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """Puts a cell at In[line_num] and moves _i, _ii and _iii on.

        The number comes from the gateway and may leave gaps (cells that were
        lost with a worker): these read as empty.
        """
        raw = (source if source_raw is None else source_raw).rstrip("\n")
        _put(self.input_hist_parsed, line_num, source.rstrip("\n"))
        _put(self.input_hist_raw, line_num, raw)
        older = self._before
        self._before = [raw, *older[:2]]
        names = dict(zip(("_i", "_ii", "_iii"), older)) | {f"_i{line_num}": raw}
        self.shell.user_ns.update(names)
        self.shell.user_ns_hidden.update(names)

    def forget_all(self) -> None:
        """As if no cell had run."""
        for cells in (self.input_hist_parsed, self.input_hist_raw):
            cells[:] = [""]
        self._before = ["", "", ""]
        for namespace in (self.shell.user_ns, self.shell.user_ns_hidden):
            for name in [name for name in namespace if _INPUT.fullmatch(name)]:
                del namespace[name]

    def store_output(self, line_num: int) -> None:
        """Nothing: results go to the gateway with the reply."""

    def end_session(self) -> None:
        """There is no database in which a session ends."""
        self.session_number = 0

    def get_tail(
        self,
        n: int | None = 10,
        raw: bool = True,
        output: bool = False,
        include_latest: bool = False,
    ) -> list[Any]:
        """The last n cells of this session, the oldest first."""
        cells = list(self.get_range(0, 1, None, raw=raw, output=output))
        if not include_latest:
            cells = cells[:-1]
        return cells[-(10 if n is None else n) :] if n != 0 else []

    def search(
        self,
        pattern: str = "*",
        raw: bool = True,
        search_raw: bool = True,
        output: bool = False,
        n: int | None = None,
        unique: bool = False,
    ) -> Iterator[Any]:
        """Cells of this session that match a glob pattern, the oldest first."""
        sources = self.input_hist_raw if search_raw else self.input_hist_parsed
        found: dict[Any, Any] = {}
        for cell in self.get_range(0, 1, None, raw=raw, output=output):
            line = cell[1]
            if sources[line] and fnmatch.fnmatchcase(sources[line], pattern):
                key = sources[line] if unique else line
                found.pop(key, None)
                found[key] = cell
        cells = list(found.values())
        return iter(cells if n is None else cells[-n:] if n else [])


def _put(cells: list[str], index: int, source: str) -> None:
    """cells[index] = source, with a list that is as long as needed."""
    if index >= len(cells):
        cells.extend([""] * (index - len(cells) + 1))
    cells[index] = source
