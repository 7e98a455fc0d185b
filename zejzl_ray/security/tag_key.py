"""Tags that only this gateway makes, under a random key that outlives the master key it is encrypted with."""

import hmac
import secrets
from typing import ClassVar, Final

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft, Records
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.security.at_rest import KEY_BYTES, MasterKeys, derive

_KEY: Final = "tags"
LEAST_DIGITS: Final = 32


class TagKeyRecord(Record):
    """The key, encrypted at rest."""

    KIND: ClassVar[str] = "tag_key"

    sealed: str = Field(repr=False)

    @property
    def place(self) -> str:
        """What its encryption is bound to."""
        return f"{self.KIND}/{_KEY}"


class TagKey:
    """The key of all tags; made with the first start.

    Args:
        master: encrypts it.
    """

    def __init__(self, master: MasterKeys) -> None:
        self._master = master
        self._key = b""
        self._derived: dict[str, bytes] = {}

    def decide_ensure(self, draft: RecordDraft) -> None:
        """Make the key if there is none."""
        if draft.get(TagKeyRecord, _KEY) is None:
            place = TagKeyRecord(sealed="").place
            draft.put(_KEY, TagKeyRecord(sealed=self._master.encrypt(place, secrets.token_bytes(KEY_BYTES))))

    def load(self, records: Records, now_s: float) -> bool:
        """Take the stored key over; false when there is none.

        Raises:
            StoreError: the master key that encrypted it is missing.
        """
        record = records.get(TagKeyRecord, _KEY, now_s)
        if record is None:
            return False
        self._key = self._master.decrypt(record.place, record.sealed)
        self._derived.clear()
        return True

    def of(self, purpose: str) -> bytes:
        """Return the key for one purpose.

        Raises:
            ServiceUnavailable: it was not loaded yet.
        """
        if purpose not in self._derived:
            if not self._key:
                raise ServiceUnavailable("The gateway is not started.", "Try again a little later.")
            self._derived[purpose] = derive(self._key, f"zejzl {purpose}".encode())
        return self._derived[purpose]


class Tagger:
    """Tags for one purpose, HMAC-SHA256; a tag for another purpose is refused."""

    def __init__(self, key: TagKey, purpose: str) -> None:
        self._key = key
        self._purpose = purpose

    def tag(self, text: str) -> str:
        """Return the tag of a text, 64 hexadecimal digits."""
        return hmac.digest(self._key.of(self._purpose), text.encode(), "sha256").hex()

    def is_tag(self, text: str, tag: str) -> bool:
        """Tell whether the tag, or its beginning of at least 32 digits, is one of this text; constant time."""
        return len(tag) >= LEAST_DIGITS and hmac.compare_digest(
            tag.encode(), self.tag(text)[: len(tag)].encode()
        )
