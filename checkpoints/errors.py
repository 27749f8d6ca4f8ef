"""Named errors. Each says in one sentence what is wrong and in one what to do about it."""

from __future__ import annotations


class StoreError(Exception):
    """A store could not be read, or not changed as asked.

    `sentence` says what is wrong, `advice` what to do. Neither holds stored values; ids they may name.
    """

    advice = ""

    def __init__(self, sentence: str, *, advice: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if advice is not None:
            self.advice = advice

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


class StoreMissing(StoreError):
    """No file at this path."""

    advice = "Check the path; the explorer never creates a store."


class StoreIsDirectory(StoreError):
    """The path is a directory."""

    advice = "Name the SQLite file inside it."


class StoreUnreadable(StoreError):
    """The file exists, but this user may not read it."""

    advice = "Run as a user who may read it, or change its permissions."


class NotADatabase(StoreError):
    """The file is no SQLite database."""

    advice = "Name the file that the agent's saver writes, often checkpoints.sqlite."


class NoCheckpointTables(StoreError):
    """A database without LangGraph's tables."""

    advice = "Name the database that the agent's saver writes, or run the agent once so that it makes them."


class OldSchema(StoreError):
    """Tables of LangGraph before 0.2 (`thread_ts`), which no current saver reads."""

    advice = (
        "Open it with the LangGraph release that wrote it, or let the agent run again with a current one."
    )


class StoreDamaged(StoreError):
    """SQLite found the file malformed."""

    advice = "Restore a backup, or salvage what is left with sqlite3's .recover command."


class StoreBusy(StoreError):
    """A writer held the store for longer than a reader waits."""

    advice = "Try again in a moment."


class ReadTimeout(StoreError):
    """A read took longer than its deadline."""

    advice = "Narrow the search, or open one thread directly."


class NoRoomForCopy(StoreError):
    """A store whose writer died must be copied to be read, and the temporary folder is too small."""

    advice = "Free space in the temporary folder (TMPDIR), or let the agent open its store once."


class UnsupportedLocation(StoreError):
    """A URL of a kind that no store opens."""

    advice = "Give the path of a SQLite file or a postgresql:// URL."


class DriverMissing(UnsupportedLocation):
    """PostgreSQL cannot be read without psycopg."""

    advice = "Install langgraph-checkpoint-explorer[postgres]."


class StoreUnreachable(StoreError):
    """No database server answers at this address."""

    advice = "Check the host and the port, and that the server runs."


class AccessRefused(StoreError):
    """The server answers, but does not let this user in, or not read these tables."""

    advice = "Check the user, the password and what the role may read."


class ConnectionLost(StoreBusy):
    """The connection to the server ended in the middle of a read."""


class ServerFull(StoreBusy):
    """No connection is left, on the server or here."""


class NotFound(StoreError):
    """The store is fine, but what was asked for is not in it."""


class ThreadNotFound(NotFound):
    """No rows with this thread id."""

    advice = "It may have been deleted, or the id belongs to another store."


class CheckpointNotFound(NotFound):
    """No checkpoint with this id in this thread and namespace."""

    advice = "It may have been deleted, or lie in another namespace of the thread."


class KeyUnusable(StoreError):
    """An AES key that rows cannot be decrypted or encrypted with."""

    advice = "Set LANGGRAPH_AES_KEY to the 16, 24 or 32 bytes that the agent uses, or unset it."


class ThreadExists(StoreError):
    """The thread that a copy would become has rows already."""

    advice = "Choose another thread id, or delete that thread first."


class HistoryNeeded(StoreError):
    """Later checkpoints take the value of a DeltaChannel from what was to be deleted."""

    advice = "Delete the runs after it as well, or the whole thread."


class CopyRefused(StoreError):
    """The target cannot hold the thread exactly as it is, or a row of it cannot be read."""

    advice = "Nothing was copied."


class NotWritable(StoreError):
    """The store that was to be written only admits readers."""

    advice = "Name a store that this user may write."


class ForkRefused(StoreError):
    """The checkpoint cannot be forked in this way."""

    advice = "Nothing was written."


class ValueRefused(ForkRefused):
    """A value that was to be put into a channel cannot be stored there."""


class CheckpointChanged(StoreError):
    """The checkpoint is not what it was when its fork was prepared."""

    advice = "Nothing was written. Look at it again, then decide anew."


class SelectionRefused(StoreError):
    """What threads were asked for cannot be looked for."""

    advice = "Correct it and look again; nothing was read."


class NothingAskedFor(SelectionRefused):
    """A selection of threads by nothing at all, which would be all of them."""

    advice = "Give thread ids, a prefix, metadata, an age or a status, or ask for every thread."


class TooManyIds(SelectionRefused):
    """A list of more thread ids than one selection takes."""

    advice = "Split the list."


class BundleRefused(StoreError):
    """The file is no bundle, or not as it was written."""

    advice = "Nothing was imported. Take another copy of the file, or export the threads again."


class FileInTheWay(StoreError):
    """A file that was to be made is there already."""

    advice = "Name another file, or delete that one first."


class PruneRefused(StoreError):
    """What a thread's newest checkpoint needs cannot be told, so nothing of the thread goes."""

    advice = "Nothing of it was deleted. The doctor tells which rows cannot be read."
