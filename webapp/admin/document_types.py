"""Document types: what kinds of documents there are, their numbers, stages and aliases."""

import re
from collections.abc import Sequence
from typing import Any

from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import delete, func, select, update
from wtforms import Field, Form, StringField, TextAreaField
from wtforms.validators import ValidationError

from mail.documents import types
from mail.documents.types import MOST_STAGES
from mail.incoming import adviser, alias_rules
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import CATCHALL_DOMAIN
from models import Alias, Document, DocumentType, Stage, db
from webapp import meanwhile, template_helpers
from webapp.admin import servers
from webapp.admin.aliases import AliasView
from webapp.admin.base import AdminView, Empty, FieldGroup
from webapp.admin.quarantine_pages import say_processed

PATTERN = re.compile(r"[^{}\r\n]*\{number(?::0?\d{1,2}d)?\}[^{}\r\n]*")
ICONS = (
    "file", "file-text", "briefcase", "shopping-cart", "receipt", "ticket", "checks", "user-plus", "clipboard-list",
    "calendar", "tag", "star", "building", "building-store", "tool", "notebook", "book", "message", "plane-tilt",
    "world",
)  # fmt: skip


def a_pattern(form: Form, field: Field) -> None:
    """Refuse a pattern that would not give every document a number of its own."""
    if not PATTERN.fullmatch(field.data or ""):
        raise ValidationError(
            gettext(
                "The format must contain {number} exactly once, such as OPP/{number:05d}, and no other curly brackets."
            )
        )


def stages_of(text: str | None) -> list[str]:
    """Return the stages that somebody wrote, one a line.

    >>> stages_of(" New \\n\\nWon\\r\\nLost ")
    ['New', 'Won', 'Lost']
    """
    return [" ".join(line.split()) for line in (text or "").splitlines() if line.strip()]


def some_stages(form: Form, field: Field) -> None:
    """Refuse stages that can't be told apart."""
    names = stages_of(field.data)
    if not names:
        raise ValidationError(gettext("Enter at least one stage."))
    if len(names) > MOST_STAGES or any(len(name) > 80 for name in names):
        raise ValidationError(gettext("At most %(number)s stages of 80 characters each.", number=MOST_STAGES))
    if len({name.lower() for name in names}) < len(names):
        raise ValidationError(gettext("Two stages have the same name."))


