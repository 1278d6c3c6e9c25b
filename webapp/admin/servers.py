"""What the forms of outgoing and incoming servers have in common: hosts, ports, and marks on fields."""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import flash
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from wtforms import Field, Form
from wtforms.validators import DataRequired, InputRequired, NumberRange, Optional, StopValidation, ValidationError

from mail.decide.sends_from import SendsFromError, parse_sends_from
from mail.decide.servers import FilterError, parse_filter
from mail.errors import ChangeRefused
from mail.message.domains import normalise_domain
from mail.settings.config import settings
from models import IncomingServer, OutgoingServer
from webapp.admin.base import ActionRefused

NOTHING = _l("Fill in this field.")
NOT_A_PORT = _l("A port is a number from 1 to 65535.")
NOT_SAVED = _l("Not saved: check the marked fields.")
LONGEST_HOST = 255
WITH_PORT = re.compile(r"[^:]+:\d*|\[.*\]:\d+")
ENCRYPTIONS = (
    ("starttls", _l("STARTTLS (encrypted after the greeting)")),
    ("tls", _l("TLS (encrypted from the start)")),
    ("none", _l("None (not encrypted)")),
)
REWRITES = (
    ("not_ours", _l("Rewrite external addresses")),
    ("never", _l("Keep every From address")),
    ("always", _l("Rewrite every From address")),
)
SIGNERS = (
    ("provider", _l("As usual at this provider")),
    ("ours", _l("CoquiMail signs")),
    ("server", _l("The server signs")),
)
UNIQUE_BOUNCES: tuple[tuple[Any, Any], ...] = (
    ("", _l("When its test has passed")),
    (True, _l("Yes")),
    (False, _l("No")),
)
SIGN_IN = _l("Sign in with Google, Microsoft or another provider")
ENCRYPTION_WORDS = {"starttls": "STARTTLS", "tls": "TLS", "none": _l("not encrypted")}


def trimmed(text: str | None) -> str:
    """Return a text of a form without blanks around it."""
    return (text or "").strip()


def a_host(form: Form, field: Field) -> None:
    """Refuse what is not the name or the address of a machine."""
    text = field.data
    if "://" in text or "/" in text:
        raise ValidationError(gettext("Enter only the server name, without https:// and slashes."))
    if WITH_PORT.fullmatch(text):
        raise ValidationError(gettext("Enter only the server name here. The number after the colon goes into Port."))
    if "@" in text:
        raise ValidationError(gettext("This is an email address. Enter a server name such as mail.example.com."))
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if normalise_domain(text) is None and text != "localhost":
            raise ValidationError(gettext("This is not a server name such as mail.example.com.")) from None


def words(*, most: int, required: bool = True) -> dict[str, Any]:
    """Return how a line of text is checked and cleaned."""
    return {
        "filters": [trimmed],
        "validators": [*([DataRequired(NOTHING)] if required else []), at_most(most)],
    }


def at_most(most: int) -> Callable[[Form, Field], None]:
    """Return a check that refuses a longer text, and says so: nothing is cut while it is typed or pasted."""

    def check(form: Form, field: Field) -> None:
        length = len(field.data or "")
        if length > most:
            words = gettext("At most %(most)s characters are possible; this has %(length)s.", most=most, length=length)
            raise StopValidation(words)

    return check


def only_said_as(sentence: Any) -> Callable[[Form, Field], None]:
    """Return a check that says with this sentence alone what the field itself could not read."""

    def check(form: Form, field: Field) -> None:
        if field.errors:
            field.errors = []
            raise StopValidation(sentence)

    return check


def number(low: int, high: int, sentence: Any) -> dict[str, Any]:
    """Return how a number is checked; the sentence says what it can be."""
    return {
        "validators": [InputRequired(sentence), only_said_as(sentence), NumberRange(low, high, sentence)],
        "render_kw": {"min": low, "max": high},
    }


def optional_number(low: int, high: int, sentence: Any) -> dict[str, Any]:
    """Return how a number is checked that may be left out."""
    return {
        "validators": [Optional(), only_said_as(sentence), NumberRange(low, high, sentence)],
        "render_kw": {"min": low, "max": high},
    }


def an_open_port(form: Form, field: Field) -> None:
    """Refuse port 25 where it is blocked."""
    if field.data == 25 and settings().hosting == "online":
        raise ValidationError(
            gettext(
                "Port 25 is blocked here for security reasons: it is used for unencrypted mail between servers, and "
                "for spam. Use 465, 587 or 2525; your provider offers at least one of them."
            )
        )


def a_filter(form: Form, field: Field) -> None:
    """Refuse a From filter that could never match."""
    try:
        parse_filter(field.data)
    except FilterError as error:
        raise ValidationError(str(error)) from error


def a_place(form: Form, field: Field) -> None:
    """Refuse what can't be the place that a server sends from."""
    try:
        parse_sends_from(field.data)
    except SendsFromError as error:
        raise ValidationError(str(error)) from error


def port(*checks: Callable[[Form, Field], None]) -> dict[str, Any]:
    """Return how a port is checked; the form offers the usual ones."""
    found = number(1, 65535, NOT_A_PORT)
    found["validators"] += checks
    found["render_kw"] |= {"list": "usual-ports"}
    return found


HOST = words(most=LONGEST_HOST) | {"render_kw": {"autocapitalize": "none", "spellcheck": "false"}}
HOST["validators"].append(a_host)


def picks_port(field: Field, ports: Mapping[str, int], by: str = "") -> None:
    """Let a choice fill in the usual port."""
    field.render_kw = {
        **(field.render_kw or {}),
        "data-port-for": "port",
        "data-ports": json.dumps(ports),
        **({"data-port-by": by} if by else {}),
    }


@contextmanager
def rules_of(form: Form, **called: str) -> Iterator[None]:
    """Mark the fields of a form that break the rules of a row, and stop the saving.

    ``called``: the fields of the form that have other names than what they are for.
    """
    try:
        yield
    except ChangeRefused as refused:
        for name, sentence in refused.sentences().items():
            field = form[called.get(name, name)]
            field.errors = [*field.errors, sentence]
        raise ActionRefused(NOT_SAVED) from refused


@contextmanager
def account_noticed(row: OutgoingServer | IncomingServer) -> Iterator[None]:
    """Say so when a server lets go of its account: its emails wait until somebody connects it again."""
    had = row.oauth_account
    yield
    if had and row.oauth_account is None and row.authentication == "oauth2":
        words = gettext(
            "Server or user has changed, so %(address)s is no longer used here: press Connect.", address=had
        )
        flash(words, "warning")


def refuse(field: Field, sentence: str) -> None:
    """Mark a field and stop the saving."""
    field.errors = [*field.errors, sentence]
    raise ActionRefused(NOT_SAVED)
