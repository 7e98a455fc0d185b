"""What the program that is sent to each machine answers, on this machine."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.cluster_check import program_text
from zejzl_ray.cluster_check.remote import files, network, node, program, programs, running, services


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home with a data directory and nothing of ours on PATH."""
    data = tmp_path / "data"
    (data / "tls").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(data))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("ZEJZL_REDIS_PASSWORD", "ZEJZL_REDIS_PASSWORD_FILE", "ZEJZL_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _program(home: Path, name: str, text: str) -> None:
    path = home / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *questions: str
) -> list[Any]:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(questions) + "\n"))
    program.main()
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line.removeprefix(program.MARKER)) for line in lines]


def test_one_line_in_is_one_line_out(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZEJZL_RAY_TLS", "off")
    monkeypatch.setenv("ZEJZL_STORE_URL", "redis://me:secret@h:6380")
    monkeypatch.setenv("ZEJZL_STORE_ULR", "x")
    names = ["ZEJZL_RAY_TLS", "ZEJZL_STORE_URL", "ZEJZL_DATA_DIR"]
    facts = json.dumps({"ask": "facts", "machine": "pc2", "digest_key": "k", "settings": names})

    clock, date, found, wrong = _answers(
        monkeypatch, capsys, '{"ask": "clock"}', "", '{"ask": "date"}', facts, '{"ask": "connect"}'
    )

    assert abs(clock["time_s"] - date["time_s"]) < 60
    assert found["settings"] == {
        "RAY_TLS": "off", "STORE_URL": "redis://me:***@h:6380", "DATA_DIR": str(home / "data")
    }  # fmt: skip
    assert "ZEJZL_STORE_ULR" in found["unknown_settings"]
    assert "secret@" not in json.dumps(found)
    assert found["failed"] == {}
    assert found["secrets"]["ray_token"]["state"] == "missing"
    assert found["python"].count(".") == 2
    assert "KeyError" in wrong["failed"]


def test_a_shell_without_a_date_has_no_time(home: Path) -> None:
    _program(home, "date", "echo never")

    assert programs.shell_time_s() is None


def test_the_version_of_a_program_is_what_it_says(home: Path) -> None:
    _program(home, "ray", "echo 'ray, version 2.9.0'")
    _program(home, "zejzl", "echo broken; exit 1")
    _program(home, "rsync", "exit 0")

    found = programs.programs()

    assert found["ray"]["version"] == "2.9.0"
    assert found["zejzl"]["version"] is None
    assert found["rsync"] == str(home / "bin" / "rsync")
    assert programs.command_version("no-such-program", [], "none") == {"path": None, "version": None}


def test_a_program_of_this_very_interpreter_is_not_run(home: Path) -> None:
    path = home / "bin" / "zejzl"
    path.write_text(f"#!{sys.executable}\nraise SystemExit('was run')\n")
    path.chmod(0o755)

    found = programs.command_version("zejzl", ["zejzl"], "zejzl-ray")

    assert found == {"path": str(path), "version": programs.versions_of("zejzl-ray")}
    assert found["version"]
    assert programs.versions_of("no-such-package") is None


def test_code_that_is_not_what_its_metadata_say_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "ray").mkdir()
    (home / "ray" / "__init__.py").touch()
    (home / "ray" / "_version.py").write_text('version = "2.1.0"\n')
    (home / "ray-2.2.0.dist-info").mkdir()
    (home / "ray-2.2.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ray\nVersion: 2.2.0\n"
    )
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.delitem(sys.modules, "ray", raising=False)

    assert programs.versions_of("ray") == "2.1.0 (its metadata say 2.2.0)"


@pytest.mark.parametrize(
    ("said", "driver", "error"),
    [
        ("echo 'GPU-1, RTX, 24564, 550.1'", "550.1", None),
        ('echo "couldn\'t communicate with the driver"; exit 9', None, "couldn't communicate"),
        ("exit 0", None, "it names no card"),
    ],
)
def test_cards_are_what_the_driver_names(
    home: Path, said: str, driver: str | None, error: str | None
) -> None:
    _program(home, "nvidia-smi", said)

    found = programs.gpus()

    assert found["driver"] == driver
    assert (found["error"] is None) is (error is None)
    assert error is None or error in found["error"]


