"""Magics that a kernel needs in another way than a terminal."""

from __future__ import annotations

import json
import os
from typing import Any

from IPython.core import page
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magics import CodeMagics, MacroToEdit
from IPython.display import Javascript, display

from .kernel import KernelApp


@magics_class
class KernelMagics(Magics):
    """%edit, %clear, %less, %more, %man and %autosave for a notebook or console."""

    shell: Any

    # CodeMagics._find_edit_target calls itself through the instance.
    _find_edit_target = CodeMagics._find_edit_target

    @line_magic
    def edit(self, parameter_s: str = "", last_call: Any = None) -> None:
        """Ask the frontend to open an editor: %edit [-n LINE] [file, object or cells]

        The file is not run when the editor closes.
        """
        options, arguments = self.parse_options(parameter_s, "prn:")
        try:
            found = CodeMagics._find_edit_target(
                self.shell, arguments, options, last_call or ["", ""]
            )
        except MacroToEdit:
            raise UsageError("%edit cannot edit a macro here") from None
        filename, line, _ = found
        if filename is None:
            return
        payload = {
            "source": "edit_magic",
            "filename": os.path.abspath(filename),
            "line_number": int(line or 0),
        }
        self.shell.payload_manager.write_payload(payload)

    @line_magic
    def clear(self, arg_s: str) -> None:
        """Clear the terminal."""
        self.shell.system("clear")

    @line_magic
    def less(self, arg_s: str) -> None:
        """Show a file in the frontend's pager; Python files in colour."""
        if not arg_s:
            raise UsageError("Missing filename.")
        with open(arg_s, encoding="utf-8", errors="replace") as file:
            text = file.read()
        page.page(self.shell.pycolorize(text) if arg_s.endswith(".py") else text)

    more = line_magic("more")(less)

    @line_magic
    def man(self, arg_s: str) -> None:
        """Show a manual page in the frontend's pager."""
        page.page(self.shell.getoutput(f"man {arg_s} | col -b", split=False))

    @line_magic
    def connect_info(self, arg_s: str) -> None:
        """Show where this kernel listens and how another client finds it.

        The key that signs messages is in the connection file; cells cannot see it.
        """
        app = KernelApp.instance()
        print(json.dumps(app.get_connection_info(), indent=2))
        print("\nThe key is in the connection file only.  Connect another client with:\n"
              f"    $> jupyter <app> --existing {app.connection_file}")

    @line_magic
    def qtconsole(self, arg_s: str) -> None:
        """Says how a Qt console is connected: none can be started from within a kernel."""
        file = KernelApp.instance().connection_file
        raise UsageError(f"start it outside of the kernel: jupyter qtconsole --existing {file}")

    @line_magic
    def autosave(self, arg_s: str) -> None:
        """Set how often Jupyter Notebook saves, in seconds; 0 turns it off."""
        try:
            interval = int(arg_s)
        except ValueError:
            raise UsageError(f"%autosave requires an integer, got {arg_s!r}") from None
        script = f"IPython.notebook.set_autosave_interval({1000 * interval})"
        display(Javascript(script), include=["application/javascript"])
        print(f"Autosaving every {interval} seconds" if interval else "Autosave disabled")
