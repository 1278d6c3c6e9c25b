"""How values look on a page: icons, states, times, sizes. Each returns safe HTML, for templates and for lists alike.

In templates they are globals: ``{{ icon("send") }} {{ state(line.state) }} {{ ago(post.at) }}``.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import getaddresses
from functools import cache
from pathlib import Path
from typing import Any

from babel.dates import format_skeleton
from flask import current_app, url_for
from flask_babel import format_date, format_number, format_time, format_timedelta, get_locale, get_timezone, gettext
from flask_babel import format_datetime as _format_datetime
from flask_babel import lazy_gettext as _l
from markupsafe import Markup, escape

from mail.decide.advice import advice_for, is_known, told_fixer
from mail.decide.limits import DAY, HOUR, MINUTE, SECOND, Limit
from mail.sentences import Why, say
from mail.settings.clock import now
from mail.settings.dns_hosts import DnsHost
from mail.settings.providers import Provider, ProviderDns, PublishedLimit, Quirk
from webapp import auth

# state -> (its look: wait, busy, good, bad, doubt, off; the word shown)
STATES: dict[str, tuple[str, Any]] = {
    "queued": ("wait", _l("Queued")),
    "sending": ("busy", _l("Sending")),
    "sent": ("good", _l("Sent")),
    "failed": ("bad", _l("Failed")),
    "unknown": ("doubt", _l("Unknown")),
    "bounced": ("bad", _l("Bounced")),
    "cancelled": ("off", _l("Cancelled")),
    "deferred": ("wait", _l("Deferred")),
    "draft": ("off", _l("Draft")),
    "confirmed": ("good", _l("Confirmed")),
    "scheduled": ("wait", _l("Scheduled")),
    "preparing": ("busy", _l("Preparing")),
    "paused": ("doubt", _l("Paused")),
    "done": ("good", _l("Done")),
    "waiting": ("wait", _l("Waiting")),
    "taken": ("busy", _l("In progress")),
    "running": ("busy", _l("Running")),
    "ok": ("good", _l("OK")),
    "lost": ("doubt", _l("Interrupted")),
    "skipped": ("off", _l("Skipped")),
    "received": ("wait", _l("Received")),
    "processed": ("good", _l("Processed")),
    "duplicate": ("off", _l("Duplicate")),
    "ignored": ("off", _l("Ignored")),
    "rejected": ("doubt", _l("Rejected")),
    "quarantined": ("bad", _l("In quarantine")),
    "subscribed": ("good", _l("Subscribed")),
    "unsubscribed": ("off", _l("Unsubscribed")),
    "pending": ("wait", _l("Pending")),
    "active": ("good", _l("Active")),
    "retired": ("off", _l("Retired")),
    "archived": ("off", _l("Archived")),
}


def icon(name: str, label: str = "") -> Markup:
    """Return an icon of static/img/icons.svg; without a label it is decoration and screen readers skip it."""
    sprite = asset("img/icons.svg")
    if label:
        return Markup('<svg class="icon" role="img" aria-label="{}"><use href="{}#{}"></use></svg>').format(
            label, sprite, name
        )
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>').format(sprite, name)


def state(name: str, title: str = "") -> Markup:
    """Return the badge of a state; one that is not in the table shows its own name."""
    look, label = STATES.get(name, ("off", name.replace("_", " ").capitalize()))
    return Markup('<span class="state state-{}" title="{}">{}</span>').format(look, title, label)


def fixer(reason: Why | None, goes_on: bool = False) -> Markup:
    """Return the line that says who can fix a failure; ``goes_on``: it is tried again automatically."""
    said = say(told_fixer(reason, has_ended=not goes_on, to_administrator=auth.role() == "admin"))
    return Markup('<span class="fixer">{}</span>').format(said)


PRIORITIES = (_l("Normal"), _l("Medium"), _l("High"), _l("Very high"))
LONG_WORD = 40  # letters: one that is longer may break anywhere


def priority_name(value: int) -> str:
    """Return a priority in words; an unusual one is a number."""
    return str(PRIORITIES[value]) if 0 <= value < len(PRIORITIES) else gettext("Priority %(value)s", value=value)


def priority(value: int) -> Markup:
    """Return the stars of a document that is more urgent than others, nothing for one that is not."""
    if not value:
        return Markup()
    words = gettext("Priority: %(name)s", name=priority_name(value))
    stars = icon("star", words) + icon("star") * (min(value, 3) - 1)
    return Markup('<span class="priority" title="{}">{}</span>').format(words, stars)


def format_datetime(moment: datetime, style: str = "") -> str:
    """Return a moment in the reader's zone; one that the calendar there does not have, by its UTC date.

    Without a style it has no seconds, which only its title shows.
    """
    try:
        if style:
            return str(_format_datetime(moment, style))
        joined: str = get_locale().datetime_formats["medium"]
        return joined.format(format_time(moment, "short"), format_date(moment))
    except OverflowError:  # a date of a stranger's
        return f"{moment:%Y-%m-%d}"


def ago(moment: datetime | None, missing: str = "–") -> Markup:
    """Return a moment as people say it ("5 minutes ago"), with the exact time in the reader's zone as the title."""
    if moment is None:
        return Markup('<span class="text-secondary">{}</span>').format(missing)
    said = format_timedelta(moment - now(), add_direction=True, threshold=1.2)
    return _time(moment, said)


