"""Each machine has a certificate that the others accept, and all trust one authority."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from cryptography import x509

from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, OwnFacts, TlsFiles
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.errors import InvalidInput
from zejzl_ray.tls.authority import is_issued_by, names_of
from zejzl_ray.tls.credentials import SOON_DAYS, days_left


def check_tls_setting(facts: ClusterFacts) -> Iterator[Finding]:
    """TLS between the machines is on everywhere, or off everywhere."""
    off = [found.machine.name for found in facts.answering if found.own is not None and _is_off(facts, found)]
    if off and len(off) < len(facts.answering):
        others = ", ".join(found.machine.name for found in facts.answering if found.machine.name not in off)
        for name in off:
            yield Finding(
                name,
                "tls",
                f"TLS of Ray is off here (ZEJZL_RAY_TLS=off) and on at {others}",
                "Remove ZEJZL_RAY_TLS from ~/.bashrc there, or set it to off on all machines of a safe network.",
            )


def check_certificates(facts: ClusterFacts) -> Iterator[Finding]:
    """Present, fitting its key, of the one authority, valid now and for 30 days more, made out to its address."""
    using = [found for found, _ in facts.knowing("tls") if not _is_off(facts, found)]
    yield from _authorities(facts, using)
    for machine in using:
        if machine.own is not None:
            is_issuer = machine.machine == facts.cluster.head
            yield from _machine(machine, machine.own, facts.now_s, is_issuer=is_issuer)


def _is_off(facts: ClusterFacts, machine: MachineFacts) -> bool:
    settings = machine.own.settings if machine.own is not None else {}
    text = settings.get("RAY_TLS", "")
    if machine.machine == facts.cluster.head:
        text = facts.cluster.environment.get("ZEJZL_RAY_TLS") or text
    return text == "off"


def _authorities(facts: ClusterFacts, machines: list[MachineFacts]) -> Iterator[Finding]:
    held = {
        found.machine.name: found.own.tls.ca
        for found in machines
        if found.own is not None and found.own.tls.ca
    }
    if len(set(held.values())) < 2:
        return
    head = facts.head.machine.name
    wanted = held.get(head) or Counter(held.values()).most_common(1)[0][0]
    for name, authority in held.items():
        if authority != wanted:
            yield Finding(
                name,
                "tls",
                f"it trusts another certificate authority than {head}",
                f"Run at {head}: zejzl tls issue {name} --address ... --ssh ... --force",
            )


def _machine(machine: MachineFacts, own: OwnFacts, now_s: float, *, is_issuer: bool) -> Iterator[Finding]:
    name, address = machine.machine.name, next(iter(machine.addresses), machine.machine.address)
    issue = f"zejzl tls issue {name} --address {address} --ssh USER@{machine.machine.address}"
    remedy = "Run: zejzl tls init" if is_issuer else f"Run where `zejzl tls init` was run: {issue}"
    again = f"{remedy} --force"
    tls = own.tls
    yield from _files(name, tls)
    if tls.errors:
        return
    if tls.certificate is None:
        yield Finding(name, "tls", f"there is no certificate of {name} in {tls.directory}", remedy)
        return
    if tls.ca is None:
        yield Finding(name, "tls", f"there is no authority (ca.pem) in {tls.directory}", again)
        return
    if tls.key is None:
        yield Finding(
            name, "tls", f"there is no private key beside the certificate in {tls.directory}", again
        )
    elif tls.key.fits is False:
        yield Finding(name, "tls", "its private key does not belong to its certificate", again)
    try:
        certificate = x509.load_pem_x509_certificate(tls.certificate.encode())
        authority = x509.load_pem_x509_certificate(tls.ca.encode())
        names = names_of(certificate)
    except (ValueError, InvalidInput):
        yield Finding(name, "tls", f"a certificate in {tls.directory} cannot be read", again)
        return
    if tls.own_name and tls.own_name != name:  # certificates that were carried by hand may come without it
        what = f"{tls.directory} is of {tls.own_name}: the file machine in it must hold {name}"
        yield Finding(name, "tls", what, again)
    if not is_issued_by(certificate, authority):
        yield Finding(name, "tls", "its certificate is not of the authority beside it", again)
    yield from _times(name, certificate, now_s)
    if not _names_address(names.addresses, machine):
        what = f"its certificate does not name {address}, where the others reach it"
        yield Finding(name, "tls", what, again)


def _files(name: str, tls: TlsFiles) -> Iterator[Finding]:
    """The key is its user's alone, and all of them can be read."""
    if tls.key is not None and tls.key.mode & 0o077:
        what = f"others may read its private key: {tls.key.path} has the mode {tls.key.mode:04o}"
        yield Finding(name, "tls", what, f"Run there: chmod 600 {tls.key.path}")
    if tls.key is not None and not tls.key.is_own:
        what = f"its private key {tls.key.path} belongs to another user"
        yield Finding(name, "tls", what, f"Run there: chown $USER {tls.key.path}")
    elif tls.key is not None and tls.key.error:
        what = f"its private key {tls.key.path} cannot be read: {tls.key.error}"
        yield Finding(name, "tls", what, f"Run there: chmod 600 {tls.key.path}")
    for file, error in tls.errors.items():
        what = f"{tls.directory}/{file} cannot be read: {error}"
        yield Finding(name, "tls", what, f"Look there at owner and mode of {tls.directory}/{file}.")


def _times(name: str, certificate: x509.Certificate, now_s: float) -> Iterator[Finding]:
    left = days_left(certificate, now_s)
    if left < SOON_DAYS:
        what = "its certificate has expired" if left <= 0 else f"its certificate expires in {left:.0f} days"
        yield Finding(name, "tls", what, f"Run: zejzl tls renew {name}")
    if certificate.not_valid_before_utc.timestamp() > now_s:
        yield Finding(name, "tls", "its certificate is not valid yet", "Look at the clocks of the machines.")


def _names_address(named: tuple[str, ...], machine: MachineFacts) -> bool:
    wanted = machine.addresses or (machine.machine.address,)
    try:
        return any(str(ip_address(address)) in named for address in wanted)
    except ValueError:
        return True  # a name that does not resolve is another check's
