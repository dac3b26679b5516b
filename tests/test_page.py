"""The HTML report in a real browser."""

import json
import os
import shutil
from pathlib import Path

import pytest
import soundfile
from conftest import hiss, voice

from segan_cli.evaluation.cases import from_folders
from segan_cli.evaluation.page import to_html
from segan_cli.evaluation.report import build_report
from segan_cli.evaluation.run import EvaluationOptions, evaluate

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
SHOTS = os.environ.get("SEGAN_SCREENSHOTS")  # a folder to look at them in

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Halved:
    """A system that halves its input."""

    def enhance(self, noisy, rate_hz):
        return noisy / 2


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on six recordings, two systems and an undefined score, with a name that would be a tag."""
    place = tmp_path_factory.mktemp("page")
    for side in ("clean", "noisy"):
        (place / side).mkdir()
    for i in range(6):
        clean = voice(2.0, seed=i) * (i != 3)
        name = f"{'<b>x' if i == 5 else 'p'}{i}.wav"
        soundfile.write(place / "clean" / name, clean, 16_000)
        soundfile.write(place / "noisy" / name, clean + hiss(2.0, seed=i, level=0.004 * (i + 1)), 16_000)
    options = EvaluationOptions(
        from_folders(place / "noisy", place / "clean"), ("stoi", "si_sdr_db", "lsd_db"), {"itself": place / "clean"},
        {"half": Halved()}, jobs=1,
    )  # fmt: skip
    result = evaluate(options)
    content = build_report(
        result, {"command": "segan evaluate --html report.html", "versions": {"numpy": "2"}, "models": {}}
    )
    (place / "report.html").write_text(to_html(content, result, options.models))
    return place / "report.html", content


def test_the_page_is_one_file_that_names_no_other(report):
    path, content = report
    text = path.read_text()
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")  # the name of SVG, which nobody fetches
    start = text.index('id="report">') + len('id="report">')
    inside = json.loads(text[start : text.index("</script>", start)])
    assert inside["summary"] == content["summary"]
    assert len(inside["examples"]["worst"]) == 3
    assert len(inside["examples"]["best"]) == 2


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser, report):
    """The page opened, with everything it complains of or asks the network for."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report[0].as_uri())
    yield opened
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def until(page, condition):
    """Wait for something to be so; the page's own policy allows no watching from inside."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


@needs_browser
def test_all_of_the_report_is_there(page, report):
    _, content = report
    assert page.locator("h2").all_inner_texts() == [
        "Summary", "Plots", "Worst recordings", "Best recordings", "Recordings", "Inputs", "Measures", "Versions"
    ]  # fmt: skip
    assert page.locator("#command").inner_text() == content["command"]
    assert f"{content['summary']['half']['stoi']['mean']:.3f}" in page.locator("table").first.inner_text()
    assert page.locator("#files tbody tr").count() == 6
    assert (
        page.locator("#files td", has_text="undefined").count() == 3 * 3 + 5
    )  # of silence, and what has no distortion
    assert page.locator(".plots circle").count() > 10
    page.select_option("#measure", "lsd_db")
    assert "LSD" in page.locator(".plots svg").first.get_attribute("aria-label")


@needs_browser
def test_the_table_sorts_by_click_and_by_key(page):
    def column(number):
        return page.locator(f"#files tbody tr td:nth-child({number})").all_inner_texts()

    names = column(1)
    assert names == ["<b>x5", "p0", "p1", "p2", "p3", "p4"]
    button = page.locator("#files thead button").nth(2)  # SI-SDR of the noisy
    button.click()
    scores = column(3)
    numbers = [float(text) for text in scores if text != "undefined"]
    assert numbers == sorted(numbers)
    assert scores[-1] == "undefined"
    assert page.locator("#files th").nth(2).get_attribute("aria-sort") == "ascending"
    button.focus()
    page.keyboard.press("Enter")
    numbers = [float(text) for text in column(3) if text != "undefined"]
    assert numbers == sorted(numbers, reverse=True)
    assert column(3)[-1] == "undefined"


@needs_browser
def test_players_switch_in_sync(page):
    first = page.locator(".player").first
    first.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('.player').player.position() > 0.2")
    state = "p => ({at: p.position(), active: p.active, gains: p.gains.map(g => g.gain.value), on: p.sources !== null})"
    pressed = first.get_by_role("button", pressed=True).inner_text()
    before = first.evaluate(f"node => ({state})(node.player)")
    first.get_by_role("button", name="clean", exact=True).last.click()
    page.wait_for_timeout(150)
    after = first.evaluate(f"node => ({state})(node.player)")
    assert (before["active"], after["active"]) == (0, 3)
    assert pressed == "noisy"
    assert after["on"]
    assert before["at"] < after["at"] < before["at"] + 1.5  # goes on from where it was, not from the start
    assert after["gains"][3] > 0.9
    assert max(after["gains"][:3]) < 0.1
    assert first.get_by_role("button", pressed=True).inner_text() == "clean"
    page.locator(".player").nth(1).get_by_role("button", name="Play").click()  # one at a time
    until(page, "document.querySelectorAll('.player')[1].player.sources !== null")
    assert first.evaluate("node => node.player.sources === null")
    first.evaluate("node => node.player.jump(0.5)")
    until(page, "Math.abs(document.querySelector('.player').player.position() - 1.0) < 0.01")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_it_fits_a_phone_and_the_night(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    brightness = [sum(int(part) for part in text[4:-1].split(",")) / 3 for text in (background, ink)]
    assert (brightness[0] < brightness[1]) == (scheme == "dark")
    assert abs(brightness[0] - brightness[1]) > 150
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"report-{scheme}-{width}.png", full_page=True)
