"""What HTTPS costs at the ingress, against HTTP through the same proxy in front of the same backend.

Starts the real HAProxy with the project's own configuration, as the ingress runs it beyond loopback, in front of a
second HAProxy that answers a small document at once, so that the proxy and not an application is measured. Runs wrk in
turns against

* ``http``: the front on loopback
* ``https``: the front on an outer address of this machine, with a certificate of the cluster's authority (TLS 1.3)

over kept-alive connections, and prints the ratio of neighbouring runs; then the handshakes a second, each on a
connection of its own. Needs ``wrk``. Run it as ``python -m benchmarks.ingress_tls``.
"""

import argparse
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.ingress import _wrk
from benchmarks.report import Row, print_rows, spread
from serve_apps.haproxy.environment import haproxy_environment
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.this_machine import own_addresses
from zejzl_ray.tls.credentials import load_credentials
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import certificate_names

_OUTSIDE = next((address for address in own_addresses() if ":" not in address), "")
_BODY = '{"name":"Agent041","kind":"external","machine":"mainpc","state":"healthy","revision":42}'


def _backend_config(port: int) -> str:
    return (
        "global\n    maxconn 4096\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 5s\n"
        "    timeout client 60s\n    timeout server 60s\n    timeout http-keep-alive 60s\n"
        f"frontend all\n    bind 127.0.0.1:{port}\n"
        f"    http-request return status 200 content-type application/json string '{_BODY}'\n"
    )


def _front_config(directory: Path, port: int, backend_port: int) -> str:
    """Let Ray's own code write the file that the wrapper then edits."""
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        socket_path=str(directory / "admin.sock"),
        server_state_base=str(directory),
        server_state_file=str(directory / "server-state"),
        metrics_socket_path=str(directory / "m.sock"),
        is_head=True,
        metrics_enabled=False,
    )
    config.has_received_routes = True
    config.nbthread = 1
    path = directory / "haproxy.cfg"
    api = HAProxyApi(cfg=config, config_file_path=str(path))
    server = ServerConfig(name="replica", host="127.0.0.1", port=backend_port)
    api.set_backend_configs(
        {"one": BackendConfig(name="one", path_prefix="/", servers=[server], app_name="one")}
    )
    api._generate_config_file_internal()
    return path.read_text().replace("defaults\n", "defaults\n    timeout server 60s\n", 1)


@contextmanager
def _proxies(directory: Path) -> Iterator[tuple[int, Path]]:
    """Yield the port of the front and the file of the authority."""
    tls = TlsDirectory(directory / "tls")
    tls.init(certificate_names("mainpc", (), (_OUTSIDE,)), time.time())
    files = load_credentials(tls.path, "mainpc", time.time()).files
    front, back = free_ports(2, _OUTSIDE)
    environment = dict(os.environ) | haproxy_environment(
        directory, bind_host=_OUTSIDE, tls=files, root=directory
    )
    backend = directory / "backend.cfg"
    backend.write_text(_backend_config(back))
    config = directory / "haproxy.cfg"
    config.write_text(_front_config(directory, front, back))
    commands = (
        [environment["ZEJZL_HAPROXY_BINARY"], "-db", "-f", str(backend)],
        [environment["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config)],
    )
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        for port in (back, front):
            _wait_until_open(port)
        time.sleep(3)  # until the proxy's health check has seen the backend
        yield front, files.authority


def _wait_until_open(port: int) -> None:
    ends_at_s = time.monotonic() + 10
    while time.monotonic() < ends_at_s:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def _handshakes(port: int, authority: Path, seconds: float) -> float:
    """Return new TLS connections a second, one after the other, verified."""
    context = ssl.create_default_context(cafile=authority)
    count, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        with (
            socket.create_connection((_OUTSIDE, port)) as plain,
            context.wrap_socket(plain, server_hostname=_OUTSIDE),
        ):
            count += 1
    return count / (time.perf_counter() - started_s)


def main() -> int:
    """Run the benchmark and print the ratio; it has no bar, the issue asks for the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10, help="interleaved runs of each target")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("wrk is missing: apt-get install wrk\n")
        return 2
    if not _OUTSIDE:
        sys.stderr.write("this machine has no address beside loopback\n")
        return 2
    directory = Path(tempfile.mkdtemp(prefix="zt-", dir="/tmp"))
    rates: dict[str, list[float]] = {"https": [], "http": []}
    handshakes: list[float] = []
    try:
        with _proxies(directory) as (port, authority):
            targets = {"https": f"https://{_OUTSIDE}:{port}/", "http": f"http://127.0.0.1:{port}/"}
            for url in targets.values():
                _wrk(url, "none", 1, arguments.connections)  # warm up
            for number in range(arguments.pairs):
                for name in list(targets)[:: 1 if number % 2 else -1]:
                    rates[name].append(_wrk(targets[name], "none", arguments.seconds, arguments.connections))
                handshakes.append(_handshakes(port, authority, 0.5))
                sys.stderr.write("  ".join(f"{name} {rates[name][-1]:.0f}/s" for name in targets) + "\n")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    ratios = [https / plain for https, plain in zip(rates["https"], rates["http"], strict=True)]
    medians = {name: spread(values).median for name, values in rates.items()}
    rows = [
        Row(
            "requests a second over HTTPS", "x", spread(ratios, "at least"),
            "HTTP through the same proxy to the same backend",
            note=f"{medians['https']:.0f} requests/s against {medians['http']:.0f}",
        ),
        Row("new HTTPS connections", "1/s", spread(handshakes, "at least"), note="one after the other, verified"),
    ]  # fmt: skip
    title = f"HTTPS at the ingress, {arguments.connections} kept-alive connections"
    return 0 if print_rows(title, rows, is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
