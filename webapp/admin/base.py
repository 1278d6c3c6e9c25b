"""``AdminView``: a list and a form for one kind of row, declared in one small class.

    class ServerView(AdminView):
        model, page, path = OutgoingServer, "outgoing_servers", "outgoing-servers"
        title, one = _l("Outgoing Email Servers"), _l("outgoing email server")
        small = True                                  # never more than some hundred rows: everything may be sorted
        columns = ("name", "host", "from_filter", "priority", "active")
        sortable, searchable = ("name", "priority"), ("name", "host")
        filters = (YesNo("active", _l("Active")),)
        default_sort = "priority"                     # "-priority" for descending
        labels = {"from_filter": _l("FROM Filtering")}
        groups = (
            FieldGroup(_l("Connection"), ("host", "port", "encryption"), _l("What your provider calls SMTP settings.")),
            FieldGroup(_l("Technical"), ("verify_tls",), developer=True),
        )
        help = {"host": _l("The name of the mail server.")}
        examples = {"host": "smtp.mycompany.com"}
        choices = {"encryption": (("none", _l("None")), …)}
        references = {"contact_id": dict(model=Contact, search=("name", "address"))}
        buttons = (Button("test", _l("Test Connection"), "test-pipe", save_first=True),)
        empty = Empty("server", _l("No server of your own yet"), _l("Mail goes through …"))

        def press_test(self, server): ...             # what the button does; a response, or None to come back

``columns`` may name anything that a row has; ``formats = {"host": lambda view, row: view.host_of(row)}`` says how it
looks. Hooks: ``rows()`` (which rows exist for this reader), ``before_save(form, row, is_new)`` (raise
``ActionRefused`` with a sentence to stop), ``after_save(row, is_new)`` (after the commit: wake the worker here),
``why_not_delete(row)``, ``row_tools(row)`` (HTML at the end of a line; only views that define it have the column).
Bulk actions: Flask-Admin's ``@action("requeue", _l("Send again"), _l("Queue the selected mails again?"))``.
"""

import logging
from typing import Any

from flask import abort, flash, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_admin.actions import action
from flask_babel import gettext
from sqlalchemy.exc import IntegrityError

from models import db
from webapp import auth, meanwhile
from webapp.admin.declared import ActionRefused, Button, Empty, FieldGroup
from webapp.admin.list_pages import ListPages
from webapp.admin.listing import ChoiceFilter, Filter, Since, YesNo
from webapp.fields import ReferenceField

__all__ = [
    "ActionRefused",
    "AdminView",
    "Button",
    "ChoiceFilter",
    "Empty",
    "FieldGroup",
    "Filter",
    "Since",
    "YesNo",
    "action",
    "expose",
]

log = logging.getLogger("coquimail.web")


