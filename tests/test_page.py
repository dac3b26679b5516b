"""The HTML report in a real browser."""

import base64
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import PATIENCE_S, wait_until
from conftest import hiss, voice

from segan_cli.evaluation import page as page_module
from segan_cli.evaluation.cases import from_folders
from segan_cli.evaluation.page import rank_for_listening, to_html
from segan_cli.evaluation.report import build_report
from segan_cli.evaluation.run import evaluate

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
SHOTS = os.environ.get("SEGAN_SCREENSHOTS")  # folder for screenshots to look at
CLOCK = """window.seconds = 0;  // which tests advance, so that no sound ends before they have looked at it
Object.defineProperty(BaseAudioContext.prototype, "currentTime", {get: () => seconds});"""
HOSTILE = "<img src=x onerror=boom()>"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class Halved:
    """A system that halves its input."""

    def enhance(self, noisy, rate_hz):
        return noisy / 2


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Six recordings, two systems and an undefined score, with names and columns that look like markup."""
    folder = tmp_path_factory.mktemp("page")
    for side in ("clean", "noisy"):
        (folder / side).mkdir()
    for i in range(6):
        clean = voice(2.0, seed=i) * (i != 3)
        name = f"{'<b>x' if i == 5 else 'p'}{i}.wav"
        soundfile.write(folder / "clean" / name, clean, 16_000)
        soundfile.write(folder / "noisy" / name, clean + hiss(2.0, seed=i, level=0.004 * (i + 1)), 16_000)
    result = evaluate(
        from_folders(folder / "noisy", folder / "clean"), ("stoi", "si_sdr_db", "lsd_db"),
        {"itself": folder / "clean", "half</script>": Halved()}, jobs=1,
    )  # fmt: skip
    for i, scored in enumerate(result.cases):
        scored.case.labels.update({HOSTILE: "</script><b>" if i % 2 else "quiet", "snr_db": str(5 * i)})
    content = build_report(
        result, {"command": "segan evaluate --html report.html", "versions": {"numpy": "2"}, "models": {}}
    )
    return result, content, folder


@pytest.fixture(scope="module")
def report(evaluation):
    """The page and the report that it shows."""
    result, content, folder = evaluation
    (folder / "report.html").write_text(to_html(content, result))
    return folder / "report.html", content


def embedded_data(text):
    """The report inside a page."""
    start = text.index('id="report">') + len('id="report">')
    return json.loads(text[start : text.index("</script>", start)])


def read_sound(version):
    """Decode an embedded version."""
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(version["audio"])))
    assert rate_hz == 16_000
    return samples


def test_the_page_is_self_contained(report):
    path, content = report
    text = path.read_text()
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")  # a namespace, which is not fetched
    assert text.count("</script>") == 2
    policy = text[text.index("default-src") : text.index("<link")]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy  # neither other scripts nor event handlers in markup
    inside = embedded_data(text)
    assert inside["summary"] == content["summary"]
    names = ["noisy", "itself", "half</script>", "clean"]
    noisy, _, half, clean = (read_sound(version) for version in inside["files"][0]["sound"])
    np.testing.assert_allclose(half, noisy / 2, atol=1e-4)
    np.testing.assert_allclose(clean, np.clip(voice(2.0, seed=5), -1, 1), atol=1e-4)
    assert all([version["name"] for version in file["sound"]] == names for file in inside["files"])


def test_worst_and_best_recordings_are_embedded_first_up_to_a_limit(evaluation, monkeypatch):
    result, content, _ = evaluation
    ranked = rank_for_listening(result)
    assert sorted(ranked) == list(range(6))
    gains = [
        scores["itself"]["stoi"] - scores["noisy"]["stoi"]
        for scores in (scored.scores for scored in result.cases)
        if isinstance(scores["noisy"]["stoi"], float)
    ]
    first = result.cases[ranked[0]].scores
    assert first["itself"]["stoi"] - first["noisy"]["stoi"] == min(gains)
    everything = embedded_data(to_html(content, result))
    one = sum(len(version["audio"]) for version in everything["files"][ranked[0]]["sound"])
    monkeypatch.setattr(page_module, "MAX_SOUND_BYTES", one)
    limited = embedded_data(to_html(content, result))["files"]
    assert [i for i, file in enumerate(limited) if file["sound"]] == ranked[:1]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_S * 1_000)
        yield running
        running.close()


@pytest.fixture(scope="module")
def tabs(browser):
    """Tabs by their options, each with what it has logged and requested; tests share them, as a new one takes long."""
    return {}


@pytest.fixture
def open_page(browser, tabs):
    """A function that opens a file; at the end nothing may have been logged or requested from the network."""
    used = []

    def opened(path, script="", **options):
        key = json.dumps([script, options])
        if key not in tabs:
            context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
            context.set_default_timeout(PATIENCE_S * 1_000)
            context.add_init_script(CLOCK + script)
            page, messages, requests = context.new_page(), [], []
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            tabs[key] = page, messages, requests
        used.append(tabs[key])
        page = tabs[key][0]
        page.goto("about:blank")  # so that nothing of this file is kept
        page.goto(path.as_uri())
        wait_for(page, "player.length > 0")
        return page

    yield opened
    for _, messages, requests in used:
        assert messages == []
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture
def page(open_page, report):
    return open_page(report[0])


def wait_for(page, condition):
    """Poll a condition; the page's security policy forbids waiting for it inside the page."""
    wait_until(lambda: page.evaluate(condition))


