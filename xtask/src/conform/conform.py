"""Runs the real server and asks it as its users do. Exit codes: 0 all holds, 1 something does not, 2 nothing was found out."""

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

import metrics_page
import openai_client

KEY = "conform-0123456789abcdef"
START_S_MAX = 120
# 504 is what a short `x-request-timeout-ms` asks for, and the tool makes up short ones.
CONFIG = f"""
hooks = "{Path(__file__).with_name('hooks.py')}"
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 504]
"""


class NotFoundOut(Exception):
    """Nothing can be said about the server."""


@contextmanager
def server(binary, model, *flags):
    """A running server on a port of its own: gives its URL. It must end in order."""
    keys = Path("keys")
    keys.write_text(f"conform {KEY}\n")
    keys.chmod(0o600)
    command = [binary, "serve", "--model", f"minilm={model}", "--listen", "127.0.0.1:0", "--api-keys", str(keys), *flags]
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
                raise NotFoundOut("the server did not end within 60 s of SIGTERM") from None
    if code != 0:
        raise NotFoundOut(f"the server ended with {code}:\n{Path('inferd.log').read_text()[-2000:]}")


def listening(process, start):
    until = time.monotonic() + START_S_MAX
    while time.monotonic() < until:
        text = Path("inferd.log").read_text()[start:]
        for line in text.splitlines():
            if " listening url=http://" in line and line in text.split("\n"):
                return "http://" + line.rsplit("http://", 1)[1].strip()
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NotFoundOut("the server did not come up:\n" + Path("inferd.log").read_text()[start:])


def document(url):
    request = urllib.request.Request(url + "/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def schemathesis(url, described, examples, phases, include=None):
    """All its checks. Gives its exit code and what it printed."""
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
        raise NotFoundOut(f"schemathesis ended with {ran.returncode}:\n{ran.stdout}")
    return ran.returncode, ran.stdout


def check(binary, model, examples):
    found = []
    with server(binary, model) as url:
        code, text = schemathesis(url, document(url), examples, "examples,coverage,fuzzing,stateful")
        print(text if code else "\n".join(text.splitlines()[-25:]), flush=True)
        if code:
            found.append("schemathesis")
        found += openai_client.check(url, KEY, lambda *flags: server(binary, model, *flags))
        found += metrics_page.check(url)
    for name in found:
        print(f"does not hold: {name}")
    if not found:
        print("conform: the document is true, and OpenAI's client and Prometheus are content")
    return found


def rename(schema, old, new):
    schema["properties"][new] = schema["properties"].pop(old)
    schema["required"] = [new if name == old else name for name in schema["required"]]


def lies():
    """Each a false document: its name, the path to ask, the finding (`schemathesis explain ST…`) that must come of it, and how it is made."""
    schemas = lambda doc: doc["components"]["schemas"]
    result = lambda doc: schemas(doc)["RerankAnswer"]["properties"]["results"]["items"]
    operation = lambda doc, path: doc["paths"][path]["post"]
    return [
        ("a field of an answer is renamed", "/v1/rerank", "ST108",
         lambda doc: rename(result(doc), "relevance_score", "score")),
        ("a field of a request is renamed", "/tokenize", "ST202",
         lambda doc: rename(schemas(doc)["TokenizeRequest"], "inputs", "input")),
        ("a limit is left out", "/v1/embeddings", "ST202",
         lambda doc: schemas(doc)["EmbeddingsRequest"]["properties"]["dimensions"]["anyOf"][0].pop("maximum")),
        ("a limit is too strict", "/v1/rerank", "ST201",
         lambda doc: schemas(doc)["RerankRequest"]["properties"]["query"].update(minLength=5)),
        ("a status is not told", "/v1/infer", "ST103",
         lambda doc: operation(doc, "/v1/infer")["responses"].pop("400")),
        ("a media type is wrong", "/healthz", "ST105",
         lambda doc: doc["paths"]["/healthz"]["get"]["responses"]["200"].update(
             content={"text/plain": {"schema": {"type": "string"}}})),
        ("a header is promised that is not sent", "/v1/models", "ST107",
         lambda doc: doc["paths"]["/v1/models"]["get"]["responses"]["200"]["headers"].update(
             {"x-served-by": {"required": True, "schema": {"type": "string"}}})),
        ("a key is said to be needed where none is", "/metrics", "ST401",
         lambda doc: doc["paths"]["/metrics"]["get"].update(security=[{"key": []}])),
    ]


def self_check(binary, model, examples):
    missed = []
    with server(binary, model) as url:
        true = document(url)
        for name, path, finding, lie in lies():
            described = copy.deepcopy(true)
            lie(described)
            if described == true:
                raise NotFoundOut(f"nothing was changed for: {name}")
            code, text = schemathesis(url, described, examples, "examples,coverage,fuzzing", path)
            caught = code == 1 and f"- {finding} " in text
            print(f"{'caught' if caught else 'MISSED'}  {name}", flush=True)
            if not caught:
                missed.append(name)
                print(text)
    return missed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--self-check", action="store_true")
    args = parser.parse_args()
    run = self_check if args.self_check else check
    return 1 if run(args.binary, args.model, args.examples) else 0


if __name__ == "__main__":
    # Without this a SIGTERM would leave the server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except NotFoundOut as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:  # an uncaught one would end with 1, which means a finding
        import traceback
        traceback.print_exc()
        sys.exit(2)
