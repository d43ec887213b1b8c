"""Names of the files that training leaves."""

WEIGHTS = "weights.safetensors"
BEST_WEIGHTS = "weights_best.safetensors"
SOURCE = "network.py"
EVALUATION = "evaluation.json"
