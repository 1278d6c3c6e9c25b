"""The keys that sign emails of our domains (DKIM), as they are judged and shown."""

from collections.abc import Sequence

from sqlalchemy import select

from mail.decide.signing import signing_domain
from mail.decide.verdicts import DkimKey
from mail.message.dkim import Algorithm
from mail.message.domains import wire_domain
from mail.settings import office
from models import DkimKeyPair, db


def keys_of(domain: str) -> Sequence[DkimKeyPair]:
    """Return the keys of a domain (as it is compared), RSA first, the oldest first."""
    order = (DkimKeyPair.algorithm.desc(), DkimKeyPair.id)
    return db.session.scalars(select(DkimKeyPair).where(DkimKeyPair.domain == domain).order_by(*order)).all()


def domains_with_keys() -> Sequence[str]:
    """Return the domains that have a key, whether or not we still send from them."""
    return db.session.scalars(select(DkimKeyPair.domain).distinct().order_by(DkimKeyPair.domain)).all()


def keys_in_use(domain: str) -> list[DkimKey]:
    """Return the keys that sign emails of a domain: its own, else those of the nearest domain above that has some."""
    signs = signing_domain(domain, office.load().office.signing)
    return [public_half(key) for key in keys_of(signs) if key.state == "signing"] if signs else []


def public_half(key: DkimKeyPair) -> DkimKey:
    """Return what the record of a key is judged by."""
    algorithm: Algorithm = "ed25519" if key.algorithm == "ed25519" else "rsa"
    return DkimKey(wire_domain(key.domain) or key.domain, key.selector, algorithm, key.public_key)
