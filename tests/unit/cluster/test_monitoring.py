"""What Ray's dashboard is told of Prometheus and Grafana."""

import pytest

from tests.unit.cluster.test_node_ports import node
from zejzl_ray.cluster.monitoring import Monitoring, monitoring_of
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, ray_start_command
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.settings import Settings, load_settings


def test_the_head_is_told_where_they_run_and_a_worker_is_not() -> None:
    monitoring = monitoring_of(
        Settings(
            prometheus_url="http://192.168.1.10:9090",
            grafana_url="http://127.0.0.1:3000",
            grafana_iframe_url="https://grafana.lan",
        )
    )
    wanted = {
        "RAY_PROMETHEUS_HOST": "http://192.168.1.10:9090",
        "RAY_GRAFANA_HOST": "http://127.0.0.1:3000",
        "RAY_GRAFANA_IFRAME_HOST": "https://grafana.lan",
    }
    head = node(NodePorts(), NodeRole.HEAD).model_copy(update={"monitoring": monitoring})
    worker = node(NodePorts()).model_copy(update={"monitoring": monitoring})

    assert ray_start_command(head).environment.items() >= wanted.items()
    assert not ray_start_command(worker).environment.keys() & wanted.keys()


def test_nobody_is_asked_for_panels_where_there_is_no_grafana() -> None:
    assert Monitoring(grafana_iframe_url="http://x").environment == {"RAY_GRAFANA_HOST": "DISABLED"}


@pytest.mark.parametrize("text", ["localhost:9090", "http://me:secret@host:9090", "ftp://host"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ZEJZL_PROMETHEUS_URL", text)

    with pytest.raises(SettingsInvalid, match="ZEJZL_PROMETHEUS_URL") as refusal:
        load_settings()
    assert "secret" not in str(refusal.value)
