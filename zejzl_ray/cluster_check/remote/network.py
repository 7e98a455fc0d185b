"""Ports: listen on them for the time of the check, see who has them, connect to those of others."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

CONNECT_S = 3.0
LISTEN_S = 120.0  # much longer than a check takes


class Listeners:
    """Ports that are listened on for the time of the check: until closed, and 120 s at most."""

    def __init__(self) -> None:
        self._open: List[Tuple[socket.socket, threading.Thread]] = []

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
            found[str(port)] = {"state": "listening", "port": server.getsockname()[1]}
            greeting = question["greeting"].encode()
            greeter = threading.Thread(target=_greet, args=(server, greeting), daemon=True)
            self._open.append((server, greeter))
            greeter.start()
        return found

    def close(self) -> None:
        """Give every port back; safe to repeat."""
        while self._open:
            server, greeter = self._open.pop()
            with contextlib.suppress(OSError):  # its time is over, it is closed already
                server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept, which closing does not
            greeter.join(CONNECT_S)


def _greet(server: socket.socket, greeting: bytes) -> None:
    ends_at_s = time.monotonic() + LISTEN_S
    with server:
        while (left_s := ends_at_s - time.monotonic()) > 0:
            server.settimeout(left_s)
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(CONNECT_S)
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
        with socket.create_connection((host, port), timeout=CONNECT_S) as connection:
            greeting = ""
            if is_greeted:
                with contextlib.suppress(OSError):
                    connection.settimeout(CONNECT_S)
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
