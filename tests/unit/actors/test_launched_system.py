"""What the processes of a node get in their environment."""

from pathlib import Path

import pytest

from actors import launched_system
from actors.launched_system import node_environment
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.settings import Settings


@pytest.mark.parametrize("changes", [{"bind_host": "192.168.1.10"}, {"http_tls": "on"}])
def test_a_worker_needs_no_certificate_for_the_address_of_the_heads_ingress(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, str]
) -> None:
    asked: list[Settings] = []

    def environment(settings: Settings) -> dict[str, str]:
        asked.append(settings)
        return {}

    monkeypatch.setattr(launched_system, "ingress_environment", environment)
    settings = Settings.model_validate({"data_dir": tmp_path, **changes})

    node_environment(settings, NodeRole.WORKER)
    node_environment(settings, NodeRole.HEAD)

    worker, head = asked
    assert (worker.bind_host, worker.http_tls) == ("127.0.0.1", "auto")
    assert head == settings
