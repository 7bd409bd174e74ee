"""What ./grade.sh m finds in a training: each mistake by its name, and none in right ones.
The trainings are hw1/mnist.py with some lines changed, as students write them, on few digits."""

import inspect
import types

import numpy as np
import pytest
from hw1 import mnist as reference
from problem3.watch import Watch

SOURCE = inspect.getsource(reference).replace("VALIDATE_EVERY = 100", "VALIDATE_EVERY = 3")

ZERO = "            optimizer.zero_grad()\n"
STEP = "            optimizer.step()\n"
BACKWARD = "            loss.backward()\n"
EVAL = "    model.eval()\n"
FIRST_TRAIN = "    model.train()\n    for _"
LATER_TRAIN = "                model.train()\n"
EPOCH = "    for _ in range(num_epochs):\n"
VALIDATE = "accuracies.append(validate(model, val_x, val_y))"
OPTIMIZER = "SGD(model.parameters(), lr=0.1)"
CRITERION = "criterion = CrossEntropyLoss()"
INLINE = ("predicted = model(Tensor(val_x)).data.argmax(axis=1)\n"
          "                accuracies.append(np.mean(predicted == val_y))")

OWN_OPTIMIZER = '''

class Adagrad:
    def __init__(self, params):
        self.params = list(params)
        self.squares = [1e-8 + 0 * param.data for param in self.params]

    def zero_grad(self):
        for param in self.params:
            param.grad = None

    def step(self):
        for param, squares in zip(self.params, self.squares):
            squares += param.grad.data ** 2
            param.data -= 0.05 * param.grad.data / np.sqrt(squares)
'''
OWN_LOSS = '''

class MeanLoss:
    def __call__(self, logits, labels):
        onehot = np.eye(10)[labels.data]
        difference = logits - Tensor(np.float32(onehot))
        return (difference * difference).sum() / len(onehot)
'''
OWN_LOOP = '''

def mnist(train_x, train_y, val_x, val_y):
    model = Sequential(Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10))
    optimizer, accuracies = SGD(model.parameters(), lr=0.1), []
    for _ in range(3):
        model.train()
        order = np.random.permutation(len(train_x))
        for x, y in zip(np.split(train_x[order], 8), np.split(train_y[order], 8)):
            loss = CrossEntropyLoss()(model(Tensor(x)), Tensor(y))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        accuracies.append(np.mean(model(Tensor(val_x)).data.argmax(axis=1) == val_y))
    return accuracies
'''


LISTED = '''

from mytorch.nn.module import Module


class Listed(Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = Linear(784, 20), Linear(20, 10)
        self.others = [BatchNorm1d(20), ReLU()]

    def forward(self, x):
        x = self.first(x)
        for layer in self.others:
            x = layer(x)
        return self.last(x)
'''


def by_layer(is_train, indent):
    return (f"{indent}for layer in model.layers:\n{indent}    layer.is_train = {is_train}\n")


RIGHT = {
    "the reference": [],
    "gradients set to None by hand": [
        (ZERO, "            for param in model.parameters():\n                param.grad = None\n")],
    "gradients filled with zeros": [
        (ZERO, "            for param in model.parameters():\n"
               "                if param.grad is not None:\n"
               "                    param.grad.data[...] = 0\n")],
    "gradients forgotten after the step": [(ZERO, ""), (STEP, STEP + ZERO)],
    "gradients of two batches for one step": [
        (ZERO, "            if index % 2 == 0:\n                optimizer.zero_grad()\n"),
        (STEP, "            if index % 2 == 1:\n                optimizer.step()\n")],
    "is_train set by hand in each layer": [
        (EVAL, by_layer(False, "    ")), (FIRST_TRAIN, by_layer(True, "    ") + "    for _"),
        (LATER_TRAIN, by_layer(True, " " * 16))],
    "eval() in train()": [(EVAL, ""), (VALIDATE, "model.eval()\n                " + VALIDATE)],
    "accuracy worked out in train()": [(EVAL, ""), (VALIDATE, "model.eval()\n" + " " * 16 + INLINE)],
    "validation between forward and backward": [
        (BACKWARD, ""), (STEP, ""), ("            del loss", "            kept = loss"),
        (LATER_TRAIN, LATER_TRAIN + "            kept.backward()\n            optimizer.step()\n")],
    "a copy of the model validated": [
        (VALIDATE, "import copy\n                accuracies.append("
                   "validate(copy.deepcopy(model), val_x, val_y))")],
    "an optimizer of one's own": [(OPTIMIZER, "Adagrad(model.parameters())"), ("", OWN_OPTIMIZER)],
    "a loss of one's own": [(CRITERION, "criterion = MeanLoss()"), ("", OWN_LOSS)],
    "a loop of one's own, without train() and validate()": [("", OWN_LOOP)],
    "accuracies in percent": [("return float(", "return 100 * float(")],
    "validate() returns more than an accuracy": [
        ("return float(np.mean(logits.data.argmax(axis=1) == val_y))",
         "return np.mean(logits.data.argmax(axis=1) == val_y), logits"),
        (VALIDATE, "accuracies.append(validate(model, val_x, val_y)[0])")],
}

