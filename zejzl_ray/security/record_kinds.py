"""Every kind of record that security_gateway keeps; what is not here is not loaded after a restart."""

from typing import Final

from zejzl_ray.commands.records import Record
from zejzl_ray.security.alive_record import AliveRecord
from zejzl_ray.security.credential_records import CredentialRecord
from zejzl_ray.security.enrolment import EnrolmentRecord
from zejzl_ray.security.kept_chains import KeptChain
from zejzl_ray.security.lockout import LockoutRecord
from zejzl_ray.security.policy_record import PolicyRecord
from zejzl_ray.security.repeat_answers import AnswerRecord
from zejzl_ray.security.revoking import RevocationRecord
from zejzl_ray.security.secrets import SecretRecord
from zejzl_ray.security.security_events import SecurityEventRecord
from zejzl_ray.security.session_records import SessionRecord, SubjectSessions
from zejzl_ray.security.signatures import NonceRecord
from zejzl_ray.security.signing_keys import RotationRecord, SigningKeyRecord
from zejzl_ray.security.tag_key import TagKeyRecord
from zejzl_ray.security.trust_records import SeenEvidence, TrustPointRecord, TrustRecord
from zejzl_ray.security.user_record import UserRecord

KINDS: Final[tuple[type[Record], ...]] = (
    AliveRecord,
    AnswerRecord,
    CredentialRecord,
    EnrolmentRecord,
    KeptChain,
    LockoutRecord,
    NonceRecord,
    PolicyRecord,
    RevocationRecord,
    RotationRecord,
    SecretRecord,
    SecurityEventRecord,
    SeenEvidence,
    SessionRecord,
    SigningKeyRecord,
    SubjectSessions,
    TagKeyRecord,
    TrustPointRecord,
    TrustRecord,
    UserRecord,
)
