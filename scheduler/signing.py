"""The records of DKIM keys: new ones are looked for until they are in DNS, the others now and then."""

import logging

from mail.deliverability import signing_keys
from mail.settings.clock import now
from scheduler.identity import WorkerIdentity

log = logging.getLogger("coquimail.checks")

PAUSE = 5.0  # seconds; who presses the button is heard at once


class KeyWatch:
    """The loop that looks for the records that are due."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity

    def work(self) -> bool:
        """Look for the record of one key, if one is due; returns whether it did."""
        key_id = signing_keys.take_due(now())
        if key_id is None:
            return False
        with self._identity.work(may_be_cut=True):
            signing_keys.look(key_id, now())
        log.info("looked for the record of key %s", key_id)
        return True
