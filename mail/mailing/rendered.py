"""What a mailing sends: its decision, its footer, and the one compiled letter that every recipient's mail is made from.

A letter is compiled once per process and content; a mail for one recipient then costs microseconds.
"""

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from flask_babel import gettext
from markupsafe import escape
from sqlalchemy import select

from mail.decide.sender import Decision, Request, decide
from mail.decide.verp import PLACE, bounce_address_of, shared_by_all
from mail.mailing.template import CompiledMailing, compile_mailing
from mail.message.address import needs_smtputf8, wire_address
from mail.message.dkim import SigningKey, UnsignedHeader
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.config import settings
from mail.settings.tokens import TokenKind
from models import Mailing, db

KEPT = 8  # letters that a process keeps: mailings that go out at the same time
_END_OF_BODY = re.compile(r"</body\s*>", re.IGNORECASE)
_FOOTER_STYLE = "margin:24px 0 0;padding:12px 0 0;border-top:1px solid #ccc;font-size:12px;line-height:1.5;color:#666"


@dataclass(frozen=True, slots=True)
class MailingRecipient:
    """One recipient as far as a letter needs it."""

    trace_id: int
    address: str
    name: str = ""
    company: str = ""
    language: str = ""


class RenderedMailing:
    """A mailing ready to be sent: ``mail_to`` returns the bytes for one recipient. Safe to share between threads."""

    def __init__(self, compiled: CompiledMailing, decision: Decision) -> None:
        self.compiled = compiled
        self.decision = decision
        snapshot, tokens = office.load(), office.tokens()
        self._domain = snapshot.message_domain_of(decision)
        self._url = office.base_url()
        self._trace_token = tokens.maker(TokenKind.TRACE)
        self._bounce_token = tokens.maker(TokenKind.TRACE_BOUNCE) if PLACE in decision.envelope_sender else None
        self.shared_sender = shared_by_all(decision.envelope_sender)
        self._unsubscribe_token = tokens.maker(TokenKind.UNSUBSCRIBE)
        self._view_token = tokens.maker(TokenKind.VIEW)
        home = snapshot.office.domain(decision.domain) or snapshot.office.first
        self._mailto = _mailto(home.catchall_address)
        self._fields = compiled.fields
        self._clock = _Stamp(0, "")

    def mail_to(
        self,
        reader: MailingRecipient,
        now: datetime,
        keys: Sequence[SigningKey] = (),
        later: list[UnsignedHeader] | None = None,
    ) -> bytes:
        """Return the whole mail for one recipient; its Message-ID and links are derived from the id of its trace; the
        keys sign it, at once or ``later``.

        Raises an error of ``mail.errors`` or ``HeaderError`` when this recipient's mail can't be made.
        """
        token = self._trace_token(reader.trace_id)
        unsubscribe = self._unsubscribe_token(reader.trace_id)
        link = f"{self._url}/u/{unsubscribe}"
        return self.compiled.render(
            self._values(reader, link),
            to_address=reader.address,
            to_name=reader.name,
            message_id=f"<{token}@{self._domain}>",
            own_id=token,
            date=self._date(now),
            unsubscribe_url=link,
            unsubscribe_mailto=f"{self._mailto}{unsubscribe}" if self._mailto else "",
            keys=keys,
            later=later,
        )

    def envelope_sender(self, trace_id: int) -> str:
        """Return where a delivery failure of one recipient goes."""
        shared = self.decision.envelope_sender
        return bounce_address_of(shared, self._bounce_token(trace_id)) if self._bounce_token else shared

    def html_for(self, reader: MailingRecipient) -> str:
        """Return the HTML for one recipient, as "view in browser" shows it."""
        return self.compiled.html(self._values(reader, f"{self._url}/u/{self._unsubscribe_token(reader.trace_id)}"))

    def text_for(self, reader: MailingRecipient) -> str:
        """Return the text part for one recipient."""
        return self.compiled.text(self._values(reader, f"{self._url}/u/{self._unsubscribe_token(reader.trace_id)}"))

    def subject_for(self, reader: MailingRecipient) -> str:
        """Return the subject for one recipient."""
        return self.compiled.subject(self._values(reader, ""))

    def _values(self, reader: MailingRecipient, unsubscribe: str) -> Mapping[str, str]:
        values = {
            "contact.name": reader.name,
            "contact.email": reader.address,
            "contact.company": reader.company,
            "contact.language": reader.language,
            "unsubscribe_url": unsubscribe,
        }
        if "contact.first_name" in self._fields:
            values["contact.first_name"] = first_name(reader.name)
        if "view_url" in self._fields:
            values["view_url"] = f"{self._url}/v/{self._view_token(reader.trace_id)}"
        return values

    def _date(self, now: datetime) -> str:
        second = int(now.timestamp())
        stamp = self._clock
        if stamp.second != second:  # formatting costs as much as half a mail
            stamp = self._clock = _Stamp(second, format_datetime(now.astimezone(UTC)))
        return stamp.text


@dataclass(frozen=True, slots=True)
class _Stamp:
    second: int
    text: str


