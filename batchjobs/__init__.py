"""Fan a split out over many source files: one task a file, on Azure Batch or on this machine.

:mod:`batchjobs.cli` is ``evensplit batch``; ``batchjobs/DESIGN.md`` is the package's one page.

Does not cover: splitting. A task calls the façade of ``engine``, which knows nothing of Batch.
"""
