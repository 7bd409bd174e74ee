"""What ./grade.sh m needs for Problem 3: the digits, a watch on the training, the plot.
test_mnist.py, one folder up, puts them together."""
