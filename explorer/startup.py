"""What must hold before anything is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management import CommandError

from checkpoints.errors import StoreError
from checkpoints.stores import Location, check
from explorer import installation
from explorer.people import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def prepare() -> None:
    """Check every store and join the other servers. Raises CommandError, which names each bad store."""
    if refused := list(refusals(settings.EXPLORER_STORES)):
        raise CommandError(" ".join(map(str, refused)))
    serving.check(installation.adopt())


def refusals(stores: Iterable[str]) -> Iterator[StoreError]:
    """Yield why each store that cannot be opened cannot."""
    for text in stores:
        try:
            check(Location.parse(text))
        except StoreError as error:
            yield error
