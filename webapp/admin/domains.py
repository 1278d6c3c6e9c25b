"""Domains: those that are ours, the addresses that each of them has, and what its emails are sent through."""

from dataclasses import dataclass
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from mail.decide.domains import MailDomain
from mail.decide.sender import Decision, Request, decide
from mail.deliverability import own_keys
from mail.deliverability.requests import ask_where_changed
from mail.incoming import domain_rules
from mail.message.address import domain_of
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import BOUNCE_ALIAS, CATCHALL_ALIAS, DEFAULT_FROM
from models import OfficeDomain, db
from webapp.admin import servers
from webapp.admin.base import AdminView, Empty, FieldGroup, expose
from webapp.admin.listing import Page
from webapp.admin.outgoing_servers import badge
from webapp.pages import settings as general

SOMEBODY = "somebody"  # the local part of an author who is not known yet
SHOWN = 10


@dataclass(frozen=True)
class AliasDomain:
    """The alias domain, as the list shows it: the first of our domains, which is no row."""

    name_key: str
    company: str


class DomainView(AdminView):
    """List and form of our domains; the alias domain is shown first, and edited under General Settings."""

    model, page, path = OfficeDomain, "domains", "domains"
    title, one = _l("Domains"), _l("domain")
    lead = _l("Your company's domains. Each has its own addresses for replies and delivery failures.")
    trail = (_l("Email"),)
    icon = "world"
    small = fresh_login = True
    can_export = can_delete = False
    columns = ("name_key", "company", "addresses", "sends_through")
    default_sort = "id"
    create_template = edit_template = "admin/domain.html"
    labels = {
        "name": _l("Domain"),
        "name_key": _l("Domain"),
        "company": _l("Company name"),
        "addresses": _l("Addresses"),
        "sends_through": _l("Emails are sent through"),
        "catchall_alias": _l("Catchall"),
        "bounce_alias": _l("Bounce address"),
        "default_from": _l("Default address"),
    }
    groups = (
        FieldGroup(_l("Domain"), ("name", "company")),
        FieldGroup(
            _l("Addresses"),
            ("catchall_alias", "bounce_alias", "default_from"),
            _l("The part before the @. Leave a field empty to use the same as for the alias domain."),
        ),
    )
    help = {
        "name": _l("A domain that you own, and whose emails reach this office."),
        "company": _l("Shown before the document title in the Reply-To name. Leave empty to use the company name."),
        "catchall_alias": _l("Receives replies to documents whose type has no alias on this domain."),
        "bounce_alias": _l("Receives delivery failures."),
        "default_from": _l("Used for sending when the author's own address on this domain can't be used."),
    }
    examples = {"name": "second-company.com"}
    form_args = {
        "name": servers.words(most=253) | {"render_kw": {"autocapitalize": "none", "spellcheck": "false"}},
        "company": servers.words(most=120, required=False),
        **{name: servers.words(most=64, required=False) for name in domain_rules.LOCAL_PARTS},
    }
    formats = {
        "name_key": lambda view, row: view.name_of(row),
        "addresses": lambda view, row: Markup("<br>").join(view.addresses_of(row)),
        "sends_through": lambda view, row: view.sends_through(row),
    }
    empty = Empty(
        "world",
        _l("No alias domain yet"),
        _l("Set it under Settings ‣ General Settings: it is the first of your domains. You can add others here."),
    )

    # --- the list

    def _page(self) -> Page:
        """The alias domain, then the others."""
        page, first = super()._page(), office.load().office.first
        if not first.name:
            return page
        rows = [AliasDomain(first.name, first.company), *page.rows]
        return Page(rows, page.before, page.after, page.counted + 1)

    def is_action_allowed(self, name: str) -> bool:
        return False  # each deletion is shown with what it affects

    def row_url(self, row: Any) -> str:
        return str(self.get_url(".edit_view", id=row.id) if hasattr(row, "id") else url_for("settings.index"))

    def name_of(self, row: Any) -> Markup:
        """Return the domain, marked if it is the alias domain."""
        mark = Markup("") if hasattr(row, "id") else Markup(" ") + badge("wait", gettext("alias domain"))
        return Markup('<span class="wrap-anywhere">{}</span>{}').format(row.name_key, mark)

    def _domain(self, row: Any) -> MailDomain:
        return office.load().office.domain(row.name_key) or MailDomain(row.name_key)

    def addresses_of(self, row: Any) -> list[str]:
        """Return the addresses of a domain that must reach this office."""
        domain = self._domain(row)
        on_it = [domain.catchall_address, domain.bounce_address]
        if domain.default_address and domain_of(domain.default_address) == domain.name:
            on_it.append(domain.default_address)
        return [address for address in dict.fromkeys(on_it) if address]

    def decision_of(self, row: Any) -> Decision:
        """Return how an email of somebody on this domain would be sent."""
        snapshot = office.load()
        return decide(Request(f"{SOMEBODY}@{row.name_key}"), snapshot.servers, snapshot.office)

    def sends_through(self, row: Any) -> Markup:
        """Return the server, and under which other address, if it may not send from the domain."""
        decision = self.decision_of(row)
        if decision.failure:
            return badge("bad", gettext("no server"), say(decision.failure))
        sent_as = _address_of(decision)
        mark = Markup("")
        if domain_of(sent_as) != row.name_key:
            title = gettext("as %(address)s", address=sent_as)
            mark = Markup(" ") + badge("doubt", gettext("under another domain"), title)
        return Markup("{}{}").format(decision.server_name, mark)

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        return self._dressed(super().create_form(obj))

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj))

    def _dressed(self, form: Any) -> Any:
        usual = DEFAULT_FROM.get()
        shown = {
            "catchall_alias": CATCHALL_ALIAS.get(),
            "bounce_alias": BOUNCE_ALIAS.get(),
            "default_from": "" if "@" in usual else usual,
        }
        for name, placeholder in shown.items():
            form[name].render_kw = {"placeholder": placeholder, "autocapitalize": "none", "spellcheck": "false"}
        return form

    def what_if(self, row: OfficeDomain) -> str:
        """Return the page that says why an email of somebody on this domain is sent as it is."""
        type_id = next(iter(office.load().aliases), 0)
        author = f"{SOMEBODY}@{row.name_key}"
        return url_for("simulators.outgoing", author=author, kind="document", type_id=type_id)

    def warning_of(self, row: OfficeDomain) -> str:
        """Return what keeps emails of this domain from being its own, "" when nothing does."""
        decision = self.decision_of(row)
        hindrance = decision.failure or hindrance_of(decision, row.name_key)
        return say(hindrance) if hindrance else ""

    def uses_of(self, row: OfficeDomain) -> list[general.Pointer]:
        """Return what names a domain, with the page where that is changed."""
        return general.pointing_to(row.name_key)

    def _saved(self, form: Any, row: Any, is_new: bool) -> bool:
        before = row.name_key
        self.retired: list[str] = []
        if not super()._saved(form, row, is_new):
            return False
        if not is_new and before != row.name_key:
            flash(_still_known(before, self.retired), "warning")
        return True

    def before_save(self, form: Any, row: OfficeDomain, is_new: bool) -> None:
        """Check what belongs together, and let the addresses follow."""
        with servers.rules_of(form):
            self.retired = domain_rules.save(row)

    def after_save(self, row: OfficeDomain, is_new: bool) -> None:
        ask_where_changed(now())

    def _next_page(self, row: Any, words: str) -> ResponseReturnValue:
        if request.form.get("_then"):
            return super()._next_page(row, words)
        flash(words, "success")
        return redirect(self.row_url(row))

    # --- deleting

    @expose("/remove", methods=("GET", "POST"))
    def remove(self) -> ResponseReturnValue:
        """Say what deleting a domain affects, and do it."""
        row = self._row(request.values.get("id", ""))
        if request.method == "POST":
            name, retired = row.name_key, domain_rules.remove(row)
            db.session.commit()
            ask_where_changed(now())
            flash(gettext("%(name)s was deleted.", name=name), "success")
            flash(_still_known(name, retired), "warning")
            return redirect(self.get_url(".index_view"))
        awaited = domain_rules.awaited_replies(row.name_key)
        answer: str = self.render(
            "admin/domain_remove.html",
            row=row,
            retired=domain_rules.would_retire(row),
            uses=self.uses_of(row),
            has_keys=bool(own_keys.keys_of(row.name_key)),
            awaited=say(why("domain_replies_awaited", count=awaited, most=domain_rules.RECENT, domain=row.name_key))
            if awaited
            else "",
        )
        return answer