def column(page, number):
    """Texts of a column of the recordings."""
    texts = page.locator(f"#files tbody tr > :nth-child({number})").all_inner_texts()
    return [text.replace("−", "-").removesuffix(" best").strip() for text in texts]


def numbers_in(texts):
    return [float(text) for text in texts if text not in ("undefined", "–")]


@needs_browser
def test_the_page_shows_the_whole_report(page, report):
    _, content = report
    assert page.locator("h2").all_inner_texts() == [
        "Means", "Recordings", "Plots", "Differences between systems", f"By {HOSTILE}", "By snr_db", "Inputs",
        "Measures", "Command and versions",
    ]  # fmt: skip
    assert page.locator("#command").inner_text() == content["command"]
    means = page.locator("table").first.inner_text()
    for system in content["systems"]:
        assert f"{content['summary'][system]['stoi']['mean']:.3f}" in means
        summary = content["summary"][system]["si_sdr_db"]
        assert (summary["why"] or f"{summary['undefined']} undefined") in means
    assert page.locator("#files tbody tr").count() == 6
    assert page.locator(".plots circle").count() == 5 * 3 + 5 * 2  # one recording is undefined
    assert "lower is better" in page.locator("main").inner_text()


@needs_browser
def test_the_headline_is_computed_from_the_scores(page, report):
    content = report[1]
    scores = [file["scores"] for file in content["files"] if isinstance(file["scores"]["noisy"]["stoi"], float)]
    before, after = (sum(one[s]["stoi"] for one in scores) / len(scores) for s in ("noisy", "itself"))
    change = content["differences"][0]["measures"]["stoi"]
    assert page.locator("#headline").inner_text() == (
        f"itself raises STOI from {before:.3f} to {after:.3f} (+{change['mean']:.3f}, 95 % interval "
        f"+{change['low']:.3f} to +{change['high']:.3f}) over 5 recordings and is better than the noisy recording in "
        "all of them."
    )
    page.select_option("#system", "half</script>")
    assert page.locator("#headline").inner_text().startswith("half</script> leaves STOI nearly unchanged, from ")
    page.select_option("#measure", "lsd_db")
    assert ", where lower is better, over 5 recordings" in page.locator("#headline").inner_text()


@needs_browser
def test_the_measure_picker_changes_tables_and_plots(page, report):
    files = {file["name"]: file["scores"] for file in report[1]["files"]}
    headings = ["recording ▲", "noisy", "itself", "half</script>", "itself − noisy", HOSTILE, "snr_db"]
    assert [text.strip() for text in page.locator("#files thead th").all_inner_texts()] == [
        "recording",
        *headings[1:],
    ]  # the arrow is drawn by the style
    for name, digits in (("stoi", 3), ("lsd_db", 2)):
        page.select_option("#measure", name)
        shown = dict(zip(column(page, 1), column(page, 2), strict=True))
        for file, scores in files.items():
            score = scores["noisy"][name]
            assert shown[file] == ("undefined" if isinstance(score, dict) else f"{score:.{digits}f}")
    assert "LSD" in page.locator(".plots svg").first.get_attribute("aria-label")
    assert "Mean LSD" in page.locator("section", has_text="By snr_db").last.inner_text()
    page.get_by_role("button", name="SI-SDR (dB)").click()  # a row of the means
    assert page.input_value("#measure") == "si_sdr_db"
    assert page.get_by_role("button", name="SI-SDR (dB)").get_attribute("aria-pressed") == "true"


