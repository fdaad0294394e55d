#!/usr/bin/env python3
"""Compares the server's estimate of anonymous memory with the measurement of a start, part by part.

    python3 crates/server/benches/memory.py INFERD MODEL_DIR ..

Starts `INFERD serve` for each model with 1 and 2 threads and several batch sizes, reads the event `memory_after_load`, and kills
the server. Parts: `server` is the threads and runtime of the server, `models` the opening of the models, `compute` the first full
batch. Prints a table in KiB. Exit code 0, or 2 when a value could not be measured. It asserts nothing; the test
`crates/server/tests/memory.rs` does.
"""

import json
import os
import subprocess
import sys

PARTS = ("server", "models", "compute")


def after_load(binary, model, threads, batch_tokens):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--no-memory-check", "--log-format", "json", "--model", model]
    command += ["--threads", str(threads), "--batch-tokens", str(batch_tokens)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        log = []
        for line in child.stderr:
            log.append(line)
            if '"memory_after_load"' in line:
                child.kill()
                return json.loads(line)
        sys.exit(f"`{' '.join(command)}` ended before it had loaded:\n{''.join(log)}")


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    binary, models = sys.argv[1], sys.argv[2:]
    head = "".join(f"{part:>20}" for part in PARTS)
    print(f"{'KiB: estimate/measured':<28}{head}{'all':>20}{'ratio':>8}")
    for model in models:
        name = os.path.basename(os.path.dirname(model) if model.endswith("/model") else model)
        for threads in (1, 2):
            for batch_tokens in (64, 256, 1024, 4096):
                line = after_load(binary, model, threads, batch_tokens)
                pairs = [(line[f"{part}_estimate"], line.get(part)) for part in PARTS]
                pairs.append((line["estimate"], line.get("anonymous")))
                if any(measured is None for _, measured in pairs):
                    sys.exit(f"not measured: /proc/self/status of the server could not be read: {line}")
                cells = "".join(f"{f'{e >> 10}/{m >> 10}':>20}" for e, m in pairs)
                estimate, measured = pairs[-1]
                label = f"{name[:19]} {threads}t {batch_tokens}"
                print(f"{label:<28}{cells}{estimate / measured:>8.3f}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
