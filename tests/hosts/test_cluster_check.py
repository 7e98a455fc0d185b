"""``zejzl cluster check`` on two real hosts: silent while all is well, and each planted fault by its name."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hosts.hosts import PROJECT, Host
from tests.hosts.ray_cluster import CLUSTER_FILE, DATA_DIR, RayCluster, provide_command
from tests.hosts.waiting import wait_until

_LIMIT_S = 90.0
_SECRETS = ("ray_token", "redis_password", "security_key", "token")


@pytest.fixture(autouse=True, scope="module")
def ready(ray_cluster: RayCluster) -> None:
    """Both machines are in the cluster and its services are ready."""
    wait_until(
        lambda: ray_cluster.mainpc.run("zejzl status --json", is_checked=False, timeout_s=30).status == 0,
        limit_s=120,
        what="every service is ready",
    )


@contextmanager
def planted(host: Host, plant: str, undo: str) -> Iterator[None]:
    """Run one shell command before and the other after, whatever happens between them."""
    host.run(plant, timeout_s=60)
    try:
        yield
    finally:
        host.run(undo, timeout_s=60)


def check(ray_cluster: RayCluster, file: str = CLUSTER_FILE) -> dict[str, Any]:
    """Return what the command says as JSON, after a look at its exit code."""
    done = ray_cluster.mainpc.run(f"zejzl cluster check {file} --json", is_checked=False, timeout_s=_LIMIT_S)
    found: dict[str, Any] = json.loads(done.output)
    assert done.status == (0 if found["is_well"] else 1)
    return found


def findings(ray_cluster: RayCluster, file: str = CLUSTER_FILE) -> dict[tuple[str, str], str]:
    """Return what was found: machine and check -> what."""
    found = check(ray_cluster, file)
    assert found["unknown"] == []
    return {(row["machine"], row["check"]): row["what"] for row in found["findings"]}


def test_nothing_is_found_on_a_healthy_cluster(ray_cluster: RayCluster) -> None:
    found = check(ray_cluster)

    assert (found["findings"], found["unknown"], found["phase"]) == ([], [], "after")


def test_seven_faults_of_one_machine_are_named_and_nothing_else(ray_cluster: RayCluster) -> None:
    with (
        _another_token(ray_cluster),
        _another_ray_and_no_room(ray_cluster),
        _no_rsync(ray_cluster),
        _clock_off_by_an_hour(ray_cluster),
        planted(
            ray_cluster.pc2,
            f"chmod 644 {DATA_DIR}/security_key; mv {DATA_DIR}/tls/pc2.pem away.pem",
            f"chmod 600 {DATA_DIR}/security_key; mv away.pem {DATA_DIR}/tls/pc2.pem",
        ),
    ):
        found = check(ray_cluster)

    said = [(row["machine"], row["check"], row["what"]) for row in found["findings"]]
    assert {machine for machine, _, _ in said} == {"pc2"}
    for name, words in (
        ("secret", "its Ray token differs from that of mainpc"),
        ("secret", "others may use its security key"),
        ("version", "Ray is 2.59.0 here and 2.60.0 on mainpc"),
        ("disk", "has 8 MiB left"),
        ("rsync", "there is no rsync"),
        ("clock", "60 min ahead of that of mainpc"),
        ("tls", "there is no certificate of pc2"),
    ):
        assert [what for _, check_name, what in said if check_name == name and words in what], (words, said)
    assert len(said) == 7
    assert all(row["remedy"] for row in found["findings"])


def test_a_damaged_record_and_full_shared_memory_are_named(ray_cluster: RayCluster) -> None:
    record = f"{DATA_DIR}/node.json"
    with (
        planted(ray_cluster.pc2, f"cp -p {record} kept; head -c 100 kept >{record}", f"mv kept {record}"),
        planted(
            ray_cluster.pc2,
            # room for 4 MiB more than is there
            "used=$(df -k --output=used /dev/shm | tail -1); mount -o remount,size=$((used + 4096))k /dev/shm",
            "mount -o remount,size=2g /dev/shm",
        ),
    ):
        found = findings(ray_cluster)

    assert set(found) == {("pc2", "member"), ("pc2", "disk")}
    assert "its node runs, but node.json is damaged" in found["pc2", "member"]
    assert "/dev/shm (shared memory) has" in found["pc2", "disk"]


def test_what_redis_would_lose_and_a_setting_that_is_none_are_named(ray_cluster: RayCluster) -> None:
    ray_cluster.redis("CONFIG", "SET", "appendfsync", "everysec")
    try:
        with planted(
            ray_cluster.pc2,
            "cp .bashrc kept_bashrc; echo 'export ZEJZL_RAY_PORT=abc' >>.bashrc",
            "mv kept_bashrc .bashrc",
        ):
            found = findings(ray_cluster)
    finally:
        ray_cluster.redis("CONFIG", "SET", "appendfsync", "always")

    assert set(found) == {("mainpc", "redis"), ("pc2", "setting")}
    assert "appendfsync is everysec" in found["mainpc", "redis"]
    assert "ZEJZL_RAY_PORT" in found["pc2", "setting"]


def test_a_closed_port_is_named(ray_cluster: RayCluster) -> None:
    # As a firewall that swallows: only what goes to this one port has no way any more.
    rule = "iif lo ipproto tcp dport 6379 blackhole"
    with planted(ray_cluster.pc2, f"ip rule add {rule}", f"ip rule del {rule}"):
        found = findings(ray_cluster)

    assert list(found) == [("mainpc", "port")]
    assert "port 6379 (Ray's control store)" in found["mainpc", "port"]
    assert "from pc2" in found["mainpc", "port"]


def test_a_wrong_key_is_named_and_so_is_a_host_that_has_changed(ray_cluster: RayCluster) -> None:
    mainpc, pc2 = ray_cluster.mainpc, ray_cluster.pc2
    mainpc.run("rm -f other*; ssh-keygen -q -t ed25519 -N '' -f other")
    mainpc.run("sed 's#~/.ssh/id_ed25519#~/other#' cluster.yaml >other.yaml")
    known = f"{pc2.address} $(cut -d' ' -f1,2 other.pub)"
    with planted(
        mainpc,
        f"cp .ssh/config kept; sed -i 's#/dev/null#~/known#' .ssh/config; echo \"{known}\" >known",
        "mv kept .ssh/config",
    ):
        changed = findings(ray_cluster)

    wrong = findings(ray_cluster, "other.yaml")

    assert {place: "does not let root in" in what for place, what in wrong.items()} == {
        ("mainpc", "ssh"): True,
        ("pc2", "ssh"): True,
    }
    assert "another host key than before" in changed["pc2", "ssh"]
    assert set(changed) == {("pc2", "ssh")}


def test_a_worker_that_was_never_started_is_named(ray_cluster: RayCluster) -> None:
    mainpc = ray_cluster.mainpc
    address = mainpc.network.address(13)
    third = f"worker_ips: [{ray_cluster.pc2.address}, {address}]"
    line = f"    --worker pc2={ray_cluster.pc2.address}"
    mainpc.run(
        f"sed 's#worker_ips:.*#{third}#; s#_workers: 1#_workers: 2#; s#^{line}#&\\n    --worker pc3={address}#' "
        "cluster.yaml >three.yaml"
    )
    # A machine that has everything that a start needs, and was left out of it; the others are not disturbed.
    environment = {"ZEJZL_SIMULATED_GPUS": "pc3=RTX 3060:12288", "PYTHONPATH": str(PROJECT)}
    with Host(mainpc.network, "pc3", 13, environment=environment) as pc3:
        provide_command(pc3)
        mainpc.run(f"zejzl tls issue pc3 --address {address} --ssh root@{address} --force", timeout_s=60)
        mainpc.run(
            f"rsync -a {' '.join(f'{DATA_DIR}/{name}' for name in _SECRETS)} {address}:.local/share/zejzl/"
        )
        found = findings(ray_cluster, "three.yaml")

    assert found == {("pc3", "member"): "it is missing from the Ray cluster: it was never started"}


def test_a_file_with_faults_is_refused_before_anybody_is_asked(ray_cluster: RayCluster) -> None:
    mainpc = ray_cluster.mainpc
    mainpc.run(
        f"sed 's#worker_ips: .*#worker_ips: [{mainpc.address}, 10.77.0.300]#' cluster.yaml >wrong.yaml"
    )

    done = mainpc.run("zejzl cluster check wrong.yaml", is_checked=False)

    assert done.status == 1
    assert "wrong.yaml:" in done.output
    assert "is the head's address and stands among the workers too" in done.output
    assert "10.77.0.300 is no IP address" in done.output


def _another_token(ray_cluster: RayCluster) -> Any:
    token = f"{DATA_DIR}/ray_token"
    return planted(
        ray_cluster.pc2, f"cp -p {token} kept_token; printf %064d 7 >{token}", f"mv kept_token {token}"
    )


def _another_ray_and_no_room(ray_cluster: RayCluster) -> Any:
    """Another Ray on the path of Python, and a tiny disk for Ray's files, both for new shells only."""
    metadata = shlex.quote("Metadata-Version: 2.1\nName: ray\nVersion: 2.59.0\n")
    exports = "export PYTHONPATH=$HOME/fake:$PYTHONPATH TMPDIR=$HOME/small"
    return planted(
        ray_cluster.pc2,
        f"mkdir -p fake/ray fake/ray-2.59.0.dist-info small; printf %s {metadata} >fake/ray-2.59.0.dist-info/METADATA; "
        "touch fake/ray/__init__.py; echo 'version = \"2.59.0\"' >fake/ray/_version.py; "
        f"cp .bashrc kept_bashrc; echo {shlex.quote(exports)} >>.bashrc; mount -t tmpfs -o size=8m tmpfs small",
        "umount ~/small; mv kept_bashrc .bashrc; rm -r fake",
    )


def _no_rsync(ray_cluster: RayCluster) -> Any:
    return planted(
        ray_cluster.pc2,
        "command -v rsync >kept_path; mount --bind /dev/null $(cat kept_path)",
        "umount $(cat kept_path)",
    )


def _clock_off_by_an_hour(ray_cluster: RayCluster) -> Any:
    """The clock of a machine is never set here: its ``date`` lies."""
    lie = "#!/bin/sh\necho $(($(/bin/date +%s) + 3600)).0\n"
    return planted(
        ray_cluster.pc2, f"printf %s {shlex.quote(lie)} >bin/date; chmod 755 bin/date", "rm bin/date"
    )
