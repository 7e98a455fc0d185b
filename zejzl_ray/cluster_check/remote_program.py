"""Runs on each machine while it is checked: sent there through ssh, so it needs nothing but Python 3.8 and its library.

One question comes in as a line of JSON, one answer goes out as a line of JSON behind a marker, since a login
shell may write whatever it likes before. It ends with its standard input. It changes nothing on the machine;
the ports it listens on are closed when it ends. No secret leaves the machine: files are compared by keyed
digests, with a key that is new for each check.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional

MARKER = "ZEJZL-CHECK:"
_TAIL_BYTES = 6000
_CONNECT_S = 3.0
_SETTINGS = (
    "ENVIRONMENT", "STORE_URL", "RAY_TLS", "RAY_PORT", "DASHBOARD_PORT", "BIND_HOST", "HTTP_PORT",
    "RESOURCE_MANAGER_PORT", "OBSERVABILITY_PORT", "ERROR_BUS_PORT", "SECURITY_PORT", "GPU_CARDS", "VRAM_MIB",
    "SIMULATED_GPUS", "OBJECT_STORE_MIB", "CPUS",
)  # fmt: skip
_SECRET_FILES = ("ray_token", "redis_password", "security_key")


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


def shell_time_s() -> Optional[float]:
    """Return the time as the program ``date`` says it; None without one."""
    text = output_of(["date", "+%s.%N"], 5.0)
    with contextlib.suppress(ValueError):
        return float(text.strip().replace(".N", ""))
    return None


def facts(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return everything about this machine that needs no other one; takes some seconds where Ray is slow to start."""
    data_dir = Path(os.environ.get("ZEJZL_DATA_DIR") or "~/.local/share/zejzl").expanduser()
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
        boot_age_s=boot_age_s(),
        settings={name: os.environ[f"ZEJZL_{name}"] for name in _SETTINGS if os.environ.get(f"ZEJZL_{name}")},
    )
    return answer


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
    installed = package_version(package)
    if installed is not None and _interpreter_of(path) is not None:
        return {"path": path, "version": installed}
    text = output_of(argv, 25.0)
    found = re.search(r"(\d+\.\d+[\w.+-]*)\s*$", text.strip())
    return {"path": path, "version": found.group(1) if found else None, "said": text.strip()[-300:]}


