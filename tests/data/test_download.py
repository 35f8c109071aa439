"""Downloads from a faulty server on this machine, which disconnects, misreports or refuses; untrusted archives."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crayon.config.types import Archive
from crayon.data.releases import download
from crayon.data.releases.download import fetch_all, take_all, unpacked
from crayon.utils.errors import DataError, OutputError
from crayon.utils.files import sha256

CONTENT = bytes(range(256)) * 4000
STOPS = 300_000 // download.CHUNK * download.CHUNK
"""What is kept of 300,000 bytes."""


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `plan` says what each next answer does instead."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.length))
        self.end_headers()

    def do_GET(self):
        act = self.server.plan.pop(0) if self.server.plan else "whole"
        self.server.asked.append((self.path, self.headers.get("Range")))
        if isinstance(act, int):
            self.send_error(act)
            return
        body = b"<!DOCTYPE html><html>Sign in</html>" if act == "page" else self.server.content
        start = 0
        if (wanted := self.headers.get("Range")) and act != "no ranges":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + 300_000] if act == "break off" else body[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.plan, server.asked, server.content, server.etag = [], [], CONTENT, '"1"'
    server.length = len(CONTENT)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(server, name="data.tgz"):
    return f"http://127.0.0.1:{server.server_port}/{name}"


def digest(content=CONTENT):
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_a_file_is_downloaded_and_checked(server, tmp_path):
    path = tmp_path / "raw/data.tgz"
    fetch_all({path: Archive(urls=(url(server),), sha256=digest())})
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["data.tgz"]
    fetch_all({path: Archive(urls=(url(server),), sha256=digest())})
    assert len(server.asked) == 1  # what is there is not downloaded again


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server.plan = ["break off", "break off"]
    fetch_all({tmp_path / "data.tgz": Archive(urls=(url(server),), sha256=digest())})
    assert (tmp_path / "data.tgz").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={STOPS}-", f"bytes={2 * STOPS}-"]


def test_later_run_resumes_unless_the_file_has_changed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    archive = {tmp_path / "data.tgz": Archive(urls=(url(server),))}
    server.plan = ["break off"]
    with pytest.raises(DataError, match="broke off after 262144 bytes"):
        fetch_all(archive)
    fetch_all(archive)
    assert server.asked[-1][1] == f"bytes={STOPS}-"
    (tmp_path / "data.tgz").unlink()
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.plan = ["break off", 404]
    with pytest.raises(DataError, match="404"):
        fetch_all(archive)
    server.content, server.etag = CONTENT[::-1], '"2"'
    fetch_all(archive)
    assert (tmp_path / "data.tgz").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.plan = ["break off", "no ranges"]
    fetch_all({tmp_path / "data.tgz": Archive(urls=(url(server),), sha256=digest())})
    assert (tmp_path / "data.tgz").read_bytes() == CONTENT


def test_the_next_mirror_is_tried(server, tmp_path):
    server.plan = [404, "page"]
    mirrors = tuple(url(server, name) for name in ("a.tgz", "b.tgz", "c.tgz"))
    fetch_all({tmp_path / "a.tgz": Archive(urls=mirrors, sha256=digest())})
    assert [path for path, _ in server.asked] == ["/a.tgz", "/b.tgz", "/c.tgz"]
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_a_web_page_in_place_of_a_file_is_recognised(server, tmp_path):
    server.plan = ["page"]
    with pytest.raises(DataError, match=r"is a web page, not the file.*in a browser.*by hand.*--from") as caught:
        fetch_all({tmp_path / "img.zip": Archive(urls=(url(server, "img.zip"),))})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "img.zip").exists()


def test_a_wrong_digest_is_told_with_both(server, tmp_path):
    with pytest.raises(DataError, match=f"has the sha256 {digest()}, not {'0' * 64}"):
        fetch_all({tmp_path / "data.tgz": Archive(urls=(url(server),), sha256="0" * 64)})
    assert not (tmp_path / "data.tgz").exists()


def test_no_network_is_one_sentence_that_names_all_files(tmp_path, caplog):
    images, masks = "http://127.0.0.1:9/images.tgz", "http://127.0.0.1:9/masks.tgz"
    with pytest.raises(DataError) as caught, caplog.at_level("INFO", logger="crayon"):
        fetch_all(
            {
                tmp_path / "images.tgz": Archive(urls=(images,), sha256=digest()),
                tmp_path / "masks.tgz": Archive(urls=(masks,)),
            }
        )
    assert str(caught.value) == (
        f"{tmp_path}/images.tgz: could not be downloaded ({images}: no connection to the host). Get by hand "
        f"images.tgz from {images} (sha256 {digest()}), masks.tgz from {masks}; put them into {tmp_path}, or give "
        "the folder that holds them: crayon download BENCHMARK --from FOLDER."
    )
    assert "attempt" not in caplog.text


def test_room_is_looked_for_before_anything_is_downloaded(server, tmp_path):
    server.length = 10**17
    with pytest.raises(OutputError, match=r"GB are free.*Nothing was downloaded"):
        fetch_all({tmp_path / "data.tgz": Archive(urls=(url(server),))})
    assert not server.asked


def test_files_on_disk_are_taken_from_a_folder_or_by_name(server, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/data.tgz").write_bytes(CONTENT)
    fetch_all({tmp_path / "raw/data.tgz": Archive(urls=(url(server),), sha256=digest())}, tmp_path / "mine")
    fetch_all({tmp_path / "raw2/data.tgz": Archive(urls=(url(server),))}, tmp_path / "mine/data.tgz")
    assert (tmp_path / "raw/data.tgz").read_bytes() == (tmp_path / "raw2/data.tgz").read_bytes() == CONTENT
    assert not server.asked
    with pytest.raises(DataError, match="no such file or folder; correct --from"):
        fetch_all({tmp_path / "raw3/data.tgz": Archive(urls=(url(server),))}, tmp_path / "none")
    with pytest.raises(DataError, match=r"is not one of the missing files \(other.tgz\)"):
        fetch_all({tmp_path / "x/other.tgz": Archive(file="other.tgz")}, tmp_path / "mine/data.tgz")
    with pytest.raises(DataError, match=r"it is not the file that params\.yaml expects"):
        fetch_all({tmp_path / "x/data.tgz": Archive(file="data.tgz", sha256="0" * 64)}, tmp_path / "mine")


def test_a_file_under_another_name_is_taken_by_its_digest(tmp_path):
    """Browsers rename what they save; a file without a digest in params.yaml is found by its name only."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/data (1).tgz").write_bytes(CONTENT)
    (tmp_path / "mine/notes.txt").write_text("other")
    raw = tmp_path / "raw"
    known, unknown = Archive(file="data.tgz", sha256=digest()), Archive(file="answers.zip")
    take_all({raw / "data.tgz": known, raw / "answers.zip": unknown}, tmp_path / "mine")
    assert (raw / "data.tgz").read_bytes() == CONTENT
    assert not (raw / "answers.zip").exists()
    take_all({tmp_path / "again/data.tgz": known}, tmp_path / "mine/data (1).tgz")
    assert (tmp_path / "again/data.tgz").read_bytes() == CONTENT


