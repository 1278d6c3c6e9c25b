"""The catalogue of system parameters: each with its type, default and help. What is not here can't be tuned."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar

from flask import g
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from mail.settings.parameter_values import NotValid as NotValid
from mail.settings.parameter_values import (
    a_day,
    a_domain,
    a_filter,
    a_local_part,
    a_local_part_or_address,
    a_number,
    a_place,
    a_server_in_headers,
    addresses,
    any_text,
    web_address,
)
from models import OutgoingServer, SystemParameter, db
from models.store import upsert

Value = TypeVar("Value")
YES_OR_NO, DAYS = range(2), range(1, 36_501)
INTERNAL = "installation."  # what the keys begin with that nobody sets by hand and no list shows


@dataclass(frozen=True)
class Parameter(Generic[Value]):
    """A declared parameter. ``get()`` returns its typed value, the default when it is not set or empty.

    ``allowed``: the numbers that it may be set to; what was stored before there was a limit still counts.
    """

    key: str
    default: Value
    read: Callable[[str], Value]
    help: Any  # a lazy string
    allowed: range | None = None

    def get(self) -> Value:
        text = _values().get(self.key, "")
        return self.read(text) if text else self.default

    @property
    def kind(self) -> Any:
        """What its value is, in words."""
        if self.allowed is None:
            return _KINDS[self.read]
        return _l("a whole number from %(least)s to %(most)s", least=self.allowed[0], most=self.allowed[-1])

    def check(self, text: str) -> None:
        """Raise ``NotValid`` when the parameter can't be set to this."""
        number = text.strip()
        if self.allowed is None:
            self.read(text)
        elif not number.isdecimal() or int(number) not in self.allowed:
            least, most = self.allowed[0], self.allowed[-1]
            raise NotValid(_l("Enter a whole number from %(least)s to %(most)s.", least=least, most=most))


