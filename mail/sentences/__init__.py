"""Every explanation the product gives, one file a subject: a code becomes a sentence here and nowhere else.

Decisions, steps, reasons and failures are stored as ``{"code": ..., "values": {...}}`` so that a mail of last year can
still be explained, in the reader's language.
"""

import re
from datetime import date
from typing import Any, TypedDict

from babel.dates import format_date
from flask_babel import get_locale, get_translations
from flask_babel import lazy_gettext as _l

from mail.sentences import (
    arrival,
    bounces,
    chatter,
    choice,
    connections,
    deliverability,
    delivering,
    dkim,
    dmarc_reports,
    dns_checks,
    forwarding,
    headers,
    incoming,
    mailboxes,
    mailings,
    once,
    outgoing,
    parsing,
    receiving,
    rehearsal,
    self_test,
    senders,
    settings,
    sign_in,
    tokens,
    worker,
)
from mail.sentences.counted import Counted

SUBJECTS = (
    arrival,
    choice,
    connections,
    delivering,
    outgoing,
    incoming,
    mailboxes,
    parsing,
    chatter,
    bounces,
    mailings,
    worker,
    settings,
    deliverability,
    dkim,
    dns_checks,
    sign_in,
    tokens,
    headers,
    self_test,
    senders,
    dmarc_reports,
    receiving,
    once,
    rehearsal,
    forwarding,
)
SENTENCES: dict[str, Any] = {code: sentence for subject in SUBJECTS for code, sentence in subject.SENTENCES.items()}


class Why(TypedDict):
    """An explanation as it is stored: a code of ``SENTENCES`` and the values that its sentence names."""

    code: str
    values: dict[str, Any]


AGAIN = _l("CoquiMail will try again automatically.")
_PROMISE = "%(again)s"  # where a sentence says so, unless it is about what has ended
DATES = ("on", "begin", "end")
_MERGE_FIELD = re.compile(r'\{\{[^{}"]*(?:"([^"]*)")?[^{}"]*\}\}')


def why(code: str, /, **values: Any) -> Why:
    """Return an explanation to store; an unknown code is a mistake of ours and fails at once.

    >>> why("no_server")
    {'code': 'no_server', 'values': {}}
    """
    if code not in SENTENCES:
        raise KeyError(code)
    return {"code": code, "values": values}


def ended(reason: Why) -> Why:
    """Return a reason for what has ended: nothing is tried again automatically, so nothing of the kind is promised.

    >>> say(why("mailbox_full_now", address="ann@x.test", reply="452 full"))
    'The mailbox of ann@x.test is full: “452 full”. CoquiMail will try again automatically.'
    >>> say(ended(why("mailbox_full_now", address="ann@x.test", reply="452 full")))
    'The mailbox of ann@x.test is full: “452 full”.'
    """
    sentence = SENTENCES.get(reason["code"], "")
    promises = _PROMISE in str(sentence.many if isinstance(sentence, Counted) else sentence)
    return Why(code=reason["code"], values=reason["values"] | {"again": ""}) if promises else reason


def say(reason: Why | None) -> str:
    """Return the sentence for a stored explanation, in the language of the reader ("" for none)."""
    if not reason:
        return ""
    sentence = SENTENCES.get(reason["code"])
    if sentence is None:
        return reason["code"]
    values = _Named({name: _shown(name, value) for name, value in reason["values"].items()})
    if isinstance(sentence, Counted):
        text: str = get_translations().ungettext(sentence.one, sentence.many, _number(values[sentence.by]))
    else:
        text = str(sentence)
    if values.get("again") == "":
        text = text.replace(f" {_PROMISE}", "")
    return text % values


def _number(value: Any) -> int:
    """Return the number that decides between singular and plural; anything else takes the plural."""
    return int(value) if str(value).isdecimal() else 0


def _shown(name: str, value: Any) -> Any:
    """Return a value as a sentence shows it: a reason in words, a date as its reader writes it, a subject without
    merge fields.

    >>> _shown("on", "2026-11-28")
    'Nov 28, 2026'
    >>> _shown("mailing", 'News for {{ contact.first_name or "you" }} of {{contact.company}}')
    'News for you of …'
    >>> say(why("dns_worse", domain="acme.com", what=why("dns_checked")))
    'Receivers trust emails from acme.com less than at the last check. The check is complete.'
    """
    if isinstance(value, dict) and "code" in value:
        return say(Why(code=value["code"], values=value.get("values", {})))
    if name in DATES:
        return _day(value)
    if name not in ("mailing", "subject") or not isinstance(value, str):
        return value
    return _MERGE_FIELD.sub(lambda field: field[1] or "…", value)


def _day(value: str) -> str:
    try:
        return str(format_date(date.fromisoformat(value), locale=get_locale() or "en"))
    except ValueError:
        return value


class _Named(dict[str, Any]):
    """Values for a sentence; one that an old record does not have is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return str(AGAIN) if key == "again" else "?"
