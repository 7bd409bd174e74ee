"""Autograd made visible: trace tells a backward pass in words, draw shows a graph as a picture,
and draw_backward shows the pass in motion. The library itself never needs this folder."""

from mytorch.show import tracebacks
from mytorch.show.draw import draw, draw_before_and_after
from mytorch.show.steps import draw_after_backward, draw_backward
from mytorch.show.trace import trace

__all__ = ["draw", "draw_after_backward", "draw_backward", "draw_before_and_after", "trace"]

tracebacks.install()
