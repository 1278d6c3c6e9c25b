"""Blacklisted Email Addresses: whom mailings skip, why, since when, and how an address comes off the list again."""

from collections.abc import Sequence
from typing import Any

from flask import flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import select

from mail.decide.blacklist import Arithmetic
from mail.documents import contacts
from mail.mailing import blacklist
from mail.sentences import Why, say
from mail.settings.clock import now
from models import BlacklistedAddress, Contact, Mailing, Post, db
from webapp.admin.base import AdminView, ChoiceFilter, Empty, Since, expose
from webapp.admin.contacts import posts_of
from webapp.admin.imports import REFUSED_SHOWN, NotImported, given_text, not_taken
from webapp.admin.listing import Page

REASONS = (
    ("bounces", _l("Too many bounces")),
    ("complaint", _l("Complaint")),
    ("manual", _l("Added manually")),
    ("unsubscribed", _l("Opted out")),
)


class BlacklistView(AdminView):
    """The entries; they are made and removed by ``mail.mailing.blacklist``, which writes the log."""

    model, page, path = BlacklistedAddress, "blacklist", "blacklist"
    title, one = _l("Blacklisted Email Addresses"), _l("address")
    lead = _l("Mailings skip these addresses; personal emails and emails of documents are still sent.")
    trail = (_l("Email Marketing"), _l("Configuration"))
    icon = "mail-off"
    roles = frozenset({"marketing", "admin"})
    columns = ("address_key", "reason", "why", "mailing_id", "at")
    details = ("address_key",)
    exported = ("address_key", "reason", "why", "mailing_id", "at")
    sortable, searchable = ("at",), ("address_key",)  # who looks for an address searches it
    filters = (ChoiceFilter("reason", _l("Reason"), REASONS), Since("at", _l("Added")))
    default_sort = "-at"
    choices = {"reason": REASONS}
    labels = {
        "address_key": _l("Email address"),
        "reason": _l("Reason"),
        "why": _l("Explanation"),
        "at": _l("Added"),
        "mailing_id": _l("Origin"),
    }
    formats = {
        "why": lambda view, row: Markup('<span class="wrap-anywhere">{}</span>').format(say(row.why)),
        "mailing_id": lambda view, row: view.origin_of(row),
    }
    details_template = "admin/blacklisted.html"
    can_edit = can_delete = False
    empty = Empty(
        "mail-off",
        _l("No blacklisted addresses"),
        _l("Addresses whose mailings keep bouncing are added automatically, and so are recipients who complain."),
    )

    def __init__(self) -> None:
        super().__init__()
        self.can_create = True  # by a form of its own: an entry is not just a row

    def _page(self) -> Page:
        page = super()._page()
        numbers = {row.mailing_id for row in page.rows} - {None}
        g.mailings_here = db.session.scalars(select(Mailing).where(Mailing.id.in_(numbers))).all() if numbers else []
        return page

    def origin_of(self, row: BlacklistedAddress) -> Markup | str:
        """Return the mailing that an entry came from, as a link."""
        mailing = self.mailing_of(row)
        if mailing is None:
            return ""
        return Markup('<a href="{}">{}</a>').format(
            url_for("mailings.show", mailing_id=mailing.id), mailing.subject or gettext("(no subject)")
        )

    def plain(self, row: Any, name: str) -> Any:
        return say(row.why) if name == "why" else super().plain(row, name)

    def is_action_allowed(self, name: str) -> bool:
        return name != "delete"

    # --- adding

    @expose("/new", methods=("GET", "POST"))
    def create_view(self) -> ResponseReturnValue:
        """Ask for addresses and the reason, and blacklist them; a file that was exported here can be read back in."""
        lines = request.form.get("lines", request.args.get("address", ""))
        reason = " ".join(request.form.get("reason", "").split())[:300]
        if request.method == "POST":
            try:
                given = given_text()
            except NotImported as error:
                flash(str(error), "error")
            else:
                if reason:
                    return self._added(given, reason)
                flash(gettext("Enter a reason: it is recorded in the log of each address."), "error")
        answer: str = self.render("admin/blacklist_new.html", lines=lines, reason=reason, most=blacklist.MOST_LINES)
        return answer

    def _added(self, lines: str, reason: str) -> ResponseReturnValue:
        report = blacklist.import_lines(lines, reason, now(), current_user)
        said = [ngettext("%(num)s address was added", "%(num)s addresses were added", report.added)]
        if report.known:
            said.append(ngettext("%(num)s was already blacklisted", "%(num)s were already blacklisted", report.known))
        summary = "; ".join(said + not_taken(report)) + "."
        if not report.refused and not report.rest:
            flash(summary, "success" if report.added else "info")
            return redirect(self.get_url(".index_view"))
        answer: str = self.render(
            "admin/import_report.html",
            row=None,
            title=gettext("Skipped lines"),
            back=self.get_url(".index_view"),
            summary=summary,
            report=report,
            shown=REFUSED_SHOWN,
            add_to=self.get_url(".create_view"),
            given={"reason": reason},
            button=gettext("Blacklist"),
        )
        return answer

    # --- removing

    @expose("/remove", methods=("GET", "POST"))
    def remove(self) -> ResponseReturnValue:
        """Ask why an address may get mailings again, and take it from the list; only later bounces count then."""
        row = self._row(request.values.get("id", ""))
        reason = " ".join(request.form.get("reason", "").split())[:300]
        if request.method == "POST":
            if reason:
                blacklist.remove(row.address_key, reason.rstrip("."), current_user, now())
                db.session.commit()
                flash(gettext("%(address)s gets mailings again.", address=row.address_key), "success")
                return redirect(self.get_url(".index_view"))
            flash(gettext("Enter a reason: it is recorded in the log of the address."), "error")
        answer: str = self.render(
            "admin/ask_reason.html",
            row=row,
            question=gettext("Remove %(address)s from the blacklist?", address=row.address_key),
            words=gettext("It will get mailings again. Earlier bounces are no longer counted."),
            example=gettext("the customer has fixed the mailbox"),
            button=gettext("Remove from the blacklist"),
            values={"id": row.id},
            back=self.row_url(row),
            danger=False,
        )
        return answer

    # --- the page of one entry

    def say(self, reason: Why | None) -> str:
        """Return the sentence of a reason."""
        return say(reason)

    def mailing_of(self, row: BlacklistedAddress) -> Mailing | None:
        """Return the mailing whose bounce or complaint was the last straw."""
        return db.session.get(Mailing, row.mailing_id) if row.mailing_id else None

    def contact_of(self, row: BlacklistedAddress) -> Contact | None:
        """Return the contact with this address."""
        return contacts.find(row.address_key)

    def arithmetic_of(self, row: BlacklistedAddress) -> Arithmetic:
        """Return the bounces of the address as they count today."""
        return blacklist.arithmetic(row.address_key, now())

    def log_of(self, row: BlacklistedAddress) -> Sequence[Post]:
        """Return the log notes of an entry, the newest first."""
        return posts_of(row.thread_id)
