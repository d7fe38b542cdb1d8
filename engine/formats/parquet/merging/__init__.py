"""What several sources mean when they become one file.

A part's footer speaks for all of its rows, and these may come from several files: of other
writers, with other metadata, other habits in what they say of a row group. Decided here, once, for
row groups that are copied, cut or merged alike:

* :mod:`.merging.keys`: key-value metadata. What changes how values are read must agree, or the
  split is refused; what can be made true of all is; what is merely told is kept where all agree.
* :mod:`.merging.writer`: ``created_by``, by which readers judge bounds and encodings.
* :mod:`.merging.groups`: what row groups say of themselves side by side: bounds, ordinals,
  sorting columns, page indexes.

The plan asks :func:`check_mergeable` before any work, whoever writes a part asks :func:`merged`,
and whoever proves one asks it again. Schemas are compared elsewhere (:mod:`.layout`).
"""

from engine.formats.parquet.merging.file import Merged, check_mergeable, merged
from engine.formats.parquet.merging.groups import agree, is_agreed, keep_order_of_pieces
from engine.formats.parquet.merging.keys import Named

__all__ = [
    "Merged",
    "Named",
    "agree",
    "check_mergeable",
    "is_agreed",
    "keep_order_of_pieces",
    "merged",
]
