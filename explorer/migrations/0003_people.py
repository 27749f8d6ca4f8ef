"""The audit, which is only added to, and failed logins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import migrations, models

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE: Final = "checkpoint_explorer_auditentry"
REFUSAL: Final = "the audit is only added to"
# INSERT OR REPLACE deletes without telling a trigger on DELETE.
SQLITE: Final = (
    f"""
    CREATE TRIGGER {TABLE}_update BEFORE UPDATE ON {TABLE}
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END
    """,
    f"""
    CREATE TRIGGER {TABLE}_delete BEFORE DELETE ON {TABLE}
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END
    """,
    f"""
    CREATE TRIGGER {TABLE}_replace BEFORE INSERT ON {TABLE}
    WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id)
        OR EXISTS (SELECT 1 FROM {TABLE} WHERE action_id = NEW.action_id AND outcome = NEW.outcome)
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END
    """,
)
POSTGRES: Final = (
    f"""
    CREATE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION '{REFUSAL}'; END$$
    """,
    f"""
    CREATE TRIGGER {TABLE}_rows BEFORE UPDATE OR DELETE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION {TABLE}_refuse()
    """,
    f"""
    CREATE TRIGGER {TABLE}_whole BEFORE TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_refuse()
    """,
)
DROPPED: Final = f"DROP FUNCTION IF EXISTS {TABLE}_refuse() CASCADE"


def refuse_changes(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Let the database itself refuse to change or delete a row."""
    for statement in SQLITE if editor.connection.vendor == "sqlite" else POSTGRES:
        editor.execute(statement)


def admit_changes(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Take the triggers away, which on SQLite go with the table."""
    if editor.connection.vendor != "sqlite":
        editor.execute(DROPPED)


class Migration(migrations.Migration):
    dependencies = [
        ("checkpoint_explorer", "0002_replays"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginAttempts",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("since", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("action_id", models.UUIDField(db_index=True)),
                ("at", models.DateTimeField()),
                ("person", models.TextField()),
                ("roles", models.TextField()),
                ("action", models.CharField(max_length=32)),
                ("store", models.TextField()),
                ("thread_id", models.TextField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("begun", "Begun"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                            ("failed", "Failed"),
                        ],
                        max_length=16,
                    ),
                ),
                ("details", models.JSONField()),
            ],
            options={
                "ordering": ["-id"],
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["action", "-id"], name="audit_by_action"),
                    models.Index(fields=["at"], name="audit_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("action_id", "outcome"), name="each_outcome_once")
                ],
            },
        ),
        migrations.RunPython(refuse_changes, admit_changes),
    ]