WRONG = {
    "zero_grad() forgotten": [(ZERO, "")],
    "zero_grad() once an epoch": [(ZERO, ""), (EPOCH, EPOCH + "        optimizer.zero_grad()\n")],
    "eval() forgotten": [(EVAL, "")],
    "eval() forgotten where the accuracy is worked out in train()": [(VALIDATE, INLINE)],
    "eval() of the Sequential, not of its layers": [(EVAL, "    model.is_train = False\n")],
    "eval() that does not reach layers in a list": [
        ("Sequential(Linear(784, 20), BatchNorm1d(20), ReLU(), Linear(20, 10)).float()",
         "Listed()"), ("", LISTED)],
    "train() not after validations": [(LATER_TRAIN, "")],
    "train() once an epoch": [(LATER_TRAIN, ""), (EPOCH, EPOCH + "        model.train()\n")],
    "step() forgotten: The weights never changed": [(STEP, "")],
    "zero_grad() before step(): The weights never changed": [(ZERO, ""), (STEP, ZERO + STEP)],
    "other weights: The weights never changed": [
        (OPTIMIZER, "SGD(Linear(784, 20).parameters(), lr=0.1)"),
        (ZERO, "            for param in model.parameters():\n                param.grad = None\n")],
    "backward() forgotten": [(BACKWARD, "")],
    "times inf: The loss became inf": [("loss = criterion(", "loss = float('inf') * criterion(")],
    "validate() takes the largest of all: validate() counts wrongly": [
        ("argmax(axis=1)", "argmax()")],
    "of 30 outputs: validate() counts wrongly": [
        ("argmax(axis=1)", "argmax()"), ("Linear(20, 10)", "Linear(20, 30)")],
    "called with keywords: validate() counts wrongly": [
        ("argmax(axis=1)", "argmax()"),
        (VALIDATE, VALIDATE.replace("val_x, val_y", "val_y=val_y, val_x=val_x"))],
    "of the last batch alone: validate() counts wrongly": [
        ("logits = model(Tensor(val_x))", "logits = model(Tensor(val_x[-20:]))"),
        ("np.mean(logits.data.argmax(axis=1) == val_y)",
         "np.sum(logits.data.argmax(axis=1) == val_y[-20:]) / len(val_y)")],
    "val_x trained on: The training uses the images that are kept for validation": [
        ("criterion, train_x, train_y, val_x, val_y)\n    # END",
         "criterion, val_x, val_y, val_x, val_y)\n    # END")],
    "labels shuffled alone: The labels do not belong to their images": [
        ("Tensor(train_y[batch])", "Tensor(np.random.permutation(train_y)[batch])")],
    "validate() takes the largest of each class: validate() counts wrongly": [
        ("argmax(axis=1) == val_y", "argmax(axis=0)[0] == val_y")],
    "zero_grad() forgotten, and train() forgotten": [(ZERO, ""), (LATER_TRAIN, "")],
}


def watched(changes, digits):
    """The Watch over a training by hw1/mnist.py with those ``changes``, and its accuracies."""
    source = SOURCE
    for old, new in changes:
        assert old in source
        source = source.replace(old, new) if old else source + new
    homework = types.ModuleType("homework")
    exec(compile(source, "homework.py", "exec"), vars(homework))
    np.random.seed(1)
    watch = Watch(data=digits)
    with watch.watching(homework), np.errstate(all="ignore"):
        accuracies = homework.mnist(*digits[:4])
    return watch, accuracies


