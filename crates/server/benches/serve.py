#!/usr/bin/env python3
"""The running server beside sentence-transformers, in one run on the same cores: batch 1 and batch 32.

    python3 -m venv VENV
    VENV/bin/pip install torch sentence-transformers
    VENV/bin/python crates/server/benches/serve.py MODEL_DIR -- inferd serve

What follows `--` is started with `--model`, `--listen`, and as many threads as torch gets. One client on one kept connection
asks for base64; its time is from the call to the vectors as an array, so HTTP, JSON and base64 count. Texts of 8 to 128 words,
fixed seed. Rounds alternate, so that other load on the machine meets both; a call is a sample, and the best round of each
counts for the throughput. Vectors are compared too: speed without equality is worth nothing.

Data on stdout (one JSON object), a table on stderr. Exit 0 when measured, 1 when vectors differ, 2 when not measured.
"""

import base64
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time

ROUNDS = 5
BATCHES = (1, 32)
# Calls of one round for each batch size.
CALLS = {1: 48, 32: 4}
MAX_ABS = 1e-5


def texts(vocabulary, count):
    rng = random.Random(1)
    words = sorted(w for w in vocabulary if w.isalpha() and len(w) > 1)
    return [" ".join(rng.choices(words, k=rng.randint(8, 128))) for _ in range(count)]


class Server:
    def __init__(self, command, model_dir, threads):
        arguments = ["--model", model_dir, "--listen", "127.0.0.1:0", "--threads", str(threads)]
        # The connection idles while the reference computes.
        arguments += ["--log-format", "json", "--header-timeout", "10 min"]
        self.child = subprocess.Popen(command + arguments, stderr=subprocess.PIPE, text=True)
        for line in self.child.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                sys.exit(f"the server did not start: {line}{self.child.stderr.read()}")
            if event.get("message") == "listening":
                self.connection = http.client.HTTPConnection(event["url"].removeprefix("http://"), timeout=120)
                # Its log would fill the pipe: the server then drops lines and goes on.
                return
        sys.exit("the server did not start")

    def embed(self, numpy, lines):
        body = json.dumps({"input": lines, "encoding_format": "base64"})
        self.connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            sys.exit(f"the server answered {response.status}: {answer.decode()}")
        rows = json.loads(answer)["data"]
        return numpy.stack([numpy.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.stderr.close()
        self.child.wait()


def quantile(times, share):
    times = sorted(times)
    return times[min(len(times) - 1, int(share * len(times)))]


def measure(call, lines, batch):
    """Time of each call of a round."""
    times = []
    for first in range(0, len(lines), batch):
        start = time.perf_counter()
        call(lines[first : first + batch])
        times.append(time.perf_counter() - start)
    return times


def main():
    if "--" not in sys.argv or len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    model_dir, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]

    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    model = SentenceTransformer(model_dir, device="cpu")
    server = Server(command, model_dir, threads)
    try:
        result = {"threads": threads, "torch": torch.__version__, "batches": {}}
        for batch in BATCHES:
            lines = texts(model.tokenizer.get_vocab(), batch * CALLS[batch])
            calls = {
                "server": lambda part: server.embed(numpy, part),
                "reference": lambda part: model.encode(part, batch_size=batch, show_progress_bar=False),
            }
            for call in calls.values():
                measure(call, lines[: 4 * batch], batch)
            rounds = {name: [] for name in calls}
            for number in range(ROUNDS):
                # Each goes first in turn.
                for name in sorted(calls, reverse=number % 2 == 0):
                    rounds[name].append(measure(calls[name], lines, batch))
            distance = float(numpy.abs(calls["server"](lines[:64]) - calls["reference"](lines[:64])).max())
            row = {"texts": len(lines), "max_abs": distance}
            for name, taken in rounds.items():
                every = [seconds for times in taken for seconds in times]
                row[name] = {
                    "texts_per_second": round(len(lines) / min(sum(times) for times in taken), 1),
                    "p50_ms": round(1e3 * quantile(every, 0.5), 2),
                    "p99_ms": round(1e3 * quantile(every, 0.99), 2),
                }
            ours, theirs = row["server"], row["reference"]
            row["ratio"] = round(ours["texts_per_second"] / theirs["texts_per_second"], 3)
            row["ratio_p50"] = round(theirs["p50_ms"] / ours["p50_ms"], 3)
            row["ratio_p99"] = round(theirs["p99_ms"] / ours["p99_ms"], 3)
            result["batches"][batch] = row
            print(f"batch {batch}: texts/s, p50, p99", file=sys.stderr)
            for name in calls:
                one = row[name]
                print(f"  {name:<10} {one['texts_per_second']:>7} /s {one['p50_ms']:>8} ms {one['p99_ms']:>8} ms", file=sys.stderr)
            print(f"  ratio      {row['ratio']:>7}    {row['ratio_p50']:>8}    {row['ratio_p99']:>8}", file=sys.stderr)
    finally:
        server.stop()
    print(json.dumps(result))
    return 0 if all(row["max_abs"] < MAX_ABS for row in result["batches"].values()) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            sys.exit(2)
        raise
