"""Local files: finding them, and replacing them atomically."""
