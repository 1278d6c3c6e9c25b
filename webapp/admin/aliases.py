"""Aliases: the addresses whose mail opens documents, who may write to them, and how they are doing."""

from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import select
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired

from mail.incoming import adviser, alias_rules, aliases
from mail.message.address import domain_of
from mail.sentences import say
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import CATCHALL_DOMAIN
from models import Alias, Document, DocumentType, Stage, User, db
from webapp import meanwhile, template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Button, ChoiceFilter, Empty, FieldGroup, expose
from webapp.admin.outgoing_servers import badge
from webapp.admin.quarantine_pages import say_processed

ROLES = {"catchall": _l("Catchall"), "bounce": _l("Bounce")}
POLICIES = (
    ("everyone", _l("Everyone")),
    ("contacts", _l("Known contacts")),
    ("followers", _l("Followers")),
    ("users", _l("Users of this office")),
)
PRIORITIES = [SelectChoice(str(value), name) for value, name in enumerate(template_helpers.PRIORITIES)]


class LocalPartField(StringField):
    """The part before the @; written to the row by ``mail.incoming.aliases``, which keeps the old address known."""

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class DefaultField(SelectField):
    """The domain of an alias, or a value that it gives to new documents; those lie together in ``defaults``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.type = SelectField.__name__  # it looks like one

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class AliasView(AdminView):
    """List and form of aliases; the catchall and the bounce address are shown and edited under System Parameters."""

    model, page, path = Alias, "aliases", "aliases"
    title, one = _l("Aliases"), _l("alias")
    lead = _l("Emails to these addresses create documents; replies find their thread automatically.")
    trail = (_l("Settings"), _l("Technical"), _l("Email"))
    icon = "at"
    small = True
    columns = ("address_key", "type", "policy", "health", "hits", "last_hit_at")
    details = ("address_key", "type", "policy", "state", "hits", "last_hit_at")
    eager = (Alias.type,)
    sortable, searchable = ("address_key", "hits"), ("address_key",)
    filters = (
        ChoiceFilter("state", _l("State"), (("active", _l("Active")), ("retired", _l("Retired"))), usual="active"),
        ChoiceFilter(
            "role", _l("Kind"), (("alias", _l("Alias")), ("catchall", _l("Catchall")), ("bounce", _l("Bounce")))
        ),
    )
    default_sort = "address_key"
    exported = ("address_key", "role", "type", "policy", "state", "hits", "last_hit_at")
    list_template = "admin/aliases.html"
    create_template = edit_template = "admin/alias.html"
    details_template = "admin/alias_retired.html"
    labels = {
        "address_key": _l("Address"),
        "local_part": _l("Alias"),
        "type": _l("Creates"),
        "type_id": _l("Document type"),
        "policy": _l("Who may write"),
        "refusal": _l("Rejection text"),
        "responsible_id": _l("Responsible"),
        "make_contact": _l("Add unknown senders as contact and follower"),
        "fixed_document_id": _l("Fixed document"),
        "follow_fixed": _l("Senders follow the fixed document"),
        "parent_document_id": _l("Parent document"),
        "any_domain": _l("Accept any domain"),
        "health": _l("Health"),
        "hits": _l("Emails"),
        "last_hit_at": _l("Last email"),
    }
    groups = (
        FieldGroup(_l("Address"), ("local_part", "domain", "any_domain")),
        FieldGroup(_l("What incoming mail creates"), ("type_id", "fixed_document_id", "follow_fixed")),
        FieldGroup(
            _l("Default values"),
            ("default_stage", "default_priority", "responsible_id"),
            _l("Set on each new document; its title is the subject of the email."),
        ),
        FieldGroup(_l("Who may write"), ("policy", "parent_document_id", "refusal", "make_contact")),
    )
    choices = {"policy": POLICIES}
    references = {
        "type_id": {
            "model": DocumentType,
            "only": lambda rows: rows.where(DocumentType.active),
            "blank": _l("choose a type"),
            "validators": [InputRequired(_l("Choose what incoming emails create."))],
            "required": True,
        },
        "fixed_document_id": {"model": Document, "search": ("title", "number")},
        "parent_document_id": {"model": Document, "search": ("title", "number")},
        "responsible_id": {
            "model": User,
            "only": lambda rows: rows.where(User.active),
            "blank": _l("no one"),
        },
    }
    form_overrides = {"local_part": LocalPartField}
    form_args = {
        "local_part": {
            "validators": [InputRequired(servers.NOTHING), servers.at_most(64)],
            "render_kw": {"autocapitalize": "none", "spellcheck": "false"},
        },
        "refusal": {"render_kw": {"rows": 3}},
    }
    form_extra_fields = {
        "domain": DefaultField(_l("Domain"), choices=[]),
        "default_stage": DefaultField(_l("Stage"), choices=[]),
        "default_priority": DefaultField(_l("Priority"), choices=PRIORITIES),
    }
    help = {
        "domain": _l("All domains: the alias works on each of your domains. Otherwise only on the one you choose."),
        "any_domain": _l("Only the part before the @ is compared, so emails to any other domain are accepted too."),
        "type_id": _l("The type of document that each new email creates."),
        "fixed_document_id": _l(
            "If set, no new documents are created: all emails that are not replies to another thread are posted there."
        ),
        "follow_fixed": _l("On: everyone who writes here gets all later messages of the fixed document by email."),
        "default_stage": _l("Usually the first stage of the type."),
        "responsible_id": _l("Is assigned to each new document and follows it."),
        "policy": _l(
            "Known contacts: senders listed in Contacts. Followers: followers of the document replied to; for new "
            "emails, of the parent document. Other senders get the rejection text, and nothing else happens."
        ),
        "parent_document_id": _l("Its followers may create new documents by email."),
        "refusal": _l("Sent to senders who may not write. Leave empty for a friendly standard text."),
        "make_contact": _l("On: replies reach the sender. Off: the address is kept, but not added to Contacts."),
    }
    formats = {
        "address_key": lambda view, row: view.address_of(row),
        "type": lambda view, row: view.opens(row),
        "policy": lambda view, row: view.policy_of(row),
        "health": lambda view, row: view.health_of(row),
        "state": lambda view, row: template_helpers.state(row.state),
    }
    buttons = (
        Button(
            "retire",
            _l("Retire"),
            "archive",
            confirm=_l("Retire this alias? Emails to its address are still accepted, until you delete it."),
            when=lambda row: row.role == "alias" and row.state == "active",
        ),
    )
    empty = Empty("at", _l("No aliases yet"), _l("An alias such as sales@ turns emails into documents."))

    # --- the list

    def any_unknown(self) -> bool:
        """Say whether emails to addresses that nobody has wait."""
        return adviser.is_there_any()

    @staticmethod
    def address_of(row: Alias) -> Markup:
        """Return the address; without an alias domain only its first part is known."""
        local, at, domain = row.address_key.rpartition("@")
        if not at:
            return Markup('{}<span class="text-secondary">@…</span>').format(domain)
        several = row.state == "active" and not aliases.lives_in_one(row) and len(office.load().office.all_domains) > 1
        more = Markup(" ") + badge("wait", gettext("all domains")) if several and not row.any_domain else Markup("")
        shown = "*" if row.any_domain else domain
        return Markup('<span class="wrap-anywhere">{}<span class="text-secondary">@{}</span></span>{}').format(
            local, shown, more
        )

    @staticmethod
    def opens(row: Alias) -> Any:
        """Return what the mail to an alias becomes."""
        if row.role in ROLES:
            words = gettext("replies") if row.role == "catchall" else gettext("delivery failures")
            return Markup('{} <span class="text-secondary">{}</span>').format(badge("wait", ROLES[row.role]), words)
        name = row.type.name if row.type else "–"
        return gettext("%(type)s, one fixed document", type=name) if row.fixed_document_id else name

    @staticmethod
    def policy_of(row: Alias) -> str:
        """Return who may write, in a word or two."""
        return str(dict(POLICIES)[row.policy]) if row.role == "alias" else ""

    @staticmethod
    def health_of(row: Alias) -> Markup:
        """Return whether the last mail to an alias became what it should."""
        if row.state == "retired":
            return template_helpers.state("retired")
        if row.valid is False:
            return badge("bad", gettext("last email failed"), say(row.why))  # type: ignore[arg-type]
        if row.valid:
            return badge("good", gettext("valid"))
        return badge("off", gettext("no emails since the last change") if row.hits else gettext("no emails yet"))

    def is_off(self, row: Alias) -> bool:
        return row.state == "retired"

    def title_of(self, row: Alias) -> str:
        return row.address_key

    def row_url(self, row: Alias) -> str:
        if row.role in ROLES and row.state == "active":
            if domain_of(row.address_key) in {domain.name for domain in office.load().office.domains}:
                return url_for("domains.index_view")
            return url_for("system_parameters.edit_view", key=aliases.ROLE_KEYS[row.role])
        if row.state == "retired":
            return str(self.get_url(".details_view", id=row.id))
        return str(super().row_url(row))

    def why(self, row: Alias) -> str:
        """Return why the last mail failed."""
        return say(row.why)  # type: ignore[arg-type]

    # --- the form

    @expose("/edit", methods=("GET", "POST"))
    def edit_view(self) -> ResponseReturnValue:
        """Show or save an alias; the others are edited elsewhere."""
        row = self._row(request.args.get("id", ""))
        if row.role != "alias" or row.state != "active":
            return redirect(self.row_url(row))
        return super().edit_view()

    def create_form(self, obj: Any = None) -> Any:
        form = self._dressed(super().create_form(obj), obj)
        if request.method == "GET":
            form.local_part.data = request.args.get("local_part", "")
        return form

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj), obj)

    def _dressed(self, form: Any, row: Alias | None) -> Any:
        form.default_stage.choices = self._stages()
        if row is not None:
            given = row.defaults or {}
            is_new_page = request.method != "POST"
            meanwhile.holds(form.default_stage, str(given.get("stage_id") or ""), is_new_page)
            meanwhile.holds(form.default_priority, str(given.get("priority") or "0"), is_new_page)
        self._offer_domains(form, row)
        domain = CATCHALL_DOMAIN.get()
        form.local_part.description = (
            gettext(
                "The part before @%(domain)s, such as sales. After a change, the old address is still recognized.",
                domain=domain,
            )
            if domain
            else gettext("The part before the @. Set the Alias Domain under General Settings, Discuss.")
        )
        if "domain" in form:
            form.local_part.description = gettext(
                "The part before the @, such as sales. After a change, the old address is still recognized."
            )
        form.parent_document_id.shown_if = "policy=followers"
        form.refusal.shown_if = "policy=contacts,followers,users"
        form.make_contact.shown_if = "policy=everyone,followers"
        return form

    def _offer_domains(self, form: Any, row: Alias | None) -> None:
        """Let the person choose between all domains and one of them, where there are several."""
        names = [domain.name for domain in office.load().office.all_domains]
        if len(names) < 2:
            del form.domain
            return
        form.domain.choices = [SelectChoice("", gettext("all domains")), *(SelectChoice(name, name) for name in names)]
        if row is not None:
            present = domain_of(row.address_key) if row.one_domain else ""
            meanwhile.holds(form.domain, present, request.method != "POST")
        elif request.method != "POST":
            asked = request.args.get("domain", "")
            form.domain.data = asked if asked != CATCHALL_DOMAIN.get() else ""

    def _stages(self) -> list[SelectChoice]:
        rows = db.session.execute(
            select(DocumentType.name.label("type"), Stage.id, Stage.name)
            .join(DocumentType, Stage.type_id == DocumentType.id)
            .where(DocumentType.active)
            .order_by(DocumentType.position, DocumentType.id, Stage.position)
        )
        first = SelectChoice("", gettext("the first stage"))
        return [first, *(SelectChoice(str(row.id), row.name, optgroup=row.type) for row in rows)]

    def before_save(self, form: Any, row: Alias, is_new: bool) -> None:
        """Check what belongs together, and move the address."""
        stage, priority = int(form.default_stage.data or 0), int(form.default_priority.data or 0)
        domain = form.domain.data if "domain" in form else None
        with servers.rules_of(form, stage_id="default_stage"):
            alias_rules.check(row, form.local_part.data, stage, priority, domain)

    def after_save(self, row: Alias, is_new: bool) -> None:
        """Let the emails go on that waited in quarantine for this address."""
        office.forget()
        if count := adviser.take_for(row, now()):
            say_processed(count)

    def press_retire(self, row: Alias) -> ResponseReturnValue:
        """Keep an alias known for old replies, while nothing offers it any more."""
        aliases.retire(row)
        db.session.commit()
        flash(
            gettext("%(address)s is retired. Emails to it are accepted until you delete it.", address=row.address_key),
            "success",
        )
        return redirect(self.get_url(".index_view"))

    # --- deleting

    def why_not_delete(self, row: Alias) -> str:
        if row.role in ROLES and row.state == "active":
            if domain_of(row.address_key) in {domain.name for domain in office.load().office.domains}:
                return gettext("%(address)s is set under Email ‣ Domains. Change it there.", address=row.address_key)
            return gettext(
                "%(address)s is set by the system parameter %(key)s. Change it there.",
                address=row.address_key,
                key=aliases.ROLE_KEYS[row.role],
            )
        return ""

    def after_delete(self, row: Alias) -> None:
        office.forget()