@needs_browser
def test_the_table_sorts_by_click_and_by_key(page):
    assert column(page, 1) == ["<b>x5", "p0", "p1", "p2", "p3", "p4"]
    page.select_option("#measure", "si_sdr_db")
    for number in (2, 5, 7):  # noisy, change, a label
        button = page.locator("#files thead button").nth(number - 1)
        button.click()
        scores = column(page, number)
        numbers = numbers_in(scores)
        assert numbers == sorted(numbers)
        assert all(text in ("undefined", "–") for text in scores[len(numbers) :])  # last
        assert page.locator("#files th").nth(number - 1).get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Enter")  # the focus is kept
        assert numbers_in(column(page, number)) == sorted(numbers, reverse=True)
        assert page.locator("#files [aria-sort]").count() == 1
    page.select_option("#measure", "lsd_db")  # the order is kept
    assert column(page, 7) == ["25", "20", "15", "10", "5", "0"]


@needs_browser
def test_the_best_values_are_marked(page, report):
    content = report[1]

    def best(scores, lower):
        texts = [f"{score:.2f}" for score in scores if isinstance(score, float)]
        return {i for i, text in enumerate(texts) if float(text) == (min if lower else max)(map(float, texts))}

    page.select_option("#measure", "lsd_db")
    for row in page.locator("#files tbody tr").all():
        name = row.locator("th").inner_text().strip()
        scores = next(file["scores"] for file in content["files"] if file["name"] == name)
        marked = {i for i in range(3) if "best" in (row.locator("td").nth(i).get_attribute("class") or "")}
        values = [scores[system]["lsd_db"] for system in content["systems"]]
        assert marked == (best(values, True) if isinstance(values[0], float) else set())
    means = [content["summary"][system]["lsd_db"]["mean"] for system in content["systems"]]
    row = page.locator("table").first.locator("tbody tr").nth(2)
    assert row.locator("td.best").count() == len(best(means, True)) == 1
    assert row.locator("td").nth(1).get_attribute("class") == "best"


@needs_browser
def test_the_worst_and_best_recordings_are_one_click_away(page):
    page.select_option("#system", "half</script>")
    page.select_option("#measure", "lsd_db")
    page.locator("#files thead button").nth(4).click()  # by change, ascending: for LSD the best is first
    names = [name for name, change in zip(column(page, 1), column(page, 5), strict=True) if change != "–"]
    worst, best = (page.locator(".chips").nth(i).locator("button") for i in (0, 1))
    assert [text.split(" ")[0] for text in best.all_inner_texts()] == names[:2]
    assert [text.split(" ")[0] for text in worst.all_inner_texts()] == names[::-1][:2]
    worst.first.click()
    wait_for(page, "player.sources !== null")
    assert page.locator("#now").inner_text() == names[-1]
    assert page.locator("#files [aria-current] th").inner_text().strip() == names[-1]
    assert page.evaluate("""() => {  // the row is in the visible part of its table
        const [row, box] = [player.file.row, $('files')].map(node => node.getBoundingClientRect());
        return row.top >= box.top && row.bottom <= box.bottom;
    }""")


