"""What people do to their data before training: find it, examine it, repair it, convert it, split it. Needs no torch."""
