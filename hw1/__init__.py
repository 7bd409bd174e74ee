"""Homework 1: README.md is its text, and the place to start reading (hw1/README.md).
mnist.py is Problem 3, a network trained on MNIST."""
