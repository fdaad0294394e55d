#!/usr/bin/env python3
"""The server's estimate of anonymous memory, beside the measurement after its start, part by part.

    python3 xtask/src/bench/memory.py INFERD MODEL_DIR ..

Starts `INFERD serve` for each model with 1 and 2 threads and several batch sizes, reads the line that it logs after loading, and
ends it. Parts: `server` is the server's own threads and runtime, `models` is opening the models, `compute` is the first full
batch. One JSON object on stdout, in bytes, a table on stderr, in KiB. Exit codes: 0 measured, 2 not measured. It judges nothing; the test
`crates/server/tests/memory.rs` does.
"""

import json
import os
import subprocess
import sys

import common

PARTS = ("server", "models", "compute")


def memory_after_load(binary, model, threads, batch_tokens):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--no-memory-check", "--log-format", "json", "--model", model]
    command += ["--threads", str(threads), "--batch-tokens", str(batch_tokens)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        log = []
        for line in child.stderr:
            log.append(line)
            if '"memory_after_load"' in line:
                child.kill()
                return json.loads(line)
        raise common.NotMeasured(f"`{' '.join(command)}` exited before the model was loaded:\n{''.join(log)}")


def main():
    if len(sys.argv) < 3:
        raise common.NotMeasured(__doc__)
    binary, models = sys.argv[1], sys.argv[2:]
    machine = common.machine(binary)
    common.print_machine(machine)
    head = "".join(f"{part:>20}" for part in PARTS)
    print(f"{'KiB: estimate/measured':<28}{head}{'total':>20}{'ratio':>8}", file=sys.stderr)
    rows = []
    for model in models:
        name = os.path.basename(os.path.dirname(model) if model.endswith("/model") else model)
        for threads in (1, 2):
            for batch_tokens in (64, 256, 1024, 4096):
                line = memory_after_load(binary, model, threads, batch_tokens)
                pairs = [(line[f"{part}_estimate"], line.get(part)) for part in PARTS]
                pairs.append((line["estimate"], line.get("anonymous")))
                if any(measured is None for _, measured in pairs):
                    raise common.NotMeasured(f"the server could not read its /proc/self/status: {line}")
                cells = "".join(f"{f'{e >> 10}/{m >> 10}':>20}" for e, m in pairs)
                estimate, measured = pairs[-1]
                label = f"{name[:19]} {threads}t {batch_tokens}"
                print(f"{label:<28}{cells}{estimate / measured:>8.3f}  {common.tag(machine)}", file=sys.stderr)
                row = {"model": name, "threads": threads, "batch_tokens": batch_tokens, "ratio": round(estimate / measured, 4)}
                for part, (e, m) in zip((*PARTS, "total"), pairs, strict=True):
                    row[part] = {"estimate_bytes": e, "measured_bytes": m}
                rows.append(row)
    print(json.dumps({"machine": machine, "rows": rows}))
    return 0


if __name__ == "__main__":
    common.run(main)
