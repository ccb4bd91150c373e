"""What predictions are computed with: arguments and their ranges. No law of its own; open to every topic of theory."""
