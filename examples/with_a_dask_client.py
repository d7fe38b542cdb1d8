"""Write parts on a Dask cluster: ``with_a_dask_client.py big.parquet parts/ ADDRESS``.

Workers must see the same storage under the same paths, and have the same version of evensplit.
"""

import sys

from distributed import Client

import evensplit

if __name__ == "__main__":
    source, destination, address = sys.argv[1:4]
    with Client(address) as client:
        result = evensplit.split(source, destination, parts=4, client=client)
        print(len(result.manifest.parts), "parts")
