"""The digits that stand in for MNIST: shapes, repeatability, and how alike MNIST's they lie.
Whether they look like digits is for eyes to judge; what numbers can say is said here."""

import numpy as np
import pytest
from problem3 import drawn_digits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """Fewer than by default, as each is made in the same way."""
    return drawn_digits.draw(train=3000, val=600)


@pytest.fixture(scope="module")
def frames(digits):
    """All images as (N, 28, 28) floats."""
    return np.concatenate([digits[0], digits[2]]).reshape(-1, 28, 28).astype(np.float32)


def test_it_draws_as_many_as_asked_for_and_by_default_as_many_as_mnist_has(digits):
    assert [array.shape for array in digits] == [(3000, 784), (3000,), (600, 784), (600,)]
    assert [array.dtype for array in digits] == [np.uint8, np.int64, np.uint8, np.int64]
    assert drawn_digits.draw.__defaults__[1:] == (55000, 5000)


def test_every_digit_comes_equally_often_and_in_no_order(digits):
    assert np.bincount(digits[1]).tolist() == [300] * 10
    assert np.bincount(digits[3]).tolist() == [60] * 10
    assert (np.diff(digits[1]) == 0).mean() == pytest.approx(0.1, abs=0.03)


def test_the_same_seed_draws_the_same_digits_and_numpys_global_random_state_is_left_alone(monkeypatch):
    monkeypatch.setattr(drawn_digits, "TRAIN_FONTS", drawn_digits.TRAIN_FONTS[:2])
    monkeypatch.setattr(drawn_digits, "VAL_FONTS", ("no such font", "cmss10"))
    state = np.random.get_state()[1].tolist()
    first, again, other = [drawn_digits.draw(seed, train=60, val=30) for seed in (5, 5, 6)]
    assert all(np.array_equal(*pair) for pair in zip(first, again))
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[2], other[2])
    assert np.random.get_state()[1].tolist() == state


def test_each_font_draws_ten_different_digits_that_no_font_of_the_other_side_draws():
    sides = []
    for fonts in drawn_digits.TRAIN_FONTS, drawn_digits.VAL_FONTS:
        paths = [path for path in map(drawn_digits.font_path, fonts) if path.is_file()]
        ink = [drawn_digits.bitmap_of(path, digit) for path in paths for digit in "0123456789"]
        heights = [bitmap.any(axis=1).sum() for bitmap in ink]
        assert len(paths) >= len(fonts) - 1  # older versions of matplotlib do not bring cmti10
        assert min(heights) > 20 and max(heights) < drawn_digits.CANVAS - 20
        sides.append({bitmap.tobytes() for bitmap in ink})
        assert len(sides[-1]) == len(ink)
    assert not sides[0] & sides[1]


def test_without_any_font_the_error_says_which_and_where(monkeypatch):
    monkeypatch.setattr(drawn_digits, "TRAIN_FONTS", ("no such font",))
    with pytest.raises(FileNotFoundError, match="at least one of no such font in .*ttf"):
        drawn_digits.draw(train=10, val=20)


def test_the_centre_of_mass_is_in_the_middle_as_mnist_has_it(frames):
    mass = frames.sum(axis=(1, 2))
    down = (frames.sum(axis=2) @ np.arange(28)) / mass
    right = (frames.sum(axis=1) @ np.arange(28)) / mass
    assert abs(down.mean() - 14) < 0.1 and abs(right.mean() - 14) < 0.1
    assert np.abs(down - 14).max() < 2 and np.abs(right - 14).max() < 2


def test_a_digit_fills_a_box_of_20_pixels_and_keeps_off_the_frame(frames):
    ink = frames > 0
    longer = np.maximum(ink.any(axis=1).sum(axis=1), ink.any(axis=2).sum(axis=1))
    assert longer.min() >= 16 and longer.max() <= 21  # 21: twenty that start within a pixel
    assert not ink[:, [0, -1]].any() and not ink[:, :, [0, -1]].any()


def test_ink_and_grey_are_about_as_much_as_in_mnist(frames):
    pixels = frames / 255
    assert pixels.mean() == pytest.approx(0.131, abs=0.015)  # MNIST's mean ...
    assert pixels.std() == pytest.approx(0.308, abs=0.015)   # ... and standard deviation
    assert pixels.max(axis=(1, 2)).min() > 0.8               # no digit is faint


def test_a_digit_is_nearest_to_the_mean_digit_of_its_class_in_fonts_not_seen(digits):
    train_x, train_y, val_x, val_y = digits
    means = np.stack([train_x[train_y == digit].mean(axis=0) for digit in range(10)])
    distance = (means ** 2).sum(axis=1) - 2 * val_x.astype(float) @ means.T
    assert (distance.argmin(axis=1) == val_y).mean() > 0.75
