"""The Ray node of a machine: record, processes, ends of its logs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from zejzl_ray.cluster_check.remote.running import tail


def node(data_dir: Path) -> Dict[str, Any]:
    """Return what is known of this machine's Ray node: its record, its processes, the end of its logs."""
    record: Any = None
    age_s = None
    with contextlib.suppress(OSError, ValueError):
        age_s = max(0.0, time.time() - (data_dir / "node.json").stat().st_mtime)
        record = json.loads((data_dir / "node.json").read_text())
    plan = record.get("node", {}) if isinstance(record, dict) else {}
    logs = {name: tail(data_dir / name) for name in ("node.log", "ray_start.log", "services.log")}
    session = Path(str(plan.get("temp_dir") or "/nowhere")) / "session_latest" / "logs"
    for name in ("raylet.out", "raylet.err", "gcs_server.out"):
        logs[name] = tail(session / name)
    return {
        "record": record,
        "record_age_s": age_s,
        "is_supervised": is_supervised(record),
        "processes": ray_processes(str(plan.get("cluster_id") or "")),
        "logs": {name: text for name, text in logs.items() if text},
    }


def is_supervised(record: Any) -> bool:
    """Return whether the very process lives that wrote the record."""
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError, IndexError):
        fields = Path(f"/proc/{int(record['pid'])}/stat").read_text().rpartition(")")[2].split()
        started_s = boot_time_s() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return fields[0] != "Z" and abs(started_s - float(record["started_at_s"])) < 3.0
    return False


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
                found.append({"name": name, "pid": int(folder.name), "state": state})
    return found


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
