import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.commands.records import RecordDraft, Records
from zejzl_ray.errors import ServiceUnavailable, SettingsInvalid, StoreError
from zejzl_ray.security import service_credentials
from zejzl_ray.security.at_rest import MAX_KEYS, MasterKeys
from zejzl_ray.security.tag_key import Tagger, TagKey

OLD, NEW = "a1" * 32, "b2" * 32


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_encrypted_is_decrypted_in_its_place(plaintext: bytes, place: str) -> None:
    master = MasterKeys.parse(OLD)
    text = master.encrypt(place, plaintext)
    assert text.startswith("v1.")
    assert master.decrypt(place, text) == plaintext
    with pytest.raises(StoreError, match="changed or moved"):
        master.decrypt(place + "x", text)


def test_the_same_text_is_never_encrypted_alike() -> None:
    master = MasterKeys.parse(OLD)
    assert master.encrypt("p", b"secret") != master.encrypt("p", b"secret")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-2],
        lambda text: text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB"),
        lambda text: text + "!",
        lambda text: ".".join(text.split(".")[:2]) + ".",
        lambda text: ".".join(text.split(".")[:2]) + ".ü",
    ],
)
def test_a_changed_text_is_refused(change: object) -> None:
    master = MasterKeys.parse(OLD)
    with pytest.raises(StoreError, match="changed or moved"):
        master.decrypt("p", change(master.encrypt("p", b"secret")))  # type: ignore[operator]


@pytest.mark.parametrize("text", ["", "v1", "v1.00000000.AAAA", "v2" + "x", "plain"])
def test_a_text_of_an_unknown_key_names_its_place_and_the_remedy(text: str) -> None:
    with pytest.raises(
        StoreError, match=r"secret/x is encrypted with a master key that is not in the key file"
    ):
        MasterKeys.parse(OLD).decrypt("secret/x", text)


def test_all_keys_decrypt_and_the_newest_encrypts() -> None:
    old = MasterKeys.parse(OLD)
    text = old.encrypt("p", b"secret")
    both = MasterKeys.parse(f"{NEW}\n{OLD}\n")
    assert len(both) == 2
    assert both.decrypt("p", text) == b"secret"
    assert both.needs_rotation(text)
    anew = both.rotated("p", text)
    assert not both.needs_rotation(anew)
    assert both.rotated("p", anew) is anew
    assert MasterKeys.parse(NEW).decrypt("p", anew) == b"secret"


def test_the_text_shows_nothing_of_the_key() -> None:
    assert OLD[:8] not in MasterKeys.parse(OLD).encrypt("p", b"x")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "1 to 16"),
        ("a1" * 31, "Line 1"),
        (f"{OLD}\nzz{OLD[2:]}", "Line 2"),
        (f"{OLD}\n\n{OLD}", "twice"),
        ("\n".join(f"{number:064x}" for number in range(MAX_KEYS + 1)), "1 to 16"),
    ],
)
def test_a_key_file_with_something_else_is_refused_and_not_quoted(text: str, match: str) -> None:
    with pytest.raises(SettingsInvalid, match=match) as caught:
        MasterKeys.parse(text)
    assert "a1a1" not in str(caught.value)


def test_master_keys_are_not_printed_and_do_not_travel() -> None:
    master = MasterKeys.parse(f"{NEW}\n{OLD}")
    assert repr(master) == "MasterKeys(2 keys)"
    with pytest.raises(TypeError, match="do not leave"):
        pickle.dumps(master)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "security_key"
    with pytest.raises(SettingsInvalid, match="No master key at"):
        MasterKeys.read(path)
    path.write_text(MasterKeys.new_line())
    path.chmod(0o644)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        MasterKeys.read(path)
    path.chmod(0o600)
    assert len(MasterKeys.read(path)) == 1
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid):
        MasterKeys.read(path)


def test_derived_keys_differ_by_purpose_and_are_kept_in_bounds() -> None:
    master = MasterKeys.parse(OLD)
    first = master.derived("purpose 0")
    seen = {master.derived(f"purpose {number}") for number in range(600)}
    assert len(seen) == 600
    assert master.derived("purpose 0") == first
    assert len(master._derived) <= 256


# --- credentials of services --------------------------------------------------------------------------------------


def test_a_derived_credential_follows_from_the_master_key_and_the_subject() -> None:
    master, subject = MasterKeys.parse(OLD), "service:core_orchestrator"
    text = service_credentials.derive(master, subject).get_secret_value()
    assert text == service_credentials.derive(master, subject).get_secret_value()
    assert service_credentials.subject_of(master, text) == subject
    assert service_credentials.subject_of(MasterKeys.parse(NEW), text) is None
    assert service_credentials.subject_of(MasterKeys.parse(f"{NEW}\n{OLD}"), text) == subject
    digits = text.rpartition("_")[2]
    assert service_credentials.subject_of(master, f"zs_service.root_{digits}") is None
    assert service_credentials.subject_of(master, f"zs_machine.core_orchestrator_{digits}") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zs_",
        "zs_service.root",
        "zs_user.root_" + "0" * 64,
        "zk_service.root_" + "0" * 64,
        "zs_service.root_" + "g" * 64,
    ],
)
def test_what_is_no_derived_credential_has_no_subject(text: str) -> None:
    assert service_credentials.subject_of(MasterKeys.parse(OLD), text) is None


# --- tags ---------------------------------------------------------------------------------------------------------


def test_tags_are_for_one_purpose_and_need_a_key_that_is_loaded() -> None:
    key = TagKey(MasterKeys.parse(OLD))
    tagger = Tagger(key, "one")
    with pytest.raises(ServiceUnavailable):
        tagger.tag("text")
    records = Records()
    assert not key.load(records, 0.0)
    draft = RecordDraft(records, 0.0)
    key.decide_ensure(draft)
    key.decide_ensure(draft)
    assert len(draft.ops) == 1
    draft.apply()
    assert key.load(records, 0.0)
    tag = tagger.tag("text")
    assert tagger.is_tag("text", tag)
    assert tagger.is_tag("text", tag[:32])
    assert not tagger.is_tag("text", tag[:31])
    assert not tagger.is_tag("other", tag)
    assert not tagger.is_tag("text", "ü" * 64)
    assert not Tagger(key, "two").is_tag("text", tag)
