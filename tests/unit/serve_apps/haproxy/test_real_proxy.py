"""The edited file in the real HAProxy, in front of a small server."""

import json
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from serve_apps.haproxy.environment import haproxy_environment
from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, Problem


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that arrived; /broken/STATUS with that status as plain text."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/broken/") else 200
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if status >= 400 else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class QuietServer(ThreadingHTTPServer):
    """HAProxy's health checks end their connections early, which is no error here."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def backend() -> Iterator[ThreadingHTTPServer]:
    server = QuietServer(("127.0.0.1", 0), Echo)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


@contextmanager
def running_proxy(config: Path, port: int, data_dir: Path) -> Iterator[httpx2.Client]:
    # the time-outs come from the environment of Ray's processes, which this one has not got
    config.write_text(config.read_text().replace("defaults\n", "defaults\n    timeout server 5s\n", 1))
    # pytest's own directories are too long for HAProxy's sockets
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as short:
        environment = haproxy_environment(data_dir, max_body_bytes=1000, root=Path(short))
        process = subprocess.Popen(
            [environment["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(config)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_open(port, process)
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            process.kill()
            process.wait()


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_at_s = time.monotonic() + 10
    while time.monotonic() < ends_at_s:
        assert process.poll() is None, "the proxy did not start"
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the proxy does not listen")


def problem_of(response: httpx2.Response, status: int) -> Problem:
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(response.content)
    assert problem.request_id == response.headers["x-request-id"]
    return problem


def test_headers_from_outside_do_not_steer_the_cluster(
    render: Callable[..., Path], backend: ThreadingHTTPServer, tmp_path: Path
) -> None:
    port = free_port()
    with running_proxy(render(port=port, server_port=backend.server_port), port, tmp_path) as client:
        seen = client.get("/v1/agents", headers={"x-forwarded-for": "203.0.113.9", "forwarded": "for=x"})
        assert seen.json()["x-forwarded-for"] == "127.0.0.1"
        assert "forwarded" not in seen.json()
        assert "server" not in seen.headers
        steering = {"x-request-timeout-seconds": "0", "x-request-disconnect-disabled": "?1"}
        assert not steering.keys() & client.get("/", headers=steering).json().keys()


def test_every_request_has_one_valid_id(
    render: Callable[..., Path], backend: ThreadingHTTPServer, tmp_path: Path
) -> None:
    port = free_port()
    with running_proxy(render(port=port, server_port=backend.server_port), port, tmp_path) as client:
        mine = client.get("/", headers={"x-request-id": "mine-1"})
        assert mine.json()["x-request-id"] == mine.headers["x-request-id"] == "mine-1"
        for wrong in ("bad id", "x" * 129, "a,b", "-a"):
            made = client.get("/", headers={"x-request-id": wrong})
            assert made.json()["x-request-id"] == made.headers["x-request-id"] != wrong


def test_serves_own_paths_and_bodies_without_bounds_are_refused(
    render: Callable[..., Path], backend: ThreadingHTTPServer, tmp_path: Path
) -> None:
    port = free_port()
    with running_proxy(render(port=port, server_port=backend.server_port), port, tmp_path) as client:
        for path in ("/-/routes", "/-/healthz", "/%2d/routes", "/%2D%2Fhealthz", "/-/HEALTHZ"):
            assert problem_of(client.get(path), 404).code == "route_not_found"
        assert problem_of(client.post("/", content=b"x" * 1001), 413).code == "payload_too_large"
        assert problem_of(client.post("/", content=iter([b"x"])), 411).code == "length_required"


def test_plain_failures_of_serve_become_problem_documents(
    render: Callable[..., Path], backend: ThreadingHTTPServer, tmp_path: Path
) -> None:
    port = free_port()
    with running_proxy(render(port=port, server_port=backend.server_port), port, tmp_path) as client:
        for status in (408, 500, 502, 503, 504):
            assert problem_of(client.get(f"/broken/{status}"), status).detail
        # Serve without an application yet: nobody shall think that what was asked for does not exist
        early = client.get("/broken/404")
        assert problem_of(early, 503).code == "service_unavailable"
        assert early.headers["retry-after"] == "1"
        assert client.get("/broken/503").headers["retry-after"] == "1"
        assert client.get("/broken/409").text.startswith("{")  # not one that the proxy or Serve makes


def test_without_a_replica_the_proxy_answers_503_by_itself(
    render: Callable[..., Path], tmp_path: Path
) -> None:
    port = free_port()
    config = render(port=port, server_port=free_port())
    with running_proxy(config, port, tmp_path) as client:
        away = client.get("/")
        assert problem_of(away, 503).code == "service_unavailable"
        assert away.headers["retry-after"] == "1"
    assert config.read_text().startswith("# edited by zejzl-ray\n")
    assert list(config.parent.glob("*.draft")) == []


def test_without_an_application_nothing_is_unknown_but_everything_unavailable(
    render: Callable[..., Path], tmp_path: Path
) -> None:
    port = free_port()
    with running_proxy(render(port=port, server_port=None), port, tmp_path) as client:
        assert problem_of(client.get("/v1/agents"), 503).code == "service_unavailable"
