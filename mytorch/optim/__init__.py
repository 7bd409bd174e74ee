"""Optimizers: they change parameters by the gradients that backward() has stored.
optimizer.py is the base class, sgd.py stochastic gradient descent."""
