"""General Settings: custom email servers, the alias domain, the company, the default server, developer mode."""

from dataclasses import asdict, dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy import func, select

from mail.decide.servers import read_filter
from mail.deliverability.requests import ask_where_changed
from mail.errors import ChangeRefused
from mail.incoming import domain_rules
from mail.maintenance import general
from mail.message.address import domain_of
from mail.queue import quota
from mail.sentences import say
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.parameters import (
    CATCHALL_DOMAIN,
    DAILY_LIMIT,
    DAILY_LIMIT_REASON,
    DAILY_LIMIT_UNTIL,
    DEFAULT_SENDS_FROM,
)
from mail.settings.wake import wake
from models import Alias, DocumentType, IncomingServer, OutgoingServer, db
from webapp import auth, checks, meanwhile, sessions, waiting_words

blueprint = Blueprint("settings", __name__, url_prefix="/settings")

FIELDS = ("domain", "base_url", "company", "address")
LABELS = {
    "domain": _l("Alias Domain"),
    "base_url": _l("Address of this office"),
    "company": _l("Company name"),
    "address": _l("Postal address"),
    "custom_servers": _l("Custom Email Servers"),
}
DEFAULT_SERVER = 0  # the number that tests of the default server carry
SHOWN = 10


@dataclass(frozen=True)
class Pointer:
    """Something that still names a domain that is not ours any more, and the page where that is fixed."""

    words: str
    url: str


@dataclass(frozen=True)
class OldDomain:
    """A former alias domain: its addresses that are still known, and what still points to it."""

    domain: str
    addresses: list[str]
    hits: int
    pointers: list[Pointer]


@blueprint.get("/")
@auth.roles_required("admin")
def index() -> ResponseReturnValue:
    """Show the settings."""
    return _page()


def _page(values: dict[str, Any] | None = None, errors: dict[str, str] | None = None) -> ResponseReturnValue:
    known, saved = office.load(), general.current()
    return render_template(
        "pages/settings.html",
        values=values or asdict(saved),
        loaded=asdict(saved),
        errors=errors or {},
        custom_servers=saved.custom_servers,
        counts={
            "outgoing": db.session.scalar(select(func.count()).where(OutgoingServer.active)),
            "incoming": db.session.scalar(select(func.count()).where(IncomingServer.active)),
            "types": db.session.scalar(select(func.count()).where(DocumentType.active)),
            "domains": len(known.office.all_domains),
            "aliases": db.session.scalar(select(func.count()).where(Alias.state == "active", Alias.role == "alias")),
        },
        office=known.office,
        old_domains=old_domains(),
        links_begin_with=office.base_url(),
        has_address=office.has_address(),
        is_live=office.is_live(),
        limits=quota.usage(DEFAULT_SERVER, now()),
        waiting=waiting_words.of_server(DEFAULT_SERVER, settings().default_server.name),
        limit_changed=quota.is_changed(now()),
        limit_set=DAILY_LIMIT.get(),
        limit_reason=DAILY_LIMIT_REASON.get(),
        limit_until=DAILY_LIMIT_UNTIL.get(),
        server=settings().default_server,
        server_filter=known.office.default_from_filter or _environment_filter(),
        sends_from=DEFAULT_SENDS_FROM.get(),
        filter_is_parameter=bool(known.office.default_from_filter),
        check_panel=checks.panels(DEFAULT_SERVER),
    )


def _environment_filter() -> tuple[str, ...]:
    return read_filter(settings().default_server.from_filter)


@blueprint.post("/")
@auth.roles_required("admin")
@sessions.fresh_login
def save() -> ResponseReturnValue:
    """Save what the form says."""
    before = CATCHALL_DOMAIN.get()
    new, clashes = _typed(asdict(general.current()))
    if clashes:
        return _page(asdict(new), clashes)
    try:
        moved = general.save(new, now(), current_user.id)
    except ChangeRefused as refused:
        db.session.rollback()
        flash(gettext("Not saved: check the marked fields."), "error")
        return _page(asdict(new), refused.sentences())
    db.session.commit()
    ask_where_changed(now())
    tell_domain_change(before, moved)
    flash(gettext("Saved."), "success")
    return redirect(url_for(".index"))


