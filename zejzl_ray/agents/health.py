"""The health of an agent: its own checks, what its runner sees of it, and the fallbacks in use."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.contracts.agent_life import AgentHealth, CheckOutcome, LifeState
from zejzl_ray.contracts.orchestrator import HealthStatus
from zejzl_ray.errors import InvalidInput, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.resilience.degradations import Degradation

CHECK_TIMEOUT_S: Final = 2.0
FAILING_BELOW: Final = 0.7  # a check with less is a reason to be degraded
UNHEALTHY_BELOW: Final = 0.5  # an agent with a lower mean of all checks is unhealthy
_WELL: Final = frozenset({LifeState.RUNNING, LifeState.STANDBY})
_MOST_CHECKS: Final = 100
_MOST_REASON: Final = 300

_log = get_logger("agents")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found: a score from 0 to 1, and why it is not 1."""

    score: float
    reason: str = ""


CheckAnswer = bool | float | CheckResult | None
"""True, None or 1.0 are well; False and 0.0 are not."""
Check = Callable[[], CheckAnswer | Awaitable[CheckAnswer]]


class HealthChecks:
    """The checks that one agent has added."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Check, float]] = {}

    def add(self, name: str, check: Check, weight: float = 1.0) -> None:
        """Add a check, or replace the one of the same name.

        Raises:
            InvalidInput: it cannot be called, the weight is not above 0, or there are 100 already.
        """
        if not callable(check) or not weight > 0:
            raise InvalidInput(
                f"The health check {name!r} is {check!r} with weight {weight!r}.",
                "Give a function or coroutine function and a weight above 0.",
            )
        if name not in self._checks and len(self._checks) >= _MOST_CHECKS:
            raise InvalidInput(f"An agent has at most {_MOST_CHECKS} health checks.", "Put several into one.")
        self._checks[name] = (check, weight)

    async def run(self) -> list[CheckOutcome]:
        """Run all checks: those that are coroutines side by side, each for at most 2 s; never raises."""
        outcomes = []
        waiting: list[tuple[str, float, Awaitable[CheckAnswer]]] = []
        for name, (check, weight) in self._checks.items():
            try:
                answer = check()
                if inspect.isawaitable(answer):
                    waiting.append((name, weight, answer))
                else:
                    outcomes.append(_outcome(name, weight, answer))
            except Exception as error:
                outcomes.append(_raised(name, weight, error))
        if waiting:
            outcomes += await asyncio.gather(*(_awaited(*each) for each in waiting))
        return outcomes


class RecentOutcomes:
    """How the last 100 messages went."""

    least: Final = 10  # fewer say nothing
    tolerated: Final = 0.1

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=100)
        self.handled = 0
        self.failed = 0

    def add(self, *, has_failed: bool) -> None:
        """Count one message."""
        self._last.append(has_failed)
        self.handled += 1
        self.failed += has_failed

    def outcome(self) -> CheckOutcome:
        """Return the check ``handlers``: it fails when more than a tenth of the last 100 failed."""
        failed = sum(self._last)
        if len(self._last) <= self.least or failed <= self.tolerated * len(self._last):
            return CheckOutcome(name="handlers", score=1.0)
        return CheckOutcome(
            name="handlers",
            score=min(1.0 - failed / len(self._last), FAILING_BELOW - 0.01),
            reason=f"{failed} of the last {len(self._last)} messages failed",
        )


def judge(
    agent: str,
    state: LifeState,
    reason: str,
    checks: Sequence[CheckOutcome] = (),
    in_use: Sequence[Degradation] = (),
) -> AgentHealth:
    """Return the health that state, checks and fallbacks in use amount to: unhealthy below a mean of 0.5."""
    weight = sum(check.weight for check in checks)
    score = sum(check.weight * check.score for check in checks) / weight if weight else 1.0
    reasons = [f"{check.name}: {check.reason}" for check in checks if check.score < FAILING_BELOW]
    reasons += [f"uses the fallback {each.name}: {each.reason}" for each in in_use]
    is_down = state in (LifeState.FAILED, LifeState.BACKING_OFF)
    if is_down:
        score = 0.0
    if state not in _WELL:
        reasons.insert(0, f"{state}: {reason}" if reason else str(state))
    status = HealthStatus.HEALTHY
    if reasons:
        status = HealthStatus.DEGRADED
    if score < UNHEALTHY_BELOW:
        status = HealthStatus.UNHEALTHY
    return AgentHealth(
        agent=agent,
        score=min(1.0, max(0.0, score)),
        status=status,
        reasons=tuple(reasons),
        checks=tuple(checks),
        degradations=tuple(each.name for each in in_use),
    )


async def _awaited(name: str, weight: float, answer: Awaitable[CheckAnswer]) -> CheckOutcome:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return _outcome(name, weight, await answer)
    except TimeoutError:
        return CheckOutcome(
            name=name, score=0.0, weight=weight, reason=f"no answer within {CHECK_TIMEOUT_S:g} s"
        )
    except Exception as error:
        return _raised(name, weight, error)


def _outcome(name: str, weight: float, answer: object) -> CheckOutcome:
    result = answer if isinstance(answer, CheckResult) else None
    raw = answer if result is None else result.score
    if raw is None:
        raw = 1.0
    if not isinstance(raw, int | float) or not 0 <= raw <= 1:
        return CheckOutcome(
            name=name, score=0.0, weight=weight, reason=f"the check returned {type(raw).__name__}"
        )
    reason = "" if result is None else result.reason[:_MOST_REASON]
    if not reason and raw < FAILING_BELOW:
        reason = "failed" if raw == 0 else f"score {raw:.2f}"
    return CheckOutcome(name=name, score=float(raw), weight=weight, reason=reason)


def _raised(name: str, weight: float, error: Exception) -> CheckOutcome:
    # What others raise may hold anything, and the registry shows reasons to many: they get the kind, the log the rest.
    reason = error.message if isinstance(error, ZejzlError) else f"the check raised {type(error).__name__}"
    _log.warning("health check raised", check=name, error=f"{type(error).__name__}: {error}")
    return CheckOutcome(name=name, score=0.0, weight=weight, reason=reason[:_MOST_REASON])
