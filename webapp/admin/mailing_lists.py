"""Mailing lists: who is on them, who is not any more and why, and pasting addresses."""

from typing import Any

from flask import abort, flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import format_number, gettext, ngettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from mail.mailing import list_rules, lists
from mail.mailing.lists import ImportReport
from mail.sentences import Why, say
from mail.settings.clock import now
from models import Contact, Mailing, MailingList, Subscription, db, mailing_lists
from webapp import searching
from webapp.admin import servers
from webapp.admin.base import AdminView, Empty, FieldGroup, YesNo, expose
from webapp.admin.imports import REFUSED_SHOWN, NotImported, given_text, not_taken
from webapp.admin.listing import Order, Page, page_of

PEOPLE = 30  # subscriptions of one page
SHOWN = 5  # mailings that a refusal names
STATES = ("subscribed", "pending", "unsubscribed")


class MailingListView(AdminView):
    """Lists of contacts, and the page of one with everybody on it."""

    model, page, path = MailingList, "mailing_lists", "mailing-lists"
    title, one = _l("Mailing Lists"), _l("mailing list")
    lead = _l("Mailings go to everyone subscribed to at least one of their lists.")
    trail = (_l("Email Marketing"),)
    icon = "list-check"
    roles = frozenset({"marketing", "admin"})
    small = True
    columns = ("name", "subscribed", "unsubscribed", "active")
    exported = ("id", "name", "active")
    sortable, searchable = ("name",), ("name",)
    filters = (YesNo("active", _l("Active")),)
    default_sort = "name"
    labels = {
        "active": _l("Active"),
        "subscribed": _l("Subscribed"),
        "unsubscribed": _l("Unsubscribed"),
    }
    groups = (FieldGroup(_l("List"), ("name", "active")),)
    help = {
        "name": _l("Shown to your readers on the unsubscribe page."),
        "active": _l("Off: the list and its contacts are kept, but new mailings can't use it."),
    }
    examples = {"name": "Customers of our shop"}
    form_args = {"name": servers.words(most=120)}
    formats = {
        "subscribed": lambda view, row: format_number(view.counts_of(row)["subscribed"]),
        "unsubscribed": lambda view, row: format_number(view.counts_of(row)["unsubscribed"]),
    }
    edit_template = "admin/mailing_list.html"
    empty = Empty(
        "list-check",
        _l("No mailing lists yet"),
        _l("Create one, then paste the addresses of people who want your mailings."),
    )

    def counts_of(self, row: MailingList) -> Any:
        """Return how many are on a list, by state."""
        if "subscription_counts" not in g:
            g.subscription_counts = {}
        if row.id not in g.subscription_counts:
            shown = {one.id for one in db.session.identity_map.values() if isinstance(one, MailingList)} | {row.id}
            g.subscription_counts.update(Subscription.counts(shown))
        return g.subscription_counts[row.id]

    def before_save(self, form: Any, row: MailingList, is_new: bool) -> None:
        """Check what belongs together; the mailings that need a list are shown."""
        if places := list_rules.turned_off_in_use(row):
            servers.refuse(form.active, _used(row, places))
        with servers.rules_of(form):
            list_rules.check(row)

    def _next_page(self, row: Any, words: str) -> ResponseReturnValue:
        if request.form.get("_then"):
            return super()._next_page(row, words)
        flash(words, "success")
        return redirect(self.row_url(row))

    def why_not_delete(self, row: Any) -> str:
        places = list_rules.unfinished(row)
        if places:
            return _used(row, places)
        used = select(mailing_lists.c.mailing_id).where(mailing_lists.c.list_id == row.id).limit(1)
        if db.session.scalar(used) is not None:
            return gettext(
                "Mailings were sent to “%(list)s”, and their history is kept. Turn the list off instead.", list=row.name
            )
        return ""

    # --- the page of one list

    def say(self, reason: Why | None) -> str:
        """Return the sentence of a reason."""
        return say(reason)

    def number(self, count: int) -> str:
        """Return a number as people read it."""
        return str(format_number(count))

    def people_of(self, row: MailingList) -> Page:
        """Return one page of the subscriptions of a list, by the state and the words of the address."""
        query = select(Subscription).where(Subscription.list_id == row.id).options(joinedload(Subscription.contact))
        if request.args.get("state") in STATES:
            query = query.where(Subscription.state == request.args["state"])
        if words := request.args.get("search", "").strip():
            people = select(Contact).join(Subscription).where(Subscription.list_id == row.id)
            found = select(Contact.id).where(searching.found(words, Contact.name, Contact.address, among=people))
            query = query.where(Subscription.contact_id.in_(found))
        order = Order(Subscription.contact_id, Subscription.contact_id)  # nobody is on a list twice
        return page_of(query, order, PEOPLE, request.args.get("after", ""), request.args.get("before", ""))

    @property
    def states(self) -> tuple[str, ...]:
        """The states of a subscription."""
        return STATES

    def people_url(self, row: MailingList, **changes: Any) -> str:
        """Return the address of a list's page with some of its arguments changed."""
        arguments = {**request.args.to_dict(), "after": None, "before": None, **changes, "id": row.id}
        known = {name: value for name, value in arguments.items() if value}
        return f"{self.get_url('.edit_view', **known)}#people"

    def mailings_of(self, row: MailingList) -> list[Mailing]:
        """Return the newest mailings to a list."""
        query = select(Mailing).join(mailing_lists).where(mailing_lists.c.list_id == row.id)
        return list(db.session.scalars(query.order_by(mailing_lists.c.mailing_id.desc()).limit(SHOWN)))

    @expose("/add", methods=("POST",))
    def add_people(self) -> ResponseReturnValue:
        """Put the pasted people on a list, and say of each line that was not taken why."""
        row = self._row(request.form.get("id", ""))
        try:
            report = lists.import_lines(given_text(), row.id, now(), current_user)
        except NotImported as error:
            flash(str(error), "error")
            return redirect(self.row_url(row))
        if not report.refused and not report.remarks and not report.rest:
            flash(_summary(report), "success" if report.added else "info")
            return redirect(self.row_url(row))
        answer: str = self.render(
            "admin/import_report.html",
            row=row,
            title=row.name,
            back=self.row_url(row),
            summary=_summary(report),
            report=report,
            shown=REFUSED_SHOWN,
            add_to=self.get_url(".add_people"),
            given={"id": row.id},
            button=gettext("Add to the list"),
        )
        return answer

    @expose("/subscription", methods=("GET", "POST"))
    def subscription(self) -> ResponseReturnValue:
        """Ask why somebody is unsubscribed or subscribed again by hand, and do it."""
        found = self._subscription(request.values.get("subscription", ""))
        wanted = "subscribed" if found.state == "unsubscribed" else "unsubscribed"
        reason = " ".join(request.form.get("reason", "").split())[:300]
        if request.method == "POST":
            if not reason:
                flash(gettext("Enter a reason: it is recorded with the subscription."), "error")
            elif request.form.get("state") == wanted:
                lists.set_subscription(found.id, wanted, reason, now(), current_user)
                db.session.commit()
                flash(gettext("Saved."), "success")
                return redirect(self.people_url(found.list))
            else:
                return redirect(self.people_url(found.list))
        name = str(found.contact) or gettext("this contact")
        question = (
            gettext("Unsubscribe %(name)s from “%(list)s”?", name=name, list=found.list.name)
            if wanted == "unsubscribed"
            else gettext("Resubscribe %(name)s to “%(list)s”?", name=name, list=found.list.name)
        )
        answer: str = self.render(
            "admin/ask_reason.html",
            row=found.list,
            question=question,
            words=gettext("Only if they asked for it. Pasting their address will not add them again.")
            if wanted == "unsubscribed"
            else gettext("They unsubscribed. Resubscribe them only if they asked for it."),
            example=gettext("asked by phone"),
            button=gettext("Unsubscribe") if wanted == "unsubscribed" else gettext("Resubscribe"),
            values={"subscription": found.id, "state": wanted},
            back=self.people_url(found.list),
            danger=wanted == "unsubscribed",
        )
        return answer

    @expose("/remove", methods=("POST",))
    def remove(self) -> ResponseReturnValue:
        """Take somebody from a list as if they had never been on it."""
        found = self._subscription(request.form.get("subscription", ""))
        mailing_list, name = found.list, str(found.contact)
        if found.state == "unsubscribed":
            # The row is what keeps them from being added again.
            flash(gettext("%(name)s unsubscribed; this is kept, so that they are not added again.", name=name), "error")
        else:
            db.session.delete(found)
            db.session.commit()
            flash(gettext("%(name)s was removed from the list.", name=name), "success")
        return redirect(self.people_url(mailing_list))

    def _subscription(self, number: str) -> Subscription:
        found = db.session.get(Subscription, int(number)) if number.isdecimal() else None
        return found or abort(404)


def _used(row: MailingList, places: list[Mailing]) -> Markup:
    """Why a list has to stay, with links to the mailings that need it."""
    links = Markup(", ").join(
        Markup('<a href="{}">{}</a>').format(url_for("mailings.show", mailing_id=one.id), one.subject or "–")
        for one in places
    )
    words = gettext("“%(list)s” can't be deleted or turned off while an unfinished mailing uses it:", list=row.name)
    return Markup("{} {}").format(words, links)


def _summary(report: ImportReport) -> str:
    said = [ngettext("%(num)s contact was added", "%(num)s contacts were added", report.added)]
    if report.made:
        said.append(ngettext("%(num)s is a new contact", "%(num)s are new contacts", report.made))
    if report.known:
        said.append(
            ngettext(
                "%(num)s contact was already on the list", "%(num)s contacts were already on the list", report.known
            )
        )
    said += not_taken(report)
    return "; ".join(said) + "."
