"""The page's server: what it serves, accepts and refuses."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import suppress

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from crayon.annotations.answers import read_answers
from crayon.annotations.ui.app import SHOWN_HEADER, build
from crayon.annotations.ui.notes import read_notes
from crayon.annotations.ui.security import Guard, names_of, tokens_for
from crayon.annotations.ui.session import Page
from crayon.annotations.ui.store import Store
from crayon.pipeline.steps.annotate import default_goal
from crayon.pipeline.steps.annotation_order import BLOCK, order_items, order_of
from crayon.pipeline.steps.load_items import load_items
from crayon.report.build import load_plan
from crayon.saliency.overlays import highlight_in_red, highlight_overlaid, patch_view, readable
from crayon.saliency.placement import CENTRED
from crayon.utils.errors import AnnotationError, OutputError
from crayon.utils.files import write_npy

from . import made

ANN = {"X-Crayon-Annotator": "ann"}
OPERATOR = "0123456789abcdef" * 2
YES = {"answers": {"yes": [0]}, "seconds": 1}


class Client:
    """Requests to an application in this process, with a browser's headers by default."""

    def __init__(self, app, host: str = "127.0.0.1:8765") -> None:
        self.app, self.host = app, host

    def request(self, method: str, path: str, headers=None, **more) -> httpx.Response:
        headers = httpx.Headers(headers)
        with suppress(HTTPException):  # who may not answer has no session
            headers.setdefault(SHOWN_HEADER, self.page.session(headers.get("X-Crayon-Annotator", "")).shown)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{self.host}") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(ask())

    def get(self, path: str, headers=ANN, **more) -> httpx.Response:
        return self.request("GET", path, headers, **more)

    def give(self, number, said="yes", seconds=1.25, annotator="ann", **headers) -> httpx.Response:
        own = {"X-Crayon-Annotator": annotator, "Origin": f"http://{self.host}"} | headers
        return self.request("POST", "/api/answers", own, json={"answers": {said: [number]}, "seconds": seconds})


@pytest.fixture
def project(tmp_path, monkeypatch):
    made.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(project):
    """Opens the page for a kind of annotation, and closes its store at the end."""
    stores = []

    def starts(kind="attention", annotators=(), tokens=None, host="127.0.0.1", asks=made.in_order) -> Client:
        plan = load_plan()
        asked = load_items(plan, made.NAME, kind)
        stores.append(Store(asked.answers, asked.known, asked.digest, asked.shown))
        page = Page(asked, stores[-1], "Waterbirds", annotators, asks, f"mini/{made.NAME}/{kind}", ["snakemake"])
        client = Client(Guard(build(page), names_of(host, not tokens), tokens or {}, OPERATOR))
        client.page = page
        return client

    yield starts
    for store in stores:
        store.close()


def pixels(response: httpx.Response) -> np.ndarray:
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_an_item_is_shown_as_the_paper_shows_it(start):
    client = start()
    asked = client.page.item_set
    order = made.in_order(list(asked.items), "ann")
    item = asked.items[order[3]]
    image, _ = readable(np.asarray(asked.images[item.row]), 384)
    assert image.shape == (384, 384, 3)
    assert asked.shift != CENTRED  # as the network's gradients say
    attention = asked.maps[item.position]
    expected = {
        "image": image,
        "overlaid": highlight_overlaid(image, attention, asked.shift),
        "red": highlight_in_red(image, attention, asked.shift),
    }
    for view, shown in expected.items():
        np.testing.assert_array_equal(pixels(client.get(f"/api/items/3/{view}.png")), shown)


def test_a_patch_is_shown_in_its_image_and_asked_once(start):
    client = start("neurons")
    asked = client.page.item_set
    assert list(asked.items) == [f"train-{n:05d}@0,0" for n in range(6)]  # of seven rows in patches.csv
    order = made.in_order(list(asked.items), "ann")
    item = asked.items[order[0]]
    image, factor = readable(np.asarray(asked.images[item.row]), 384)
    shown = patch_view(image, 0, 0, 6 * factor, 6 * factor, thickness=4)
    np.testing.assert_array_equal(pixels(client.get("/api/items/0/patch.png")), shown)
    assert client.get("/api/items/0/red.png").status_code == 404


