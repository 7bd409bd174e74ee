"""Operations (functional.py) and the layers and losses made of them, one idea per file.
Imports nothing, so that functional.py can be loaded before any layer."""