def test_a_machine_without_the_driver_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home / "bin"))

    assert programs.gpus()["error"] == "there is no nvidia-smi"


def test_room_is_that_of_the_place_that_will_hold_it(home: Path) -> None:
    found = {disk["use"]: disk for disk in files.disks(home / "data" / "not" / "there")}

    assert found["state"]["device"] == home.stat().st_dev
    assert found["state"]["free_mib"] > 0
    assert found["state"]["is_writable"]


def test_a_secret_is_told_by_its_digest_only(home: Path) -> None:
    data = home / "data"
    (data / "ray_token").write_text("hidden\n")
    (data / "ray_token").chmod(0o600)
    (data / "security_key").touch()

    first, second = files.secret_files(data, "one"), files.secret_files(data, "two")

    assert first["ray_token"]["state"] == "present"
    assert first["ray_token"]["mode"] == 0o600
    assert first["ray_token"]["digest"] != second["ray_token"]["digest"]
    assert "hidden" not in json.dumps(first)
    assert first["security_key"]["state"] == "empty"
    assert first["redis_password"]["state"] == "missing"
    (data / "redis_password").mkdir()
    assert files.secret_files(data, "one")["redis_password"]["state"] == "unreadable"


def test_a_certificate_is_told_whole_and_its_key_by_whether_it_fits(home: Path) -> None:
    from zejzl_ray.tls.directory import TlsDirectory
    from zejzl_ray.tls.names import certificate_names

    data = home / "data"
    TlsDirectory(data / "tls").init(certificate_names("pc2", (), ("192.168.1.11",)), 1_800_000_000.0)

    found = files.tls_files(data, "pc2")
    assert found["certificate"].startswith("-----BEGIN CERTIFICATE")
    assert (found["own_name"], found["key"]["fits"], found["key"]["mode"]) == ("pc2", True, 0o600)
    assert "PRIVATE" not in json.dumps(found)
    (data / "tls" / "pc2.key").write_bytes((data / "tls" / "ca.key").read_bytes())
    assert files.tls_files(data, "pc2")["key"]["fits"] is False
    (data / "tls" / "pc2.pem").unlink()
    assert files.tls_files(data, "pc2")["key"]["fits"] is None
    assert files.tls_files(data, "pc3")["key"] is None


def test_a_node_is_its_record_its_supervisor_and_the_ends_of_its_logs(home: Path) -> None:
    data = home / "data"
    assert node.node(data) == {
        "record": None, "record_fault": None, "record_age_s": None, "is_wanted": None, "is_supervised": None,
        "frozen_supervisor": None,
        "processes": [], "logs": {},
    }  # fmt: skip
    started_s = node.boot_time_s() + int(Path("/proc/self/stat").read_text().split()[21]) / os.sysconf(
        "SC_CLK_TCK"
    )
    record = {
        "pid": os.getpid(),
        "started_at_s": started_s,
        "node": {"cluster_id": "zejzl-none", "temp_dir": str(home)},
    }
    (data / "node.json").write_text(json.dumps(record))
    (data / "node.log").write_text("x" * 10_000 + "end")

    found = node.node(data)

    assert found["record"] == record
    assert found["is_supervised"]
    assert found["logs"]["node.log"].endswith("end")
    assert len(found["logs"]["node.log"]) == 6000
    assert node.is_supervised({**record, "started_at_s": started_s - 100}) is False
    assert node.is_supervised({"pid": 0}) is None
    assert node.is_supervised({"pid": 2**22 + 1, "started_at_s": 1.0}) is False


