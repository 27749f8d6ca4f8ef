"""What the app itself keeps. The stores that it shows are not among it."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, NoReturn

from django.db import models

ONLY: Final = 1


class Installation(models.Model):
    """What all servers over one database share, so that they behave as one. There is one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    secret_key = models.TextField()
    token = models.TextField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=ONLY), name="one_installation")]

    def __str__(self) -> str:
        return "the servers over this database"


class Worker(models.Model):
    """A process that runs graphs, as it tells of itself. One that was not seen for a while is gone.

    `stores` are the keys of the stores that it opens. `graphs` tells of each graph by name: its nodes, or
    why it cannot be imported.
    """

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    stores = models.JSONField()
    graphs = models.JSONField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name


class State(models.TextChoices):
    """Where in its life a replay is. `lost`: its worker has not been heard of since its lease ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class Replay(models.Model):
    """A request to run a graph from a checkpoint, and what became of it.

    `store` is the store's key, `thread_key` a digest of it and the thread's id. `given` is what the graph
    gets. Who runs it holds the `attempt`, an id of its own, until `lease_until`; what anybody else reports is
    refused. `version` grows with each change that a page may show.
    """

    id = models.UUIDField(primary_key=True)
    store = models.TextField()
    thread_id = models.TextField()
    thread_key = models.CharField(max_length=64)
    checkpoint_ns = models.TextField()
    checkpoint_id = models.TextField()
    step = models.IntegerField(null=True)
    kind = models.CharField(max_length=16)
    graph = models.CharField(max_length=100)
    given_json = models.TextField()
    head = models.TextField()
    former = models.TextField()
    step_limit = models.PositiveIntegerField()
    seconds_limit = models.PositiveIntegerField()
    reason = models.TextField()
    author = models.TextField()
    asked_at = models.DateTimeField()
    again_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="asked_again")

    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    version = models.PositiveIntegerField(default=0)
    attempt = models.UUIDField(null=True)
    worker = models.TextField(default="")
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cancel_at = models.DateTimeField(null=True)
    cancelled_by = models.TextField(default="")

    checkpoints = models.PositiveIntegerField(default=0)
    made = models.TextField(default="")
    events = models.PositiveIntegerField(default=0)
    dropped = models.PositiveIntegerField(default=0)
    spoken = models.PositiveIntegerField(default=0)
    output = models.TextField(default="")
    error = models.TextField(default="")
    traceback = models.TextField(default="")

    class Meta:
        ordering: ClassVar = ["-asked_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["thread_key"], condition=models.Q(state=State.RUNNING), name="one_run_of_a_thread"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-asked_at", "-id"], name="replays_by_time"),
            models.Index(fields=["state", "-asked_at"], name="replays_by_state"),
            models.Index(fields=["thread_key", "-asked_at"], name="replays_by_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def given(self) -> dict[str, Any]:
        """What the graph gets. It is kept as text: JSON of PostgreSQL sorts keys and changes numbers."""
        given: dict[str, Any] = json.loads(self.given_json)
        return given


class ReplayEvent(models.Model):
    """What happened in a run, in the order in which it was told."""

    id = models.BigAutoField(primary_key=True)
    replay = models.ForeignKey(Replay, models.CASCADE, related_name="told")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["replay", "number"], name="numbered_once"),
        ]

    def __str__(self) -> str:
        return f"{self.number} of {self.replay_id}"


class AppendOnly(Exception):
    """A row of the audit was to be changed or deleted."""


class AuditEntries(models.QuerySet["AuditEntry"]):
    """Rows of the audit, which are only ever added. The database itself refuses the rest, too."""

    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly

    def delete(self, *_: Any) -> NoReturn:
        raise AppendOnly

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly

    _raw_delete = delete  # type: ignore[assignment]  # what Django's collector calls
    _update = update


class Outcome(models.TextChoices):
    """How an action stands: its first row has `begun`, its second one of the others."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class AuditEntry(models.Model):
    """Who did what, when, and how it ended. Two rows of an action have its `action_id`.

    `store` is the store's key. `details` hold ids, numbers and the reason that somebody typed.
    """

    id = models.BigAutoField(primary_key=True)
    action_id = models.UUIDField(db_index=True)
    at = models.DateTimeField()
    person = models.TextField()
    roles = models.TextField()
    action = models.CharField(max_length=32)
    store = models.TextField()
    thread_id = models.TextField()
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    details = models.JSONField()

    objects = AuditEntries.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        base_manager_name = "objects"
        indexes: ClassVar = [
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["action_id", "outcome"], name="each_outcome_once"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.outcome}"

    def save(self, **_: Any) -> None:
        """Add the row. Raises AppendOnly where it is there already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(force_insert=True)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly


class LoginAttempts(models.Model):
    """Failed logins since a time, counted by a digest of the account, of the address, or of both."""

    key = models.CharField(primary_key=True, max_length=64)
    failures = models.PositiveIntegerField(default=0)
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"


class Stage(models.TextChoices):
    """Where in its life a deletion is.

    `planned` is a plan that nobody has confirmed, `queued` waits for a server, which may make a backup first.
    `deleting` and `erasing` are under way, `deleted` is done with the rows. `stopped` was ended before that
    by a person, `void` by a world that had changed.
    """

    PLANNED = "planned"
    QUEUED = "queued"
    DELETING = "deleting"
    ERASING = "erasing"
    DELETED = "deleted"
    STOPPED = "stopped"
    VOID = "void"


class Deletion(models.Model):
    """A deletion of threads: its plan, how far it is, and its receipt. No text of a state is kept in it.

    `store` is the store's key. `query` is what the form asked for, as an address of its page has it. The
    numbers of the plan are those of what was found; what is left afterwards is counted again. Who carries it
    out holds the `attempt` until `lease_until`. `markers` are bytes to look for in the files until they are
    erased, in hexadecimal.
    """

    id = models.UUIDField(primary_key=True)
    store = models.TextField()
    store_name = models.TextField()
    found_by = models.JSONField()
    query = models.TextField(default="")
    planned_at = models.DateTimeField()
    planned_by = models.TextField()
    seconds = models.FloatField()
    threads = models.PositiveIntegerField()
    tables = models.JSONField()
    namespaces = models.PositiveIntegerField()
    newest_at = models.DateTimeField(null=True)
    again_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="repeated")

    stage = models.CharField(max_length=16, choices=Stage.choices, default=Stage.PLANNED)
    version = models.PositiveIntegerField(default=0)
    reason = models.TextField(default="")
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.TextField(default="")
    confirmed_roles = models.TextField(default="")
    attempt = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    stop_at = models.DateTimeField(null=True)
    stopped_by = models.TextField(default="")
    error = models.TextField(default="")
    advice = models.TextField(default="")
    removed = models.PositiveBigIntegerField(default=0)
    replays = models.PositiveIntegerField(default=0)
    left = models.JSONField(null=True)

    backup = models.CharField(max_length=300, default="")
    backup_bytes = models.PositiveBigIntegerField(default=0)
    backup_digest = models.CharField(max_length=64, default="")
    backup_until = models.DateTimeField(null=True)
    wants_backup = models.BooleanField(default=False)

    markers = models.JSONField(default=list)
    insist = models.BooleanField(default=False)
    erased_at = models.DateTimeField(null=True)
    erasure = models.JSONField(default=dict)
    tries = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)

    watched_at = models.DateTimeField(null=True)
    watch_next = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-planned_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["-planned_at", "-id"], name="deletions_by_time"),
            models.Index(fields=["stage"], name="deletions_by_stage"),
        ]

    def __str__(self) -> str:
        return f"deletion {self.id}"

    @property
    def rows(self) -> int:
        """How many rows were to go."""
        return sum(held["rows"] for held in self.tables.values())

    @property
    def bytes(self) -> int:
        return sum(held["bytes"] for held in self.tables.values())

    @property
    def only(self) -> DeletionThread | None:
        """The thread, where there is one."""
        return self.of.first() if self.threads == 1 else None


class Fate(models.TextChoices):
    """What has become of a thread of a deletion.

    `begun` was not whole any more from then on. `changed` was written since the plan and left whole,
    `missing` was gone already, `left` has rows that came while it was deleted.
    """

    PLANNED = "planned"
    BEGUN = "begun"
    GONE = "gone"
    CHANGED = "changed"
    MISSING = "missing"
    LEFT = "left"


class DeletionThread(models.Model):
    """A thread of a deletion, as it was when it was planned, and what has become of it."""

    id = models.BigAutoField(primary_key=True)
    deletion = models.ForeignKey(Deletion, models.CASCADE, related_name="of")
    number = models.PositiveIntegerField()
    thread_id = models.TextField()
    thread_key = models.CharField(max_length=64, db_index=True)
    checkpoints = models.PositiveIntegerField()
    writes = models.PositiveIntegerField()
    blobs = models.PositiveIntegerField()
    bytes = models.PositiveBigIntegerField()
    namespaces = models.PositiveIntegerField()
    newest = models.TextField()
    mark = models.CharField(max_length=64)
    fate = models.CharField(max_length=16, choices=Fate.choices, default=Fate.PLANNED)
    fate_at = models.DateTimeField(null=True)
    returned_rows = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deletion", "number"], name="one_thread_of_a_number"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["deletion", "fate", "number"], name="threads_by_fate"),
        ]

    def __str__(self) -> str:
        return f"{self.number} of {self.deletion_id}"