def at(moment: datetime | None, missing: str = "–") -> Markup:
    """Return a moment with date and time in the reader's zone."""
    if moment is None:
        return Markup('<span class="text-secondary">{}</span>').format(missing)
    return _time(moment, format_datetime(moment))


def zone_name() -> str:
    """Return the reader's time zone as people call it: its city."""
    return str(get_timezone()).rpartition("/")[2].replace("_", " ")


def due(moment: datetime | None) -> Markup:
    """Return a moment that is waited for: date and time, with the zone that they are meant in."""
    if moment is None:
        return at(moment)
    said = gettext("%(time)s (%(zone)s)", time=format_datetime(moment), zone=zone_name())
    return _time(moment, said, "until")


def until(moment: datetime) -> Markup:
    """Return when something goes on: by UTC, which limits count by, and by the reader's clock where that differs."""
    locale, utc, here = get_locale(), moment.astimezone(UTC), moment.astimezone(get_timezone())
    said = _day_and_time(utc, now().astimezone(UTC), locale)
    said = gettext("%(time)s UTC", time=said)
    if here.utcoffset() != utc.utcoffset():
        yours = _day_and_time(here, utc.replace(tzinfo=here.tzinfo), locale)
        said = gettext("%(utc)s (%(yours)s your time)", utc=said, yours=yours)
    return _time(moment, said, "until")


def _day_and_time(moment: datetime, known: datetime, locale: Any) -> str:
    """Return the time of a moment, with its day unless that is known."""
    said: str = format_skeleton("Hm", moment, tzinfo=moment.tzinfo, locale=locale)
    if moment.date() == known.date():
        return said
    return f"{format_skeleton('MMMd', moment, tzinfo=moment.tzinfo, locale=locale)}, {said}"


def _time(moment: datetime, said: str, look: str = "") -> Markup:
    title = format_datetime(moment, "full")
    iso = moment.astimezone(UTC).isoformat(timespec="seconds")
    named = Markup(' class="{}"').format(look) if look else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(iso, title, named, said)


_USED = {
    SECOND: _l("%(used)s of %(most)s used this second"),
    MINUTE: _l("%(used)s of %(most)s used this minute"),
    HOUR: _l("%(used)s of %(most)s used this hour"),
    DAY: _l("%(used)s of %(most)s used today (since 00:00 UTC)"),
}


def limit_used(limit: Limit, used: int) -> str:
    """Return how much of a limit is used, in words."""
    return str(_USED[limit.seconds]) % {"used": format_number(used), "most": format_number(limit.most)}


def yes_no(value: Any) -> Markup:
    """Return a tick or a dash, with the word for screen readers."""
    if value:
        return Markup('<span class="yes">{}</span>').format(icon("check", gettext("Yes")))
    return Markup('<span class="no">{}</span>').format(icon("minus", gettext("No")))


