"""Document types: what kinds of documents there are, their numbers, stages and aliases."""

import re
import unicodedata
from typing import Any

from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import delete, func, select, update
from wtforms import Field, Form, StringField, TextAreaField
from wtforms.validators import ValidationError

from mail.incoming import aliases
from mail.settings import office
from mail.settings.parameters import CATCHALL_DOMAIN, NotValid
from models import Alias, Document, DocumentType, Stage, db
from webapp import template_helpers
from webapp.admin import servers
from webapp.admin.base import AdminView, Empty, FieldGroup

PATTERN = re.compile(r"[^{}\r\n]*\{number(?::0?\d{1,2}d)?\}[^{}\r\n]*")
MOST_STAGES = 30
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

    def process_data(self, value: Any) -> None:
        self.data = "\n".join(str(stage) for stage in value or ())

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class AliasField(StringField):
    """The alias of a type; written by ``mail.incoming.aliases``."""

    def populate_obj(self, obj: Any, name: str) -> None:
        pass


class StageInUse(ValueError):
    """A stage can't go, because documents are in it; the text says so."""


def arrange(type_: DocumentType, names: list[str]) -> None:
    """Give a type these stages in this order. A name in the place of one that is gone is that stage, renamed.

    Raises ``StageInUse`` for a stage that would go while documents are in it. The caller commits.
    """
    old = list(type_.stages)
    by_name = {stage.name: stage for stage in old}
    free = [stage for stage in old if stage.name not in names]
    kept: list[Stage] = []
    for place, name in enumerate(names):
        stage = by_name.get(name)
        if stage is None and place < len(old) and old[place] in free:
            stage = old[place]
            free.remove(stage)
            stage.name = name
        if stage is None:
            stage = Stage(name=name, position=-MOST_STAGES - 1 - place, type_id=type_.id)
            db.session.add(stage)
        kept.append(stage)
    for stage in free:
        _remove(stage)
    for place, stage in enumerate(kept, 1):  # two steps: a position belongs to one stage only, also in between
        stage.position = -place
    db.session.flush()
    for place, stage in enumerate(kept, 1):
        stage.position = place
    db.session.flush()
    db.session.expire(type_, ["stages"])


def _remove(stage: Stage) -> None:
    used = db.session.scalar(select(func.count()).where(Document.stage_id == stage.id))
    if used:
        raise StageInUse(
            ngettext(
                "%(num)s document is in the stage “%(stage)s”. Move it to another stage first.",
                "%(num)s documents are in the stage “%(stage)s”. Move them to another stage first.",
                used,
                stage=stage.name,
            )
        )
    for alias in db.session.scalars(select(Alias).where(Alias.type_id == stage.type_id, Alias.defaults.is_not(None))):
        if (alias.defaults or {}).get("stage_id") == stage.id:
            alias.defaults = {name: value for name, value in (alias.defaults or {}).items() if name != "stage_id"}
    db.session.delete(stage)
    db.session.flush()


def code_of(name: str, taken: set[str]) -> str:
    """Return a code for a new type, for addresses.

    >>> code_of("Sales order", set()), code_of("Año", {"ano"}), code_of("票", set())
    ('sales_order', 'ano_2', 'type')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    code = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:30] or "type"
    candidates = (code, *(f"{code}_{number}" for number in range(2, 1000)))
    return next(candidate for candidate in candidates if candidate not in taken)


class DocumentTypeView(AdminView):
    """List and form of document types."""

    model, page, path = DocumentType, "document_types", "document-types"
    title, one = _l("Document Types"), _l("document type")
    lead = _l("The types of documents that emails belong to. Each has its own numbers, stages and alias.")
    trail = (_l("Settings"),)
    icon = "files"
    small = True
    can_export = False
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
            _l("Alias"), render_kw={"maxlength": 64, "autocapitalize": "none", "spellcheck": "false"}
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
        return ", ".join(alias.address_key for alias in self._aliases(row))

    def _aliases(self, row: DocumentType) -> list[Alias]:
        own = select(Alias).where(Alias.type_id == row.id, Alias.role == "alias", Alias.state == "active")
        return list(db.session.scalars(own.where(Alias.fixed_document_id.is_(None)).order_by(Alias.id)))

    # --- the form

    def create_form(self, obj: Any = None) -> Any:
        return self._dressed(super().create_form(obj), None)

    def edit_form(self, obj: Any = None) -> Any:
        return self._dressed(super().edit_form(obj), obj)

    def _dressed(self, form: Any, row: DocumentType | None) -> Any:
        if row is not None and not form.stages_text.raw_data:
            form.stages_text.process_data(row.stages)
            form.alias_text.data = next((alias.local_part for alias in self._aliases(row)), "")
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
            row.code = code_of(row.name, set(db.session.scalars(select(DocumentType.code))))
            db.session.add(row)
            db.session.flush()
        try:
            arrange(row, stages_of(form.stages_text.data))
        except StageInUse as error:
            servers.refuse(form.stages_text, str(error))
        try:
            self._rename_alias(row, (form.alias_text.data or "").strip())
        except NotValid as error:
            servers.refuse(form.alias_text, str(error))

    def _rename_alias(self, row: DocumentType, text: str) -> None:
        present = next(iter(self._aliases(row)), None)
        if present is not None and text:
            aliases.rename(present, text)
        elif text:
            aliases.add(text, row.id)
        elif present is not None:
            present.state = "retired"

    def after_save(self, row: DocumentType, is_new: bool) -> None:
        office.forget()

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
        if self._aliases(row):
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
