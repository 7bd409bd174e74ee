"""Autograd made visible: trace tells a backward pass in words, draw shows a graph as a picture.
The library itself never needs this folder."""

from mytorch.show.draw import draw, draw_before_and_after
from mytorch.show.trace import trace

__all__ = ["draw", "draw_before_and_after", "trace"]
