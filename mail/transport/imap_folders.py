"""Where folders are: the one for fetched mails and those of somebody else are often not where their name says.

On many servers a person's folders lie below a prefix such as ``INBOX.`` (the personal namespace, RFC 2342), and mail
programs show them without it.
"""

from imaplib import IMAP4

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from mail.errors import FolderMovedToItself
from mail.transport import refusal

_NO_MAILS = {b"\\noselect", b"\\nonexistent"}


def folder_for(session: IMAPClient, name: str, source: str, within: str = "") -> str:
    """Return the server's own name of a folder; one that is missing is made, or the refusal raised.

    Raises ``FolderMovedToItself`` when it is `source`, the folder that is read. ``within``: what the names of the
    folders of its mailbox begin with, if that is somebody else's.
    """
    prefix, separator = ("", "") if within else namespace(session)
    names = [within + name] if within else possible_names(name, prefix, separator)
    for one in names:
        if one == source or one.upper() == source.upper() == "INBOX":
            raise FolderMovedToItself(folder=source)
        if _opens(session, one) if within else _exists(session, one):
            return one
    return _make(session, names[1:] + names[:1] if prefix else names)


def namespace(session: IMAPClient) -> tuple[str, str]:
    """Return what the names of a person's own folders begin with ("" for nothing), and what stands between levels."""
    if session.has_capability("NAMESPACE"):
        try:
            personal = session.namespace().personal
        except IMAPClientError:
            personal = None
        if personal:
            return str(personal[0][0]), str(personal[0][1] or "")
    top = session.list_folders("", "")
    separator = top[0][1] if top else b""
    return "", (separator or b"").decode() if isinstance(separator, bytes) else str(separator or "")


def shared_folder(session: IMAPClient, owner: str, folder: str) -> tuple[str, str] | None:
    """Return the server's name of a folder in somebody else's mailbox, and what the names of its folders begin with.

    None if the user does not see it (RFC 2342: the namespaces of other users, and those that are shared).
    """
    found = session.namespace() if session.has_capability("NAMESPACE") else None
    for prefix, separator in [*(found.other or ()), *(found.shared or ())] if found else ():
        for name, within in shared_names(owner, folder, str(prefix), str(separator or "")):
            if _opens(session, name):
                return name, within
    return None


def shared_names(owner: str, folder: str, prefix: str, separator: str) -> list[tuple[str, str]]:
    """Return the names that a folder of somebody else may have, each with what the names of its mailbox begin with.

    >>> [name for name, _ in shared_names("info@a.test", "INBOX", "Other Users/", "/")][:2]
    ['Other Users/info@a.test', 'Other Users/info@a.test/INBOX']
    >>> shared_names("info", "Done", "user.", ".")
    [('user.info.Done', 'user.info.'), ('user.info.INBOX.Done', 'user.info.INBOX.')]
    """
    found = []
    for name in dict.fromkeys((owner, owner.partition("@")[0])):
        root = prefix + name
        own, inbox = root + separator, f"{root}{separator}INBOX"
        if folder == "INBOX":
            found += [(root, own), (inbox, own)]
        else:
            found += [(own + folder, own), (f"{inbox}{separator}{folder}", inbox + separator)]
    return found


def possible_names(name: str, prefix: str, separator: str) -> list[str]:
    """Return the names under which a folder may be known to its server, the one that was typed first.

    >>> possible_names("Done", "INBOX.", "."), possible_names("INBOX.Done", "INBOX.", ".")
    (['Done', 'INBOX.Done'], ['INBOX.Done'])
    >>> possible_names("Done/2026", "", "."), possible_names("Done", "", "/")
    (['Done.2026', 'INBOX.Done.2026'], ['Done', 'INBOX/Done'])
    """
    if separator and separator != "/":
        name = name.replace("/", separator)
    below = prefix or f"INBOX{separator or '/'}"
    if name.upper().startswith(below.upper()):
        return [name]
    return [name, below + name]


def _exists(session: IMAPClient, name: str) -> bool:
    for flags, _, found in session.list_folders("", name):
        if found == name and not {flag.lower() for flag in flags} & _NO_MAILS:
            return True
    return False


def _opens(session: IMAPClient, name: str) -> bool:
    """Say whether a folder of somebody else is there: many servers open it and do not list it."""
    try:
        session.folder_status(name, ["UIDVALIDITY"])
    except IMAP4.abort:
        raise
    except IMAPClientError as error:
        if refusal.meaning(str(error)) == "later":
            raise
        return False
    return True


def _make(session: IMAPClient, names: list[str]) -> str:
    refusal: IMAPClientError | None = None
    for name in names:
        try:
            session.create_folder(name)
        except IMAPClientError as error:
            refusal = refusal or error
        else:
            return name
    assert refusal is not None
    raise refusal
