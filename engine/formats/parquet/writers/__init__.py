"""What puts a part together: whole row groups are spliced, cut ones come column by column.

:mod:`.writers.splice` assembles parts; :mod:`.writers.make` makes a column chunk out of some rows
of others. Both work on an opened source and a sink and know neither plans nor Dask.
"""
