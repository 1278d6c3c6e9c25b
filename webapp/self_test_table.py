"""The parts of a self-test as a table shows them."""

from dataclasses import dataclass
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from mail.decide.self_test import PATIENCE
from mail.maintenance import self_test_rows
from mail.settings.clock import now
from models import Recipient, SelfTestPart, db

LABELS = {
    "delivery": _l("Delivery"),
    "authentication": _l("Sender check (SPF, DKIM, DMARC)"),
    "reply": _l("Replies"),
    "bounce": _l("Delivery failures"),
    "plus": _l("Unique bounce addresses"),
}
STATES = {
    "waiting": ("off", _l("not yet")),
    "sending": ("busy", _l("sending")),
    "sent": ("busy", _l("waiting")),
    "ok": ("good", _l("works")),
    "warning": ("doubt", _l("warning")),
    "failed": ("bad", _l("failed")),
    "skipped": ("off", _l("not tested")),
}
WAITS_FOR = {
    "delivery": _l("Sent. Waiting for it to arrive …"),
    "reply": _l("The email was answered. Waiting for the reply …"),
    "bounce": _l("Sent to an address that does not exist. Waiting for the report …"),
    "plus": _l("Sent. Waiting for it to arrive …"),
}
BEGINS = {"authentication": _l("When the email has arrived."), "reply": _l("When the email has arrived.")}


@dataclass(frozen=True)
class PartRow:
    """A part, how it looks, and what there is to click."""

    row: SelfTestPart
    line_id: int | None
    waited: int
    header_id: int | None = None  # the email whose header says it

    @property
    def label(self) -> Any:
        """What is tested."""
        return LABELS[self.row.name]

    @property
    def look(self) -> str:
        """The look of its state."""
        return STATES[self.row.state][0]

    @property
    def word(self) -> Any:
        """Its state in words."""
        return STATES[self.row.state][1]

    @property
    def begins(self) -> Any:
        """When it begins, of one that has not."""
        return BEGINS.get(self.row.name, _l("Comes next."))

    @property
    def waits_for(self) -> Any:
        """What is to come back."""
        return WAITS_FOR[self.row.name]


def rows_of(check_id: int) -> list[PartRow]:
    """Return the rows of a test."""
    by_name = self_test_rows.parts_of(check_id)
    parts = by_name.values()
    mails = {part.mail_id for part in parts if part.mail_id is not None}
    lines = {
        row.mail_id: row.id
        for row in db.session.execute(select(Recipient.id, Recipient.mail_id).where(Recipient.mail_id.in_(mails)))
    }
    moment = now()
    delivery = by_name.get("delivery")
    return [
        PartRow(
            part,
            lines.get(part.mail_id or 0),
            min((moment - (part.sent_at or moment)).seconds, PATIENCE.seconds),
            delivery.received_mail_id if delivery and part.name == "authentication" and part.why else None,
        )
        for part in parts
    ]
