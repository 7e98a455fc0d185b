"""What identities of a cluster hang on: its master key, the administrator's credential, the ingress' own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from zejzl_ray.cluster.credential_file import ensure_master_key, renew_credential_file
from zejzl_ray.cluster.local_plan import INGRESS_CREDENTIAL_FILE, MASTER_KEY_FILE, TOKEN_FILE
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.service_credentials import derive

ROOT_SUBJECT: Final = "service:root"
INGRESS_SUBJECT: Final = "service:ingress"


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities that a start hands out.

    Attributes:
        keys: credentials of services and machines are derived from these.
        administrator: the administrator's credential.
        administrator_file: where it lies.
        ingress_file: credential of the ingress; its replicas run on the head's machine and read it there.
        is_administrator_renewed: the file held something else before, such as a bare token.
    """

    keys: MasterKeys
    administrator: SecretStr
    administrator_file: Path
    ingress_file: Path
    is_administrator_renewed: bool = False

    def credential_of(self, subject: str) -> SecretStr:
        """Return the credential of a service or machine of the cluster, the same at every start."""
        return derive(self.keys, subject)


def ensure_identities(data_dir: Path) -> Identities:
    """Make what is missing in the data directory, all of mode 0600; what is there is kept. Safe to repeat.

    Raises:
        ClusterError: others may read a file, or it cannot be written.
    """
    keys = MasterKeys.parse(ensure_master_key(data_dir / MASTER_KEY_FILE).get_secret_value())
    administrator_file = data_dir / TOKEN_FILE
    administrator, is_renewed = renew_credential_file(administrator_file)
    ingress_file = data_dir / INGRESS_CREDENTIAL_FILE
    write_private_file(ingress_file, derive(keys, INGRESS_SUBJECT).get_secret_value() + "\n")
    return Identities(
        keys=keys,
        administrator=administrator,
        administrator_file=administrator_file,
        ingress_file=ingress_file,
        is_administrator_renewed=is_renewed,
    )