def test_views_and_questions_are_the_benchmarks_own(tmp_path, monkeypatch, start):
    content = made.content(views=["overlaid"], questions={"attention": "On the {class}?"})
    content["suites"]["mini"]["benchmarks"][made.NAME]["classes"] = ["landbird", "waterbird"]
    made.tiny.write(tmp_path, content)
    client = start()
    assert client.get("/api/about").json()["views"] == ["overlaid"]
    asked = {client.get(f"/api/items/{n}").json()["question"] for n in range(8)}
    assert asked == {"On the landbird?", "On the waterbird?"}
    assert client.get("/api/items/0/image.png").status_code == 404


def test_an_answer_is_on_disk_with_all_that_is_known_of_it(start, project):
    client = start()
    response = client.give(0, "unsure", -0.0)
    assert (response.status_code, response.json()) == (200, {"saved": 1})
    (one,) = read_answers(client.page.item_set.answers, client.page.item_set.known, made.digest(project))
    assert one.item == made.in_order(list(client.page.item_set.items), "ann")[0]
    assert (one.annotator, one.answer, one.seconds) == ("ann", "unsure", "0.00")
    assert (one.source, one.interface, one.digest) == ("people", "crayon page 2", made.digest(project))
    assert one.timestamp.endswith("+00:00")


def test_annotators_have_own_order_and_own_answers(start):
    client = start()
    orders = [made.in_order(list(client.page.item_set.items), who) for who in ("ann", "ben")]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    client.give(0, "yes")
    client.give(2, "no")
    assert client.get("/api/session").json()["answers"] == "y-n" + "-" * 27
    ben = client.get("/api/session", {"X-Crayon-Annotator": "ben"}).json()
    assert ben.pop("shown") != client.get("/api/session").json()["shown"]
    nothing = {"goal": 0, "further": None, "sizes": [], "undo": 0, "notes": {}}
    assert ben == {"annotator": "ben", "answers": "-" * 30} | nothing


@pytest.fixture
def grouped(start):
    """A page on which items are shown in groups of three."""

    def starts() -> Client:
        client = start()
        names = list(client.page.item_set.items)
        client.page.group_of = {name: names[position - position % 3] for position, name in enumerate(names)}
        return client

    return starts


def rows(client) -> list:
    store = client.page.store
    return read_answers(store.path, store.known) if store.counts() else []


def test_a_group_is_contiguous_and_answered_with_one_request(grouped):
    client = grouped()
    said = client.get("/api/session").json()
    assert said["sizes"] == [3] * 10
    order = client.page.session("ann").order
    alone = made.in_order(list(client.page.item_set.items), "ann")
    groups = [order[start : start + 3] for start in range(0, 30, 3)]
    assert all(len({client.page.group_of[item] for item in group}) == 1 for group in groups)
    firsts = [min(map(alone.index, group)) for group in groups]
    assert firsts == sorted(firsts)
    body = {"answers": {"yes": [0, 2], "no": [1]}, "seconds": 1.5}
    assert client.request("POST", "/api/answers", ANN, json=body).json() == {"saved": 3}
    assert client.get("/api/session").json()["answers"][:4] == "yny-"
    given = {one.item: one for one in rows(client)}
    assert {one.seconds for one in given.values()} == {"0.50"}
    group = client.page.group_of[order[0]]
    assert {one.given for one in given.values()} == {json.dumps({"group": group, "together": 3})}
    client.give(3)
    (alone,) = (one for one in rows(client) if one.item == order[3])
    assert json.loads(alone.given) == {"group": client.page.group_of[order[3]]}
    refused = client.request("POST", "/api/answers", ANN, json={"answers": {"yes": [5, 6]}, "seconds": 1})
    assert (refused.status_code, refused.json()["error"]) == (400, "These items were not shown together.")


def test_an_undone_step_restores_the_file_and_the_one_before(grouped):
    client = grouped()
    client.give(4, "unsure")
    first = client.page.store.path.read_bytes()
    client.request("POST", "/api/answers", ANN, json={"answers": {"yes": [3, 5], "no": [4]}, "seconds": 3})
    client.give(3, annotator="ben")
    client.give(3, "yes")  # as before: no step
    undone = client.request("POST", "/api/undo", ANN, json={}).json()
    assert undone == {"answers": {"3": "-", "5": "-", "4": "u"}, "undo": 1}
    (ben,) = (one for one in rows(client) if one.annotator == "ben")
    assert client.page.store.path.read_bytes() == first + client.page.store._rows.text(ben).encode()
    assert client.page.store.given == 2
    assert client.request("POST", "/api/undo", ANN, json={}).json() == {"answers": {"4": "-"}, "undo": 0}
    refused = client.request("POST", "/api/undo", ANN, json={})
    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "There is nothing to undo since the server was started.",
    )
    assert [one.annotator for one in rows(client)] == ["ben"]


