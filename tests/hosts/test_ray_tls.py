"""Who comes in on two hosts that speak TLS with each other, as ``ray up cluster.yaml`` sets them up."""

import json
import shlex

import pytest

from tests.hosts.ray_cluster import DATA_DIR, RayCluster
from tests.hosts.waiting import wait_until

_MACHINES = """
answer(sorted(node["Labels"]["zejzl.io/machine"] for node in ray.nodes() if node["Alive"]))
"""

_WITH_TOKEN = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={DATA_DIR}/ray_token"
_WITH_CERTIFICATE = (
    f"RAY_USE_TLS=1 RAY_TLS_CA_CERT={DATA_DIR}/tls/ca.pem RAY_TLS_SERVER_CERT={DATA_DIR}/tls/pc2.pem "
    f"RAY_TLS_SERVER_KEY={DATA_DIR}/tls/pc2.key"
)


@pytest.fixture(autouse=True, scope="module")
def joined(ray_cluster: RayCluster) -> None:
    """Both machines are in the cluster: so they speak TLS, and trust each other."""
    wait_until(lambda: ray_cluster.ask(_MACHINES) == ["mainpc", "pc2"], limit_s=60, what="both have joined")


def _connect_from_pc2(ray_cluster: RayCluster, variables: str) -> str:
    """Return what a program prints that tries for ten seconds to reach the cluster from pc2."""
    address = f"{ray_cluster.mainpc.address}:6379"
    program = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('inside')"
    done = ray_cluster.pc2.run(
        f"{variables} timeout -k 2 10 python -c {shlex.quote(program)} 2>&1", is_checked=False
    )
    return done.output


def test_a_program_with_token_and_certificate_comes_in_from_the_other_machine(
    ray_cluster: RayCluster,
) -> None:
    assert "inside" in _connect_from_pc2(ray_cluster, f"{_WITH_TOKEN} {_WITH_CERTIFICATE}").splitlines()


def test_a_program_without_the_token_is_refused(ray_cluster: RayCluster) -> None:
    output = _connect_from_pc2(ray_cluster, f"RAY_AUTH_MODE=disabled {_WITH_CERTIFICATE}")

    assert "inside" not in output.splitlines()
    assert "Unauthenticated" in output


def test_a_program_without_a_certificate_is_refused(ray_cluster: RayCluster) -> None:
    output = _connect_from_pc2(ray_cluster, _WITH_TOKEN)

    assert "inside" not in output.splitlines()


def test_every_machine_has_its_own_private_key_and_no_other(ray_cluster: RayCluster) -> None:
    for host, keys in ((ray_cluster.mainpc, ["ca.key", "mainpc.key"]), (ray_cluster.pc2, ["pc2.key"])):
        found = host.run(f"cd {DATA_DIR}/tls; stat -c '%a %n' *.key")
        assert found.output.splitlines() == [f"600 {name}" for name in keys]
        shown = json.loads(host.run("zejzl tls show --json").output)
        assert [row["name"] for row in shown if row["is_this_machine"]] == [host.name]


def test_a_worker_without_a_certificate_does_not_join_and_says_why(ray_cluster: RayCluster) -> None:
    start = f"zejzl node start --address {ray_cluster.mainpc.address} --machine pc2"
    ray_cluster.pc2.run(f"mv {DATA_DIR}/tls {DATA_DIR}/away")
    try:
        done = ray_cluster.pc2.run(start, is_checked=False)
    finally:
        ray_cluster.pc2.run(f"mv {DATA_DIR}/away {DATA_DIR}/tls")

    assert done.status == 1
    assert "There is no certificate of pc2" in done.errors
    assert f"zejzl tls issue pc2 --address {ray_cluster.pc2.address}" in done.errors
    assert "pc2 (worker)" in ray_cluster.pc2.run(start).output  # and with it, it is as it was
    assert ray_cluster.ask(_MACHINES) == ["mainpc", "pc2"]


def test_redis_lets_nobody_in_without_the_password_or_without_a_certificate(ray_cluster: RayCluster) -> None:
    refused = ray_cluster.python(
        f"""
        import pathlib, redis
        data_dir = pathlib.Path("{DATA_DIR}").expanduser()
        password = (data_dir / "redis_password").read_text()
        tls = str(data_dir / "tls")
        trust = {{"ssl": True, "ssl_ca_certs": tls + "/ca.pem"}}
        own = {{"ssl_certfile": tls + "/mainpc.pem", "ssl_keyfile": tls + "/mainpc.key"}}
        said = []
        for options in (trust | own, trust | {{"password": password}}, {{"password": password}}):
            try:
                redis.Redis("{ray_cluster.mainpc.address}", 6380, **options).ping()
                said.append("let in")
            except redis.RedisError as error:
                said.append(type(error).__name__)
        answer(said)
        """
    )

    assert refused == ["AuthenticationError", "ConnectionError", "ConnectionError"]
