"""Names of the files that training leaves, and of the one that archiving makes."""

WEIGHTS = "weights.safetensors"
BEST_WEIGHTS = "weights_best.safetensors"
SOURCE = "network.py"
EVALUATION = "evaluation.json"
ARCHIVE = "iterations.parquet"
ARCHIVE_KIND = "archive"
