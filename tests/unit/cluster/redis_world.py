"""Several machines, each with a Redis and a supervisor's watch over it, as a model without processes or time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zejzl_ray.cluster import head_switch, role_watch
from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.head_switch import HeadSwitch
from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import Standing
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.cluster.roles import succession
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

MAINPC, PC2, PC3, NOBODY = (RedisAddress(host=f"10.0.0.{last}") for last in (1, 2, 3, 9))
NAMES = {MAINPC: "mainpc", PC2: "pc2", PC3: "pc3"}
SETTINGS = Settings()


def records(stores: Sequence[RedisAddress], terms: int) -> tuple[HeadRecord, ...]:
    """Return the records of the first terms: of mainpc, and of pc2 and mainpc in turn."""
    first = HeadRecord(
        term=1,
        machine="mainpc",
        head_address=f"{MAINPC.host}:6379",
        store=MAINPC,
        store_url=f"rediss://{MAINPC}",
        stores=tuple(stores),
        launcher=LauncherConfig(head_ip=MAINPC.host),
    )
    found = [first]
    while len(found) < terms:
        heir = PC2 if found[-1].store == MAINPC else MAINPC
        found.append(succession(found[-1], NAMES[heir], heir.host, heir))
    return tuple(found)


class Crash(BaseException):
    """A process has died."""


@dataclass
class Redis:
    """One of them: whom it follows, the record that it has, and what was written."""

    primary: RedisAddress | None
    record: HeadRecord | None
    data: set[str] = field(default_factory=set)
    is_up: bool = True


@dataclass
class World:
    """All of them, what each reads about its role when it starts, and how many changes there may be until a crash."""

    redis: dict[RedisAddress, Redis]
    roles: dict[RedisAddress, RedisAddress | None] = field(default_factory=dict)
    crash_after: int = 1_000_000
    changes: int = 0
    heads: dict[int, set[str]] = field(default_factory=dict)

    def change(self) -> None:
        """Count a change; the one at which the process dies does not happen any more."""
        if self.changes >= self.crash_after:
            raise Crash
        self.changes += 1

    def leader(self, address: RedisAddress) -> Redis | None:
        """Return the primary at the end of the chain; None where there is none, or it is down."""
        seen = set()
        while (found := self.redis.get(address)) is not None and found.is_up and address not in seen:
            if found.primary is None:
                return found
            seen.add(address)
            address = found.primary
        return None

    def is_linked(self, address: RedisAddress) -> bool:
        """Return whether a replica hears from a primary."""
        return self.redis[address].primary is not None and self.leader(address) is not None

    def replicate(self) -> None:
        """Give every replica what its primary has."""
        for address, redis in self.redis.items():
            if redis.is_up and self.is_linked(address) and (leader := self.leader(address)) is not None:
                redis.record, redis.data = leader.record, set(leader.data)

    def restart(self, address: RedisAddress) -> None:
        """Stop a Redis and start it as what is written down."""
        self.redis[address].primary = self.roles[address]
        self.redis[address].is_up = True

    @property
    def newest(self) -> HeadRecord | None:
        """The record that counts."""
        return newest(redis.record for redis in self.redis.values())

    def is_whole(self) -> bool:
        """Return whether there is one primary, the head's, and everybody follows it."""
        record = self.newest
        return record is not None and all(
            redis.record == record and redis.primary == (None if address == record.store else record.store)
            for address, redis in self.redis.items()
        )

    def write_role(self, data_dir: Path, primary: RedisAddress | None) -> Path:
        """Write down what a Redis is from its next start on."""
        address = RedisAddress(host=data_dir.name)
        if self.roles.get(address, NOBODY) != primary:
            self.change()
            self.roles[address] = primary
        return data_dir


