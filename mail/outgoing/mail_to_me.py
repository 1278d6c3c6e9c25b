"""A real email that an admin sends to himself through one server, in use or not; ``tried_once`` is its way."""

from collections.abc import Callable

from flask_babel import gettext

from mail.errors import NotHandedOver
from mail.message.address import show_address
from mail.outgoing import tried_once
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.outgoing.tried_once import TriedOnce
from mail.queue.lease import WorkerLease
from mail.sentences import why
from mail.settings.config import settings
from models import OutgoingServer, User, db


def begin(
    server_id: int, user_id: int | None, worker: WorkerLease, taken: Callable[[TriedOnce], None] = lambda mail: None
) -> TriedOnce:
    """Queue the email as ``tried_once.begin`` does."""

    def write(server: OutgoingServer | None) -> tuple[OutgoingDraft, To]:
        user = db.session.get(User, user_id) if user_id else None
        if user is None:
            raise NotHandedOver(why("check_server_gone"))
        return _draft(server, user), To(user.email, user.name, user.contact_id)

    return tried_once.begin(server_id, write, worker, taken)


def _draft(server: OutgoingServer | None, user: User) -> OutgoingDraft:
    used = server or settings().default_server
    text = gettext(
        "Hello %(name)s,\n\nthis is a test email, sent through the outgoing server “%(server)s” (%(host)s).\n\n"
        "If it is in your inbox, the server delivers your emails. If it is in the spam folder, your domain may lack an "
        "SPF or DKIM record for this server.\n",
        name=user.name,
        server=used.name,
        host=used.host,
    )
    return OutgoingDraft(
        kind="test",
        author=show_address(user.name, user.email),
        subject=gettext("Test email through “%(server)s”", server=used.name),
        text=text,
        auto_submitted="auto-generated",
    )
