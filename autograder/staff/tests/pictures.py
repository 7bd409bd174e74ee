"""PNG files made by hand, for the tests of what collect.py says about plots."""

import struct
import zlib


def png(width=200, height=160, text=b"", blank=False, ends=True, **replaced):
    """A PNG file, 8 bits of red, green and blue: slanted stripes, or one colour.

    Args:
        text (bytes): in it, so that two files differ.
        blank (bool): one colour all over.
        ends (bool): whether its last chunk is there.
        replaced: ``data``, in place of the image's compressed bytes.
    """
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def row(y):
        shades = bytes((x + y) % 7 * 40 for x in range(width)) if not blank else b"\xff" * width
        return b"\0" + bytes(shade for shade in shades for _ in range(3))

    data = replaced.get("data")
    if data is None:
        data = zlib.compress(b"".join(map(row, range(min(height, 400)))))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"tEXt", b"Title\0" + text) + chunk(b"IDAT", data) + chunk(b"IEND", b"") * ends)
