"""The program that answers on each machine; sent there through ssh, so it needs Python 3.8 and its library only.

One question comes in as a line of JSON, one answer goes out as a line of JSON behind a marker, since a login
shell may write whatever it likes before. It ends with its standard input. It changes nothing on the machine;
the ports it listens on are closed when it ends. No secret leaves the machine: files are compared by keyed
digests, with a key that is new for each check.
"""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

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
from zejzl_ray.cluster_check.remote.services import ask_ray, ask_redis, ask_replica, ask_services

MARKER = "ZEJZL-CHECK:"


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
        "replica": ask_replica,
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
    answer: Dict[str, Any] = {}
    failed: Dict[str, str] = {}
    with ThreadPoolExecutor(len(tasks)) as pool:
        found = {name: pool.submit(task) for name, task in tasks.items()}
        for name, result in found.items():
            try:
                answer[name] = result.result()
            except Exception as error:  # one thing that cannot be looked at keeps nobody from the others
                failed[name] = f"{type(error).__name__}: {error}"[:300]
    answer.update(
        failed=failed,
        host=socket.gethostname(),
        python=".".join(map(str, sys.version_info[:3])),
        data_dir=str(data_dir),
        release=current_release(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        boot_age_s=boot_age_s(),
        settings=settings(question["settings"]),
        unknown_settings=[
            name for name in os.environ if name.startswith("ZEJZL_") and name not in question["settings"]
        ],
    )
    return answer


def settings(names: List[str]) -> Dict[str, str]:
    """Return what is set of the variables that are asked for; a password in a URL stays here."""
    found = {}
    for name in names:
        text = os.environ.get(name)
        if text and name.startswith("ZEJZL_"):
            text = re.sub(r"(://[^/?#@:]*:)[^/@]*@", r"\1***@", text)[:2000]
            found[name[6:]] = re.sub(r"(password=)[^&]*", r"\1***", text)
    return found
