"""Requests as common HTTP clients and MIME libraries send them, byte for byte.

The templates follow the output of the clients that they name, with a fixed boundary.
"""

import base64
import json
import quopri
from typing import Any

import httpx
import pytest

from tests.support.requests import base64_text, photo

SMALL = photo(side_px=32)
ENCODED = base64_text(SMALL)
FORM = "multipart/form-data; boundary=XbX"

CURL = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="a \\"b\\" \\\\ c.jpg"
Content-Type: image/jpeg

<photo>
--XbX
Content-Disposition: form-data; name="max_labels"

2
--XbX--
"""
CHROME = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="a %22b%22%0D%0A.jpg"
Content-Type: image/jpeg

<photo>
--XbX
Content-Disposition: form-data; name="images"; filename=""
Content-Type: application/octet-stream


--XbX
Content-Disposition: form-data; name="max_labels"

2
--XbX
Content-Disposition: form-data; name="min_confidence"


--XbX
Content-Disposition: form-data; name="_charset_"

UTF-8
--XbX--
"""
INTERNET_EXPLORER = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="C:\\photos\\a.jpg"
Content-Type: image/pjpeg

<photo>
--XbX
Content-Disposition: form-data; name="images"; filename="\\\\server\\share\\b.jpg"
Content-Type: image/pjpeg

<photo>
--XbX--
"""
PHP = b"""\
--XbX
Content-Disposition: form-data; name="max_labels"

2
--XbX
Content-Disposition: form-data; name="include_categories[0]"

Room
--XbX
Content-Disposition: form-data; name="images[0]"; filename="/tmp/a.jpg"
Content-Type: image/jpeg

<photo>
--XbX
Content-Disposition: form-data; name="images[1]"; filename="/tmp/b.jpg"
Content-Type: image/jpeg

<photo>
--XbX--
"""
AXIOS = b"""\
--XbX
Content-Disposition: form-data; name="images[]"; filename="a.jpg"
Content-Type: image/jpeg

<photo>
--XbX
Content-Disposition: form-data; name="include_categories[]"

Room
--XbX
Content-Disposition: form-data; name="max_labels"

2
--XbX--

"""
AIOHTTP = b"""\
--XbX
Content-Type: image/jpeg
Content-Disposition: form-data; name="images"; filename="strand%20%C3%BC.jpg"

<photo>
--XbX
Content-Type: text/plain; charset=utf-8
Content-Disposition: form-data; name="max_labels"

2
--XbX--
"""
APACHE_HTTPCLIENT = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="strand \xfc.jpg"
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

<photo>
--XbX
Content-Disposition: form-data; name="max_labels"
Content-Type: text/plain; charset=ISO-8859-1
Content-Transfer-Encoding: 8bit

2
--XbX--
"""
DOTNET = b"""\
--XbX
Content-Type: image/jpeg
Content-Disposition: form-data; name=images; filename="=?utf-8?B?w7wuanBn?="; \
filename*=utf-8''%C3%BC.jpg

<photo>
--XbX
Content-Type: text/plain; charset=utf-8
Content-Disposition: form-data; name=max_labels

2
--XbX--
"""
DART = b"""\
--XbX
content-disposition: form-data; name="max_labels"

2
--XbX
content-type: application/octet-stream
content-disposition: form-data; name="images"

<photo>
--XbX
content-type: image/jpeg
content-disposition: form-data; name="images"

<photo>
--XbX--
"""
REQWEST = b"""\
--XbX
Content-Disposition: form-data; name="images"

<photo>
--XbX--
"""
RUBY = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="a.jpg"
Content-Length: <length>
Content-Type: image/jpeg
Content-Transfer-Encoding: binary

<photo>
--XbX--

"""
PYTHON_EMAIL = b"""\
Content-Type: multipart/form-data; boundary="XbX"
MIME-Version: 1.0

