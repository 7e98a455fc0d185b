"""A sign of life in the store, so that a gateway that was replaced notices although nobody asks it for anything."""

from typing import ClassVar, Final

from zejzl_ray.commands.records import Record, RecordDraft

_KEY: Final = "gateway"


class AliveRecord(Record):
    """When the writer was last seen."""

    KIND: ClassVar[str] = "alive"

    at_s: float


def decide_show(draft: RecordDraft) -> None:
    """Write the sign of life; a writer whose epoch is over is refused by the store."""
    draft.put(_KEY, AliveRecord(at_s=draft.now_s))
