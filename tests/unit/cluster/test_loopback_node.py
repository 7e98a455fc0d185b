"""``ray start`` of a second node on loopback: the real command line, short of starting a node."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
from zejzl_ray.cluster import loopback_node
from ray._private import ray_constants, services
assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"
{before}
loopback_node.allow_second_node()
assert ray_constants.ENABLE_RAY_CLUSTER
assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"
print(services.canonicalize_bootstrap_address("127.0.0.1:6379"))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_second_node_is_not_refused_and_keeps_to_loopback() -> None:
    done = run("-c", _PROGRAM.format(before=""))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "127.0.0.1:6379"


@pytest.mark.parametrize("gone", ["del ray_constants.ENABLE_RAY_CLUSTER", "del services.get_node_ip_address"])
def test_a_version_of_ray_that_works_otherwise_is_refused(gone: str) -> None:
    done = run("-c", _PROGRAM.format(before=gone))
    assert done.returncode == 1
    assert "ClusterError" in done.stderr


def test_it_is_rays_own_command_line() -> None:
    done = run("-m", "zejzl_ray.cluster.loopback_node", "start", "--help")
    assert done.returncode == 0, done.stderr
    assert "--node-ip-address" in done.stdout
