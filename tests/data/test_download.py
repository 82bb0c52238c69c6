"""Fetching and unzipping COCO's archives, against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspose.data import download as module
from mspose.data.download import Part, download, main, unzip
from mspose.errors import PoseError, UsageError
from mspose.files import write_json
from mspose.runtime import transfer
from mspose.runtime.transfer import fetch
from tests.loopback import Server, loopback
from tests.messages import names, naming

JPEG = b"\xff\xd8" + bytes(range(200)) + b"\xff\xd9"
NAMES = [f"{i:012d}.jpg" for i in range(1, 4)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.001)
    with loopback(monkeypatch) as server:
        yield server


def archive_of(members: dict[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def part_of(data: bytes, files: int = 3, unzipped: int = 10_000) -> Part:
    digest = hashlib.sha256(data).hexdigest()
    return Part("val2017", "zips/val2017.zip", len(data), digest, module.PICTURE, files, unzipped)


@pytest.fixture
def data() -> bytes:
    return archive_of({"val2017/": b"", **{f"val2017/{name}": JPEG for name in NAMES}, "val2017/notes.txt": b"?"})


@pytest.fixture
def part(server: Server, data: bytes) -> Part:
    server.files["/zips/val2017.zip"] = data
    return part_of(data)


def start_of(data: bytes, server: Server, root: Path) -> Path:
    """A transfer that an earlier run left half done."""
    partial = root / "val2017.zip.part"
    partial.write_bytes(data[: len(data) // 2])
    write_json(root / "val2017.zip.part.json", {"url": f"{server.url}/zips/val2017.zip", "validator": '"one"'})
    return partial


def test_fresh_download_leaves_only_the_wanted_files(server: Server, part: Part, tmp_path: Path) -> None:
    download(tmp_path, [part], server.url)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "val2017",
        *(f"val2017/{name}" for name in NAMES),
    ]
    assert (tmp_path / "val2017" / NAMES[0]).read_bytes() == JPEG


def test_finished_part_is_not_fetched_again(server: Server, part: Part, tmp_path: Path) -> None:
    download(tmp_path, [part], server.url)
    download(tmp_path, [part], server.url)
    assert len(server.requests) == 1


def test_empty_picture_makes_a_part_unfinished(server: Server, part: Part, tmp_path: Path) -> None:
    download(tmp_path, [part], server.url)
    (tmp_path / "val2017" / NAMES[1]).write_bytes(b"")
    download(tmp_path, [part], server.url)
    assert (tmp_path / "val2017" / NAMES[1]).read_bytes() == JPEG


def test_keep_archives(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    download(tmp_path, [part], server.url, keep_archives=True)
    assert (tmp_path / "val2017.zip").read_bytes() == data


def test_archive_that_is_there_is_used(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(data)
    download(tmp_path, [part], server.url)
    assert not server.requests
    assert (tmp_path / "val2017" / NAMES[2]).exists()
    assert (tmp_path / "val2017.zip").read_bytes() == data  # it is not ours to remove


def test_foreign_archive_is_reported_and_left_alone(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(data[:-1] + b"x")
    with pytest.raises(PoseError, match=naming("published", tmp_path / "val2017.zip")):
        download(tmp_path, [part], server.url)
    assert (tmp_path / "val2017.zip").exists()


def test_resumes_where_it_stopped(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    start_of(data, server, tmp_path)
    download(tmp_path, [part], server.url)
    assert server.requests == [("/zips/val2017.zip", f"bytes={len(data) // 2}-")]
    assert (tmp_path / "val2017" / NAMES[0]).read_bytes() == JPEG


def test_server_without_ranges_sends_everything(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    server.ranges = False
    start_of(data, server, tmp_path)
    download(tmp_path, [part], server.url)
    assert (tmp_path / "val2017" / NAMES[2]).read_bytes() == JPEG


def test_changed_file_is_fetched_anew(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    start_of(data, server, tmp_path).write_bytes(b"another version" * 10)
    server.etag = '"two"'
    download(tmp_path, [part], server.url)
    assert server.requests[0][1] == "bytes=150-"
    assert (tmp_path / "val2017" / NAMES[0]).read_bytes() == JPEG


def test_rest_of_unknown_version_is_not_appended(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip.part").write_bytes(b"of who knows what")
    download(tmp_path, [part], server.url)
    assert server.requests == [("/zips/val2017.zip", None)]


def test_broken_transfer_is_continued(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    server.cuts = [100, 50]
    download(tmp_path, [part], server.url)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100-", "bytes=150-"]
    assert (tmp_path / "val2017" / NAMES[2]).read_bytes() == JPEG


def test_server_that_fails_for_a_while(server: Server, part: Part, tmp_path: Path) -> None:
    server.failures = [503, 500, 429]
    download(tmp_path, [part], server.url)
    assert len(server.requests) == 4


def test_gives_up_without_progress(server: Server, part: Part, tmp_path: Path) -> None:
    server.cuts = [100] + [0] * 50
    with pytest.raises(PoseError, match=naming(f"{server.url}/zips/val2017.zip", "6 attempts", "100 of")):
        download(tmp_path, [part], server.url)
    assert len(server.requests) == 7
    assert (tmp_path / "val2017.zip.part").stat().st_size == 100


def test_gives_up_on_a_server_that_starts_anew_each_time(server: Server, part: Part, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [100, 50] * 50
    with pytest.raises(PoseError, match=naming(f"{server.url}/zips/val2017.zip", "6 attempts")):
        download(tmp_path, [part], server.url)


def test_not_found_is_not_tried_again(server: Server, part: Part, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(PoseError, match=naming(f"{server.url}/zips/val2017.zip", "404", "--base-url")):
        download(tmp_path, [part], server.url)
    assert len(server.requests) == 1


def test_wrong_size_is_refused(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    server.files["/zips/val2017.zip"] = data + b"more"
    with pytest.raises(PoseError, match=rf"val2017\.zip.*\b{len(data) + 4:,}\b.*\b{len(data):,}\b.*--base-url"):
        download(tmp_path, [part], server.url)


def test_wrong_content_is_deleted(server: Server, part: Part, data: bytes, tmp_path: Path) -> None:
    server.files["/zips/val2017.zip"] = b"x" * len(data)
    with pytest.raises(PoseError, match=naming(f"{server.url}/zips/val2017.zip", "SHA-256")):
        download(tmp_path, [part], server.url)
    assert not list(tmp_path.iterdir())


def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    server.server_close()
    with pytest.raises(PoseError, match=naming(f"{server.url}/x.zip", "2 attempts", "refused")):
        fetch(f"{server.url}/x.zip", tmp_path / "x.zip", 10, "")


def symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"val2017/{NAMES[0]}")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "member",
    ["../evil.jpg", "val2017/../../evil.jpg", "/tmp/evil.jpg", "val2017\\..\\evil.jpg", "C:/evil.jpg", symlink()],
    ids=lambda value: getattr(value, "filename", value),
)
def test_evil_archive_unzips_nothing(member: str | zipfile.ZipInfo, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    evil = archive_of({**{f"val2017/{name}": JPEG for name in NAMES[1:]}, member: b"/etc/passwd"})
    (root / "val2017.zip").write_bytes(evil)
    with pytest.raises(PoseError, match=naming(root / "val2017.zip", repr(getattr(member, "filename", member)))):
        unzip(root / "val2017.zip", root, part_of(evil))
    assert [p.name for p in tmp_path.rglob("*")] == ["root", "val2017.zip"]


@pytest.mark.parametrize(
    ("files", "unzipped", "words"),
    [(4, 10_000, ("3 of the 4 files", "val2017")), (3, 100, ("at most",))],
    ids=["too few files", "zip bomb"],
)
def test_unexpected_contents_are_refused(data: bytes, files: int, unzipped: int, words: tuple, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(data)
    with pytest.raises(PoseError, match=naming(tmp_path / "val2017.zip", *words)):
        unzip(tmp_path / "val2017.zip", tmp_path, part_of(data, files, unzipped))
    assert not (tmp_path / "val2017").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for content in (b"1", b"2"):
            file.writestr("val2017/000000000001.jpg", content)
    with pytest.raises(PoseError, match=naming(path, "'val2017/000000000001.jpg'", "2 times")):
        unzip(path, tmp_path, part_of(path.read_bytes(), files=1))


def test_damaged_member_leaves_nothing_behind(data: bytes, tmp_path: Path) -> None:
    place = data.index(JPEG, data.index(NAMES[2].encode()))
    (tmp_path / "val2017.zip").write_bytes(data[: place + 9] + b"!" + data[place + 10 :])
    with pytest.raises(PoseError, match=naming(tmp_path / "val2017.zip", f"val2017/{NAMES[2]}")):
        unzip(tmp_path / "val2017.zip", tmp_path, part_of(data))
    assert [p.name for p in tmp_path.iterdir()] == ["val2017.zip"]


def test_interrupted_unzipping_is_repeated(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(data)
    (tmp_path / ".val2017.unzipping").mkdir()
    (tmp_path / ".val2017.unzipping" / NAMES[0]).write_bytes(b"half")
    unzip(tmp_path / "val2017.zip", tmp_path, part_of(data))
    assert (tmp_path / "val2017" / NAMES[0]).read_bytes() == JPEG
    assert not (tmp_path / ".val2017.unzipping").exists()


def test_full_disk_is_noticed_beforehand(
    monkeypatch: pytest.MonkeyPatch, server: Server, part: Part, tmp_path: Path
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 5000, 5000))
    with pytest.raises(PoseError, match=naming(tmp_path, "val2017", "free", "--parts")):
        download(tmp_path, [part], server.url)
    assert not server.requests


def test_link_out_of_the_root_is_not_followed(server: Server, part: Part, tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    elsewhere.mkdir()
    root.mkdir()
    (root / "val2017").symlink_to(elsewhere)
    with pytest.raises(PoseError, match=naming(root / "val2017", "link")):
        download(root, [part], server.url)
    assert not list(elsewhere.iterdir())


def test_base_url_must_be_http(part: Part, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        download(tmp_path, [part], "file:///etc")


def test_command_fetches_the_named_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, server: Server, part: Part, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PARTS", (part,))
    assert main([str(tmp_path), "--parts", "val2017", "--base-url", server.url]) == 0
    assert capsys.readouterr().out == f"val2017: 3 files in {tmp_path / 'val2017'}\n"


def test_command_reports_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, server: Server, part: Part, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PARTS", (part,))
    server.files.clear()
    assert main([str(tmp_path), "--base-url", server.url]) == 1
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[-1:]


def test_check_only_fetches_nothing_and_fails_on_problems(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert main([str(tmp_path), "--check-only", "--parts", "val2017"]) == 1
    assert names(capsys.readouterr().out, "val2017", f"mspose download {tmp_path} --parts val2017")
    assert not list(tmp_path.iterdir())
