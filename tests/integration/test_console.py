"""The console in a real browser, used as a person would."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, sync_playwright

import browser as chromium
import mariadb
from broker_process import Broker
from browser import PATIENCE, Person, while_away
from http_client import request
from mariadb import MariaDb, section
from wire import Wire, b64, unb64

pytestmark = pytest.mark.skipif(bool(chromium.MISSING), reason=chromium.MISSING)

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
MANY = 10_000
MEMORY = {"storage": {"type": "memory"}}
HOSTILE = "<img src=x onerror=alert(1)>"
ORDER = '{"order": 12345678901234567890, "lines": [{"sku": "A-1", "quantity": 2}], "note": "<b>at the door</b>", "paid": true}'
BINARY = bytes(range(256))
WIDE, NARROW = (1280, 900), (360, 740)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = chromium.launch(playwright)
        yield started
        started.close()


@pytest.fixture
def person(browser: Browser, broker: Broker) -> Iterator[Person]:
    """Before a broker of their own; whatever happens, the browser must have nothing to complain of."""
    someone = Person(browser, broker.http)
    yield someone
    someone.check()
    someone.leave()


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:
    with Wire(broker.host, broker.port) as connection:
        yield connection


def of_queue(name: str) -> str:
    return f"/queues/{quote(name, safe='')}"


def bury(wire: Wire, queue: str, *payloads: bytes) -> None:
    """Make dead letters, in the queue `dead`."""
    wire.done("P", queue, payloads=[b64(payload) for payload in payloads])
    wire.done("Y", queue, policy={"max_deliveries": 1, "dead_letter": "dead"})
    taken = wire.done("S", queue, count=len(payloads), lease=60)
    wire.done("N", receipts=[message["receipt"] for message in taken["messages"]])


# The list


def test_a_message_published_over_tcp_appears_within_a_second(person: Person, wire: Wire) -> None:
    page = person.open()
    person.sees(".empty h2", "There are no queues yet")
    took: list[float] = []
    for number in range(1, 5):
        wire.done("P", "orders", payload=b64(b"x"))
        published = time.monotonic()
        person.sees(".queues tr", "orders").locator(".cell-ready .value", has_text=re.compile(f"^{number}$")).wait_for()
        took.append(time.monotonic() - published)
    assert sorted(took)[1] < 1, f"the messages were seen after {took} s; one or the other may be late on a busy machine"
    assert page.locator(".queues tbody tr").count() == 1


def test_the_overview_tells_of_the_broker(person: Person, wire: Wire) -> None:
    wire.done("P", "later", payload=b64(b"x"), delay=60)
    wire.done("P", "orders", payloads=[b64(b"x")] * 3)
    wire.done("S", "orders", count=1, lease=60)
    person.open()
    for label, figure in (("Queues", "2"), ("Ready", "2"), ("Delayed", "1"), ("Leased", "1"), ("Storage", "filesystem")):
        person.sees(f".overview .tile:has(dt:text-is('{label}')) .figure", figure)
    person.sees(".overview .tile:has(dt:text-is('Connections')) .below", "1 TCP")
    person.sees("#version", "0.1.0")


def test_rates_and_small_charts_move(person: Person, wire: Wire) -> None:
    page = person.open()
    deadline = time.monotonic() + 10
    rates = page.locator(".queues tr:has-text('busy') .cell-in .value")
    while rates.count() == 0 or rates.inner_text() in {"\N{EN DASH}", "0/s"}:
        assert time.monotonic() < deadline, "no rate was shown of a queue that is published to"
        wire.done("P", "busy", payloads=[b64(b"x")] * 10)
    drawn = "() => [...document.querySelector('.spark canvas').getContext('2d').getImageData(0, 0, 112, 28).data].some((byte) => byte)"
    person.waits(drawn)
    person.sees(".overview .tile:has(dt:text-is('Published')) .figure", "/s")


def test_ten_thousand_queues_are_searched_sorted_and_paged(browser: Browser, start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({**MEMORY, "limits": {"queues": 2 * MANY}})
    with Wire(broker.host, broker.port) as wire:
        for start in range(0, MANY, 500):
            for number in range(start, start + 500):
                wire.send("P", f"team-{number % 40:02}.queue-{number:05}", payload=b64(b"x"))
            for _ in range(500):
                wire.read()
        wire.done("P", "team-07.queue-00007", payloads=[b64(b"x")] * 5)
    person = Person(browser, broker.http)
    page = person.open()
    person.sees(".found", "10,000 queues")
    person.sees(".place", "Page 1 of 100")
    assert page.locator(".queues tbody tr").count() == 100
    page.get_by_role("button", name="Next").click()
    person.sees(".place", "Page 2 of 100")
    page.locator("h1, body").first.press("]")
    person.sees(".place", "Page 3 of 100")
    page.go_back()
    person.sees(".place", "Page 2 of 100")

    page.keyboard.press("/")
    page.keyboard.type("QUEUE-0000")
    person.sees(".found", "10 queues found")
    person.sees(".queues tr", "team-00.queue-00000")
    page.keyboard.press("Escape")
    person.sees(".found", "10,000 queues")
    page.get_by_role("button", name="Ready", exact=True).click()
    person.sees(".queues tbody tr:first-child", "team-07.queue-00007")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.keyboard.press("/")
    page.keyboard.type("nobody has this")
    person.sees(".empty h2", "No queue has that in its name")
    page.get_by_role("button", name="Show all queues").click()
    person.sees(".found", "10,000 queues")
    person.check()
    person.leave()


def test_a_new_queue_is_made_by_its_name(person: Person, wire: Wire) -> None:
    page = person.open()
    page.get_by_role("button", name="New queue").click()
    page.get_by_label("Name").fill("a/b & c%2F?")
    page.keyboard.press("Enter")
    person.sees("h1", "a/b & c%2F?")
    person.sees(".existing .tile", "Ready")
    assert [queue["queue"] for queue in wire.done("Q")["queues"]] == ["a/b & c%2F?"]


# One queue


def test_the_page_publishes_with_all_options(person: Person, wire: Wire) -> None:
    page = person.open(of_queue("orders"))
    person.sees(".empty h2", "There is no such queue")
    page.get_by_label("Payload", exact=True).fill("Grüße\nzwei")
    page.get_by_text("Options").click()
    page.get_by_label("Priority").fill("9")
    page.get_by_label("Time to live (s)").fill("3600")
    page.get_by_label("Key").fill("k1")
    page.get_by_label("Headers").fill("trace: 4bf92f\ncontent-type: text/plain")
    page.get_by_role("button", name="Publish", exact=True).click()
    person.sees(".outcome", "Published as message 1.")
    person.sees(".message .payload", "Grüße")
    [message] = wire.done("S", "orders", count=5)["messages"]
    assert unb64(message["payload"]).decode() == "Grüße\nzwei"
    assert message["priority"] == 9
    assert message["headers"] == {"trace": "4bf92f", "content-type": "text/plain"}
    page.get_by_label("Payload", exact=True).fill("other")
    page.get_by_label("Payload", exact=True).press("Control+Enter")
    person.sees(".outcome[data-state=bad]", "Not published")
    person.complaints.clear()  # the browser tells of every status above 399


def test_payloads_are_shown_as_text_json_or_hex(person: Person, wire: Wire) -> None:
    wire.done("P", "mixed", payloads=[b64(ORDER.encode()), b64("Grüße aus Köln".encode()), b64(BINARY), b64(b"")])
    page = person.open(of_queue("mixed"))
    shown = page.locator(".messages .payload")
    person.sees(".messages .message:nth-child(1) .payload[data-form=json]", '"order": 12345678901234567890,\n  "lines": [\n    {')
    person.sees(".messages .message:nth-child(2) .payload[data-form=text]", "Grüße aus Köln")
    person.sees(".messages .message:nth-child(3) .payload[data-form=hex]", "00000010  10 11 12 13")
    person.sees(".messages .message:nth-child(4)", "The payload is empty.")
    first = page.locator(".messages .message:nth-child(1)")
    first.get_by_text("Hex", exact=True).click()
    person.sees(".messages .message:nth-child(1) .payload", "00000000  7b 22 6f 72 64")
    first.get_by_text("Text", exact=True).click()
    assert shown.nth(0).inner_text() == ORDER
    wire.done("P", "mixed", payload=b64(b"one more"))
    person.sees(".messages .message:nth-child(5)", "one more")
    assert shown.nth(0).inner_text() == ORDER, "news of the queue undid the person's choice"
    wire.done("S", "mixed", count=4)
    person.sees(".messages .message:nth-child(1)", "one more")


def test_a_long_payload_is_shown_in_part_until_asked_for(person: Person, wire: Wire) -> None:
    wire.done("P", "long", payload=b64(b"line\n" * 5000 + b"the end"))
    page = person.open(of_queue("long"))
    person.sees(".messages .message", "line")
    assert "the end" not in page.locator(".payload").inner_text()
    page.get_by_role("button", name="Show all of it (24 KiB)").click()
    person.sees(".payload", "the end")


def test_a_payload_that_is_nested_very_deeply_hides_no_message(person: Person, wire: Wire) -> None:
    depth = 100_000
    wire.done("P", "deep", payloads=[b64(b"[" * depth + b"]" * depth), b64(b"the next")])
    person.open(of_queue("deep"))
    person.sees(".messages .message:nth-child(1) .payload", "[")
    person.sees(".messages .message:nth-child(2)", "the next")


def test_a_message_is_taken_leased_and_put_back(person: Person, wire: Wire) -> None:
    wire.done("P", "orders", payloads=[b64(b"first"), b64(b"second")])
    page = person.open(of_queue("orders"))
    page.get_by_label("How to take it").select_option("30")
    page.get_by_role("button", name="Take one").click()
    person.sees(".taken .message", "first")
    person.sees(".existing .tile:has(dt:text-is('Leased')) .figure", "1")
    page.get_by_role("button", name="Put back").click()
    person.sees("#notices", "Message 1 was put back.")
    person.sees(".existing .tile:has(dt:text-is('Leased')) .figure", "0")
    page.get_by_role("button", name="Take one").click()
    page.get_by_role("button", name="Acknowledge").click()
    person.sees("#notices", "Message 1 was acknowledged.")
    page.get_by_label("How to take it").select_option("")
    page.get_by_role("button", name="Take one").click()
    person.sees(".taken .message", "taken and removed")
    person.sees(".peek", "No message is ready.")
    assert wire.done("I", "orders")["leased"] == 0
    page.get_by_role("button", name="Take one").click()
    person.sees("#notices", "There is nothing to take")


def test_clearing_asks_first(person: Person, wire: Wire) -> None:
    wire.done("P", "orders", payloads=[b64(b"x")] * 3)
    page = person.open(of_queue("orders"))
    clear = page.get_by_role("button", name="Clear…")
    clear.click()
    person.sees("dialog", "This removes 3 messages")
    assert page.evaluate("document.activeElement.textContent") == "Cancel", "what cannot be undone must not be what Enter does"
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Clear…", "the focus is not back where it was"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel").click()
    assert wire.done("L", "orders")["payload"] == "3", "a question that was answered with no cleared the queue"
    clear.click()
    page.get_by_role("button", name="Clear the queue").click()
    person.sees("#notices", "Cleared: 3 messages removed.")
    person.sees(".existing .tile:has(dt:text-is('Ready')) .figure", "0")
    assert wire.done("L", "orders")["payload"] == "0"


def test_deleting_asks_first_and_goes_to_the_list(person: Person, wire: Wire) -> None:
    wire.done("P", "orders", payload=b64(b"x"))
    wire.done("P", "others", payload=b64(b"x"))
    page = person.open(of_queue("orders"))
    page.get_by_role("button", name="Delete…").click()
    person.sees("dialog .dialog-name", "orders")
    page.get_by_role("button", name="Delete the queue").click()
    person.sees("#notices", "Deleted orders, and 1 message with it.")
    person.sees(".found", "1 queue")
    assert [queue["queue"] for queue in wire.done("Q")["queues"]] == ["others"]


def test_dead_letters_say_why_and_are_put_back(person: Person, wire: Wire) -> None:
    bury(wire, "work", b"poison", b"venom", b"toxin")
    page = person.open(of_queue("dead"))
    person.sees(".message .dead", "from work, where it was message 1: delivered too often, 1 delivery, at 20")
    person.sees(".dead-bar", "3 dead letters.")
    page.get_by_role("button", name="Put the first back").click()
    person.sees("#notices", "1 dead letter put back where it came from.")
    person.sees(".dead-bar", "2 dead letters.")
    page.get_by_role("button", name="Put all back").click()
    person.sees("#notices", "2 dead letters put back where they came from.")
    page.locator(".dead-bar").wait_for(state="hidden")
    back = wire.done("S", "work", count=5)["messages"]
    assert sorted(unb64(message["payload"]) for message in back) == [b"poison", b"toxin", b"venom"]


def test_a_queues_policy_and_totals_are_shown(person: Person, wire: Wire) -> None:
    wire.done("P", "orders", payloads=[b64(b"x")] * 4)
    wire.done("Y", "orders", policy={"max_messages": 5000, "ttl": 5400, "dead_letter": "dead", "max_deliveries": 5})
    wire.done("S", "orders", count=1)
    person.open(of_queue("orders"))
    policy = person.sees(".facts-panels .panel", "Policy").inner_text()
    for part in ("Most messages\n5,000", "Time to live\n1 h 30 min", "Dead letters go to\ndead"):
        assert part in policy, f"{part!r} is not in {policy!r}"
    totals = person.sees(".facts-panels .panel", "Since the start").inner_text()
    assert "Published\n4\nDelivered\n1" in totals


# All of it


def test_hostile_names_and_payloads_are_only_text(person: Person, wire: Wire) -> None:
    script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    names = (HOSTILE, "'\"><svg onload=alert(1)>", "javascript:alert(1)", "__proto__", "constructor", "../../etc", "%00", "\u202egnp")
    for name in names:
        wire.done("P", name, payload=b64(script.encode()), headers={HOSTILE: script, "__proto__": "x"})
    bury(wire, HOSTILE + "2", script.encode())
    page = person.open()
    for name in (*names, "dead"):
        person.sees(".queues tbody th a", name).click()
        person.sees("h1", name)
        person.sees(".message .payload", script)
        page.get_by_role("link", name="All queues", exact=True).click()
    person.sees(".queues tbody th a", HOSTILE).click()
    page.get_by_role("button", name="Take one").click()
    person.sees(".taken .message", script)
    page.get_by_role("button", name="Delete…").click()
    person.sees("dialog .dialog-name", HOSTILE)
    page.get_by_role("button", name="Delete the queue").click()
    person.sees("#notices", f"Deleted {HOSTILE}")
    assert page.evaluate("window.hacked") is None, "a payload was run as a script"
    assert page.locator("main img, main script, main svg").count() == 0, "a name or a payload became an element"


def test_the_page_says_that_the_broker_is_away_and_comes_back(browser: Browser, start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    with Wire(broker.host, broker.port) as wire:
        wire.done("P", "orders", payload=b64(b"x"))
    person = Person(browser, broker.http)
    page = person.open()
    person.sees(".queues tr", "orders")
    began = time.monotonic()
    broker.stop()
    took = time.monotonic() - began
    assert took < 5, f"an open console kept the broker from stopping for {took:.1f} s"
    person.sees(".trouble", "The broker cannot be reached.")
    person.sees("#link-state[data-state=away]", "away")
    person.sees(".queues tr", "orders")
    broker.start()
    page.locator("#link-state[data-state=live]").wait_for()
    page.locator(".trouble").wait_for(state="hidden")
    person.check(while_away)
    person.leave()


def test_a_person_logs_in_and_out_and_the_password_stays_nowhere(browser: Browser, start_broker: Callable[..., Broker]) -> None:
    broker = start_broker({"auth": {"user": "ann", "password": "secret"}})
    person = Person(browser, broker.http)
    page = person.page
    page.goto(person.home)
    page.get_by_label("User").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    person.sees("#why", "The user or the password is wrong.")
    for width, height in ((1280, 900), (360, 640)):
        page.set_viewport_size({"width": width, "height": height})
        person.shoot(PICTURES, f"login-{'wide' if width > 400 else 'narrow'}-light")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    page.locator("#link-state[data-state=live]").wait_for()
    (cookie,) = person.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["name"]) == (True, "Strict", "gmq_session")
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert "secret" not in stored
    assert cookie["value"] not in stored, "a script can read the session's secret"
    person.open(of_queue("orders"))
    page.get_by_label("Payload", exact=True).fill("hello")
    page.get_by_role("button", name="Publish", exact=True).click()
    person.sees(".message .payload", "hello")
    page.get_by_role("button", name="Log out ann").click()
    page.get_by_label("Password").wait_for()
    headers = {"Cookie": f"gmq_session={cookie['value']}"}
    assert request(broker.http, "GET", "/v1/queues", headers=headers).status == 401, "the session goes on after logging out"
    person.check(lambda complaint: "status of 401" in complaint)
    person.leave()


def test_a_session_of_a_user_who_is_gone_leads_to_the_login_page(
    browser: Browser, start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    folder = tmp_path / "users"
    folder.mkdir()
    for name in ("ann", "bob"):
        (folder / name).write_text("secret")
    broker = start_broker({"auth": {"users_directory": str(folder)}})
    person = Person(browser, broker.http)
    page = person.page
    page.goto(person.home)
    page.get_by_label("User").fill("ann")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    page.locator("#link-state[data-state=live]").wait_for()
    (folder / "ann").unlink()
    person.page.get_by_role("button", name="New queue").wait_for()
    page.get_by_label("User").wait_for(timeout=2 * PATIENCE)
    person.check(lambda complaint: "status of 401" in complaint)
    person.leave()


def test_the_page_says_why_the_storage_cannot_serve(browser: Browser, start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    database = MariaDb(tmp_path / "database")
    database.start()
    try:
        broker = start_broker(section(database.port, database.create()))
        with Wire(broker.host, broker.port) as wire:
            wire.done("P", "orders", payloads=[b64(b"x")] * 3)
        person = Person(browser, broker.http)
        page = person.open()
        person.sees(".queues tr", "orders").locator(".cell-ready").filter(has_text="3").wait_for()
        person.sees(".overview .tile:has(dt:text-is('Storage')) .below", "serving")
        database.kill()
        person.sees(".trouble", "The storage cannot serve: ")
        person.sees(".overview .tile:has(dt:text-is('Storage')) .below", "failing")
        person.sees(".queues tr", "orders")
        assert page.locator("#link-state").get_attribute("data-state") == "live", "the broker itself is there"
        database.start()
        page.locator(".trouble").wait_for(state="hidden")
        person.sees(".overview .tile:has(dt:text-is('Queues')) .figure", "1")
        person.check()
        person.leave()
    finally:
        database.kill()


def test_the_keyboard_reaches_everything(person: Person, wire: Wire) -> None:
    wire.done("P", "orders", payload=b64(b"x"))
    page = person.open()
    person.sees(".queues tr", "orders")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator(".skip").focus()
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent || document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert reached[-1].startswith("GMQ") or outline != "none" or page.evaluate("document.activeElement === document.body"), (
            f"one does not see that {reached[-1]!r} has the focus"
        )
        if reached[-1] == "orders":
            break
    assert {"search", "New queue", "Ready", "orders"} <= set(reached), f"the tab key only reached {reached}"
    page.keyboard.press("Enter")
    person.sees("h1", "orders")
    page.get_by_label("Payload", exact=True).fill("half a message")
    page.keyboard.press("Escape")
    assert page.get_by_label("Payload", exact=True).input_value() == "half a message", "Escape threw away what was written"
    page.keyboard.press("Escape")
    person.sees(".found", "1 queue")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("/")
    assert page.locator("#search").input_value() == "/", "what is typed into a field is not a command"


def test_the_theme_is_the_systems_until_one_is_chosen(browser: Browser, broker: Broker) -> None:
    person = Person(browser, broker.http, dark=True)
    page = person.open()
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.emulate_media(color_scheme="light")
    person.waits(f"() => {theme} === 'light'")
    for expected in ("light", "dark"):
        page.locator("#theme").click()
        assert page.evaluate(theme) == expected
    page.reload()
    assert page.evaluate(theme) == "dark", "the choice did not outlast the page"
    person.check()
    person.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("size", "name"), [(WIDE, "wide"), (NARROW, "narrow")])
def test_every_view_fits_its_window(browser: Browser, broker: Broker, size: tuple[int, int], name: str, theme: str) -> None:
    """Pictures of them, for people, are written to build/screenshots."""
    person = Person(browser, broker.http, width=size[0], height=size[1], dark=theme == "dark")
    page = person.open()

    def picture(view: str) -> None:
        person.shoot(PICTURES, f"{view}-{name}-{theme}", whole=view != "dialog")  # what is behind a dialog is grey in the window alone
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], f"{view} is {widths[0]} pixels wide in a window of {widths[1]}"

    person.sees(".empty h2", "There are no queues yet")
    picture("empty")
    with Wire(broker.host, broker.port) as wire:
        populate(wire)
        traffic(wire, 2)
        person.sees(".queues tr", "orders")
        traffic(wire, 2)
        picture("queues")
        person.open(of_queue("orders"))
        person.sees(".payload[data-form=hex]", "00000000")
        traffic(wire, 3)
        page.get_by_role("button", name="Take one").click()
        person.sees(".taken .message", "taken")
        picture("queue")
        page.get_by_role("button", name="Clear…").click()
        picture("dialog")
        page.keyboard.press("Escape")
        page.locator("dialog").wait_for(state="detached")
        page.get_by_text("Options").click()
        picture("options")
    person.open(of_queue("dead"))
    person.sees(".message .dead", "from work")
    picture("dead")
    person.open(of_queue("a/very/long/name" + "." * 40 + "x" * 150))
    person.sees(".empty h2", "There is no such queue")
    picture("missing")
    person.check()
    person.leave()


def populate(wire: Wire) -> None:
    """Queues as somebody may have them."""
    wire.done(
        "P", "orders", payload=b64(ORDER.encode()), headers={"content-type": "application/json", "trace": "4bf92f3577b34da6"}, priority=7
    )
    wire.done("P", "orders", payloads=[b64("Grüße aus Köln\nund noch eine Zeile".encode()), b64(BINARY), b64(json.dumps([1, 2]).encode())])
    wire.done("P", "billing.invoices", payloads=[b64(b"x" * 500)] * 12)
    wire.done("P", "reminders", payloads=[b64(b"later")] * 7, delay=600)
    wire.done("P", "a/long/name/of/a/queue/" + "that-goes-on-" * 6, payload=b64(b"x"))
    wire.done("P", HOSTILE, payload=b64(b"x"))
    bury(wire, "work", b"poison", b"venom")


def traffic(wire: Wire, seconds: float) -> None:
    """Publish and take for a while."""
    until = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < until:
        wire.done("P", "emails", payloads=[b64(b"x" * 40)] * (1 + turn % 7))
        wire.done("P", "orders", payload=b64(b"plain"))
        taken = wire.done("S", "emails", count=3 + turn % 2, lease=3)
        wire.done("A", receipts=[message["receipt"] for message in taken["messages"][:2]]) if taken["messages"] else None
        turn += 1
        time.sleep(0.05)
