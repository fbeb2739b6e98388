#!/bin/sh
# For a machine with an NVIDIA GPU, Python and the packages of constraints.txt: compares embeddings
# with fp32 on the CPU, then measures throughput without HTTP, by batch size and precision, and
# throughput of the server. Takes a few minutes; prints Markdown tables.
#
#     sh benchmarks/throughput/gpu.sh > gpu.md
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
timeout 60 "$PYTHON" -m app.cli import ViT-B-32-quickgelu --random --out "$folder/ViT-B-32-random"
for checkpoint in weights/mumic-demo "$folder/ViT-B-32-random"; do
    timeout 120 "$PYTHON" -m benchmarks.throughput.device_check "$checkpoint" --device "${DEVICE:-cuda}"
    echo
    timeout 120 "$PYTHON" -m benchmarks.throughput.served "$checkpoint" --seconds 3
    echo
done