def test_an_undo_that_is_not_saved_can_be_repeated(start, project, monkeypatch):
    client = start()
    client.give(1)
    client.give(0)
    with monkeypatch.context() as patched:
        patched.setattr(client.page.store, "_replace", fails)
        assert client.request("POST", "/api/undo", ANN, json={}).status_code == 507
        assert client.get("/api/session").json()["answers"][0] == "y"
    assert client.request("POST", "/api/undo", ANN, json={}).status_code == 200
    assert client.get("/api/session").json()["answers"] == "-y" + "-" * 28


def fails(rows) -> None:
    raise OutputError("attention.csv: the disk is full.")


def test_a_note_is_kept_for_its_annotator_and_is_no_answer(start, project):
    client = start()
    order = client.page.session("ann").order

    def write(number, text):
        return client.request("POST", f"/api/items/{number}/note", ANN, json={"note": text})

    assert write(3, ' a wing,\nno "nose" ').json() == {"note": 'a wing, no "nose"'}
    assert client.get("/api/session").json()["notes"] == {"3": 'a wing, no "nose"'}
    assert client.get("/api/session", {"X-Crayon-Annotator": "ben"}).json()["notes"] == {}
    assert client.page.store.counts() == {}
    path = project / made.ANSWERS / "attention.notes.csv"
    (note,) = read_notes(path, client.page.item_set.known).values()
    assert (note.item, note.annotator, note.note) == (order[3], "ann", 'a wing, no "nose"')
    for wrong in (None, 3, "x" * 501):
        assert write(3, wrong).status_code == 400
    assert write(30, "x").status_code == 404
    assert write(3, "  ").json() == {"note": ""}
    assert read_notes(path, client.page.item_set.known) == {}


def test_a_damaged_file_of_notes_is_one_sentence(start, project):
    path = project / made.ANSWERS / "attention.notes.csv"
    path.parent.mkdir(parents=True)
    path.write_text("item,annotator,note,timestamp\ntrain-99999,ann,x,\n")
    with pytest.raises(AnnotationError, match=r"attention.notes.csv, line 2: the item 'train-99999' is unknown"):
        start()


def other_maps(project) -> None:
    write_npy(project / "interpretations/mini" / made.NAME / "maps.npy", np.ones((30, 2, 2), np.float16))


def other_question(project) -> None:
    made.tiny.write(project, made.content(questions={"attention": "Is it the background?"}))


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda project: None, {"kind": "neurons"}),
        (lambda project: None, {"asks": lambda items, annotator: sorted(items)}),
        (other_maps, {}),
        (other_question, {}),
    ],
)
def test_a_tab_that_was_opened_on_something_else_answers_nothing(start, project, change, options):
    client = start()
    before = {SHOWN_HEADER: client.get("/api/session").json()["shown"]}
    client.page.store.close()
    change(project)
    client = start(**options)
    view = client.page.item_set.views[0]
    requests = [
        ("POST", "/api/answers"),
        ("POST", "/api/undo"),
        ("POST", "/api/items/0/note"),
        ("GET", "/api/items/0"),
        ("GET", f"/api/items/0/{view}.png"),
    ]
    for method, path in requests:
        for shown in (before, {SHOWN_HEADER: ""}):
            more = {"json": YES} if method == "POST" else {}
            refused = client.request(method, path, ANN | shown, **more)
            assert refused.status_code == 409
            assert "reload it" in refused.json()["error"]
    assert client.page.store.given == 0
    assert client.give(0).status_code == 200
    assert client.page.store.given == 1


def test_a_tab_goes_on_after_a_restart_with_the_same(start):
    client = start()
    before = client.get("/api/session").json()["shown"]
    client.page.store.close()
    assert start().give(0, **{SHOWN_HEADER: before}).status_code == 200


