"""DKIM on the page of a domain: make a key, look for its record, sign, replace the key, stop."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mail.deliverability import own_keys, signing_keys
from mail.errors import ChangeRefused
from mail.message.dkim import Algorithm
from mail.outgoing import waiting
from mail.settings.clock import now
from mail.settings.wake import wake
from models import DkimKeyPair, db
from webapp import auth
from webapp.pages.deliverability import ask_for_check, blueprint, must_be_ours


@blueprint.post("/<domain>/dkim/create")
@auth.roles_required("admin")
def dkim_create(domain: str) -> ResponseReturnValue:
    """Make a key, the first one or in place of another."""
    algorithm: Algorithm = "ed25519" if request.form.get("algorithm") == "ed25519" else "rsa"
    words = gettext("The key is ready. Add its record to DNS.")
    return _changed(domain, lambda name, moment: signing_keys.create(name, algorithm, moment), words)


@blueprint.post("/<domain>/dkim/look")
@auth.roles_required("admin")
def dkim_look(domain: str) -> ResponseReturnValue:
    """Look for the records now."""
    return _changed(domain, signing_keys.look_now, gettext("Looking for the record …"))


@blueprint.post("/<domain>/dkim/start")
@auth.roles_required("admin")
def dkim_start(domain: str) -> ResponseReturnValue:
    """Sign from now on."""
    words = gettext("Emails from %(domain)s are now signed.", domain=domain)
    return _changed(domain, signing_keys.start, words, checked=True)


@blueprint.post("/<domain>/dkim/stop")
@auth.roles_required("admin")
def dkim_stop(domain: str) -> ResponseReturnValue:
    """Sign no more."""

    def stop(name: str, moment: datetime) -> None:
        signing_keys.stop(name, moment)
        waiting.free_unsigned(name, moment)

    words = gettext("Emails from %(domain)s are no longer signed.", domain=domain)
    return _changed(domain, stop, words, checked=True)


@blueprint.post("/<domain>/dkim/remove")
@auth.roles_required("admin")
def dkim_remove(domain: str) -> ResponseReturnValue:
    """Delete a key that does not sign."""
    must_be_ours(domain)
    key = db.session.get(DkimKeyPair, request.form.get("id", 0, type=int))
    if key is None or key.domain != domain:
        flash(gettext("This key was already removed."), "info")
        return redirect(_back(domain))
    words = gettext("The key was removed. Delete its record %(record)s in DNS as well.", record=key)
    return _changed(domain, lambda _, moment: signing_keys.remove(key, moment), words)


def _changed(
    domain: str, change: Callable[[str, datetime], Any], words: str, checked: bool = False
) -> ResponseReturnValue:
    """Make a change, say so, and have the worker see it; with ``checked`` the whole domain is checked again."""
    is_left = must_be_ours(domain)
    try:
        change(domain, now())
    except ChangeRefused as refused:
        db.session.rollback()
        flash(str(refused), "error")
        return redirect(_back(domain))
    db.session.commit()
    wake("dkim")
    if checked and not is_left:
        ask_for_check(domain)
    flash(words, "success")
    if is_left and not own_keys.keys_of(domain):
        return redirect(url_for(".index"))  # nothing is left of it
    return redirect(_back(domain))


def _back(domain: str) -> str:
    return url_for(".show", domain=domain, _anchor="head-dkim")
