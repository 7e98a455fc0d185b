"""Facts of a cluster of two machines in which all is well, and ways to spoil them."""

from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from zejzl_ray.cluster_check.facts import (
    Clock,
    ClusterFacts,
    Command,
    Disk,
    Gpus,
    Here,
    KeyFile,
    Link,
    MachineFacts,
    NodeFacts,
    OwnFacts,
    Phase,
    PortAnswer,
    Programs,
    RayAnswer,
    RayNode,
    RayProcess,
    RedisAnswer,
    SecretFile,
    ServicesAnswer,
    TlsFiles,
)
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.tls.authority import Authority, make_authority, new_key, sign_certificate
from zejzl_ray.tls.names import certificate_names

NOW_S = 1_800_000_000.0
ADDRESSES = {"mainpc": "192.168.1.10", "pc2": "192.168.1.11"}
DATA = "/home/me/.local/share/zejzl"
SECRETS = ("ray_token", "redis_password", "security_key", "token")
CLUSTER = ClusterFile(
    file="cluster.yaml",
    head=DeclaredMachine(name="mainpc", address=ADDRESSES["mainpc"]),
    workers=(DeclaredMachine(name="pc2", address=ADDRESSES["pc2"]),),
    ssh_user="me",
    environment={"ZEJZL_STORE_URL": "rediss://192.168.1.10:6380"},
    copied={f"~/.local/share/zejzl/{name}": Path(f"{DATA}/{name}") for name in SECRETS},
)
HERE = Here(machine="mainpc", secret_digests={name: f"of-{name}" for name in SECRETS})


@cache
def authority(name: str = "zejzl") -> Authority:
    return make_authority(name, NOW_S)


def tls_files(machine: str, *, of: str = "zejzl", address: str = "", now_s: float = NOW_S) -> TlsFiles:
    """Return the certificates of a machine, made by the authority of that name."""
    names = certificate_names(machine, (), [address or ADDRESSES[machine]])
    certificate = sign_certificate(authority(of), names, new_key().public_key(), now_s)
    return TlsFiles(
        directory=f"{DATA}/tls",
        ca=authority(of).certificate.public_bytes(serialization.Encoding.PEM).decode(),
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key=KeyFile(path=f"{DATA}/tls/{machine}.key", mode=0o600, fits=True),
        own_name=machine,
    )


@cache
def own_facts(machine: str) -> OwnFacts:
    is_head = machine == "mainpc"
    secret = {
        name: SecretFile(path=f"{DATA}/{name}", state="present", mode=0o600, digest=f"of-{name}")
        for name in SECRETS
    }
    names = ("raylet", "gcs_server") if is_head else ("raylet",)
    return OwnFacts(
        host=machine,
        python="3.11.9",
        data_dir=DATA,
        boot_age_s=90_000.0,
        programs=Programs(
            rsync="/usr/bin/rsync",
            ray=Command(path="/venv/bin/ray", version="2.60.0"),
            zejzl=Command(path="/venv/bin/zejzl", version="0.1.0"),
        ),
        gpus=Gpus(
            plugged=1, driver="550", cards=({"uuid": f"GPU-{machine}", "name": "RTX", "mib": "24564"},)
        ),
        disks=(
            Disk(use="state", path=DATA, device=1, free_mib=50_000, total_mib=100_000, free_inodes=10**6),
            Disk(
                use="Ray's files",
                path="/tmp",
                device=1,
                free_mib=50_000,
                total_mib=100_000,
                free_inodes=10**6,
            ),
            Disk(use="shared memory", path="/dev/shm", device=2, free_mib=8_000, total_mib=8_000),
        ),
        secrets=secret,
        tls=tls_files(machine),
        node=NodeFacts(
            record={
                "state": "up",
                "note": "",
                "node": {
                    "cluster_id": "zejzl-1",
                    "head_address": "192.168.1.10:6379",
                    "tls": {"fingerprint": "f"},
                    "ports": {"dashboard": 8265, "node_manager": 0, "object_manager": 0},
                },
            },
            record_age_s=300.0,
            is_supervised=True,
            processes=tuple(RayProcess(name=name, pid=100 + at, state="S") for at, name in enumerate(names)),
        ),
    )


def machine_facts(machine: DeclaredMachine) -> MachineFacts:
    return MachineFacts(
        machine=machine,
        is_head=machine.name == "mainpc",
        addresses=(machine.address,),
        own=own_facts(machine.name),
        clock=Clock(ahead_s=0.02, uncertainty_s=0.01),
        shell_clock=Clock(ahead_s=0.03, uncertainty_s=0.02),
        redis=RedisAnswer(state="well", version="7.0"),
        outer_ports={0: PortAnswer(state="listening", port=40_000)},
    )


