"""Autograd made visible: trace tells a backward pass in words, draw shows a graph as a picture,
and draw_backward shows the pass in motion. The library itself never needs this folder."""

from mytorch.show import tracebacks
from mytorch.show.draw import draw
from mytorch.show.steps import draw_backward
from mytorch.show.trace import trace

__all__ = ["draw", "draw_backward", "trace"]

tracebacks.install()
