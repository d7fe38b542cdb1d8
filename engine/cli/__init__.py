"""The command line: the only place with print, exit, environment and configuration files."""
