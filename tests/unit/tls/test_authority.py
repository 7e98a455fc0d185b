import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from zejzl_ray.errors import InvalidInput
from zejzl_ray.tls.authority import (
    AUTHORITY_DAYS,
    MACHINE_DAYS,
    Authority,
    is_issued_by,
    make_authority,
    make_request,
    names_of,
    new_key,
    requested_key,
    sign_certificate,
)
from zejzl_ray.tls.names import CertificateNames, certificate_names

_DAY_S = 86_400


@pytest.fixture
def authority(now_s: float) -> Authority:
    return make_authority("home", now_s)


def test_the_authority_signs_for_ten_years_and_makes_no_further_authorities(
    authority: Authority, now_s: float
) -> None:
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage)

    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert authority.certificate.not_valid_after_utc.timestamp() == now_s + AUTHORITY_DAYS * _DAY_S
    assert isinstance(authority.key.curve, ec.SECP256R1)


def test_a_machine_is_server_and_client_for_a_year_under_its_names_only(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    made = sign_certificate(authority, names, new_key().public_key(), now_s)
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names_of(made) == names
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_before_utc.timestamp() == now_s - 3600  # clocks differ
    assert made.not_valid_after_utc.timestamp() == now_s + MACHINE_DAYS * _DAY_S


def test_another_library_verifies_the_chain_for_the_address_and_for_no_other(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    made = sign_certificate(authority, names, new_key().public_key(), now_s)
    policy = PolicyBuilder().store(Store([authority.certificate])).time(made.not_valid_before_utc)

    wanted = x509.IPAddress(ipaddress.ip_address("192.168.1.10"))
    policy.build_server_verifier(wanted).verify(made, [])
    policy.build_server_verifier(x509.DNSName("mainpc.lan")).verify(made, [])
    policy.build_client_verifier().verify(made, [])
    with pytest.raises(x509.verification.VerificationError):
        policy.build_server_verifier(x509.DNSName("pc2.lan")).verify(made, [])


def test_no_certificate_outlives_its_authority(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    late_s = now_s + (AUTHORITY_DAYS - 10) * _DAY_S

    made = sign_certificate(authority, names, new_key().public_key(), late_s)

    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_an_authority_that_has_expired_signs_nothing(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    with pytest.raises(InvalidInput, match="authority has expired"):
        sign_certificate(authority, names, new_key().public_key(), now_s + AUTHORITY_DAYS * _DAY_S)


def test_a_request_carries_the_key_and_the_names_come_from_whoever_signs(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    key = new_key()
    request = make_request("somebody-else", key).public_bytes(Encoding.PEM)

    made = sign_certificate(authority, names, requested_key(request), now_s)

    assert made.public_key() == key.public_key()
    assert names_of(made).machine == "mainpc"


@pytest.mark.parametrize("kind", ["text", "bent", "other curve", "other algorithm"])
def test_a_request_that_proves_nothing_is_refused(kind: str) -> None:
    pem = make_request("pc2", new_key()).public_bytes(Encoding.PEM)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if kind == "text":
        pem = b"nothing"
    elif kind == "bent":
        der = bytearray(make_request("pc2", new_key()).public_bytes(Encoding.DER))
        der[-3] ^= 1
        pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    elif kind == "other curve":
        pem = builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()).public_bytes(
            Encoding.PEM
        )
    else:
        pem = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)

    with pytest.raises(InvalidInput, match="request for a certificate"):
        requested_key(pem)


def test_a_certificate_of_another_authority_is_told_apart(
    authority: Authority, names: CertificateNames, now_s: float
) -> None:
    other = make_authority("home", now_s)
    made = sign_certificate(authority, names, new_key().public_key(), now_s)

    assert is_issued_by(made, authority.certificate)
    assert not is_issued_by(made, other.certificate)


def test_the_authoritys_own_certificate_is_that_of_no_machine(authority: Authority) -> None:
    with pytest.raises(InvalidInput, match="not that of a machine"):
        names_of(authority.certificate)


def test_a_printed_authority_does_not_show_its_key(authority: Authority) -> None:
    assert repr(authority) == f"Authority({authority.certificate.subject.rfc4514_string()})"


def test_names_survive_the_certificate(authority: Authority, now_s: float) -> None:
    names = certificate_names("pc_2", ("b.example",), ("fd00::2", "10.0.0.2"))

    assert names_of(sign_certificate(authority, names, new_key().public_key(), now_s)) == names
