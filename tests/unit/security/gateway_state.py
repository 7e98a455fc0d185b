"""Committed records and drafts over them, as the gateway's deciders see them."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from zejzl_ray.commands.records import Record, Records, decode_record, encode_record
from zejzl_ray.contracts.access import Principal
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.draft import AuditFact, SecurityDraft

T = TypeVar("T")
R = TypeVar("R", bound=Record)

ROOT: Final = Principal(subject="service:root", grants=("*:*:*",))
ADMIN: Final = Principal(subject="user:admin", grants=("*:*:*",), address="10.0.0.9")


class GatewayState:
    """Runs one decider after the other, each committed alone; a refusal has to leave its draft as it was."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s
        self.records = Records()
        self.master = MasterKeys([b"\x01" * 32])
        self.facts: list[AuditFact] = []
        self.last = self.draft()

    def draft(self) -> SecurityDraft:
        return SecurityDraft(self.records, self.now_s)

    def run(self, decide: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self.last = draft = self.draft()
        try:
            answer = decide(draft, *args, **kwargs)
        except BaseException:
            assert draft.ops == []
            assert draft.revocations == []
            assert draft.facts == []
            raise
        draft.apply()
        self.facts += draft.facts
        return answer

    def put(self, key: str, record: Record) -> None:
        self.records.put(key, record)

    def get(self, kind: type[R], key: str) -> R | None:
        return self.records.get(kind, key, self.now_s)

    def restart(self, *kinds: type[Record]) -> None:
        """Keep what the store would give back, and nothing else."""
        fresh = Records()
        for kind in kinds:
            for key, record in self.records.all(kind, self.now_s):
                back, _ = decode_record(kind, encode_record(record, None))
                assert back == record
                fresh.put(key, back)
        self.records = fresh

    def texts(self) -> str:
        """Everything that could be printed: stored bytes, facts, records."""
        stored = [getattr(op, "value", b"").decode() for op in self.last.ops]
        return "\n".join([*stored, repr(self.last.ops), repr(self.facts)])
