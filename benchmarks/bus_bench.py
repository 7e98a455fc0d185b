"""What the rows of ``benchmarks/bus.py`` share: servers, hosts, and measuring turn by turn with the baselines."""

import gc
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.bus_across import NatsAcross, RedisAcross
from benchmarks.bus_baselines.ray_calls import RayPair
from benchmarks.bus_product import Outbox, ProductAcross
from benchmarks.own_hosts import MACHINES, OwnHosts, own_hosts
from benchmarks.report import spread

Measure = Callable[[], float]


@dataclass
class Bench:
    """What the rows share; servers and hosts start when a row first wants them.

    Attributes:
        pairs: turns of each row.
        stack: ends what was started.
        sustained_s: length of the sustained row.
        scale: of the numbers of messages; 1 for figures that are reported.
    """

    pairs: int
    stack: ExitStack
    sustained_s: float = 600.0
    scale: float = 1.0
    _products: dict[Outbox, ProductAcross] = field(default_factory=dict)

    def many(self, messages: int) -> int:
        """Return a number of messages, scaled, a multiple of 1,000."""
        return max(1000, int(messages * self.scale) // 1000 * 1000)

    def seconds(self, seconds: float) -> float:
        """Return a length of time, scaled."""
        return max(0.5, seconds * self.scale)

    @cached_property
    def nats(self) -> NatsAcross:
        """NATS with its defaults."""
        return self.stack.enter_context(NatsAcross())

    @cached_property
    def nats_synced(self) -> NatsAcross:
        """NATS that syncs each write of JetStream."""
        return self.stack.enter_context(NatsAcross(is_synced=True))

    @cached_property
    def redis(self) -> RedisAcross:
        """Redis pub/sub."""
        return self.stack.enter_context(RedisAcross())

    @cached_property
    def hosts(self) -> OwnHosts:
        """Two Ray nodes and the services that hosts of agents need."""
        return self.stack.enter_context(own_hosts())

    @cached_property
    def ray(self) -> RayPair:
        """Raw actor calls and a queue."""
        assert self.hosts  # it is their cluster
        pair = RayPair(*MACHINES)
        self.stack.callback(pair.close)
        return pair

    def product(self, outbox: Outbox = "") -> ProductAcross:
        """The hosts of agents whose outbox lies there."""
        if outbox not in self._products:
            self._products[outbox] = self.stack.enter_context(ProductAcross(self.hosts, outbox))
        return self._products[outbox]

    def turns(self, measures: Mapping[str, Measure]) -> dict[str, list[float]]:
        """Measure everything turn by turn, in turned order every second time.

        Returns:
            The figures of each, without those of the first turn.
        """
        found: dict[str, list[float]] = {name: [] for name in measures}
        for turn in range(self.pairs + 1):
            for name in list(measures)[:: -1 if turn % 2 else 1]:
                gc.collect()
                figure = measures[name]()
                if turn:
                    found[name].append(figure)
            said = "  ".join(f"{name} {values[-1]:.4g}" for name, values in found.items() if values)
            sys.stderr.write(f"    turn {turn} of {self.pairs}: {said or 'warmed up'}\n")
        return found


def ratios(own: list[float], other: list[float]) -> list[float]:
    """Return the ratio of each turn."""
    return [one / two for one, two in zip(own, other, strict=True)]


def middle(values: list[float]) -> float:
    """Return the median."""
    return spread(values).median
