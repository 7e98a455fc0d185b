"""Services are sent home by what the cluster tells; Ray and the services are played here."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from actors import homecoming
from actors.launched_system import sole_keeper
from zejzl_ray.cluster.names import MACHINE_LABEL, SERVICES
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.errors import ServiceUnavailable


class Cluster:
    """Two machines, and services that start at home when they are ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = dict.fromkeys(SERVICES, "mainpc")
        self.away: set[str] = set()
        self.done: list[tuple[str, str]] = []
        self.looks = 0
        self.now_s = 0.0
        self.caller = self
        self.tokens = SimpleNamespace(token=self._token)
        monkeypatch.setattr("actors.homecoming.ray.nodes", self._nodes)
        monkeypatch.setattr("actors.homecoming.ray.get_actor", self._get_actor)
        monkeypatch.setattr("actors.homecoming.ray.kill", self._kill)
        monkeypatch.setattr(
            homecoming, "time", SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: 0.0)
        )
        monkeypatch.setattr("actors.homecoming.asyncio.sleep", self._sleep)

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        self.looks += 1
        if self.looks >= 60:
            raise asyncio.CancelledError

    async def _token(self) -> str:
        return "token"

    def _nodes(self) -> list[dict[str, Any]]:
        return [{"Labels": {MACHINE_LABEL: machine}, "Alive": True} for machine in ("mainpc", "pc2")]

    def _get_actor(self, name: str, namespace: str) -> Any:
        async def stop(*_: Any) -> None:
            self.done.append(("drained", name))

        return SimpleNamespace(name=name, stop=SimpleNamespace(remote=stop))

    def _kill(self, actor: Any, no_restart: bool) -> None:
        assert not no_restart
        self.done.append(("ended", actor.name))
        self.places[actor.name] = PLACES[actor.name].home

    async def call(self, operation: Any, request: Any, context: Any) -> ServiceHealth:
        service = operation.service
        if service in self.away:
            raise ServiceUnavailable(f"{service} is away")
        return ServiceHealth(service=service, machine=self.places[service], is_ready=True)

    async def run(self) -> list[str]:
        told: list[str] = []
        access: Any = self
        with pytest.raises(asyncio.CancelledError):
            await homecoming.keep_home(access, "zejzl", 10, told.append)
        return told


async def test_whoever_is_away_is_drained_and_sent_home_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch)

    told = await cluster.run()

    of_pc2 = [name for name in SERVICES if PLACES[name].home == "pc2"]
    moved = [name for _, name in cluster.done]
    assert cluster.done == [(what, name) for name in moved[::2] for what in ("drained", "ended")]
    assert sorted(set(moved)) == sorted(of_pc2)
    assert len(told) == len(of_pc2)
    assert cluster.places == {name: PLACES[name].home for name in SERVICES}


async def test_nobody_is_moved_while_a_service_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.away = {"error_bus"}

    assert await cluster.run() == []
    assert cluster.done == []


async def test_a_control_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    answers = iter([ValueError("gone"), TimeoutError()])

    def nodes() -> list[dict[str, Any]]:
        for error in answers:
            raise error
        return cluster._nodes()

    monkeypatch.setattr("actors.homecoming.ray.nodes", nodes)

    await cluster.run()

    assert cluster.places == {name: PLACES[name].home for name in SERVICES}


async def test_a_service_that_cannot_be_asked_to_stop_is_not_ended_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch)

    async def no_token() -> str:
        raise ServiceUnavailable("security_gateway is away")

    cluster.tokens = SimpleNamespace(token=no_token)

    told = await cluster.run()

    assert told != []
    assert cluster.done == []


def test_one_process_sends_services_home_and_no_second(tmp_path: Any) -> None:
    with sole_keeper(tmp_path) as first, sole_keeper(tmp_path) as second:
        assert (first, second) == (True, False)
    with sole_keeper(tmp_path) as third:
        assert third
