"""Published files in the cache: fetched once from a server on this machine, verified, and never replaced."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.hub.cache import cache_folder, local, name_of, obtain, place_of
from mspose.hub.table import Published, published
from mspose.runtime import transfer
from tests.loopback import Server, loopback
from tests.messages import naming, tells_of

HOST = "download.publisher.org"
DATA = bytes(range(256)) * 400
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """In the place of HOST, with one file; the cache is empty."""
    monkeypatch.setattr(transfer, "FIRST_WAIT", 0.001)
    for variable in ("HF_ENDPOINT", "MSPOSE_OFFLINE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "home"))
    with loopback(monkeypatch) as server:
        server.files["/a/net-12345678.pth"] = DATA
        monkeypatch.setenv("MSPOSE_MIRROR", f"{HOST}={server.url}")
        yield server


def entry_of(sha256: str = "", size: int | None = None, **values: str) -> Published:
    fields = {"name": "net", "title": "a net", "publisher": "they", "source": "https://they.org", "licence": "MIT"}
    whole = {**fields, "file": "net-12345678.pth", "url": f"https://{HOST}/a/net-12345678.pth", **values}
    return Published(**whole, sha256=sha256, size=size)


def get(entry: Published, **runtime: object) -> Path:
    return obtain([entry], RuntimeConfig(**runtime))[0]


def record(entry: Published) -> dict:
    return json.loads(place_of(entry).with_name(f"{entry.file}.download.json").read_text())


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within ten seconds")


def names_in_cache() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir())


@pytest.mark.parametrize("sha256", [DIGEST, DIGEST[:8], ""])
def test_fetched_once(server: Server, sha256: str, caplog: pytest.LogCaptureFixture) -> None:
    entry = entry_of(sha256, len(DATA))
    with caplog.at_level("INFO", "pose"):
        assert get(entry).read_bytes() == DATA
        assert get(entry) == place_of(entry)
    assert server.requests == [("/a/net-12345678.pth", None)]
    assert names_in_cache() == [entry.file, f"{entry.file}.download.json"]
    assert record(entry)["sha256"] == DIGEST
    assert DIGEST in caplog.text
    assert tells_of(caplog.text, "net", "MIT")


@pytest.mark.parametrize("sha256", ["0" * 64, "12345678"])
def test_a_wrong_digest_leaves_nothing(server: Server, sha256: str) -> None:
    entry = entry_of(sha256)
    with pytest.raises(PoseError, match=naming(server.url, "SHA-256", entry.url, cache_folder())):
        get(entry)
    assert names_in_cache() == []


def test_a_wrong_size_is_refused(server: Server) -> None:
    with pytest.raises(PoseError, match=naming(f"{len(DATA):,}", f"{len(DATA) + 1:,}")):
        get(entry_of(size=len(DATA) + 1))
    assert not place_of(entry_of()).exists()


def test_a_cut_transfer_goes_on(server: Server) -> None:
    server.cuts = [1000, 500]
    assert get(entry_of(DIGEST)).read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-", "bytes=1500-"]


def test_the_next_run_goes_on(server: Server) -> None:
    server.cuts = [1000] + [0] * 20
    with pytest.raises(PoseError, match=naming("1,000")):
        get(entry_of())
    server.cuts.clear()
    assert get(entry_of(DIGEST)).read_bytes() == DATA
    assert server.requests[-1] == ("/a/net-12345678.pth", "bytes=1000-")


def test_redirections_are_followed_with_their_range(server: Server) -> None:
    server.moved["/a/net-12345678.pth"] = "/elsewhere"
    server.files["/elsewhere"] = DATA
    server.cuts = [1000]
    assert get(entry_of(DIGEST)).read_bytes() == DATA
    assert ("/elsewhere", "bytes=1000-") in server.requests


def test_a_digest_that_a_redirection_states_is_asked_for(server: Server) -> None:
    """As Hugging Face states it; a weak ETag or another kind of name is none."""
    server.moved["/a/net-12345678.pth"] = "/elsewhere"
    server.files["/elsewhere"] = DATA
    server.stated = "0" * 64
    with pytest.raises(PoseError, match=naming("SHA-256")):
        get(entry_of())
    assert names_in_cache() == []
    for server.stated in (DIGEST, "0" * 40):
        shutil.rmtree(cache_folder())
        assert get(entry_of()).read_bytes() == DATA


def test_endless_redirections_end(server: Server) -> None:
    server.moved["/a/net-12345678.pth"] = "/a/net-12345678.pth"
    with pytest.raises(PoseError, match=naming("302")):
        get(entry_of())


def test_what_is_secured_does_not_lead_to_what_is_not() -> None:
    request = transfer.urllib.request.Request("https://a.org/x")
    follow = transfer._Redirects().redirect_request
    assert follow(request, None, 302, "Found", {}, "https://b.org/x").full_url == "https://b.org/x"
    with pytest.raises(PoseError, match=naming("https://a.org/x", "http://b.org/x")):
        follow(request, None, 302, "Found", {}, "http://b.org/x")


def test_not_found(server: Server) -> None:
    server.files.clear()
    with pytest.raises(PoseError, match=naming("404", entry_of().url, cache_folder())):
        get(entry_of())
    assert len(server.requests) == 1


def test_a_file_of_unsaid_length_is_refused(server: Server) -> None:
    """It could be cut short without anyone's notice."""
    server.says_length = False
    with pytest.raises(PoseError, match=naming(server.url, "how large")):
        get(entry_of())
    assert not place_of(entry_of()).exists()


