from pathlib import Path

import pytest

from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.policy import ingress_credentials, ray_credentials

_ADDRESS = "192.168.1.10"


def settings_of(directory: TlsDirectory, **changes: object) -> Settings:
    return Settings.model_validate({"data_dir": directory.path.parent, **changes})


def test_between_machines_ray_speaks_tls_and_on_loopback_it_does_not(
    directory: TlsDirectory, now_s: float
) -> None:
    settings = settings_of(directory)

    found = ray_credentials(settings, "mainpc", _ADDRESS, now_s)

    assert found is not None
    assert found.files.certificate == directory.path / "mainpc.pem"
    assert ray_credentials(settings, "mainpc", "127.0.0.1", now_s) is None
    assert ray_credentials(settings, "mainpc", "::1", now_s) is None


def test_a_machine_without_a_certificate_does_not_join_unless_somebody_says_so(
    directory: TlsDirectory, now_s: float
) -> None:
    with pytest.raises(ClusterError) as caught:
        ray_credentials(settings_of(directory), "pc2", "192.168.1.11", now_s)

    assert "pc2 does not start in a cluster of several machines" in str(caught.value)
    assert "zejzl tls issue pc2 --address 192.168.1.11" in str(caught.value)
    assert "ZEJZL_RAY_TLS=off" in str(caught.value)
    assert ray_credentials(settings_of(directory, ray_tls="off"), "pc2", "192.168.1.11", now_s) is None


def test_on_loopback_the_ingress_needs_no_certificate(tmp_path: Path, now_s: float) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert ingress_credentials(Settings(data_dir=tmp_path, bind_host=host), now_s) is None


@pytest.mark.parametrize("changes", [{"bind_host": "0.0.0.0"}, {"bind_host": _ADDRESS}, {"http_tls": "on"}])
def test_beyond_loopback_and_where_asked_it_does(
    directory: TlsDirectory, tmp_path: Path, now_s: float, changes: dict[str, str]
) -> None:
    found = ingress_credentials(settings_of(directory, **changes), now_s)
    assert found is not None
    assert found.files.key == directory.path / "mainpc.key"

    with pytest.raises(ClusterError, match=r"ZEJZL_(BIND_HOST|HTTP_TLS)=.*`zejzl tls init`"):
        ingress_credentials(Settings.model_validate({"data_dir": tmp_path / "bare", **changes}), now_s)


def test_a_certificate_that_will_not_do_for_the_address_is_refused(
    directory: TlsDirectory, now_s: float
) -> None:
    with pytest.raises(ClusterError, match=r"ZEJZL_BIND_HOST=192\.168\.1\.99.*does not name"):
        ingress_credentials(settings_of(directory, bind_host="192.168.1.99"), now_s)
    assert ingress_credentials(settings_of(directory, bind_host="mainpc.lan"), now_s) is not None
    with pytest.raises(ClusterError, match="has expired"):
        ingress_credentials(settings_of(directory, bind_host=_ADDRESS), now_s + 400 * 86_400)
