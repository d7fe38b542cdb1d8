"""File formats that can be split, one package each."""
