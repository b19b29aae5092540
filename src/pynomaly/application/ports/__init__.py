"""What the application needs from the outside world, as Protocols grouped by concern."""
