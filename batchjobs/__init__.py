"""Fan a split out over many source files with Azure Batch, alone or from Azure Data Factory.

To live here: a client for Azure Batch, pools and their application package, one task a source file,
their monitoring, and the activity that Data Factory runs. Nothing of it is written yet.

Does not cover: splitting. A task calls the façade of ``engine``, which knows nothing of Batch.
"""
