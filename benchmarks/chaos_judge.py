"""What became of all mail while processes were killed, by what they wrote down; pure logic over lines of text."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks.chaos_agents import KEPT, PLAIN

LIVING_BAR: Final = 0.95
# A message that was handled counts as acknowledged for sure when its process lived on for so long.
ACKNOWLEDGED_AFTER_S: Final = 1.0
# A killed process may have been gone for so long before others hear of it, and its last mail is lost with it.
HEARD_AFTER_S: Final = 3.0
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that ``send`` returned for."""

    at_s: float
    kind: str
    sender: str
    pid: int
    receiver: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter."""

    at_s: float
    kind: str
    receiver: str
    reason: str
    late_s: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class Handled:
    """That a handler saw a message."""

    at_s: float
    kind: str
    pid: int


@dataclass(slots=True)
class Record:
    """All that was written down.

    Attributes:
        sent: message id -> what was sent.
        refused: time, guarantee, receiver and error of each that ``send`` raised for.
        handled: message id -> each time that a handler saw it.
        letters: message id -> its dead letters; its sender and its receiver may each have one.
        up_s: agent -> process -> since when it was ready.
        killed_s: process -> when it was killed.
    """

    sent: dict[str, Sent] = field(default_factory=dict)
    refused: list[tuple[float, str, str, str]] = field(default_factory=list)
    handled: dict[str, list[Handled]] = field(default_factory=lambda: defaultdict(list))
    letters: dict[str, list[Letter]] = field(default_factory=lambda: defaultdict(list))
    up_s: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    killed_s: dict[int, float] = field(default_factory=dict)

    def lives(self, agent: str) -> list[tuple[float, float]]:
        """Return from when to when an agent was there, one pair for each of its processes, in order."""
        found = [(up_s, self.killed_s.get(pid, float("inf"))) for pid, up_s in self.up_s[agent].items()]
        return sorted(found)

    def was_away(self, agent: str, from_s: float, to_s: float) -> bool:
        """Tell whether an agent was away at any moment of a span of time."""
        return not any(up_s <= from_s and to_s <= end_s for up_s, end_s in self.lives(agent))


@dataclass(slots=True)
class Verdict:
    """The counts, and what must not be.

    Attributes:
        counts: name -> number.
        dead: guarantee and reason -> number of messages.
        living_ratio: part of the mail for living receivers that was handled.
        faults: what must not be, with the first examples; empty when all is well.
    """

    counts: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    living_ratio: float = 1.0
    faults: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)

    def fault(self, name: str, examples: Iterable[str]) -> None:
        """Note a fault where there are examples of it."""
        found = list(examples)
        self.counts[name] = len(found)
        if found:
            self.faults[name] = found[:_SHOWN]


def read_record(folder: Path, killed_s: Mapping[int, float]) -> Record:
    """Read the files of all processes; a last line that was cut off is left out."""
    record = Record(killed_s=dict(killed_s))
    for path in sorted(folder.glob("*.*.*")):
        name, pid, kind = path.name.rsplit(".", 2)
        lines = _lines(path)
        if kind == "up":
            for words in lines:
                record.up_s[name][int(pid)] = float(words[0])
        elif kind == "sent":
            for words in lines:
                _note_sent(record, name, int(pid), words)
        elif kind == "handled":
            for words in lines:
                record.handled[words[2]].append(Handled(float(words[0]), words[1], int(pid)))
        elif kind == "dead":
            for words in lines:
                late_s = None if words[5] == "-" else float(words[5])
                record.letters[words[3]].append(
                    Letter(float(words[0]), words[1], words[2], words[4], late_s, " ".join(words[6:]))
                )
    for seen in record.handled.values():
        seen.sort(key=lambda each: each.at_s)
    for letters in record.letters.values():
        letters.sort(key=lambda each: each.at_s)
    return record


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield line.split()


def _note_sent(record: Record, sender: str, pid: int, words: Sequence[str]) -> None:
    at_s, kind, receiver, message_id = float(words[0]), words[1], words[2], words[3]
    if message_id == "-":
        record.refused.append((at_s, kind, receiver, words[4]))
    else:
        record.sent[message_id] = Sent(at_s, kind, sender, pid, receiver)


def unsettled(record: Record) -> int:
    """Return how many messages that are kept are neither handled nor dead letters yet."""
    return sum(
        sent.kind == KEPT and message_id not in record.handled and message_id not in record.letters
        for message_id, sent in record.sent.items()
    )


def judge(record: Record) -> Verdict:
    """Count, and find what must not be."""
    verdict = Verdict()
    _count(record, verdict)
    _judge_kept(record, verdict)
    _judge_plain(record, verdict)
    _judge_twice(record, verdict)
    _judge_letters(record, verdict)
    _judge_living(record, verdict)
    return verdict


def _count(record: Record, verdict: Verdict) -> None:
    counts = verdict.counts
    for message_id, sent in record.sent.items():
        counts[f"sent {sent.kind}"] += 1
        counts[f"delivered {sent.kind}"] += message_id in record.handled
        counts[f"delivered and a dead letter {sent.kind}"] += (
            message_id in record.handled and message_id in record.letters
        )
    counts["handled whose sender died before it noted it"] = len(record.handled.keys() - record.sent.keys())
    for letters in record.letters.values():
        verdict.dead[f"{letters[0].kind} {letters[0].reason}"] += 1
    for _, kind, _, error in record.refused:
        verdict.refused[f"{kind} {error}"] += 1
    counts["kills"] = len(record.killed_s)


def _judge_kept(record: Record, verdict: Verdict) -> None:
    """At least once: what its sender was told of is handled or a dead letter, and not both."""
    missing, both = [], []
    for message_id, sent in record.sent.items():
        if sent.kind != KEPT:
            continue
        is_handled, is_dead = message_id in record.handled, message_id in record.letters
        verdict.counts["dead only k"] += is_dead and not is_handled
        if not is_handled and not is_dead:
            missing.append(f"{message_id} to {sent.receiver} at {sent.at_s:.2f}")
        elif is_handled and is_dead and not _died_after(record, record.handled[message_id][0]):
            letter = record.letters[message_id][0]
            both.append(f"{message_id}: {letter.reason} ({letter.detail})")
    verdict.fault("kept, and neither delivered nor a dead letter", missing)
    verdict.fault("kept, delivered and a dead letter", both)


def _judge_plain(record: Record, verdict: Verdict) -> None:
    """At most once: what is neither handled nor a dead letter went down with its sender or its receiver."""
    lost = []
    for message_id, sent in record.sent.items():
        if sent.kind != PLAIN or message_id in record.handled or message_id in record.letters:
            continue
        ended_s = record.killed_s.get(sent.pid, float("inf"))
        if ended_s - sent.at_s <= HEARD_AFTER_S:
            verdict.counts["lost with its sender p"] += 1
        elif record.was_away(sent.receiver, sent.at_s, sent.at_s + HEARD_AFTER_S):
            verdict.counts["lost with its receiver p"] += 1
        else:
            lost.append(f"{message_id} to {sent.receiver} at {sent.at_s:.2f}")
    verdict.fault("lost without a trace", lost)


def _judge_twice(record: Record, verdict: Verdict) -> None:
    """Twice is right only where the process of the first time died before that was written down."""
    wrong = []
    for message_id, seen in record.handled.items():
        for before, after in pairwise(seen):
            verdict.counts["seen twice"] += 1
            if before.kind == KEPT and before.pid != after.pid and _died_after(record, before):
                verdict.counts["seen twice, process died between"] += 1
            else:
                wrong.append(
                    f"{message_id}: process {before.pid} at {before.at_s:.2f}, {after.pid} at {after.at_s:.2f}"
                )
    verdict.fault("seen twice, and no process died between", wrong)


def _judge_letters(record: Record, verdict: Verdict) -> None:
    """Every dead letter has a reason that fits what happened."""
    wrong = []
    for message_id, letters in record.letters.items():
        letter = letters[0]
        sent = record.sent.get(message_id)
        since_s = letter.at_s - HEARD_AFTER_S if sent is None else sent.at_s
        if not _is_true(record, letter, since_s - 0.5):
            wrong.append(
                f"{message_id} to {letter.receiver} at {letter.at_s:.2f}: {letter.reason} ({letter.detail})"
            )
    verdict.fault("dead letters whose reason is not true", wrong)


def _is_true(record: Record, letter: Letter, since_s: float) -> bool:
    if letter.reason in ("unreachable", "unknown_agent"):
        return record.was_away(letter.receiver, since_s, letter.at_s)
    if letter.reason == "expired":
        return letter.late_s is not None and letter.late_s >= 0
    return False  # nothing here is refused, full, stopped or given back


def _judge_living(record: Record, verdict: Verdict) -> None:
    """Mail to a receiver that was there and stayed so for a while; attempts that raised count as not delivered."""
    tried = got = 0
    for message_id, sent in record.sent.items():
        if not record.was_away(sent.receiver, sent.at_s, sent.at_s + HEARD_AFTER_S):
            tried += 1
            got += message_id in record.handled
    for at_s, _, receiver, _ in record.refused:
        tried += not record.was_away(receiver, at_s, at_s + HEARD_AFTER_S)
    verdict.counts["to living receivers"] = tried
    verdict.living_ratio = got / tried if tried else 1.0
    if verdict.living_ratio < LIVING_BAR:
        verdict.fault("too little arrived at living receivers", [f"{verdict.living_ratio:.1%} of {tried}"])


def _died_after(record: Record, seen: Handled) -> bool:
    killed_s = record.killed_s.get(seen.pid)
    return killed_s is not None and killed_s - seen.at_s <= ACKNOWLEDGED_AFTER_S
