"""The clocks of the machines agree."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster_check.facts import Clock, ClusterFacts, MachineFacts
from zejzl_ray.cluster_check.finding import HERE, Finding

# Tokens of a machine whose clock is this much ahead are refused as not valid yet (token_verifier.py: 5 s).
MAX_SKEW_S: Final = 3.0
_REMEDY: Final = "Let it follow a time server: timedatectl set-ntp true; then look at `timedatectl`."


def check_clocks(facts: ClusterFacts) -> Iterator[Finding]:
    """No machine's clock is more than 3 s away from where most clocks are."""
    ahead = {HERE: Clock(ahead_s=0.0, uncertainty_s=0.0)}
    if facts.here.machine:
        ahead = {}
    for machine in facts.answering:
        clock = _farther(machine)
        if clock is not None:
            ahead[machine.machine.name] = clock
    if not ahead:
        return
    if facts.here.machine and len(ahead) == 1:
        ahead[HERE] = Clock(ahead_s=0.0, uncertainty_s=0.0)
    reference = _reference(ahead, facts.head.machine.name)
    base = ahead[reference]
    for name, clock in ahead.items():
        off_s, room_s = clock.ahead_s - base.ahead_s, clock.uncertainty_s + base.uncertainty_s
        if abs(off_s) - room_s > MAX_SKEW_S:
            where = "this computer" if reference == HERE else reference
            yield Finding(
                name,
                "clock",
                f"its clock is {_span(abs(off_s))} {'ahead of' if off_s > 0 else 'behind'} that of {where}",
                _REMEDY,
            )


def _farther(machine: MachineFacts) -> Clock | None:
    """What a process and what the shell sees should be one clock; the one that is farther off counts."""
    readings = [clock for clock in (machine.clock, machine.shell_clock) if clock is not None]
    return max(readings, key=lambda clock: abs(clock.ahead_s) - clock.uncertainty_s, default=None)


def _reference(ahead: dict[str, Clock], head: str) -> str:
    """The clock with which most others agree; of several such the head's."""

    def agreeing(name: str) -> int:
        own = ahead[name]
        return sum(
            abs(clock.ahead_s - own.ahead_s) <= MAX_SKEW_S + clock.uncertainty_s + own.uncertainty_s
            for clock in ahead.values()
        )

    return max(ahead, key=lambda name: (agreeing(name), name == head, name != HERE))


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
