"""Line formats: text of which every line, or quoted run of lines, is a record: CSV, TSV, NDJSON.

A part is a byte range of the source that begins and ends where records do, behind the source's own
header; of a file compressed by gzip, a range of its text. Not covered: other compressions, UTF-16,
records that end in a lone carriage return.
"""
