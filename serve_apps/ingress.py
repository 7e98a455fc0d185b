"""The ingress on Ray Serve: one deployment, its options in one place, and how it is started and stopped."""

import time
from pathlib import Path
from typing import Any, Final

import ray
from fastapi import FastAPI
from pydantic import Field
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import ApplicationStatus, LoggingConfig

from serve_apps.app import create_app
from serve_apps.config import IngressConfig
from serve_apps.door import GatewayDoor
from serve_apps.registry_replica import RegistryReplica
from serve_apps.replica_port import close_replica_port
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.names import INGRESS_APP, MACHINE_LABEL, NAMESPACE
from zejzl_ray.cluster.secret_file import read_secret
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.errors import ClusterError
from zejzl_ray.ids import new_id
from zejzl_ray.log import configure_logging, files_of
from zejzl_ray.settings import LogSettings

# Replicas listen on loopback only, so they must run beside the proxy, which is on the head node.
_HEAD_NODE: Final = "node:__internal_head__"
DEPLOYMENT_OPTIONS: Final[dict[str, Any]] = {
    "ray_actor_options": {"num_cpus": 0.1, "resources": {_HEAD_NODE: 0.001}},
    # watchers hold a place each; Serve itself drops nothing unless the queue has a bound
    "max_ongoing_requests": 256,
    "max_queued_requests": 512,
    "health_check_period_s": 5,
    "health_check_timeout_s": 10,
    "graceful_shutdown_wait_loop_s": 0.5,
    "graceful_shutdown_timeout_s": 5,
    # the application counts its requests itself
    "logging_config": LoggingConfig(enable_access_log=False),
}


class IngressOptions(Contract):
    """How the ingress runs.

    The address for the outside is not here: Serve always listens on loopback, and the proxy's wrapper opens
    the address that ``haproxy_environment`` was given.
    """

    credential_file: Path = Field(description="the ingress' credential on the head node's machine; mode 0600")
    is_auth_required: bool = Field(default=True, description="false lets requests without a token pass")
    http_port: int = Field(default=7000, ge=1, le=65535)
    replicas: int = Field(default=1, ge=1, le=64)
    namespace: str = NAMESPACE
    config: IngressConfig = IngressConfig()
    logs: LogSettings | None = Field(default=None, description="null leaves logging as Serve has it")


def build_ingress(options: IngressOptions) -> serve.Application:
    """Return the Serve application; the HTTP application itself is built inside each replica."""

    def build_app() -> FastAPI:
        close_replica_port()
        if options.logs is not None:
            machine = str(ray.get_runtime_context().get_node_labels().get(MACHINE_LABEL, ""))
            files = files_of(options.logs, machine)
            configure_logging(options.logs.level, service="ingress", machine=machine, files=files)
        clock = SystemClock()
        credential = read_secret(
            options.credential_file, what="ingress credential", remedy="`zejzl up` writes it."
        )
        access = GatewayAccess(options.namespace, credential, clock, timeout_s=options.config.max_timeout_s)
        chain = f"ingress.{new_id('replica')}"
        security = ProcessSecurity(
            "ingress",
            chain,
            access.ports(RemoteAuditSink(access.audit.record)),
            clock,
            SecurityOptions(is_required=options.is_auth_required),
        )
        # The replica follows the registry under the ingress' own name; requests go on under their callers' names.
        replica = RegistryReplica(access.caller, clock, options.config, CallContext)
        door = GatewayDoor(security, access)
        return create_app(access.actors, replica, options.config, clock, door)

    deployment: Any = serve.deployment(name="Ingress", num_replicas=options.replicas, **DEPLOYMENT_OPTIONS)(
        serve.ingress(build_app)(_ingress_class())
    )
    application: serve.Application = deployment.bind()
    return application


def _ingress_class() -> type:
    class Ingress:
        """The replica; Serve adds the ASGI side."""

        app: FastAPI

        def check_health(self) -> None:
            """Let Serve replace a replica that has stopped following the registry."""
            if not self.app.state.replica.is_following:
                raise RuntimeError("the replica does not follow the registry any more")

    return Ingress


def start_ingress(options: IngressOptions, *, timeout_s: float = 120.0) -> None:
    """Start Serve and the ingress; returns when a replica takes requests.

    Safe to repeat: a running ingress is updated.

    Needs a connection to the cluster, whose Ray processes were started with ``haproxy_environment``. Blocks
    for some seconds: call it outside an event loop.

    Raises:
        ClusterError: no replica runs after ``timeout_s``, or none can be started; says why.
    """
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host="127.0.0.1", port=options.http_port),
    )
    # Not ``serve.run``: it would wait for ever for a replica that finds no place.
    target = serve.RunTarget(target=build_ingress(options), name=INGRESS_APP, route_prefix="/")
    serve.run_many([target], wait_for_applications_running=False)
    wait_until_running(timeout_s)


def wait_until_running(timeout_s: float, *, pause_s: float = 0.1) -> None:
    """Wait until Serve calls the ingress running; blocks.

    Raises:
        ClusterError: it is not after ``timeout_s``, or it never will be; says what Serve says.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = serve.status().applications.get(INGRESS_APP)
        state = "absent" if found is None else str(found.status.value)
        if state == ApplicationStatus.RUNNING.value:
            return
        if state == ApplicationStatus.DEPLOY_FAILED.value or time.monotonic() >= deadline_s:
            said = "" if found is None else found.message.strip().partition("\n")[0]
            raise ClusterError(
                f"The ingress does not run: {state}{': ' if said else ''}{said}",
                "See Serve's page of the dashboard.",
            )
        time.sleep(pause_s)
