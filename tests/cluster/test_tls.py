"""A cluster of two nodes whose Ray speaks TLS: who has a certificate of its authority comes in, nobody else."""

import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from zejzl_ray.cluster.node_processes import stop_node
from zejzl_ray.cluster.node_start import (
    NodePorts,
    NodeRole,
    NodeStart,
    client_environment,
    ray_start_command,
)
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.secret_file import ensure_token
from zejzl_ray.cluster.this_machine import own_addresses
from zejzl_ray.tls.credentials import TlsFiles, load_credentials
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

_START_LIMIT_S = 60
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4  # type of the frame with which every HTTP/2 server begins

_DRIVER = """
import ray
ray.init(address={address!r}, namespace="tls", log_to_driver=False)
print("inside", flush=True)
@ray.remote(num_cpus=0, label_selector={{"zejzl.io/machine": "pc2"}})
class Where:
    def machine(self):
        return ray.get_runtime_context().get_node_labels()["zejzl.io/machine"]
print("machine", ray.get(Where.remote().machine.remote(), timeout=30), flush=True)
"""


@dataclass(frozen=True, slots=True)
class TlsCluster:
    """Two running nodes."""

    port: int
    token_path: Path
    files: TlsFiles

    def drive(self, tls: TlsFiles | None, limit_s: float) -> str:
        """Run a program that connects and makes one call; return what it printed until then."""
        program = textwrap.dedent(_DRIVER).format(address=f"127.0.0.1:{self.port}")
        environment = _own_environment() | client_environment(self.token_path, tls, on_loopback=True)
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", program], env=environment, stdout=output, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            output.seek(0)
            return output.read()


def _own_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("ZEJZL_", "RAY_"))}


def _make_certificates(directory: Path, *machines: str) -> dict[str, TlsFiles]:
    now_s = time.time()
    tls = TlsDirectory(directory)
    first, *others = machines
    # `ray start` takes this computer's outer address, even when it is told 127.0.0.1
    tls.init(certificate_names(first, (), own_addresses()), now_s)
    for machine in others:
        tls.issue(certificate_names(machine, (), own_addresses()), now_s)
    return {
        machine: load_credentials(directory, machine, now_s, address="127.0.0.1").files
        for machine in machines
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[TlsCluster]:
    directory = Path(tempfile.mkdtemp(prefix="zjs-", dir="/tmp"))
    identity = f"tls-{secrets.token_hex(4)}"
    files = _make_certificates(directory / "tls", "mainpc", "pc2")
    ensure_token(directory / "ray_token")
    gcs, dashboard, client = free_ports(3)
    try:
        for machine, role in (("mainpc", NodeRole.HEAD), ("pc2", NodeRole.WORKER)):
            command = ray_start_command(
                NodeStart(
                    cluster_id=identity,
                    machine=machine,
                    role=role,
                    head_address=f"127.0.0.1:{gcs}",
                    node_ip="127.0.0.1",
                    temp_dir=directory / "ray",
                    token_path=directory / "ray_token",
                    tls=files[machine],
                    cpus=1,
                    object_store_mib=80,
                    ports=NodePorts(dashboard=dashboard, ray_client=client),
                    ray_executable=str(Path(sys.executable).with_name("ray")),
                )
            )
            with (directory / f"{machine}.log").open("w+b") as log:
                done = subprocess.run(
                    command.argv, env=_own_environment() | command.environment, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, timeout=_START_LIMIT_S, start_new_session=True, check=False,
                )  # fmt: skip
                log.seek(0)
                assert done.returncode == 0, log.read().decode(errors="replace")
        yield TlsCluster(gcs, directory / "ray_token", files["mainpc"])
    finally:
        stop_node(identity)
        shutil.rmtree(directory, ignore_errors=True)


def _answer(port: int, context: ssl.SSLContext | None) -> bytes:
    """Return the first bytes that the control store sends to a peer that begins as gRPC does."""
    try:
        with ExitStack() as stack:
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            if context is not None:
                peer = stack.enter_context(context.wrap_socket(peer, server_hostname="127.0.0.1"))
            peer.sendall(_HTTP2)
            return peer.recv(9)
    except (ssl.SSLError, ConnectionError):
        return b""


def _is_settings(answer: bytes) -> bool:
    return len(answer) >= 4 and answer[3] == _SETTINGS


def _trusting(authority: Path, own: TlsFiles | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def test_both_nodes_come_up_and_a_program_with_a_certificate_calls_an_actor_on_the_other_one(
    cluster: TlsCluster,
) -> None:
    assert cluster.drive(cluster.files, 60).splitlines() == ["inside", "machine pc2"]


def test_a_program_with_the_right_token_but_without_tls_is_not_let_in(cluster: TlsCluster) -> None:
    assert cluster.drive(None, 6) == ""


def test_only_a_peer_with_a_certificate_of_the_same_authority_gets_an_answer(
    cluster: TlsCluster, tmp_path: Path
) -> None:
    other = _make_certificates(tmp_path / "tls", "mainpc")["mainpc"]
    trusted = cluster.files.authority

    assert _is_settings(_answer(cluster.port, _trusting(trusted, cluster.files)))
    assert not _is_settings(_answer(cluster.port, _trusting(trusted, None)))
    assert not _is_settings(_answer(cluster.port, _trusting(trusted, other)))
    assert not _is_settings(_answer(cluster.port, None))


def test_the_control_store_shows_a_certificate_that_another_authority_does_not_trust(
    cluster: TlsCluster, tmp_path: Path
) -> None:
    other = _make_certificates(tmp_path / "tls", "mainpc")["mainpc"]
    context = _trusting(other.authority, other)

    with socket.create_connection(("127.0.0.1", cluster.port), timeout=5) as plain:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