def healthy(phase: Phase = Phase.AFTER) -> ClusterFacts:
    """Return the facts of a cluster that nothing is wrong with."""
    facts = ClusterFacts(
        cluster=CLUSTER,
        phase=phase,
        now_s=NOW_S,
        machines=tuple(machine_facts(machine) for machine in CLUSTER.machines),
        here=HERE,
        links=(
            link("mainpc", "pc2", 22, "its ssh server"),
            link("mainpc", "pc2", 40_000, "Ray's own ports", greeted_by="pc2"),
            link("pc2", "mainpc", 6379, "Ray's control store"),
            link("pc2", "mainpc", 40_000, "Ray's own ports", greeted_by="mainpc"),
        ),
        ray=RayAnswer(nodes=tuple(ray_node(machine.name) for machine in CLUSTER.machines)),
        services=ServicesAnswer(status={"services": [{"service": "core_orchestrator", "is_ready": True}]}),
    )  # fmt: skip
    if phase is Phase.AFTER:
        return facts
    stopped = NodeFacts()
    for name in ADDRESSES:
        facts = with_own(facts, name, node=stopped)
    return facts.model_copy(update={"ray": None, "services": None})


def link(source: str, target: str, port: int, what: str, **changes: Any) -> Link:
    fields: dict[str, Any] = {"state": "open", "is_greeting_expected": "greeted_by" in changes}
    return Link(source=source, target=target, port=port, what=what, **{**fields, **changes})


def ray_node(machine: str, state: str = "ALIVE") -> RayNode:
    return RayNode(node_id="1", node_ip=ADDRESSES[machine], state=state, labels={"zejzl.io/machine": machine})


def with_machine(facts: ClusterFacts, name: str, **changes: Any) -> ClusterFacts:
    """Return the facts with something else about one machine."""
    machines = tuple(
        found.model_copy(update=changes) if found.machine.name == name else found for found in facts.machines
    )
    return facts.model_copy(update={"machines": machines})


def with_own(facts: ClusterFacts, name: str, **changes: Any) -> ClusterFacts:
    """Return the facts with something else that one machine says of itself."""
    machine = facts.named(name)
    assert machine is not None
    assert machine.own is not None
    return with_machine(facts, name, own=machine.own.model_copy(update=changes))


def with_secret(facts: ClusterFacts, machine: str, secret: str, **changes: Any) -> ClusterFacts:
    """Return the facts with something else about a secret of one machine."""
    found = facts.named(machine)
    assert found is not None
    assert found.own is not None
    secrets = {**found.own.secrets, secret: found.own.secrets[secret].model_copy(update=changes)}
    return with_own(facts, machine, secrets=secrets)


def with_link(facts: ClusterFacts, source: str, port: int, **changes: Any) -> ClusterFacts:
    """Return the facts with something else about the connection from a machine to a port."""
    links = tuple(
        found.model_copy(update=changes) if (found.source, found.port) == (source, port) else found
        for found in facts.links
    )
    return facts.model_copy(update={"links": links})


def missing(facts: ClusterFacts, name: str, **node: Any) -> ClusterFacts:
    """Return the facts with a machine that is not in the Ray cluster, and something about its node."""
    ray = RayAnswer(nodes=tuple(ray_node(other) for other in ADDRESSES if other != name))
    fields: dict[str, Any] = {"processes": (), "is_supervised": False, **node}
    machine = facts.named(name)
    assert machine is not None
    assert machine.own is not None
    changed = with_own(facts, name, node=machine.own.node.model_copy(update=fields))
    return changed.model_copy(update={"ray": ray})


def after_takeover() -> ClusterFacts:
    """Facts of a cluster whose head is pc2; nothing is wrong with it."""
    facts = healthy()
    nodes = {name: own_facts(name).node for name in ADDRESSES}
    records = {name: dict(node.record or {}) for name, node in nodes.items()}
    for record in records.values():
        record["node"] = {**record["node"], "head_address": "192.168.1.11:6379"}
    records["pc2"]["node"]["redis_address"] = "rediss://192.168.1.11:6380"
    processes = {"mainpc": nodes["pc2"].processes, "pc2": nodes["mainpc"].processes}
    for name, node in nodes.items():
        changed = node.model_copy(update={"record": records[name], "processes": processes[name]})
        facts = with_machine(with_own(facts, name, node=changed), name, is_head=name == "pc2")
    return facts
