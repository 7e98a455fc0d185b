"""Ray's own page of figures, which a node serves where it is asked for, has the figures of mail."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.cluster.eventually import eventually
from tests.cluster.system import new_data_dir
from zejzl_ray.cluster.listeners import find_listeners
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


async def test_a_node_that_is_asked_for_figures_serves_those_of_mail_on_loopback() -> None:
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
        finally:
            exporter.communicate(timeout=20)
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
