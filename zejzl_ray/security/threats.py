"""Detectors: what refused calls, failed logins and addresses say about attacks.

Fed by what really happened: the observations of the guards, the outcomes of logins, the addresses of those whose proof
counted. A finding that goes on is one event whose count and level grow. Pure: time comes in as a value. Everything
that is remembered has a bound; what was quiet longest is forgotten first.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from pydantic import Field

from zejzl_ray.auth.addresses import caller_of
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.trust import Observation, SecurityEvent, ThreatLevel
from zejzl_ray.ids import new_id
from zejzl_ray.security.login_queue import neighbourhood_of

BRUTE_FORCE: Final = "brute_force"
TOKEN_REPLAY: Final = "token_replay"  # noqa: S105  a kind of event, not a secret
ADDRESS_CHANGE: Final = "address_change"
SCOPE_PROBING: Final = "scope_probing"
RATE_LIMIT_EXCEEDED: Final = "rate_limit_exceeded"
IP_BLOCKED: Final = "ip_blocked"

_LEVELS: Final = tuple(ThreatLevel)
# A finding this many times as strong as it takes is one level worse.
_STRONG: Final = 3
# A window is looked at in so many steps, which bounds what is kept of it.
_STEPS: Final = 10
T = TypeVar("T")


class DetectorRules(Contract):
    """When something becomes an event."""

    brute_force_failures: int = Field(default=10, ge=1, description="of one account, or from one address")
    brute_force_window_s: float = Field(default=300.0, gt=0)
    probing_operations: int = Field(default=5, ge=1, description="different ones that were denied")
    probing_window_s: float = Field(default=60.0, gt=0)
    address_window_s: float = Field(default=600.0, gt=0, description="two networks of one subject within it")
    finding_window_s: float = Field(default=300.0, gt=0, description="a finding this quiet is over")
    say_again_s: float = Field(default=10.0, gt=0, description="a count that only grows is told this often")
    max_subjects: int = Field(default=10_000, ge=1, description="remembered by each detector")


@dataclass(slots=True)
class _Finding:
    event: SecurityEvent
    told_at_s: float
    is_changed: bool = field(default=False)


class _Recent(Generic[T]):
    """The last keys, with something about each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> T | None:
        return self._known.get(key)

    def put(self, key: str, value: T) -> None:
        self._known[key] = value
        self._known.move_to_end(key)
        if len(self._known) > self._size:
            self._known.popitem(last=False)

    def values(self) -> list[T]:
        return list(self._known.values())


