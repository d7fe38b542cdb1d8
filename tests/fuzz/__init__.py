"""Damaged files by the ten thousand: split must refuse them in a line, or keep what readers read.

:mod:`tests.fuzz.corpus` writes small good files, :mod:`tests.fuzz.mutate` damages one by a seed,
:mod:`tests.fuzz.judge` splits it and asks readers of others, :mod:`tests.fuzz.run` does so in
forks.
"""
