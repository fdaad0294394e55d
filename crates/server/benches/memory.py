#!/usr/bin/env python3
"""The server's estimate of anonymous memory beside what its start took, part by part.

    python3 crates/server/benches/memory.py INFERD MODEL_DIR ..

Starts `INFERD serve` for each model with 1 and 2 threads and several batch sizes, reads the line that it logs after loading,
and ends it. Parts: `server` is the server's own threads and runtime, `models` what opening the models took, `compute` what
the first full batch took. A table on stdout, in KiB. Exit 0 when measured, 2 when not. It asserts nothing; the test
`crates/server/tests/memory.rs` does.
"""

import json
import os
import subprocess
import sys

PARTS = ("server", "models", "compute")


def after_load(binary, model, threads, batch_tokens):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--no-memcheck", "--log-format", "json", "--model", model]
    command += ["--threads", str(threads), "--batch-tokens", str(batch_tokens)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        said = []
        for line in child.stderr:
            said.append(line)
            if '"memory_after_load"' in line:
                child.kill()
                return json.loads(line)
        sys.exit(f"`{' '.join(command)}` ended before it had loaded:\n{''.join(said)}")


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    binary, models = sys.argv[1], sys.argv[2:]
    head = "".join(f"{part:>20}" for part in PARTS)
    print(f"{'KiB: estimate/taken':<28}{head}{'all':>20}{'ratio':>8}")
    for model in models:
        name = os.path.basename(os.path.dirname(model) if model.endswith("/model") else model)
        for threads in (1, 2):
            for batch_tokens in (64, 256, 1024, 4096):
                line = after_load(binary, model, threads, batch_tokens)
                pairs = [(line[f"{part}_estimate"], line[part]) for part in PARTS]
                pairs.append((line["estimate"], line["anonymous"]))
                if any(not taken.isdigit() for _, taken in pairs):
                    sys.exit(f"not measured: /proc/self/status of the server could not be read: {line}")
                cells = "".join(f"{f'{int(e) >> 10}/{int(t) >> 10}':>20}" for e, t in pairs)
                estimate, taken = (int(value) for value in pairs[-1])
                label = f"{name[:19]} {threads}t {batch_tokens}"
                print(f"{label:<28}{cells}{estimate / taken:>8.3f}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
