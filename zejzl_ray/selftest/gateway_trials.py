"""How each operation of security_gateway is tried.

A person, a program, a secret and a machine that asks to be let in are made and removed again. What concerns everybody
(keys, the policy, the administrator) is asked for by the program, which may not.
"""

import hashlib
import secrets
from typing import Any, Final

from pydantic import SecretStr

from zejzl_ray.contracts import audit, people, policy, security_feed, tokens, trust
from zejzl_ray.contracts import secrets as secrets_
from zejzl_ray.contracts.security_gateway import OPERATIONS, SERVICE
from zejzl_ray.ids import new_id
from zejzl_ray.selftest.trial import Bench, Trial, Who, without_right

_BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
_NOTHING: Final = "0" * 64  # a digest of nothing


def _key(name: str) -> str:
    return f"{SERVICE}.{name}"


def _keep_credential(bench: Bench, reply: tokens.NewCredential) -> None:
    bench.kept["credential"] = reply.credential.credential_id
    bench.kept["credential text"] = reply.secret


def _keep_token(bench: Bench, reply: tokens.Tokens) -> None:
    bench.kept["token of the program"] = reply.access_token.get_secret_value()


async def _log_in(bench: Bench) -> None:
    grant = tokens.PasswordGrant(user=bench.person, password=bench.need("password"))
    reply: Any = await bench.call(_BY_NAME["issue_token"], tokens.IssueToken(grant=grant), None)
    _keep_login(bench, reply)


def _keep_login(bench: Bench, reply: tokens.Tokens) -> None:
    bench.kept["token of the person"] = reply.access_token.get_secret_value()
    bench.kept["session"] = reply.session
    bench.kept["refresh token"] = reply.refresh_token


def _new_password(bench: Bench) -> SecretStr:
    # Random enough for any policy, and of all kinds of characters.
    bench.kept["password"] = SecretStr(f"{secrets.token_urlsafe(24)}-aA1!")
    password: SecretStr = bench.kept["password"]
    return password


def _evidence(bench: Bench) -> trust.ReportEvidence:
    evidence = trust.Evidence(
        evidence_id=bench.name, subject=f"agent:{bench.name}", is_success=True, reason="self-test"
    )
    return trust.ReportEvidence(evidence=(evidence,))


def _keep_enrolment(bench: Bench, reply: tokens.Enrolment) -> None:
    bench.kept["enrolment code"] = reply.code


def _entry(bench: Bench) -> audit.AuditEntry:
    return audit.AuditEntry(
        chain=bench.name, index=1, at_s=bench.now_s, kind="started", previous=_NOTHING, hash=_NOTHING
    )


FIRST: Final = (
    Trial(
        _key("create_user"),
        "a person of its own",
        lambda bench: people.CreateUser(user=bench.person, password=_new_password(bench)),
    ),
    Trial(
        _key("create_credential"),
        "for a program of its own",
        lambda bench: tokens.CreateCredential(subject=bench.program, label="self-test", lifetime_s=900),
        keep=_keep_credential,
    ),
    Trial(
        _key("issue_token"),
        "for that credential",
        lambda bench: tokens.IssueToken(
            grant=tokens.CredentialGrant(credential=bench.need("credential text"))
        ),
        keep=_keep_token,
    ),
)

