"""What recordings become as images of time and frequency."""
