"""Tests the server with the official OpenAI client, unchanged."""

import math
import threading
import time

import openai

# Takes longer than every time limit below on a fast machine, and some seconds on a slow one.
LONG = ["the quick brown fox jumps over the lazy dog " * 25] * 200


def close(a, b):
    return all(abs(x - y) < 1e-6 for x, y in zip(a, b, strict=True))


def raises(kind, status, call):
    try:
        call()
    except kind as error:
        assert status is None or error.status_code == status, f"{error.status_code} instead of {status}"
        return error
    raise AssertionError(f"no {kind.__name__}")


def checks(url, key):
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=120)
    create = lambda **arguments: client.embeddings.create(**{"model": "minilm", **arguments})
    # The client requests base64 by default and decodes it.
    one = create(input="hello world")
    vector = one.data[0].embedding

    def string():
        assert len(vector) == 384 and abs(math.hypot(*vector) - 1) < 1e-5
        assert one.usage.prompt_tokens == one.usage.total_tokens == 4 and one.model == "minilm"

    def strings_in_order():
        many = create(input=["hello world", "", "a cat"])
        assert [item.index for item in many.data] == [0, 1, 2] and close(many.data[0].embedding, vector)

    def token_arrays():
        ids = [101, 7592, 2088, 102]
        assert close(create(input=ids).data[0].embedding, vector)
        assert close(create(input=[[101, 102], ids]).data[1].embedding, vector)

    def float_and_base64():
        assert close(create(input="hello world", encoding_format="float").data[0].embedding, vector)
        raw = create(input="hello world", encoding_format="base64").data[0].embedding
        assert isinstance(raw, str) or close(raw, vector)

    def dimensions():
        short = create(input="hello world", dimensions=64, user="test").data[0].embedding
        assert len(short) == 64 and abs(math.hypot(*short) - 1) < 1e-5

    def models():
        assert [model.id for model in client.models.list()] == ["minilm"]
        assert client.models.retrieve("minilm").object == "model"

    def bad_requests():
        for wrong in [{"dimensions": 385}, {"input": []}, {"input": [[]]}, {"input": [40000]}]:
            error = raises(openai.BadRequestError, 400, lambda: create(**{"input": "a", **wrong}))
            assert error.type == "invalid_request_error" and error.code == "invalid_value" and error.param in wrong

    def not_found():
        error = raises(openai.NotFoundError, 404, lambda: create(input="a", model="other"))
        assert error.code == "model_not_found" and error.param == "model"
        raises(openai.NotFoundError, 404, lambda: client.post("/chat/completions", cast_to=object, body={}))

    def authentication():
        other = openai.OpenAI(base_url=url + "/v1", api_key="sk-wrong-0123456789abcdef", max_retries=0)
        error = raises(openai.AuthenticationError, 401, lambda: other.models.list())
        assert error.code == "invalid_api_key"

    def server_timeout():
        late = lambda: create(input=LONG, extra_headers={"x-request-timeout-ms": "20"})
        assert raises(openai.InternalServerError, 504, late).code == "timeout"

    def client_timeout():
        raises(openai.APITimeoutError, None, lambda: create(input=LONG, timeout=0.2))

    def request_id():
        raw = client.embeddings.with_raw_response.create(model="minilm", input="a")
        assert raw.headers["x-request-id"] and raw.parse()._request_id

    return [string, strings_in_order, token_arrays, float_and_base64, dimensions, models, bad_requests, not_found,
            authentication, server_timeout, client_timeout, request_id]


def async_client(url, key):
    import asyncio

    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, timeout=120) as client:
            responses = await asyncio.gather(*(client.embeddings.create(model="minilm", input=f"text {n}") for n in range(20)))
            assert all(len(response.data[0].embedding) == 384 for response in responses)

    asyncio.run(run())


def retry_after(url, key):
    """`--max-inflight 1`, and the one permit is held: the client waits for `Retry-After` and succeeds."""
    seen = []

    def record(response):
        seen.append((response.status_code, time.monotonic(), response.headers.get("retry-after")))

    retrying = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=100, timeout=120,
                            http_client=openai.DefaultHttpxClient(event_hooks={"response": [record]}))
    single_try = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=120)
    create = lambda client, text: client.embeddings.create(model="minilm", input=text)
    # Retries, because a short request of the loop below may hold the permit.
    holder = threading.Thread(target=lambda: create(single_try.with_options(max_retries=100), LONG))
    holder.start()
    deadline, rejection = time.monotonic() + 20, None
    while rejection is None and time.monotonic() < deadline:
        try:
            create(single_try, "a")
        except openai.RateLimitError as error:
            rejection = error
    assert rejection is not None and rejection.code == "queue_full" and rejection.type == "rate_limit_error"
    create(retrying, "a")
    holder.join()
    statuses = [status for status, _, _ in seen]
    assert statuses[0] == 429 and statuses[-1] == 200, statuses
    for (status, at, retry_after_s), (_, again, _) in zip(seen, seen[1:]):
        assert status == 429 and again - at >= float(retry_after_s) * 0.95, f"Retry-After {retry_after_s} s, retried after {again - at:.2f} s"


def check(url, key, another_server):
    findings = []

    def run(name, call):
        try:
            call()
            print(f"  pass  openai: {name.replace('_', ' ')}", flush=True)
        except (AssertionError, openai.OpenAIError) as error:
            findings.append(f"openai: {name.replace('_', ' ')}: {type(error).__name__}: {error}")

    for one in checks(url, key):
        run(one.__name__, one)
    run("async_client", lambda: async_client(url, key))
    with another_server("--max-inflight", "1") as saturated:
        run("retry_after", lambda: retry_after(saturated, key))
    return findings