def hindrance_of(decision: Decision, domain: str) -> Why | None:
    """Return why an email of somebody on a domain of ours does not use its addresses, None if it does."""
    reasons = {step["code"]: step for step in [*decision.steps, *decision.warnings]}
    if "no_default_address" in reasons:
        return reasons["no_default_address"]
    if decision.domain != domain:
        sent_as = {"server": decision.server_name, "address": _address_of(decision)}
        return reasons.get("from_always_rewritten") or why("domain_without_server", domain=domain, **sent_as)
    bounces = reasons["envelope_bounce"]["values"]["address"] if "envelope_bounce" in reasons else ""
    if domain_of(bounces) == domain:
        return None
    address = bounces or decision.envelope_sender
    return why("domain_bounces_elsewhere", server=decision.server_name, address=address)


def _address_of(decision: Decision) -> str:
    return decision.from_after.rpartition("<")[2].rstrip(">")


def _still_known(domain: str, retired: list[str]) -> str:
    listed = ", ".join(retired[:SHOWN]) + (" …" if len(retired) > SHOWN else "")
    return gettext(
        "Emails to these addresses are still recognized: %(addresses)s. Let the mail server of %(domain)s deliver or "
        "redirect them until they receive no more replies, then delete the retired aliases.",
        addresses=listed,
        domain=domain,
    )
