"""Parquet bytes, sans-IO: thrift-compact structures, the footer, page headers, both page indexes.

Nothing below this package opens a file: bytes go in, structures come out, and where bytes are
missing the functions say which ranges they need. Values of columns are not decoded here, except
the levels and dictionary indices that a cut passes through.
"""
