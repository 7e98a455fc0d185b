"""The answers of the last commands, so that repeating one changes nothing and gets the same answer.

An answer belongs to the caller that got it: nobody else gets it by repeating the request id. What is kept about the
content is a tag under a key of the gateway, since a plain digest of a password could be guessed at; an answer that
holds a secret is encrypted.
"""

import hashlib
from typing import Any, ClassVar, Final

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft, Records
from zejzl_ray.commands.repeats import content_digest
from zejzl_ray.contracts.access import Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import Conflict
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.tag_key import Tagger, TagKey

_KEY_BYTES: Final = 16
_MOST_FORGOTTEN: Final = 10_000


class AnswerRecord(Record):
    """An answer as it is kept: JSON in ``reply``, or encrypted in ``sealed`` where it holds a secret."""

    KIND: ClassVar[str] = "answer"

    key: str
    operation: str
    tag: str
    until_s: float
    reply: str = ""
    sealed: str = Field(default="", repr=False)

    @property
    def place(self) -> str:
        """What the encryption is bound to."""
        return f"{self.KIND}/{self.key}"


class RepeatAnswers:
    """Finds and keeps answers.

    Args:
        master: encrypts secret answers.
        tag_key: tags the contents of commands.
        config: how long and how many are kept.
    """

    def __init__(self, master: MasterKeys, tag_key: TagKey, config: SecurityConfig) -> None:
        self._master = master
        self._config = config
        self._tagger = Tagger(tag_key, "repeated command")

    def find(self, draft: RecordDraft, operation: str, request: Any, caller: Principal) -> str | None:
        """Return the JSON of the answer that this very command got from this caller; null for a new one.

        Raises:
            Conflict: the caller used the request id for something else.
        """
        key = _key(request.request_id, caller)
        found = draft.get(AnswerRecord, key)
        if found is None:
            return None
        if found.operation != operation or not self._tagger.is_tag(_content(operation, request), found.tag):
            before = "another command" if found.operation == operation else found.operation
            raise Conflict(
                f"Request id {request.request_id} was used for {before} already.",
                "Give every command an id of its own; use the same one only to repeat the command.",
            )
        return self._master.decrypt(found.place, found.sealed).decode() if found.sealed else found.reply

    def keep(
        self,
        draft: RecordDraft,
        operation: str,
        request: Any,
        caller: Principal,
        reply: Contract,
        *,
        is_secret: bool,
    ) -> None:
        """Store an answer with the commit that it belongs to."""
        key, text = _key(request.request_id, caller), reply.model_dump_json()
        record = AnswerRecord(
            key=key,
            operation=operation,
            tag=self._tagger.tag(_content(operation, request)),
            until_s=draft.now_s + self._config.answer_kept_s,
        )
        kept = {"sealed": self._master.encrypt(record.place, text.encode())} if is_secret else {"reply": text}
        draft.put(key, record.model_copy(update=kept), record.until_s)

    def surplus(self, records: Records) -> list[str]:
        """Return the keys of the oldest answers above the limit."""
        number = records.count(AnswerRecord) - self._config.max_answers
        return records.oldest(AnswerRecord, min(number, _MOST_FORGOTTEN)) if number > 0 else []


def _key(request_id: str, caller: Principal) -> str:
    whose = f"{caller.subject}\n{request_id}".encode()
    return hashlib.blake2b(whose, digest_size=_KEY_BYTES).hexdigest()


def _content(operation: str, request: Contract) -> str:
    return f"{operation}\n{content_digest(request)}"
