"""What the values of system parameters may be: each function reads one kind, or says what it can be. Pure."""

import re
from datetime import date
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l

from mail.decide.sends_from import SendsFromError, parse_sends_from
from mail.decide.servers import FilterError, parse_filter
from mail.message.address import normalise

_HOST = re.compile(r"[a-z0-9.:_-]+")
_AUTHSERV = re.compile(r"[^\s;()\"@<>\\,]{1,255}")


class NotValid(ValueError):
    """A value that a parameter can't take; the text tells the admin what it can."""


def any_text(text: str) -> str:
    """Return a text without blanks around it."""
    return text.strip()


def a_domain(text: str) -> str:
    """Return a domain as it is compared."""
    found = normalise(f"x@{text.strip()}")
    if found is None:
        raise NotValid(_l("Enter a domain, such as mycompany.com."))
    return found.partition("@")[2]


def a_local_part(text: str) -> str:
    """Return the part before the @."""
    local = text.strip().lower()
    if normalise(f"{local}@example.com") is None:
        raise NotValid(_l("Enter the part before the @, such as catchall: letters, digits, dots and dashes."))
    return local


def a_local_part_or_address(text: str) -> str:
    """Return a whole address, or the part before the @."""
    if "@" not in text:
        return a_local_part(text)
    found = normalise(text)
    if found is None:
        raise NotValid(_l("Enter the part before the @, such as notifications, or a full address."))
    return found


def web_address(text: str) -> str:
    """Return a web address as links are built from it; raises ``NotValid``.

    >>> web_address(" HTTPS://Mail.MyCompany.com/ "), web_address("http://bücher.example:8000/post")
    ('https://mail.mycompany.com', 'http://xn--bcher-kva.example:8000/post')
    """
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # also UnicodeError
        host, port = "", None
    plain = host and not (parts.username or parts.password or parts.query or parts.fragment)
    if not plain or parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise NotValid(_l("Write the whole address, such as https://mail.mycompany.com."))
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def a_filter(text: str) -> str:
    """Return a From filter as it is compared."""
    try:
        return ", ".join(parse_filter(text))
    except FilterError as error:
        raise NotValid(str(error)) from error


def a_number(text: str) -> int:
    """Return a number."""
    if not text.strip().isdecimal():
        raise NotValid(_l("Enter a whole number, 0 or more."))
    return int(text)


def a_day(text: str) -> date:
    """Return a day."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise NotValid(_l("Enter a day as year-month-day, such as 2027-01-31.")) from None


def a_place(text: str) -> str:
    """Return where a server sends from, as it was typed."""
    try:
        parse_sends_from(text)
    except SendsFromError as error:
        raise NotValid(str(error)) from None
    return text.strip()


def a_server_in_headers(text: str) -> str:
    """Return a server as it names itself in Authentication-Results (RFC 8601 2.5), as it is compared.

    >>> a_server_in_headers(" MX.Example.com. ")
    'mx.example.com'
    """
    name = text.strip().rstrip(".").lower()
    if not _AUTHSERV.fullmatch(name):
        raise NotValid(
            _l("Enter the first word of that server's Authentication-Results lines, such as mx.example.com.")
        )
    return name


def addresses(text: str) -> tuple[str, ...]:
    """Return several addresses as they are compared."""
    found = tuple(normalise(part) for part in text.replace(";", ",").split(",") if part.strip())
    if None in found:
        raise NotValid(_l("Enter email addresses, separated by commas."))
    return tuple(address for address in found if address)
