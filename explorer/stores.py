"""The stores of this run, by the slug that names each in its URLs."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import sha256
from itertools import count
from pathlib import PurePath

from django.conf import settings
from django.utils.text import slugify

from checkpoints.errors import NotFound
from checkpoints.stores import Location
from checkpoints.stores.location import shown


class UnknownStore(NotFound):
    """No store of this run has this slug."""

    advice = "Start from the list of stores, or start the explorer with this store among its arguments."


def registered() -> dict[str, Location]:
    """Return the stores by slug, in the order in which they were named."""
    return _by_slug(tuple(settings.EXPLORER_STORES))


def located(slug: str) -> Location:
    """Return the location of a store. Raises UnknownStore."""
    try:
        return registered()[slug]
    except KeyError:
        raise UnknownStore("No store is open under this name.") from None


@lru_cache(maxsize=8)
def _by_slug(texts: tuple[str, ...]) -> dict[str, Location]:
    found: dict[str, Location] = {}
    for text in dict.fromkeys(texts):
        location = Location.parse(text)
        found[_free_slug(location, found)] = location
    return found


def _free_slug(location: Location, taken: dict[str, Location]) -> str:
    name = location.name if location.kind == "postgres" else PurePath(location.name).stem
    slug = slugify(name) or "store"
    numbered = (f"{slug}-{number}" for number in count(2))
    return slug if slug not in taken else next(name for name in numbered if name not in taken)


def key(location: Location) -> str:
    """Return what names a store on every machine that opens it, without user or password.

    A database has the name that it is opened under, a file its path.
    """
    return (
        location.text if location.kind == "postgres" else f"sqlite:{shown(os.path.realpath(location.path))}"
    )


def _digest(location: Location) -> str:
    """Return a mark of what a URL says beyond what may be shown: which schemas are searched, for one."""
    from psycopg.conninfo import conninfo_to_dict

    options = conninfo_to_dict(location.conninfo).get("options")
    return f"#{sha256(str(options).encode()).hexdigest()[:12]}" if options else ""


def by_key() -> dict[str, tuple[str, Location]]:
    """Return the slug and the location of the stores by their key."""
    return {key(location): (slug, location) for slug, location in registered().items()}
