"""The tarball that a student hands in: packing it, and unpacking one that anybody may have made."""
