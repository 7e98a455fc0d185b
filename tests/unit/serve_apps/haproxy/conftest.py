from collections.abc import Callable
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

Render = Callable[..., Path]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Return a function that lets Ray's own code write its configuration file."""

    def write(port: int = 7000, server_port: int | None = 30000, host: str = "127.0.0.1") -> Path:
        config = HAProxyConfig(
            http_options=HTTPOptions(host=host, port=port),
            socket_path=str(tmp_path / "admin.sock"),
            server_state_base=str(tmp_path),
            server_state_file=str(tmp_path / "server-state"),
            metrics_socket_path=str(tmp_path / "m.sock"),
            is_head=True,
            metrics_enabled=False,
        )
        config.has_received_routes = True
        config.nbthread = 1
        path = tmp_path / "haproxy.cfg"
        api = HAProxyApi(cfg=config, config_file_path=str(path))
        if server_port is not None:
            server = ServerConfig(name="replica", host="127.0.0.1", port=server_port)
            backend = BackendConfig(
                name="http-ingress", path_prefix="/", servers=[server], app_name="ingress"
            )
            api.set_backend_configs({"http-ingress": backend})
        api._generate_config_file_internal()
        return path

    return write