def test_a_disk_without_room_is_noticed_beforehand(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 5000, 5000))
    with pytest.raises(PoseError, match=naming(cache_folder(), "0.1 MB")):
        get(entry_of())
    assert not place_of(entry_of()).exists()


def test_a_disk_that_fills(server: Server) -> None:
    partial = transfer.partial_files(place_of(entry_of()))[0]
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(PoseError, match=naming(partial, "No space left")):
        get(entry_of())


def test_two_at_once_fetch_it_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.gate = threading.Event()
    with caplog.at_level("INFO", "pose"), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, entry_of(DIGEST)) for _ in range(2)]
        until(lambda: tells_of(caplog.text, os.getpid()))
        server.gate.set()
        assert [found.result().read_bytes() for found in both] == [DATA, DATA]
    assert len(server.requests) == 1
    assert tells_of(caplog.text, str(os.getpid()), place_of(entry_of()))
    assert names_in_cache() == ["net-12345678.pth", "net-12345678.pth.download.json"]


def test_the_second_fetches_what_the_first_could_not(server: Server) -> None:
    server.failures = [404]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, entry_of(DIGEST)) for _ in range(2)]
        failed = [type(found.exception()) for found in both]
    assert failed.count(PoseError) == 1
    assert place_of(entry_of()).read_bytes() == DATA


# ---- offline, by hand


