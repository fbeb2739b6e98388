"""Finds the photos that a table names in the photo folder."""

import os
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.core.files import nearest_names
from app.errors import DataError

WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class PhotoFolder:
    """A folder of photos; a folder in it is listed once, and only if a name is not found as it is.

    Args:
        path: the folder.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(f"{path}: is not a folder; give the folder of the photos")
        self.path = path
        self._entries: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}

    def find(self, name: str, location: str) -> str:
        """Return the path of a photo below the folder, as the file system spells it.

        The exact name is tried first, then the name without outer white space and with `/` for
        the backslashes of Windows, then any name that is equal in Unicode normal form C: file
        systems and tools differ in how they write accents. An absolute path may name a photo
        below the folder.

        Args:
            name: the photo, relative to the folder.
            location: the place of the name in the input, for the message.

        Raises:
            DataError: the name is empty or leads out of the folder, there is no such photo, or
                there are two. The message names a similar file if there is one.
        """
        if not name.strip():
            raise DataError(f"{location}: is empty")
        relative = self._below(name, location)
        spellings = dict.fromkeys(
            os.path.normpath(each)
            for each in (relative, relative.strip(), relative.strip().replace("\\", "/"))
        )
        for each in spellings:
            if self._is_file(each):
                return each
        for each in spellings:
            found = [file for file in self._same(each, _normal_form) if self._is_file(file)]
            if len(found) > 1:
                raise DataError(
                    f"{location}: {name} is the name of {len(found)} photos that differ in Unicode "
                    f"normal form only ({', '.join(map(ascii, found))}); write the name as one of "
                    "them"
                )
            if found and _is_utf8(found[0]):
                return found[0]
        raise DataError(f"{location}: no photo {self.path / name}{self._hint(list(spellings)[-1])}")

    def _below(self, name: str, location: str) -> str:
        """Return a name relative to the folder."""
        if name.startswith("/"):
            for root in (self.path.absolute(), self.path.resolve()):
                if Path(name).is_relative_to(root):
                    name = str(Path(name).relative_to(root))
        slashes = name.replace("\\", "/")
        leads_out = name.startswith("/") or os.path.normpath(name).split("/")[0] == ".."
        if leads_out or WINDOWS_DRIVE.match(name):
            raise DataError(
                f"{location}: {name} is not below the photo folder; give the path relative to "
                f"{self.path}{self._tail_hint(slashes)}"
            )
        return name

    def _is_file(self, file: str) -> bool:
        try:
            return (self.path / file).is_file()
        except (OSError, ValueError):  # too long for the file system, or a NUL character
            return False

    def _entries_by(self, folder: str, key: Callable[[str], str]) -> dict[str, list[str]]:
        """Return the names in a folder below this one by their key; empty if it is no folder."""
        if (folder, key) not in self._entries:
            by_key: dict[str, list[str]] = {}
            with suppress(OSError, ValueError):
                for entry in sorted(each.name for each in (self.path / folder).iterdir()):
                    by_key.setdefault(key(entry), []).append(entry)
            self._entries[folder, key] = by_key
        return self._entries[folder, key]

    def _same(self, file: str, key: Callable[[str], str]) -> list[str]:
        """Return the paths below the folder that are equal by a key, part for part."""
        paths = [""]
        for part in file.split("/"):
            paths = [
                str(Path(folder) / entry)
                for folder in paths
                for entry in self._entries_by(folder, key).get(key(part), ())
            ]
        return paths

    def _hint(self, file: str) -> str:
        """Return the end of the message that a photo is missing: what is there instead."""
        if same := self._same(file, _loose_form):
            loose = same[0]
            if not self._is_file(loose):
                return f"; {loose} is a folder"
            if not _is_utf8(loose):
                return (
                    f"; a file of that name is there, but its name is not UTF-8 ({_shown(loose)}): "
                    f"rename it, for example with convmv -f latin1 -t utf8 --notest -r {self.path}"
                )
            return f"; {loose} is there, which differs in upper and lower case"
        if "\ufffd" in file:
            return (
                "; the name has the replacement character U+FFFD, so an earlier conversion of the "
                "table lost a letter: export it again as UTF-8"
            )
        if tail := self._tail_hint(file):
            return tail
        folder, base = str(Path(file).parent), Path(file).name
        entries = [each for each in self._entries_by(folder, _normal_form) if _is_utf8(each)]
        for entry in entries:
            if Path(entry).stem == base:
                return f"; {Path(folder) / entry} is there: write the ending too"
        if near := nearest_names(base, entries):
            return f"; nearest there: {', '.join(str(Path(folder) / each) for each in near)}"
        return ""

    def _tail_hint(self, file: str) -> str:
        parts = [part for part in file.split("/") if part not in ("", ".", "..")]
        for i in range(1, len(parts)):
            tail = "/".join(parts[i:])
            if self._is_file(tail):
                return f"; {tail} is there: names are relative to {self.path}"
        return ""


def same_photo_key(file: str) -> str:
    """Return a key that is equal for names that differ in normal form, slashes or `./` only."""
    return _normal_form(os.path.normpath(file.strip().replace("\\", "/")))


def _normal_form(name: str) -> str:
    return unicodedata.normalize("NFC", _decoded(name))


def _loose_form(name: str) -> str:
    return unicodedata.normalize("NFC", _normal_form(name).casefold())


def _decoded(name: str) -> str:
    """Return a name as text; a name that is not UTF-8 is read as Windows-1252."""
    return name if _is_utf8(name) else os.fsencode(name).decode("cp1252", "replace")


def _is_utf8(name: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in name)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
