"""Running a network on pictures: masks, drawing. Needs no torch."""