@pytest.mark.parametrize("way", ["key", "variable"])
def test_offline_names_all_that_is_missing(server: Server, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variable":
        monkeypatch.setenv("MSPOSE_OFFLINE", "1")
    one, other = entry_of(), entry_of(name="b", file="b.onnx", url="https://b.org/model.onnx")
    with pytest.raises(PoseError, match=naming(one.url, other.url, "b.onnx", cache_folder())) as caught:
        obtain([one, other], RuntimeConfig(offline=way == "key"))
    assert len(str(caught.value).splitlines()) == 1
    assert server.requests == []


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_offline_is_not_set_by_no(server: Server, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPOSE_OFFLINE", value)
    assert get(entry_of()).is_file()


def test_what_is_cached_needs_no_connection(server: Server) -> None:
    get(entry_of())
    server.server_close()
    assert get(entry_of(), offline=True).read_bytes() == DATA


def test_a_host_that_is_not_there_ends_it_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda _: pytest.fail("waited"))
    monkeypatch.setenv("MSPOSE_MIRROR", f"{HOST}=http://nowhere.invalid")
    with pytest.raises(PoseError, match=naming("nowhere.invalid", entry_of().url, cache_folder())):
        get(entry_of())


def test_a_login_says_where_to_fetch_and_where_to_put(server: Server) -> None:
    entry = entry_of(url="")
    with pytest.raises(PoseError, match=naming("https://they.org", entry.file, cache_folder())):
        get(entry)
    cache_folder().mkdir(parents=True)
    place_of(entry).write_bytes(DATA)
    assert get(entry) == place_of(entry)


@pytest.mark.parametrize("sha256", [DIGEST, DIGEST[:8]])
def test_what_somebody_puts_there_is_verified_and_left(server: Server, sha256: str) -> None:
    cache_folder().mkdir(parents=True)
    place_of(entry_of()).write_bytes(DATA[:-1])
    with pytest.raises(PoseError, match=naming(place_of(entry_of()), sha256)):
        get(entry_of(sha256))
    with pytest.raises(PoseError, match=naming(place_of(entry_of()), f"{len(DATA):,}")):
        get(entry_of(sha256, len(DATA)))
    assert place_of(entry_of()).read_bytes() == DATA[:-1]
    assert server.requests == []


def test_a_file_that_changes_later_is_noticed(server: Server) -> None:
    place = get(entry_of())
    place.write_bytes(DATA[::-1])
    os.utime(place, ns=(1, 1))
    with pytest.raises(PoseError, match=naming(place)):
        get(entry_of())


def test_a_copied_cache_is_good(server: Server) -> None:
    place = get(entry_of(DIGEST[:8]))
    os.utime(place, ns=(1, 1))
    assert get(entry_of(DIGEST[:8])) == place
    assert record(entry_of())["modified"] == 1


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(PoseError, match=naming(cache_folder(), "MSPOSE_HOME")):
        get(entry_of())


# ---- places and mirrors


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MSPOSE_HOME": "~/m", "XDG_CACHE_HOME": "/x"}, "HOME/m/weights"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/mspose/weights"),
        ({"XDG_CACHE_HOME": ""}, "HOME/.cache/mspose/weights"),
        ({}, "HOME/.cache/mspose/weights"),
    ],
)
def test_place_of_the_cache(
    variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MSPOSE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected.replace("HOME", str(tmp_path))


def test_a_mirror_of_the_configuration_counts_most(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPOSE_MIRROR", f"{HOST}=http://nowhere.invalid")
    server.files["/deep/a/net-12345678.pth"] = DATA
    get(entry_of(), mirror=[f"{HOST}={server.url}/deep/"])
    assert server.requests == [("/deep/a/net-12345678.pth", None)]
    assert record(entry_of())["url"] == f"{server.url}/deep/a/net-12345678.pth"


def test_hugging_face_endpoint(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published()["vitpose-b-hf"]
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files["/usyd-community/vitpose-base/resolve/main/model.safetensors"] = DATA
    assert get(entry).name == "vitpose-base.safetensors"


@pytest.mark.parametrize("value", [HOST, f"{HOST}=ftp://x", "=https://x"])
def test_a_mirror_must_be_an_address(server: Server, value: str) -> None:
    with pytest.raises(UsageError, match=naming("runtime.mirror", repr(value))):
        get(entry_of(), mirror=[value])


# ---- names


def test_paths_are_left_as_they_are(server: Server) -> None:
    assert local("some/file.ckpt", RuntimeConfig()) == "some/file.ckpt"
    assert local("", RuntimeConfig()) == ""


def test_a_file_of_the_cache_has_its_name(server: Server) -> None:
    assert name_of(place_of(published()["rtmpose-m"])) == "rtmpose-m"
    assert name_of(cache_folder() / "other.onnx") == ""
    assert name_of("rtmpose-m.onnx") == ""


def test_the_digest_in_a_name_is_asked_for() -> None:
    entry = published()["hrnet-w32-udp"]
    assert entry.sha256 == "73ede547"
    assert entry.file.endswith("73ede547_20220914.pth")
