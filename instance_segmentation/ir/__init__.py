"""The exported network: from a checkpoint to an OpenVINO graph, its facts, its proof and a model that runs it."""
