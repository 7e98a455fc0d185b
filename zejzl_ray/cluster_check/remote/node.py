"""The Ray node of a machine: record, processes, ends of its logs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from zejzl_ray.cluster_check.remote.running import tail


def node(data_dir: Path) -> Dict[str, Any]:
    """Return what is known of this machine's Ray node: its record, its processes, the end of its logs."""
    record: Any = None
    age_s = fault = None
    try:
        age_s = max(0.0, time.time() - (data_dir / "node.json").stat().st_mtime)
        record = json.loads((data_dir / "node.json").read_bytes().decode("utf-8"))
        if not isinstance(record, dict):
            fault = "it holds no node"
    except FileNotFoundError:
        pass
    except OSError as error:
        fault = error.strerror or type(error).__name__
    except ValueError:
        fault = "it is no whole JSON"
    plan = record.get("node") if isinstance(record, dict) else None
    plan = plan if isinstance(plan, dict) else {}
    logs = {name: tail(data_dir / name) for name in ("node.log", "ray_start.log", "services.log")}
    session = Path(str(plan.get("temp_dir") or "/nowhere")) / "session_latest" / "logs"
    for name in ("raylet.out", "raylet.err", "gcs_server.out"):
        logs[name] = tail(session / name)
    return {
        "record": record if fault is None else None,
        "record_fault": fault,
        "record_age_s": age_s,
        "is_wanted": is_wanted(data_dir),
        "is_supervised": is_supervised(record),
        "frozen_supervisor": frozen_supervisor(record),
        "processes": ray_processes(str(plan.get("cluster_id") or cluster_id(data_dir))),
        "logs": {name: text for name, text in logs.items() if text},
    }


def is_wanted(data_dir: Path) -> Optional[bool]:
    """Return whether a node shall run here, as was written down last; None where nothing is."""
    with contextlib.suppress(OSError, ValueError):
        intent = json.loads((data_dir / "node_intent.json").read_bytes().decode("utf-8"))
        if isinstance(intent, dict) and isinstance(intent.get("is_wanted"), bool):
            return bool(intent["is_wanted"])
    return None


def cluster_id(data_dir: Path) -> str:
    """Return the id that the node of a data directory has, whatever its record says."""
    return "zejzl-" + hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:10]


def is_supervised(record: Any) -> Optional[bool]:
    """Return whether the very process lives that wrote the record; None where that cannot be told."""
    try:
        pid, written_s = int(record["pid"]), float(record["started_at_s"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    try:
        folder = Path(f"/proc/{pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        started_s = boot_time_s() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        if fields[0] == "Z":
            return False
        # The time of the boot moves with a clock that is set, so the command counts too.
        words = (folder / "cmdline").read_bytes().split(b"\0")
        return abs(started_s - written_s) < 3.0 or (b"node" in words and b"run" in words)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, ValueError, IndexError):
        return None


def frozen_supervisor(record: Any) -> Optional[int]:
    """Return the process that wrote the record if it is there, but stopped where it stands."""
    if not is_supervised(record):
        return None
    with contextlib.suppress(OSError, IndexError):
        pid = int(record["pid"])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return pid if state in ("T", "t") else None
    return None


def ray_processes(cluster_id: str) -> List[Dict[str, Any]]:
    """Return the raylets and control stores of a cluster on this machine, with the letter of their state."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            name = (folder / "comm").read_text().strip()
            if name not in ("raylet", "gcs_server"):
                continue
            marker = f"ZEJZL_NODE_MARKER={cluster_id}/".encode()
            if cluster_id and marker in (folder / "environ").read_bytes():
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                found.append(
                    {
                        "name": name,
                        "pid": int(folder.name),
                        "state": state,
                        "shared_mib": shared_mib(folder) if name == "raylet" else None,
                    }
                )
    return found


def shared_mib(process: Path) -> Optional[float]:
    """Return how much of the shared memory a process has taken by files of its own; None when nobody may look."""
    held = {}
    try:
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(str(descriptor)).startswith("/dev/shm/"):  # nosec B108  # looked at only
                    status = descriptor.stat()
                    held[(status.st_dev, status.st_ino)] = status.st_blocks * 512 / 1048576
    except OSError:
        return None
    return sum(held.values())


def boot_time_s() -> float:
    """Return when the machine was started, wall time."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def boot_age_s() -> Optional[float]:
    """Return for how long the machine runs."""
    with contextlib.suppress(OSError, ValueError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return None