class Detectors:
    """Turns observations into security events.

    Args:
        rules: thresholds and windows.
    """

    def __init__(self, rules: DetectorRules | None = None) -> None:
        self._rules = rules = rules or DetectorRules()
        # who -> (time, count), a few steps a window
        self._failures: _Recent[deque[tuple[float, int]]] = _Recent(rules.max_subjects)
        # who -> operation -> when it was denied last
        self._denied: _Recent[dict[str, float]] = _Recent(rules.max_subjects)
        # subject -> network -> when it was used last
        self._networks: _Recent[dict[str, float]] = _Recent(rules.max_subjects)
        self._findings: _Recent[_Finding] = _Recent(rules.max_subjects)

    def __len__(self) -> int:
        """Return how many things are remembered, of all kinds."""
        return sum(len(each) for each in (self._failures, self._denied, self._networks, self._findings))

    def observe(self, observation: Observation, now_s: float | None = None) -> list[SecurityEvent]:
        """Take note of refused calls.

        Args:
            observation: what was seen; a time later than ``now_s`` counts as now.
            now_s: wall time; null: that of the observation.

        Returns:
            Events that are new, worse than before, or due to be told again. ``due`` has the rest.
        """
        at_s = observation.at_s if now_s is None else min(observation.at_s, now_s)
        subject, address = observation.subject, caller_of(observation.address)
        if observation.kind == "login_failed":
            return self._observe_failure(subject, address, observation.count, at_s)
        if observation.kind == "denied":
            return self._observe_denial(subject, address, observation, at_s)
        if observation.kind == "rate_limited":
            return self.report(
                RATE_LIMIT_EXCEEDED, ThreatLevel.LOW, subject=subject, address=address, at_s=at_s,
                count=observation.count, description="Called more often than its limit allows.",
            )  # fmt: skip
        if observation.kind == "ip_blocked":
            return self.report(
                IP_BLOCKED, ThreatLevel.MEDIUM, address=address, at_s=at_s, count=observation.count,
                description="Calls from an address that the policy does not let in.",
            )  # fmt: skip
        return []  # a call without a valid token says little: every token expires

    def seen(self, subject: str, address: str, at_s: float) -> list[SecurityEvent]:
        """Take note of where a subject's proof was good: a login, a refresh, an exchanged credential."""
        network = neighbourhood_of(address)
        if not network or not subject:
            return []
        known = self._networks.get(subject) or {}
        active = {
            other: used_s
            for other, used_s in known.items()
            if at_s - used_s <= self._rules.address_window_s and other != network
        }
        is_new = network not in known or at_s - known[network] > self._rules.address_window_s
        # One more than it takes to call it bad is enough to remember.
        kept = dict(list(active.items())[-2 * _STRONG :])
        self._networks.put(subject, {**kept, network: at_s})
        if not active or not is_new:
            return []
        return self.report(
            ADDRESS_CHANGE, ThreatLevel.MEDIUM, subject=subject, address=caller_of(address), at_s=at_s,
            key=subject, strength=(len(active) + 1) / 2,
            description=f"Used from {network} while {', '.join(sorted(active)[:3])} was active.",
        )  # fmt: skip

    def report(
        self,
        kind: str,
        level: ThreatLevel,
        *,
        at_s: float,
        description: str,
        subject: str = "",
        address: str = "",
        count: int = 1,
        strength: float = 1.0,
        key: str = "",
    ) -> list[SecurityEvent]:
        """Make an event of something that was found out elsewhere, such as a refresh token used twice.

        Args:
            kind: of the event.
            level: as bad as it is at least.
            at_s: wall time.
            description: one sentence, without anything secret.
            subject: whom it concerns; empty when nobody knows.
            address: where it came from; empty when nobody knows.
            count: how often.
            strength: how many times as strong as it takes; above 3 the event is one level worse.
            key: what makes it the same finding; empty: subject and address.

        Returns:
            The event, when it is new, worse, or due to be told again; else nothing.
        """
        if strength > _STRONG:
            level = _LEVELS[min(_LEVELS.index(level) + 1, len(_LEVELS) - 1)]
        name = f"{kind}\n{key or f'{subject}@{address}'}"
        known = self._findings.get(name)
        if known is None or at_s - known.event.last_at_s > self._rules.finding_window_s:
            event = SecurityEvent(
                event_id=new_id("sec"), kind=kind, level=level, subject=subject, address=address,
                description=description, first_at_s=at_s, last_at_s=at_s, count=count,
            )  # fmt: skip
            self._findings.put(name, _Finding(event, at_s))
            return [event]
        is_worse = _LEVELS.index(level) > _LEVELS.index(known.event.level)
        known.event = known.event.model_copy(
            update={
                "level": level if is_worse else known.event.level,
                "description": description if is_worse else known.event.description,
                "last_at_s": max(at_s, known.event.last_at_s),
                "count": known.event.count + count,
            }
        )
        self._findings.put(name, known)
        known.is_changed = True
        if is_worse or at_s - known.told_at_s >= self._rules.say_again_s:
            return [_told(known, at_s)]
        return []

    def due(self, now_s: float) -> list[SecurityEvent]:
        """Return events whose counts have grown since they were told, and are due; for a look every few seconds."""
        return [
            _told(found, now_s)
            for found in self._findings.values()
            if found.is_changed and now_s - found.told_at_s >= self._rules.say_again_s
        ]

    def _observe_failure(self, subject: str, address: str, count: int, at_s: float) -> list[SecurityEvent]:
        events = []
        for who, named in ((subject, {"subject": subject}), (address, {"address": address})):
            if not who:
                continue
            total = self._add_failures(who, count, at_s)
            most = self._rules.brute_force_failures
            if total < most:
                continue
            is_finding_known = self._findings.get(f"{BRUTE_FORCE}\n{who}") is not None
            what = "of one account" if who == subject else "from one address"
            events += self.report(
                BRUTE_FORCE, ThreatLevel.HIGH, **named, at_s=at_s, key=who, strength=total / most,
                count=count if is_finding_known else total,
                description=f"{total} failed logins {what} in {self._rules.brute_force_window_s:g} s.",
            )  # fmt: skip
        return events

    def _add_failures(self, who: str, count: int, at_s: float) -> int:
        window_s = self._rules.brute_force_window_s
        steps = self._failures.get(who) or deque()
        if steps and at_s - steps[-1][0] < window_s / _STEPS:
            steps[-1] = (steps[-1][0], steps[-1][1] + count)
        else:
            steps.append((at_s, count))
        while steps[0][0] < at_s - window_s:
            steps.popleft()
        self._failures.put(who, steps)
        return sum(step[1] for step in steps)

    def _observe_denial(
        self, subject: str, address: str, observation: Observation, at_s: float
    ) -> list[SecurityEvent]:
        who = subject or address
        if not who or not observation.operation:
            return []
        known = self._denied.get(who) or {}
        known = {name: s for name, s in known.items() if at_s - s <= self._rules.probing_window_s}
        most = self._rules.probing_operations
        if len(known) <= most * (_STRONG + 1) or observation.operation in known:
            known[observation.operation] = at_s
        self._denied.put(who, known)
        if len(known) < most:
            return []
        return self.report(
            SCOPE_PROBING, ThreatLevel.MEDIUM, subject=subject, address=address, at_s=at_s, key=who,
            count=observation.count, strength=len(known) / most,
            description=(
                f"{len(known)} different operations were denied in {self._rules.probing_window_s:g} s, "
                f"{observation.operation} among them."
            ),
        )  # fmt: skip


def _told(found: _Finding, now_s: float) -> SecurityEvent:
    found.told_at_s, found.is_changed = now_s, False
    return found.event