def _typed(saved: dict[str, Any]) -> tuple[general.GeneralSettings, dict[str, str]]:
    """What the form says, with what only somebody else changed since, and a sentence for each field both changed."""
    typed = {name: request.form.get(name, "").strip().replace("\r\n", "\n") for name in FIELDS}
    typed |= {"custom_servers": "1" if request.form.get("custom_servers") else ""}
    loaded = {name: request.form[f"{name}_was"] for name in typed if f"{name}_was" in request.form}
    is_now = {**saved, "custom_servers": "1" if saved["custom_servers"] else ""}
    merged = meanwhile.merge(*(meanwhile.marks(values) for values in (loaded, is_now, typed)))
    meanwhile.tell(LABELS, merged)
    typed |= {name: is_now[name] for name in merged.kept}
    is_on = bool(typed.pop("custom_servers"))
    new = general.GeneralSettings(**typed, custom_servers=is_on)
    return new, {name: meanwhile.clash(saved[name]) for name in merged.clashing}


@blueprint.post("/practice")
@auth.roles_required("admin")
@sessions.fresh_login
def return_to_practice() -> ResponseReturnValue:
    """Let the practice mailbox take the emails again, of an office that was live."""
    if not settings().default_server.practice:
        abort(404)
    office.back_to_practice(now(), current_user.id)
    db.session.commit()
    wake()
    flash(gettext("The office is back in practice: emails go to the practice mailbox and reach nobody."), "warning")
    return redirect(url_for(".index", _anchor="default-server"))


@blueprint.post("/test-default-server")
@auth.roles_required("admin")
def test_default_server() -> ResponseReturnValue:
    """Ask the worker to test the default server, or to send a real email through it to the person who is here."""
    kind = "outgoing_mail" if "mail" in request.form else "outgoing_test"
    checks.ask(kind, DEFAULT_SERVER)
    return redirect(url_for(".index", _anchor="default-server"))


# --- the alias domain


def tell_domain_change(before: str, moved: list[str]) -> None:
    """Say what has to be done elsewhere after the alias domain was changed."""
    if before and moved:
        listed = ", ".join(moved[:SHOWN]) + (" …" if len(moved) > SHOWN else "")
        flash(
            gettext(
                "The alias domain has changed. Emails to the old addresses are still recognized: %(addresses)s. Let "
                "the mail server of %(domain)s deliver or redirect them until they receive no more replies.",
                addresses=listed,
                domain=before,
            ),
            "warning",
        )
    pointers = pointing_to(before) if before and before != CATCHALL_DOMAIN.get() else []
    if pointers:
        places = "; ".join(pointer.words for pointer in pointers)
        flash(gettext("Still using %(domain)s: %(places)s.", domain=before, places=places), "warning")


def old_domains() -> list[OldDomain]:
    """Return the former domains that are still recognised, with what still points to each."""
    rows = db.session.execute(select(Alias.address_key, Alias.hits).where(Alias.state == "retired")).all()
    ours = {domain.name for domain in office.load().office.all_domains}
    by_domain: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        domain = domain_of(row.address_key)
        if domain and domain not in ours:
            by_domain.setdefault(domain, []).append((row.address_key, row.hits))
    return [
        OldDomain(domain, sorted(address for address, _ in found), sum(hits for _, hits in found), pointing_to(domain))
        for domain, found in sorted(by_domain.items())
    ]


PAGES = {
    "alias": ("aliases.edit_view", "id"),
    "parameter": ("system_parameters.edit_view", "key"),
    "outgoing": ("outgoing_servers.edit_view", "id"),
    "incoming": ("incoming_servers.edit_view", "id"),
}


def pointing_to(domain: str) -> list[Pointer]:
    """Return the aliases, servers and parameters that name this domain."""
    found = []
    for use in domain_rules.uses(domain):
        endpoint, name = PAGES[use.kind]
        values: dict[str, Any] = {name: use.key}
        found.append(Pointer(say(use.reason), url_for(endpoint, **values)))
    return found
