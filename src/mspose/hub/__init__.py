"""Files that others publish, by name: the table of them (`table`), and how they get into the cache (`cache`)."""
