"""How a verdict comes about: what tests are made of, what runs in the student's process, the judge,
and the words in which it is told. Start with grading.py."""
