#!/usr/bin/env python3
"""Throughput and latency of the running server, beside sentence-transformers, in one run on the same cores: batch 1 and 32.

    python3 -m venv VENV
    VENV/bin/pip install torch sentence-transformers
    VENV/bin/python xtask/src/bench/serve.py MODEL_DIR -- inferd serve

The command after `--` is started with `--model`, `--listen`, and the number of threads that torch gets. One client on one kept
connection requests base64; its time is from the call to the vectors as an array, so HTTP, JSON and base64 are included. Texts
of 8 to 128 words, fixed seed. Rounds alternate, so that other load on the machine affects both; each call is a sample, and the
best round of each counts for the throughput. The vectors are compared: a throughput with wrong vectors is not a result.

One JSON object on stdout, a table on stderr. Exit codes: 0 measured, 1 the vectors differ, 2 not measured.
"""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time

import common

ROUNDS = 5
BATCHES = (1, 32)
# Calls of one round for each batch size.
CALLS = {1: 48, 32: 4}


class Server:
    def __init__(self, command, model_dir, threads):
        arguments = ["--model", model_dir, "--listen", "127.0.0.1:0", "--threads", str(threads)]
        # The connection is idle while the reference computes.
        arguments += ["--log-format", "json", "--header-timeout", "10 min"]
        self.child = subprocess.Popen(command + arguments, stderr=subprocess.PIPE, text=True)
        for line in self.child.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                raise common.NotMeasured(f"the server did not start: {line}{self.child.stderr.read()}") from None
            if event.get("message") == "listening":
                self.connection = http.client.HTTPConnection(event["url"].removeprefix("http://"), timeout=120)
                # Nothing reads the log from here on. When the pipe is full, the server drops lines.
                return
        raise common.NotMeasured("the server did not start")

    def embed(self, numpy, lines):
        body = json.dumps({"input": lines, "encoding_format": "base64"})
        self.connection.request("POST", "/v1/embeddings", body, {"content-type": "application/json"})
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise common.NotMeasured(f"the server answered {response.status}: {body.decode()}")
        rows = json.loads(body)["data"]
        return numpy.stack([numpy.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.stderr.close()
        self.child.wait()


def quantile(times, share):
    times = sorted(times)
    return times[min(len(times) - 1, int(share * len(times)))]


def measure(call, lines, batch):
    """Seconds of each call of a round."""
    times = []
    for first in range(0, len(lines), batch):
        start = time.perf_counter()
        call(lines[first : first + batch])
        times.append(time.perf_counter() - start)
    return times


def main():
    (model_dir, *_), command = common.arguments_and_command(__doc__)

    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    machine = common.machine(command[0])
    common.print_machine(machine)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    model = SentenceTransformer(model_dir, device="cpu")
    server = Server(command, model_dir, threads)
    try:
        result = {"machine": machine, "threads": threads, "torch": torch.__version__, "batches": {}}
        for batch in BATCHES:
            lines = common.texts(model.tokenizer.get_vocab(), batch * CALLS[batch])
            calls = {
                "server": lambda part: server.embed(numpy, part),
                "reference": lambda part: model.encode(part, batch_size=batch, show_progress_bar=False),
            }
            for call in calls.values():
                measure(call, lines[: 4 * batch], batch)
            rounds = {name: [] for name in calls}
            for number in range(ROUNDS):
                # The order alternates.
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
                print(f"  {name:<10} {one['texts_per_second']:>7} /s {one['p50_ms']:>8} ms {one['p99_ms']:>8} ms  {common.tag(machine)}",
                      file=sys.stderr)
            print(f"  ratio      {row['ratio']:>7}    {row['ratio_p50']:>8}    {row['ratio_p99']:>8}  {common.tag(machine)}",
                  file=sys.stderr)
    finally:
        server.stop()
    print(json.dumps(result))
    same = all(row["max_abs"] < common.MAX_ABS for row in result["batches"].values())
    return 0 if same else common.EXIT_DIFFERENT


if __name__ == "__main__":
    common.run(main)
