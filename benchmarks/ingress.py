"""How fast one agent is read over HTTP, against a plain FastAPI route on the same Serve.

Starts a Ray cluster of its own with the ingress behind HAProxy and, beside it in the same Serve with the same
deployment options, a FastAPI application whose one route answers the same bytes. Runs wrk in turns against

* ``ingress``: GET /v1/agents/NAME with the bearer token, through HAProxy
* ``baseline``: the FastAPI route, through HAProxy
* ``default proxy``: GET /v1/agents/NAME with the token, through Serve's default proxy, which Serve keeps
running
  behind HAProxy as its fallback

and prints the ratios of neighbouring runs. Needs ``wrk``. Run it as ``python -m benchmarks.ingress``.
"""

import argparse
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serve_apps.haproxy.environment import haproxy_environment
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


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def _cluster(directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a head node of its own; yields its address. Ends only what it started."""
    port = _free_port()
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={port}",
        "--node-ip-address=127.0.0.1", f"--temp-dir={directory / 'r'}", "--num-cpus=2", "--num-gpus=0",
        "--include-dashboard=false", f"--ray-client-server-port={_free_port()}",
        f"--dashboard-agent-listen-port={_free_port()}", "--object-store-memory=100000000",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _deploy(address: str, token_file: Path, http_port: int, replicas: int) -> bytes:
    import ray
    from fastapi import FastAPI, Response
    from ray import serve

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
    start_ingress(
        IngressOptions(token_file=token_file, http_port=http_port, replicas=replicas, namespace=NAMESPACE)
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
    globals()["_keep"] = registry  # the actor lives as long as its handle
    return body


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


def _report(name: str, ratios: list[float], bar: float) -> None:
    low, median, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    print(
        f"{name}: median {median:.2f}, quartiles {low:.2f} to {high:.2f}, worst {min(ratios):.2f} "
        f"of {len(ratios)} pairs; bar >= {bar}"
    )


def main() -> None:
    """Run the benchmark and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=1)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    directory = Path(tempfile.mkdtemp(prefix="zi-", dir="/tmp"))
    token = secrets.token_urlsafe(32)
    token_file = directory / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(token)
    environment = haproxy_environment(directory) | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(directory / "ray-token"),
    }
    ray_token = directory / "ray-token"
    ray_token.touch(mode=0o600)
    ray_token.write_text(secrets.token_hex(32))
    os.environ.update(environment)  # before ray is imported
    http_port = _free_port()
    try:
        with _cluster(directory, environment) as address:
            _deploy(address, token_file, http_port, arguments.replicas)
            proxy = f"http://127.0.0.1:{http_port}"
            fallback = f"http://127.0.0.1:{environment['RAY_SERVE_FALLBACK_PROXY_HTTP_PORT']}"
            targets = {
                "ingress": f"{proxy}/v1/agents/{AGENT}",
                "baseline": f"{proxy}/baseline/agents/{AGENT}",
                "default proxy": f"{fallback}/v1/agents/{AGENT}",
            }
            for url in targets.values():
                _wrk(url, token, 2, arguments.connections)  # warm up
            rates: dict[str, list[float]] = {name: [] for name in targets}
            for number in range(arguments.pairs):
                # turned round every time, so that no target always follows the same other
                order = list(targets)[:: 1 if number % 2 else -1]
                for name in order:
                    rates[name].append(_wrk(targets[name], token, arguments.seconds, arguments.connections))
                print("  ".join(f"{name} {rates[name][-1]:.0f}/s" for name in targets), flush=True)
            for other, bar in (("baseline", 0.85), ("default proxy", 3.0)):
                ratios = [own / theirs for own, theirs in zip(rates["ingress"], rates[other], strict=True)]
                _report(f"ingress / {other}", ratios, bar)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(Path(environment["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"]), ignore_errors=True)


if __name__ == "__main__":
    main()
