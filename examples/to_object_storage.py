"""Write parts into a store: ``to_object_storage.py big.parquet memory://parts``.

Any URL of fsspec does: ``s3://bucket/parts``, ``gs://bucket/parts``. For ``abfss://`` the bytes are
copied by the service where the source is there too.
"""

import sys

import evensplit

if __name__ == "__main__":
    source, destination = sys.argv[1:3]
    result = evensplit.split(source, destination, target_size="1MB")
    print(evensplit.verify(destination).num_parts, "parts are proved")