def first_name(name: str) -> str:
    """Return what a person is greeted by.

    >>> first_name("Ann Lee"), first_name("Lee, Ann"), first_name("")
    ('Ann', 'Ann', '')
    """
    last, comma, first = name.partition(",")
    return next(iter((first if comma and first.strip() else last).split()), "")


def bare_address(address: str) -> str:
    """Return an address as SMTP takes it; raises ``AddressError``."""
    return address if address.isascii() else wire_address(address, smtputf8=True)


# --- from the row to the letter


def decide_for(mailing: Mailing) -> Decision:
    """Return the server and the From of a mailing: its own server, else the dedicated one, else the search."""
    snapshot = office.load()
    return decide(request_of(mailing), snapshot.servers, snapshot.office)


def request_of(mailing: Mailing) -> Request:
    """Return what is decided about a mailing."""
    return mailing_request(mailing.from_address, mailing.reply_to, mailing.forced_server_id)


def mailing_request(sender: str, reply_to: str, server_id: int | None) -> Request:
    """Return what is decided about a mailing, whose own server is ``server_id``."""
    return Request(sender, reply_to, forced_server=server_id or parameters.DEDICATED_SERVER.get() or None)


def broken_links(decision: Decision) -> Why | None:
    """Return why the links of a mailing would lead nowhere, None when they work.

    It leaves by a real server while the address of this office names nothing but this machine.
    """
    in_practice = decision.is_default_server and settings().default_server.practice
    if in_practice or office.has_address():
        return None
    return why("links_lead_nowhere", address=office.base_url())


def compile_for(mailing: Mailing, decision: Decision) -> RenderedMailing:
    """Return the letter of a mailing. Raises MergeError for a field that can't be filled, with part and line."""
    domain = office.load().message_domain_of(decision)
    lists = sorted(one.id for one in mailing.lists)
    list_name = f"list-{lists[0]}" if len(lists) == 1 else "mailings"
    company, address = parameters.COMPANY_NAME.get(), parameters.COMPANY_ADDRESS.get()
    compiled = compile_mailing(
        subject=mailing.subject,
        html=with_footer(mailing.html, company, address),
        preheader=mailing.preview,
        from_header=decision.from_after,
        reply_to=decision.reply_to,
        list_id=f"{list_name}.{domain}",
        feedback_id=f"{mailing.id}:{list_name}:mailing:{domain}",
        constants={"company.name": company, "company.address": address},
    )
    return RenderedMailing(compiled, decision)


def with_footer(html: str, company: str, address: str) -> str:
    """Return the HTML with what must stand below every mailing and is missing: our postal address, the way out."""
    parts = []
    if address and "company.address" not in html and address not in html:
        parts.append(str(escape(", ".join(filter(None, (company if company not in address else "", address))))))
    if "unsubscribe_url" not in html:
        parts.append(f'<a href="{{{{ unsubscribe_url }}}}" style="color:#666">{escape(gettext("Unsubscribe"))}</a>')
    if not parts:
        return html
    footer = f'<p style="{_FOOTER_STYLE}">{" · ".join(parts)}</p>\n'.replace("\n ", " ")
    ends = list(_END_OF_BODY.finditer(html))
    return f"{html[: ends[-1].start()]}{footer}{html[ends[-1].start() :]}" if ends else f"{html}\n{footer}"


def content_key(mailing: Mailing, decision: Decision) -> str:
    """Return a hash of all that decides what a mailing sends, and through which server."""
    content = [mailing.subject, mailing.preview, mailing.html, decision.from_after, decision.reply_to]
    content += [decision.envelope_sender, office.base_url(), *sorted(str(one.id) for one in mailing.lists)]
    content += [str(decision.server_id), str(decision.is_default_server), str(decision.is_forced)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _mailto(catchall: str | None) -> str:
    """The part of List-Unsubscribe before the token: a mail to the catchall, with the token in its subject."""
    if catchall is None or needs_smtputf8(catchall):
        return ""
    return f"{quote(wire_address(catchall), safe='@.+-_')}?subject=unsubscribe%20"


# --- kept per process


@dataclass
class _Letters:
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: "OrderedDict[tuple[str, int, str], RenderedMailing]" = field(default_factory=OrderedDict)


_letters = _Letters()


def rendered_mailing(mailing_id: int, key: str) -> RenderedMailing:
    """Return the letter of a mailing that is being sent, from this process's memory if its content is still the same.

    Raises ``LookupError`` when there is no such mailing.
    """
    name = (settings().database_url, mailing_id, key)
    with _letters.lock:
        found = _letters.kept.get(name)
        if found is not None:
            _letters.kept.move_to_end(name)
            return found
    mailing = db.session.scalar(select(Mailing).where(Mailing.id == mailing_id))
    if mailing is None:
        raise LookupError(f"mailing {mailing_id}")
    letter = compile_for(mailing, Decision.from_json(mailing.decision or {}))
    with _letters.lock:
        _letters.kept[name] = letter
        while len(_letters.kept) > KEPT:
            _letters.kept.popitem(last=False)
    return letter
