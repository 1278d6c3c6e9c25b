"""Lists and forms of Flask-Admin, one small view per file."""

from flask import Flask, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_admin import Admin, AdminIndexView, expose

from webapp.admin.aliases import AliasView
from webapp.admin.blacklist import BlacklistView
from webapp.admin.contacts import ContactView
from webapp.admin.document_types import DocumentTypeView
from webapp.admin.domains import DomainView
from webapp.admin.incoming_servers import IncomingServerView
from webapp.admin.mailing_lists import MailingListView
from webapp.admin.oauth_accounts import OauthAccountView
from webapp.admin.oauth_providers import OauthProviderView
from webapp.admin.outgoing_mails import OutgoingMailView
from webapp.admin.outgoing_servers import OutgoingServerView
from webapp.admin.received_mails import ReceivedMailView
from webapp.admin.scheduled_actions import ScheduledActionView
from webapp.admin.system_parameters import SystemParameterView
from webapp.admin.users import UserView

VIEWS = (
    OutgoingServerView,
    IncomingServerView,
    OauthAccountView,
    OauthProviderView,
    AliasView,
    DomainView,
    SystemParameterView,
    ScheduledActionView,
    DocumentTypeView,
    UserView,
    OutgoingMailView,
    ReceivedMailView,
    ContactView,
    MailingListView,
    BlacklistView,
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
    for view in VIEWS:
        flask_admin.add_view(view())
