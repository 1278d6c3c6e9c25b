"""The practice mailbox: where its receiver listens, and what people do with the mails in it."""

_listening: dict[str, int] = {}


def listening_port() -> int | None:
    """Return the port of this process' receiver on the loopback address, None while it does not listen."""
    return _listening.get("port")


def set_listening_port(port: int | None) -> None:
    """Tell the senders of this process where the receiver listens."""
    _listening.clear()
    if port is not None:
        _listening["port"] = port
