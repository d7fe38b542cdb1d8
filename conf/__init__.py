"""Files that travel with evensplit as the package ``evensplit_conf``: see ``engine.conf``."""
