"""Ray's own page of figures, which a node serves where it is asked for, has the figures of mail."""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from tests.cluster.eventually import eventually
from tests.cluster.system import new_data_dir
from zejzl_ray.cluster.listeners import find_listeners
from zejzl_ray.cluster.monitoring import Monitoring
from zejzl_ray.cluster.node_processes import find_node_processes, stop_node
from zejzl_ray.cluster.node_start import NodePorts, NodeRole, NodeStart, client_environment, ray_start_command
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.secret_file import ensure_token

# Hands figures over once, as a host of agents does, and stays until nobody reads any more: Ray sends them every few
# seconds, and forgets those of processes that are gone.
EXPORTER = """
import sys
import ray
from zejzl_ray.cluster.ray_metrics import RayMetricsExport
from zejzl_ray.metrics.figures import MailFigures
from zejzl_ray.metrics.readings import ProcessReadings

ray.init(address=sys.argv[1], log_to_driver=False)
figures = MailFigures()
series = figures.of("Echo", "question")
series.sent[1] += 7
series.received += 7
series.latency.record(0.002)
figures.events.add("loop_blocks_total")
read = lambda: ProcessReadings(queue_depths={"Echo": 3}, agent_states={"Echo": "running"})
RayMetricsExport(figures, read, host="alpha").export()
sys.stdin.read()
"""
WANTED = ("ray_bus_messages_total", "ray_bus_queue_depth", "ray_agent_state", "ray_loop_blocks_total",
          "ray_bus_delivery_latency_seconds")  # fmt: skip


class Beside(BaseHTTPRequestHandler):
    """Prometheus and Grafana in one, as far as the dashboard asks whether they are there."""

    def do_GET(self) -> None:
        """Say that all is well."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"status": "success", "database": "ok"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def beside() -> Iterator[str]:
    """The address of something that answers for Prometheus and Grafana."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Beside) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


async def test_a_node_that_is_asked_for_figures_serves_those_of_mail_on_loopback_and_shows_panels(
    beside: str,
) -> None:
    folder = new_data_dir()
    token = folder / "ray_token"
    ensure_token(token)
    gcs, dashboard, client, metrics = free_ports(4)
    node = NodeStart(
        cluster_id=f"metrics-{secrets.token_hex(4)}",
        machine="mainpc",
        role=NodeRole.HEAD,
        head_address=f"127.0.0.1:{gcs}",
        node_ip="127.0.0.1",
        temp_dir=folder / "r",
        token_path=token,
        cpus=1,
        ports=NodePorts(dashboard=dashboard, ray_client=client, metrics=metrics),
        monitoring=Monitoring(
            prometheus_url=beside, grafana_url=beside, grafana_iframe_url="https://grafana.lan"
        ),
        ray_executable=str(Path(sys.executable).with_name("ray")),
    )
    command = ray_start_command(node)
    own = {key: value for key, value in os.environ.items() if not key.startswith(("ZEJZL_", "RAY_"))}
    try:
        await asyncio.to_thread(
            subprocess.run,
            command.argv,
            env=own | command.environment,
            check=True,
            capture_output=True,
            timeout=120,
        )
        exporter = subprocess.Popen(  # noqa: ASYNC220  returns at once
            [sys.executable, "-c", EXPORTER, node.head_address],
            env=own | client_environment(token, on_loopback=True),
            stdin=subprocess.PIPE,
        )
        page = ""
        try:
            async with httpx2.AsyncClient(timeout=10) as http:

                async def is_shown() -> bool:
                    nonlocal page
                    try:
                        page = (await http.get(f"http://127.0.0.1:{metrics}/metrics")).text
                    except httpx2.TransportError:
                        return False
                    return all(f"\n{name}{{" in page for name in WANTED)

                await eventually(is_shown, within_s=60, what=f"all of {WANTED} are on Ray's page")
                http.headers["Authorization"] = f"Bearer {token.read_text().strip()}"
                asked = f"http://127.0.0.1:{dashboard}/api"
                prometheus = (await http.get(f"{asked}/prometheus_health")).json()
                grafana = (await http.get(f"{asked}/grafana_health")).json()
        finally:
            exporter.communicate(timeout=20)
        assert (prometheus["result"], grafana["result"]) == (True, True)
        assert grafana["data"]["grafanaHost"] == "https://grafana.lan"
        line = next(line for line in page.splitlines() if line.startswith("ray_bus_messages_total{"))
        assert 'type="question"' in line
        assert line.endswith(" 7.0")
        assert 'agent="Echo"' in next(
            line for line in page.splitlines() if line.startswith("ray_bus_queue_depth{")
        )
        served = [one for one in find_listeners(find_node_processes(node.cluster_id)) if one.port == metrics]
        assert {one.address for one in served} == {"127.0.0.1"}
    finally:
        assert stop_node(node.cluster_id).left == ()
        shutil.rmtree(folder, ignore_errors=True)