def size(octets: int | None) -> str:
    """Return a size as people say it.

    >>> size(900), size(15_300), size(3_400_000)
    ('900 B', '15 KB', '3.4 MB')
    """
    if octets is None:
        return "–"
    if octets < 1000:
        return f"{octets} B"
    if octets < 1_000_000:
        return f"{octets / 1000:.0f} KB"
    return f"{octets / 1_000_000:.1f} MB"


def initials(name: str) -> str:
    """Return the one or two letters that stand for a person.

    >>> initials("Ada Lovelace"), initials("clerk@home.test"), initials("")
    ('AL', 'C', '?')
    >>> initials('"Ada Lovelace" <ada@home.test>')
    'AL'
    """
    name = name.partition("<")[0].strip(' "') or name.strip("<>")
    words = [word for word in name.partition("@")[0].replace(".", " ").split() if word[0].isalnum()]
    return ("".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words[:1]))).upper() or "?"


def person(name: str) -> Markup:
    """Return the initials of somebody in a circle."""
    return Markup('<span class="initials initials-sm" aria-hidden="true">{}</span>').format(initials(name))


def correspondent(header: str, names: bool = True) -> Markup:
    """Return who is named in a From or To, for a list: each name above its address, or the addresses only.

    >>> correspondent('"Ann Lee" <ann@customer.test>')
    Markup('Ann Lee<small>ann@customer.test</small>')
    >>> correspondent("Sales <sales@office.test>, Bob <bob@x.test>", names=False)
    Markup('sales@office.test, bob@x.test')
    >>> correspondent("undisclosed recipients")
    Markup('undisclosed recipients')
    """
    found = [(name, address) for name, address in getaddresses([header or ""]) if "@" in address]
    if not found:
        return _breakable(header or "")
    if not names:
        return joined(_breakable(address) for _name, address in found)
    both = Markup("{}<small>{}</small>")
    return Markup("").join(
        both.format(_breakable(name), address) if name else _breakable(address) for name, address in found
    )


def _breakable(words: str) -> Markup:
    """Return words that may break anywhere if one is so long that it would push other columns out of sight.

    >>> _breakable("a" * 40 + "@office.test")
    Markup('<span class="wrap-anywhere">aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@office.test</span>')
    """
    is_long = any(len(word) > LONG_WORD for word in words.split())
    return Markup('<span class="wrap-anywhere">{}</span>').format(words) if is_long else escape(words)


def joined(values: Iterable[Any], by: str = ", ") -> Markup:
    """Return values behind one another, each escaped."""
    return escape(by).join(values)


def source_of(fact: DnsHost | Provider | ProviderDns | PublishedLimit | Quirk) -> Markup:
    """Return a link to the page that says so, with its date."""
    site = fact.source.split("/")[2].removeprefix("www.")
    when = gettext("as of %(date)s", date=format_date(fact.seen))
    return Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>, {}').format(fact.source, site, when)


def steps_at(host: DnsHost) -> str:
    """Return where a record is added at a DNS host, and whether its form may look different."""
    if not host.usual:
        return host.where
    more = gettext("The steps and the names of the fields are usually these, but your form may look different.")
    return f"{host.where} {more}"


def asset(name: str) -> str:
    """Return the address of a static file with a mark of its content, so that browsers may keep it for ever."""
    folder = current_app.static_folder
    assert folder is not None
    mark = _mark(f"{folder}/{name}", Path(folder, name).stat().st_mtime_ns)
    return url_for("static", filename=name, v=mark)


@cache
def _mark(path: str, _changed: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:10]


SHOWN = (
    advice_for,
    fixer,
    icon,
    state,
    priority,
    ago,
    at,
    due,
    until,
    zone_name,
    limit_used,
    yes_no,
    size,
    initials,
    person,
    correspondent,
    joined,
    source_of,
    steps_at,
    asset,
)
GLOBALS = {function.__name__: function for function in SHOWN} | {"has_advice": is_known}