def test_a_port_is_listened_on_greeted_and_told_when_it_is_taken() -> None:
    listeners = network.Listeners()
    found = listeners.listen({"ports": [0], "address": "127.0.0.1", "greeting": "hello:me"})
    port = found["0"]["port"]

    assert network.connect("127.0.0.1", port, True) == {"state": "open", "greeting": "hello:me"}
    assert network.connect("127.0.0.1", port, False)["state"] == "open"
    again = network.Listeners().listen({"ports": [port], "address": "127.0.0.1", "greeting": ""})
    assert again[str(port)]["state"] == "taken"
    assert again[str(port)]["holder"]["pid"] == os.getpid()
    listeners.close()
    listeners.close()
    assert network.connect("127.0.0.1", port, False)["state"] == "refused"
    assert (
        network.Listeners().listen({"ports": [0], "address": "192.0.2.1", "greeting": ""})["0"]["state"]
        == "refused"
    )


def test_a_connection_that_fails_says_how() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        results = network.connect_all(
            {
                "targets": [
                    ["127.0.0.1", port, False],
                    ["no-such-name.invalid", 1, False],
                    ["255.255.255.255", 1, False],
                ]
            }
        )["results"]

    assert results[0]["state"] == "refused"
    assert results[1]["state"] == "unresolved"
    assert results[2]["state"] in ("error", "timeout")
    assert network.connect_all({"targets": []}) == {"results": []}