@needs_browser
def test_a_row_is_chosen_and_played_by_keys(page):
    page.locator("#files").scroll_into_view_if_needed()
    assert page.locator("#now").inner_text() == "<b>x5"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    wait_for(page, "player.length > 0")
    assert page.locator("#now").inner_text() == "p1"
    assert page.locator("#files [aria-current] th").inner_text().strip() == "p1"
    page.keyboard.press(" ")
    wait_for(page, "player.sources !== null")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.evaluate("seconds += 0.25")
    assert page.evaluate("player.position()") == pytest.approx(0.2)
    page.keyboard.press("ArrowUp")  # goes on with the row above, from its start
    wait_for(page, "player.file.name === 'p0' && player.sources !== null")
    page.keyboard.press(" ")
    assert page.evaluate("player.sources === null")
    page.evaluate("player.jump(0.5)")
    page.keyboard.press(" ")
    wait_for(page, "player.sources !== null")
    page.evaluate("seconds += 0.25")
    assert page.evaluate("player.position()") == pytest.approx(1.2)
    page.locator("#files tbody tr").nth(4).locator("button").click()
    wait_for(page, "player.file.name === 'p3' && player.sources !== null")


@needs_browser
def test_switching_versions_keeps_the_position(page):
    radio = page.get_by_role("radio")
    assert [text.split("\n")[0] for text in radio.all_inner_texts()] == ["noisy", "itself", "half</script>", "clean"]
    page.locator("#play").click()
    wait_for(page, "player.sources !== null")
    page.evaluate("seconds += 0.25")
    assert page.evaluate("[player.audible, ...player.gains.map(gain => gain.gain.value)]") == [0, 1, 0, 0, 0]
    sources = page.evaluate_handle("player.sources")
    radio.last.click()
    page.keyboard.press("ArrowLeft")
    wait_for(page, "player.gains.every((gain, i) => Math.abs(gain.gain.value - (i === 2)) < 0.1)")
    assert page.evaluate("sources => sources === player.sources", sources)  # nothing was stopped or started
    assert page.evaluate("[player.audible, player.position()]") == [2, pytest.approx(0.2)]
    assert page.get_by_role("radio", checked=True).inner_text().startswith("half")
    page.keyboard.press(" ")  # on a version button too
    assert page.evaluate("player.sources === null")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("player.position()") == pytest.approx(0.2)
    page.evaluate("player.jump(0.5)")
    assert page.evaluate("player.position()") == pytest.approx(1.0)
    assert page.locator("#position").get_attribute("aria-valuetext") == "1.0 of 2.0 seconds"
    page.locator("#files tbody tr").nth(2).click()  # the version is kept
    wait_for(page, "player.sources !== null")
    assert page.get_by_role("radio", checked=True).inner_text().startswith("clean")


@needs_browser
def test_a_blind_test_counts_right_answers(open_page, report):
    """Two of them, one after the other: what is drawn decides over A and B, and over X in each trial."""
    drawn = [[0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9], [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]]
    page = open_page(
        report[0], f"{{ const values = {[*drawn[0], *drawn[1]]}; Math.random = () => values.shift() ?? 0.1; }}"
    )
    orders, verdicts = ([3, 0], [0, 3]), ("A was clean, B was noisy.", "A was noisy, B was clean.")
    for values, order, verdict in zip(drawn, orders, verdicts, strict=True):
        assert blind_test(page, [value > 0.5 for value in values[1:]], order) == verdict


def blind_test(page, answers, order):
    """Answer all but the first of 8 trials right, and listen to A, B and X; → which versions they were."""
    page.locator("#ask").click()
    page.get_by_label("First version").select_option("noisy")
    page.get_by_label("Second version").select_option("noisy")
    assert page.get_by_role("button", name="Start").is_disabled()
    page.get_by_label("Second version").select_option("clean")
    page.get_by_label("Trials").select_option("8")
    page.get_by_role("button", name="Start").click()
    assert page.get_by_role("radio").all_inner_texts() == ["A", "B", "X"]
    assert page.locator("#spectrograms").is_hidden()
    for trial, is_b in enumerate(answers):
        bar = page.locator("#player").inner_text()
        assert f"Trial {trial + 1} of 8" in bar
        assert "noisy" not in bar
        assert "clean" not in bar
        heard = []
        for _ in range(3):
            heard.append(page.evaluate("player.audible"))
            page.keyboard.press("ArrowRight")
        assert heard == [*order, order[is_b]]
        page.get_by_role("button", name=f"X is {'AB'[is_b != (trial == 0)]}").click()
    assert page.get_by_role("radio").count() == 4
    verdict = page.locator("#verdict").inner_text()
    page.get_by_role("button", name="Close").click()
    said = "7 of 8 right. Guessing gets at least as many right with a probability of 3.5 %. "  # 9 of 256
    assert verdict.startswith(said)
    return verdict.removeprefix(said)


