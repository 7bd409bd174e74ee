"""The table of problems: the one place for numbers, titles, Autolab keys, points and hints.
Tests, runner, handout and Autolab package all read it; nothing else repeats it."""

from typing import NamedTuple, Tuple


class Problem(NamedTuple):
    """One line of the score.

    Attributes:
        number: as in the homework's text and in every TODO, such as "2.1".
        title: what is graded, as the report shows it.
        key: Autolab's name of the score.
        points: full score; there is no partial credit.
        defined: the student's code in question, "module:name", for "defined at".
        needs: numbers of the earlier problems that the tests of this one really use.
        time_limit: seconds for all tests of the problem together.
        by_hand: graded by a person; always 0 in the automatic score.
    """

    number: str
    title: str
    key: str
    points: int
    defined: str
    needs: Tuple[str, ...] = ()
    time_limit: float = 5.0
    by_hand: bool = False


FUNCTIONAL = "mytorch.nn.functional:"
LINEAR = "mytorch.nn.linear:Linear.forward"
BATCHNORM = "mytorch.nn.batchnorm:BatchNorm1d.forward"
CROSS_ENTROPY = FUNCTIONAL + "cross_entropy"
STEP = "mytorch.optim.sgd:SGD.step"
ENGINE = "mytorch.autograd_engine:backward"

PROBLEMS = (
    Problem("1.1", "Addition (given)", "addtest", 0, FUNCTIONAL + "Add.backward"),
    Problem("1.1.1", "Subtraction", "subtest", 5, FUNCTIONAL + "Sub.backward"),
    Problem("1.1.2", "Multiplication", "multest", 5, FUNCTIONAL + "Mul.backward"),
    Problem("1.1.3", "Division", "divtest", 5, FUNCTIONAL + "Div.backward"),
    Problem("1.2", "Autograd", "autogradtest", 25, ENGINE),
    Problem("2.1", "Linear forward", "Linear Forward", 2, LINEAR),
    Problem("2.1", "Linear backward", "Linear Backward", 8, LINEAR, ("1.2",)),
    Problem("2.2", "Linear, ReLU forward", "Linear ReLU Forward", 1, FUNCTIONAL + "ReLU.forward"),
    Problem("2.2", "Linear, ReLU backward", "Linear ReLU Backward", 1, FUNCTIONAL + "ReLU.backward",
            ("1.2",)),
    Problem("2.2", "(Linear, ReLU) × 2 forward", "Big Linear ReLU Forward", 1,
            FUNCTIONAL + "ReLU.forward", ("2.1",)),
    Problem("2.2", "(Linear, ReLU) × 2 backward", "Big Linear ReLU Backward", 2,
            FUNCTIONAL + "ReLU.backward", ("1.2", "2.1")),
    Problem("2.3", "Linear, ReLU: SGD step", "Linear ReLU SGD Step", 5, STEP),
    Problem("2.3", "(Linear, ReLU) × 2: SGD step", "Big Linear ReLU SGD Step", 5, STEP,
            ("1.2", "2.1", "2.2")),
    Problem("2.4", "Linear, BatchNorm, ReLU forward (train)",
            "Linear Batchnorm ReLU Forward (Train)", 1, BATCHNORM),
    Problem("2.4", "Linear, BatchNorm, ReLU backward (train)",
            "Linear Batchnorm ReLU Backward (Train)", 1, BATCHNORM, ("1.2",)),
    Problem("2.4", "Linear, BatchNorm, ReLU (train/eval)", "Linear Batchnorm ReLU Train/Eval", 2,
            BATCHNORM),
    Problem("2.4", "(Linear, BatchNorm, ReLU) × 2 (train/eval)",
            "Big Linear Batchnorm ReLU Train/Eval", 6, BATCHNORM, ("1.2", "2.1", "2.2", "2.3")),
    Problem("2.5", "Cross entropy forward", "Linear XELoss Forward", 4, CROSS_ENTROPY),
    Problem("2.5", "Cross entropy backward", "Linear XELoss Backward", 6, CROSS_ENTROPY, ("1.2",)),
    Problem("2.5", "(Linear, BatchNorm, ReLU) × 2, cross entropy (train/eval)",
            "Big Linear BN Relu XELoss Train/Eval", 5, CROSS_ENTROPY,
            ("1.2", "2.1", "2.2", "2.3", "2.4")),
    Problem("2.6", "Linear: momentum", "Linear Momentum Step", 3, STEP),
    Problem("2.6", "(Linear, BatchNorm, ReLU) × 2, cross entropy, momentum",
            "Big Linear ReLU XELoss Momentum Train/Eval", 7, STEP,
            ("1.2", "2.1", "2.2", "2.3", "2.4", "2.5")),
    Problem("3", "MNIST, graded by hand", "MNIST", 10, "hw1.mnist:mnist", by_hand=True),
)

