"""From a checkpoint to what is shipped: export, INT8, the choice of a model for a machine, benchmarks, checks."""
