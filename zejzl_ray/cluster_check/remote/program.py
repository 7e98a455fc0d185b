"""The program that answers on each machine; sent there through ssh, so it needs Python 3.8 and its library only.

One question comes in as a line of JSON, one answer goes out as a line of JSON behind a marker, since a login
shell may write whatever it likes before. It ends with its standard input. It changes nothing on the machine;
the ports it listens on are closed when it ends. No secret leaves the machine: files are compared by keyed
digests, with a key that is new for each check.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict

from zejzl_ray.cluster_check.remote.files import (
    current_release,
    data_directory,
    disks,
    secret_files,
    tls_files,
)
from zejzl_ray.cluster_check.remote.network import Listeners, connect_all
from zejzl_ray.cluster_check.remote.node import boot_age_s, node
from zejzl_ray.cluster_check.remote.programs import gpus, programs, shell_time_s
from zejzl_ray.cluster_check.remote.services import ask_ray, ask_redis, ask_services

MARKER = "ZEJZL-CHECK:"
_SETTINGS = (
    "ENVIRONMENT", "STORE_URL", "RAY_TLS", "RAY_PORT", "DASHBOARD_PORT", "BIND_HOST", "HTTP_PORT",
    "RESOURCE_MANAGER_PORT", "OBSERVABILITY_PORT", "ERROR_BUS_PORT", "SECURITY_PORT", "GPU_CARDS", "VRAM_MIB",
    "SIMULATED_GPUS", "OBJECT_STORE_MIB", "CPUS", "RAY_NODE_MANAGER_PORT", "RAY_OBJECT_MANAGER_PORT",
    "RAY_AGENT_GRPC_PORT", "RAY_AGENT_HTTP_PORT", "RAY_WORKER_PORTS", "MAIL_PORTS",
)  # fmt: skip


def main() -> None:
    """Answer questions until there are no more."""
    listeners = Listeners()
    answers = {
        "clock": lambda _: {"time_s": time.time()},
        "date": lambda _: {"time_s": shell_time_s()},
        "facts": facts,
        "listen": listeners.listen,
        "connect": connect_all,
        "redis": ask_redis,
        "ray": ask_ray,
        "services": ask_services,
    }
    for line in sys.stdin:
        if not line.strip():
            continue
        question = json.loads(line)
        try:
            answer = answers[question["ask"]](question)
        except Exception as error:  # whatever it is, the one who asks hears of it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(MARKER + json.dumps(answer) + "\n")
        sys.stdout.flush()
    listeners.close()


def facts(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return everything about this machine that needs no other one; takes some seconds where Ray is slow to start."""
    data_dir = data_directory()
    tasks = {
        "programs": programs,
        "gpus": gpus,
        "disks": lambda: disks(data_dir),
        "secrets": lambda: secret_files(data_dir, question["digest_key"]),
        "tls": lambda: tls_files(data_dir, question["machine"]),
        "node": lambda: node(data_dir),
    }
    with ThreadPoolExecutor(len(tasks)) as pool:
        found = {name: pool.submit(task) for name, task in tasks.items()}
        answer: Dict[str, Any] = {name: result.result() for name, result in found.items()}
    answer.update(
        host=socket.gethostname(),
        python=".".join(map(str, sys.version_info[:3])),
        data_dir=str(data_dir),
        release=current_release(),
        boot_age_s=boot_age_s(),
        settings={name: os.environ[f"ZEJZL_{name}"] for name in _SETTINGS if os.environ.get(f"ZEJZL_{name}")},
    )
    return answer
