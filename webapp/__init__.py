"""The door for people: pages, lists, forms and the commands around them. No mail is sent or fetched in here."""

from typing import Any

from flask import Flask, current_app, g, has_request_context, redirect, render_template, request
from flask.templating import Environment
from flask.typing import ResponseReturnValue
from flask_babel import Babel, get_locale
from flask_login import current_user, login_required
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

import models
from mail.sentences import say
from mail.settings import config as mail_config
from mail.settings import office
from mail.settings import rehearsal as rehearsal_state
from mail.settings.config import Settings
from models.connect import engine_options
from webapp import (
    admin,
    auth,
    checks,
    cli,
    errors,
    first_start,
    limits,
    live,
    menu,
    public,
    searching,
    security,
    template_helpers,
)
from webapp.pages import (
    account,
    bodies,
    deliverability,
    delivery,
    dkim,
    documents,
    inbound,
    inbox,
    mailing_actions,
    mailing_editor,
    mailing_page,
    mailings,
    marketing_settings,
    practice,
    receiving,
    rehearsal,
    route_simulator,
    self_test,
    sign_in,
    simulators,
    who_sends,
)
from webapp.pages import settings as settings_page

# Pages made for their purpose: each module has a ``blueprint``, or adds to that of a neighbour. One line each.
PAGES = (
    settings_page,
    first_start,
    checks,
    documents,
    delivery,
    bodies,
    inbox,
    inbound,
    receiving,
    practice,
    rehearsal,
    account,
    mailings,
    mailing_editor,
    mailing_page,
    mailing_actions,
    marketing_settings,
    simulators,
    route_simulator,
    deliverability,
    dkim,
    who_sends,
    sign_in,
    self_test,
    public,
)

BUSY = 5.0  # seconds that a click waits for another writer on SQLite
LARGEST_UPLOAD = 32 * 1024 * 1024  # octets, of a whole request
READING_METHODS = ("GET", "HEAD", "OPTIONS")
READING_POSTS = {
    "security.login",
    "security_headers.csp_report",
    "mailings.check",
    "mailings.preview",
    "mailings.send",
    "mailings.send_test",
    "mailings.resume",
    "mailing_lists.add_people",
    "blacklist.create_view",
    "practice.write",
    "practice.answer",
    "practice.act",
    "documents.write",
    "simulators.headers",
    "simulators.headers_json",
    "route_simulator.incoming",
    "route_simulator.incoming_json",
    "inbound.take",
}  # they change nothing, or in a transaction of their own


class PageTemplates(Environment):
    """Templates that are filled while nobody waits for the database: what a POST has to write is committed before."""

    def get_or_select_template(self, *args: Any, **kwargs: Any) -> Any:
        if has_request_context():
            models.only_read_on()
        return super().get_or_select_template(*args, **kwargs)


class CoquiMail(Flask):
    """A Flask application whose GET requests read only: on SQLite they wait for no writer, and they can't write."""

    jinja_environment = PageTemplates
    request_class = security.PageRequest

    def full_dispatch_request(self) -> Any:
        with models.transactions(read_only=_reads_only()):
            return super().full_dispatch_request()

    def handle_exception(self, e: Exception) -> Any:
        """Answer what nobody caught: whatever it was to write, the page that says so reads only."""
        with models.transactions(read_only=True):
            return super().handle_exception(e)

    def handle_user_exception(self, e: Exception) -> Any:
        """Ask once more for a page whose connection to the database turned out to be gone; explain all else."""
        if request.method in READING_METHODS and errors.lost_connection(e) and "asked_again" not in g:
            models.db.session.remove()
            for known in list(g):  # the reader, the menu: rows of the lost connection
                g.pop(known)
            g.asked_again = True
            try:
                early = self.preprocess_request()
                return self.dispatch_request() if early is None else early
            except Exception as error:
                e = error
        return super().handle_user_exception(e)


def _reads_only() -> bool:
    return request.method in READING_METHODS or request.endpoint in READING_POSTS


def create_app(config: Settings | None = None) -> Flask:
    """Return the web application, by these settings or those of the environment."""
    found = config or mail_config.read()
    app = CoquiMail(__name__, static_folder="../static", template_folder="../templates")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=found.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(found.database_url, "coquimail-web", busy=BUSY),
        MAX_CONTENT_LENGTH=LARGEST_UPLOAD,
        MAX_FORM_MEMORY_SIZE=8 * 1024 * 1024,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a page that was open over lunch can still be saved
        BABEL_DEFAULT_LOCALE="en",
        TESTING=found.testing,
        **auth.config(found),
    )
    app.extensions[mail_config.EXTENSION] = found
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    if found.proxies:
        proxies = found.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies, x_prefix=proxies
        )
    app.url_map.converters["int"] = security.RowIdConverter
    models.init_app(app, found.fernet())
    Babel(app, locale_selector=_language, timezone_selector=_zone)
    limits.init_app(app)
    app.before_request(security.bound_the_body)
    csrf = CSRFProtect(app)
    security.init_app(app, csrf)
    auth.init_app(app)
    admin.init_app(app)
    cli.init_app(app)
    app.register_blueprint(live.blueprint)
    for blueprint in dict.fromkeys(module.blueprint for module in PAGES):
        app.register_blueprint(blueprint)
    for module in PAGES:
        for view in getattr(module, "CSRF_EXEMPT", ()):  # functions whose address carries a signed token instead
            csrf.exempt(view)
    app.jinja_env.globals.update(template_helpers.GLOBALS, search_cut=searching.search_cut)
    app.context_processor(_for_every_page)
    errors.init_app(app)
    app.add_url_rule("/", "start", _start)
    app.add_url_rule("/healthz", "healthz", _healthz)
    return app


def _language() -> str:
    return current_user.language if current_user and current_user.is_authenticated else "en"


def _zone() -> str:
    return current_user.zone if current_user and current_user.is_authenticated else "UTC"


def _for_every_page() -> dict[str, Any]:
    """What base.html and all pages may name; worked out only when a page does."""
    return {
        "role": auth.role,
        "developer_mode": auth.developer_mode,
        "menu": _menu,
        "sends_through": office.sends_through,
        "rehearsal": rehearsal_state.current,
        "closed_listeners": receiving.closed_listeners,
        "say": say,
        "last_event": live.last_event,
        "locale": get_locale,
        "has_page": lambda endpoint: endpoint in current_app.view_functions,
    }


def _menu() -> tuple[menu.MenuEntry, ...]:
    if "menu" not in g:
        g.menu = menu.for_request(auth.role(), auth.developer_mode())
    found: tuple[menu.MenuEntry, ...] = g.menu
    return found


@login_required
def _start() -> ResponseReturnValue:
    """Send people to the first page of their menu."""
    first = next((entry.url for entry in _pages(_menu()) if entry.url), None)
    return redirect(first) if first else render_template("pages/start.html")


def _pages(entries: tuple[menu.MenuEntry, ...]) -> list[menu.MenuEntry]:
    return [page for entry in entries for page in (entry, *_pages(entry.children))]


def _healthz() -> tuple[str, int, dict[str, str]]:
    return "ok\n", 200, {"Content-Type": "text/plain; charset=utf-8"}
