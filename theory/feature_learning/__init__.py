"""What gradient descent learns of its features, and when."""
