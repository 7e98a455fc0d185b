"""Hosts of agents for a benchmark alone: two Ray nodes, the services that hosts need, and the hosts.

Imports Ray late: it reads its environment then.
"""

import asyncio
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.own_cluster import own_cluster
from zejzl_ray.cluster.node_start import MARKER

if TYPE_CHECKING:
    from benchmarks.soak_deadlocks import DeadlockWatch  # it imports Ray

ROOT: Final = Path(__file__).resolve().parents[1]
MACHINES: Final = ("mainpc", "pc2")
CALL_LIMIT_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class AgentToRun:
    """An agent of a host: its name, its class as ``module:Class``, its settings."""

    name: str
    entry: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Host:
    """A running host of agents.

    Args:
        handle: its actor.
        name: of the host.
    """

    def __init__(self, handle: Any, name: str) -> None:
        self._handle = handle
        self.name = name

    def begin(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Let it do a method of ``HostWork``; give what this returns to ``result``."""
        return self._handle.work.remote(method, arguments, options)

    def result(self, reference: Any, limit_s: float = CALL_LIMIT_S) -> Any:
        """Return what the method returned."""
        import ray

        return ray.get(reference, timeout=limit_s)

    def call(self, method: str, *arguments: Any, limit_s: float = CALL_LIMIT_S, **options: Any) -> Any:
        """Let it do a method, and return what it returns."""
        return self.result(self.begin(method, *arguments, **options), limit_s)

    def kill(self) -> None:
        """End its process for good."""
        import ray

        ray.kill(self._handle)


class OwnHosts:
    """The cluster and its services; made by ``own_hosts``.

    Args:
        directory: where everything lies.
        identities: of the cluster.
        cluster_id: by which its processes are found.
        namespace: of the services where they run already; empty: a new one.
    """

    def __init__(self, directory: Path, identities: Any, cluster_id: str, *, namespace: str = "") -> None:
        self.directory = directory
        self.namespace = namespace or f"bench-{secrets.token_hex(4)}"
        self.cluster_id = cluster_id
        self._identities = identities

    async def start_services(self) -> None:
        """Start what hosts need: security gateway, registry, observability hub; without limits of rate."""
        from actors.core_orchestrator import CoreOrchestratorActor
        from actors.observability_hub import ObservabilityHubActor
        from actors.place import ServiceOptions, start_service
        from benchmarks.own_gateway import own_settings, start_gateway
        from zejzl_ray.cluster.topology import PLACES

        _, access = await start_gateway(self.directory, self.namespace, self._identities)
        await access.close()
        actors: dict[str, type[Any]] = {
            "core_orchestrator": CoreOrchestratorActor,
            "observability_hub": ObservabilityHubActor,
        }
        for name, actor in actors.items():
            options = ServiceOptions(
                own_settings(self.directory, self.namespace),
                self._identities.credential_of(f"service:{name}"),
            )
            start_service(actor, PLACES[name], options, namespace=self.namespace)

    def watch_deadlocks(self) -> "DeadlockWatch":
        """Return what asks the hub, in the name of the composition root."""
        from actors.identities import ROOT_SUBJECT
        from benchmarks.soak_deadlocks import DeadlockWatch

        return DeadlockWatch(self.namespace, self._identities.credential_of(ROOT_SUBJECT))

    def start(
        self,
        name: str,
        machine: str,
        agents: tuple[AgentToRun, ...],
        store_url: str = "",
        *,
        actor: type[Any] | None = None,
        is_lasting: bool = False,
    ) -> Host:
        """Start a host that can be measured, on a machine, with its state and outbox in a store of its own.

        Args:
            name: of the host.
            machine: where.
            agents: whom it holds.
            store_url: of its store; empty: a folder of the cluster.
            actor: its class; None: ``MeasuredHostActor``.
            is_lasting: it is started anew when its process dies.
        """
        import ray

        from actors.place import MAX_CONCURRENCY
        from benchmarks.measured_host import MeasuredHostActor
        from benchmarks.own_gateway import own_settings
        from zejzl_ray.cluster.agent_host import AgentHostOptions, HostedAgent
        from zejzl_ray.cluster.names import MACHINE_LABEL, agent_host_name
        from zejzl_ray.contracts.agent_host import SUBJECT_PREFIX

        settings = own_settings(self.directory, self.namespace)
        if store_url:
            settings = settings.model_copy(update={"store_url": store_url})
        options = AgentHostOptions(
            name=name,
            machine=machine,
            settings=settings,
            credential=self._identities.credential_of(f"service:{SUBJECT_PREFIX}{name}"),
            agents=tuple(
                HostedAgent(
                    agent.name,
                    agent.entry,
                    agent.settings,
                    self._identities.credential_of(f"agent:{agent.name}"),
                )
                for agent in agents
            ),
        )
        handle = (
            ray.remote(actor or MeasuredHostActor)
            .options(
                name=agent_host_name(name),
                namespace=self.namespace,
                max_restarts=-1 if is_lasting else 0,
                max_concurrency=MAX_CONCURRENCY,
                enable_task_events=False,  # as the product starts its hosts
                num_cpus=0,
                label_selector={MACHINE_LABEL: machine},
            )
            .remote(options)
        )
        host = Host(handle, name)
        host.call("wait_for_agents", tuple(agent.name for agent in agents))
        return host


@contextmanager
def own_hosts() -> Iterator[OwnHosts]:
    """Start two nodes and the services, connect this process to them, and end everything at the end."""
    if "ray" in sys.modules:
        raise RuntimeError("Ray was imported before its environment was known")
    directory = Path(tempfile.mkdtemp(prefix="zjh-", dir="/tmp"))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    try:
        with own_cluster(MACHINES, cpus=2, extra={"PYTHONPATH": path}) as cluster:
            os.environ.update(cluster.environment)  # before Ray is imported
            import ray

            from actors.identities import ensure_identities

            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            try:
                hosts = OwnHosts(
                    directory, ensure_identities(directory), cluster.environment[MARKER].rpartition("/")[0]
                )
                asyncio.run(hosts.start_services())
                yield hosts
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
