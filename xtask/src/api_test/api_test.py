"""Runs the packed server and tests its HTTP API. Exit codes: 0 no finding, 1 findings, 2 not measured."""

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import metrics_checks
import openai_checks

KEY = "api-test-0123456789abcdef"
START_TIMEOUT_S = 120
# schemathesis generates short values of `x-request-timeout-ms`, and 504 is the correct response to them.
CONFIG = f"""
hooks = "{Path(__file__).with_name('hooks.py')}"
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 504]
"""


class NotMeasured(Exception):
    """Nothing can be said about the server."""


@contextmanager
def server(binary, model, *flags):
    """Starts a server on a free port and yields its URL. The server must exit with 0 after SIGTERM."""
    keys = Path("keys")
    keys.write_text(f"api-test {KEY}\n")
    keys.chmod(0o600)
    command = [binary, "serve", "--model", f"minilm={model}", "--listen", "127.0.0.1:0", "--api-keys", str(keys),
               "--allow-token-ids", *flags]
    with open("inferd.log", "a+") as log:
        start = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield listening(process, start)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise NotMeasured("the server did not exit within 60 s after SIGTERM") from None
    if code != 0:
        raise NotMeasured(f"the server exited with {code}:\n{Path('inferd.log').read_text()[-2000:]}")


def listening(process, start):
    """Polls the log from offset `start` until it has a complete line with the URL."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = Path("inferd.log").read_text()[start:]
        for line in text.splitlines():
            if " listening url=http://" in line and line in text.split("\n"):
                return "http://" + line.rsplit("http://", 1)[1].strip()
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NotMeasured("the server did not start:\n" + Path("inferd.log").read_text()[start:])


def document(url):
    request = urllib.request.Request(url + "/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def schemathesis(url, described, examples, phases, include=None):
    """Runs all checks of schemathesis. Returns its exit code and its output."""
    Path("schemathesis.toml").write_text(CONFIG)
    Path("openapi.json").write_text(json.dumps(described))
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "--config-file", "schemathesis.toml", "run", "openapi.json", "--url", url, "--checks", "all"]
    command += ["--phases", phases, "--max-examples", str(examples), "--header", f"Authorization: Bearer {KEY}"]
    command += ["--request-timeout", "60", "--seed", "1", "--continue-on-failure"]
    if include:
        command += ["--include-path", include]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ran.returncode not in (0, 1):
        raise NotMeasured(f"schemathesis exited with {ran.returncode}:\n{ran.stdout}")
    return ran.returncode, ran.stdout


def check(binary, model, examples):
    findings = []
    with server(binary, model) as url:
        code, text = schemathesis(url, document(url), examples, "examples,coverage,fuzzing,stateful")
        print(text if code else "\n".join(text.splitlines()[-25:]), flush=True)
        if code:
            findings.append("schemathesis")
        findings += openai_checks.check(url, KEY, lambda *flags: server(binary, model, *flags))
        findings += metrics_checks.check(url)
    for finding in findings:
        print(f"FAIL  {finding}")
    if not findings:
        print("api-test: schemathesis, the OpenAI client and the Prometheus parser have no finding")
    return findings


def rename(schema, old, new):
    schema["properties"][new] = schema["properties"].pop(old)
    schema["required"] = [new if name == old else name for name in schema["required"]]


def false_documents():
    """For each false document: name, path to test, expected finding (`schemathesis explain ST…`), and the change that makes it."""
    schemas = lambda doc: doc["components"]["schemas"]
    result = lambda doc: schemas(doc)["RerankResponse"]["properties"]["results"]["items"]
    operation = lambda doc, path: doc["paths"][path]["post"]
    return [
        ("response field renamed", "/v1/rerank", "ST108",
         lambda doc: rename(result(doc), "relevance_score", "score")),
        ("request field renamed", "/tokenize", "ST202",
         lambda doc: rename(schemas(doc)["TokenizeRequest"], "inputs", "input")),
        ("limit missing", "/v1/embeddings", "ST202",
         lambda doc: schemas(doc)["EmbeddingsRequest"]["properties"]["dimensions"]["anyOf"][0].pop("maximum")),
        ("limit too strict", "/v1/rerank", "ST201",
         lambda doc: schemas(doc)["RerankRequest"]["properties"]["query"].update(minLength=5)),
        ("status missing", "/v1/infer", "ST103",
         lambda doc: operation(doc, "/v1/infer")["responses"].pop("400")),
        ("wrong media type", "/healthz", "ST105",
         lambda doc: doc["paths"]["/healthz"]["get"]["responses"]["200"].update(
             content={"text/plain": {"schema": {"type": "string"}}})),
        ("header documented and not sent", "/v1/models", "ST107",
         lambda doc: doc["paths"]["/v1/models"]["get"]["responses"]["200"]["headers"].update(
             {"x-served-by": {"required": True, "schema": {"type": "string"}}})),
        ("key documented as required where it is optional", "/metrics", "ST401",
         lambda doc: doc["paths"]["/metrics"]["get"].update(security=[{"key": []}])),
    ]


def self_check(binary, model, examples):
    missed = []
    with server(binary, model) as url:
        correct = document(url)
        for name, path, finding, change in false_documents():
            described = copy.deepcopy(correct)
            change(described)
            if described == correct:
                raise NotMeasured(f"the change `{name}` had no effect")
            code, text = schemathesis(url, described, examples, "examples,coverage,fuzzing", path)
            detected = code == 1 and f"- {finding} " in text
            print(f"{'detected' if detected else 'MISSED'}  {name}", flush=True)
            if not detected:
                missed.append(name)
                print(text)
    return missed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--self-check", action="store_true")
    parser.add_argument("--findings", type=Path, help="file for the names of the findings, as a JSON list")
    args = parser.parse_args()
    run = self_check if args.self_check else check
    findings = run(args.binary, args.model, args.examples)
    if args.findings:
        args.findings.write_text(json.dumps(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    # The default action of SIGTERM would skip the `finally` that ends the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except NotMeasured as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:  # an uncaught exception would exit with 1, which means a finding
        import traceback
        traceback.print_exc()
        sys.exit(2)
