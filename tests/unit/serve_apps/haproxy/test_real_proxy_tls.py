"""The real HAProxy with TLS: who is let in, with which versions, and how a renewed certificate gets there."""

import http.client
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509

from serve_apps.haproxy.environment import haproxy_environment
from serve_apps.haproxy.live_certificate import replace_certificate
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.this_machine import own_addresses
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.credentials import TlsFiles, load_credentials
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

_OUTSIDE = "127.0.0.2"  # reached through the front on all addresses, as from another machine


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """HAProxy's health checks end their connections early, which is no error here."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running HAProxy."""

    port: int
    directory: Path
    tls: TlsDirectory

    def files(self) -> TlsFiles:
        return load_credentials(self.tls.path, "mainpc", time.time()).files

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.tls.path / "ca.pem")

    def ask(self, host: str, context: ssl.SSLContext | None) -> bytes:
        """Return the answer to one request, over HTTPS where there is a context."""
        connection = (
            http.client.HTTPSConnection(host, self.port, timeout=5, context=context)
            if context is not None
            else http.client.HTTPConnection(host, self.port, timeout=5)
        )
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        finally:
            connection.close()

    def shown(self) -> x509.Certificate:
        """Return the certificate that a new connection sees."""
        with socket.create_connection((_OUTSIDE, self.port), timeout=5) as plain:
            with self.trusting().wrap_socket(plain, server_hostname=_OUTSIDE) as peer:
                der = peer.getpeercert(binary_form=True)
                assert der is not None
                return x509.load_der_x509_certificate(der)

    def own(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.tls.path / "mainpc.pem").read_bytes())


@pytest.fixture
def proxy(render: Callable[..., Path], tmp_path: Path) -> Iterator[Proxy]:
    """On all addresses at once."""
    with running_proxy(render, tmp_path, "0.0.0.0") as running:
        yield running


@contextmanager
def running_proxy(render: Callable[..., Path], tmp_path: Path, bind_host: str) -> Iterator[Proxy]:
    server = QuietServer(("127.0.0.1", 0), Answering)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    tls = TlsDirectory(tmp_path / "data" / "tls")
    tls.init(certificate_names("mainpc", (), (_OUTSIDE, *own_addresses())), time.time())
    (port,) = free_ports(1, "0.0.0.0")
    generated = render(port=port, server_port=server.server_port).read_text()
    # the time-outs come from the environment of Ray's processes, which this one has not got
    generated = generated.replace("defaults\n", "defaults\n    timeout server 5s\n", 1)
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as short:
        node = Path(short) / "node"  # Serve makes one a node
        node.mkdir()
        config = node / "haproxy.cfg"
        config.write_text(generated.replace(str(tmp_path / "admin.sock"), str(node / "admin.sock")))
        files = load_credentials(tls.path, "mainpc", time.time()).files
        environment = haproxy_environment(tmp_path / "data", bind_host=bind_host, tls=files, root=Path(short))
        # -dR as Serve does: no port can be bound twice
        process = subprocess.Popen(
            [environment["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config), "-dR"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_open(port, node / "admin.sock", process)
            yield Proxy(port, Path(short), tls)
        finally:
            process.kill()
            process.wait()
            server.shutdown()
            serving.join()
            server.server_close()


def _wait_until_open(port: int, admin: Path, process: subprocess.Popen[bytes]) -> None:
    ends_at_s = time.monotonic() + 10
    while time.monotonic() < ends_at_s:
        assert process.poll() is None, "the proxy did not start"
        with socket.socket() as one:
            # the socket file gets its name last
            if one.connect_ex(("127.0.0.1", port)) == 0 and admin.exists():
                return
        time.sleep(0.02)
    raise AssertionError("the proxy does not listen")


def test_on_all_addresses_at_once_it_speaks_https_only(proxy: Proxy) -> None:
    for host in (_OUTSIDE, "127.0.0.1"):
        assert proxy.ask(host, proxy.trusting()) == b"ok"
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            proxy.ask(host, None)


def test_on_one_outer_address_it_speaks_https_only_and_on_loopback_http(
    render: Callable[..., Path], tmp_path: Path
) -> None:
    outer = next((address for address in own_addresses() if ":" not in address), None)
    if outer is None:
        pytest.skip("this machine has no address beside loopback")
    with running_proxy(render, tmp_path, outer) as proxy:
        assert proxy.ask(outer, proxy.trusting()) == b"ok"
        assert proxy.ask("127.0.0.1", None) == b"ok"
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            proxy.ask(outer, None)


def test_a_client_that_prefers_http_2_is_served_too(proxy: Proxy) -> None:
    context = proxy.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])

    with socket.create_connection((_OUTSIDE, proxy.port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=_OUTSIDE) as peer:
            assert peer.selected_alpn_protocol() == "http/1.1"
    assert proxy.ask(_OUTSIDE, context) == b"ok"


def test_whoever_does_not_know_the_authority_does_not_trust_it(proxy: Proxy) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        proxy.ask(_OUTSIDE, ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_2_and_1_3_are_spoken_and_what_is_older_is_not(proxy: Proxy) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = proxy.trusting()
        context.minimum_version = context.maximum_version = version
        assert proxy.ask(_OUTSIDE, context) == b"ok"
    old = proxy.trusting()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        proxy.ask(_OUTSIDE, old)


def test_a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on(proxy: Proxy) -> None:
    before = proxy.shown()
    assert before == proxy.own()
    kept = http.client.HTTPSConnection(_OUTSIDE, proxy.port, timeout=5, context=proxy.trusting())
    kept.request("GET", "/")
    assert kept.getresponse().read() == b"ok"
    proxy.tls.renew("mainpc", time.time(), is_new_key=True)

    assert replace_certificate(proxy.directory, proxy.files()) == 1
    assert replace_certificate(proxy.directory, proxy.files()) == 1

    assert proxy.shown() == proxy.own() != before
    kept.request("GET", "/")
    assert kept.getresponse().read() == b"ok"
    kept.close()


def test_a_certificate_that_the_proxy_refuses_is_told_with_its_reason(proxy: Proxy, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    files = proxy.files().model_copy(update={"certificate": broken})

    with pytest.raises(ClusterError, match="did not take the renewed certificate"):
        replace_certificate(proxy.directory, files)

    assert proxy.shown() == proxy.own()


def test_where_no_proxy_runs_nobody_is_told(proxy: Proxy) -> None:
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as short:
        assert replace_certificate(Path(short), proxy.files()) == 0
        node = Path(short) / "node"
        node.mkdir()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(node / "admin.sock"))
        assert replace_certificate(Path(short), proxy.files()) == 0  # a proxy without TLS
        (node / "ingress.pem").touch()
        assert replace_certificate(Path(short), proxy.files()) == 0  # one that has ended


def test_a_proxy_that_hangs_is_told(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_apps.haproxy.live_certificate._LIMIT_S", 0.05)
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as short:
        node = Path(short) / "node"
        node.mkdir()
        (node / "ingress.pem").touch()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(node / "admin.sock"))
            silent.listen(1)
            with pytest.raises(ClusterError, match="does not answer"):
                replace_certificate(Path(short), proxy.files())
