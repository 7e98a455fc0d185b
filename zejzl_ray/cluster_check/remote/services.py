"""Redis, Ray and the services, asked as this machine would ask them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from zejzl_ray.cluster_check.remote.files import data_directory
from zejzl_ray.cluster_check.remote.network import CONNECT_S
from zejzl_ray.cluster_check.remote.running import run


def ask_redis(question: Dict[str, Any]) -> Dict[str, Any]:
    """Log in to Redis as the services of this machine do, and ask for its version and how it keeps what it has.

    Where Sentinels are named, they are asked for the primary first.
    """
    if importlib.util.find_spec("redis") is None:
        return {"state": "no client", "error": "the Python package redis is not installed"}
    options, fault = _redis_options(question)
    if fault:
        return {"state": "tls", "error": fault}
    sentinels = [
        _ask_sentinel(host, port, question["primary"], options)
        for host, port in question.get("sentinels", ())
    ]
    place = next((found["place"] for found in sentinels if found["place"]), None)
    if sentinels and place is None:
        return {"state": "sentinel", "sentinels": sentinels}
    host, port = place or (question["host"], question["port"])
    return {**_ask_redis_at(host, port, options), "sentinels": sentinels}


def ask_replica(question: Dict[str, Any]) -> Dict[str, Any]:
    """Ask the Redis of this machine itself, if it is meant to follow that of another one."""
    role = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        role = (data_directory() / "redis_role.conf").read_text()
    words = next((line.split() for line in role.splitlines() if line.startswith("replicaof ")), [])
    if len(words) != 3 or words[1].lower() == "no":
        return {"state": "none"}
    return {**ask_redis(question), "meant_to_follow": f"{words[1]}:{words[2]}"}


def _redis_options(question: Dict[str, Any]) -> Tuple[Dict[str, Any], str]:
    """Return what a client of Redis is made with, and what is missing for it."""
    from redis.backoff import NoBackoff  # noqa: PLC0415  of the project's own environment, which may lack it
    from redis.retry import Retry  # noqa: PLC0415

    data_dir = data_directory()
    named = os.environ.get("ZEJZL_REDIS_PASSWORD_FILE")
    file = Path(named).expanduser() if named else data_dir / "redis_password"
    password = os.environ.get("ZEJZL_REDIS_PASSWORD")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        password = password or file.read_text(encoding="ascii").strip()
    options: Dict[str, Any] = {
        "socket_timeout": 5.0,
        "socket_connect_timeout": CONNECT_S,
        "password": password,
        "retry": Retry(NoBackoff(), 0),  # the first answer is the one to tell
    }
    if question["is_tls"]:
        authority = os.environ.get("ZEJZL_CA_FILE")
        ca = Path(authority).expanduser() if authority else data_dir / "tls" / "ca.pem"
        if not ca.exists():
            return options, f"there is no {ca}"
        options.update(ssl=True, ssl_ca_certs=str(ca))
        certificate = data_dir / "tls" / f"{question['machine']}.pem"
        key = certificate.with_suffix(".key")
        if certificate.exists() and key.exists():
            options.update(ssl_certfile=str(certificate), ssl_keyfile=str(key))
    return options, ""


def _ask_redis_at(host: str, port: int, options: Dict[str, Any]) -> Dict[str, Any]:
    import redis  # noqa: PLC0415

    client = redis.Redis(host, port, decode_responses=True, **options)
    try:
        info = client.info()
        return {
            "state": "well",
            "version": info.get("redis_version"),
            "role": info.get("role"),
            "primary": info.get("master_host"),
            "is_appending": bool(info.get("aof_enabled")),
            "append_error": info.get("aof_last_write_status") not in ("ok", None),
            "is_linked": info.get("master_link_status") == "up" if "master_link_status" in info else None,
            "replicas": sum(
                isinstance(found, dict) and found.get("state") == "online"
                for name, found in info.items()
                if re.fullmatch(r"slave\d+", name)
            ),
            "fsync": _configured(client, "appendfsync"),
            "eviction": _configured(client, "maxmemory-policy"),
            "memory_ratio": info["used_memory"] / info["maxmemory"] if info.get("maxmemory") else None,
            "knows_ray": _knows_ray(client) if options.get("ssl") else None,
        }
    except redis.AuthenticationError as error:
        return {"state": "password", "error": str(error)[:300], "has_password": bool(options["password"])}
    except redis.TimeoutError:
        return {"state": "timeout"}
    except (redis.RedisError, OSError, ValueError) as error:
        text = str(error)[:300]
        is_tls = (
            isinstance(error.__cause__, ssl.SSLError)
            or "ssl" in text.lower()
            or "certificate" in text.lower()
        )
        is_refused = isinstance(error.__cause__, ConnectionRefusedError) or "refused" in text
        state = "loading" if isinstance(error, redis.BusyLoadingError) else "tls" if is_tls else "error"
        return {"state": "refused" if is_refused else state, "error": text}
    finally:
        with contextlib.suppress(Exception):
            client.close()


def _configured(client: Any, name: str) -> Optional[str]:
    """Return a value of its configuration; None where nobody may ask."""
    import redis  # noqa: PLC0415

    with contextlib.suppress(redis.ResponseError):
        value = client.config_get(name).get(name)
        return str(value) if value is not None else None
    return None


def _knows_ray(client: Any) -> Optional[bool]:
    """Return whether Ray's own user is let in; asked last, since the connection is that user's then."""
    import redis  # noqa: PLC0415

    try:
        client.execute_command("AUTH", "ray", "certificate")
        return True
    except (redis.AuthenticationError, redis.ResponseError):
        return False
    except (redis.RedisError, OSError):
        return None


def _ask_sentinel(host: str, port: int, primary: str, options: Dict[str, Any]) -> Dict[str, Any]:
    import redis  # noqa: PLC0415

    client = redis.Redis(host, port, **{**options, "password": None, "decode_responses": True})
    found: Dict[str, Any] = {"address": f"{host}:{port}", "state": "well", "place": None}
    try:
        place: Any = client.sentinel_get_master_addr_by_name(primary)
        return {**found, "place": [str(place[0]), int(place[1])]} if place else {**found, "state": "unknown"}
    except redis.AuthenticationError:
        return {**found, "state": "password"}
    except (redis.RedisError, OSError, ValueError) as error:
        return {**found, "state": "silent", "error": str(error)[:200]}
    finally:
        with contextlib.suppress(Exception):
            client.close()


def ask_ray(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return the nodes that the head knows, from its dashboard."""
    data_dir = data_directory()
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
