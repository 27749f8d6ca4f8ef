"""How processes of ours are started: by this interpreter, from where this package is."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
SHUTDOWN = 4  # seconds that what runs has to end in when its worker is asked to


def command(module: str, *arguments: str) -> list[str]:
    """Return what runs the `main` of a module.

    Unlike `-m` it imports nothing from the folder that the process starts in, which may be a user's.
    """
    code = f"import sys; sys.path.append(sys.argv.pop(1)); from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code, ROOT, *arguments]