BASE_URL = Parameter(
    "web.base.url",
    "",
    web_address,
    _l("The address people use to reach this office. The links in all emails begin with it."),
)
LIVE = Parameter(
    "mail.live",
    0,
    a_number,
    _l(
        "1 once a real mail server has accepted an email: from then on the practice mailbox never takes the place of a "
        "missing server. 0 returns the office to practice."
    ),
    YES_OR_NO,
)
DEFAULT_FROM = Parameter(
    "mail.default.from",
    "",
    a_local_part_or_address,
    _l("The address used for sending when the author's own can't be used: the part before the @ or a full address."),
)
DEFAULT_FROM_FILTER = Parameter(
    "mail.default.from_filter",
    "",
    a_filter,
    _l("Domains or addresses that the default server may send from. Server records have their own From filter."),
)
DEFAULT_SENDS_FROM = Parameter(
    "mail.default.sends_from",
    "",
    a_place,
    _l(
        "The public IP addresses that the default server sends from, such as 203.0.113.7, or the name that its "
        "provider tells you to include in SPF, such as spf.provider.com. For the check of your domains’ DNS; needed "
        "for a server in your own network. Server records have a field of their own (Sends from)."
    ),
)
CATCHALL_DOMAIN = Parameter(
    "mail.catchall.domain", "", a_domain, _l("The alias domain: all CoquiMail addresses end with it.")
)
CATCHALL_ALIAS = Parameter(
    "mail.catchall.alias",
    "catchall",
    a_local_part,
    _l("The part before the @ of the address that receives replies. The old name is still recognized after a change."),
)
BOUNCE_ALIAS = Parameter(
    "mail.bounce.alias",
    "bounce",
    a_local_part,
    _l(
        "The part before the @ of the address that receives delivery failures. The old name is still recognized after "
        "a change."
    ),
)
DEFAULT_VERP: Parameter[int | None] = Parameter(
    "mail.default.verp",
    None,
    a_number,
    _l("1 if the default server takes senders like bounce+…@ your alias domain, 0 if not. Its test finds that out."),
    YES_OR_NO,
)
VERP: Parameter[int | None] = Parameter(
    "mail.bounce.verp",
    None,
    a_number,
    _l(
        "1 gives every email a bounce address of its own (bounce+…@), so that a returned email names its recipient "
        "even if the report does not; 0 gives all the same. Empty: 1 for each server whose test has shown it to work."
    ),
    YES_OR_NO,
)
COMPANY_NAME = Parameter("company.name", "", any_text, _l("Your company name, as shown in emails."))
COMPANY_ADDRESS = Parameter(
    "company.address", "", any_text, _l("Your company's postal address, added to the footer of every mailing.")
)
LOOP_MINUTES = Parameter(
    "mail.gateway.loop.minutes",
    120,
    a_number,
    _l("The period for which emails from one sender are counted, in minutes."),
    range(1, 525_601),
)
LOOP_THRESHOLD = Parameter(
    "mail.gateway.loop.threshold",
    20,
    a_number,
    _l("How many emails one sender may send to the same alias or thread in that period before the loop is stopped."),
    range(1_000_001),  # 0: never
)
LOOP_ALLOWED: Parameter[tuple[str, ...]] = Parameter(
    "mail.gateway.allowed", (), addresses, _l("Senders exempt from loop protection, separated by commas.")
)
TAKE_UNKNOWN = Parameter(
    "mail.receive.unknown",
    1,
    a_number,
    _l(
        "1 if mail that is pushed to an address of your domains that does not exist is accepted and kept in "
        "quarantine, 0 if the sending server is refused."
    ),
    YES_OR_NO,
)
ANSWER_UNKNOWN = Parameter(
    "mail.gateway.answer_unknown",
    0,
    a_number,
    _l(
        "1 if senders (also of spam) get a reply when they write to an address of your domains that does not exist, 0 "
        "if their emails wait in quarantine without one."
    ),
    YES_OR_NO,
)
CHECKED_BY = Parameter(
    "mail.gateway.checked_by",
    "",
    a_server_in_headers,
    _l(
        "The mail server that checks senders before it passes emails on to this office (LMTP, SMTP, pipe or HTTP), as "
        "it calls itself in Authentication-Results. Set it only if all emails that reach this office that way come "
        "through that server. Empty: senders of these emails are not checked."
    ),
)
PUSH_ADDRESS = Parameter(
    "mail.receive.address",
    0,
    a_number,
    _l(
        "When the web address that takes raw emails was created, in seconds since 1970. 0: there is none. Create and "
        "remove it under Settings ‣ Receive by push."
    ),
    range(2**33),
)
BLACKLIST_BOUNCES = Parameter(
    "mail.blacklist.bounces",
    5,
    a_number,
    _l("How many mailing bounces put an address on the blacklist."),
    range(1, 1001),
)
BLACKLIST_DAYS = Parameter(
    "mail.blacklist.days",
    30,
    a_number,
    _l("The period, in days, in which those bounces must occur."),
    range(1, 3651),
)
BLACKLIST_SPREAD = Parameter(
    "mail.blacklist.spread_days",
    7,
    a_number,
    _l("The minimum number of days between the first and the last of them."),
    range(3651),
)
MAX_SIZE = Parameter(
    "mail.max_size",
    25,
    a_number,
    _l("The maximum size of an outgoing email, in MB."),
    range(1, 101),
)
DAILY_LIMIT: Parameter[int | None] = Parameter(
    "mail.daily_limit",
    None,
    a_number,
    _l(
        "How many emails a day the default server sends; what exceeds it waits for the next day (UTC). 0 is no limit. "
        "Empty: 200 where CoquiMail is hosted online, else no limit. See also mail.daily_limit.until and .reason."
    ),
    range(10_000_001),
)
DAILY_LIMIT_REASON = Parameter(
    "mail.daily_limit.reason", "", any_text, _l("Why the daily limit was changed, for you and your colleagues.")
)
DAILY_LIMIT_UNTIL: Parameter[date | None] = Parameter(
    "mail.daily_limit.until",
    None,
    a_day,
    _l("The last day on which mail.daily_limit applies; from the next day on the usual limit does. Empty: for good."),
)
CUSTOM_SERVERS = Parameter(
    "mail.custom_servers",
    1,
    a_number,
    _l("Custom Email Servers: 1 uses the outgoing servers, 0 only the default server."),
    YES_OR_NO,
)
DEDICATED_SERVER = Parameter(
    "mailing.dedicated_server",
    0,
    a_number,
    _l("The number of the outgoing server for mailings; 0 for none."),
    range(2**31),
)
PAUSE_PERCENT = Parameter(
    "mailing.pause_percent",
    5,
    a_number,
    _l("A mailing pauses automatically when more than this percentage of its last 200 recipients failed; 0 for never."),
    range(101),
)
KEEP_RAW_DAYS = Parameter(
    "mail.retention.raw_days",
    365,
    a_number,
    _l("How long original emails are kept, in days."),
    DAYS,
)
KEEP_TRANSCRIPT_DAYS = Parameter(
    "mail.retention.transcript_days",
    30,
    a_number,
    _l("How long server transcripts are kept, in days."),
    DAYS,
)
KEEP_EVENT_DAYS = Parameter(
    "mail.retention.event_days",
    7,
    a_number,
    _l("How long page events are kept, in days."),
    DAYS,
)
KEEP_NOTICE_DAYS = Parameter(
    "mail.retention.notice_days",
    90,
    a_number,
    _l("How long read notifications are kept, in days."),
    DAYS,
)
KEEP_DMARC_DAYS = Parameter(
    "mail.retention.dmarc_days",
    400,
    a_number,
    _l("How long DMARC reports about your domains are kept, in days."),
    DAYS,
)
KEEP_RUNS = Parameter(
    "mail.retention.runs",
    1000,
    a_number,
    _l("How many runs of each scheduled action are kept."),
    range(1, 1_000_001),
)

