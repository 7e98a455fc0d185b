import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_apps.haproxy.environment import haproxy_environment
from zejzl_ray.errors import ClusterError
from zejzl_ray.tls.credentials import TlsFiles

TLS = TlsFiles(
    certificate=Path("/x/mainpc.pem"), key=Path("/x/mainpc.key"), authority=Path("/x/ca.pem"), fingerprint="0"
)


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as name:
        yield Path(name)


def directory_of(environment: dict[str, str]) -> Path:
    return Path(environment["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])


def test_the_files_of_a_cluster_lie_in_a_private_directory_of_its_own(root: Path, tmp_path: Path) -> None:
    one = haproxy_environment(tmp_path / "one", root=root)
    other = haproxy_environment(tmp_path / "other", root=root)
    assert directory_of(one) != directory_of(other)
    assert stat.S_IMODE(directory_of(one).stat().st_mode) == 0o700
    for name in ("CONFIG_FILE_LOC", "SOCKET_PATH", "SERVER_STATE_FILE", "METRICS_SOCKET_PATH", "BINARY_PATH"):
        assert Path(one[f"RAY_SERVE_HAPROXY_{name}"]).parent == directory_of(one)


def test_repeating_it_gives_the_same_directory(root: Path, tmp_path: Path) -> None:
    first = haproxy_environment(tmp_path, root=root, bind_host="0.0.0.0", tls=TLS)
    again = haproxy_environment(tmp_path, root=root, bind_host="0.0.0.0", tls=TLS)
    assert directory_of(first) == directory_of(again)
    assert first["ZEJZL_HAPROXY_BIND_HOST"] == "0.0.0.0"
    assert first["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def test_the_proxy_is_told_where_its_certificate_lies(root: Path, tmp_path: Path) -> None:
    environment = haproxy_environment(tmp_path, root=root, tls=TLS, is_loopback_encrypted=True)

    assert environment["ZEJZL_HAPROXY_CERTIFICATE"] == "/x/mainpc.pem"
    assert environment["ZEJZL_HAPROXY_KEY"] == "/x/mainpc.key"
    assert environment["ZEJZL_HAPROXY_LOOPBACK_TLS"] == "1"
    assert "ZEJZL_HAPROXY_CERTIFICATE" not in haproxy_environment(tmp_path, root=root, bind_host="127.0.0.2")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "*", "mainpc"])
def test_beyond_loopback_a_certificate_is_a_must(root: Path, tmp_path: Path, host: str) -> None:
    with pytest.raises(ClusterError, match="zejzl tls init"):
        haproxy_environment(tmp_path, root=root, bind_host=host)
    assert list(root.iterdir()) == []


def test_serves_socket_paths_fit_into_what_haproxy_can_bind(root: Path, tmp_path: Path) -> None:
    directory = directory_of(haproxy_environment(tmp_path, root=root))
    assert len(str(directory / ("n" * 56) / "admin.sock")) <= 97


def test_the_launcher_runs_the_real_haproxy(root: Path, tmp_path: Path) -> None:
    environment = haproxy_environment(tmp_path, root=root)
    launcher = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    done = subprocess.run([launcher, "-v"], env=environment, capture_output=True, text=True, check=True)
    assert "HAProxy version" in done.stdout


def test_the_launcher_says_why_it_does_not_start(root: Path, tmp_path: Path) -> None:
    environment = haproxy_environment(tmp_path, root=root)
    config = tmp_path / "haproxy.cfg"
    config.write_text("global\n")
    launcher = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    done = subprocess.run([launcher, "-f", str(config)], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not start HAProxy: The section 'defaults' stands 0 times" in done.stderr
    assert "Traceback" not in done.stderr
    assert config.read_text() == "global\n"


def test_a_directory_of_somebody_else_is_refused(root: Path, tmp_path: Path) -> None:
    directory = directory_of(haproxy_environment(tmp_path, root=root))
    directory.chmod(0o755)
    with pytest.raises(ClusterError, match="only this user can enter"):
        haproxy_environment(tmp_path, root=root)


def test_a_link_in_place_of_the_directory_is_refused(root: Path, tmp_path: Path) -> None:
    directory = directory_of(haproxy_environment(tmp_path, root=root))
    directory.rename(root / "else")
    directory.symlink_to(root / "else")
    with pytest.raises(ClusterError, match="only this user can enter"):
        haproxy_environment(tmp_path, root=root)


def test_a_root_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="too long"):
        haproxy_environment(tmp_path, root=tmp_path / ("x" * 30))
