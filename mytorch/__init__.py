"""MyTorch: a small PyTorch on NumPy alone, written to be read.
Start with hw1/README.md, the text; then autograd_engine.py, from top to bottom."""
