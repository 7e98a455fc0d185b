"""Random faults one after the other while clients of both hosts write, and what the clients had of it."""

import json
import random
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final

from tests.hosts.commands import CommandFailed
from tests.hosts.crowd import Crowd
from tests.hosts.faults import KINDS, Faults
from tests.hosts.ray_cluster import RayCluster
from tests.hosts.waiting import wait_until
from zejzl_ray.testing.history import Call, Outcome, Verdict

RECOVERY_LIMIT_S: Final = 120.0
_QUIET_S: Final = 3.0
_NOTICED_S: Final = 2.0  # before that a dead node may still be taken for alive


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault.

    Attributes:
        kind: of ``KINDS``.
        what: who was hit, in words.
        window_s: for how long clients may notice it.
        at_s: when, monotonic.
        healthy_s: until clients of both machines were answered again and both machines were members.
        without_service_s: longest time in which no client on mainpc was answered, from the fault to the next one.
    """

    kind: str
    what: str
    window_s: float
    at_s: float
    healthy_s: float
    without_service_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Chaos:
    """What came out.

    Attributes:
        seed: of the order of faults and of who is hit.
        seconds: from the first to the last.
        faults: in the order of time.
        outside_s: whole seconds outside of all fault windows.
        served_s: those of them in which a client on mainpc was answered.
        verdict: of the checker.
    """

    seed: int
    seconds: float
    faults: tuple[Planted, ...]
    outside_s: int
    served_s: int
    verdict: Verdict

    @property
    def served_ratio(self) -> float:
        """Return the share of the time outside of fault windows that was served; 1 where there was none."""
        return self.served_s / self.outside_s if self.outside_s else 1.0

    def counts(self) -> dict[str, int]:
        """Return how often each kind was planted."""
        return {kind: sum(fault.kind == kind for fault in self.faults) for kind in KINDS}

    def windows_s(self, kind: str) -> list[float]:
        """Return for how long clients may notice a fault of a kind, by whom it hit; ascending."""
        return sorted({fault.window_s for fault in self.faults if fault.kind == kind})

    def without_service(self) -> dict[str, tuple[float, float]]:
        """Return kind -> median and worst time without service, seconds."""
        found = {}
        for kind in KINDS:
            times = [fault.without_service_s for fault in self.faults if fault.kind == kind]
            if times:
                found[kind] = (statistics.median(times), max(times))
        return found

    def as_json(self) -> dict[str, Any]:
        """Return all of it for ``json.dumps``."""
        return {
            **asdict(self),
            "served_ratio": self.served_ratio,
            "counts": self.counts(),
            "without_service": self.without_service(),
        }


def chaos(cluster: RayCluster, seconds: float, seed: int, tell: Callable[[str], object]) -> Chaos:
    """Plant faults for so long, each when the one before has healed, then judge.

    Args:
        cluster: up and ready.
        seconds: no fault is planted after that.
        seed: the same seed plants the same faults, though not at the same times.
        tell: gets a line a fault.

    Raises:
        AssertionError: the cluster did not become healthy within 120 s; says after which fault.
    """
    roll = random.Random(seed)
    with Crowd(cluster) as crowd:
        faults = Faults(cluster, crowd, roll)
        planted: list[Planted] = []
        round_: list[str] = []
        began_s = time.monotonic()
        while time.monotonic() < began_s + seconds:
            if not round_:
                round_ = roll.sample(KINDS, len(KINDS))
            kind = round_.pop()
            at_s = time.monotonic()
            hit = faults.plant(kind)
            _wait_until_healthy(cluster, crowd, f"{kind}: {hit.what}")
            planted.append(Planted(kind, hit.what, hit.window_s, at_s, time.monotonic() - at_s))
            tell(f"{at_s - began_s:7.1f} s  {kind:7} {hit.what}; healthy after {planted[-1].healthy_s:.1f} s")
            time.sleep(_QUIET_S)  # some of the time belongs to nobody's fault
        ended_s = time.monotonic()
        wait_until(cluster.is_ready, limit_s=RECOVERY_LIMIT_S, what="every service is ready again")
        verdict = crowd.verdict()
        answers = answer_times(crowd.calls())
    return Chaos(
        seed,
        ended_s - began_s,
        with_gaps(planted, answers, ended_s),
        *served_seconds(planted, answers, began_s, ended_s),
        verdict,
    )


def answer_times(calls: Sequence[Call]) -> list[float]:
    """Return when clients on mainpc were answered; a refusal is an answer."""
    return sorted(
        call.ended_s for call in calls if call.client.startswith("m") and call.outcome is not Outcome.UNKNOWN
    )


def with_gaps(planted: Sequence[Planted], answers: Sequence[float], ended_s: float) -> tuple[Planted, ...]:
    """Fill in for how long nobody was answered after each fault."""
    found = []
    for fault, next_s in zip(planted, [*(fault.at_s for fault in planted[1:]), ended_s], strict=True):
        inside = answers[bisect_left(answers, fault.at_s) : bisect_left(answers, next_s)]
        marks = [fault.at_s, *inside, next_s]
        gap_s = max(later - earlier for earlier, later in pairwise(marks))
        found.append(replace(fault, without_service_s=gap_s))
    return tuple(found)


def served_seconds(
    planted: Sequence[Planted], answers: Sequence[float], began_s: float, ended_s: float
) -> tuple[int, int]:
    """Return how many whole seconds were outside of fault windows, and in how many of them somebody was answered."""
    served = outside = 0
    for number in range(int(ended_s - began_s)):
        from_s = began_s + number
        if any(fault.at_s < from_s + 1.0 and from_s < _window_end_s(fault) for fault in planted):
            continue
        outside += 1
        at = bisect_left(answers, from_s)
        served += at < len(answers) and answers[at] < from_s + 1.0
    return outside, served


def _window_end_s(fault: Planted) -> float:
    """Return when a fault is no excuse any more: it has healed, or should have."""
    return fault.at_s + min(fault.healthy_s, fault.window_s)


def _wait_until_healthy(cluster: RayCluster, crowd: Crowd, after: str) -> None:
    """Wait until clients of both machines are answered, and both are members.

    Not until every service is at home: the next fault may well meet them on their way.
    """
    since_s = time.monotonic()
    time.sleep(_NOTICED_S)
    while not (crowd.are_all_answered(since_s) and _are_members(cluster)):
        if time.monotonic() > since_s + RECOVERY_LIMIT_S:
            raise AssertionError(
                f"not healthy {RECOVERY_LIMIT_S:.0f} s after {after}\n{cluster.logs()}\n{crowd.logs()}"
            )
        time.sleep(0.3)


def _are_members(cluster: RayCluster) -> bool:
    try:
        nodes = cluster.dashboard("/api/v0/nodes")["data"]["result"]["result"]
    except (CommandFailed, json.JSONDecodeError, KeyError):
        return False
    return [node["state"] for node in nodes].count("ALIVE") == len((cluster.mainpc, cluster.pc2))
