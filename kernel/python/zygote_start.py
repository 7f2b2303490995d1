"""Where a zygote begins: run by ringfence-kernel or any CPython 3.11 or later with -P.

The folder of this file holds the package ringfence_shell and, for interpreters
that do not have it built in, the module _ringfence.  It goes to the end of
sys.path, so that it hides nothing of the user's.
"""

import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from ringfence_shell.zygote import main  # noqa: E402

main(sys.argv[1:])
