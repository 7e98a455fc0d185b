"""Write deploy/compose.yaml, deploy/prometheus.yml and deploy/kuberay.yaml from one set of values.

Ports are those of the settings, so that they cannot drift apart. ``--check`` writes nothing and ends with 1 when a file
is stale.
"""

import sys
from pathlib import Path
from typing import Any, Final

import yaml

from zejzl_ray.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[1]
DEPLOY: Final = ROOT / "deploy"
RAY_VERSION: Final = "2.60.0"
HEAD: Final = "172.30.7.11"
WORKER: Final = "172.30.7.12"
PROMETHEUS: Final = "172.30.7.13"
SUBNET: Final = "172.30.7.0/24"
REDIS_PORT: Final = 6380
PROMETHEUS_PORT: Final = 9090
GCS_PORT: Final = 6379
DASHBOARD_PORT: Final = 8265
_OWN: Final = "/machines/own"
_ENTRYPOINT: Final = "/usr/local/lib/zejzl/entrypoint.sh"
_SETTINGS: Final = Settings.model_construct()
_MADE: Final = "# Made by tools/generate_deploy.py (`make docs`); edit that.\n"
_COMPOSE_HEADER: Final = f"""{_MADE}#
# The whole system in containers on one computer: Redis and the head (together they are MainPC), a worker (PC2),
# Prometheus.
#
#     docker compose -f deploy/compose.yaml up -d --build
#     docker compose -f deploy/compose.yaml exec head zejzl status
#     docker compose -f deploy/compose.yaml down            # --volumes removes the state too
#
# The ingress is https://127.0.0.1:7000 of this computer; its token is in /machines/own/token of the head, the
# authority in /machines/own/tls/ca.pem. docs/deployment.md says what was tried.
"""
_KUBERAY_HEADER: Final = f"""{_MADE}#
# NOT TRIED on a cluster: made from the same values as compose.yaml and checked against Kubernetes' own schemas and the
# fields of the KubeRay operator's RayCluster (ray.io/v1), no more. docs/deployment.md says what has to be there first:
# the image, the secret zejzl-secrets, and a network policy, since TLS is off here: pods have no addresses beforehand.
"""
_PROMETHEUS_HEADER: Final = f"""{_MADE}#
# Ray's own figures of both machines, which need no token; those of the services need one: docs/operations.md, "Health".
"""


