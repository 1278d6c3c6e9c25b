"""Every explanation the product gives, in one table: a code becomes a sentence here and nowhere else.

Decisions, steps, reasons and failures are stored as ``{"code": ..., "values": {...}}`` so that a mail of last year can
still be explained, in the reader's language.
"""

from typing import Any, TypedDict

from flask_babel import lazy_gettext as _l


class Why(TypedDict):
    """An explanation as it is stored: a code of ``SENTENCES`` and the values that its sentence names."""

    code: str
    values: dict[str, Any]


def why(code: str, **values: Any) -> Why:
    """Return an explanation to store; an unknown code is a mistake of ours and fails at once.

    >>> why("no_server")
    {'code': 'no_server', 'values': {}}
    """
    if code not in SENTENCES:
        raise KeyError(code)
    return {"code": code, "values": values}


def say(reason: Why | None) -> str:
    """Return the sentence for a stored explanation, in the language of the reader ("" for none)."""
    if not reason:
        return ""
    sentence = SENTENCES.get(reason["code"])
    if sentence is None:
        return reason["code"]
    return str(sentence) % _Named(reason["values"])


class _Named(dict[str, Any]):
    """Values for a sentence; one that an old record does not have is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


SENTENCES: dict[str, Any] = {
    # --- the choice of the outgoing server and the From (servers.py, sender.py)
    "no_server": _l("There is no active outgoing server and no default server. Add one under Outgoing Email Servers."),
    "address_invalid": _l("“%(address)s” is not a mail address. Correct it and try again."),
    "needs_smtputf8": _l(
        "The address %(address)s has letters before the @ that the outgoing server can't take (it does not offer "
        "SMTPUTF8). Use another address, or a server that offers SMTPUTF8."
    ),
    # --- composing and delivering (compose.py, retry.py, transport/smtp.py)
    # --- connecting and testing (transport/smtp.py, imap.py, pop3.py)
    # --- parsing, routing, threads (message.py, routing.py, incoming.py)
    # --- bounces and the blacklist (bounce.py)
    # --- mailings (mailing.py)
    # --- the worker and its actions (scheduler/)
}
