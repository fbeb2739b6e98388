"""Hostile request heads get one clear error, and the next request is answered."""

import httpx
import pytest

from app.serving.process.connection import HEAD_BYTES
from tests.support.raw_connection import exchange, head, statuses
from tests.support.requests import photo, raw

IMAGE = b"content-type: image/jpeg"
CHUNKED = b"transfer-encoding: chunked"
ANSWERED_AND_CLOSED = {
    "two lengths": head(IMAGE, b"content-length: 4", b"content-length: 5") + b"data",
    "one length twice": head(IMAGE, b"content-length: 4", b"content-length: 4") + b"data",
    "two lengths in one": head(IMAGE, b"content-length: 4, 5") + b"data",
    "negative length": head(IMAGE, b"content-length: -4"),
    "signed length": head(IMAGE, b"content-length: +4") + b"data",
    "length in hexadecimals": head(IMAGE, b"content-length: 0x4") + b"data",
    "endless length": head(IMAGE, b"content-length: " + b"9" * 5000),
    "superscript length": head(IMAGE, "content-length: ²".encode("latin-1")),
    "length and chunks": head(IMAGE, b"content-length: 4", CHUNKED) + b"4\r\ndata\r\n0\r\n\r\n",
    "chunks and length": head(IMAGE, CHUNKED, b"content-length: 4") + b"4\r\ndata\r\n0\r\n\r\n",
    "unknown transfer encoding": head(IMAGE, b"transfer-encoding: xchunked") + b"data",
    "chunks within another": head(IMAGE, b"transfer-encoding: chunked, identity") + b"data",
    "chunk without length": head(IMAGE, CHUNKED) + b"\r\ndata\r\n0\r\n\r\n",
    "chunk length overflow": head(IMAGE, CHUNKED) + b"f" * 40 + b"\r\ndata\r\n",
    "a chunk of negative length": head(IMAGE, CHUNKED) + b"-4\r\ndata\r\n",
    "chunk longer than its length": head(IMAGE, CHUNKED) + b"2\r\ndata\r\n0\r\n\r\n",
    "a space before the colon": head(IMAGE, b"content-length : 4") + b"data",
    "a header without name": head(IMAGE, b": x"),
    "a header without colon": head(IMAGE, b"nothing"),
    "bare CR": head(IMAGE, b"x-request-id: a\rx-api-key: b"),
    "NUL": head(IMAGE, b"x-request-id: a\x00b"),
    "unknown method": head(target=b"BREW /predict"),
    "a method in small letters": head(target=b"post /predict"),
    "non-ASCII target": head(target="POST /prädict".encode()),
    "no target": head(target=b"POST"),
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
TOO_LONG = {
    "a long header": head(IMAGE, b"x-long: " + b"y" * HEAD_BYTES),
    "many headers": head(*[b"x: y"] * (HEAD_BYTES // 2)),
    "many names": head(*[b"x%d:" % n for n in range(HEAD_BYTES // 4)]),
    "a long target": head(target=b"POST /predict?" + b"y" * HEAD_BYTES),
    "a long name": head(b"y" * HEAD_BYTES + b": x"),
    "endless header": head()[:-2] + b"x-long: " + b"y" * 8 * HEAD_BYTES,
    "endless target": b"GET /" + b"y" * 8 * HEAD_BYTES,
}
ENDLESS_BODIES = {
    "trailers": b"0\r\n" + b"x-trailer: y\r\n" * HEAD_BYTES,
    "a trailer": b"0\r\nx-trailer: " + b"y" * 16 * HEAD_BYTES,
    "a chunk's extension": b"4;" + b"x" * 16 * HEAD_BYTES,
}


def still_answers(client: httpx.Client) -> bool:
    return client.post("/predict", **raw(photo())).status_code == 200


@pytest.mark.parametrize("name", ANSWERED_AND_CLOSED)
def test_ambiguous_request_gets_400(client: httpx.Client, name: str) -> None:
    assert statuses(exchange(client, ANSWERED_AND_CLOSED[name])) == [400]
    assert still_answers(client)


@pytest.mark.parametrize("name", [*ANSWERED_AND_CLOSED, *TOO_LONG])
def test_good_request_before_bad_one_is_answered(client: httpx.Client, name: str) -> None:
    hostile = (ANSWERED_AND_CLOSED | TOO_LONG)[name]
    good = head(IMAGE, b"content-length: %d" % len(photo())) + photo()
    assert statuses(exchange(client, good + hostile))[:1] == [200]
    assert still_answers(client)


@pytest.mark.parametrize("name", TOO_LONG)
def test_head_over_limit_gets_431(client: httpx.Client, name: str) -> None:
    assert statuses(exchange(client, TOO_LONG[name])) == [431]
    assert still_answers(client)


def test_head_within_limit_is_accepted(client: httpx.Client) -> None:
    request = raw(photo())
    request["headers"]["X-Long"] = "y" * (HEAD_BYTES - 1000)
    assert client.post("/predict", **request).status_code == 200


def test_content_length_with_leading_zeros_is_accepted(client: httpx.Client) -> None:
    sent = head(IMAGE, b"content-length: " + b"0" * 5000 + b"4") + b"data"
    assert statuses(exchange(client, sent)) == [422, 200]
    assert still_answers(client)


@pytest.mark.parametrize("name", ENDLESS_BODIES)
def test_endless_chunk_metadata_closes_connection(client: httpx.Client, name: str) -> None:
    assert exchange(client, head(IMAGE, CHUNKED) + b"4\r\ndata\r\n" + ENDLESS_BODIES[name]) == b""
    assert still_answers(client)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([b"upgrade: websocket", b"connection: upgrade"], 405),
        ([b"upgrade: h2c", b"connection: upgrade, close"], 405),
        ([b"expect: nothing"], 405),
        ([b"accept: " + b"*/*," * 1000], 405),
    ],
    ids=["websocket", "h2c", "expect", "accept"],
)
def test_unsupported_protocol_features_are_ignored(
    client: httpx.Client, headers: list[bytes], status: int
) -> None:
    assert statuses(exchange(client, head(*headers, target=b"GET /predict")))[0] == status
    assert still_answers(client)


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"none"])
@pytest.mark.parametrize("connection", [b"upgrade", b"HTTP2-Settings, Upgrade"])
def test_upgrade_header_is_ignored(
    client: httpx.Client, protocol: bytes, connection: bytes
) -> None:
    offer = b"upgrade: " + protocol, b"connection: " + connection
    length = b"content-length: %d" % len(photo())
    assert statuses(exchange(client, head(IMAGE, *offer, length) + photo())) == [200, 200]
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(photo()), photo())
    assert statuses(exchange(client, head(IMAGE, *offer, CHUNKED) + chunk)) == [200, 200]
    smuggled = b"GET /labels HTTP/1.1\r\nhost: x\r\n\r\n"
    length = b"content-length: %d" % len(smuggled)
    assert statuses(exchange(client, head(IMAGE, *offer, length) + smuggled)) == [422, 200]


@pytest.mark.parametrize(
    "sent", ["", "a b", "a\tb", "é", "x" * 129, "<script>", "a;b", '"', "a\u00a0b"]
)
def test_invalid_request_id_is_not_echoed(client: httpx.Client, sent: str) -> None:
    answer = client.get("/healthz", headers=[(b"X-Request-ID", sent.encode("latin-1"))])
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("sent", ["0" * 5000 + "1", "1" * 5000, "²", "1_0", "0x10", "1e3", "1 1"])
def test_non_numeric_timeout_header_is_refused(client: httpx.Client, sent: str) -> None:
    request = raw(photo())
    request["headers"]["X-Request-Timeout-Ms"] = sent.encode("latin-1")
    answer = client.post("/predict", **request)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option")
    assert len(answer.json()["detail"]) < 200


@pytest.mark.parametrize(
    "path", ["/labels/", "/%00", "/predict%0d%0ax-injected:%20y", "/" + "é" * 2000, "/labels//"]
)
def test_unknown_path_is_echoed_safely(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "x-injected" not in answer.headers
