"""The record of a DKIM key (RFC 6376, 3.6.1; RFC 8463): is it there, and does it hold the right one. Pure."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mail.decide.dns_tags import read_tags
from mail.decide.verdicts import DkimKey, RecordToPaste, State, Verdict, not_known, txt_record
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

SHORTEST_RSA, USUAL_RSA = 1024, 2048  # bits; RFC 8301
ED25519_OCTETS = 32
_WORKS = ("good", "warning")


def dkim_name(key: DkimKey) -> str:
    """Return where the record of a key stands.

    >>> dkim_name(DkimKey("acme.com", "coqui1"))
    'coqui1._domainkey.acme.com'
    """
    return f"{key.selector}._domainkey.{key.domain}"


def dkim_record(key: DkimKey, replaces: tuple[str, ...] = ()) -> RecordToPaste:
    """Return the record to paste for a key of ours.

    >>> dkim_record(DkimKey("acme.com", "coqui1", "ed25519", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")).value
    'v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
    """
    return txt_record(dkim_name(key), f"v=DKIM1; k={key.algorithm}; p={key.public_key}", replaces)


def judge_dkim(key: DkimKey, answers: DnsAnswers) -> Verdict:
    """Return whether receivers can check signatures of a key: ours, or one that only a provider knows."""
    name = dkim_name(key)
    answer = answers.ask(name, "TXT")
    if not answer.is_known:
        return not_known("dkim", name, answer, subject=key.selector)
    state, reason = _state(key, name, answer.records)
    sentences = [reason]
    if answer.aliases and state == "bad":
        code = "dkim_alias_remove" if key.public_key else "dkim_alias_broken"
        sentences.append(why(code, name=name, target=answer.aliases[-1]))
    elif answer.aliases:
        sentences.append(why("dkim_alias", name=name, target=answer.aliases[-1]))
    if state == "good" or not key.public_key:
        return Verdict("dkim", state, tuple(sentences), subject=key.selector)
    record = dkim_record(key, answer.aliases[:1] or (answer.records if _is_meant(answer.records) else ()))
    return Verdict("dkim", state, tuple(sentences), record, key.selector)


def judge_selectors(keys: Sequence[DkimKey], answers: DnsAnswers) -> dict[DkimKey, Verdict]:
    """Return the same for the keys that one provider signs with, in turn: one that works is enough for today.

    Where another has no key behind the CNAME, the provider will put one there when it is due. Without the CNAME, it
    can't.
    """
    verdicts = {key: judge_dkim(key, answers) for key in keys}
    if any(verdict.state in _WORKS for verdict in verdicts.values()):
        return {key: _beside_a_good_one(key, verdict, answers) for key, verdict in verdicts.items()}
    return verdicts


def _beside_a_good_one(key: DkimKey, verdict: Verdict, answers: DnsAnswers) -> Verdict:
    if verdict.state != "bad":
        return verdict
    name = dkim_name(key)
    answer = answers.ask(name, "TXT")
    is_empty = not answer.records or verdict.sentences[0]["code"] == "dkim_revoked"
    if answer.aliases and is_empty:
        return replace(verdict, state="good", sentences=(why("dkim_in_turn", name=name, target=answer.aliases[-1]),))
    code = "dkim_publish_all" if not answer.records else "dkim_other_works"
    return replace(verdict, state="warning", sentences=(*verdict.sentences, why(code, name=name)))


def _state(key: DkimKey, name: str, records: tuple[str, ...]) -> tuple[State, Why]:
    if not records:
        return "bad", why("dkim_missing" if key.public_key else "dkim_missing_provider", name=name, domain=key.domain)
    if not _is_meant(records):
        return "bad", why("dkim_not_dkim" if key.public_key else "dkim_not_dkim_provider", name=name)
    if len(records) > 1:
        return "bad", why("dkim_several", name=name, count=len(records))
    tags = read_tags(records[0])
    if tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return "bad", why("dkim_unreadable", name=name)
    published = "".join(tags["p"].split())
    if not published:
        return "bad", why("dkim_revoked", name=name)
    return _of_tags(tags, key, name) or _of_key(published, tags.get("k", "rsa").lower(), key, name)


def _is_meant(records: tuple[str, ...]) -> bool:
    """Say whether one of the texts is meant to be a key; a wildcard answers for every name."""
    tags = [read_tags(record) for record in records]
    return any("p" in one or "k" in one or one.get("v", "").upper().startswith("DKIM") for one in tags)


def _of_tags(tags: dict[str, str], key: DkimKey, name: str) -> tuple[State, Why] | None:
    """What the tags beside the key forbid."""
    algorithm = tags.get("k", "rsa").lower()
    if key.public_key and algorithm != key.algorithm:
        return "bad", why("dkim_other_type", name=name, found=algorithm, wanted=key.algorithm)
    if "h" in tags and "sha256" not in tags["h"].lower().replace(" ", "").split(":"):
        return "bad", why("dkim_restricted", name=name, tag=f"h={tags['h']}")
    if "s" in tags and not {"*", "email"} & set(tags["s"].lower().replace(" ", "").split(":")):
        return "bad", why("dkim_restricted", name=name, tag=f"s={tags['s']}")
    return None


def _of_key(published: str, algorithm: str, key: DkimKey, name: str) -> tuple[State, Why]:
    if key.public_key and published != key.public_key and key.public_key.startswith(published):
        return "bad", why("dkim_cut", name=name)
    if key.public_key and published != key.public_key and _bits(published, algorithm) is not None:
        return "bad", why("dkim_wrong_key", name=name)
    bits = _bits(published, algorithm)
    if bits is None:
        return "bad", why("dkim_unreadable", name=name)
    if algorithm == "rsa" and bits < SHORTEST_RSA:
        return "bad", why("dkim_too_short", name=name, bits=bits, least=SHORTEST_RSA)
    if algorithm == "rsa" and bits < USUAL_RSA:
        return "warning", why("dkim_short", name=name, bits=bits, usual=USUAL_RSA)
    return "good", why("dkim_good" if key.public_key else "dkim_good_provider", name=name, domain=key.domain)


def _bits(published: str, algorithm: str) -> int | None:
    """The length of a published key; None if it can't be read."""
    try:
        octets = base64.b64decode(published, validate=True)
    except binascii.Error:
        return None
    if algorithm == "ed25519":
        return 256 if len(octets) == ED25519_OCTETS else None
    try:
        public_key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return public_key.key_size if isinstance(public_key, RSAPublicKey) else None
