"""The cipher of LangGraph's EncryptedSerializer: AES in EAX mode, stored as nonce, tag, ciphertext."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.errors import KeyUnusable

if TYPE_CHECKING:
    from types import ModuleType

_NONCE = _TAG = 16


class Cipher:
    """Encrypts and decrypts rows with one key of 16, 24 or 32 bytes. Raises `KeyUnusable` for others."""

    name = "aes"

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise KeyUnusable(f"The AES key has {len(key)} bytes.")
        from Crypto.Cipher import AES  # optional

        self._key = key
        self._aes: ModuleType = AES
        self.decrypt(self.encrypt(b""))  # it imports its parts on first use: now, not while a row is read

    def encrypt(self, plain: bytes) -> bytes:
        """Return the row of `plain`, under a new nonce."""
        cipher = self._aes.new(self._key, self._aes.MODE_EAX)
        sealed, tag = cipher.encrypt_and_digest(plain)
        return bytes(cipher.nonce + tag + sealed)

    def decrypt(self, row: bytes) -> bytes:
        """Return the content of a row. Raises ValueError when it was written with another key or changed."""
        if len(row) < _NONCE + _TAG:
            raise ValueError("it is too short to be encrypted")
        cipher = self._aes.new(self._key, self._aes.MODE_EAX, nonce=row[:_NONCE])
        try:
            return bytes(cipher.decrypt_and_verify(row[_NONCE + _TAG :], row[_NONCE : _NONCE + _TAG]))
        except ValueError:
            raise ValueError("the key does not fit, or the row was changed") from None
