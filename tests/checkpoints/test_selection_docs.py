"""What docs/selecting.md shows is run here."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from stores_data import write

if TYPE_CHECKING:
    import pytest

DOCS = Path(__file__).parents[2] / "docs" / "selecting.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "checkpoints.sqlite", ["refund-1043"], user_id="ana")
    [example, *_] = re.findall(r"(?:^    .*\n|^\n(?=    ))+", DOCS.read_text(), re.MULTILINE)
    exec(textwrap.dedent(example), {})
    shown, missing, changed = capsys.readouterr().out.splitlines()
    assert shown.startswith("refund-1043 3 ")
    assert (missing, changed) == ("('refund-1044',)", "[]")
