"""Opened sources: footers, row groups, column chunks, pages. Asked once, kept with a bound."""
