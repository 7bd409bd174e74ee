"""A PNG file made by hand, for the tests of what collect.py says about plots."""

import struct


def png(width=200, height=160, text=b""):
    """The ends of a PNG file of that many pixels, with ``text`` between, so that two files differ."""
    return (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II9x", width, height)
            + text + bytes(3000) + b"\0\0\0\0IEND\xaeB`\x82")
