"""A limited process for a student's code: nothing of this homework is in here.
Start with isolation.py."""