def test_files_that_have_each_others_names_are_told_apart_by_digest(tmp_path, caplog):
    """The authors' maps and answers have one name, so that people rename one of them."""
    mine, raw = tmp_path / "mine", tmp_path / "raw"
    mine.mkdir()
    (mine / "gradcam.json").write_bytes(b"maps")
    (mine / "maps.json").write_bytes(CONTENT)
    answers, maps = Archive(file="gradcam.json", sha256=digest()), Archive(file="maps.json")
    with caplog.at_level("INFO", logger="crayon"):
        take_all({raw / "maps.json": maps, raw / "gradcam.json": answers}, mine)
    assert [path.name for path in raw.iterdir()] == ["gradcam.json"]
    assert (raw / "gradcam.json").read_bytes() == CONTENT
    assert f"{mine}: does not contain maps.json" in caplog.text  # that name is the answers', and no digest is known
    take_all({raw / "maps.json": Archive(file="maps.json", sha256=digest(b"maps"))}, mine)
    assert (raw / "maps.json").read_bytes() == b"maps"


def test_a_file_put_there_by_hand_is_checked(tmp_path):
    (tmp_path / "data.tgz").write_bytes(b"another")
    with pytest.raises(DataError, match=r"has the sha256 .*; move it elsewhere, .* or correct its `sha256`"):
        fetch_all({tmp_path / "data.tgz": Archive(file="data.tgz", sha256="0" * 64)})
    with pytest.raises(DataError, match=r"params\.yaml names no address"):
        fetch_all({tmp_path / "other.tgz": Archive(file="other.tgz")})


