"""Outlook's ``winmail.dat`` (TNEF, MS-OXTNEF): the files that it holds. Pure; damaged ones give what could be read."""

import struct

_SIGNATURE = 0x223E9F78
_NEXT_ATTACHMENT = 0x00069002  # attAttachRenddata
_TITLE = 0x00018010  # attAttachTitle
_DATA = 0x0006800F  # attAttachData
_PROPERTIES = 0x00069005  # attAttachment: MAPI properties, of which we want the long file name
_LONG_NAME = 0x3707


def unpack_winmail(content: bytes) -> list[tuple[str, bytes]]:
    """Return (name, content) of each file in it; an empty list if it is not one or holds none."""
    if len(content) < 6 or struct.unpack_from("<I", content)[0] != _SIGNATURE:
        return []
    files: list[tuple[str, bytes]] = []
    position = 6
    while position + 9 <= len(content):
        identity, size = struct.unpack_from("<II", content, position + 1)
        value = content[position + 9 : position + 9 + size]
        position += 9 + size + 2  # a checksum follows
        if identity == _NEXT_ATTACHMENT:
            files.append(("", b""))
        elif files and identity == _TITLE:
            files[-1] = (files[-1][0] or _text(value, "cp1252"), files[-1][1])
        elif files and identity == _DATA:
            files[-1] = (files[-1][0], value)
        elif files and identity == _PROPERTIES:
            files[-1] = (_long_name(value) or files[-1][0], files[-1][1])
    return [(name, data) for name, data in files if data]


def _long_name(properties: bytes) -> str:
    """The long file name among MAPI properties; looked for by its tag, since only this one is wanted."""
    for kind, codec in ((0x1F, "utf-16-le"), (0x1E, "cp1252")):
        found = properties.find(struct.pack("<HH", kind, _LONG_NAME))
        if found >= 0 and len(properties) >= found + 12:
            size = struct.unpack_from("<I", properties, found + 8)[0]
            return _text(properties[found + 12 : found + 12 + min(size, 1024)], codec)
    return ""


def _text(value: bytes, codec: str) -> str:
    return value.decode(codec, "replace").split("\0")[0].strip()
