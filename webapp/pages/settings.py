"""General Settings: custom email servers, the alias domain, the company, the default server, developer mode."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from sqlalchemy import func, select

from mail.decide.servers import read_filter
from mail.incoming import aliases
from mail.message.address import domain_of
from mail.settings import office, parameters
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.parameters import (
    CATCHALL_DOMAIN,
    COMPANY_ADDRESS,
    COMPANY_NAME,
    CUSTOM_SERVERS,
    DEFAULT_FROM,
    DEFAULT_FROM_FILTER,
    NotValid,
)
from models import Alias, DocumentType, IncomingServer, OutgoingServer, db
from webapp import auth, checks

blueprint = Blueprint("settings", __name__, url_prefix="/settings")

DEFAULT_SERVER = 0  # the number that tests of the default server carry
SHOWN = 10


@dataclass(frozen=True)
class Pointer:
    """Something that still names a domain that is not ours any more, and the page where that is mended."""

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


def _page(values: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> ResponseReturnValue:
    known = office.load()
    saved = {
        "domain": CATCHALL_DOMAIN.get(),
        "company": COMPANY_NAME.get(),
        "address": COMPANY_ADDRESS.get(),
        "custom_servers": "1" if CUSTOM_SERVERS.get() else "",
    }
    hosting = settings().hosting
    return render_template(
        "pages/settings.html",
        values=saved if values is None else values,
        errors=errors or {},
        custom_servers=bool(CUSTOM_SERVERS.get()),
        counts={
            "outgoing": db.session.scalar(select(func.count()).where(OutgoingServer.active)),
            "incoming": db.session.scalar(select(func.count()).where(IncomingServer.active)),
            "types": db.session.scalar(select(func.count()).where(DocumentType.active)),
            "aliases": db.session.scalar(select(func.count()).where(Alias.state == "active", Alias.role == "alias")),
        },
        office=known.office,
        old_domains=old_domains(),
        redirections=redirections() if hosting == "online" else [],
        hosting=hosting,
        server=settings().default_server,
        server_filter=known.office.default_from_filter or _environment_filter(),
        filter_is_parameter=bool(known.office.default_from_filter),
        check_panel=checks.panel(checks.latest(("outgoing_test",), [DEFAULT_SERVER]).get(DEFAULT_SERVER)),
    )


def _environment_filter() -> tuple[str, ...]:
    return read_filter(settings().default_server.from_filter)


@blueprint.post("/")
@auth.roles_required("admin")
def save() -> ResponseReturnValue:
    """Save what the form says."""
    values = {name: request.form.get(name, "").strip() for name in ("domain", "company", "address", "custom_servers")}
    moment, errors = now(), {}
    if not values["domain"] and CATCHALL_DOMAIN.get():
        errors["domain"] = gettext("The alias domain is required: without it there are no addresses.")
    if not values["company"]:
        errors["company"] = gettext("Enter your company name; it is shown in emails.")
    try:
        if not errors:
            change_alias_domain(values["domain"])
    except NotValid as error:
        errors["domain"] = str(error)
    if errors:
        db.session.rollback()
        flash(gettext("Not saved: check the marked fields."), "error")
        return _page(values, errors)
    for parameter, name in ((COMPANY_NAME, "company"), (COMPANY_ADDRESS, "address")):
        if parameter.get() != values[name]:
            parameters.put(parameter.key, values[name].replace("\r\n", "\n"), moment, current_user.id)
    custom = "1" if values["custom_servers"] else "0"
    if bool(CUSTOM_SERVERS.get()) != (custom == "1"):
        parameters.put(CUSTOM_SERVERS.key, custom, moment, current_user.id)
    db.session.commit()
    office.forget()
    flash(gettext("Saved."), "success")
    return redirect(url_for(".index"))


@blueprint.post("/test-default-server")
@auth.roles_required("admin")
def test_default_server() -> ResponseReturnValue:
    """Ask the worker to test the default server."""
    checks.ask("outgoing_test", DEFAULT_SERVER)
    return redirect(url_for(".index", _anchor="default-server"))


# --- the alias domain


def change_alias_domain(text: str) -> None:
    """Change the alias domain and say what has to be done elsewhere; raises ``NotValid``. The caller commits."""
    before = CATCHALL_DOMAIN.get()
    if text.strip().lower() == before:
        return
    moved = aliases.change_domain(text, now(), current_user.id)
    office.forget()
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
    pointers = pointing_to(before) if before else []
    if pointers:
        flash(
            gettext("Still using %(domain)s: %(places)s.", domain=before,
                    places="; ".join(pointer.words for pointer in pointers[:SHOWN])),
            "warning",
        )  # fmt: skip


def old_domains() -> list[OldDomain]:
    """Return the former alias domains that are still recognised, with what still points to each."""
    rows = db.session.execute(select(Alias.address_key, Alias.hits).where(Alias.state == "retired")).all()
    by_domain: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        domain = domain_of(row.address_key)
        if domain and domain != CATCHALL_DOMAIN.get():
            by_domain.setdefault(domain, []).append((row.address_key, row.hits))
    return [
        OldDomain(domain, sorted(address for address, _ in found), sum(hits for _, hits in found), pointing_to(domain))
        for domain, found in sorted(by_domain.items())
    ]


def pointing_to(domain: str) -> list[Pointer]:
    """Return the servers and parameters that name this domain."""
    found = []
    for name, key in ((DEFAULT_FROM.get(), DEFAULT_FROM.key), (DEFAULT_FROM_FILTER.get(), DEFAULT_FROM_FILTER.key)):
        if any(domain_of(entry) == domain or entry == domain for entry in read_filter(name)):
            found.append(Pointer(gettext("the system parameter %(key)s", key=key),
                                 url_for("system_parameters.edit", key=key)))  # fmt: skip
    for outgoing in db.session.execute(select(OutgoingServer.id, OutgoingServer.name, OutgoingServer.from_filter)):
        if any(domain in (entry, domain_of(entry)) for entry in read_filter(outgoing.from_filter)):
            found.append(Pointer(gettext("the From filter of the outgoing server “%(name)s”", name=outgoing.name),
                                 url_for("outgoing_servers.edit_view", id=outgoing.id)))  # fmt: skip
    for incoming in db.session.execute(select(IncomingServer.id, IncomingServer.name, IncomingServer.user)):
        if domain_of(incoming.user) == domain:
            found.append(Pointer(gettext("the user of the incoming server “%(name)s”", name=incoming.name),
                                 url_for("incoming_servers.edit_view", id=incoming.id)))  # fmt: skip
    return found


def redirections() -> list[tuple[str, str]]:
    """Return which address has to be redirected to which, where this office is hosted."""
    domain = urlsplit(settings().url).hostname or "localhost"
    own = db.session.scalars(
        select(Alias).where(Alias.state == "active").order_by(Alias.role.desc(), Alias.address_key)
    ).all()
    return [(alias.address_key, f"{alias.local_part}@{domain}") for alias in own if "@" in alias.address_key]
