"""How often somebody may try to log in. All servers over one database count together.

Failures are counted by account and address, by address, and by account over all addresses: a guesser is
stopped soon, and those who guess from everywhere lock somebody out late. Names that do not exist count, too.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from checkpoints.errors import StoreError
from explorer.models import LoginAttempts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.http import HttpRequest

WINDOW: Final = timedelta(minutes=15)
OF_BOTH, OF_ADDRESS, OF_ACCOUNT = 5, 30, 50
TIDIED: Final = 20  # rows, at each attempt


class TooManyAttempts(StoreError):
    """Somebody has tried to log in too often. `seconds` is how long to wait."""

    advice = "Whoever administers this explorer can give you another password meanwhile."

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        minutes = -(-seconds // 60)
        wait = f"{minutes} minutes" if minutes > 1 else "a minute"
        super().__init__(f"There were too many attempts to log in. Wait {wait}, then try again.")


def count(name: str, address: str) -> None:
    """Count an attempt as failed until `forgive` says otherwise. Raises TooManyAttempts, uncounted."""
    now, limits = timezone.now(), _limits(name, address)
    _tidy(now)
    with transaction.atomic():
        for key in sorted(limits):  # in one order, so that two requests do not wait for each other
            LoginAttempts.objects.get_or_create(key=key, defaults={"since": now})
        rows = list(LoginAttempts.objects.select_for_update().filter(key__in=limits).order_by("key"))
        for row in rows:
            if row.since + WINDOW < now:
                row.failures, row.since = 0, now
        if waits := [_left(row.since, now) for row in rows if row.failures >= limits[row.key]]:
            raise TooManyAttempts(max(waits))
        for row in rows:
            row.failures += 1
            row.save()


def forgive(name: str, address: str) -> None:
    """Take the attempt back: it was the right password."""
    both, *others = _limits(name, address)
    LoginAttempts.objects.filter(key=both).delete()
    LoginAttempts.objects.filter(key__in=others, failures__gt=0).update(failures=F("failures") - 1)


def address_of(request: HttpRequest) -> str:
    """Return the client's address: as the last proxy that is configured saw it; empty on a Unix socket."""
    given = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    proxies = settings.EXPLORER_PROXIES
    if 0 < proxies <= len(given):
        return given[-proxies]
    return str(request.META.get("REMOTE_ADDR", ""))


def _limits(name: str, address: str) -> Mapping[str, int]:
    """Return how many failures each key admits, that of account and address first."""
    account, network = unicodedata.normalize("NFKC", name).casefold(), _network(address)
    found = {_digest("both", account, network): OF_BOTH, _digest("account", account): OF_ACCOUNT}
    return {**found, _digest("address", network): OF_ADDRESS} if network else found


def _network(address: str) -> str:
    """Return what one customer of a provider has: an address, or of IPv6 the network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address


def _tidy(now: datetime) -> None:
    """Forget some of what has not counted for long, one by one: two servers may do so at once."""
    old = LoginAttempts.objects.filter(since__lt=now - 2 * WINDOW)
    for key in old.values_list("key", flat=True)[:TIDIED]:
        old.filter(key=key).delete()


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _left(since: datetime, now: datetime) -> int:
    return max(1, round((since + WINDOW - now).total_seconds()))
