"""Prove that parts equal their source: metadata, structure, and every value, in bounded memory.

* :mod:`.verifier.footers` compares what footers say: schema, metadata, row counts, codecs;
* :mod:`.verifier.structure` checks that a part's offsets and indexes point where they claim;
* :mod:`.verifier.groups` compares what the row groups of a part say side by side;
* :mod:`.verifier.projection` tells how much memory the rest will take, before it begins;
* :mod:`.verifier.values` reads both sides column by column in lockstep and compares bits, and
  recomputes statistics that do not repeat the source's (:mod:`.verifier.statistics`).

A difference is an error (:class:`engine.errors.Different`), never a result. What this cannot show:
that *other* readers agree; ``tests/witness`` does that.
"""

from __future__ import annotations

from engine.formats.parquet.verifier.run import projected_bytes, verify_parts
from engine.formats.parquet.verifier.structure import check_part_structure
from engine.formats.parquet.verifier.values import verify_column

__all__ = [
    "check_part_structure",
    "projected_bytes",
    "verify_column",
    "verify_parts",
]
