"""Pure: how each part of a server's self-test ended, from what was sent and what came back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from mail.message.address import domain_of
from mail.sentences import Why, why

PATIENCE = timedelta(minutes=2)  # for an email to arrive, or a report about it; what comes later is noted as late
MINUTES = PATIENCE // timedelta(minutes=1)
METHODS = ("spf", "dkim", "dmarc")
BAD = frozenset(("fail", "softfail", "permerror", "hardfail", "policy"))

State = Literal["ok", "warning", "failed", "skipped"]


class PartResult(NamedTuple):
    """How a part of the test ended, and what it means."""

    state: State
    why: Why


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part whose email a server accepted.

    ``address``: where it went; ``returns_to``: where a report about it goes, ``from_unique`` if no other email has
    that bounce address. ``seen``: what came back, after so many
    ``seconds``; ``waited``: how long ago it was sent. ``mailbox`` and ``mailbox_failure``: a mailbox that can't be
    fetched, and why; ``fetches``: whether there is any that is.
    """

    name: str
    address: str
    returns_to: str
    waited: timedelta
    seen: Mapping[str, Any] | None = None
    seconds: float = 0.0
    fetches: bool = True
    mailbox: str = ""
    mailbox_failure: Why | None = None
    from_unique: bool = False


def verdict(part: SentPart) -> PartResult | None:
    """Return how a part ended, None while it waits."""
    if part.seen is not None:
        judge = _RETURNED if part.seen["how"] == "returned" else _ARRIVED
        return judge[part.name](part)
    if part.waited < PATIENCE:
        return None
    if not part.fetches:
        return _unless_optional(part, why("self_test_nothing_fetched", address=part.address))
    if part.mailbox_failure is not None:
        because = part.mailbox_failure
        reason = why("self_test_mailbox_failed", mailbox=part.mailbox, because=because, cause=because["code"])
        return _unless_optional(part, reason)
    address = part.returns_to if part.name == "bounce" else part.address
    values = {"address": address, "minutes": MINUTES, "domain": domain_of(part.address)}
    return _unless_optional(part, why(f"self_test_{part.name}_missing", **values))


def _unless_optional(part: SentPart, reason: Why) -> PartResult:
    """Addresses with a plus are an extra: without them nothing is lost."""
    return PartResult("warning" if part.name == "plus" else "failed", reason)


# --- what came back


def _delivered(part: SentPart) -> PartResult:
    return PartResult("ok", why("self_test_delivery_ok", address=part.address, seconds=_seconds(part)))


def _answered(part: SentPart) -> PartResult:
    assert part.seen is not None
    if not part.seen.get("is_threaded"):
        return PartResult("failed", why("self_test_reply_stray", address=part.address))
    return PartResult("ok", why("self_test_reply_ok", address=part.address, seconds=_seconds(part)))


def _taken_by_all(part: SentPart) -> PartResult:
    values = {"domain": domain_of(part.address), "address": part.returns_to}
    return PartResult("skipped", why("self_test_bounce_taken", **values))


def _plus_works(part: SentPart) -> PartResult:
    code = "self_test_plus_ok" if part.from_unique else "self_test_plus_arrives"
    return PartResult("ok", why(code, address=part.address, seconds=_seconds(part)))


def _returned(part: SentPart) -> PartResult:
    assert part.seen is not None
    code = f"self_test_{part.name}_returned"
    return _unless_optional(part, why(code, address=part.address, text=part.seen.get("text") or "–"))


def _reported(part: SentPart) -> PartResult:
    return PartResult("ok", why("self_test_bounce_ok", address=part.returns_to, seconds=_seconds(part)))


_ARRIVED = {"delivery": _delivered, "reply": _answered, "bounce": _taken_by_all, "plus": _plus_works}
_RETURNED = {"delivery": _returned, "reply": _returned, "bounce": _reported, "plus": _returned}


def _seconds(part: SentPart) -> str:
    return f"{max(part.seconds, 0.1):.1f}"


# --- what was not sent, or not accepted


def refused(name: str, address: str, returns_to: str, reason: Why, reply: str, about_recipient: bool) -> PartResult:
    """Return how a part ended whose email its server did not take; ``about_recipient``: for good, and only this one."""
    if about_recipient and name == "bounce":
        return PartResult("skipped", why("self_test_bounce_at_once", address=returns_to, reply=reply))
    if about_recipient and name == "plus":
        return PartResult("warning", why("self_test_plus_refused", address=address, reply=reply))
    if name in ("bounce", "plus"):
        return not_sent(name, reason)
    return PartResult("failed", why("self_test_refused", address=address, because=reason, cause=reason["code"]))


def is_no_such(reason: Why) -> bool:
    """Say whether a server refused an address because there is no such mailbox, not for its policy or its own trouble.

    >>> is_no_such(why("no_such_mailbox")), is_no_such(why("relay_denied"))
    (True, False)
    """
    return reason["code"] == "no_such_mailbox"


def not_sent(name: str, reason: Why) -> PartResult:
    """Return how a part ended whose email was not even queued.

    >>> not_sent("delivery", why("no_server")).state, not_sent("plus", why("no_server")).state
    ('failed', 'skipped')
    """
    values = {"because": reason, "cause": reason["code"]}
    if name == "delivery":
        return PartResult("failed", why("self_test_not_sent", **values))
    return PartResult("skipped", why("self_test_not_tried", **values))


def shows_no_plus(state: str, reason: Why | None, bounce_state: str) -> bool:
    """Say whether the part about the plus shows that such addresses don't arrive: refused, returned, or lost on a way
    that works for reports.

    >>> missing = why("self_test_plus_missing")
    >>> [shows_no_plus("warning", missing, bounce) for bounce in ("ok", "failed")]
    [True, False]
    """
    if state != "warning" or reason is None:
        return False
    if reason["code"] == "self_test_plus_missing":
        return bounce_state == "ok"
    return reason["code"] in ("self_test_plus_returned", "self_test_plus_refused")


# --- what the receiver wrote


def authenticated(sender: Mapping[str, str] | None) -> PartResult:
    """Return what the receiving server found out about the sender: a word for each method, "" for none.

    >>> authenticated(None).state, authenticated({"server": "mx.test", "spf": "pass", "dkim": "", "dmarc": ""}).state
    ('skipped', 'ok')
    """
    words = {method: sender.get(method, "") for method in METHODS} if sender else {}
    if sender is None or not any(words.values()):
        return PartResult("skipped", why("self_test_sender_unchecked"))
    told = ", ".join(f"{method.upper()} {word}" for method, word in words.items() if word)
    proven = "pass" in (words["spf"], words["dkim"])
    wrong = any(word in BAD for word in words.values())
    if words["dmarc"] == "pass" or (proven and not wrong):
        state: State = "ok"
    elif words["dmarc"] in BAD or (wrong and not proven):
        state = "failed"
    else:
        state = "warning"
    return PartResult(state, why(f"self_test_sender_{state}", server=sender.get("server") or "–", results=told))
