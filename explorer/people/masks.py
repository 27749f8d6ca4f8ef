"""What is masked for whom: `support:messages,metadata.email`, for each role."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from checkpoints.masking import NO_MASKS, Masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASKABLE: Final = ("viewer", "support", "developer")
METADATA: Final = "metadata."
FORM = "Write a mask as support:messages,metadata.email. An admin sees everything."


def of(roles: Iterable[str]) -> Masks:
    """Return what somebody with these roles does not see: what none of them sees."""
    found = [_configured(tuple(settings.EXPLORER_MASKS)).get(role, NO_MASKS) for role in roles]
    if not found:
        return NO_MASKS
    return Masks(
        frozenset.intersection(*(each.channels for each in found)),
        frozenset.intersection(*(each.metadata for each in found)),
    )


def check() -> None:
    """Raise ImproperlyConfigured where a mask cannot be understood."""
    _configured(tuple(settings.EXPLORER_MASKS))


@cache
def _configured(texts: tuple[str, ...]) -> Mapping[str, Masks]:
    found: dict[str, Masks] = {}
    for text in texts:
        role, _, listed = text.partition(":")
        names = {name.strip() for name in listed.split(",") if name.strip()}
        if role.strip() not in MASKABLE or not names:
            raise ImproperlyConfigured(f"{text!r} is no mask. {FORM}")
        known = found.get(role.strip(), NO_MASKS)
        metadata = {name.removeprefix(METADATA) for name in names if name.startswith(METADATA)}
        channels = {name for name in names if not name.startswith(METADATA)}
        found[role.strip()] = Masks(known.channels | channels, known.metadata | metadata)
    return found
