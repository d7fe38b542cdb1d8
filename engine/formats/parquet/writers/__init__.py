"""What puts a part together: whole row groups are spliced, cut ones come column by column.

:mod:`.writers.splice` assembles parts; :mod:`.writers.transcode` makes a column chunk
out of some rows of another by decoding it. Both work on an opened source and a sink and know
neither plans nor Dask.
"""
