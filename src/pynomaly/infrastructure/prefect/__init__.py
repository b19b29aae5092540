"""Prefect: finding an API, and a server of our own while one is needed."""
