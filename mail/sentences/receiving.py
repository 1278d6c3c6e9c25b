"""Mail that is handed to us: the listener, its test, the pipe and the web address."""

from typing import Any

from flask_babel import lazy_gettext as _l

from mail.sentences.counted import Counted

SENTENCES: dict[str, Any] = {
    "listener_failed": _l(
        "The worker can't receive emails at %(address)s: %(error)s. Emails wait at the servers that send them. It "
        "keeps trying; if another program uses this port, stop it or change COQUI_LISTEN."
    ),
    "listener_no_certificate": _l(
        "The worker can't receive emails at %(address)s: the certificate %(file)s or its key can't be used "
        "(%(error)s). Emails wait at the servers that send them. Correct COQUI_LISTEN_TLS_CERT and "
        "COQUI_LISTEN_TLS_KEY, or their files; it keeps trying."
    ),
    "listener_rehearses": _l(
        "The worker doesn't receive emails at %(address)s during the rehearsal: they may be meant for the office of "
        "which this one is a copy. They wait at the servers that send them."
    ),
    "listener_again": _l("The worker receives emails at %(address)s again."),
    "route_listener_test": _l("This is a test email of Receive by push; nothing is created for it."),
    "listener_test_no_listener": _l(
        "The worker that took this test has no listener: set COQUI_LISTEN in its environment and restart it."
    ),
    "listener_test_no_address": _l(
        "There is no alias domain yet, so there is no address to write to. Set it under Settings, then test again."
    ),
    "listener_test_accepted": _l("The listener at %(listener)s accepted an email to %(address)s: “%(reply)s”."),
    "listener_test_refused": _l("The listener at %(listener)s did not accept an email to %(address)s: “%(reply)s”."),
    "listener_test_unreachable": _l("The listener at %(listener)s can't be reached: %(error)s."),
    "listener_test_understood": _l("It was stored and processed %(seconds)s seconds after it was sent."),
    "listener_test_missing": Counted(
        "seconds",
        "The email was accepted, but was not processed within %(seconds)s second. Look for it under Received emails.",
        "The email was accepted, but was not processed within %(seconds)s seconds. Look for it under Received emails.",
    ),
}
