"""Invalid settings and options are refused in words, without pydantic's or a pattern."""

import re

import pytest
from pydantic import BaseModel, Field

from app.cli.request_command import request_command
from app.cli.settings import read_settings
from app.core.device_names import find_device_problem
from app.core.runtime import choose_placement
from app.errors import OptionError
from app.settings import Settings

JARGON = re.compile(r"[Ii]nput|pattern|\^|parsing|valid |Value error|pydantic|\\d")
FREE_TEXT = {"checkpoint", "labels_dir", "index", "api_keys_file", "host", "root_path"}


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - FREE_TEXT))
@pytest.mark.parametrize("value", ["nonsense", "[1", "-1"])
def test_invalid_setting_is_refused_in_words(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MUMIC_{name.upper()}", value)
    with pytest.raises(OptionError) as refused:
        read_settings()
    assert str(refused.value).startswith(f"{name}: must ")
    assert str(refused.value).endswith(f"(MUMIC_{name.upper()})")
    assert not JARGON.search(str(refused.value))


@pytest.mark.parametrize("name", ["checkpoint", "labels_dir", "index", "api_keys_file"])
@pytest.mark.parametrize("value", ["", " "])
def test_empty_path_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MUMIC_{name.upper()}", value)
    with pytest.raises(OptionError, match=r"must be a path; leave it out for the default, got ' ?"):
        read_settings()


def test_secret_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUMIC_ADMIN_TOKEN", "tooshort")
    with pytest.raises(OptionError) as refused:
        read_settings()
    assert "tooshort" not in str(refused.value)


def test_list_item_of_wrong_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUMIC_URL_PORTS", '[80, "https"]')
    with pytest.raises(OptionError, match=r"JSON list of integers, as \[80, 443\], got 'https'"):
        read_settings()


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_valid_device_is_accepted(name: str) -> None:
    assert find_device_problem(name) is None
    assert read_settings(device=name).device == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpu", "a GPU is cuda"),
        ("GPU:0", "a GPU is cuda"),
        ("rocm", "an AMD GPU is cuda too"),
        ("mps", "Apple GPUs are not supported; use cpu"),
        ("cuda:x", "N is a number, as in cuda:0"),
        ("cuda:", "N is a number, as in cuda:0"),
        ("tpu", None),
        ("cpu\n", None),
        ("", None),
    ],
)
def test_invalid_device_gets_hint_in_settings_and_in_the_package(
    name: str, hint: str | None
) -> None:
    words = "must be auto, cpu, cuda or cuda:N" + (f" ({hint})" if hint else "")
    for check in (
        lambda: read_settings(device=name),
        lambda: choose_placement(name, "auto", transformer=False),
    ):
        with pytest.raises(OptionError) as refused:
            check()
        assert str(refused.value).startswith(f"device: {words}, got {name!r}")


class Request(BaseModel):
    separator: str | None = Field(None, min_length=1)


def test_invalid_option_of_request_is_refused_in_words() -> None:
    command = request_command(Request)(lambda _: None)
    command(separator=";")
    with pytest.raises(OptionError, match="separator: must be a text that is not empty, got ''"):
        command(separator="")