BY_KEY = {problem.key: problem for problem in PROBLEMS}
GRADED = tuple(problem for problem in PROBLEMS if not problem.by_hand)
FULL_SCORE = sum(problem.points for problem in GRADED)

# Operators of Tensor that the handout leaves to write: sign → number of the problem, and method.
OPERATORS = {"-": ("1.1.1", "__sub__"), "*": ("1.1.2", "__mul__"), "/": ("1.1.3", "__truediv__")}

# How many functions and operators the handout leaves to write for a problem; 1 for all others.
LEFT_TO_WRITE = {"1.1.1": 3, "1.1.2": 3, "1.1.3": 3, "1.2": 4, "2.1": 3}

# What to think of when a result has wrong numbers: part of its label → hint, the first that fits.
HINTS = {
    "1.1.1": {"gradient of b": "b enters a - b with a minus sign, and so does its gradient"},
    "1.1.2": {"gradient": "the derivative with respect to one factor is the other factor, times "
                          "the upstream gradient"},
    "1.1.3": {"gradient of a": "d(a/b)/da = 1/b, times the upstream gradient",
              "gradient of b": "d(a/b)/db = -a/b², times the upstream gradient"},
    "1.2": {").": "a result requires grad if one of its inputs does, and is then not a leaf: set "
                  "both in Function.apply",
            "gradient": "follow next_functions down from grad_fn; gradients that meet are added up"},
    "2.1": {"output of the Sequential": "Sequential hands the output of each layer to the next",
            "output": "y = x Wᵀ + b, with W of shape (out_features, in_features)",
            "bias": "the bias is used once per row, so the rows of its gradient add up",
            "gradient": "for an upstream gradient G, that of W is Gᵀ x and that of x is G W"},
    "2.2": {"gradient": "the gradient passes where the input was above 0, and nowhere else, not at "
                        "0 either",
            "output": "ReLU keeps what is above 0 and replaces the rest by 0",
            "ReLU()": "ReLU keeps what is above 0 and replaces the rest by 0"},
    "2.3": {"": "W ← W - lr · gradient, on the .data of each parameter"},
    "2.4": {"running_mean": "running_mean ← (1 - momentum) · running_mean + momentum · mean",
            "running_var": "running_var ← (1 - momentum) · running_var + momentum · variance, "
                           "here with the unbiased variance, divided by m - 1",
            "in evaluation": "evaluation gives γ (x - running_mean) / √(running_var + ε) + β, and "
                             "changes neither average",
            "gradient of x": "mean and variance depend on x as well: gradients flow through them",
            "gradient": "for an upstream gradient G, that of β is the sum of the rows of G, and "
                        "that of γ the sum of the rows of G x̂",
            "output": "γ (x - mean) / √(variance + ε) + β, with mean and variance of each feature, "
                      "over the m rows of the batch, both divided by m"},
    "2.5": {"gradient": "(softmax - onehot) / N, times the upstream gradient",
            "loss": "the mean over the rows i of -log softmax(logits[i])[labels[i]]"},
    "2.6": {"": "v ← momentum · v - lr · gradient, W ← W + v, with one v for each parameter"},
}
