"""From a fleet file to the hosts that are started."""

from pathlib import Path
from typing import Any

from actors.host_plans import HostPlan, plan_hosts
from actors.identities import ensure_identities
from zejzl_ray.fleet.model import AgentKind, Fleet, HostDeclaration
from zejzl_ray.security.service_credentials import subject_of
from zejzl_ray.settings import Settings
from zejzl_ray.testing.fleets import agent, fleet_of


def hosted(name: str, *dependencies: str, host: str = "talk", **fields: Any) -> Any:
    given = {"kind": AgentKind.ACTOR, "entry": f"m:{name}", "agent_host": host, **fields}
    return agent(name, *dependencies, **given)


def fleet(*agents: Any, **host: Any) -> Fleet:
    hosts = {"talk": HostDeclaration(name="talk", machine="mainpc", **host)}
    return fleet_of(*agents).model_copy(update={"hosts": hosts})


def plans(tmp_path: Path, declared: Fleet) -> tuple[HostPlan, ...]:
    identities = ensure_identities(tmp_path)
    return plan_hosts(declared, tmp_path / "fleet.yaml", Settings(data_dir=tmp_path), identities)


def test_a_host_gets_its_agents_in_the_order_of_their_dependencies(tmp_path: Path) -> None:
    declared = fleet(
        hosted("A", "C"), agent("B"), hosted("C", config={"x": 1}, mail_scope="c"),
        hosted("Off", extras={"enabled": False}),
        cpus=2, vram_mib=100, memory_mib=50, resources={"camera": 1}, path=("code", "/opt/agents"),
    )  # fmt: skip
    (plan,) = plans(tmp_path, declared)
    options = plan.options
    assert (plan.name, options.machine, plan.cpus, plan.vram_mib, plan.memory_mib) == (
        "talk",
        "mainpc",
        2,
        100,
        50,
    )
    assert (plan.resources, options.path) == ({"camera": 1}, (str(tmp_path / "code"), "/opt/agents"))
    assert [(each.name, each.entry, each.settings, each.mail_scope) for each in options.agents] == [
        ("C", "m:C", {"x": 1}, "c"),
        ("A", "m:A", {}, ""),
    ]


def test_everybody_gets_a_credential_of_its_own(tmp_path: Path) -> None:
    (plan,) = plans(tmp_path, fleet(hosted("A")))
    keys = ensure_identities(tmp_path).keys
    assert subject_of(keys, plan.options.credential.get_secret_value()) == "service:host.talk"
    credential = plan.options.agents[0].credential
    assert credential is not None
    assert subject_of(keys, credential.get_secret_value()) == "agent:A"


def test_hosts_without_agents_are_not_started(tmp_path: Path) -> None:
    assert plans(tmp_path, fleet(agent("A"))) == ()
    assert plans(tmp_path, fleet_of(agent("A"))) == ()


def test_the_digest_is_another_one_whenever_the_host_has_to_be_started_anew(tmp_path: Path) -> None:
    def digest(*agents: Any, **host: Any) -> str:
        (plan,) = plans(tmp_path, fleet(*agents, **host))
        return plan.options.digest

    same = digest(hosted("A"))
    assert same == digest(hosted("A"))
    assert same == digest(hosted("A", capabilities=("look",), group="g"))  # the registry's, not the host's
    others = [
        digest(hosted("A"), cpus=1),
        digest(hosted("A"), path=("x",)),
        digest(hosted("A"), hosted("B")),
        digest(hosted("A", config={"x": 1})),
        digest(hosted("A", entry="m:B")),
        digest(hosted("A", mail_scope="other")),
    ]
    assert len({same, *others}) == 7