def package_version(package: str) -> Optional[str]:
    """Return the version of a package that this interpreter would import."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


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


def disks(data_dir: Path) -> List[Dict[str, Any]]:
    """Return the room in each place that a node writes to; a place that is not there yet counts as its parent."""
    temporary = Path(os.environ.get("TMPDIR") or "/tmp")
    wanted = {
        "state": data_dir,
        "home": Path("~").expanduser(),
        "Ray's files": temporary,
        "shared memory": Path("/dev/shm"),
    }
    found = []
    for use, path in wanted.items():
        place = path
        while not place.exists() and place != place.parent:
            place = place.parent
        room = os.statvfs(str(place))
        found.append(
            {
                "use": use,
                "path": str(path),
                "device": os.stat(str(place)).st_dev,
                "free_mib": room.f_bavail * room.f_frsize / 1048576,
                "total_mib": room.f_blocks * room.f_frsize / 1048576,
                "free_inodes": room.f_favail if room.f_files else None,
                "is_writable": os.access(str(place), os.W_OK | os.X_OK),
            }
        )
    return found


def secret_files(data_dir: Path, digest_key: str) -> Dict[str, Any]:
    """Return state, mode and keyed digest of each shared secret."""
    return {name: _secret_file(data_dir / name, digest_key) for name in _SECRET_FILES}


def _secret_file(path: Path, digest_key: str) -> Dict[str, Any]:
    found: Dict[str, Any] = {"path": str(path), "state": "missing", "mode": None, "digest": None}
    try:
        status = path.stat()
        found.update(
            state="unreadable", mode=stat.S_IMODE(status.st_mode), is_own=status.st_uid == os.geteuid()
        )
        content = path.read_bytes().strip()
    except FileNotFoundError:
        return found
    except OSError as error:
        return {**found, "state": "unreadable", "error": error.strerror}
    digest = hmac.new(digest_key.encode(), content, hashlib.sha256).hexdigest()[:16]
    return {**found, "state": "present" if content else "empty", "digest": digest}


def tls_files(data_dir: Path, machine: str) -> Dict[str, Any]:
    """Return the certificates, which are public, and whether the private key fits."""
    directory = data_dir / "tls"
    found: Dict[str, Any] = {"directory": str(directory), "ca": None, "certificate": None, "key": None}
    for name, file in (("ca", "ca.pem"), ("certificate", f"{machine}.pem"), ("own_name", "machine")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found[name] = (directory / file).read_text(encoding="ascii")[:20000].strip()
    key = directory / f"{machine}.key"
    with contextlib.suppress(OSError):
        found["key"] = {"path": str(key), "mode": stat.S_IMODE(key.stat().st_mode), "fits": None}
        if found["certificate"]:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                    str(directory / f"{machine}.pem"), str(key), password=lambda: ""
                )
                found["key"]["fits"] = True
            except (ssl.SSLError, ValueError):
                found["key"]["fits"] = False
    return found


def node(data_dir: Path) -> Dict[str, Any]:
    """Return what is known of this machine's Ray node: its record, its processes, the end of its logs."""
    record: Any = None
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((data_dir / "node.json").read_text())
    plan = record.get("node", {}) if isinstance(record, dict) else {}
    logs = {name: tail(data_dir / name) for name in ("node.log", "ray_start.log", "services.log")}
    session = Path(str(plan.get("temp_dir") or "/nowhere")) / "session_latest" / "logs"
    for name in ("raylet.out", "raylet.err", "gcs_server.out"):
        logs[name] = tail(session / name)
    return {
        "record": record,
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


class Listeners:
    """Ports that are listened on for the time of the check."""

    def __init__(self) -> None:
        self._open: List[socket.socket] = []

    def listen(self, question: Dict[str, Any]) -> Dict[str, Any]:
        """Listen on each port that is free, 0 for any, and greet who comes; say who has the others."""
        found: Dict[str, Any] = {}
        for port in question["ports"]:
            server = socket.socket(socket.AF_INET6 if ":" in question["address"] else socket.AF_INET)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((question["address"], port))
                server.listen(16)
            except OSError as error:
                server.close()
                holder = listener_of(port)
                found[str(port)] = {
                    "state": "taken" if holder else "refused",
                    "holder": holder,
                    "error": error.strerror,
                }
                continue
            self._open.append(server)
            greeting = question["greeting"].encode()
            threading.Thread(target=_greet, args=(server, greeting), daemon=True).start()
            found[str(port)] = {"state": "listening", "port": server.getsockname()[1]}
        return found


def _greet(server: socket.socket, greeting: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_CONNECT_S)
            connection.sendall(greeting)


def listener_of(port: int) -> Optional[Dict[str, Any]]:
    """Return who listens on a port: process id, name, and whether it is a Ray node's; None when nobody does."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(fields[9])
    if not sockets:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                name = os.readlink(str(descriptor))
                if name.startswith("socket:[") and name[8:-1] in sockets:
                    command = (folder / "comm").read_text().strip()
                    marked = b"ZEJZL_NODE_MARKER=" in (folder / "environ").read_bytes()
                    return {
                        "pid": int(folder.name),
                        "name": command,
                        "is_ours": marked or command == "redis-server",
                    }
    return {"pid": None, "name": None, "is_ours": False}


def connect_all(question: Dict[str, Any]) -> Dict[str, Any]:
    """Connect to each target, all at once: host, port, and whether a greeting is expected."""
    targets = question["targets"]
    if not targets:
        return {"results": []}
    with ThreadPoolExecutor(min(32, len(targets))) as pool:
        return {"results": list(pool.map(lambda target: connect(*target), targets))}


def connect(host: str, port: int, is_greeted: bool) -> Dict[str, Any]:
    """Return how a connection went: open, refused, timeout, unresolved or error, and what it was greeted with."""
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S) as connection:
            greeting = ""
            if is_greeted:
                with contextlib.suppress(OSError):
                    connection.settimeout(_CONNECT_S)
                    greeting = connection.recv(200).decode(errors="replace")
            return {"state": "open", "greeting": greeting}
    except ConnectionRefusedError:
        return {"state": "refused"}
    except socket.gaierror as error:
        return {"state": "unresolved", "error": error.strerror}
    except (socket.timeout, TimeoutError):  # noqa: UP041  two classes before Python 3.10
        return {"state": "timeout"}
    except OSError as error:
        return {"state": "error", "error": error.strerror or type(error).__name__}


def ask_redis(question: Dict[str, Any]) -> Dict[str, Any]:
    """Log in to Redis as the services of this machine do, and ask for its version and how it keeps what it has."""
    data_dir = Path(os.environ.get("ZEJZL_DATA_DIR") or "~/.local/share/zejzl").expanduser()
    named = os.environ.get("ZEJZL_REDIS_PASSWORD_FILE")
    file = Path(named).expanduser() if named else data_dir / "redis_password"
    password = os.environ.get("ZEJZL_REDIS_PASSWORD")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        password = password or file.read_text(encoding="ascii").strip()
    if importlib.util.find_spec("redis") is None:
        return {"state": "no client", "error": "the Python package redis is not installed"}
    import redis  # noqa: PLC0415  of the project's own environment, which may lack it

    options: Dict[str, Any] = {
        "socket_timeout": 5.0,
        "socket_connect_timeout": _CONNECT_S,
        "password": password,
    }
    if question["is_tls"]:
        authority = os.environ.get("ZEJZL_CA_FILE")
        ca = Path(authority).expanduser() if authority else data_dir / "tls" / "ca.pem"
        options.update(ssl=True, ssl_ca_certs=str(ca))
        certificate = data_dir / "tls" / f"{question['machine']}.pem"
        if certificate.exists():
            options.update(ssl_certfile=str(certificate), ssl_keyfile=str(certificate.with_suffix(".key")))
    client = redis.Redis(question["host"], question["port"], **options)
    try:
        info = client.info()
        return {
            "state": "well",
            "version": info.get("redis_version"),
            "role": info.get("role"),
            "is_appending": bool(info.get("aof_enabled")),
            "append_error": info.get("aof_last_write_status") not in ("ok", None),
        }
    except redis.AuthenticationError as error:
        return {"state": "password", "error": str(error)[:300], "has_password": bool(password)}
    except redis.TimeoutError:
        return {"state": "timeout"}
    except (redis.RedisError, OSError, ValueError) as error:
        text = str(error)[:300]
        is_tls = isinstance(error.__cause__, ssl.SSLError) or "SSL" in text or "certificate" in text.lower()
        is_refused = isinstance(error.__cause__, ConnectionRefusedError) or "refused" in text
        state = "loading" if isinstance(error, redis.BusyLoadingError) else "tls" if is_tls else "error"
        return {"state": "refused" if is_refused else state, "error": text}
    finally:
        with contextlib.suppress(Exception):
            client.close()


def ask_ray(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return the nodes that the head knows, from its dashboard."""
    data_dir = Path(os.environ.get("ZEJZL_DATA_DIR") or "~/.local/share/zejzl").expanduser()
    request = urllib.request.Request(  # loopback only
        f"http://127.0.0.1:{int(question['port'])}/api/v0/nodes?limit=1000&detail=1"
    )
    with contextlib.suppress(OSError, UnicodeDecodeError):
        request.add_header("Authorization", "Bearer " + (data_dir / "ray_token").read_text().strip())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20.0) as reply:
            rows = json.load(reply)["data"]["result"]["result"]
    except urllib.error.HTTPError as error:
        return {"nodes": None, "error": f"HTTP {error.code}", "is_token_refused": error.code in (401, 403)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"nodes": None, "error": str(error)[:300], "is_token_refused": False}
    kept = ("node_id", "node_ip", "state", "state_message", "labels", "start_time_ms", "end_time_ms")
    return {"nodes": [{name: row.get(name) for name in kept} for row in rows], "error": None}


def ask_services(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return what ``zejzl status`` says on this machine."""
    done = run(["zejzl", "status", "--json"], float(question["limit_s"]))
    try:
        return {"status": json.loads(done["output"]), "error": None}
    except ValueError:
        return {
            "status": None,
            "error": (done["errors"] or done["output"]).strip()[-500:] or "no answer in time",
        }


def tail(path: Path) -> str:
    """Return the end of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def run(argv: List[str], limit_s: float) -> Dict[str, Any]:
    """Run a program with a time limit; status is None when it did not end in time or is not there."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
        return {"status": done.returncode, "output": done.stdout, "errors": done.stderr}
    except (OSError, subprocess.SubprocessError) as error:
        return {"status": None, "output": "", "errors": type(error).__name__}


def output_of(argv: List[str], limit_s: float) -> str:
    """Return what a program writes; empty when it fails."""
    done = run(argv, limit_s)
    return str(done["output"]) if done["status"] == 0 else ""


if __name__ == "__main__":
    main()
