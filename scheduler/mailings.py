"""What mailings need besides sending: beginning, recipients, further passes, the end."""

from mail.mailing import mailing
from mail.settings.clock import now


class Tending:
    """The loop that looks after them."""

    def work(self) -> bool:
        """Do a short piece; returns whether there is more."""
        return mailing.tend(now())
