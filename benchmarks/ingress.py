"""How fast one agent is read over HTTP, against a plain FastAPI route on the same Serve.

Starts a Ray cluster of its own with the ingress behind HAProxy and, beside it in the same Serve with the same
deployment options, a FastAPI application whose one route answers the same bytes. Runs wrk in turns against

* ``ingress``: GET /v1/agents/NAME with an access token, checked with scope and rate, through HAProxy
* ``baseline``: the FastAPI route, through HAProxy
* ``default proxy``: GET /v1/agents/NAME with the token, through Serve's default proxy, which Serve keeps
running
  behind HAProxy as its fallback

and prints the ratios of neighbouring runs. Needs ``wrk``. Run it as ``python -m benchmarks.ingress``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.own_cluster import own_cluster
from benchmarks.report import Row, print_rows, spread
from serve_apps.haproxy.environment import haproxy_directory, haproxy_environment
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.health import ServiceHealth

NAMESPACE = "ingress-benchmark"
AGENT = "Agent041"


def _agents() -> tuple[wire.Agent, ...]:
    return tuple(
        wire.Agent(
            name=f"Agent{number:03}",
            kind=wire.AgentKind.EXTERNAL,
            machine="mainpc" if number % 2 else "pc2",
            host="127.0.0.1",
            port=8000 + number,
            capabilities=("chat", "search", "vision"),
            dependencies=("Agent000",) if number else (),
            metadata={"group": f"group {number % 7}", "priority": number % 3},
            state=wire.AgentState.HEALTHY,
            state_since_s=1_700_000_000.0,
            registered_at_s=1_700_000_000.0,
            last_seen_at_s=1_700_000_100.0,
            revision=number + 1,
        )
        for number in range(82)
    )


class StillRegistry:
    """An orchestrator whose registry does not change; only the replica's watch reaches it."""

    def __init__(self) -> None:
        self._agents = _agents()

    async def get_snapshot(self, request: Any, call: Any) -> wire.RegistrySnapshot:
        """Return 82 agents."""
        return wire.RegistrySnapshot(agents=self._agents, machines=(), revision=82, boot="1")

    async def watch_agents(self, request: Any, call: Any) -> wire.WatchBatch:
        """Wait, and report no change."""
        import asyncio

        await asyncio.sleep(request.timeout_s)
        return wire.WatchBatch(events=(), revision=82)

    async def list_machines(self, request: Any, call: Any) -> wire.MachineList:
        """Return no machines."""
        return wire.MachineList(machines=())

    async def health(self, request: Any, call: Any) -> ServiceHealth:
        """Be well."""
        return ServiceHealth(service="core_orchestrator", is_ready=True)


def _deploy(address: str, directory: Path, http_port: int, replicas: int) -> str:
    """Start everything and return the access token that the ingress takes."""
    import asyncio

    import ray
    from fastapi import FastAPI, Response
    from ray import serve

    from actors.identities import ensure_identities
    from benchmarks.own_gateway import start_gateway
    from serve_apps.ingress import DEPLOYMENT_OPTIONS, IngressOptions, start_ingress

    root = str(Path(__file__).resolve().parents[1])
    for attempt in range(60):
        try:
            ray.init(
                address,
                namespace=NAMESPACE,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": root}},
            )
            break
        except ConnectionError:
            if attempt == 59:
                raise
            time.sleep(0.5)
    registry = ray.remote(StillRegistry).options(name="core_orchestrator", num_cpus=0).remote()
    body = next(agent for agent in _agents() if agent.name == AGENT).model_dump_json().encode()
    identities = ensure_identities(directory)

    async def gateway() -> tuple[Any, str]:
        handle, access = await start_gateway(directory, NAMESPACE, identities)
        token = (await access.tokens.token()).get_secret_value()
        await access.close()
        return handle, token

    handle, token = asyncio.run(gateway())
    start_ingress(
        IngressOptions(
            credential_file=identities.ingress_file,
            http_port=http_port,
            replicas=replicas,
            namespace=NAMESPACE,
        )
    )

    def build_baseline() -> FastAPI:
        app = FastAPI()

        @app.get("/agents/{name}")
        async def get_agent(name: str) -> Response:
            return Response(body, media_type="application/json")

        return app

    class Baseline:
        pass

    deployment: Any = serve.deployment(name="Baseline", num_replicas=replicas, **DEPLOYMENT_OPTIONS)(
        serve.ingress(build_baseline)(Baseline)
    )
    serve.run(deployment.bind(), name="baseline", route_prefix="/baseline")
    globals()["_keep"] = (registry, handle)  # an actor lives as long as its handle
    return token


def _wrk(url: str, token: str, seconds: float, connections: int) -> float:
    """Return requests a second."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "-H",
        f"Authorization: Bearer {token}",
        url,
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{url} did not answer well:\n{output}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    if found is None:
        raise SystemExit(f"wrk said:\n{output}")
    return float(found[1])


def main() -> int:
    """Run the benchmark and print the ratios; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10, help="interleaved runs of each target")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("wrk is missing: apt-get install wrk\n")
        return 2
    directory = Path(tempfile.mkdtemp(prefix="zi-", dir="/tmp"))
    proxy_environment = haproxy_environment(directory)
    http_port = free_ports(1)[0]
    try:
        with own_cluster(("mainpc",), cpus=2, extra=proxy_environment) as cluster:
            os.environ.update(cluster.environment)  # before ray is imported
            token = _deploy(cluster.address, directory, http_port, arguments.replicas)
            fallback_port = proxy_environment["RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"]
            targets = {
                "ingress": f"http://127.0.0.1:{http_port}/v1/agents/{AGENT}",
                "baseline": f"http://127.0.0.1:{http_port}/baseline/agents/{AGENT}",
                "default proxy": f"http://127.0.0.1:{fallback_port}/v1/agents/{AGENT}",
            }
            rates = _measure(targets, token, arguments)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(haproxy_directory(directory), ignore_errors=True)
    rows = [
        _row(rates, "baseline", "a FastAPI route in the same mode, same replicas and bytes", 0.85),
        _row(rates, "default proxy", "the same route through Serve's default proxy", 3.0),
    ]
    title = f"authenticated GET /v1/agents/{{name}}, {arguments.connections} connections"
    return 0 if print_rows(title, rows, is_json=arguments.json) else 1


def _measure(targets: dict[str, str], token: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    for url in targets.values():
        _wrk(url, token, 2, arguments.connections)  # warm up
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(arguments.pairs):
        # turned round every time, so that no target always follows the same other
        for name in list(targets)[:: 1 if number % 2 else -1]:
            rates[name].append(_wrk(targets[name], token, arguments.seconds, arguments.connections))
        sys.stderr.write("  ".join(f"{name} {rates[name][-1]:.0f}/s" for name in targets) + "\n")
    return rates


def _row(rates: dict[str, list[float]], other: str, baseline: str, bar: float) -> Row:
    ratios = [own / theirs for own, theirs in zip(rates["ingress"], rates[other], strict=True)]
    note = f"{spread(rates['ingress']).median:.0f} requests/s against {spread(rates[other]).median:.0f}"
    return Row("requests a second", "x", spread(ratios, "at least"), baseline, bar, "at least", note)


if __name__ == "__main__":
    sys.exit(main())
