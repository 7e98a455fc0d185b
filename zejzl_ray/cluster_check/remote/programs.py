"""Which programs, versions and cards a machine has."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional

from zejzl_ray.cluster_check.remote.running import output_of, run


def programs() -> Dict[str, Any]:
    """Return which programs there are and of which version, as `ray up` would find them."""
    with ThreadPoolExecutor(2) as pool:
        ray = pool.submit(command_version, "ray", ["ray", "--version"], "ray")
        zejzl = pool.submit(command_version, "zejzl", ["zejzl", "version"], "zejzl-ray")
        return {"rsync": shutil.which("rsync"), "ray": ray.result(), "zejzl": zejzl.result()}


def command_version(name: str, argv: List[str], package: str) -> Dict[str, Any]:
    """Return path and version of a command; one that belongs to this interpreter is not run."""
    path = shutil.which(name)
    if path is None:
        return {"path": None, "version": None}
    installed = versions_of(package)
    if installed is not None and _interpreter_of(path) is not None:
        return {"path": path, "version": installed}
    text = output_of(argv, 25.0)
    found = re.search(r"(\d+\.\d+[\w.+-]*)\s*$", text.strip())
    return {"path": path, "version": found.group(1) if found else None, "said": text.strip()[-300:]}


def versions_of(package: str) -> Optional[str]:
    """Return the version of the code that this interpreter would import, and of its metadata where that differs."""
    coded = None
    spec = importlib.util.find_spec(package.replace("-", "_"))
    origin = spec.origin if spec is not None else None
    for name in ("_version.py", "version.py") if origin else ():
        with contextlib.suppress(OSError):
            text = (Path(str(origin)).parent / name).read_text()
            found = re.search(r"""^(?:__)?version(?:__)?\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
            coded = found.group(1) if found else coded
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        declared = importlib.metadata.version(package)
        # An editable install keeps the metadata of the day it was made.
        if coded is None or (declared != coded and package == "ray"):
            return declared if coded is None else f"{coded} (its metadata say {declared})"
    return coded


def _interpreter_of(script: str) -> Optional[str]:
    """Return the interpreter of a script if it is the very one that runs this program."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(script, "rb") as file:
            first = file.readline(300).decode()
        path = first[2:].strip() if first.startswith("#!") else ""
        if path and os.path.dirname(path) == os.path.dirname(sys.executable):
            return path
    return None


def gpus() -> Dict[str, Any]:
    """Return how many NVIDIA cards are plugged in, and what the driver says of them."""
    plugged = 0
    for device in Path("/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):
            is_nvidia = (device / "vendor").read_text().strip() == "0x10de"
            if is_nvidia and (device / "class").read_text().startswith("0x03"):
                plugged += 1
    if shutil.which("nvidia-smi") is None:
        return {"plugged": plugged, "driver": None, "error": "there is no nvidia-smi", "cards": []}
    query = [
        "nvidia-smi",
        "--query-gpu=uuid,name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
    ]
    done = run(query, 15.0)
    cards, driver = [], None
    for line in done["output"].splitlines() if done["status"] == 0 else ():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4:
            cards.append({"uuid": parts[0], "name": parts[1], "mib": parts[2]})
            driver = parts[3]
    error = None if cards else (done["output"] + done["errors"]).strip()[-300:] or "it names no card"
    return {"plugged": plugged, "driver": driver, "error": error, "cards": cards}


def shell_time_s() -> Optional[float]:
    """Return the time as the program ``date`` says it; None without one."""
    text = output_of(["date", "+%s.%N"], 5.0)
    with contextlib.suppress(ValueError):
        return float(text.strip().replace(".N", ""))
    return None
