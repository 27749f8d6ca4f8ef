"""What a server does about deletions beside its pages: it carries out what is due."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from explorer.deletions import backups, life
from explorer.deletions.carrying import carry_out

if TYPE_CHECKING:
    from uuid import UUID

EVERY: Final = 2.0  # seconds between two looks at the database
AWAY: Final = 10.0  # seconds until a database that did not answer is asked again
TIDY: Final = 600.0  # seconds between two looks for what is old
AT_ONCE: Final = 2  # so that a large deletion keeps no small one waiting
LEAVING: Final = 3.0  # seconds that what is under way has at the end


class Runner:
    """The threads of this process that carry deletions out: one that looks, and one for each deletion."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._leaving = threading.Event()
        self._looks: threading.Thread | None = None
        self._at_work: dict[UUID, threading.Thread] = {}
        self._tidy_at = 0.0

    def start(self) -> None:
        """Begin, unless this server writes nothing."""
        if settings.EXPLORER_READ_ONLY or self._looks:
            return
        self._leaving.clear()
        self._looks = threading.Thread(target=self._look, name="deletions", daemon=True)
        self._looks.start()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def stop(self) -> None:
        """End after the transactions that are under way; another server, or the next start, goes on."""
        self._leaving.set()
        self._wake.set()
        for thread in (*self._at_work.values(), *([self._looks] if self._looks else ())):
            thread.join(timeout=LEAVING)
        self._looks = None

    def _look(self) -> None:
        while not self._leaving.is_set():
            pause = EVERY
            try:
                self._begin()
            except (DatabaseError, OSError):
                pause = AWAY
            finally:
                connection.close()
            self._wake.wait(pause)
            self._wake.clear()

    def _begin(self) -> None:
        """Begin with what is due, as far as there are hands for it."""
        self._at_work = {id: thread for id, thread in self._at_work.items() if thread.is_alive()}
        self._tidy()
        for id in life.due(timezone.now()):
            if id not in self._at_work and len(self._at_work) < AT_ONCE:
                # A thread for each, so that one that fails takes no other with it.
                thread = threading.Thread(target=self._carry_out, args=[id], name="deletion", daemon=True)
                self._at_work[id] = thread
                thread.start()

    def _tidy(self) -> None:
        """Drop old plans and backups, once in a while."""
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY
        life.forget_old_plans(timezone.now())
        backups.sweep(timezone.now())

    def _carry_out(self, id: UUID) -> None:
        try:
            if held := life.take(id):
                carry_out(held, self._leaving.is_set)
        except (DatabaseError, OSError):  # its lease ends, and it is taken up again
            pass
        finally:
            connection.close()
            self._wake.set()


runner = Runner()


def carry_out_all() -> None:
    """Carry out all that is due, here and now: for commands, which end when it has."""
    while due := [held for id in life.due(timezone.now()) if (held := life.take(id))]:
        for held in due:
            carry_out(held)
