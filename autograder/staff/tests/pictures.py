"""A PNG file made by hand, for the tests of what collect.py says about plots."""

import struct


def png(width=200, height=160, text=b""):
    """The start of a PNG file of that many pixels, and ``text``, so that two files differ."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II9x", width, height) + text
