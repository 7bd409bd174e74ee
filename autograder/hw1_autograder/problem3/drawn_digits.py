"""Digits drawn from the fonts that matplotlib brings along, for machines without MNIST.
They are made to look like MNIST's, and to be validated on typefaces not trained on."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font  # draws without pyplot, a display or the font cache

# Every bundled font with clear digits. Left out: the symbol fonts, and DejaVu
# Sans Mono, whose zero has a dot in it. A family stays on one side, so that
# validation asks for the shape of a digit and not for a typeface seen before.
TRAIN_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
               "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
               "cmr10", "cmb10", "cmmi10", "cmti10")
VAL_FONTS = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
             "cmss10", "cmtt10")

FRAME = 28       # an image is FRAME x FRAME pixels ...
BOX = 20         # ... and its digit fits into BOX x BOX of them, as MNIST's does
CANVAS = 96      # a digit starts on CANVAS x CANVAS dots, about 48 of them high
BLUR = 4         # dots over which an outline is softened, so that a pen can be thick or thin
DIRECTIONS = 64  # the extent of a digit is found by looking in so many directions
CHUNK = 100      # images made at a time: few enough to stay in the processor's cache


def draw(seed=11785, train=55000, val=5000):
    """Draw images of the digits 0 to 9, each as often as the others (within one).

    By default as many as MNIST has: then an epoch is as long, training validates as often,
    and the plot is the same kind of curve. Takes about two seconds. NumPy's global
    random state is neither used nor changed.

    Args:
        seed (int): the same seed gives the same images (with the same matplotlib).
        train (int): how many to draw from TRAIN_FONTS.
        val (int): how many to draw from VAL_FONTS.

    Returns:
        tuple of ndarray: train_images, train_labels, val_images, val_labels; images uint8,
        shape (N, 784), row by row from the top, 0 for paper to 255 for ink; labels int64,
        shape (N,).

    Raises:
        FileNotFoundError: where matplotlib was installed without its fonts.
    """
    rng = np.random.RandomState(seed)
    return draw_from(TRAIN_FONTS, train, rng) + draw_from(VAL_FONTS, val, rng)


class Glyphs(NamedTuple):
    """The ten digits of one font after another: glyph g is the digit g % 10."""

    ink: np.ndarray      # (G, CANVAS, CANVAS): 0 (paper) to 1 (ink)
    centre: np.ndarray   # (G, 2): centre of mass (x, y), dots
    outline: np.ndarray  # (G, 2, DIRECTIONS): outermost dots, relative to the centre


def draw_from(fonts, count, rng):
    """``count`` digits from the named fonts: images (count, 784) and labels (count,)."""
    glyphs = measured_glyphs(fonts)
    labels = rng.permutation(np.arange(count, dtype=np.int64) % 10)
    which = labels + 10 * rng.randint(len(glyphs.centre) // 10, size=count)
    images = np.empty((count, FRAME * FRAME), np.uint8)
    for start in range(0, count, CHUNK):
        images[start:start + CHUNK] = distorted(glyphs, which[start:start + CHUNK], rng)
    return images, labels


def measured_glyphs(fonts):
    """The Glyphs of those of the named fonts that matplotlib has."""
    paths = [path for path in map(font_path, fonts) if path.is_file()]  # 3.2.0 has no cmti10
    if not paths:
        raise FileNotFoundError("no font to draw digits from: expected at least one of "
                                f"{', '.join(fonts)} in {font_path('').parent}")
    bitmaps = np.stack([bitmap_of(path, digit) for path in paths for digit in "0123456789"])
    angle = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    directions = np.stack([np.cos(angle), np.sin(angle)])
    centre, outline = [], []
    for bitmap in bitmaps:
        dots = np.argwhere(bitmap)[:, ::-1]
        centre.append(dots.mean(axis=0))
        dots = dots - centre[-1]
        outline.append(dots[(dots @ directions).argmax(axis=0)].T)
    ink = bitmaps.astype(np.float32)
    for axis in (1, 2):
        ink = np.mean([np.roll(ink, dots, axis) for dots in range(-BLUR // 2, BLUR // 2 + 1)], axis=0)
    return Glyphs(ink, np.array(centre), np.array(outline))


def font_path(font):
    """Where matplotlib keeps the font of that name."""
    return Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")


def bitmap_of(path, digit):
    """One digit in the middle of a (CANVAS, CANVAS) array, True where there is ink."""
    font = FT2Font(str(path))
    font.set_size(65, 72)  # points, at one dot per point
    font.set_text(digit)
    font.draw_glyphs_to_bitmap()
    glyph = np.asarray(font.get_image()) > 127
    height, width = glyph.shape
    top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
    canvas = np.zeros((CANVAS, CANVAS), bool)
    canvas[top:top + height, left:left + width] = glyph
    return canvas


def distorted(glyphs, which, rng):
    """The glyphs ``which`` (N,), each distorted in its own way, as uint8 images (N, 784)."""
    count = len(which)
    turn = rng.uniform(-0.2, 0.2, count)        # radians
    slant = rng.uniform(-0.2, 0.4, count)       # handwriting leans to the right
    wide = rng.uniform(0.75, 1.4, count)
    pen = rng.uniform(0.25, 0.55, count)        # ink from which on a pixel is rather black
    size = rng.uniform(0.95, 1.0, count) * BOX  # pixels
    shift = rng.uniform(-0.5, 0.5, (count, 2))  # MNIST is centred to the nearest pixel

    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos * wide, -cos * slant - sin],
                       [sin * wide, -sin * slant + cos]]).transpose(2, 0, 1)
    outline = matrix @ glyphs.outline[which]
    low, high = outline.min(axis=2) - BLUR / 2 - 1, outline.max(axis=2) + BLUR / 2 + 1
    scale = size / (high - low).max(axis=1)  # pixels per dot

    # centre of mass in the middle of the frame, but no ink on its outermost pixels
    middle = FRAME // 2
    low, high = low * scale[:, None] - 1, high * scale[:, None] + 1
    shift = np.clip(shift, -middle - low, FRAME - 1 - middle - high)

    pixels = np.indices((FRAME, FRAME)).reshape(2, -1)[::-1] - middle
    back = np.linalg.inv(matrix * scale[:, None, None])
    dots = back @ (pixels - shift[:, :, None]) + glyphs.centre[which][:, :, None]
    ink = 2 * (look_up(glyphs.ink, which, dots) - pen[:, None]) + 0.5
    return np.round(ink.clip(0, 1) * 255).astype(np.uint8)


def look_up(ink, which, dots):
    """How much ink (N, P) there is at the places ``dots`` (N, 2, P), interpolated between whole dots."""
    dots = dots.clip(0, CANVAS - 1.001)
    x, y = dots.astype(np.intp).transpose(1, 0, 2)
    right, down = dots.transpose(1, 0, 2) - (x, y)
    index = (which[:, None] * CANVAS + y) * CANVAS + x
    flat = ink.reshape(-1)
    upper = flat[index] * (1 - right) + flat[index + 1] * right
    lower = flat[index + CANVAS] * (1 - right) + flat[index + CANVAS + 1] * right
    return upper * (1 - down) + lower * down