def compose() -> dict[str, Any]:
    """Return the compose file."""
    # Services run on either machine with the settings of the head, so the path is the same on both.
    data = {"mainpc": f"mainpc:{_OWN}", "pc2": f"pc2:{_OWN}"}
    addresses = {"HEAD_ADDRESS": HEAD, "WORKER_ADDRESS": WORKER}
    of_node = {"ZEJZL_RAY_METRICS": "true", **addresses}
    image = {"image": "zejzl-ray:local", "init": True, "restart": "unless-stopped"}
    return {
        "name": "zejzl",
        "services": {
            "init": {
                **image,
                "build": {"context": "..", "dockerfile": "deploy/container/Dockerfile"},
                "command": ["init"],
                "restart": "no",
                "environment": addresses,
                "volumes": ["mainpc:/machines/mainpc", "pc2:/machines/pc2"],
            },
            "redis": {
                **image,
                "command": ["redis"],
                "environment": {"ZEJZL_DATA_DIR": _OWN, **addresses},
                "volumes": [data["mainpc"], "redis:/var/lib/zejzl-redis"],
                "depends_on": {"init": {"condition": "service_completed_successfully"}},
                "networks": {"cluster": {"ipv4_address": HEAD}},
                # The head has its network, and so its ports.
                "ports": [f"127.0.0.1:{_SETTINGS.http_port}:{_SETTINGS.http_port}"],
                "stop_grace_period": "60s",
                "healthcheck": _health("redis", start_period="30s"),
            },
            "head": {
                **image,
                "command": ["head"],
                "network_mode": "service:redis",
                "environment": {
                    "ZEJZL_DATA_DIR": _OWN,
                    "ZEJZL_STORE_URL": f"rediss://{HEAD}:{REDIS_PORT}",
                    "ZEJZL_BIND_HOST": HEAD,
                    "ZEJZL_PROMETHEUS_URL": f"http://{PROMETHEUS}:{PROMETHEUS_PORT}",
                    **of_node,
                },
                "volumes": [data["mainpc"]],
                "depends_on": {"redis": {"condition": "service_healthy"}},
                "shm_size": "1gb",
                "stop_grace_period": "60s",
                "healthcheck": _health("node", start_period="120s"),
            },
            "worker": {
                **image,
                "command": ["worker"],
                "environment": {"ZEJZL_DATA_DIR": _OWN, **of_node},
                "volumes": [data["pc2"]],
                "depends_on": {"head": {"condition": "service_healthy"}},
                "networks": {"cluster": {"ipv4_address": WORKER}},
                "shm_size": "1gb",
                "stop_grace_period": "60s",
                "healthcheck": _health("node", start_period="120s"),
            },
            "prometheus": {
                "image": "prom/prometheus:v3.5.0",
                "restart": "unless-stopped",
                "volumes": ["./prometheus.yml:/etc/prometheus/prometheus.yml:ro", "prometheus:/prometheus"],
                "networks": {"cluster": {"ipv4_address": PROMETHEUS}},
                "ports": [f"127.0.0.1:{PROMETHEUS_PORT}:{PROMETHEUS_PORT}"],
                "healthcheck": {
                    "test": ["CMD", "wget", "-q", "-O", "-", f"http://127.0.0.1:{PROMETHEUS_PORT}/-/ready"],
                    "interval": "10s",
                    "timeout": "5s",
                    "retries": 6,
                    "start_period": "20s",
                },
            },
        },
        "networks": {"cluster": {"ipam": {"config": [{"subnet": SUBNET}]}}},
        "volumes": {name: {} for name in ("mainpc", "pc2", "redis", "prometheus")},
    }


def prometheus() -> dict[str, Any]:
    """Return Prometheus' configuration for the compose file."""
    return {
        "global": {"scrape_interval": "10s"},
        "scrape_configs": [
            {
                "job_name": "ray",
                "static_configs": [
                    {"targets": [f"{HEAD}:{_SETTINGS.ray_metrics_port}"], "labels": {"machine": "mainpc"}},
                    {"targets": [f"{WORKER}:{_SETTINGS.ray_metrics_port}"], "labels": {"machine": "pc2"}},
                ],
            }
        ],
    }


def kuberay() -> list[dict[str, Any]]:
    """Return the documents for the KubeRay operator: Redis with its service, and the cluster."""
    return [_redis_service(), _redis_set(), _ray_cluster()]


def _ray_cluster() -> dict[str, Any]:
    common: list[dict[str, Any]] = [
        {"name": "ZEJZL_DATA_DIR", "value": _OWN},
        {"name": "ZEJZL_RAY_TLS", "value": "off"},
        {"name": "ZEJZL_STORE_URL", "value": f"redis://zejzl-redis:{REDIS_PORT}"},
        {"name": "OWN_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    # The operator waits with `ray health-check` before it starts a worker, in the same environment; the control store
    # answers nobody without the token.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/secrets/ray_token"}
    of_worker = [*common, *({"name": name, "value": value} for name, value in token.items())]
    # Copied, since a volume of secrets is readable by the group, which is refused.
    copied = " ".join(f"/secrets/{name}" for name in ("ray_token", "security_key", "redis_password"))
    start = f"install -m 600 {copied} $ZEJZL_DATA_DIR/ && zejzl node start"
    keep = "&& exec zejzl node run"
    head = f"{start} --head --machine mainpc --node-ip $OWN_ADDRESS {keep}"
    worker = f"{start} --machine pc2 --node-ip $OWN_ADDRESS --address $FQ_RAY_IP {keep}"
    # The operator leaves these commands alone: `zejzl node start` is what starts Ray, on every kind of machine.
    metadata = {"annotations": {"ray.io/overwrite-container-cmd": "true"}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "zejzl", **metadata},
        "spec": {
            "rayVersion": RAY_VERSION,
            "enableInTreeAutoscaling": False,
            "headGroupSpec": {
                "serviceType": "ClusterIP",
                "rayStartParams": {},
                "template": _pod("head", head, common, _head_ports()),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "pc2",
                    "replicas": 1,
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "rayStartParams": {},
                    "template": _pod("worker", worker, of_worker, []),
                }
            ],
        },
    }