@dataclass
class ModelPeer:
    """A way to one of them."""

    world: World
    address: RedisAddress

    @property
    def _redis(self) -> Redis:
        found = self.world.redis.get(self.address)
        if found is None or not found.is_up:
            raise ClusterError(f"Redis at {self.address} does not answer.")
        return found

    def look(self) -> Standing | None:
        try:
            redis = self._redis
        except ClusterError:
            return None
        replicas = (
            each for each, other in self.world.redis.items() if other.is_up and other.primary == self.address
        )
        is_linked = self.world.is_linked(self.address)
        return Standing(redis.primary, is_linked, tuple(replicas), redis.record)

    def follow(self, primary: RedisAddress) -> None:
        self.world.change()
        self._redis.primary = primary

    def promote(self) -> None:
        self.world.change()
        self._redis.primary = None

    def allow_promotion(self) -> None:
        raise AssertionError("there is no Sentinel in this world, and every replica is promotable")

    def hand_over(self, to: RedisAddress) -> None:
        assert self._redis.primary is None
        other = self.world.redis[to]
        assert other.primary == self.address
        self.world.change()
        other.record, other.data = self._redis.record, set(self._redis.data)
        other.primary, self._redis.primary = None, to

    def claim(self, record: HeadRecord, instead_of: HeadRecord | None) -> bool:
        if self._redis.primary is not None:
            raise ClusterError("a replica takes no writes")
        if self._redis.record == record:
            return True
        if self._redis.record != instead_of:
            return False
        self.world.change()
        self._redis.record = record
        self.world.heads.setdefault(record.term, set()).add(record.machine)
        return True

    def close(self) -> None:
        pass


class Machine:
    """A supervisor: its watch begins anew when the role of the machine changes; the head writes to its Redis."""

    def __init__(self, world: World, own: RedisAddress) -> None:
        self._world = world
        self._own = own
        self._is_head = False
        self._watch = self._new()
        self.acknowledged: set[str] = set()
        record = world.redis[own].record
        self._become(is_head=record is not None and record.store == own)

    def turn(self) -> None:
        """Look once, and write if this is the head."""
        record = self._watch.look()
        self._become(is_head=record is not None and record.store == self._own)
        redis = self._world.redis[self._own]
        if self._is_head and redis.is_up and redis.primary is None:
            token = f"{NAMES[self._own]}-{len(self.acknowledged)}"
            redis.data.add(token)
            self.acknowledged.add(token)

    def _become(self, *, is_head: bool) -> None:
        if is_head != self._is_head:
            self._is_head = is_head
            self._watch.close()
            self._watch = self._new()
            self._watch.look()

    def _new(self) -> RoleWatch:
        own, name = self._own, NAMES[self._own]
        stores = (own, *(other for other in self._world.redis if other != own))
        return RoleWatch(
            name,
            stores,
            Path(own.host),
            lambda address: ModelPeer(self._world, address),
            lambda before: succession(before, name, own.host, own),
            None if self._is_head else lambda: None,
        )


def settle(world: World, machines: Sequence[Machine], rounds: int = 30) -> None:
    """Let everybody look until all is whole and stays so."""
    whole = 0
    for _ in range(rounds):
        world.replicate()
        for machine in machines:
            machine.turn()
        world.replicate()
        whole = whole + 1 if world.is_whole() else 0
        if whole > 5:
            return


def switch(world: World, target: RedisAddress, *, is_local: bool) -> HeadSwitch:
    """Return the command that makes a machine the head."""
    role_dir = Path(target.host) if is_local else None
    return HeadSwitch(
        SETTINGS, NAMES[target], target.host, target, role_dir, lambda _, at: ModelPeer(world, at)
    )


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """Roles are written into the last world of the list, and a doubt lasts three looks."""
    made: list[World] = []

    def write_role(data_dir: Path, primary: RedisAddress | None) -> Path:
        return made[-1].write_role(data_dir, primary)

    for module in (role_watch, head_switch):
        monkeypatch.setattr(module, "write_role", write_role)
    monkeypatch.setattr(role_watch, "DOUBT_LOOKS", 3)
    monkeypatch.setattr(role_watch, "log", _Silent())
    return made


class _Silent:
    def warning(self, *_: object, **__: object) -> None:
        pass

    error = warning
