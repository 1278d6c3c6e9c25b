"""What a person does with emails in quarantine: one, those that were ticked, a loop, all to an address nobody has."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from mail.decide.answer import AnswerTo
from mail.incoming import adviser, by_hand, quarantine, quarantine_groups
from mail.incoming.adviser import UnknownAddress
from mail.incoming.quarantine_groups import HeldGroup
from mail.maintenance.simulate_arrival import foretold
from mail.message.parse import IncomingMessage
from mail.sentences import Why, say
from mail.settings.clock import now
from mail.settings.parameters import NotValid
from mail.settings.wake import wake
from models import Alias, Document, DocumentType, ReceivedMail, db
from webapp import template_helpers
from webapp.admin.base import ActionRefused, AdminView, action, expose

PATIENCE = 10  # seconds that a page works on several emails; some take long, and each is finished


class QuarantinePages(AdminView):
    """The part of the ledger's pages that changes something; ``ReceivedMailView`` shows it."""

    def types(self) -> Sequence[DocumentType]:
        """Return the types that an email from quarantine can become."""
        return db.session.scalars(select(DocumentType).where(DocumentType.active).order_by(DocumentType.position)).all()

    # --- one email, or several

    def answer_of(self, message: IncomingMessage | None) -> AnswerTo | None:
        """Return to whom a rejection of this email would be sent, or why nobody gets one."""
        return quarantine.answer_of(message) if message is not None else None

    def foretold(self, row: ReceivedMail) -> list[Why]:
        """Return what *Retry* would make of an email, as the rules are now; nothing where that takes long to say."""
        return foretold(row.id, now())

    def unknown_address_of(self, rows: Sequence[ReceivedMail]) -> str:
        """Return the address that all of these emails were sent to and that may become an alias, "" for none."""
        addresses = {row.unknown_address for row in rows}
        address = addresses.pop() if len(addresses) == 1 else ""
        return address if adviser.can_be_alias(address) else ""

    def waiting_for(self, address: str) -> int:
        """Return how many emails wait for an address that nobody has."""
        return adviser.waiting_for(address)

    def alias_link(self, address: str) -> str:
        """Return the form of a new alias with this address."""
        local, _at, domain = address.rpartition("@")
        return url_for("aliases.create_view", local_part=local, domain=domain)

    @expose("/decide", methods=("POST",))
    def decide(self) -> ResponseReturnValue:
        """Do with emails from quarantine what the person chose."""
        rows = self.chosen(request.form.getlist("id")[: self._page_size])
        back = redirect(self.row_url(rows[0]) if len(rows) == 1 else self.get_url(".index_view", state="quarantined"))
        what = request.form.get("what", "")
        try:
            if what == "alias":
                self._make_alias({row.unknown_address for row in rows})
                return back
            do = self._decision(what, several=len(rows) > 1)
        except ActionRefused as refused:
            flash(str(refused), "error")
            return back
        if len(rows) == 1:
            self._decide_one(rows[0], do, what)
        else:
            self._each(rows, do)
        return back

    def _decision(self, what: str, several: bool) -> Callable[[int], str]:
        """Return what is to be done with each email; what takes long is left to the worker if they are several."""
        if what == "drop":
            return lambda mail: quarantine.drop(mail, now())
        if what == "retry":
            retry = quarantine.retry_later if several else quarantine.retry
            return lambda mail: retry(mail, now())
        step = self._step(what)
        decide = quarantine.decide_later if several else quarantine.decide
        return lambda mail: decide(mail, step, now())

    def _step(self, what: str) -> Why:
        if what == "reject":
            return by_hand.rejected(request.form.get("text", ""))
        if what == "type":
            return by_hand.to_type(self._type_id())
        number = request.form.get("document", "").strip()
        found = db.session.scalar(select(Document).where(func.lower(Document.number) == number.lower()))
        if what != "document" or found is None:
            raise ActionRefused(gettext("This document does not exist. Document numbers look like OPP/00012."))
        return by_hand.to_document(found)

    def _type_id(self) -> int:
        wanted = request.form.get("type", 0, type=int)
        if wanted not in {type.id for type in self.types()}:
            raise ActionRefused(gettext("Choose what incoming emails create."))
        return wanted

    def _decide_one(self, row: ReceivedMail, do: Callable[[int], str], what: str) -> None:
        mail_id = row.id
        try:
            state = do(mail_id)
        except quarantine.NotInQuarantine:
            flash(gettext("Someone else was faster: this email is no longer in quarantine."), "error")
            return
        if state == quarantine.ASKED:
            flash(gettext("The server is asked for this email again. Reload this page in a moment."), "success")
            return
        if state == "received":
            say_processed(1)
            return
        wake()
        if state == "quarantined":
            flash(gettext("Nothing has changed: this email stays in quarantine, for the reason below."), "error")
        elif what == "reject" and state == "ignored":
            steps = db.session.scalar(select(ReceivedMail.decision).where(ReceivedMail.id == mail_id)) or [None]
            flash(gettext("This email is now ignored. No reply was sent. %(why)s", why=say(steps[-1])), "warning")
        else:
            words = gettext("Done. The email is now: %(state)s.", state=template_helpers.STATES[state][1])
            flash(words, "success")

    @action("decide", _l("Decide …"))
    def choose(self, ids: list[str]) -> ResponseReturnValue | None:
        """Ask what should happen to the ticked emails of the quarantine."""
        rows = [row for row in self.chosen(ids) if row.state == "quarantined"]
        if not rows:
            raise ActionRefused(gettext("None of the selected emails is in quarantine."))
        answer: str = self.render("admin/quarantine_many.html", rows=rows)
        return answer

    @action("retry", _l("Retry"), _l("Route the selected quarantined emails again?"))
    def retry(self, ids: list[str]) -> None:
        """Route emails of the quarantine again, by the rules as they are now."""
        self._each(self.chosen(ids), self._decision("retry", several=True))

    @action(
        "drop",
        _l("Discard"),
        _l("Discard the selected quarantined emails? They stay under Received emails as ignored."),
    )
    def drop(self, ids: list[str]) -> None:
        """Take emails out of quarantine for good."""
        self._each(self.chosen(ids), self._decision("drop", several=True))

    def _each(self, rows: Sequence[Any], do: Callable[[int], str]) -> None:
        states, until = [], time.monotonic() + PATIENCE
        waiting = [row.id for row in rows if row.state == "quarantined"]
        while waiting:
            with suppress(quarantine.NotInQuarantine):
                states.append(do(waiting.pop(0)))
            if time.monotonic() > until:
                break
        wake()
        self._tell(states)
        if waiting:
            words = ngettext(
                "Stopped because this is taking a long time. %(num)s email is still in quarantine: select it again to "
                "continue.",
                "Stopped because this is taking a long time. %(num)s emails are still in quarantine: select them "
                "again to continue.",
                len(waiting),
            )
            flash(words, "warning")

    @staticmethod
    def _tell(states: list[str]) -> None:
        """Say how many emails left the quarantine, and that the others did not."""
        stayed, asked, goes_on = (states.count(word) for word in ("quarantined", quarantine.ASKED, "received"))
        if goes_on:
            say_processed(goes_on)
        if released := len(states) - stayed - asked - goes_on:
            words = ngettext("%(num)s email left the quarantine.", "%(num)s emails left the quarantine.", released)
            flash(words, "success")
        if asked:
            words = ngettext(
                "The server is asked again for %(num)s email.", "The server is asked again for %(num)s emails.", asked
            )
            flash(words, "success")
        if stayed or not states:
            words = ngettext(
                "Nothing has changed for %(num)s email: it stays in quarantine. Open it to see the reason.",
                "Nothing has changed for %(num)s emails: they stay in quarantine. Open one to see the reason.",
                stayed,
            )
            flash(words if stayed else gettext("None of the selected emails is in quarantine."), "error")

    # --- what loop protection holds

    def held(self) -> Sequence[HeldGroup]:
        """Return the groups of emails that look like a loop."""
        return quarantine_groups.held_groups()

    def place_of(self, group: HeldGroup) -> str:
        """Return where the emails of a group would have gone."""
        kind, _colon, number = group.held.partition(":")
        if kind == "alias":
            return db.session.scalar(select(Alias.address_key).where(Alias.id == int(number))) or gettext("an alias")
        if kind == "thread":
            document = db.session.scalar(select(Document).where(Document.thread_id == int(number)))
            return str(document or gettext("a document"))
        return db.session.scalar(select(DocumentType.plural).where(DocumentType.id == int(number))) or "–"

    @expose("/held", methods=("POST",))
    def decide_held(self) -> ResponseReturnValue:
        """Take or discard a whole group that loop protection holds."""
        sender, place = request.form.get("sender", ""), request.form.get("place", "")
        if request.form.get("what") == "take":
            say_processed(quarantine_groups.take_held(sender, place, now()))
        else:
            say_discarded(quarantine_groups.discard_held(sender, place, now()))
        return redirect(self.get_url(".index_view"))

    # --- the alias adviser

    def any_unknown(self) -> bool:
        """Say whether emails to addresses that nobody has wait."""
        return adviser.is_there_any()

    def unknown_addresses(self) -> list[UnknownAddress]:
        """Return the addresses that nobody has, the one with the most emails first."""
        return adviser.unknown_addresses()

    @expose("/unknown-addresses")
    def unknown(self) -> ResponseReturnValue:
        """Show the addresses of our domains that people write to and that nobody has."""
        answer: str = self.render("admin/unknown_addresses.html")
        return answer

    @expose("/unknown-address", methods=("POST",))
    def decide_unknown(self) -> ResponseReturnValue:
        """Make an alias of an address that nobody has, or discard all that was sent to it."""
        address = request.form.get("address", "")
        try:
            if request.form.get("what") == "alias":
                self._make_alias({address})
            else:
                say_discarded(adviser.drop_all(address, now()))
        except ActionRefused as refused:
            flash(str(refused), "error")
        return redirect(self.get_url(".unknown" if adviser.is_there_any() else ".index_view"))

    def _make_alias(self, addresses: set[str]) -> None:
        type_id = self._type_id()
        if len(addresses) != 1 or not adviser.waiting_for(address := next(iter(addresses))):
            raise ActionRefused(gettext("No email in quarantine was sent to this address."))
        if adviser.has_alias(address):
            flash(gettext("%(address)s already has an alias. Its settings apply.", address=address), "success")
            say_processed(adviser.take_all([address], now()))
            return
        try:
            count = adviser.make_alias(address, type_id, now())
        except NotValid as error:
            db.session.rollback()
            raise ActionRefused(str(error)) from error
        flash(gettext("%(address)s is now an alias.", address=address), "success")
        say_processed(count)


def say_processed(count: int) -> None:
    """Wake the worker for emails that go on, and say how many they are."""
    wake("received")
    flash(ngettext("%(num)s email is being processed.", "%(num)s emails are being processed.", count), "success")


def say_discarded(count: int) -> None:
    """Say how many emails were discarded."""
    flash(ngettext("%(num)s email discarded.", "%(num)s emails discarded.", count), "success")
