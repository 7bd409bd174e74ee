"""Watches a training from outside and finds what its loop does wrong, such as zero_grad forgotten.
It looks at gradients, weights, logits, images and modes, not at names: any correct loop will do."""

import contextlib
import importlib
import math
from unittest import mock

import numpy as np


LAYERS = ("Linear", "BatchNorm1d", "ReLU", "Linear")  # that Problem 3 asks for, in this order
ASKED = "Problem 3 asks for Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10)."


class Watch:
    """What a training does, seen from outside while ``watching`` lasts.

    Args:
        after_batch: called with this Watch after each ``backward()`` of the training.
        data (mnist_data.Mnist): what is trained and validated on, if it is known: images are
            then told by their pixels.

    Attributes:
        batches (int): how many times ``backward()`` was called.
        loss, accuracy (float): the newest; nan before there is one.
        validated_at (list of int): for each call of ``validate()``, the batches before it.
    """

    def __init__(self, after_batch=lambda watch: None, data=None):
        self.after_batch = after_batch
        self.labels_of = {}  # image → its label, None where the data has it with several
        for images, labels in [] if data is None else [
                (data.train_x, data.train_y), (data.val_x, data.val_y)]:
            for image, label in zip(map(pixels, images), labels):
                known = self.labels_of.setdefault(image, int(label))
                self.labels_of[image] = known if known == label else None
        self.to_validate = set() if data is None else (
            set(map(pixels, data.val_x)) - set(map(pixels, data.train_x)))
        self.batches = 0
        self.loss = self.accuracy = math.nan
        self.validated_at = []
        self.calls = 0  # of all that is watched: they go on while the training does
        self.blind = False  # something was not as this file expects: then it has no complaints

        self.parameters = {}   # id → parameter, of the layers called since the last backward()
        self.before_step = {}  # id → (parameter, its values, its gradient) after the last backward()
        self.saw_layers = self.saw_gradients = False
        self.compared = 0  # calls of backward() that could be compared with the one before:
        self.stepped = 0   # weights had changed in between, so there was a step,
        self.leftover = 0  # and the gradients from before that step were still there
        self.infinite = None  # (batch, loss) where the loss was not finite for the first time

        self.modes = set()  # is_train of each BatchNorm1d called since the last backward()
        self.modes_outside = set()  # the same, put aside while validate() runs
        self.all_modes = set()
        self.trained = self.trained_in_eval = 0  # batches with a BatchNorm1d; in the wrong mode
        self.validated = self.validated_in_train = 0  # the same, calls of validate()

        self.labels = None  # those given to validate(), while it runs
        self.inputs = []    # of the first Linear while validate() runs: the images
        self.outputs = {}   # id of a Linear → its outputs while validate() runs, the last called last
        self.miscounted = None  # (accuracy returned, accuracy by the logits) of the newest miscount
        self.first_images = []  # of each batch of the training, the first image, as a hash
        self.sizes = []  # of each batch of the training, how many images
        self.first_layer = None  # that was called since the last backward()
        self.newest = None  # (first image, how many) of what went through it last
        self.foreign = 0  # batches of the training whose first image is one to validate on
        self.labelled = self.mislabelled = 0  # whose first label is known; is another
        self.called, self.order = [], ()  # layers since the last backward(); of the newest batch

    @contextlib.contextmanager
    def watching(self, homework):
        """While this context lasts, watch what the module ``homework`` (hw1.mnist) trains."""
        with contextlib.ExitStack() as stack:
            def watch(owner, name, before, after=None):
                if hasattr(owner, name):
                    watched = self.surround(getattr(owner, name), before, after)
                    stack.enter_context(mock.patch.object(owner, name, watched))

            watch(find("mytorch.tensor", "Tensor"), "backward",
                  self.before_backward, self.after_backward)
            watch(find("mytorch.nn.linear", "Linear"), "forward",
                  self.before_linear, self.after_linear)
            watch(find("mytorch.nn.batchnorm", "BatchNorm1d"), "forward", self.before_batchnorm)
            watch(find("mytorch.nn.activations", "ReLU"), "forward", self.note_layer)
            watch(find("mytorch.nn.loss", "CrossEntropyLoss"), "forward", self.before_loss)
            watch(homework, "validate", self.before_validate, self.after_validate)
            yield

    def surround(self, function, before, after):
        """``function``, with ``before(*args)`` and ``after(result, *args)`` called around it.

        If one of these fails, perhaps on an unusual Tensor, training goes on unwatched.
        """
        def call(callback, *args):
            try:
                if callback is not None and not self.blind:
                    callback(*args)
            except Exception:
                self.blind = True

        def watched(*args, **kwargs):
            self.calls += 1
            given = (*args, *kwargs.values())
            call(before, *given)
            result = function(*args, **kwargs)
            call(after, result, *given)
            return result

        return watched

    def note_layer(self, layer, *_):
        if self.labels is None:
            self.called.append(next((cls.__name__ for cls in type(layer).__mro__
                                     if cls.__name__ in LAYERS), ""))

    def before_layer(self, layer, *_):
        self.note_layer(layer)
        self.saw_layers = True
        for value in vars(layer).values():
            if getattr(value, "is_parameter", False):
                self.parameters[id(value)] = value
                self.saw_gradients = self.saw_gradients or value.grad is not None

    def before_linear(self, layer, x, *_):
        self.before_layer(layer)
        if self.labels is not None:
            if not self.outputs:
                self.inputs.append(np.asarray(x.data))
        elif self.first_layer in (None, layer):
            self.first_layer, self.called = layer, self.called[-1:]
            self.newest = pixels(np.asarray(x.data)[0]), len(x.data)

    def before_loss(self, criterion, predicted, target, *_):
        """Compare the first label of a batch with that of its first image."""
        known = self.labels_of.get(self.newest[0]) if self.newest else None
        if self.labels is None and known is not None:
            label = np.asarray(target.data)[0]
            self.labelled += 1
            self.mislabelled += int(label if label.ndim == 0 else label.argmax()) != known

    def after_linear(self, output, layer, *_):
        if self.labels is not None:
            self.outputs[id(layer)] = self.outputs.pop(id(layer), []) + [output.data]

    def before_batchnorm(self, layer, *_):
        self.before_layer(layer)
        self.modes.add(bool(layer.is_train))
        self.all_modes.add(bool(layer.is_train))

    def before_backward(self, *_):
        """Compare weights and gradients with those after the ``backward()`` before this one."""
        known = [held for key, held in self.before_step.items() if key in self.parameters]
        moved = [held for held in known if not np.array_equal(sample(held[0]), held[1])]
        self.compared += bool(known)
        self.stepped += bool(moved)
        self.leftover += any(gradient.any() and np.array_equal(sample(parameter.grad), gradient)
                             for parameter, _, gradient in moved)
        self.trained += bool(self.modes)
        self.trained_in_eval += self.modes == {False}

    def after_backward(self, _, loss, *__):
        """Keep what the next ``backward()`` is compared with."""
        self.batches += 1
        self.before_step = {key: (parameter, sample(parameter), sample(parameter.grad))
                            for key, parameter in self.parameters.items()}
        self.parameters, self.modes = {}, set()
        if self.newest:
            image, size = self.newest
            self.first_images.append(image)
            self.sizes.append(size)
            self.foreign += image in self.to_validate
        self.order, self.called = tuple(self.called), []
        self.first_layer = self.newest = None
        self.loss = float(np.mean(loss.data))
        if self.infinite is None and not math.isfinite(self.loss):
            self.infinite = self.batches, self.loss
        self.after_batch(self)

    def before_validate(self, *arguments):
        self.modes_outside, self.modes = self.modes, set()
        self.labels = next((labels for labels in map(np.asarray, arguments[1:])
                            if labels.ndim == 1), np.empty(0))
        self.inputs, self.outputs = [], {}

    def after_validate(self, accuracy, *_):
        self.count_anew(accuracy)
        self.labels = None
        self.validated += bool(self.modes)
        self.validated_in_train += self.modes == {True}
        self.modes = self.modes_outside
        self.validated_at.append(self.batches)
        with contextlib.suppress(Exception):  # whatever it is, train() has to judge it
            self.accuracy = float(accuracy)

    def count_anew(self, accuracy):
        """Compare an accuracy with what the outputs of the last layer give, if their labels are
        known. It may be higher, because images can be taken in another order, but not lower."""
        if not self.outputs or not np.isscalar(accuracy):
            return
        logits = np.concatenate(list(self.outputs.values())[-1])
        labels = self.labels
        if len(labels) != len(logits):
            labels = [self.labels_of.get(pixels(image)) for images in self.inputs
                      for image in images]
        if len(labels) != len(logits) or logits.ndim != 2 or None in list(labels):
            return
        by_logits = float(np.mean(logits.argmax(axis=1) == np.asarray(labels)))
        if accuracy < by_logits - 0.05:
            self.miscounted = accuracy, by_logits

    def complaints(self):
        """What the training does wrong (list of str, the gravest first), if that is certain."""
        if self.blind:
            return []
        checks = (self.about_no_learning, self.about_wrong_data, self.about_leftover_gradients,
                  self.about_wrong_modes, self.about_wrong_count)
        return [complaint for check in checks for complaint in check()]

    def about_wrong_data(self):
        if 2 * self.foreign > len(self.first_images):
            yield ("The training uses the images that are kept for validation (val_x), so that the "
                   "accuracies say nothing: train on train_x and train_y.")
        if 5 * self.mislabelled > self.labelled:
            yield (f"The labels do not belong to their images: in {self.mislabelled:,} of "
                   f"{self.labelled:,} batches the first image has another label. Shuffle both by "
                   "one permutation, and take the same rows of both.")

    def about_no_learning(self):
        if self.saw_layers and not self.batches and not self.saw_gradients:
            yield "backward() was never called, so there are no gradients to learn from."
        if self.compared and not self.stepped:
            yield ("The weights never changed. Either step() is missing, or it is called after "
                   "zero_grad() has removed the gradients, or the optimizer has other "
                   "parameters, or lr is 0.")
        if self.infinite:
            batch, loss = self.infinite
            yield (f"The loss became {loss} at batch {batch:,}. Often the learning rate is too "
                   "high, or a logarithm or a division meets 0.")

    def about_leftover_gradients(self):
        if self.leftover:
            yield (f"zero_grad() is missing or has no effect: after {self.leftover:,} of "
                   f"{self.stepped:,} steps the next backward() found the gradients of the batch "
                   "before and added its own to them. Call it once for each batch, before "
                   "backward().")

    def about_wrong_modes(self):
        if self.trained_in_eval:
            yield ("train() is missing or does not reach BatchNorm1d: "
                   f"{self.trained_in_eval:,} of {self.trained:,} batches were trained in "
                   "evaluation mode, in which its averages are not updated. Call model.train() "
                   "after each validation.")
        if self.validated_in_train:
            yield ("eval() is missing or does not reach BatchNorm1d: "
                   f"{self.validated_in_train:,} of {self.validated:,} validations ran in training "
                   "mode, in which it normalises by the images that it is tested on and updates "
                   "its averages from them. Call model.eval() before each validation.")
        elif self.all_modes == {True}:
            yield ("eval() is missing or does not reach BatchNorm1d: it was never in evaluation "
                   "mode. Call model.eval() before each validation.")

    def about_wrong_count(self):
        if self.miscounted:
            returned, by_logits = self.miscounted
            yield (f"validate() counts wrongly: it returned {returned:.1%}, but the largest logit is "
                   f"the right one for {by_logits:.1%} of the images. Take the largest of each row, "
                   "logits.data.argmax(axis=1), and compare it with the labels.")

    def notes(self):
        """What is unusual but may be intended (list of str)."""
        if self.blind:
            return []
        notes = []
        layers = [name for name in self.order if name]
        if self.saw_layers and not self.all_modes:
            notes.append(f"BatchNorm1d was never called. {ASKED}")
        elif layers and "ReLU" not in layers:
            notes.append(f"ReLU was never called. {ASKED}")
        elif sorted(layers) == sorted(LAYERS) and tuple(layers) != LAYERS:
            notes.append(f"The layers are called in the order {', '.join(layers)}. {ASKED}")
        usual = max(set(self.sizes), key=self.sizes.count) if self.sizes else 100
        if usual != 100:
            notes.append(f"The batches have {usual:,} images. Problem 3 asks for 100.")
        if self.repeats_its_order():
            notes.append("The batches came in the same order in every epoch. Problem 3 asks you to "
                         "shuffle the images before each epoch, and their labels in the same way.")
        return notes

    def repeats_its_order(self):
        """Whether all batches after the first epoch are those of the epoch before, in its order."""
        images = self.first_images
        if images[:1] * 2 == images[:2] or images[:1] == [] or images[0] not in images[1:]:
            return False
        epoch = images.index(images[0], 1)
        return len(images) >= 2 * epoch and images[epoch:] == images[:-epoch]


def find(module, name):
    """A class of the student's, or None if it cannot be imported."""
    try:
        return getattr(importlib.import_module(module), name)
    except Exception:
        return None


def pixels(image):
    """What tells an image from others, in either precision."""
    return hash(np.asarray(image, np.float32).tobytes())


def sample(tensor):
    """A copy of some entries, at most a thousand: enough to tell whether a Tensor has changed.
    Empty for a gradient that is None."""
    if tensor is None:
        return np.empty(0)
    entries = np.asarray(getattr(tensor, "data", tensor)).reshape(-1)
    return entries[::1 + entries.size // 1000].copy()
