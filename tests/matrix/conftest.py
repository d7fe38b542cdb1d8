from tests.sources.fixtures import source_file

__all__ = ["source_file"]
