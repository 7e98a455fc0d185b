"""The plan of a cluster on one computer."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster import local_plan
from zejzl_ray.cluster.local_plan import (
    cluster_id,
    gpu_settings,
    node_agent_settings,
    plan_local_cluster,
    service_ports,
    split_cpus,
)
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.errors import ClusterError, PortInUse, SettingsInvalid
from zejzl_ray.settings import Settings
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

PORTS = ("http_port", "resource_manager_port", "observability_port", "error_bus_port", "security_port")
MACHINES = ("mainpc", "pc2")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    return changed(
        Settings(), data_dir=tmp_path, gpu_cards="none", **dict(zip(PORTS, free_ports(5), strict=True))
    )


def changed(settings: Settings, **fields: Any) -> Settings:
    return settings.model_copy(update=fields)


def test_one_node_for_each_machine_head_first(settings: Settings) -> None:
    plan = plan_local_cluster(settings, MACHINES)
    assert [(node.machine, node.role) for node in plan.nodes] == [
        ("mainpc", NodeRole.HEAD),
        ("pc2", NodeRole.WORKER),
    ]
    assert {node.head_address for node in plan.nodes} == {plan.record.address}
    assert plan.record.machines == MACHINES
    assert plan.record.http_url == f"http://127.0.0.1:{settings.http_port}"
    assert not plan.record.is_complete
    assert sum(node.cpus for node in plan.nodes) == max(2, os.cpu_count() or 1)
    assert list(settings.data_path.iterdir()) == []


def test_chosen_ports_clash_with_nothing(settings: Settings) -> None:
    (ray_port,) = free_ports(1, avoid=service_ports(settings).values())
    plan = plan_local_cluster(changed(settings, ray_port=ray_port), MACHINES)
    assert plan.record.address == f"127.0.0.1:{ray_port}"
    head = plan.nodes[0]
    used = [ray_port, head.ports.dashboard, head.ports.ray_client, *service_ports(settings).values()]
    assert len(set(used)) == len(used)


def test_rays_pages_of_figures_have_ports_that_are_written_down_where_they_are_asked_for(
    settings: Settings,
) -> None:
    plan = plan_local_cluster(settings, MACHINES)
    assert [node.ports.metrics for node in plan.nodes] == [None] * len(MACHINES)
    assert plan.record.metrics_ports == ()

    plan = plan_local_cluster(changed(settings, ray_metrics=True), MACHINES)
    assert tuple(node.ports.metrics for node in plan.nodes) == plan.record.metrics_ports
    assert len(set(plan.record.metrics_ports)) == len(MACHINES)


def test_a_set_dashboard_port_is_used(settings: Settings) -> None:
    (port,) = free_ports(1, avoid=service_ports(settings).values())
    plan = plan_local_cluster(changed(settings, dashboard_port=port), MACHINES)
    assert plan.record.dashboard_url == f"http://127.0.0.1:{port}"


def test_the_dashboards_default_gives_way_to_a_service(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_plan, "_DASHBOARD_PORT", settings.error_bus_port)
    plan = plan_local_cluster(settings, MACHINES)
    assert plan.nodes[0].ports.dashboard not in service_ports(settings).values()


def test_the_dashboards_default_gives_way_to_another_program(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(local_plan, "_DASHBOARD_PORT", other.getsockname()[1])
        plan = plan_local_cluster(settings, MACHINES)
        assert plan.nodes[0].ports.dashboard != other.getsockname()[1]


@pytest.mark.parametrize("field", ["error_bus_port", "dashboard_port", "ray_port"])
def test_a_taken_port_is_named_with_its_setting(settings: Settings, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(PortInUse, match=f"ZEJZL_{field.upper()}"):
            plan_local_cluster(changed(settings, **{field: other.getsockname()[1]}), MACHINES)


@pytest.mark.parametrize("field", ["error_bus_port", "dashboard_port", "ray_port"])
def test_two_settings_with_one_port_are_refused(settings: Settings, field: str) -> None:
    with pytest.raises(SettingsInvalid, match="both name port"):
        plan_local_cluster(changed(settings, **{field: settings.http_port}), MACHINES)


def certify(settings: Settings, *addresses: str) -> None:
    TlsDirectory(settings.data_path / "tls").init(certificate_names("mainpc", (), addresses), time.time())


def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    certify(settings, "192.0.2.1")
    with pytest.raises(ClusterError, match="ZEJZL_BIND_HOST"):
        plan_local_cluster(changed(settings, bind_host="192.0.2.1"), MACHINES)


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "127.0.0.1")])
def test_the_ingress_is_shown_as_it_is_reached(settings: Settings, host: str, shown: str) -> None:
    certify(settings)
    record = plan_local_cluster(changed(settings, bind_host=host), MACHINES).record
    scheme = "http" if host == "::1" else "https"  # all addresses at once: HTTPS on loopback too
    assert record.http_url == f"{scheme}://{shown}:{settings.http_port}"
    encrypted = plan_local_cluster(changed(settings, bind_host=host, http_tls="on"), MACHINES).record
    assert encrypted.http_url == f"https://{shown}:{settings.http_port}"


@pytest.mark.parametrize("fields", [{"bind_host": "0.0.0.0"}, {"http_tls": "on"}])
def test_an_ingress_that_wants_a_certificate_is_not_planned_without_one(
    settings: Settings, fields: dict[str, str]
) -> None:
    with pytest.raises(ClusterError, match="zejzl tls init"):
        plan_local_cluster(changed(settings, **fields), MACHINES)


def test_beyond_loopback_the_port_must_be_free_on_loopback_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify(settings)
    asked: list[str] = []
    monkeypatch.setattr(local_plan, "require_free", lambda wanted, host: asked.append(host))
    plan_local_cluster(changed(settings, bind_host="0.0.0.0"), MACHINES)
    assert asked[:2] == ["127.0.0.1", "0.0.0.0"]


def test_nodes_on_one_machine_do_not_speak_tls(settings: Settings) -> None:
    certify(settings)
    assert [node.tls for node in plan_local_cluster(settings, MACHINES).nodes] == [None, None]


def test_the_cluster_is_the_same_however_its_directory_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    identity = cluster_id(tmp_path / "a")
    assert cluster_id(tmp_path / "link") == identity
    assert cluster_id(tmp_path / "a" / ".." / "a") == identity
    assert cluster_id(tmp_path / "b") != identity


@pytest.mark.parametrize(
    ("total", "machines", "shares"),
    [(8, 2, [4, 4]), (7, 2, [4, 3]), (1, 2, [1, 1]), (4, 1, [4]), (8, 3, [4, 2, 2])],
)
def test_cpus_are_split(total: int, machines: int, shares: list[int]) -> None:
    assert split_cpus(total, machines) == shares


def test_real_cards_belong_to_the_first_machine() -> None:
    settings = Settings(gpu_cards="", vram_mib="", simulated_gpus="")
    assert gpu_settings(settings, "mainpc").cards == "all"
    assert gpu_settings(settings, "pc2", is_first=False).cards == "none"


def test_declared_memory_is_per_machine_and_a_whole_number() -> None:
    settings = Settings(vram_mib="mainpc=20000;pc2=ten")
    assert gpu_settings(settings, "mainpc").declared_vram_mib == 20000
    assert gpu_settings(settings, "pc3").declared_vram_mib is None
    with pytest.raises(SettingsInvalid, match="ZEJZL_VRAM_MIB: 'ten' for machine pc2"):
        gpu_settings(settings, "pc2")


def test_a_node_agent_gets_the_settings_of_its_machine() -> None:
    settings = Settings(report_period_s=3, log_level="DEBUG", simulated_gpus="pc2=RTX 3060:12288")
    agent = node_agent_settings(settings, "pc2", is_first=False, cpus=2)
    assert (agent.report_period_s, agent.logs.level, agent.cpu_count) == (3, "DEBUG", 2)
    assert agent.gpus.simulated == "RTX 3060:12288"
