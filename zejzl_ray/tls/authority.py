"""The cluster's own certificate authority, as pure functions over X.509: no file is read or written here.

Keys are on the curve P-256. The authority signs machines only, no further authorities (path length 0). A
machine's certificate serves both ends of a connection, since each process of Ray is server and client.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from zejzl_ray.errors import InvalidInput
from zejzl_ray.tls.names import CertificateNames, certificate_names

AUTHORITY_DAYS: Final = 3650
MACHINE_DAYS: Final = 365
# Clocks of two machines differ a little; a certificate made a moment ago must be valid on both.
_BACKDATED: Final = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificate and key that sign; the key is not shown when this is printed."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(cluster: str, now_s: float) -> Authority:
    """Return a new authority, valid for ten years.

    Args:
        cluster: what it is called in its certificate, up to 40 characters.
        now_s: wall time.
    """
    key, name, now = new_key(), _name(f"zejzl authority {cluster}"), _time(now_s)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def sign_certificate(
    authority: Authority, names: CertificateNames, public_key: ec.EllipticCurvePublicKey, now_s: float
) -> x509.Certificate:
    """Return the certificate of one machine, valid for a year, but not longer than its authority.

    Args:
        authority: who signs.
        names: what it is made out to; nothing is taken from elsewhere.
        public_key: the machine's own.
        now_s: wall time.

    Raises:
        InvalidInput: the authority itself has expired.
    """
    now = _time(now_s)
    ends = min(now + datetime.timedelta(days=MACHINE_DAYS), authority.certificate.not_valid_after_utc)
    if ends <= now:
        raise InvalidInput(
            "The certificate authority has expired.", "Make a new one: `zejzl tls init --force`."
        )
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_name(names.machine))
        .issuer_name(authority.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    *(x509.DNSName(name) for name in names.dns),
                    *(x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )


def make_request(machine: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """Return what a machine sends to have its key certified; the key itself stays where it is."""
    return x509.CertificateSigningRequestBuilder().subject_name(_name(machine)).sign(key, hashes.SHA256())


def requested_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request; its names are not looked at, whoever signs says them.

    Raises:
        InvalidInput: it is no request, its sender does not hold the key, or the key is of another kind.
    """
    remedy = "It comes from `zejzl tls request` of the same version."
    try:
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        is_valid = request.is_signature_valid
    except ValueError:
        raise InvalidInput("This is not a request for a certificate.", remedy) from None
    if not is_valid or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InvalidInput("The request for a certificate is not signed by a key on P-256.", remedy)
    return key


def names_of(certificate: x509.Certificate) -> CertificateNames:
    """Return what a machine's certificate is made out to.

    Raises:
        InvalidInput: it is not one of those that :func:`sign_certificate` makes.
    """
    try:
        (machine,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise InvalidInput("The certificate is not that of a machine.") from None
    return certificate_names(
        str(machine.value),
        others.get_values_for_type(x509.DNSName),
        [str(address) for address in others.get_values_for_type(x509.IPAddress)],
    )


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether the authority has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _time(now_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now_s, datetime.UTC).replace(microsecond=0)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
