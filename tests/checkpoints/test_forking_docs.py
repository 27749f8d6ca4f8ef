"""What docs/forking.md shows is run here."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from graphs import asking, config
from langgraph.checkpoint.sqlite import SqliteSaver

if TYPE_CHECKING:
    import pytest

DOCS = Path(__file__).parents[2] / "docs" / "forking.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", DOCS.read_text(), re.MULTILINE)
    code = [textwrap.dedent(block) for block in blocks if "fork(" in block]
    assert len(code) == 2
    with SqliteSaver.from_conn_string("checkpoints.sqlite") as saver:
        asking(saver).invoke({"log": [], "n": 1}, config("refund-1043"))
        names: dict[str, object] = {}
        for block in code:
            exec(block, names)
        graph = asking(saver)
        assert graph.get_state(config("refund-1043 (copy)")).values == {"log": ["begun again"], "n": 2}
        head = saver.get_tuple(config("refund-1043"))
        assert head.metadata["source"] == "fork"
        assert "order" in head.checkpoint["channel_values"]
        assert names["made"].tables["checkpoints"].rows == 1  # type: ignore[attr-defined]
