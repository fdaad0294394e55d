#!/usr/bin/env python3
"""Throughput of a program that embeds, beside sentence-transformers, in one run on the same cores.

    python3 -m venv VENV
    VENV/bin/pip install torch sentence-transformers
    VENV/bin/python crates/engine/benches/embed.py MODEL_DIR -- inferd embed --model MODEL_DIR

What follows `--` reads one text a line on stdin and writes one JSON object a line, `{"index": 0, "embedding": [...]}`,
as `inferd embed` does. 256 texts of 8 to 128 words, fixed seed; batch 32 for the reference. Rounds alternate, so that
other load on the machine meets both; the best round of each counts. The program's time includes its start and the
loading of the model, unless a warm-up of one text is subtracted (both are printed). Vectors are compared too: speed
without equality is worth nothing.

Data on stdout (one JSON object), talk on stderr. Exit 0 when measured, 1 when vectors differ, 2 when not measured.
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
        sys.exit(f"`{' '.join(command)}` ended with {child.returncode}:\n{child.stderr}")
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
              f"of it start {start_up[-1]:.3f} s", file=sys.stderr)
    distance = float(numpy.abs(numpy.array(found, dtype=numpy.float32) - expected).max())
    whole, net = min(program), min(program) - min(start_up)
    print(json.dumps({
        "texts": TEXTS, "tokens": tokens, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "reference_texts_per_second": round(TEXTS / min(reference), 1),
        "program_texts_per_second": round(TEXTS / whole, 1),
        "program_texts_per_second_without_start": round((TEXTS - 1) / net, 1),
        "ratio": round(min(reference) / whole, 3),
        "ratio_without_start": round(min(reference) / net, 3),
        "max_abs": distance,
    }))
    return 0 if distance < MAX_ABS else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
