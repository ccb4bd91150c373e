"""What one attention layer with random heads can learn, from the spectrum of its kernel."""
