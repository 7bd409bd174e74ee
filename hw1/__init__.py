"""Homework 1: what students do with their MyTorch.
mnist.py is Problem 3, a network trained on MNIST."""
