"""Wrong passwords are counted by account *and* caller; a device that was let in before passes.

A device that was let in holds a signed cookie for that account and has a count of its own. All others share the counts
of the account and of the caller, which are ten times as high: they hold off a guess that comes from many places.
"""

import hashlib
import ipaddress
import secrets
from datetime import timedelta

from flask import Response, after_this_request, current_app, request
from flask_security import hash_password
from flask_security.utils import verify_password
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import delete, func, select

from mail.settings.clock import now
from models import LoginAttempt, db, writing
from webapp.passwords import LONGEST_PASSWORD

TRIES, TRIES_OF_MANY, LOCKED_FOR = 10, 100, timedelta(minutes=15)
DEVICE_COOKIE, DEVICE_AGE = "coquimail_device", 365 * 24 * 3600
MOST_ACCOUNTS = 5  # that one device is known for


class TooManyTries(Exception):
    """Nobody may try now; the right password does not help either."""


def is_right(account: str, kept: str, password: str) -> bool:
    """Return whether a password is the one of an account; raises ``TooManyTries``. ``kept`` is "" for no account.

    Ends the transaction: comparing is slow on purpose. A try is counted before it is made, so that many at the same
    time are no way around the limit.
    """
    limits = _limits(account)
    counted = _count(limits)
    # An unknown account takes as long as a wrong password.
    right = len(password) <= LONGEST_PASSWORD and verify_password(password, kept or _decoy()) and bool(kept)
    if right:
        with writing():
            db.session.execute(delete(LoginAttempt).where(LoginAttempt.id.in_(counted)))
            db.session.execute(delete(LoginAttempt).where(LoginAttempt.key == next(iter(limits))))
            db.session.commit()
    return right


def _limits(account: str) -> dict[str, int]:
    """The keys under which a try counts, and how many each may have; the first is this person's own."""
    device = _devices().get(_digest(account)[:16])
    if device:
        return {_digest("device", device): TRIES}
    caller = caller_network()
    return {
        _digest("pair", account, caller): TRIES,
        _digest("account", account): TRIES_OF_MANY,
        _digest("caller", caller): TRIES_OF_MANY,
    }


def _count(limits: dict[str, int]) -> list[int]:
    moment = now()
    db.session.rollback()
    with writing():
        db.session.execute(delete(LoginAttempt).where(LoginAttempt.at < moment - timedelta(days=1)))
        recent = LoginAttempt.at > moment - LOCKED_FOR
        counts = dict.fromkeys(limits, 0)
        for key in limits:
            counts[key] = db.session.scalar(select(func.count()).where(LoginAttempt.key == key, recent)) or 0
        full = [key for key, most in limits.items() if counts[key] >= most]
        rows = [] if full else [LoginAttempt(key=key, at=moment) for key in limits]
        db.session.add_all(rows)
        db.session.flush()
        ids = [row.id for row in rows]
        db.session.commit()
    if full:
        raise TooManyTries
    return ids


def _decoy(kept: list[str] = []) -> str:  # noqa: B006  made once a process, on purpose
    if not kept:
        kept.append(hash_password(secrets.token_hex(16)))
    return kept[0]


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "replace")).hexdigest()


def caller_network() -> str:
    """Return who asks: an IPv4 address, or the network that one subscriber has in IPv6."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return request.remote_addr or ""
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


# --- devices that were let in


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.secret_key or "", salt="known-device")


def _devices() -> dict[str, str]:
    """The accounts that this device was let in with, and the name that each gave it."""
    try:
        found = _serializer().loads(request.cookies.get(DEVICE_COOKIE, ""), max_age=DEVICE_AGE)
    except BadSignature:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def remember_device(account: str) -> None:
    """Let the answer of this request make the device known for an account."""
    key = _digest(account)[:16]
    devices = {known: name for known, name in _devices().items() if known != key}
    devices = dict([*devices.items()][1 - MOST_ACCOUNTS :]) | {key: secrets.token_hex(8)}
    value = _serializer().dumps(devices)

    @after_this_request
    def set_cookie(answer: Response) -> Response:
        secure = current_app.config["SESSION_COOKIE_SECURE"]
        answer.set_cookie(DEVICE_COOKIE, value, DEVICE_AGE, httponly=True, samesite="Lax", secure=secure)
        return answer
