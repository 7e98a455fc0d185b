"""A primary and a replica over TLS, as on two machines, for tests of whoever makes them swap."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.store.redis_over_tls import certified, tls_settings
from zejzl_ray.cluster.gcs_store import ensure_gcs_user
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_switch import HeadSwitch
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer, Standing
from zejzl_ray.cluster.redis_role import write_role
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.cluster.roles import succession
from zejzl_ray.cluster.shared_store import ensure_redis_password
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer


@dataclass(frozen=True)
class Pair:
    """A primary and its replica."""

    settings: Settings
    first: RedisAddress
    second: RedisAddress
    servers: dict[RedisAddress, RedisServer]

    def peer(self, address: RedisAddress) -> RedisPeer:
        """Return a way to one of them."""
        return RedisPeer(self.settings, address)

    def standing(self, address: RedisAddress) -> Standing:
        """Return what one of them says of itself."""
        found = self._look(address)
        assert found is not None
        return found

    def _look(self, address: RedisAddress) -> Standing | None:
        peer = self.peer(address)
        try:
            return peer.look()
        finally:
            peer.close()

    def switch(self, machine: str) -> HeadSwitch:
        """Return the switch to a machine."""
        return HeadSwitch(
            self.settings, machine, "127.0.0.1", self.first if machine == "mainpc" else self.second
        )

    def watch(self, machine: str) -> RoleWatch:
        """Return the watch of a machine's supervisor, which notes the role of its Redis in a directory of its own."""
        own, other = (self.first, self.second) if machine == "mainpc" else (self.second, self.first)
        data_dir = self.settings.data_path.parent / f"role-{machine}"
        data_dir.mkdir(exist_ok=True)
        return RoleWatch(
            machine,
            (own, other),
            data_dir,
            self.peer,
            lambda before: succession(before, machine, "127.0.0.1", own),
        )

    def wait_linked(self, address: RedisAddress) -> None:
        """Wait until a replica has caught up, and its primary knows it."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            found = self._look(address)
            primary = self._look(found.primary) if found is not None and found.primary is not None else None
            if (
                found is not None
                and found.is_linked
                and primary is not None
                and primary.replicas
                and primary.record == found.record
            ):
                return
            time.sleep(0.05)
        raise AssertionError("the replica has not caught up within 20 s")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Start both; the replica has caught up, and mainpc is the head."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    certified(data_dir)
    password, auth = ensure_redis_password(data_dir)
    user = ensure_gcs_user(data_dir)
    first, second = (RedisAddress(host="127.0.0.1", port=port) for port in free_ports(2))
    lines = [f"include {auth}", f"include {user}"]
    follower = tmp_path / "second"
    follower.mkdir()
    role = write_role(follower, first)
    secret = password.read_text()
    one = RedisServer(settings=(*tls_settings(data_dir, first.port), *lines), password=secret)
    other = RedisServer(
        settings=(*tls_settings(data_dir, second.port), *lines, f"include {role}"), password=secret
    )
    settings = Settings(data_dir=data_dir, store_url=f"rediss://{first}")
    with one, other:
        pair = Pair(settings, first, second, {first: one, second: other})
        peer = pair.peer(first)
        assert peer.claim(first_record(pair), None)
        peer.close()
        pair.wait_linked(second)
        yield pair


def first_record(pair: Pair) -> HeadRecord:
    """Return the record of mainpc, the first head."""
    return HeadRecord(
        term=1,
        machine="mainpc",
        head_address="127.0.0.2:6379",
        store=pair.first,
        store_url=f"rediss://{pair.first}",
        stores=(pair.first, pair.second),
    )
