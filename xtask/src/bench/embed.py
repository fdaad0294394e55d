#!/usr/bin/env python3
"""Throughput of a program that embeds, beside sentence-transformers, in one run on the same cores.

    python3 -m venv VENV
    VENV/bin/pip install torch sentence-transformers
    VENV/bin/python xtask/src/bench/embed.py MODEL_DIR -- inferd embed --model MODEL_DIR

The command after `--` reads one text per line on stdin and writes one JSON object per line,
`{"index": 0, "embedding": [...]}`, as `inferd embed` does. 256 texts of 8 to 128 words, fixed seed; batch 32 for the
reference. Rounds alternate, so that other load on the machine affects both; the best round of each counts. The program's
time includes process start and model load; the result without them subtracts a run with one text. The vectors are compared:
a throughput with wrong vectors is not a result.

One JSON object on stdout, progress on stderr. Exit codes: 0 measured, 1 the vectors differ, 2 not measured.
"""

import json
import os
import subprocess
import sys
import time

import common

ROUNDS = 4
TEXTS = 256


def embed(command, lines):
    """Seconds and vectors of one run of the program."""
    start = time.perf_counter()
    child = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if child.returncode != 0:
        raise common.NotMeasured(f"`{' '.join(command)}` exited with {child.returncode}:\n{child.stderr}")
    rows = sorted((json.loads(line) for line in child.stdout.splitlines()), key=lambda row: row["index"])
    return seconds, [row["embedding"] for row in rows]


def main():
    (model_dir, *_), command = common.arguments_and_command(__doc__)

    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    machine = common.machine(command[0])
    common.print_machine(machine)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(model_dir, device="cpu")
    lines = common.texts(model.tokenizer.get_vocab(), TEXTS)
    tokens = sum(len(model.tokenizer(line)["input_ids"]) for line in lines)
    model.encode(lines[:32])

    reference, program, start_up = [], [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        expected = model.encode(lines, batch_size=32)
        reference.append(time.perf_counter() - start)
        seconds, found = embed(command, lines)
        program.append(seconds)
        start_up.append(embed(command, lines[:1])[0])
        print(f"round {number}: reference {reference[-1]:.3f} s, program {seconds:.3f} s, "
              f"one text {start_up[-1]:.3f} s  {common.tag(machine)}", file=sys.stderr)
    distance = float(numpy.abs(numpy.array(found, dtype=numpy.float32) - expected).max())
    total, without_start = min(program), min(program) - min(start_up)
    print(json.dumps({
        "machine": machine,
        "texts": TEXTS, "tokens": tokens, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "reference_texts_per_second": round(TEXTS / min(reference), 1),
        "program_texts_per_second": round(TEXTS / total, 1),
        "program_texts_per_second_without_start": round((TEXTS - 1) / without_start, 1),
        "ratio": round(min(reference) / total, 3),
        "ratio_without_start": round(min(reference) / without_start, 3),
        "max_abs": distance,
    }))
    return 0 if distance < common.MAX_ABS else common.EXIT_DIFFERENT


if __name__ == "__main__":
    common.run(main)
