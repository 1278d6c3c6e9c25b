"""Signing in at Google, Microsoft and others: Connect, the page that shows how far it is, and the way back.

Nothing here connects to a provider: rows are written, the worker acts on them.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from markupsafe import Markup
from sqlalchemy import select

from mail.decide import oauth as rules
from mail.message.address import normalise
from mail.sentences import say, why
from mail.settings import office, sign_in
from mail.settings.clock import now
from mail.settings.wake import wake
from models import IncomingServer, OauthAccount, OauthProvider, OauthSignIn, OutgoingServer, db, writing
from models.oauth import FLOWS
from webapp import auth, checks, sessions, sign_in_words

blueprint = Blueprint("sign_in", __name__, url_prefix="/sign-in")

SERVERS: dict[str, Any] = {"outgoing": OutgoingServer, "incoming": IncomingServer}
LONGEST_ADDRESS = 8_192
IGNORED = timedelta(seconds=10)  # after which the page says that no worker takes it up
MOST_OPEN = 5  # sign-ins that one browser holds at a time
FLOWS_OF = {"google": ("code",), "microsoft": FLOWS, "other": ("code", "device")}


@blueprint.post("/connect/<place>/<int:server_id>")
@auth.roles_required("admin")
@sessions.fresh_login
def connect(place: str, server_id: int) -> ResponseReturnValue:
    """Connect the mailbox of a server: by a new sign-in, or at once where the account is there already."""
    if place not in SERVERS:
        abort(404)
    server = db.session.get(SERVERS[place], server_id, with_for_update=True) or abort(404)
    provider = db.session.get(OauthProvider, request.form.get("provider", 0, int)) or abort(404)
    flow, address = request.form.get("flow", "code"), normalise(server.user)
    page = url_for(f"{place}_servers.edit_view", id=server.id)
    if server.authentication != "oauth2" or not address or flow not in FLOWS:
        abort(400)
    if flow not in FLOWS_OF[provider.kind]:
        flash(say(why("sign_in_way_not_offered", provider=provider.name)), "error")
        return redirect(page)
    account = sign_in.account_at(provider.id, address)
    known = account.state == "connected" and account.flow == flow and not request.form.get("again")
    if known and rules.kind_at(server.host) == provider.kind != "other":
        server.oauth_account = account
        db.session.commit()
        wake()
        flash(gettext("%(address)s was connected already; this server uses it now.", address=address), "success")
        return redirect(page)
    return begin(account, flow, page, server)


def begin(
    account: OauthAccount, flow: str, page: str, server: OutgoingServer | IncomingServer | None = None
) -> ResponseReturnValue:
    """Ask the worker for a sign-in and show how far it is; what the browser must bring back is in its session."""
    back = rules.redirect_address(office.base_url())
    row, state = sign_in.begin(account, flow, current_user.id, back, page, now(), server)
    kept = list(_mine().items())[1 - MOST_OPEN :]
    session["sign_ins"] = [*kept, (str(row.id), state)]
    wake("sign_in")
    return redirect(url_for("sign_in.show", number=row.id))


@blueprint.post("/<int:number>/again")
@auth.roles_required("admin")
@sessions.fresh_login
def again(number: int) -> ResponseReturnValue:
    """Begin once more what failed."""
    row = db.session.get(OauthSignIn, number) or abort(404)
    return begin(row.account, row.flow, row.return_to, row.outgoing_server or row.incoming_server)


@blueprint.get("/<int:number>")
@auth.roles_required("admin")
def show(number: int) -> ResponseReturnValue:
    """Show a sign-in: what comes next, and how it ended."""
    row = db.session.get(OauthSignIn, number) or abort(404)
    return render_template("pages/sign_in.html", row=row, inside=_inside(row))


@blueprint.get("/<int:number>/state")
@auth.roles_required("admin")
def state(number: int) -> ResponseReturnValue:
    """Answer how far a sign-in is, for the page that shows it."""
    return str(_inside(db.session.get(OauthSignIn, number) or abort(404)))


def _inside(row: OauthSignIn) -> Markup:
    ignored = row.state in ("waiting", "returned") and now() - row.requested_at > IGNORED
    return Markup(  # noqa: S704  a template of ours, which escapes
        render_template(
            "pages/sign_in_state.html",
            row=row,
            say=say,
            where=_where(row),
            elsewhere=_elsewhere(row),
            pasted=not row.redirect_uri.startswith(office.base_url().rstrip("/")),
            worker=checks.worker_state() if ignored else None,
        )
    )


def _elsewhere(row: OauthSignIn) -> str:
    """Return the address of this office that providers lead back to, if it is not the one that was opened."""
    base = office.base_url().rstrip("/")
    same = not row.redirect_uri.startswith(base) or urlsplit(base).netloc == request.host
    return "" if same else base


def _where(row: OauthSignIn) -> str:
    """Return the page of the provider to go to: only the browser that asked has the rest of its address."""
    if row.state != "open":
        return ""
    if row.flow != "code":
        return row.where
    mine = _mine().get(str(row.id))
    return f"{row.where}&state={quote(mine)}" if mine else ""


def _mine() -> dict[str, str]:
    """Return what this browser has to bring back for the sign-ins that were begun in it, by number, in their order."""
    return dict(session.get("sign_ins", ()))


@blueprint.get("/callback")
@auth.roles_required("admin")
def callback() -> ResponseReturnValue:
    """Take what a provider sent the browser back with."""
    return _take(request.args.to_dict())


@blueprint.post("/paste")
@auth.roles_required("admin")
def paste() -> ResponseReturnValue:
    """Take the address at which a browser ended that could not come back automatically."""
    typed = request.form.get("address", "").strip()
    if len(typed) > LONGEST_ADDRESS or "?" not in typed:
        flash(gettext("Paste the whole address: it begins with http and contains “code=”."), "error")
        return redirect(url_for(".show", number=request.form.get("number", 0, int)))
    return _take(dict(parse_qsl(urlsplit(typed).query)))


def _take(answer: dict[str, str]) -> ResponseReturnValue:
    """Write down the answer of a provider, if it belongs to the sign-in that this very browser began."""
    mine, brought = _mine(), answer.get("state", "")
    row = sign_in.by_state(brought, current_user.id) if brought in mine.values() else None
    if row is None or mine.get(str(row.id)) != brought:
        flash(
            gettext(
                "This sign-in was not begun in this browser, or it is over. Open the server and press Connect again."
            ),
            "error",
        )
        return redirect(url_for("oauth_accounts.index_view"))
    number = row.id
    with writing():
        sign_in.come_back(db.session.get_one(OauthSignIn, number), answer, now())
    session["sign_ins"] = [(key, state) for key, state in mine.items() if key != str(number)]
    wake("sign_in")
    return redirect(url_for(".show", number=number))


def panel(place: str, server: OutgoingServer | IncomingServer) -> Markup:
    """Return the card of a server that signs in with an account: what it is connected to, or how to connect it."""
    if server.authentication != "oauth2":
        return Markup("")
    providers = db.session.scalars(select(OauthProvider).order_by(OauthProvider.name, OauthProvider.id)).all()
    guessed = rules.kind_at(server.host)
    account = server.oauth_account
    chosen = account.provider if account else next((one for one in providers if one.kind == guessed), None)
    return Markup(  # noqa: S704  a template of ours, which escapes
        render_template(
            "pages/sign_in_panel.html",
            place=place,
            server=server,
            account=account,
            providers=providers,
            chosen=chosen,
            guessed=guessed,
            flow=account.flow if account else "code",
            flows=sign_in_words.FLOWS,
            state=sign_in_words.state_of(account),
            holds=sign_in_words.holds(account) if account else "",
            say=say,
        )
    )