class AdminView(ListPages):
    """The base of all admin views; the head of this file shows how to declare one. Here are the pages of one row."""

    def visible_groups(self, form: Any) -> list[FieldGroup]:
        """Return the groups of a form with the fields that this session sees."""
        found = []
        for group in self.groups:
            names = tuple(name for name in group.fields if name in form)
            if names:
                found.append(FieldGroup(group.title, names, group.help, group.developer))
        return found

    def _trimmed(self, form: Any) -> Any:
        """Drop the developer's fields from a form outside of developer mode: they are neither shown nor taken."""
        if not auth.developer_mode():
            hidden = set(self.developer_fields)
            hidden.update(name for group in self.groups if group.developer for name in group.fields)
            for name in hidden:
                if name in form:
                    del form[name]
        return form

    def create_form(self, obj: Any = None) -> Any:
        return self._trimmed(super().create_form(obj))

    def edit_form(self, obj: Any = None) -> Any:
        return self._trimmed(super().edit_form(obj))

    def buttons_of(self, row: Any) -> list[Button]:
        """Return the buttons that a row's page has now."""
        return [button for button in self.buttons if button.when(row)] if row is not None else []

    @expose("/new", methods=("GET", "POST"))
    def create_view(self) -> ResponseReturnValue:
        """Show the form for a new row, or save it."""
        if not self.can_create:
            abort(404)
        form = self.create_form()
        if request.method == "POST" and self._checked(form):
            row = self.build_new_instance()
            if self._saved(form, row, is_new=True):
                return self._next_page(row, gettext("Created."))
        answer: str = self.render(self.create_template, form=form, row=None)
        return answer

    @expose("/edit", methods=("GET", "POST"))
    def edit_view(self) -> ResponseReturnValue:
        """Show the form of a row, or save it."""
        if not self.can_edit:
            abort(404)
        row = self._row(request.args.get("id", ""))
        form = self.edit_form(row)
        if request.method == "POST" and self._may_be_saved(form) and self._saved(form, row, is_new=False):
            return self._next_page(row, gettext("Saved."))
        answer: str = self.render(self.edit_template, form=form, row=row)
        return answer

    @expose("/details")
    def details_view(self) -> ResponseReturnValue:
        """Show a row that is read, not edited."""
        if not self.can_view_details:
            abort(404)
        answer: str = self.render(self.details_template, row=self._row(request.args.get("id", "")))
        return answer

    @expose("/press/<button>", methods=("POST",))
    def press(self, button: str) -> ResponseReturnValue:
        """Do what a button of a row's page says."""
        row = self._row(request.form.get("id", ""))
        return self._pressed(button, row)

    def _pressed(self, name: str, row: Any) -> ResponseReturnValue:
        if name not in {button.name for button in self.buttons_of(row)}:
            abort(404)
        try:
            answer: ResponseReturnValue | None = getattr(self, f"press_{name}")(row)
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            answer = None
        return answer if answer is not None else redirect(self.row_url(row))

    def _row(self, number: str) -> Any:
        found = db.session.scalar(self.rows().where(self.key == int(number))) if number.isdecimal() else None
        if found is None:
            abort(404)
        return found

    def _checked(self, form: Any) -> bool:
        if form.validate():
            return True
        flash(gettext("Not saved: check the marked fields."), "error")
        return False

    def _may_be_saved(self, form: Any) -> bool:
        """Whether the fields of a row's form are right, and nobody else changed the same ones since it was loaded."""
        return self._checked(form) and meanwhile.nothing_clashes(form)

    @staticmethod
    def loaded_marks(form: Any) -> str:
        """Return what the form of a row sends along, so that two windows do not undo each other's changes."""
        return meanwhile.loaded_marks(form)

    def _saved(self, form: Any, row: Any, is_new: bool) -> bool:
        try:
            with db.session.no_autoflush:
                form.populate_obj(row)
                self.before_save(form, row, is_new)
            db.session.add(row)
            db.session.commit()
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            return False
        except IntegrityError as error:
            db.session.rollback()
            log.info("not saved in %s: %s", self.page, type(error.orig).__name__)
            flash(
                gettext("Not saved: an entry like this already exists, or a related entry has been deleted."), "error"
            )
            return False
        self.after_save(row, is_new)
        return True

    def _next_page(self, row: Any, words: str) -> ResponseReturnValue:
        then = request.form.get("_then", "")
        if then == "new":
            flash(words, "success")
            return redirect(self.get_url(".create_view"))
        if then:
            return self._pressed(then, row)
        flash(words, "success")
        return redirect(self.get_url(".index_view") if not self.buttons else self.row_url(row))

    # --- deleting

    @expose("/delete", methods=("POST",))
    def delete_view(self) -> ResponseReturnValue:
        """Delete a row, or say why it can't be."""
        if not self.can_delete:
            abort(404)
        row = self._row(request.form.get("id", ""))
        name = self.title_of(row)
        reason = self._deleted(row)
        if reason:
            flash(reason, "error")
            return redirect(self.row_url(row))
        flash(gettext("%(name)s was deleted.", name=name), "success")
        return redirect(self.get_url(".index_view"))

    @expose("/lookup/<field_name>")
    def lookup(self, field_name: str) -> ResponseReturnValue:
        """Answer what a choice with search asks: ``[{"value": id, "text": name}, …]``."""
        form = self._edit_form_class()
        field = form._fields.get(field_name)
        if not isinstance(field, ReferenceField):
            abort(404)
        found = field.found(request.args.get("q", "")[:100])
        return jsonify([{"value": str(number), "text": text} for number, text in found])