def _head_ports() -> list[dict[str, Any]]:
    named = {"gcs-server": GCS_PORT, "client": _SETTINGS.ray_client_port}
    return [{"name": name, "containerPort": port} for name, port in named.items()]


def _pod(
    name: str, command: str, environment: list[dict[str, Any]], ports: list[dict[str, Any]]
) -> dict[str, Any]:
    probe = {"exec": {"command": [_ENTRYPOINT, "healthy", "node"]}, "periodSeconds": 15, "timeoutSeconds": 10}
    container: dict[str, Any] = {
        "name": f"ray-{name}",
        "image": "zejzl-ray:local",
        "command": ["/bin/sh", "-c"],
        "args": [command],
        "env": environment,
        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": _OWN},
            {"name": "secrets", "mountPath": "/secrets", "readOnly": True},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
        "startupProbe": {**probe, "failureThreshold": 20},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "failureThreshold": 20},
    }
    if ports:
        container["ports"] = ports
    return {
        "spec": {
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            "containers": [container],
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "secrets", "secret": {"secretName": "zejzl-secrets", "defaultMode": 0o400}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            ],
        }
    }


def _redis_service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "zejzl-redis"},
        "spec": {
            "selector": {"app": "zejzl-redis"},
            "ports": [{"port": REDIS_PORT, "targetPort": REDIS_PORT}],
        },
    }


def _redis_set() -> dict[str, Any]:
    command = (
        f"exec redis-server --port {REDIS_PORT} --dir /data --appendonly yes --appendfsync always --save '' "
        "--maxmemory-policy noeviction --include /secrets/redis_auth.conf"
    )
    labels = {"app": "zejzl-redis"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "zejzl-redis"},
        "spec": {
            "serviceName": "zejzl-redis",
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
                    "containers": [
                        {
                            "name": "redis",
                            "image": "zejzl-ray:local",
                            "command": ["/bin/sh", "-c"],
                            "args": [command],
                            "ports": [{"name": "redis", "containerPort": REDIS_PORT}],
                            "readinessProbe": {"tcpSocket": {"port": REDIS_PORT}, "periodSeconds": 10},
                            "volumeMounts": [
                                {"name": "data", "mountPath": "/data"},
                                {"name": "secrets", "mountPath": "/secrets", "readOnly": True},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "secrets", "secret": {"secretName": "zejzl-secrets", "defaultMode": 0o400}}
                    ],
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "5Gi"}},
                    },
                }
            ],
        },
    }


def _health(part: str, start_period: str) -> dict[str, Any]:
    return {
        "test": ["CMD", _ENTRYPOINT, "healthy", part],
        "interval": "15s",
        "timeout": "10s",
        "retries": 4,
        "start_period": start_period,
    }


class _Plain(yaml.SafeDumper):
    """Writes every value in full: an anchor says less to a reader than the lines it saves."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is an alias."""
        return True


def texts() -> dict[Path, str]:
    """Return every file with its text."""
    return {
        DEPLOY / "compose.yaml": _COMPOSE_HEADER + _dump([compose()]),
        DEPLOY / "prometheus.yml": _PROMETHEUS_HEADER + _dump([prometheus()]),
        DEPLOY / "kuberay.yaml": _KUBERAY_HEADER + _dump(kuberay()),
    }


def _dump(documents: list[dict[str, Any]]) -> str:
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=110)


def stale() -> list[Path]:
    """Return the files that are not what they should be."""
    return [
        path
        for path, text in texts().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write the files, or with ``--check`` say which are stale."""
    if "--check" in sys.argv[1:]:
        found = stale()
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale: run make docs", file=sys.stderr)
        return 1 if found else 0
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
