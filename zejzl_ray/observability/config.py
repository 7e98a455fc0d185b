"""What can be set about the observability hub."""

from dataclasses import dataclass, field

from zejzl_ray.bus.deadlock_finder import DeadlockPolicy


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Periods and bounds of the hub.

    Attributes:
        deadlocks: what is done about deadlocks.
        stalled_s: a handler that runs for longer makes its agent stalled.
        tick_s: how soon a deadlock is in the store, and silent hosts are forgotten.
        check_period_s: how often the hub proves that it can write, when there is nothing to write.
        fleet_period_s: how often states of agents are asked for.
        max_watchers: callers that may wait for deadlocks at the same time.
        commit_timeout_s: longest wait for one commit.
    """

    deadlocks: DeadlockPolicy = field(default_factory=DeadlockPolicy)
    stalled_s: float = 30.0
    tick_s: float = 1.0
    check_period_s: float = 10.0
    fleet_period_s: float = 10.0
    max_watchers: int = 100
    commit_timeout_s: float = 10.0
