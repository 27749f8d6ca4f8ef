"""How processes of ours are started: by this interpreter, from where this package is."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

ROOT = str(Path(__file__).resolve().parents[2])
SHUTDOWN = 4  # seconds that what runs has to end in when its worker is asked to


def command(module: str, *arguments: str) -> list[str]:
    """Return what runs the `main` of a module.

    Unlike `-m` it imports nothing from the folder that the process starts in, which may be a user's.
    """
    code = f"import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code, ROOT, *arguments]


def tell(process: subprocess.Popen[bytes], what: Mapping[str, object]) -> None:
    """Write what a process is to do to its standard input, where no list of processes shows it."""
    assert process.stdin
    with suppress(OSError):  # it has ended already, and its output says why
        process.stdin.write(json.dumps(what).encode() + b"\n")
        process.stdin.flush()
