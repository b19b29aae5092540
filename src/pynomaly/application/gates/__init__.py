"""Release gates that need no labels, and one that uses them where they exist."""
