"""Lines that become Parquet: CSV, TSV and NDJSON, read with a schema that is settled before a plan.

Records are found by :mod:`engine.formats.lines`; here their values get types and are written by
pyarrow. Not covered: some of what lies within a key, types within types of delimited text.
"""
