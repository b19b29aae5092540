"""SQL databases: our records, and tables and queries as sources."""