def test_a_name_that_is_none_is_refused(start):
    client = start()
    for name in ("", "../x", "a b", "a" * 65, "<b>", "-a", "a\u00e9", "a/b", "a\tb"):
        headers = [(b"X-Crayon-Annotator", name.encode())]
        refused = client.get("/api/session", headers)
        assert refused.status_code == 400
        assert "up to 64" in refused.json()["error"]
        assert client.request("POST", "/api/answers", headers, json=YES).status_code == 400
    assert client.page.store.given == 0


def test_only_those_who_are_named_may_answer(start):
    client = start(annotators=["ann", "ben"])
    assert client.get("/api/session").status_code == 200
    refused = client.get("/api/session", {"X-Crayon-Annotator": "bem"})
    assert refused.status_code == 403
    assert "did you mean 'ben'" in refused.json()["error"]


NOT_SERVED = [
    *("/api/items/30", "/api/items/-1", "/api/items/train-00000", "/api/items/0/mask.png"),
    *(f"/api/items/{'9' * 5000}", "/api/items/%D9%A1", "/api/items/0x1", "/api/items/1.0/image.png"),
    *("/api/items/..%2f..%2fparams.yaml/image.png", "/api/items/0/..%2f..%2fimages.png", "/api/nothing"),
    *("/../params.yaml", "/..%2f..%2fparams.yaml", "/%2e%2e/%2e%2e/server.py", "/params.yaml", "//etc/passwd"),
    *("/data/mini/waterbirds/images.npy", "/annotations/mini/waterbirds/attention.csv", "/page.css%00.png"),
    *("/api/examples/maybe/image.png", "/api/examples/yes/patch.png", "/api/examples/..%2f/x.png"),
]


def test_nothing_else_is_served(start):
    client = start()
    for path in NOT_SERVED:
        response = client.get(path)
        assert (path, response.status_code) == (path, 404)
        assert set(response.json()) == {"error"}


def test_the_page_itself_is_served(start):
    client = start()
    for path, kind in {
        "/": "text/html",
        "/page.css": "text/css",
        "/page.js": "text/javascript",
        "/api.js": "text/javascript",
        "/icon.svg": "image/svg+xml",
        "/api/examples/yes/red.png": "image/png",
    }.items():
        response = client.get(path)
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, kind)
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"


BAD = [
    ({"answers": {"maybe": [0]}, "seconds": 1}, 400),
    ({"answers": {"YES": [0]}, "seconds": 1}, 400),
    ({"answers": {"yes": 0}, "seconds": 1}, 400),
    ({"answers": {"yes": []}, "seconds": 1}, 400),
    ({"answers": {"yes": [0], "no": [0]}, "seconds": 1}, 400),
    ({"answers": {"yes": [0, 1]}, "seconds": 1}, 400),
    ({"answers": {"yes": [True]}, "seconds": 1}, 404),
    ({"answers": {"yes": ["0"]}, "seconds": 1}, 404),
    ({"answers": {"yes": [30]}, "seconds": 1}, 404),
    ({"answers": {"yes": [-1]}, "seconds": 1}, 404),
    ({"answers": ["yes"], "seconds": 1}, 400),
    ({"answers": {"yes": [0]}}, 400),
    ({"answers": {"yes": [0]}, "seconds": -1}, 400),
    ({"answers": {"yes": [0]}, "seconds": "1"}, 400),
    ({"answers": {"yes": [0]}, "seconds": True}, 400),
    ({"answers": {"yes": [0]}, "seconds": 1e9}, 400),
    ('{"answers": {"yes": [0]}, "seconds": NaN}', 400),
    ('{"answers": {"yes": [0]}, "seconds": Infinity}', 400),
    ("[" * 2000, 400),
    ("yes", 400),
    ("[]", 400),
    ("", 400),
    (b"\xff\xfe", 400),
    ({"answers": {"yes": [0]}, "seconds": 1, "more": "x" * 5000}, 413),
]


def test_a_bad_answer_is_refused_and_nothing_written(start, project):
    client = start()
    headers = ANN | {"Content-Type": "application/json"}
    for body, status in BAD:
        content = json.dumps(body) if isinstance(body, dict) else body
        response = client.request("POST", "/api/answers", headers, content=content)
        assert (body, response.status_code, set(response.json())) == (body, status, {"error"})
    assert not (project / made.ANSWERS).exists()


