"""Lists and forms of Flask-Admin, one small view per file."""

from importlib import import_module

from flask import Flask, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_admin import Admin, AdminIndexView, expose

# module and class of each view; one line each
VIEWS: tuple[tuple[str, str], ...] = (
    ("webapp.admin.outgoing_servers", "OutgoingServerView"),
    ("webapp.admin.incoming_servers", "IncomingServerView"),
    ("webapp.admin.aliases", "AliasView"),
    ("webapp.admin.scheduled_actions", "ScheduledActionView"),
    ("webapp.admin.document_types", "DocumentTypeView"),
    ("webapp.admin.users", "UserView"),
    ("webapp.admin.outgoing_mails", "OutgoingMailView"),
    ("webapp.admin.received_mails", "ReceivedMailView"),
    ("webapp.admin.contacts", "ContactView"),
    ("webapp.admin.mailing_lists", "MailingListView"),
    ("webapp.admin.blacklist", "BlacklistView"),
)


class Start(AdminIndexView):
    """Flask-Admin wants a first page; ours is the menu's."""

    @expose("/")
    def index(self) -> ResponseReturnValue:
        return redirect(url_for("start"))


def init_app(app: Flask) -> None:
    """Register the views of ``VIEWS``, below /admin/."""
    start = Start(url="/admin")
    start.static_folder = None  # its Bootstrap 4 and jQuery are not ours
    flask_admin = Admin(app, name="CoquiMail", index_view=start)
    for module, name in VIEWS:
        flask_admin.add_view(getattr(import_module(module), name)())
