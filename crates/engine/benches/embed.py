#!/usr/bin/env python3
"""Throughput of an embedding program compared with sentence-transformers, in one run on the same cores.

    python3 -m venv VENV
    VENV/bin/pip install torch sentence-transformers
    VENV/bin/python crates/engine/benches/embed.py MODEL_DIR -- inferd embed --model MODEL_DIR

The command after `--` reads one text per line from stdin and writes one JSON object per line, `{"index": 0,
"embedding": [...]}`, as `inferd embed` does. The input is 256 texts of 8 to 128 words from a fixed seed; the reference
uses batches of 32. Rounds alternate, so other load on the machine affects both programs; the best round of each counts.
The time of the program includes its start and the loading of the model; a second result subtracts the time of a run with
one text. The vectors are compared as well.

Output: one JSON object on stdout, progress on stderr. Exit status: 0 measured, 1 the vectors differ, 2 not measured.
"""

import json
import os
import random
import subprocess
import sys
import time

ROUNDS = 4
TEXTS = 256
MAX_ABS = 1e-5


def texts(vocabulary):
    rng = random.Random(1)
    words = sorted(w for w in vocabulary if w.isalpha() and len(w) > 1)
    return [" ".join(rng.choices(words, k=rng.randint(8, 128))) for _ in range(TEXTS)]


def run(command, lines):
    start = time.perf_counter()
    child = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if child.returncode != 0:
        sys.exit(f"`{' '.join(command)}` exited with status {child.returncode}:\n{child.stderr}")
    rows = sorted((json.loads(line) for line in child.stdout.splitlines()), key=lambda row: row["index"])
    return seconds, [row["embedding"] for row in rows]


def main():
    if "--" not in sys.argv or len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    model_dir, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]

    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = SentenceTransformer(model_dir, device="cpu")
    lines = texts(model.tokenizer.get_vocab())
    tokens = sum(len(model.tokenizer(line)["input_ids"]) for line in lines)
    model.encode(lines[:32])

    reference, program, start_up = [], [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        expected = model.encode(lines, batch_size=32)
        reference.append(time.perf_counter() - start)
        seconds, found = run(command, lines)
        program.append(seconds)
        start_up.append(run(command, lines[:1])[0])
        print(f"round {number}: reference {reference[-1]:.3f} s, program {seconds:.3f} s, "
              f"of which start {start_up[-1]:.3f} s", file=sys.stderr)
    distance = float(numpy.abs(numpy.array(found, dtype=numpy.float32) - expected).max())
    total, without_start = min(program), min(program) - min(start_up)
    print(json.dumps({
        "texts": TEXTS, "tokens": tokens, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "reference_texts_per_second": round(TEXTS / min(reference), 1),
        "program_texts_per_second": round(TEXTS / total, 1),
        "program_texts_per_second_without_start": round((TEXTS - 1) / without_start, 1),
        "ratio": round(min(reference) / total, 3),
        "ratio_without_start": round(min(reference) / without_start, 3),
        "max_abs": distance,
    }))
    return 0 if distance < MAX_ABS else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            sys.exit(2)
        raise
