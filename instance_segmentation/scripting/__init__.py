"""Scripts for people to read and change, and what they call."""
