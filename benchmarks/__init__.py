"""Measurements on real input, against ``cp`` and against other tools; `make bench` runs them.

``python -m benchmarks`` prints one table a benchmark; see ``--help``. Inputs are TPC-H lineitem
files made by tpchgen-cli under ``.bench/``. Nothing here is imported by the product or its tests.
"""
