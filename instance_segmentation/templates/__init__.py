"""Templates: what a template.yaml may say, where the packaged ones lie, and how one becomes a work dir. Torch-free."""
