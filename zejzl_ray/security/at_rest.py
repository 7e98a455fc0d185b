"""Secrets at rest: encrypted and authenticated with a master key that lies in a file and nowhere else."""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zejzl_ray.errors import SettingsInvalid, StoreError

KEY_BYTES: Final = 32
MAX_KEYS: Final = 16
_VERSION: Final = "v1"
_NONCE_BYTES: Final = 12
_AT_REST: Final = b"zejzl at rest"
_FINGERPRINT_HEX: Final = 8
_MAX_PURPOSES: Final = 256


class MasterKeys:
    """The master keys, newest first: the newest encrypts, all decrypt.

    Args:
        keys: 32 random bytes each, 1 to 16 of them.

    Raises:
        SettingsInvalid: none, too many, one of another length, or the same one twice.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = tuple(keys)
        if not 1 <= len(self._keys) <= MAX_KEYS or any(len(key) != KEY_BYTES for key in self._keys):
            raise SettingsInvalid(
                f"A master key file holds 1 to {MAX_KEYS} lines of {2 * KEY_BYTES} hexadecimal digits.",
                "Restore it from a backup; without the right key nothing that is encrypted can be read.",
            )
        if len(set(self._keys)) != len(self._keys):
            raise SettingsInvalid("The master key file holds a key twice.", "Remove one of the two lines.")
        # fingerprint -> cipher; the fingerprint tells which key to take, and nothing of the key
        self._ciphers = {
            hashlib.sha256(b"zejzl master key fingerprint" + key).hexdigest()[:_FINGERPRINT_HEX]: AESGCM(
                derive(key, _AT_REST)
            )
            for key in self._keys
        }
        self._newest = next(iter(self._ciphers))
        # purpose -> derived keys; bounded, because a caller's text may be part of a purpose
        self._derived: dict[str, tuple[bytes, ...]] = {}

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """Return the keys of a key file's text: one a line, newest first, 64 hexadecimal digits each.

        Raises:
            SettingsInvalid: says which line; never quotes it.
        """
        keys: list[bytes] = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not (digits := line.strip()):
                continue
            try:
                key = binascii.unhexlify(digits)
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise SettingsInvalid(
                    f"Line {number} of the master key file is not {2 * KEY_BYTES} hexadecimal digits.",
                    "Restore the file from a backup.",
                )
            keys.append(key)
        return cls(keys)

    @classmethod
    def read(cls, path: Path) -> "MasterKeys":
        """Return the keys of a file that only its owner may read.

        Raises:
            SettingsInvalid: it is missing, others may read it, or it holds something else; names the file.
        """
        try:
            with path.open(encoding="ascii") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise SettingsInvalid(
                        f"Others may read the master key file {path}.", f"Run: chmod 600 {path}"
                    )
                text = file.read(MAX_KEYS * (2 * KEY_BYTES + 2) + 1)
        except OSError as error:
            raise SettingsInvalid(
                f"No master key at {path}: {error.strerror}.",
                "`zejzl up` makes one; restore it from a backup.",
            ) from None
        except UnicodeDecodeError:
            text = ""
        return cls.parse(text)

    @staticmethod
    def new_line() -> str:
        """Return a new random key as a line of the key file."""
        return secrets.token_hex(KEY_BYTES)

    @property
    def fingerprint(self) -> str:
        """Name of the newest key; tells nothing of the key."""
        return self._newest

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._keys)

    def __repr__(self) -> str:
        """Return the number of keys and nothing of them."""
        return f"MasterKeys({len(self._keys)} keys)"

    def __reduce__(self) -> str:
        """Refuse to travel: a key file is read where it is needed."""
        raise TypeError("master keys do not leave their process")

    def encrypt(self, place: str, plaintext: bytes) -> str:
        """Return ciphertext that only ``decrypt`` with the same place reads.

        Args:
            place: where it is stored, such as the record's key: moved elsewhere it is refused.
            plaintext: what to hide.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[self._newest].encrypt(nonce, plaintext, place.encode())
        return f"{_VERSION}.{self._newest}.{base64.urlsafe_b64encode(sealed).decode()}"

    def decrypt(self, place: str, text: str) -> bytes:
        """Return what was encrypted.

        Raises:
            StoreError: the key is not in the file, or the text was changed or moved.
        """
        version, _, rest = text.partition(".")
        fingerprint, _, body = rest.partition(".")
        cipher = self._ciphers.get(fingerprint)
        if version != _VERSION or cipher is None:
            raise StoreError(
                f"{place} is encrypted with a master key that is not in the key file.",
                "Put the old key back as a further line of the file.",
            )
        try:
            sealed = base64.b64decode(body, altchars=b"-_", validate=True)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (ValueError, InvalidTag):
            raise StoreError(f"{place} was changed or moved in the store.", "Restore a backup.") from None

    def needs_rotation(self, text: str) -> bool:
        """Tell whether a text is not encrypted with the newest key."""
        return not text.startswith(f"{_VERSION}.{self._newest}.")

    def rotated(self, place: str, text: str) -> str:
        """Return a text encrypted with the newest key; itself when it already is.

        Raises:
            StoreError: as ``decrypt``.
        """
        return self.encrypt(place, self.decrypt(place, text)) if self.needs_rotation(text) else text

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key for one purpose from each master key, newest first."""
        found = self._derived.get(purpose)
        if found is None:
            if len(self._derived) >= _MAX_PURPOSES:
                self._derived.clear()
            found = tuple(derive(key, purpose.encode()) for key in self._keys)
            self._derived[purpose] = found
        return found


def derive(key: bytes, info: bytes) -> bytes:
    """Return 32 bytes for one use, by HKDF-SHA256 without salt; the same every time."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
