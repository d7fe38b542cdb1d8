"""Apache Parquet: where a file may be cut, how a part is written, how parts are proved.

:mod:`.bytes` knows the format and no files; :mod:`.layout` opens files; :mod:`.merging` says what
several sources have in common; :mod:`.curves`, :mod:`.sizes`, :mod:`.sampling` and :mod:`.insides`
say what rows will take in a part; :mod:`.writers` write parts; :mod:`.verifier` compares them with
their sources; :mod:`.profiler` shows what is in a file.
"""
