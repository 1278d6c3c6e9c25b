"""What a listener shows to those who ask for encryption."""

import ssl
from pathlib import Path


class CertificateUnusable(Exception):
    """A certificate or its key can't be read, or they do not belong together."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what encrypts the connections of a listener; raises ``CertificateUnusable``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, certificate, key)
    return context


def load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Let new connections show this certificate, that of before it was renewed no more."""
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateUnusable(str(getattr(error, "strerror", None) or error)) from error
