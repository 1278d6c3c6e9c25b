"""Contacts: who mail goes to and comes from, and everything that is known about how their mail arrives."""

from collections.abc import Sequence
from typing import Any

from flask import flash, g, request
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from mail.decide.blacklist import Arithmetic
from mail.documents import contact_rules
from mail.mailing import blacklist
from mail.sentences import Why, say
from mail.settings.clock import now
from models import AddressHealth, BlacklistedAddress, Contact, Document, Post, Subscription, Trace, User, db
from webapp import auth
from webapp.admin import servers
from webapp.admin.base import AdminView, Empty, FieldGroup, YesNo, action

TRACES = 20  # mailings that a contact's page names
DOCUMENTS = 10
NOTES = 50


class ContactView(AdminView):
    """List and page of contacts."""

    model, page, path = Contact, "contacts", "contacts"
    title, one = _l("Contacts"), _l("contact")
    lead = _l(
        "People and companies, identified by their email address. Anyone who writes to you is added automatically."
    )
    trail = (_l("Email Marketing"),)
    icon = "users"
    roles = frozenset({"marketing", "admin"})
    columns = ("name", "address", "company", "blacklisted")
    exported = ("id", "name", "address", "company", "language", "active", "created_at")
    sortable, searchable = ("name",), ("name", "address", "company")
    filters = (YesNo("active", _l("Active"), _l("active"), _l("archived")),)
    default_sort = "name"
    labels = {
        "address": _l("Email address"),
        "company": _l("Company"),
        "language": _l("Language"),
        "active": _l("Active"),
        "blacklisted": _l("Mailings"),
    }
    groups = (FieldGroup(_l("Contact"), ("name", "address", "company", "language", "active")),)
    help = {
        "name": _l("As written in a greeting; the first word is the first name."),
        "address": _l("One address per contact; upper and lower case make no difference."),
        "company": _l("The company they work for; a merge field of mailings."),
        "language": _l("Two letters, such as en or es; a merge field of mailings."),
        "active": _l("Off: archived. Archived contacts get no mailings and are no longer suggested."),
    }
    examples = {"name": "Ann Lee", "address": "ann.lee@customer.com", "language": "en"}
    form_args = {
        "name": servers.words(most=200, required=False),
        "address": servers.words(most=320, required=False),
        "company": servers.words(most=200, required=False),
        "language": servers.words(most=10, required=False),
    }
    formats = {"blacklisted": lambda view, row: view.mailings_of(row)}
    edit_template = "admin/contact.html"
    empty = Empty(
        "users",
        _l("No contacts yet"),
        _l(
            "Anyone who writes to you is added automatically. To add many contacts, paste their addresses on the page "
            "of a mailing list."
        ),
    )

    def title_of(self, row: Any) -> str:
        return str(row) or gettext("Contact without a name")

    def mailings_of(self, row: Contact) -> Markup | str:
        """Return a mark for contacts that mailings leave out."""
        if not row.active:
            return Markup('<span class="state state-off">{}</span>').format(gettext("archived"))
        if row.address_key is None:
            return Markup('<span class="state state-off">{}</span>').format(gettext("no address"))
        if row.address_key in self._blacklisted(row.address_key):
            return Markup('<span class="state state-bad">{}</span>').format(gettext("blacklisted"))
        return ""

    def _blacklisted(self, key: str) -> set[str]:
        """The blacklisted addresses among those of the page that is shown: one query for all of its rows."""
        if "blacklisted_here" not in g:
            g.blacklisted_here = set()
            keys = [row.address_key for row in g.get("contacts_here", ())]
            query = select(BlacklistedAddress.address_key).where(BlacklistedAddress.address_key.in_(keys or [key]))
            g.blacklisted_here = set(db.session.scalars(query))
        found: set[str] = g.blacklisted_here
        return found

    def _page(self) -> Any:
        page = super()._page()
        g.contacts_here = [row for row in page.rows if row.address_key]
        return page

    # --- the form

    def before_save(self, form: Any, row: Contact, is_new: bool) -> None:
        """Check what belongs together; another contact with the same address is shown."""
        row.created_at = row.created_at or now()
        if (other := contact_rules.same_address(row)) is not None:
            words = gettext("Another contact already has this address:")
            link = Markup('{} <a href="{}">{}</a>').format(words, self.row_url(other), self.title_of(other))
            servers.refuse(form.address, link)
        with servers.rules_of(form):
            contact_rules.check(row, by_admin=auth.role() == "admin")

    def why_not_delete(self, row: Any) -> str:
        name = self.title_of(row)
        if contact_rules.account_of(row) is not None:
            return gettext("%(name)s has an account here and can't be deleted.", name=name)
        if db.session.scalar(select(Trace.id).where(Trace.contact_id == row.id).limit(1)) is not None:
            return gettext(
                "%(name)s has received mailings, whose history is kept. Archive the contact instead.", name=name
            )
        return ""

    @action("archive", _l("Archive"), _l("Archive the selected contacts? They will no longer get mailings."))
    def archive(self, ids: list[str]) -> None:
        """Leave contacts out of everything, without losing what is known of them."""
        self._set_active(ids, False)

    @action("restore", _l("Restore"))
    def restore(self, ids: list[str]) -> None:
        """Take contacts back from the archive."""
        self._set_active(ids, True)

    def _set_active(self, ids: Sequence[str], active: bool) -> None:
        rows = [row for row in self.chosen(ids) if row.active is not active]
        if not active:
            rows = self._without_accounts(rows)
        for row in rows:
            row.active = active
        db.session.commit()
        count = len(rows)
        if not count:
            return
        if active:
            flash(ngettext("%(num)s contact was restored.", "%(num)s contacts were restored.", count), "success")
        else:
            flash(ngettext("%(num)s contact was archived.", "%(num)s contacts were archived.", count), "success")

    def _without_accounts(self, rows: Sequence[Contact]) -> list[Contact]:
        """The contacts of these that nobody logs in as; of the others it is said that they stay."""
        found = select(User.contact_id).where(User.contact_id.in_([row.id for row in rows]))
        accounts = set(db.session.scalars(found))
        for row in rows:
            if row.id in accounts:
                name = self.title_of(row)
                flash(
                    gettext("%(name)s has an account here and would get no emails: not archived.", name=name), "error"
                )
        return [row for row in rows if row.id not in accounts]

    # --- the page of one contact

    def say(self, reason: Why | None) -> str:
        """Return the sentence of a reason."""
        return say(reason)

    def subscriptions_of(self, row: Contact) -> Sequence[Subscription]:
        """Return the lists that a contact is or was on."""
        query = select(Subscription).where(Subscription.contact_id == row.id).options(joinedload(Subscription.list))
        return db.session.scalars(query.order_by(Subscription.id)).all()

    def documents_of(self, row: Contact) -> Sequence[Document]:
        """Return the newest documents of a contact."""
        query = select(Document).where(Document.contact_id == row.id).options(joinedload(Document.stage))
        return db.session.scalars(query.order_by(Document.id.desc()).limit(DOCUMENTS)).all()

    def traces_of(self, row: Contact) -> Sequence[Trace]:
        """Return the newest mailings that a contact got, or did not get."""
        query = select(Trace).where(Trace.contact_id == row.id).options(joinedload(Trace.mailing))
        before = request.args.get("before", 0, type=int)
        if before:
            query = query.where(Trace.id < before)
        return db.session.scalars(query.order_by(Trace.id.desc()).limit(TRACES)).all()

    @property
    def traces_shown(self) -> int:
        """How many mailings one page names."""
        return TRACES

    def entry_of(self, row: Contact) -> BlacklistedAddress | None:
        """Return the entry of the blacklist that has this contact's address."""
        query = select(BlacklistedAddress).where(BlacklistedAddress.address_key == row.address_key)
        return db.session.scalar(query) if row.address_key else None

    def arithmetic_of(self, row: Contact) -> Arithmetic | None:
        """Return how near the address is to the blacklist."""
        return blacklist.arithmetic(row.address_key, now()) if row.address_key else None

    def bounces_of(self, row: Contact) -> int:
        """Return how many emails, also of documents, did not reach this contact since it was last heard from."""
        counted = select(AddressHealth.bounces).where(AddressHealth.address_key == row.address_key)
        return db.session.scalar(counted) or 0

    def log_of(self, row: Contact) -> Sequence[Post]:
        """Return what was noted about a contact, the newest first."""
        return posts_of(row.thread_id)


def posts_of(thread_id: int | None) -> Sequence[Post]:
    """Return the notes of a thread, the newest first."""
    if thread_id is None:
        return []
    query = select(Post).where(Post.thread_id == thread_id).options(joinedload(Post.author))
    return db.session.scalars(query.order_by(Post.id.desc()).limit(NOTES)).all()