This is a multi-part message in MIME format.
--XbX
Content-Type: image/jpeg
MIME-Version: 1.0
Content-Transfer-Encoding: base64
Content-Disposition: form-data; name="images";
 filename="a.jpg"

<base64>
--XbX
Content-Type: text/plain; charset="us-ascii"
MIME-Version: 1.0
Content-Transfer-Encoding: 7bit
Content-Disposition: form-data; name="max_labels"

2
--XbX--
And an epilogue.
--XbX
"""
JAKARTA_MAIL = b"""\
------=_Part_0.1 \t
Content-Type: image/jpeg
Content-Transfer-Encoding: quoted-printable
Content-Disposition: form-data; name=images;
\tfilename*0="a very long name of a photo ";
\tfilename*1="of a swimming pool.jpg"

<quoted-printable>
------=_Part_0.1--
"""
GENERATED = b"""\
--XbX
Content-Disposition: form-data; name="images"; filename="a.jpg"
Content-Type: application/octet-stream

<photo>
--XbX
Content-Disposition: form-data; name="include_categories"
Content-Type: application/json

["Room", "Bathroom"]
--XbX
Content-Disposition: form-data; name="max_labels"
Content-Type: application/json

2
--XbX--
"""
CASES: dict[str, tuple[str, bytes, list[str]]] = {
    "curl": (FORM, CURL, ['a "b" \\ c.jpg']),
    "Chrome": (FORM, CHROME, ['a "b"\r\n.jpg']),
    "Internet Explorer": (FORM, INTERNET_EXPLORER, ["a.jpg", "b.jpg"]),
    "PHP": (FORM, PHP, ["/tmp/a.jpg", "/tmp/b.jpg"]),
    "axios": (FORM, AXIOS, ["a.jpg"]),
    "aiohttp": (FORM, AIOHTTP, ["strand%20%C3%BC.jpg"]),
    "Apache HttpClient": (
        "multipart/form-data; charset=ISO-8859-1; boundary=XbX",
        APACHE_HTTPCLIENT,
        ["strand ü.jpg"],
    ),
    ".NET": ('multipart/form-data; boundary="XbX"', DOTNET, ["ü.jpg"]),
    "Dart": (FORM, DART, ["0", "1"]),
    "reqwest": (FORM, REQWEST, ["0"]),
    "Ruby": (FORM, RUBY, ["a.jpg"]),
    "Python's email": ('Multipart/Form-Data; BOUNDARY="XbX"', PYTHON_EMAIL, ["a.jpg"]),
    "Jakarta Mail": (
        'multipart/form-data; \tboundary="----=_Part_0.1"',
        JAKARTA_MAIL,
        ["a very long name of a photo of a swimming pool.jpg"],
    ),
    "generated": (FORM, GENERATED, ["a.jpg"]),
}


def form_of(template: bytes, end_of_line: bytes = b"\r\n") -> bytes:
    """Convert the line ends of a template, and insert the photo."""
    lines = template.replace(b"<length>", str(len(SMALL)).encode()).split(b"\n")
    return (
        end_of_line.join(lines)
        .replace(b"<photo>", SMALL)
        .replace(b"<base64>", base64.encodebytes(SMALL).rstrip())
        .replace(b"<quoted-printable>", quopri.encodestring(SMALL))
    )


def post(
    client: httpx.Client, body: bytes, content_type: str = FORM, path: str = "/predict"
) -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": content_type})


def ids_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert [result["status"] for result in results] == ["ok"] * len(results), answer.text
    assert {result["width"] for result in results} == {32}
    return [result["id"] for result in results]


@pytest.mark.parametrize("name", CASES)
def test_form_of_client_is_read(client: httpx.Client, name: str) -> None:
    content_type, template, ids = CASES[name]
    answer = post(client, form_of(template), content_type)
    assert ids_of(answer) == ids
    labels = answer.json()["results"][0]["labels"]
    if b"max_labels" in template:
        assert len(labels) == 2
    if b"include_categories" in template:
        assert {label["category"] for label in labels} <= {"Room", "Bathroom"}


@pytest.mark.parametrize("name", ["curl", "PHP", "Dart", "Python's email"])
def test_form_with_lf_line_ends_is_read(client: httpx.Client, name: str) -> None:
    content_type, template, ids = CASES[name]
    assert ids_of(post(client, form_of(template, b"\n"), content_type)) == ids


def part(headers: str, data: bytes = SMALL) -> bytes:
    return b"--XbX\r\nContent-Disposition: " + headers.encode() + b"\r\n\r\n" + data + b"\r\n"


FILE = part('form-data; name="images"; filename="a.jpg"')
END = b"--XbX--\r\n"


def field(name: str, value: str | bytes, content_type: str = "") -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    extra = f"\r\nContent-Type: {content_type}" if content_type else ""
    return part(f'form-data; name="{name}"{extra}', data)


@pytest.mark.parametrize(
    ("parameters", "id"),
    [
        ('filename=a.jpg; name="images"', "a.jpg"),
        ('FileName="a.jpg"; NAME=images', "a.jpg"),
        ('name="images" ; filename = "a;b.jpg"', "a;b.jpg"),
        ('name="images"; filename="no end.jpg', '"no end.jpg'),
        ('name="images"; filename="  "', "0"),
        ("name=\"images\"; filename*=UTF-8''%e2%82%ac%20rates.jpg", "€ rates.jpg"),
        ('name="images"; filename*=utf-8\'de\'%C3%BC.jpg; filename="u.jpg"', "ü.jpg"),
        ("name=\"images\"; filename*=ISO-8859-1''%FC.jpg", "ü.jpg"),
        ("name=\"images\"; filename*=UTF-8''%ED%A0%80.jpg", "\ufffd\ufffd\ufffd.jpg"),
        ('name="images"; filename*=UTF-8\'\'; filename="u.jpg"', "u.jpg"),
        ("name=\"images\"; filename*0*=UTF-8''%C3%BC; filename*1=.jpg", "ü.jpg"),
        ('name="images"; filename="=?UTF-8?Q?=C3=BC?="', "=?UTF-8?Q?=C3=BC?="),
        ('name="images"; filename="a/b/c.jpg"', "a/b/c.jpg"),
        ('name="images"; filename="C:\\\\a\\\\b.jpg"', "b.jpg"),
    ],
)
def test_file_name_is_decoded(client: httpx.Client, parameters: str, id: str) -> None:
    assert ids_of(post(client, part(f"form-data; {parameters}") + END)) == [id]


@pytest.mark.parametrize(
    ("name", "charset", "id"),
    [
        (b"\xc3\xbc.jpg", "ISO-8859-1", "ü.jpg"),
        (b"\xfc.jpg", "ISO-8859-1", "ü.jpg"),
        (b"\xfc.jpg", "UTF-8", "ü.jpg"),
        (b"\xec\xae\xa5.jpg", "US-ASCII", "쮥.jpg"),
        (b"\xcf\xeb\xff.jpg", "windows-1251", "Пля.jpg"),
        (b"\xfc\xff.jpg", "unknown", "üÿ.jpg"),
    ],
)
def test_file_name_in_any_charset_is_echoed(
    client: httpx.Client, name: bytes, charset: str, id: str
) -> None:
    body = FILE.replace(b"a.jpg", name) + END
    assert ids_of(post(client, body, f"multipart/form-data; charset={charset}; boundary=XbX")) == [
        id
    ]


@pytest.mark.parametrize(
    ("fields", "charset"),
    [
        (field("labels", b"caf\xe9", "text/plain; charset=ISO-8859-1"), "utf-8"),
        (field("labels", b"caf\xe9", 'text/plain; charset="windows-1252"'), "utf-8"),
        (field("labels", "café", "text/plain; charset=US-ASCII"), "ISO-8859-1"),
        (field("labels", "café"), "ISO-8859-1"),
        (field("labels", b"caf\xe9"), "ISO-8859-1"),
        (field("labels", b"caf\xe9") + field("_charset_", "windows-1252"), "utf-8"),
    ],
)
def test_field_is_decoded_by_declared_charset(
    client: httpx.Client, fields: bytes, charset: str
) -> None:
    content_type = f"multipart/form-data; boundary=XbX; charset={charset}"
    answer = post(client, FILE + fields + END, content_type, "/zero-shot")
    assert answer.status_code == 200, answer.text
    assert [score["label"] for score in answer.json()["results"][0]["scores"]] == ["café"]


BEFORE = {
    "a sentence": b"This is a multi-part message in MIME format.\r\n",
    "headers": b'Content-Type: multipart/form-data; boundary="XbX"\r\n\r\n',
    "a line break": b"\r\n",
    "an almost delimiter": b"--XbX is the boundary\r\n x--XbX\r\n",
}


@pytest.mark.parametrize("name", BEFORE)
def test_preamble_and_epilogue_are_ignored(client: httpx.Client, name: str) -> None:
    body = BEFORE[name] + FILE + b"--XbX-- \r\n" + BEFORE[name] + FILE
    assert ids_of(post(client, body)) == ["a.jpg"]


def test_blanks_after_boundary_are_ignored(client: httpx.Client) -> None:
    body = (FILE + FILE + END).replace(b"--XbX\r\n", b"--XbX \t \r\n")
    assert ids_of(post(client, body)) == ["a.jpg", "a.jpg#2"]


def test_lf_before_boundary_belongs_to_photo_in_crlf_form(client: httpx.Client) -> None:
    data = SMALL + b"\n--XbX\n\r\n--XbXy\r\n--XbX x"
    assert ids_of(post(client, FILE.replace(SMALL, data) + END)) == ["a.jpg"]


def test_empty_files_and_fields_are_ignored(client: httpx.Client) -> None:
    empty = part('form-data; name="images"; filename=""', b"")
    options = "max_labels", "min_confidence", "include_labels", "include_labels[]", "all_scores"
    body = empty + field("images", "") + FILE + b"".join(field(name, "") for name in options)
    assert ids_of(post(client, body + END)) == ["a.jpg"]
    answer = post(client, empty + END)
    assert (answer.status_code, answer.json()["field"]) == (422, "images")
    assert "no image was sent" in answer.json()["detail"]
    query = "?max_labels=&include_labels=&all_scores="
    assert ids_of(post(client, SMALL, "image/jpeg", f"/predict{query}")) == ["0"]


@pytest.mark.parametrize("value", ["on", "true", "True", "1", "yes"])
def test_checked_box_is_true(client: httpx.Client, value: str) -> None:
    answer = post(client, FILE + field("all_scores", value) + END)
    assert len(answer.json()["results"][0]["labels"]) == 120


LISTS: dict[str, list[tuple[str, str]]] = {
    "repeated": [("labels", "pool"), ("labels", "sauna")],
    "brackets": [("labels[]", "pool"), ("labels[]", "sauna")],
    "indices": [("labels[1]", "pool"), ("labels[0]", "sauna")],
    "mixed": [("labels", "pool"), ("labels[]", "sauna")],
    "commas": [("labels", "pool, sauna,")],
    "JSON": [("labels", '["pool", "sauna"]')],
}


@pytest.mark.parametrize("name", LISTS)
def test_list_is_read_from_form_and_query(client: httpx.Client, name: str) -> None:
    fields = b"".join(field(*item) for item in LISTS[name])
    forms = post(client, FILE + fields + END, path="/zero-shot")
    query = client.post(
        "/zero-shot",
        params=httpx.QueryParams(tuple(LISTS[name])),
        content=SMALL,
        headers={"content-type": "image/jpeg"},
    )
    for answer in (forms, query):
        assert answer.status_code == 200, answer.text
        scores = answer.json()["results"][0]["scores"]
        assert {score["label"] for score in scores} == {"pool", "sauna"}


def test_comma_belongs_to_label_in_brackets_and_repeated_fields(client: httpx.Client) -> None:
    text = "a pool, and palms"
    for fields in ([("labels[]", text)], [("labels", text), ("labels", "b")]):
        body = FILE + b"".join(field(*item) for item in fields) + END
        scores = post(client, body, path="/zero-shot").json()["results"][0]["scores"]
        assert text in {score["label"] for score in scores}


@pytest.mark.parametrize("text", ["[pool]", "[1]", '["pool"', '[["pool"]]', "[[["])
def test_text_in_brackets_that_is_no_list_is_one_label(client: httpx.Client, text: str) -> None:
    answer = post(client, FILE + field("labels", text) + END, path="/zero-shot")
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["scores"][0]["label"] == text


@pytest.mark.parametrize("names", [["beach,baby_cot"], ["beach", "baby_cot"]])
def test_label_ids_with_commas_are_split(client: httpx.Client, names: list[str]) -> None:
    fields = b"".join(field("include_labels", name) for name in names)
    answer = post(client, FILE + fields + field("all_scores", "on") + END)
    assert answer.status_code == 200, answer.text
    labels = answer.json()["results"][0]["labels"]
    assert {label["id"] for label in labels} == {"beach", "baby_cot"}


@pytest.mark.parametrize(
    "categories",
    [
        ["People, animals and activities"],
        ["Room,People, animals and activities,Bathroom"],
        ["People, animals and activities", "Bathroom"],
        ["Bathroom, Room"],
    ],
)
def test_category_with_comma_is_kept(client: httpx.Client, categories: list[str]) -> None:
    fields = b"".join(field("include_categories", name) for name in categories)
    answer = post(client, FILE + fields + field("all_scores", "on") + END)
    assert answer.status_code == 200, answer.text
    found = {label["category"] for label in answer.json()["results"][0]["labels"]}
    names = {"People, animals and activities", "Bathroom", "Room"}
    assert found == {name for name in names if name in ",".join(categories)}


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "text": (field("images", "photos/a.jpg"), 422, "-F images=@photo.jpg"),
    "base64 in a text": (field("images", ENCODED), 422, "base64 may be sent as JSON"),
    "another name": (FILE.replace(b"images", b"photo"), 422, "must be named 'images'"),
    "another name, no file name": (
        field("photo", SMALL, "image/jpeg"),
        422,
        "must be named 'images'",
    ),
    "nested": (field("images", b"x", "multipart/mixed; boundary=Y"), 422, "a part of its own"),
    "gzip": (FILE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1), 415, "'gzip'"),
    "x-uuencode": (
        FILE.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: x-uu\r\n\r\n", 1),
        422,
        "send binary or base64",
    ),
    "unknown charset": (
        FILE + field("max_labels", "1", "text/plain; charset=x"),
        422,
        "send UTF-8",
    ),
    "not UTF-8": (FILE + field("include_labels", b"\xe9"), 400, "'include_labels' is not in UTF-8"),
    "not JSON": (
        FILE + field("max_labels", "{", "application/json"),
        422,
        "max_labels: is not JSON",
    ),
    "JSON object": (FILE + field("max_labels", "{}", "application/json"), 422, "valid integer"),
    "a header without colon": (FILE.replace(b"\r\n\r\n", b"\r\nx\r\n\r\n", 1), 400, "header: 'x'"),
    "brackets of a number": (FILE + field("max_labels[]", "1"), 422, "did you mean max_labels"),
    "nested brackets": (FILE + field("labels[0][text]", "1"), 422, "unknown option"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_part_is_named_with_remedy(client: httpx.Client, name: str) -> None:
    body, status, words = REFUSED[name]
    answer = post(client, body + END)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_compressed_body_is_415_with_accept_encoding(client: httpx.Client, coding: str) -> None:
    for content_type in ("application/json", FORM, "image/jpeg"):
        headers = {"content-type": content_type, "content-encoding": coding}
        answer = client.post("/predict", content=b"x", headers=headers)
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
        assert repr(coding) in answer.json()["detail"]
    answer = client.post("/predict", content=b"x", headers={"content-type": "video/mp4"})
    assert answer.status_code == 415
    assert "accept-encoding" not in answer.headers


def test_identity_coding_is_accepted(client: httpx.Client) -> None:
    headers = {"content-type": "image/jpeg", "content-encoding": "identity, Identity"}
    assert client.post("/predict", content=SMALL, headers=headers).status_code == 200


def test_every_content_encoding_header_counts(client: httpx.Client) -> None:
    codings = [("content-encoding", "identity"), ("content-encoding", "gzip")]
    headers = [("content-type", "image/jpeg"), *codings]
    assert client.post("/predict", content=SMALL, headers=headers).status_code == 415


@pytest.mark.parametrize(
    "media_type", ["application/octet-stream", "binary/octet-stream", "IMAGE/JPEG", "image/*"]
)
def test_raw_body_is_one_image(client: httpx.Client, media_type: str) -> None:
    assert ids_of(post(client, SMALL, media_type)) == ["0"]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "text/json",
        "application/vnd.api+json",
    ],
)
def test_json_types_are_accepted(client: httpx.Client, media_type: str) -> None:
    body = json.dumps({"images": [{"data": ENCODED}]}).encode()
    assert ids_of(post(client, body, media_type)) == ["0"]


def test_byte_order_mark_before_json_is_ignored(client: httpx.Client) -> None:
    body = json.dumps({"images": [ENCODED]}).encode("utf-8-sig")
    assert ids_of(post(client, body, "application/json")) == ["0"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_json_in_utf16_or_utf32_is_named(client: httpx.Client, encoding: str) -> None:
    answer = post(client, '{"images": []}'.encode(encoding), "application/json")
    assert answer.status_code == 400
    assert encoding[:6] in answer.json()["detail"]
    assert "send UTF-8" in answer.json()["detail"]


def test_images_may_be_base64_texts_and_objects(client: httpx.Client) -> None:
    images = [ENCODED, {"data": ENCODED, "id": "0"}, {"data": ENCODED}, f"data:;base64,{ENCODED}"]
    answer = client.post("/predict", json={"images": images})
    assert ids_of(answer) == ["0#2", "0", "2", "3"]
    assert client.post("/embed", json={"images": images}).status_code == 200


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("https://example.org/a.jpg", '{"url": "https://..."}'),
        (1, "base64 text"),
        (None, "base64 text"),
        ([ENCODED], "base64 text"),
    ],
)
def test_image_of_wrong_type_is_named_with_index(
    client: httpx.Client, image: object, words: str
) -> None:
    answer = client.post("/predict", json={"images": [ENCODED, image]})
    assert (answer.status_code, answer.json()["field"]) == (422, "images.1")
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.jpg", "a.jpg", "a.jpg"], ["a.jpg", "a.jpg#2", "a.jpg#3"]),
        (["a.jpg", "a.jpg", "a.jpg#2"], ["a.jpg", "a.jpg#3", "a.jpg#2"]),
        (["a.jpg#2", "a.jpg#2", "a.jpg", "a.jpg"], ["a.jpg#2", "a.jpg#2#2", "a.jpg", "a.jpg#3"]),
        (["1", "", "1"], ["1", "1#2", "1#3"]),
        (["", "", "0"], ["0#2", "1", "0"]),
    ],
)
def test_repeated_file_name_gets_number(
    client: httpx.Client, names: list[str], ids: list[str]
) -> None:
    body = b"".join(part(f'form-data; name="images"; filename="{name}"') for name in names)
    assert ids_of(post(client, body + END)) == ids
