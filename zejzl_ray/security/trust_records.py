"""What is stored of trust: a record for each subject, its last points, and which evidence was counted already.

All of it is bounded: subjects in number, points in each subject and together, evidence ids in a table of fixed size.
"""

from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import ClassVar, Final

from pydantic import Field

from zejzl_ray.commands.records import Record, RecordDraft
from zejzl_ray.contracts.access import Standing
from zejzl_ray.contracts.policy import TrustPolicy
from zejzl_ray.contracts.trust import TrustPoint
from zejzl_ray.errors import Overloaded
from zejzl_ray.security.trust_score import Seen, decayed

MAX_SUBJECTS: Final = 100_000
MAX_POINTS: Final = 100
"""Points that are kept of one subject, as long as there are not many subjects."""
POINTS_IN_ALL: Final = 100_000
POINT_LIFE_S: Final = 30 * 86_400.0

# A table of sets: an id is forgotten when so many others have fallen into its set. With 100,000 ids it is full to
# three quarters, so that of the last 10,000 one in a million or so is forgotten too early.
_SETS: Final = 16_384
_WAYS: Final = 8
_IDLE_SAMPLES: Final = 0.01


class TrustRecord(Record):
    """What was seen of one subject, and what it was last told about itself."""

    KIND: ClassVar[str] = "trust"

    subject: str
    samples: float = 0.0
    successes: float = 0.0
    timed: float = 0.0
    slowness: float = 0.0
    at_s: float = 0.0
    updated_at_s: float
    points: int = Field(default=0, ge=0, description="how many were ever written")
    last_reason: str = ""
    standing: Standing = Field(description="the one that verifiers know")

    @property
    def seen(self) -> Seen:
        """The sums of its observations."""
        return Seen(self.samples, self.successes, self.timed, self.slowness, self.at_s)


class TrustPointRecord(Record):
    """One point of a subject's history; ``number`` counts its points."""

    KIND: ClassVar[str] = "trust_point"

    number: int
    point: TrustPoint


class SeenEvidence(Record):
    """Digests of evidence that was counted, newest last."""

    KIND: ClassVar[str] = "trust_seen"

    digests: tuple[str, ...]


def is_first(draft: RecordDraft, subject: str, evidence_id: str) -> bool:
    """Take note of an evidence id; return whether it is new."""
    digest = blake2b(f"{subject} {evidence_id}".encode(), digest_size=10).hexdigest()
    key = str(int(digest[:4], 16) % _SETS)
    known = draft.get(SeenEvidence, key)
    digests = known.digests if known is not None else ()
    if digest in digests:
        return False
    draft.put(key, SeenEvidence(digests=(*digests, digest)[-_WAYS:]))
    return True


def make_room(draft: RecordDraft, wanted: int, in_use: Collection[str], policy: TrustPolicy) -> None:
    """See to it that so many new subjects have room; changes the draft only if it has to forget some.

    Forgotten are subjects in normal standing whose observations weigh next to nothing by now, so that the score of an
    unknown subject is theirs too; the longest silent first.

    Args:
        draft: to be changed where there is no room otherwise.
        wanted: how many new ones come.
        in_use: subjects that stay in any case.
        policy: half-life.

    Raises:
        Overloaded: there is no room, and too few to forget; nothing was changed.
    """
    surplus = draft.count(TrustRecord) + wanted - MAX_SUBJECTS
    if surplus <= 0:
        return
    idle = sorted(
        (record.updated_at_s, subject)
        for subject, record in draft.all(TrustRecord)
        if subject not in in_use
        and record.standing.level == "normal"
        and decayed(record.seen, draft.now_s, policy).samples < _IDLE_SAMPLES
    )
    if len(idle) < surplus:
        raise Overloaded(
            f"{MAX_SUBJECTS} subjects have a score already.",
            "Report on the agents and machines of the fleet only.",
        )
    for _, subject in idle[:surplus]:
        _forget_points(draft, subject)
        draft.delete(TrustRecord, subject)


def add_point(draft: RecordDraft, subject: str, number: int, point: TrustPoint, subjects: int) -> None:
    """Keep a point in place of the oldest one of the subject.

    Args:
        draft: to be changed.
        subject: whose.
        number: how many points the subject had before.
        point: what changed.
        subjects: how many there are; with very many of them each keeps fewer.
    """
    kept = max(2, min(MAX_POINTS, POINTS_IN_ALL // max(1, subjects)))
    draft.put(
        f"{subject}/{number % kept}",
        TrustPointRecord(number=number, point=point),
        expires_at_s=draft.now_s + POINT_LIFE_S,
    )


def points_of(draft: RecordDraft, subject: str) -> Iterator[TrustPointRecord]:
    """Yield the points of a subject that are kept, in no order."""
    for slot in range(MAX_POINTS):
        point = draft.get(TrustPointRecord, f"{subject}/{slot}")
        if point is not None:
            yield point


def _forget_points(draft: RecordDraft, subject: str) -> None:
    for slot in range(MAX_POINTS):
        key = f"{subject}/{slot}"
        if draft.get(TrustPointRecord, key) is not None:
            draft.delete(TrustPointRecord, key)
