"""Look at skew, plan, split, each as a cell: ``in_a_notebook.py big.parquet parts/``."""

# %% What is in the file? Footers and page indexes are read, nothing else.
import sys

import evensplit

source, destination = sys.argv[1], sys.argv[2]
profile = evensplit.profile(source)
print(profile.frame("row_groups").head())

# %% What would a split write? Nothing is written yet.
plan = evensplit.plan(source, parts=4)
print(f"{len(plan.parts)} parts, the largest {1 + plan.spread:.3f} times the mean")

# %% Write it, and prove it.
result = evensplit.split(source, destination, parts=4, verify=True)
assert result.verification is not None
print(f"{result.verification.num_values} values are equal")