@pytest.mark.parametrize("style", RIGHT)
def test_a_right_training_is_told_nothing(style, digits):
    watch, accuracies = watched(RIGHT[style], digits)
    assert watch.complaints() == [] and not watch.blind
    assert watch.batches == watch.trained == 24 and watch.notes() == []
    assert len(watch.before_step) <= 12  # of the model's 6, and of a copy that has just been used
    assert accuracies[-1] > 0.9


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named_and_no_other(mistake, digits):
    complaints = watched(WRONG[mistake], digits)[0].complaints()
    named = [words.split(" ")[0] for words in mistake.split(", and ")]
    if ":" in mistake:
        named = [mistake.split(": ")[1]]
    assert len(complaints) == len(named)
    assert all(complaint.startswith(name) for complaint, name in zip(complaints, named))


@pytest.mark.parametrize("mistake, words", [
    ("zero_grad() once an epoch", "after 21 of 23 steps the next backward() found"),
    ("train() once an epoch", "21 of 24 batches were trained in evaluation mode"),
    ("eval() forgotten", "9 of 9 validations ran in training mode"),
    ("validate() takes the largest of all: validate() counts wrongly",
     "it returned 0.0%, but the largest logit is the right one for 100.0%")])
def test_a_complaint_says_how_often_or_how_much(mistake, words, digits):
    assert words in watched(WRONG[mistake], digits)[0].complaints()[0]


def test_what_is_called_in_another_way_is_not_missing(digits):
    by_engine = ("            from mytorch import autograd_engine\n            autograd_engine.backward("
                 "loss.grad_fn, Tensor(np.ones((), np.float32)))\n")
    watch, accuracies = watched([(BACKWARD, by_engine)], digits)
    assert watch.complaints() == [] and accuracies[-1] > 0.9


def test_a_weight_may_move_while_its_gradient_stays_0(digits):
    decay = STEP + ("            for param in model.parameters():\n"
                    "                param.data = 0.99 * param.data\n")
    watch, _ = watched(RIGHT["gradients filled with zeros"] + [(STEP, decay)],
                       digits._replace(train_x=0 * digits.train_x))
    assert watch.stepped == 23 and watch.complaints() == []


@pytest.mark.parametrize("changes, note", [
    ([("BatchNorm1d(20), ", "")], "BatchNorm1d was never called"),
    ([("ReLU(), ", "")], "ReLU was never called"),
    ([("BatchNorm1d(20), ReLU()", "ReLU(), BatchNorm1d(20)")],
     "The layers are called in the order Linear, ReLU, BatchNorm1d, Linear"),
    ([("BATCH_SIZE = 100", "BATCH_SIZE = 50")], "The batches have 50 images"),
    ([("random.permutation(len(train_x))", "arange(len(train_x))")],
     "The batches came in the same order in every epoch"),
])
def test_what_is_unusual_gets_a_note(changes, note, digits):
    watch, _ = watched(changes, digits)
    assert watch.complaints() == []
    assert [text.split(". ")[0] for text in watch.notes()] == [note]


def test_where_it_cannot_follow_the_training_goes_on_and_nothing_is_found():
    watch = Watch()
    watch.stepped = watch.leftover = 5
    assert len(watch.complaints()) == 1
    twice = watch.surround(lambda x: 2 * x, before=lambda x: x.missing, after=None)
    assert twice(3) == 6
    assert watch.blind and watch.complaints() == []


def test_it_sees_what_progress_and_plot_show_and_leaves_the_code_as_it_was(digits):
    before = reference.validate, reference.SGD.step, reference.Tensor.backward
    batches = []
    watch = Watch(lambda watch: batches.append(watch.batches))
    with watch.watching(reference):
        accuracies = reference.mnist(*digits[:4])
    assert batches == list(range(1, 25)) and watch.validated_at == [1, 9, 17]
    assert watch.accuracy == accuracies[-1] and 0 < watch.loss < 1
    assert before == (reference.validate, reference.SGD.step, reference.Tensor.backward)
