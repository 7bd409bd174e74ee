"""BatchNorm1d: normalises each feature over the batch.
Ioffe and Szegedy, Batch Normalization (2015), Algorithms 1, 2; running averages as in PyTorch."""

import numpy as np

import mytorch.nn.functional as F
from mytorch.nn.module import Module
from mytorch.tensor import Tensor


class BatchNorm1d(Module):
    """``y = gamma (x - mean) / sqrt(var + eps) + beta``, per feature.

    In training mode, mean and (biased) variance are those of the batch, and gradients flow
    through both. In evaluation mode they are the running averages, which training updates with
    the mean and the *unbiased* variance of each batch.

    Args:
        num_features (int): features of each input row.
        eps (float): added to the variance, so that a constant feature does not divide by 0.
        momentum (float): weight of the newest batch in the running averages.

    Attributes:
        gamma, beta (Tensor): parameters of shape (num_features,), starting at 1 and 0.
        running_mean, running_var (Tensor): constants of that shape, starting at 0 and 1.

    Raises:
        ValueError: at the call, for an input that is not (N, num_features), or for a batch
            of one row in training mode, whose unbiased variance is 0/0.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.num_features = num_features
        self.eps = float(eps)
        self.momentum = float(momentum)
        self.gamma = Tensor(np.ones(num_features), is_parameter=True)
        self.beta = Tensor(np.zeros(num_features), is_parameter=True)
        self.running_mean = Tensor(np.zeros(num_features))
        self.running_var = Tensor(np.ones(num_features))

    def forward(self, x):
        """x (Tensor): shape (N, num_features). Returns a Tensor of the same shape."""
        F.check_features("BatchNorm1d", x, self.num_features)
        # BEGIN SOLUTION 2.4: normalise, by the batch or by the averages
        if self.is_train:
            if len(x.data) < 2:
                raise ValueError(
                    f"BatchNorm1d: training needs at least 2 rows, got input {x.shape}")
            return F.BatchNorm.apply(x, self.gamma, self.beta, self.eps, self.update_averages)
        inverse_std = Tensor(1 / np.sqrt(self.running_var.data + self.eps))
        return self.gamma * ((x - self.running_mean) * inverse_std) + self.beta
        # END SOLUTION 2.4

    # BEGIN SOLUTION 2.4: methods of your own, if forward() needs them
    def update_averages(self, mean, variance, m):
        """``average <- (1 - momentum) average + momentum batch_value``, outside the graph; the
        batch's m rows have that mean and that biased variance."""
        for average, batch_value in ((self.running_mean, mean),
                                     (self.running_var, m / (m - 1) * variance)):
            new = (1 - self.momentum) * average.data + self.momentum * batch_value
            average.data = np.asarray(new, average.data.dtype)
    # END SOLUTION 2.4

    def extra_repr(self):
        """The sizes and options of the layer, for ``repr``."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
