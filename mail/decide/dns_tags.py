"""Records that are lists of tags: ``v=DKIM1; k=rsa; p=...`` (RFC 6376, 3.2; RFC 9989, 4.8). Pure."""

from collections.abc import Mapping


def read_tags(text: str) -> dict[str, str]:
    """Return the tags of a record by their names, the first of each; what is no tag is left out.

    >>> read_tags("v=DKIM1; k=rsa;p = MIIB IjAN ; nonsense; p=again;")
    {'v': 'DKIM1', 'k': 'rsa', 'p': 'MIIB IjAN'}
    """
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, sign, value = part.partition("=")
        if sign and name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


def write_tags(tags: Mapping[str, str]) -> str:
    """Return the record that these tags make.

    >>> write_tags({"v": "DMARC1", "p": "none"})
    'v=DMARC1; p=none'
    """
    return "; ".join(f"{name}={value}" for name, value in tags.items())
