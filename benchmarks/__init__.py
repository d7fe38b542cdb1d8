"""Measurements on real input, against ``cp`` and against other tools; `make bench` runs them.

``python -m benchmarks`` prints one table a benchmark; see ``--help``. A benchmark is a module whose
``figures`` yields the rows of its table. Inputs are made under ``.bench/``, what was found is kept
in ``build/bench``, from which ``benchmarks.page`` writes docs/performance.md. Nothing here is
imported by the product.
"""