def members(path, *names, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/passwd", 3 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


def zipped(path, *names, mode=0o100644):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "abc")
    return path


@pytest.mark.parametrize(("make", "file"), [(members, "x.tar.gz"), (members, "x.tgz"), (zipped, "x.zip")])
def test_an_archive_is_unpacked(tmp_path, make, file):
    folder = unpacked(make(tmp_path / file, "a/b.txt", "c.txt"), tmp_path / "out")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == ["a/b.txt", "c.txt"]
    assert (folder / "a/b.txt").read_text() == "abc"


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/{}/evil.txt", "..\\evil.txt", "C:\\evil.txt"])
@pytest.mark.parametrize(("make", "file"), [(members, "x.tgz"), (zipped, "x.zip")])
def test_nothing_is_written_outside_of_the_folder(tmp_path, name, make, file):
    path = make(tmp_path / file, "fine.txt", name.format(tmp_path))
    assert b"evil" in (path.read_bytes() if make is zipped else gzip.decompress(path.read_bytes()))
    if make is members and name.count("../"):
        with pytest.raises(DataError, match=r"evil\.txt' would be extracted to .* outside .* do not use this"):
            unpacked(path, tmp_path / "out")
    else:
        unpacked(path, tmp_path / "out")
        assert len([found for found in (tmp_path / "out").rglob("*evil.txt") if found.is_file()]) == 1
    assert sorted(found.name for found in tmp_path.iterdir()) == ["out", file]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with pytest.raises(DataError, match=r"x\.tar\.gz: 'evil' is a link or a device; it is not unpacked"):
        unpacked(members(tmp_path / "x.tar.gz", "evil", kind=kind), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_a_zip_file_is_no_link_on_disk(tmp_path):
    folder = unpacked(zipped(tmp_path / "x.zip", "evil", mode=0o120777), tmp_path / "out")
    assert not (folder / "evil").is_symlink()
    assert (folder / "evil").read_text() == "abc"


def test_a_python_without_the_data_filter_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.delattr(tarfile, "FilterError")
    with pytest.raises(DataError, match=r"x\.tgz: Python 3\.\S+ cannot unpack it .* use Python 3\.11\.4 or later\."):
        unpacked(members(tmp_path / "x.tgz", "a.txt"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (unpacked(zipped(tmp_path / "x.zip", "a.txt"), tmp_path / "out") / "a.txt").exists()
    (tmp_path / "y.zip").write_bytes(b"")
    with pytest.raises(DataError, match="is cut off or corrupt"):
        unpacked(tmp_path / "y.zip", tmp_path / "out")


def test_a_damaged_archive_is_named(tmp_path):
    path = members(tmp_path / "x.tgz", *map(str, range(100)))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of the checksum at the end
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.tgz: is cut off or corrupt \(CRC check failed"):
        unpacked(path, tmp_path / "out")
    (tmp_path / "y.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"y\.tgz: is cut off or corrupt \(Not a gzipped file"):
        unpacked(tmp_path / "y.tgz", tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(OutputError, match="out: the archive cannot be unpacked here"):
        unpacked(members(tmp_path / "x.tgz", "a.txt"), tmp_path / "out")


@pytest.mark.parametrize("file", ["x.tar.gz", "x.tgz", "x.zip", "x.tar"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9, 0.95])
def test_a_truncated_archive_is_named(tmp_path, file, keep):
    for number in range(30):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{number}.bin").write_bytes(digest(bytes([number])).encode() * 200)
    path = tmp_path / file
    if path.suffix == ".zip":
        shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path / "in")
    else:
        with tarfile.open(path, "w:gz" if "gz" in file else "w") as archive:
            archive.add(tmp_path / "in", "in")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match="is cut off or corrupt") as caught:
        unpacked(path, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_taken_as_they_are(tmp_path):
    (tmp_path / "list.txt").write_text("abc")
    assert unpacked(tmp_path / "list.txt", tmp_path / "out") == tmp_path / "list.txt"
    assert sha256(tmp_path / "list.txt") == digest(b"abc")
