"""The keys that sign emails (DKIM) as this process has them in memory, and who signs: we or the server."""

import base64
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import current_app
from sqlalchemy import select

from mail.decide.signing import signing_domain
from mail.errors import SigningKeyUnreadable
from mail.message.address import first_address
from mail.message.dkim import Algorithm, SigningKey
from mail.message.domains import wire_domain
from mail.settings.providers import at
from models import DkimKeyPair, Unreadable, db, reading

log = logging.getLogger("coquimail.outgoing")

READ_AGAIN = 2.0  # seconds that what was read counts; a key that is gone leaves its record in DNS for longer
RSA_BITS = 2048

_KEYS = "coquimail-signing-keys"


@dataclass(frozen=True)
class SigningKeys:
    """The keys in use by domain; of one that can't be read its selector."""

    keys: Mapping[str, tuple[SigningKey, ...]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    read_at: float = float("-inf")

    def of_sender(self, mailbox: str) -> tuple[SigningKey, ...]:
        """Return the keys that sign an email with this From, none where we sign for nobody there.

        Raises ``SigningKeyUnreadable`` when one of them was stored under another key of ours.
        """
        if not self.keys and not self.unreadable:
            return ()
        author = first_address(mailbox)
        domain = signing_domain(author.domain, {*self.keys, *self.unreadable}) if author else ""
        if domain in self.unreadable:
            raise SigningKeyUnreadable(domain=domain, selector=self.unreadable[domain])
        return self.keys.get(domain, ())


def signing_keys() -> SigningKeys:
    """Return the keys in use, read a moment ago at most. For the worker, where no transaction is open."""
    known: SigningKeys = current_app.extensions.get(_KEYS) or SigningKeys()
    if time.monotonic() - known.read_at > READ_AGAIN:
        known = current_app.extensions[_KEYS] = _read(known)
    return known


def _read(known: SigningKeys) -> SigningKeys:
    row = DkimKeyPair
    with reading():
        columns = (row.domain, row.selector, row.algorithm, row.private_key)
        # Ed25519 comes last: who knows both algorithms looks at all, who knows one finds RSA first.
        rows = db.session.execute(select(*columns).where(row.state == "signing").order_by(row.algorithm.desc(), row.id))
        found = rows.all()
    loaded = {(key.domain, key.selector): key for keys in known.keys.values() for key in keys}
    keys: dict[str, tuple[SigningKey, ...]] = {}
    unreadable: dict[str, str] = {}
    for one in found:
        domain = wire_domain(one.domain) or one.domain
        key = loaded.get((domain, one.selector)) or _loaded(domain, one)
        if key is None or isinstance(one.private_key, Unreadable):
            unreadable[one.domain] = one.selector
        else:
            keys[one.domain] = (*keys.get(one.domain, ()), key)
    return SigningKeys(keys, unreadable, time.monotonic())


def _loaded(domain: str, row: Any) -> SigningKey | None:
    """Return a key ready to sign, None for one that can't be read: what is wrong with it is no email's fault."""
    if isinstance(row.private_key, Unreadable):
        return None
    try:
        sign = signer(row.algorithm, row.private_key)
    except Exception as error:
        log.warning("the key %s of %s can't be used (%s)", row.selector, domain, type(error).__name__)
        return None
    return SigningKey(domain, row.selector, row.algorithm, sign, row.private_key)


def signs_itself(choice: str, host: str) -> bool:
    """Say whether a server signs emails itself: as its record says, else as it is usual at its provider."""
    provider = at(host) if choice == "provider" else None
    return choice == "server" or (provider is not None and provider.dns is not None)


# --- the keys themselves; the library is loaded by those who need it


def new_key(algorithm: Algorithm) -> tuple[str, str]:
    """Return a new key: its private half as it is stored, and its public half as a DNS record has it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    made: Any
    if algorithm == "rsa":
        made = generate_private_key(65537, RSA_BITS)
        public = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        made = Ed25519PrivateKey.generate()
        public = made.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    private = made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


def signer(algorithm: Algorithm, private: str) -> Callable[[bytes], bytes]:
    """Return what signs octets with a stored key."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    key: Any = load_der_private_key(base64.b64decode(private), None)
    if algorithm == "rsa":
        padding, sha256 = PKCS1v15(), SHA256()
        return lambda octets: bytes(key.sign(octets, padding, sha256))
    return lambda octets: bytes(key.sign(hashlib.sha256(octets).digest()))  # RFC 8463: what is signed is the hash