def _serve_once(reply: bytes) -> int:
    """Answer one connection with these bytes; return the port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, contextlib.suppress(ConnectionError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                while connection.recv(65536):
                    connection.sendall(reply)
                    if reply.startswith(b"HTTP"):
                        return

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def _http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_the_nodes_come_from_the_dashboard(home: Path) -> None:
    row = {"node_id": "1", "state": "ALIVE", "labels": {"zejzl.io/machine": "pc2"}, "other": 1}
    port = _serve_once(_http("200 OK", json.dumps({"data": {"result": {"result": [row]}}})))

    nodes = services.ask_ray({"port": port})["nodes"]

    assert [(found["state"], found["labels"]) for found in nodes] == [("ALIVE", {"zejzl.io/machine": "pc2"})]
    assert services.ask_ray({"port": _serve_once(_http("401 No", ""))})["is_token_refused"]
    assert services.ask_ray({"port": _serve_once(_http("200 OK", "[]"))})["nodes"] is None


def test_the_services_are_what_zejzl_status_prints(home: Path) -> None:
    _program(home, "zejzl", "echo '{\"services\": []}'")
    assert services.ask_services({"limit_s": 10})["status"] == {"services": []}
    _program(home, "zejzl", "echo 'error: no cluster is up' >&2; exit 1")
    assert "no cluster is up" in services.ask_services({"limit_s": 10})["error"]


def _redis(port: int, **more: Any) -> dict[str, Any]:
    return services.ask_redis({"host": "127.0.0.1", "port": port, "is_tls": False, "machine": "pc2", **more})


def test_redis_is_told_by_how_it_answers(home: Path) -> None:
    (home / "data" / "redis_password").write_text("word")

    assert _redis(_serve_once(b"-WRONGPASS invalid\r\n"))["state"] == "password"
    assert _redis(_serve_once(b"-LOADING wait\r\n"))["state"] == "loading"
    assert _redis(_serve_once(b"-ERR strange\r\n"))["state"] == "error"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert _redis(closed.getsockname()[1])["state"] == "refused"
    assert _redis(1, is_tls=True) == {
        "state": "tls",
        "error": f"there is no {home / 'data' / 'tls' / 'ca.pem'}",
    }


def test_redis_without_tls_is_told(home: Path) -> None:
    from zejzl_ray.tls.directory import TlsDirectory
    from zejzl_ray.tls.names import certificate_names

    TlsDirectory(home / "data" / "tls").init(certificate_names("pc2", (), ("192.168.1.11",)), 1_800_000_000.0)

    assert _redis(_serve_once(b"-ERR no TLS here\r\n"), is_tls=True)["state"] == "tls"


def test_an_environment_without_the_client_of_redis_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert _redis(1)["state"] == "no client"


def test_a_program_that_does_not_end_is_ended() -> None:
    assert running.run(["sleep", "30"], 0.05) == {"status": None, "output": "", "errors": "TimeoutExpired"}
    assert running.output_of(["false"], 5.0) == ""
    assert running.tail(Path("/no/such/file")) == ""


def test_the_program_is_one_text_that_stands_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = program_text.program_text().decode()

    assert "zejzl_ray" not in "\n".join(line for line in text.splitlines() if "import" in line)
    compile(text, "program", "exec")


def test_two_modules_may_not_define_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("def same():\n    pass\n")
    monkeypatch.setattr(program_text, "_MODULES", ("one", "two"))
    monkeypatch.setattr("zejzl_ray.cluster_check.remote.__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(ValueError, match="define same"):
        program_text.program_text.__wrapped__()


def test_the_current_release_is_named_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / ".local/share/zejzl/releases"
    (root / "1-a").mkdir(parents=True)
    assert files.current_release() is None
    (root / "current").symlink_to("1-a")
    assert files.current_release() is None

    (root / "1-a/release.json").write_text("{}")

    assert files.current_release() == "1-a"


def _facts(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return _answers(
        monkeypatch,
        capsys,
        json.dumps({"ask": "facts", "machine": "pc2", "digest_key": "k", "settings": []}),
    )[0]


def test_one_thing_that_cannot_be_looked_at_keeps_nobody_from_the_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(program, "gpus", refuse)

    found = _facts(home, monkeypatch, capsys)

    assert list(found["failed"]) == ["gpus"]
    assert "Permission denied" in found["failed"]["gpus"]
    assert found["disks"]


def test_a_data_directory_of_nobody_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZEJZL_DATA_DIR", "~no-such-user/x")

    assert "ZEJZL_DATA_DIR is ~no-such-user/x" in _facts(home, monkeypatch, capsys)["failed"]


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "\xff"])
def test_a_record_that_is_damaged_is_no_record_and_that_is_said(home: Path, text: str) -> None:
    (home / "data" / "node.json").write_bytes(text.encode("latin-1"))

    found = node.node(home / "data")

    assert found["record"] is None
    assert found["record_fault"]


@pytest.mark.parametrize("plan", ["null", "[1]", '"x"', '{"temp_dir": 5, "cluster_id": []}'])
def test_a_record_of_another_shape_is_handed_on(home: Path, plan: str) -> None:
    (home / "data" / "node.json").write_text(f'{{"node": {plan}}}')

    assert "node" in node.node(home / "data")["record"]


def test_the_processes_of_a_node_are_found_without_its_record(home: Path) -> None:
    from zejzl_ray.cluster.local_plan import cluster_id

    assert node.cluster_id(home / "data") == cluster_id(home / "data")


@pytest.mark.parametrize(("text", "wanted"), [('{"is_wanted": false}', False), ("{", None), ("[]", None)])
def test_what_was_wanted_last_is_told(home: Path, text: str, wanted: bool | None) -> None:
    (home / "data" / "node_intent.json").write_text(text)

    assert node.node(home / "data")["is_wanted"] is wanted


def test_a_place_that_cannot_be_looked_at_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.statvfs", refuse)

    assert {disk["error"] for disk in files.disks(home)} == {"Permission denied"}


def test_shared_memory_is_what_a_process_has_taken_there(home: Path) -> None:
    process = home / "process"
    (process / "fd").mkdir(parents=True)
    assert node.shared_mib(process) == 0
    assert node.shared_mib(home / "none") is None
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x" * 2 * 1048576)
        file.flush()
        (process / "fd" / "7").symlink_to(file.name)
        (process / "fd" / "8").symlink_to(file.name)
        assert node.shared_mib(process) == 2


def test_a_certificate_that_cannot_be_read_is_not_missing(home: Path) -> None:
    (home / "data" / "tls" / "pc2.pem").mkdir()
    (home / "data" / "tls" / "pc2.key").mkdir()

    found = files.tls_files(home / "data", "pc2")

    assert found["errors"] == {"pc2.pem": "Is a directory"}
    assert found["key"]["error"] == "Is a directory"


def test_a_supervisor_that_is_stopped_is_frozen() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        started_s = node.boot_time_s() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        record = {"pid": child.pid, "started_at_s": started_s}
        assert node.frozen_supervisor(record) is None
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert node.frozen_supervisor(record) == child.pid
        assert node.is_supervised(record)
    finally:
        child.kill()
        child.wait()
