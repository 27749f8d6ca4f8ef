"""Encrypted rows: opened and closed with the agent's key, where a copy has to take them apart."""

from __future__ import annotations

import os

from checkpoints.errors import KeyUnusable
from checkpoints.inert.aes import Cipher

KEY = "LANGGRAPH_AES_KEY"
MARK = f"+{Cipher.name}"


class Seal:
    """The key of a thread, looked for when the first encrypted row is met."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key
        self._made: Cipher | None = None

    def open(self, kind: str, raw: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes of a row without its cipher. Raises KeyUnusable."""
        format_, _, cipher = kind.partition("+")
        if not cipher:
            return kind, raw
        if cipher != Cipher.name:
            raise KeyUnusable(
                f"A row is encrypted with {cipher!r}, which cannot be opened here.",
                advice="Only LangGraph's own cipher is known.",
            )
        try:
            return format_, self._cipher.decrypt(raw)
        except ValueError as error:
            raise KeyUnusable(f"An encrypted row cannot be opened: {error}.") from None

    def close(self, kind: str, raw: bytes) -> tuple[str, bytes]:
        """Return the type and the bytes of an encrypted row."""
        return kind + MARK, self._cipher.encrypt(raw)

    @property
    def _cipher(self) -> Cipher:
        if self._made is None:
            key = self._key or os.environ.get(KEY, "").encode()
            if not key:
                raise KeyUnusable(
                    "The thread is encrypted, and must be taken apart for this.",
                    advice=f"Set {KEY} to the key of the agent, so that it can be encrypted anew.",
                )
            try:
                self._made = Cipher(key)
            except ImportError:
                raise KeyUnusable(
                    "The thread is encrypted, but pycryptodome is not installed.",
                    advice="Install langgraph-checkpoint-explorer[aes].",
                ) from None
        return self._made
