"""What workers of one's own are answered."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone
from replaying import replays

from explorer.database.threads import in_database
from explorer.models import Replay
from explorer.replays import requests

if TYPE_CHECKING:
    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.usefixtures("app_database")


async def post(forkable: Forkable, path: str, **content: Any) -> Any:
    return await forkable.browser.post(path, json.dumps(content), content_type="application/json")


async def asked(forkable: Forkable, **content: Any) -> str:
    answer = await post(forkable, "/s/forkable/threads/asking/replays/", **{"kind": "replay", **content})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


async def test_a_request_is_found_claimed_reported_on_and_ended(forkable: Forkable) -> None:
    id = await asked(forkable, kind="resume", answer=[1], step_limit=5)
    listed = (await forkable.browser.get("/api/replays/?state=queued&store=forkable")).json()["replays"]
    assert [each["id"] for each in listed] == [id]
    claimed = (await post(forkable, f"/api/replays/{id}/claim/", worker="mine")).json()
    assert (claimed["state"], claimed["resume"]) == ("running", [1])
    own = {"user_id": "ben", "thread_id": "asking", "checkpoint_ns": ""}
    assert claimed["config"] == {
        "configurable": {**own, "checkpoint_id": forkable.ids("asking")[0]},
        "metadata": {"user_id": "ben", "replay_id": id},
        "recursion_limit": 5,
    }
    assert claimed["lease_seconds"] == 30
    held = {"attempt": claimed["attempt"]}
    event = {"type": "checkpoint", "id": "1f0c", "ns": "", "step": 3, "source": "loop"}
    told = await post(forkable, f"/api/replays/{id}/progress/", **held, events=[event], output="printed")
    assert told.json() == {"stop": False, "lease_seconds": 30}
    await in_database(requests.cancel, uuid.UUID(id))
    assert (await post(forkable, f"/api/replays/{id}/progress/", **held)).json()["stop"] is True
    ended = await post(forkable, f"/api/replays/{id}/result/", **held, state="failed", error="KeyError")
    assert (ended.json()["state"], ended.json()["error"], ended.json()["made"]) == (
        "failed",
        "KeyError",
        "1f0c",
    )
    assert (await forkable.browser.get(f"/api/replays/{id}/")).json() == ended.json()


async def test_nobody_gets_what_another_holds(forkable: Forkable) -> None:
    id, waits = await asked(forkable), await asked(forkable)
    claimed = (await post(forkable, f"/api/replays/{id}/claim/")).json()
    for other in (id, waits):
        refused = await post(forkable, f"/api/replays/{other}/claim/")
        assert (refused.status_code, refused.json()["error"]) == (409, "This replay cannot be claimed now.")
    wrong = {"attempt": str(uuid.uuid4())}
    for action, more in (("progress", {}), ("result", {"state": "succeeded"})):
        refused = await post(forkable, f"/api/replays/{id}/{action}/", **wrong, **more)
        assert (refused.status_code, refused.json()["error"]) == (409, "This replay is not yours any more.")
    late = timezone.now() - timedelta(seconds=1)
    await in_database(lambda: Replay.objects.filter(id=id).update(lease_until=late))
    held = {"attempt": claimed["attempt"]}
    assert (await post(forkable, f"/api/replays/{id}/progress/", **held)).status_code == 409
    assert (await post(forkable, f"/api/replays/{id}/result/", **held, state="succeeded")).status_code == 409
    assert (await post(forkable, f"/api/replays/{waits}/claim/")).status_code == 200
    assert (await forkable.browser.get(f"/api/replays/{id}/")).json()["state"] == "lost"


@pytest.mark.parametrize(
    ("action", "content", "said"),
    [
        ("claim", {"worker": 3}, "worker is no text."),
        ("claim", {"worker": "\ud800"}, "worker has a character that cannot be kept"),
        ("progress", {}, "The attempt is missing that the claim was answered with."),
        ("progress", {"attempt": "HELD", "events": {}}, "Events are a list of objects."),
        ("progress", {"attempt": "HELD", "events": [1]}, "Events are a list of objects."),
        ("progress", {"attempt": "HELD", "events": [{}] * 1001}, "A report has at most 1,000 events."),
        ("progress", {"attempt": "HELD", "output": 3}, "output is no text."),
        ("result", {"attempt": "HELD", "state": "running"}, "A replay ends as one of these states:"),
        ("result", {"attempt": "HELD", "state": ["failed"]}, "A replay ends as one of these states:"),
    ],
)
async def test_what_is_no_report_is_refused(
    action: str, content: dict[str, Any], said: str, forkable: Forkable
) -> None:
    id = await asked(forkable)
    if action != "claim":
        attempt = (await post(forkable, f"/api/replays/{id}/claim/")).json()["attempt"]
        content = {key: attempt if value == "HELD" else value for key, value in content.items()}
    answer = await post(forkable, f"/api/replays/{id}/{action}/", **content)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)


async def test_a_body_that_is_no_json_is_refused(forkable: Forkable) -> None:
    id = await asked(forkable)
    for body in ("{", "[]", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")):
        answer = await forkable.browser.post(
            f"/api/replays/{id}/claim/", body, content_type="application/json"
        )
        assert answer.status_code == 400, body


async def test_errors_are_json_for_programs(forkable: Forkable, settings: SettingsWrapper) -> None:
    id = await asked(forkable)
    missing = await forkable.browser.get(f"/api/replays/{uuid.uuid4()}/")
    assert (missing.status_code, missing.json()["error"]) == (404, "There is no replay at this address.")
    for query in ("state=quued", "stat=queued"):
        assert (await forkable.browser.get(f"/api/replays/?{query}")).status_code == 400
    assert (await forkable.browser.get("/api/replays/?thread=other")).json() == {"replays": []}
    unknown = await forkable.browser.get("/api/replays/?store=nothing")
    assert unknown.json()["error"] == "No store is open under this name."
    settings.EXPLORER_READ_ONLY = True
    refused = await post(forkable, f"/api/replays/{id}/claim/")
    assert refused.status_code == 403
    assert "read-only" in refused.json()["error"]
    settings.EXPLORER_TOKEN = "another"
    assert (await forkable.browser.get("/api/replays/")).json()["error"].startswith("This address lacks")
    [row] = await replays()
    assert row.state == "queued"
