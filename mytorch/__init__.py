"""MyTorch: a small PyTorch on NumPy alone, written to be read.
Start with tensor.py for the interface, autograd_engine.py for how gradients come about."""