TRIALS: Final = (
    Trial(
        _key("refresh_tokens"),
        "of a login of its own",
        lambda bench: tokens.RefreshTokens(refresh_token=bench.need("refresh token"), request_id=new_id()),
        prepare=_log_in,
        keep=_keep_login,
    ),
    Trial(
        _key("list_own_sessions"),
        "as that person",
        lambda _: tokens.ListOwnSessions(),
        who=Who.PERSON,
    ),
    Trial(
        _key("list_sessions"),
        "of that person",
        lambda bench: tokens.ListSessions(subject=f"user:{bench.person}"),
    ),
    Trial(
        _key("end_own_session"),
        "that login",
        lambda bench: tokens.EndSession(session=bench.need("session")),
        who=Who.PERSON,
    ),
    Trial(
        _key("end_session"),
        "another login of that person",
        lambda bench: tokens.EndSession(session=bench.need("session")),
        prepare=_log_in,
    ),
    Trial(_key("get_keys"), "read", lambda _: tokens.GetKeys()),
    Trial(_key("who_am_i"), "read", lambda _: tokens.WhoAmI()),
    Trial(
        _key("revoke_tokens"),
        "a token that does not exist",
        lambda bench: tokens.RevokeTokens(token_id=bench.name, reason="self-test"),
    ),
    Trial(
        _key("list_credentials"),
        "of its program",
        lambda bench: tokens.ListCredentials(subject=bench.program),
    ),
    Trial(
        _key("request_enrolment"),
        "a machine that does not exist",
        lambda bench: tokens.RequestEnrolment(
            machine=bench.name, secret_digest=hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        ),
        keep=_keep_enrolment,
    ),
    Trial(
        _key("decide_enrolment"),
        "refuses that machine",
        lambda bench: tokens.DecideEnrolment(
            machine=bench.name, code=bench.need("enrolment code"), is_approved=False
        ),
    ),
    without_right(
        _key("ensure_administrator"),
        lambda bench: tokens.EnsureAdministrator(secret_digest=_NOTHING, credential_id=bench.name),
    ),
    Trial(_key("list_signing_keys"), "read", lambda _: tokens.ListSigningKeys()),
    without_right(_key("rotate_keys"), lambda _: tokens.RotateKeys(reason="self-test")),
    Trial(_key("list_users"), "one page", lambda _: people.ListUsers(limit=1)),
    Trial(_key("get_user"), "its person", lambda bench: people.GetUser(user=bench.person)),
    Trial(
        _key("update_user"),
        "lifts lock-outs of its person",
        lambda bench: people.UpdateUser(user=bench.person, is_unlocked=True),
    ),
    Trial(
        _key("set_password"),
        "of its person",
        lambda bench: people.SetPassword(user=bench.person, new_password=_new_password(bench)),
    ),
    Trial(
        _key("get_policy"),
        "read",
        lambda _: policy.GetPolicy(),
        keep=lambda bench, reply: bench.kept.update(policy=reply.policy),
    ),
    without_right(_key("set_policy"), lambda bench: policy.SetPolicy(policy=bench.need("policy"))),
    Trial(
        _key("explain_access"),
        "what its program may",
        lambda bench: policy.ExplainAccess(subject=bench.program, operation=_key("who_am_i")),
    ),
    Trial(_key("report_evidence"), "of an agent that does not exist", _evidence),
    Trial(_key("get_trust"), "of that agent", lambda bench: trust.GetTrust(subject=f"agent:{bench.name}")),
    Trial(
        _key("get_trust_history"),
        "of that agent",
        lambda bench: trust.GetTrustHistory(subject=f"agent:{bench.name}"),
    ),
    Trial(_key("list_trust"), "one row", lambda _: trust.ListTrust(limit=1)),
    Trial(
        _key("reset_trust"),
        "of that agent",
        lambda bench: trust.ResetTrust(subject=f"agent:{bench.name}", reason="self-test"),
    ),
    Trial(
        _key("report_observations"),
        "one refusal of its program",
        lambda bench: trust.ReportObservations(
            observations=(trust.Observation(kind="denied", subject=bench.program, at_s=bench.now_s),)
        ),
    ),
    Trial(_key("list_security_events"), "one row", lambda _: trust.ListSecurityEvents(limit=1)),
    Trial(_key("watch_feed"), "without waiting", lambda _: security_feed.WatchFeed(timeout_s=0)),
    without_right(
        _key("anchor_audit"),
        lambda bench: audit.AnchorAudit(head=audit.ChainHead(chain=bench.name, index=0, hash=_NOTHING)),
    ),
    without_right(_key("record_audit"), lambda bench: audit.RecordAudit(entries=(_entry(bench),))),
    Trial(
        _key("set_secret"),
        "one of its own, for its program",
        lambda bench: secrets_.SetSecret(
            name=bench.secret, subjects=(bench.program,), value=SecretStr(secrets.token_hex(8))
        ),
    ),
    Trial(
        _key("list_secrets"),
        "of its program",
        lambda bench: secrets_.ListSecrets(subject=bench.program),
    ),
    Trial(
        _key("get_secret"),
        "as its program",
        lambda bench: secrets_.GetSecret(name=bench.secret),
        who=Who.PROGRAM,
    ),
    Trial(
        _key("rotate_secret"),
        "its own",
        lambda bench: secrets_.RotateSecret(name=bench.secret, value=SecretStr(secrets.token_hex(8))),
    ),
    Trial(_key("revoke_secret"), "its own", lambda bench: secrets_.RevokeSecret(name=bench.secret)),
    without_right(_key("rotate_master_key"), lambda _: secrets_.RotateMasterKey()),
)

# After everything else: with them the program and the person are gone.
LAST: Final = (
    Trial(_key("delete_user"), "its person", lambda bench: people.DeleteUser(user=bench.person)),
    Trial(
        _key("revoke_credential"),
        "of its program",
        lambda bench: tokens.RevokeCredential(credential_id=bench.need("credential"), reason="self-test"),
    ),
)
