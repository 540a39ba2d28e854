"""What a run was made of and gave, and what is told of it: reports, cards, comparisons."""