class StagesField(TextAreaField):
    """The stages, one a line; written to their rows by ``arrange``."""

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class AliasField(StringField):
    """The alias of a type; written by ``mail.incoming.aliases``."""

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class DocumentTypeView(AdminView):
    """List and form of document types."""

    model, page, path = DocumentType, "document_types", "document-types"
    title, one = _l("Document Types"), _l("document type")
    lead = _l("The types of documents that emails belong to. Each has its own numbers, stages and alias.")
    trail = (_l("Settings"),)
    icon = "files"
    small = True
    can_export = False
    edit_template = "admin/document_type.html"
    columns = ("name", "stages", "alias", "example", "active")
    default_sort = "position"
    searchable = ("name", "plural")
    labels = {
        "number_pattern": _l("Number format"),
        "next_number": _l("Next number"),
        "position": _l("Menu position"),
        "alias": _l("Alias"),
        "example": _l("Next number"),
        "stages": _l("Stages"),
    }
    groups = (
        FieldGroup(_l("Names"), ("name", "plural", "icon", "position", "active")),
        FieldGroup(_l("Documents"), ("stages_text", "number_pattern")),
        FieldGroup(_l("Email"), ("alias_text",)),
    )
    choices = {"icon": tuple((name, name.replace("-", " ").capitalize()) for name in ICONS)}
    help = {
        "name": _l("Name for one document."),
        "plural": _l("Name for several documents, used in the menu."),
        "position": _l("Lower numbers come first."),
        "active": _l("Off: removed from the menu; its documents are kept."),
        "stages_text": _l(
            "One per line, in order. New documents start in the first stage. To rename a stage, edit its line."
        ),
        "number_pattern": _l("{number:05d} is replaced by a five-digit number."),
    }
    examples = {"name": "Opportunity", "plural": "Opportunities", "number_pattern": "OPP/{number:05d}"}
    form_extra_fields = {
        "stages_text": StagesField(_l("Stages"), [some_stages], render_kw={"rows": 6}),
        "alias_text": AliasField(
            _l("Alias"), [servers.at_most(64)], render_kw={"autocapitalize": "none", "spellcheck": "false"}
        ),
    }
    form_args = {
        "name": servers.words(most=80),
        "plural": servers.words(most=80),
        "number_pattern": {"filters": [servers.trimmed], "validators": [a_pattern]},
        "position": servers.number(0, 10_000, _l("A whole number from 0 to 10,000.")),
    }
    formats = {
        "name": lambda view, row: Markup("{} {}").format(template_helpers.icon(row.icon), row.name),
        "stages": lambda view, row: ", ".join(stage.name for stage in row.stages),
        "alias": lambda view, row: view.aliases_of(row),
        "example": lambda view, row: row.number_pattern.format(number=row.next_number),
    }
    empty = Empty("files", _l("No document types"), _l("Add one and give it an alias: emails to it create documents."))

    def aliases_of(self, row: DocumentType) -> str:
        """Return the addresses whose mail opens documents of a type."""
        return ", ".join(alias.address_key for alias in alias_rules.of_type(row))

    def addresses_of(self, row: DocumentType) -> Sequence[Alias]:
        """Return all aliases of a type, also those whose mail is posted on one document."""
        return alias_rules.all_of_type(row)

    def alias_view(self) -> type[AliasView]:
        """Return what says in words how an alias is doing."""
        return AliasView

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        return self._dressed(super().create_form(obj), None)

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj), obj)

    def _dressed(self, form: Any, row: DocumentType | None) -> Any:
        if row is not None:
            is_untouched = not form.stages_text.raw_data
            alias = next((alias.local_part for alias in alias_rules.of_type(row)), "")
            meanwhile.holds(form.stages_text, "\n".join(str(stage) for stage in row.stages), is_untouched)
            meanwhile.holds(form.alias_text, alias, is_untouched)
        domain = CATCHALL_DOMAIN.get() or "…"
        form.alias_text.description = gettext(
            "The part before @%(domain)s. Emails to this address create a new document, and replies return to it. "
            "Leave empty to send "
            "replies to the catchall address. Set who may write under Technical ‣ Email ‣ Aliases.",
            domain=domain,
        )
        return form

    def before_save(self, form: Any, row: DocumentType, is_new: bool) -> None:
        """Write stages and alias by their own rules."""
        if is_new:
            types.begin(row)
        with servers.rules_of(form, stages="stages_text", alias="alias_text"):
            types.arrange(row, stages_of(form.stages_text.data))
            alias_rules.give(row, form.alias_text.data or "")

    def after_save(self, row: DocumentType, is_new: bool) -> None:
        """Let the emails go on that waited in quarantine for its alias."""
        office.forget()
        if count := sum(adviser.take_for(alias, now()) for alias in alias_rules.of_type(row)):
            say_processed(count)

    # --- deleting

    def why_not_delete(self, row: DocumentType) -> str:
        documents = db.session.scalar(select(func.count()).where(Document.type_id == row.id))
        if documents:
            return ngettext(
                "%(num)s document of the type %(type)s exists. Turn the type off instead.",
                "%(num)s documents of the type %(type)s exist. Turn the type off instead.",
                documents,
                type=row.name,
            )
        if alias_rules.of_type(row):
            return gettext(
                "%(alias)s creates documents of this type. Clear its alias first.", alias=self.aliases_of(row)
            )
        return ""

    def _deleted(self, row: DocumentType) -> str:
        reason = self.why_not_delete(row)
        if not reason:  # what belongs to it and to nothing else
            db.session.execute(delete(Stage).where(Stage.type_id == row.id))
            db.session.execute(update(Alias).where(Alias.type_id == row.id).values(type_id=None))
            db.session.expire(row)
        return super()._deleted(row)