@needs_browser
def test_a_blind_test_plays_by_key_and_keeps_its_recording(page):
    page.locator("#ask").click()
    page.get_by_role("button", name="Start").click()
    page.keyboard.press(" ")  # plays, and does not answer
    wait_for(page, "player.sources !== null")
    assert "Trial 1 of 12" in page.locator("#blind").inner_text()
    page.keyboard.press("ArrowDown")
    page.locator("#files tbody tr").nth(3).click()
    assert page.locator("#now").inner_text() == "<b>x5"
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#blind").is_hidden()
    assert page.get_by_role("radio").count() == 4
    values = page.evaluate("[[0, 8], [8, 8], [12, 16], [5, 10]].map(([right, n]) => guessing(right, n))")
    assert values == [1, 1 / 256, 2517 / 65536, 638 / 1024]


@needs_browser
def test_spectrograms_have_axes_and_a_scale(page):
    if page.locator("#pictures").get_attribute("aria-pressed") == "false":
        page.locator("#pictures").click()
    figures = page.locator("#spectrograms figure")
    assert figures.count() == 4
    assert figures.first.locator(".f").all_inner_texts() == ["0", "2", "4", "6", "8 kHz"]
    assert figures.first.locator(".t").all_inner_texts() == ["0 s", "0.5 s", "1 s", "1.5 s", "2 s"]
    assert "−70 dB" in page.locator("#spectrograms .legend").inner_text()
    tone = """() => {  // the loudest bin of a tone at 2 kHz is bin 64 of 256
        const power = powerSpectrogram(Float32Array.from({length: 16000}, (_, i) => Math.sin(Math.PI * i / 4)), 16000);
        const frame = Array.from(power[60]);
        return [power.length, frame.indexOf(Math.max(...frame)), frame[64]];
    }"""
    frames, loudest, power = page.evaluate(tone)
    assert (frames, loudest) == (125, 64)
    assert power == pytest.approx((512 / 4) ** 2)  # amplitude 1, half of it at 2 kHz, mean of the window 1/2
    box = figures.nth(1).locator(".picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # chooses version and position
    assert page.evaluate("player.audible") == 1
    assert page.evaluate("player.position()") == pytest.approx(1.0, abs=0.02)
    page.locator("#pictures").click()
    assert page.locator("#spectrograms").is_hidden()


@needs_browser
def test_rows_without_sound_are_marked(open_page, evaluation, monkeypatch):
    result, content, folder = evaluation
    monkeypatch.setattr(page_module, "MAX_SOUND_BYTES", 700_000)
    (folder / "small.html").write_text(to_html(content, result))
    files = embedded_data((folder / "small.html").read_text())["files"]
    silent = [file["name"] for file in files if not file["sound"]]
    assert 0 < len(silent) < 6
    page = open_page(folder / "small.html")
    assert f"{len(silent)} of 6 recordings are without sound" in page.locator("main").inner_text()
    rows = page.locator("#files tbody tr").filter(has_text="no sound")
    assert rows.count() == len(silent)
    rows.first.click()
    assert "no sound" in page.locator("#note").inner_text()
    assert page.locator("#play").is_disabled()
    assert page.get_by_role("radio").count() == 0


@needs_browser
def test_noisy_recordings_alone_make_a_page(open_page, evaluation):
    result, _, folder = evaluation
    case = result.cases[0]
    alone = replace(result, systems=("noisy",), cases=(replace(case, results={"noisy": case.results["noisy"]}),))
    (folder / "alone.html").write_text(to_html(build_report(alone, {}), alone))
    page = open_page(folder / "alone.html")
    score = case.scores["noisy"]["stoi"]
    assert (
        page.locator("#headline").inner_text()
        == f"The noisy recordings have a mean STOI of {score:.3f} over 1 recording."
    )
    assert page.locator("#files tbody tr").count() == 1
    assert page.locator(".plots svg").count() == 1
    assert page.locator("#system, .best").count() == 0
    assert [text.split("\n")[0] for text in page.get_by_role("radio").all_inner_texts()] == ["noisy", "clean"]


@needs_browser
def test_a_page_of_full_band_recordings_plays_and_shows_all_frequencies(open_page, tmp_path):
    for side, level in (("clean", 0.01), ("noisy", 0.02), ("out", 0.005)):
        (tmp_path / side).mkdir()
        sound = voice(1.0, 48_000) + hiss(1.0, 48_000, level=level) * np.repeat([1.0, 0.1], 24_000)
        soundfile.write(tmp_path / side / "a.wav", sound * np.repeat([1.0, 0.005], 24_000), 48_000, "FLOAT")
    result = evaluate(from_folders(tmp_path / "noisy", tmp_path / "clean"), ("high_pause_db", "high_lsd_db"),
                      {"out": tmp_path / "out"}, jobs=1)  # fmt: skip
    (tmp_path / "page.html").write_text(to_html(build_report(result, {}), result))
    page = open_page(tmp_path / "page.html")
    assert page.evaluate("player.buffers.map(buffer => buffer.sampleRate)") == [48_000] * 3
    if page.locator("#pictures").get_attribute("aria-pressed") == "false":
        page.locator("#pictures").click()
    first = page.locator("#spectrograms figure").first
    assert first.locator(".f").all_inner_texts() == ["0", "6", "12", "18", "24 kHz"]
    assert page.evaluate("label('high_pause_db')") == "High-band level in pauses (dB) → 0"
    levels = [result.cases[0].scores[system]["high_pause_db"] for system in ("noisy", "out")]
    assert levels[0] > 5.5
    assert levels[1] < -2
    change = abs(levels[1]) - abs(levels[0])
    assert page.evaluate("changeOf(files[0], 'out', 'high_pause_db')") == pytest.approx(change)
    better = [[6.0, -7.0], [-6.0, 5.0]]
    assert page.evaluate(f"{better}.map(([a, b]) => isBetter(a, b, 'high_pause_db'))") == [True, False]
    assert "nearer to 0" in page.inner_text("body")


@needs_browser
def test_hostile_names_stay_text(page):
    assert page.locator("main img, main b > b, #player img").count() == 0
    assert "<b>x5" in column(page, 1)
    assert HOSTILE in page.locator("#files thead").inner_text()
    assert "</script><b>" in page.locator("#files tbody").inner_text()


@needs_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 375)])
def test_the_page_fits_phones_and_follows_the_colour_scheme(open_page, report, scheme, width):
    page = open_page(report[0], viewport={"width": width, "height": 800}, color_scheme=scheme)
    for pressed in range(3):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#player").bounding_box()["height"] < 560
        page.locator(["#pictures", "#ask", "#ask"][pressed]).click()
    colours = "node => { const style = getComputedStyle(node); return [style.backgroundColor, style.color]; }"
    for selector in ("body", "#player"):
        background, ink = (
            sum(int(part) for part in text[4:-1].split(",")) / 3
            for text in page.locator(selector).evaluate(
                colours.replace("style.color", "getComputedStyle(document.body).color")
            )
        )
        assert (background < ink) == (scheme == "dark")
        assert abs(background - ink) > 150
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"report-{scheme}-{width}.png", full_page=True)


@needs_browser
def test_long_names_scroll_the_tables_and_not_the_page_on_a_phone(open_page, report, tmp_path):
    text = report[0].read_text()
    for name in ("snr_db", "itself", "p0"):
        text = text.replace(f'"{name}"', f'"{name}_{"x" * 70}"')
    (tmp_path / "long.html").write_text(text)
    page = open_page(tmp_path / "long.html", viewport={"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    widths = page.evaluate("[...document.querySelectorAll('.scroll')].map(n => [n.clientWidth, n.scrollWidth])")
    assert all(visible <= 375 for visible, _ in widths)
    assert any(visible < whole for visible, whole in widths)
    names = page.evaluate("[...document.querySelectorAll('.scroll th:first-child')].map(n => n.offsetWidth)")
    assert max(names) < 375 / 2  # room for the columns beside them


@needs_browser
def test_a_measure_at_its_limit_is_explained(page):
    rows = page.locator("#sections section").first.locator("tbody tr")
    assert "the highest possible value, as for any copy of the clean recordings" in rows.nth(0).inner_text()
    assert "no distortion" in rows.nth(1).inner_text()
