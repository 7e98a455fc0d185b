"""What a person does with hosts on a machine of the cluster, without Ray."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import agent_host, bootstrap, host_room, hosts, hosts_by_hand
from actors.host_standing import HostStanding
from tests.unit.actors.fake_hosts import NAMESPACE, FakeHosts, info
from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput
from zejzl_ray.fleet.model import AgentKind, Fleet, HostDeclaration
from zejzl_ray.settings import Settings
from zejzl_ray.testing.fleets import agent, fleet_of

SOURCE = Path("fleet.yaml")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeHosts:
    fake = FakeHosts()
    monkeypatch.setattr(hosts, "ray", fake.module())
    monkeypatch.setattr(host_room, "ray", fake.module())
    monkeypatch.setattr(agent_host, "start", fake.start)
    monkeypatch.setattr(hosts, "_POLL_S", 0.001)
    record = SimpleNamespace(namespace=NAMESPACE, machines=("mainpc", "pc2"))
    monkeypatch.setattr(hosts_by_hand, "require_record", lambda data_dir: record)
    monkeypatch.setattr(hosts_by_hand, "connected", lambda record, token: nullcontext())
    monkeypatch.setattr(bootstrap, "root_access", lambda identities, namespace: fake)
    return fake


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def fleet() -> Fleet:
    scout = agent("Scout", kind=AgentKind.ACTOR, agent_host="talk", entry="s:Scout")
    declared = {name: HostDeclaration(name=name, machine="mainpc") for name in ("talk", "empty")}
    return fleet_of(scout, agent("Outside")).model_copy(update={"hosts": declared})


@pytest.mark.parametrize("target", ["talk", "Scout"])
def test_a_host_is_run_by_its_name_or_that_of_an_agent(
    fake: FakeHosts, settings: Settings, fleet: Fleet, target: str
) -> None:
    standing = hosts_by_hand.run_declared(settings, fleet, SOURCE, target, lambda line: None)
    assert (standing.name, standing.machine, fake.log) == ("talk", "mainpc", [("start", "talk")])


def test_an_agent_that_was_stopped_is_started_in_its_host(
    fake: FakeHosts, settings: Settings, fleet: Fleet
) -> None:
    fake.agents["talk"] = (info("Scout", LifeState.STOPPED),)
    hosts_by_hand.run_declared(settings, fleet, SOURCE, "Scout", lambda line: None)
    assert fake.log == [("start", "talk"), ("start_agent", "talk", "Scout")]


@pytest.mark.parametrize(
    ("target", "words"),
    [("Outside", "run by no host"), ("talc", "Did you mean talk?"), ("empty", "has no agents")],
)
def test_what_is_no_host_is_refused(
    fake: FakeHosts, settings: Settings, fleet: Fleet, target: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        hosts_by_hand.run_declared(settings, fleet, SOURCE, target, lambda line: None)
    assert words in str(caught.value)
    assert fake.log == []


def test_a_host_that_does_not_start_is_an_error(fake: FakeHosts, settings: Settings, fleet: Fleet) -> None:
    fake.totals = {}
    with pytest.raises(ClusterError, match="The host talk does not run: the machine mainpc"):
        hosts_by_hand.run_declared(settings, fleet, SOURCE, "talk", lambda line: None)


def run_entry(settings: Settings, **changes: Any) -> HostStanding:
    given = {"name": "New", "machine": "mainpc", "host": "New", "path": ("/code",), "config": {"a": 1}}
    return hosts_by_hand.run_entry(settings, "s:Scout", lambda line: None, **{**given, **changes})


def test_a_class_gets_a_host_of_its_own(fake: FakeHosts, settings: Settings) -> None:
    started: list[Any] = []
    fake.starts = started.append
    assert run_entry(settings).troubles == ()
    (options,) = started
    (held,) = options.agents
    assert (options.name, options.machine, options.path, options.digest) == ("New", "mainpc", ("/code",), "")
    assert (held.name, held.entry, held.settings) == ("New", "s:Scout", {"a": 1})
    with pytest.raises(Conflict, match="A host New runs already"):
        run_entry(settings)


def test_nothing_is_left_of_a_class_that_does_not_start(fake: FakeHosts, settings: Settings) -> None:
    fake.agents["New"] = (info("New", LifeState.FAILED, "no model"),)
    with pytest.raises(ClusterError, match=r"New was not started: .* no model"):
        run_entry(settings)
    assert fake.digests == {}
    with pytest.raises(InvalidInput, match="Say where it runs: mainpc, pc2"):
        run_entry(settings, machine="")


def test_hosts_are_ended_and_renewed(fake: FakeHosts, settings: Settings) -> None:
    fake.digests = {"talk": "d1"}
    hosts_by_hand.renew_host(settings, "talk", lambda line: None)
    hosts_by_hand.end_host(settings, "talk", lambda line: None)
    assert fake.log == [("stop", "talk"), ("renew", "talk"), ("stop", "talk"), ("kill", "talk")]
