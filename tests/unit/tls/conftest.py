from pathlib import Path

import pytest

from zejzl_ray.tls.directory import TlsDirectory
from zejzl_ray.tls.names import CertificateNames, certificate_names

NOW_S = 1_800_000_000.0
ADDRESS = "192.168.1.10"


@pytest.fixture
def now_s() -> float:
    return NOW_S


@pytest.fixture
def names() -> CertificateNames:
    return certificate_names("mainpc", ("mainpc.lan",), (ADDRESS,))


@pytest.fixture
def directory(tmp_path: Path, names: CertificateNames) -> TlsDirectory:
    """The directory of the machine where ``zejzl tls init`` was run."""
    made = TlsDirectory(tmp_path / "data" / "tls")
    made.init(names, NOW_S)
    return made


@pytest.fixture
def other_machine(tmp_path: Path) -> TlsDirectory:
    """The directory of another machine, where nothing is yet."""
    return TlsDirectory(tmp_path / "other" / "tls")
