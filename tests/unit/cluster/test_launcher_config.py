"""The file that `ray up` puts on the head."""

from pathlib import Path

import pytest

from zejzl_ray.cluster.launcher_config import LauncherConfig, read_launcher_config, worker_stop_commands
from zejzl_ray.errors import ClusterError

_FILE = """
provider: {type: local, head_ip: 10.0.0.1, worker_ips: [10.0.0.2, 10.0.0.3]}
auth: {ssh_user: me, ssh_private_key: ~/ray_bootstrap_key.pem}
available_node_types: {local.cluster.node: {}}
"""


def test_addresses_and_login_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(_FILE)

    config = read_launcher_config(path)

    assert (config.head_ip, config.worker_ips) == ("10.0.0.1", ("10.0.0.2", "10.0.0.3"))
    assert (config.ssh_user, config.ssh_private_key) == ("me", "~/ray_bootstrap_key.pem")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"absent\.yaml: No such file"):
        read_launcher_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["", "[]", "provider: {type: aws}", "provider: ]"])
def test_another_kind_of_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)

    with pytest.raises(ClusterError, match="not a cluster file of Ray's local provider"):
        read_launcher_config(path)


def test_each_worker_gets_one_command_that_never_asks_back() -> None:
    config = LauncherConfig(
        head_ip="h", worker_ips=("a", "b"), ssh_user="me", ssh_private_key="/k", ssh_proxy_command="nc %h"
    )

    first, second = worker_stop_commands(config, "stop it")

    assert first[-2:] == ("me@a", "stop it")
    assert second[-2:] == ("me@b", "stop it")
    assert first[first.index("-i") + 1] == "/k"
    assert "BatchMode=yes" in first
    assert "ProxyCommand=nc %h" in first


def test_without_user_and_key_ssh_takes_its_own() -> None:
    (command,) = worker_stop_commands(LauncherConfig(head_ip="h", worker_ips=("a",)), "stop")

    assert command[-2] == "a"
    assert "-i" not in command