_KINDS: dict[Callable[[str], Any], Any] = {
    any_text: _l("text"),
    web_address: _l("the address of a web site"),
    a_domain: _l("a domain"),
    a_local_part: _l("the part of an address before the @"),
    a_local_part_or_address: _l("the part of an address before the @, or a full address"),
    a_filter: _l("domains and addresses, separated by commas"),
    a_number: _l("a whole number"),
    a_day: _l("a day"),
    a_place: _l("IP addresses separated by commas, or a name to include in SPF"),
    a_server_in_headers: _l("the name of a mail server"),
    addresses: _l("email addresses, separated by commas"),
}

CATALOGUE: dict[str, Parameter[Any]] = {
    parameter.key: parameter for parameter in list(globals().values()) if isinstance(parameter, Parameter)
}


def _values() -> dict[str, str]:
    """All parameters that are set, read once per request or unit of work."""
    if "parameters" not in g:
        rows = db.session.execute(select(SystemParameter.key, SystemParameter.value))
        g.parameters = {row.key: row.value for row in rows}
    values: dict[str, str] = g.parameters
    return values


def stored(key: str) -> str:
    """Return the text that is stored under a key, "" for none."""
    return _values().get(key, "")


def store(key: str, text: str, now: datetime, user_id: int | None = None) -> None:
    """Store a text that CoquiMail keeps for itself; any number of workers may do so at once. The caller commits."""
    values = {"value": text, "changed_at": now, "changed_by_id": user_id}
    row = upsert(SystemParameter).values(key=key, **values)
    db.session.execute(row.on_conflict_do_update(index_elements=["key"], set_=values))
    g.pop("parameters", None)


def check(key: str, text: str) -> str:
    """Return the text as it is stored for this key; raises ``NotValid`` when the parameter can't take it."""
    parameter = CATALOGUE.get(key)
    if parameter is not None and text.strip():
        parameter.check(text)
    return text.strip()


def put(key: str, text: str, now: datetime, user_id: int | None = None) -> None:
    """Set a parameter, an empty text returns it to its default; raises ``NotValid``. The caller commits."""
    text = check(key, text)
    row = db.session.scalar(select(SystemParameter).where(SystemParameter.key == key))
    if row is None:
        row = SystemParameter(key=key)
        db.session.add(row)
    row.value, row.changed_at, row.changed_by_id = text, now, user_id
    g.pop("parameters", None)


def assert_fits(key: str) -> None:
    """Raise ``NotValid`` when a parameter that was just put does not go with the rest of the office."""
    if key in (BLACKLIST_DAYS.key, BLACKLIST_SPREAD.key):
        days, spread = BLACKLIST_DAYS.get(), BLACKLIST_SPREAD.get()
        if days < spread:
            raise _unfit(
                _l(
                    "%(longer)s would be %(days)s, but can't be less than %(shorter)s, which would be %(spread)s.",
                    longer=BLACKLIST_DAYS.key,
                    days=days,
                    shorter=BLACKLIST_SPREAD.key,
                    spread=spread,
                )
            )
    if key == DEDICATED_SERVER.key and (number := DEDICATED_SERVER.get()):
        usable = select(OutgoingServer.id).where(OutgoingServer.id == number, OutgoingServer.active)
        if db.session.scalar(usable) is None:
            raise _unfit(
                _l(
                    "No active outgoing server has the number %(number)s. Choose one under Email Marketing ‣ Settings.",
                    number=number,
                )
            )


def _unfit(sentence: Any) -> NotValid:
    g.pop("parameters", None)  # what does not fit is not committed
    return NotValid(sentence)