def test_a_save_that_fails_is_said(start, project, caplog):
    caplog.set_level("INFO", "crayon")
    client = start()
    (project / "annotations").write_text("in the way")
    response = client.give(0)
    assert response.status_code == 507
    assert (
        response.json()["error"]
        == "The server could not save this; the terminal in which the page was started shows why."
    )
    assert "cannot be written" in caplog.text
    assert client.get("/api/session").json()["answers"] == "-" * 30


def test_another_host_name_is_refused(start):
    client = start()
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.7:8765", "", "["):
        assert client.get("/", {"Host": host}).status_code == 421
        assert client.give(0, Host=host).status_code == 421
    assert client.page.store.given == 0
    for host in ("localhost:9000", "127.0.0.1", "[::1]:8765", "LOCALHOST:1"):  # a tunnel has a port of its own
        assert client.get("/", {"Host": host}).status_code == 200


def test_a_page_of_another_site_cannot_answer(start):
    client = start()
    assert client.give(0, Origin="http://evil.example").status_code == 403
    assert client.give(0, Origin="null").status_code == 403
    assert client.give(0, Origin="http://127.0.0.1:9999").status_code == 403
    content = b'{"answers": {"yes": [0]}, "seconds": 1}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused = client.request("POST", "/api/answers", ANN | {"Content-Type": kind}, content=content)
        assert refused.status_code == 415
    assert client.request("POST", "/api/answers", ANN, content=content).status_code == 415
    assert client.get("/api/answers").status_code == 404
    assert client.page.store.given == 0
    assert "access-control-allow-origin" not in client.get("/api/session").headers


def test_other_machines_need_a_token_that_names_the_annotator(start):
    tokens = tokens_for(["ann", "ben"], "mini/waterbirds/attention")
    ann, ben = tokens
    assert list(tokens.values()) == ["ann", "ben"]
    client = start(annotators=["ann", "ben"], tokens=tokens, host="0.0.0.0")
    client.host = "10.0.0.7:8765"
    for path in ("/", "/page.js", "/api/about", "/api/items/0/image.png"):
        assert client.get(path).status_code == 403
        assert client.get(path, ANN | {"X-Crayon-Token": ann[:-1]}).status_code == 403
        assert client.get(path, {"Cookie": f"{client.app.cookie}=x"}).status_code == 403
    assert client.give(0).status_code == 403
    first = client.get(f"/?token={ben}")
    assert first.status_code == 200
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=Strict" in first.headers["set-cookie"]
    cookie = {"Cookie": first.headers["set-cookie"].split(";")[0]}
    assert client.get("/page.js", cookie).status_code == 200
    said = client.get("/api/session", cookie | ANN).json()  # the name in the header does not matter
    assert said["annotator"] == "ben"
    assert client.get("/api/session", cookie | {"X-Crayon-Token": ann}).json()["annotator"] == "ann"
    assert client.get("/api/session", {"Host": "evil.example", "X-Crayon-Token": ann}).status_code == 421
    assert client.give(0, **{"X-Crayon-Token": ann}).status_code == 200
    assert client.page.store.counts() == {"ann": 1}


def test_the_overview_is_for_the_operator_alone(start):
    tokens = tokens_for(["ann", "ben"], "mini/waterbirds/attention")
    ann = {"X-Crayon-Token": next(iter(tokens))}
    for options in ({}, {"annotators": ["ann", "ben"], "tokens": tokens, "host": "0.0.0.0"}):
        client = start(**options)
        for path in ("/overview", "/api/overview"):
            for headers in ({}, ann, {"X-Crayon-Token": OPERATOR[:-1]}, {"Cookie": f"{client.app.operator_cookie}=x"}):
                refused = client.get(path, headers)
                assert refused.status_code == 403
                assert "for the person who started the page" in refused.json()["error"]
                assert "set-cookie" not in refused.headers
        opened = client.get(f"/overview?token={OPERATOR}", {})
        assert (opened.status_code, opened.headers["content-type"]) == (200, "text/html; charset=utf-8")
        cookie = {"Cookie": opened.headers["set-cookie"].split(";")[0]}
        assert {"HttpOnly", "SameSite=Strict"} <= set(opened.headers["set-cookie"].split("; "))
        assert client.get("/api/overview", cookie).status_code == 200
        assert client.get("/page.css", cookie).status_code == 200
        if options:  # the operator's token answers nothing
            refused = client.request("POST", "/api/answers", cookie | {"X-Crayon-Token": OPERATOR}, json=YES)
            assert refused.status_code == 403
        assert client.get("/api/overview", cookie | {"Host": "evil.example"}).status_code == 421
        client.page.store.close()


def test_the_overview_counts_answers_speed_agreement_and_what_is_left(start):
    client = start()
    client.page.wanted = 2
    orders = {who: made.in_order(list(client.page.item_set.items), who) for who in ("ann", "ben")}
    items = orders["ann"][:3]
    client.page.gold = {items[0]: "yes", items[1]: "yes"}
    for item, ann, ben in zip(items, ("yes", "no", "no"), ("yes", "yes", "no"), strict=True):
        client.give(orders["ann"].index(item), ann, seconds=2)
        client.give(orders["ben"].index(item), ben, seconds=1, annotator="ben")
    client.give(3, "unsure", seconds=4)
    client.request("POST", "/api/items/3/note", ANN, json={"note": "no bird"})
    found = client.get("/api/overview", {"X-Crayon-Token": OPERATOR}).json()
    assert {key: found[key] for key in ("items", "wanted", "enough", "unanswered", "answers")} == {
        "items": 30,
        "wanted": 2,
        "enough": 3,
        "unanswered": 26,
        "answers": 7,
    }
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["kappa"] == pytest.approx(0.4)  # by hand: observed 2/3, by chance 4/9
    ann, ben = found["annotators"]
    assert (ann["annotator"], ann["answers"], ann["left"], ann["per_minute"]) == ("ann", 4, 26, 24)
    assert (ben["annotator"], ben["answers"], ben["left"], ben["per_minute"]) == ("ben", 3, 27, 60)
    assert (ann["gold"], ann["gold_right"], ben["gold_right"]) == (2, 1, 2)
    assert ann["agrees"] == pytest.approx(2 / 3)
    assert [(note["annotator"], note["note"]) for note in found["notes"]] == [("ann", "no bird")]
    assert found["groups"] == {"answers": 0, "groups": 0, "mixed": 0}
    assert found["next"] == "Next, when enough is answered: `snakemake`."


def test_the_overview_of_no_answers_is_empty(start):
    found = start().get("/api/overview", {"X-Crayon-Token": OPERATOR}).json()
    assert (found["answers"], found["annotators"], found["agreement"], found["unanswered"]) == (0, [], None, 30)


def test_a_token_that_all_share_asks_for_the_name(start):
    (token,) = tokens_for([], "mini/waterbirds/attention")
    client = start(tokens={token: None}, host="0.0.0.0")
    assert client.get("/api/session", {"X-Crayon-Token": token}).status_code == 400
    assert client.get("/api/session", ANN | {"X-Crayon-Token": token}).json()["annotator"] == "ann"


def test_tokens_survive_restarts_and_differ_between_pages(project):
    first = tokens_for(["ann", "ben"], "mini/waterbirds/attention")
    assert tokens_for(["ben", "ann"], "mini/waterbirds/attention") == first
    assert not set(tokens_for(["ann", "ben"], "mini/waterbirds/neurons")) & set(first)
    key = project / ".crayon/page.key"
    assert key.stat().st_mode & 0o077 == 0
    key.unlink()
    assert not set(tokens_for(["ann", "ben"], "mini/waterbirds/attention")) & set(first)


def test_all_annotators_share_the_first_items_in_own_orders(project):
    maps = np.random.default_rng(1).random((30, 2, 2)).astype(np.float16)  # no two alike
    np.save(made_maps(project), maps)
    asks = order_of(load_plan(), made.NAME, "attention", None)
    items = [f"train-{n:05d}" for n in range(30)]
    ann, ben = asks(items, "ann"), asks(items, "ben")
    assert sorted(ann) == sorted(ben) == items
    assert set(ann[:BLOCK]) == set(ben[:BLOCK])
    assert ann[:BLOCK] != ben[:BLOCK]
    assert ann == asks(items, "ann")
    assert set(ann[:BLOCK]) == {items[p] for p in order_items(load_plan(), made.NAME, "attention", None, 0)[:BLOCK]}


def made_maps(project):
    return project / "interpretations/mini" / made.NAME / "maps.npy"


def test_how_many_people_are_still_wanted(start):
    client = start()
    client.page.wanted = 3
    client.give(0)
    assert client.page.next_step().startswith("Next: 2 more people have to answer, since each item needs")
    client.give(0, annotator="ben")
    assert client.page.next_step().startswith("Next: 1 more person has to answer")
    client.give(0, annotator="cem")
    assert client.page.next_step() == "Next, when enough is answered: `snakemake`."


OPENED = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
"""What a browser sends when a person opens an address."""


@pytest.mark.parametrize(
    ("path", "host", "status", "words"),
    [
        ("/", "10.0.0.7:8765", 403, "Open the whole link that you were sent"),
        ("/?token=0123", "10.0.0.7:8765", 403, "Open the whole link that you were sent"),
        ("/", "evil.example", 421, "open the link exactly as you were sent it"),
        ("/?token={token}", "10.0.0.7:8765", 200, "Loading"),
        ("/nothing?token={token}", "10.0.0.7:8765", 404, "open the link that you were sent"),
        ("/api/items/99?token={token}", "10.0.0.7:8765", 400, "A name has up to 64"),
    ],
)
def test_a_person_gets_a_page_and_a_script_gets_json(start, path, host, status, words):
    (token,) = tokens = tokens_for([], "mini/waterbirds/attention")
    client = start(tokens=dict.fromkeys(tokens), host="0.0.0.0")
    client.host = host
    path = path.format(token=token)
    page = client.get(path, OPENED)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in page.text
    assert not [operators for operators in ("snakemake", "crayon annotate", '{"error"') if operators in page.text]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    if status != 200:
        assert "<script" not in page.text
        assert words in client.get(path, {}).json()["error"]


def test_words_from_a_request_are_text_in_a_page(start):
    client = start()
    page = client.get("/api/items/%3Cb%3Ehello", OPENED | ANN)
    assert page.status_code == 404
    assert "<b>" not in page.text
    assert "&lt;b&gt;hello" in page.text


def test_nothing_for_the_operator_is_sent_to_annotators(start):
    client = start()
    sent = [client.get(path).text for path in ("/", "/page.js", "/api.js", "/guide.js", "/api/about", "/api/session")]
    for words in ("snakemake", "crayon annotate", "params.yaml"):
        assert not [text for text in sent if words in text]


@pytest.mark.parametrize(("seconds", "status"), [(0, 400), (0.02, 400), (0.4999, 400), (0.5, 200), (3, 200)])
def test_an_answer_after_too_short_a_look_is_refused(start, seconds, status):
    client = start()
    client.page.shortest = 0.5
    assert client.get("/api/about").json()["shortest"] == 0.5
    response = client.give(0, seconds=seconds)
    assert response.status_code == status
    if status == 400:
        assert response.json()["error"] == f"This was on screen for {seconds:.2f} s, less than 0.5 s."
    assert client.page.store.counts() == ({"ann": 1} if status == 200 else {})


@pytest.mark.parametrize(("goal", "shown"), [(0, 0), (1, 1), (29, 29), (30, 0), (100, 0)])
def test_a_goal_is_shown_if_it_is_below_all_items(start, goal, shown):
    client = start()
    client.page.goal = goal
    assert client.get("/api/session").json()["goal"] == shown


@pytest.mark.parametrize(
    ("kind", "order", "minimum", "goal"),
    [
        ("attention", None, 1, 100),
        ("attention", None, 2, 100),
        ("attention", "random", 1, 100),
        ("attention", "random", 2, 0),  # the first maps of two annotators differ: few of them get two answers
        ("attention", "diverse", 2, 100),
        ("neurons", None, 1, 0),  # pruning needs nearly all neurons
    ],
)
def test_the_default_goal_of_each_kind_and_order(kind, order, minimum, goal):
    assert default_goal(kind, order, minimum) == goal


def test_the_operator_is_told_when_goal_and_end_are_reached(start, caplog):
    caplog.set_level("INFO", "crayon")
    client = start()
    client.page.goal = 2
    for number in (0, 0, 1, 1, 2):  # the second answer to an item is a repetition or a change, and is not counted again
        client.give(number)
        client.give(number, "no")
    then = "Next, when enough is answered: `snakemake`."
    assert caplog.messages == [f"ann has answered 2 of 30 items, enough for a first try. {then}"]
    for number in range(3, 30):
        client.give(number)
    assert caplog.messages[1:] == [f"ann has answered all 30 items. {then}"]
