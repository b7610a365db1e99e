"""The page in a browser, case by case: `page.py URL SCREENSHOTS VIDEOS…`, started by bins/tests/all/page.rs."""

import re
import time
from pathlib import Path

import uploads
from playwright.sync_api import expect, sync_playwright
from stage import BIG, LONG, PASSWORDS, SHOTS, SILENT, SLOW, TONE_MKV, TONE_MP4, URL
from stage import Visit, account, ask, call, jobs, launch, tell, visit, under_way

IS_GONE = """url => new Promise(is => {
    Object.assign(new Audio(url), { oncanplay: () => is(false), onerror: () => is(true) });
})"""


def whole_way(browser):
    """Sign in, upload, convert, play, download."""
    email = account("whole")
    with visit(browser, accept_downloads=True) as anna:
        anna.judge("sign-in")
        anna.sign_in(email)
        anna.judge("empty")
        anna.choose(TONE_MP4)
        row = anna.job("tone.mp4")
        expect(row).to_contain_text("Ready")
        expect(row).to_contain_text("0:05")
        expect(anna.upload("tone.mp4")).to_have_count(0)
        anna.judge("ready")

        with anna.page.expect_download() as download:
            anna.act(row, "Download").click()
        assert download.value.suggested_filename == "tone.mp3"
        mp3 = call(email, f"download?fid={jobs(email)[0]['mp3_fid']}")
        assert Path(download.value.path()).read_bytes() == mp3

        anna.act(row, "Play").click()
        audio = row.locator("audio")
        expect(audio).to_be_visible()
        anna.until("the sound plays", lambda: audio.evaluate("audio => audio.currentTime") > 0.2)
        assert abs(audio.evaluate("audio => audio.duration") - 5) < 0.1
        anna.judge("playing")
        source = audio.get_attribute("src")
        anna.act(row, "Stop").click()
        expect(audio).to_have_count(0)
        assert anna.page.evaluate(IS_GONE, source), "its memory is free again"


def wrong_password(browser):
    with visit(browser) as eve:
        eve.button("Sign in").click()
        expect(eve.page.get_by_role("alert")).to_have_text(re.compile("Fill in"))
        eve.page.get_by_label("E-mail address").fill("eve@example.com")
        eve.page.get_by_label("Password").fill("pass:wörd")
        eve.button("Sign in").click()
        expect(eve.page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong. Check both.")
        eve.judge("wrong-password")


def options(browser):
    """What is asked for is what is made, and nonsense is not even sent."""
    email = account("options")
    with visit(browser) as anna:
        anna.sign_in(email)
        anna.page.get_by_text("Options", exact=True).click()
        field = anna.page.get_by_label
        field("Quality").select_option(label="96 kbit/s")
        field("Channels").select_option(label="Mono")
        field("Loudness").select_option(label="−16 LUFS")
        field("From").fill("0:03")
        field("Until").fill("2")
        anna.choose(TONE_MP4)
        expect(anna.page.get_by_text("The end has to be behind the start.")).to_be_visible()
        expect(anna.page.get_by_role("alert")).to_have_text("Correct the options below, and choose the files again.")
        expect(field("Until")).to_be_focused()
        anna.judge("options")
        field("From").fill("0:01")
        field("Until").fill("3.5")
        field("Title").fill("Grüße <b>aus</b> Köln")
        anna.choose(TONE_MP4)
        expect(anna.job("tone.mp4")).to_contain_text("Ready · 0:03")
        expect(anna.job("tone.mp4")).to_contain_text("96 kbit/s")
        made = jobs(email)[0]
        output = made["output"]
        assert round(output["bitrate"], -3) == 96_000 and abs(output["duration"] - 2.5) < 0.03, made
        mp3 = call(email, f"download?fid={made['mp3_fid']}")
        assert any("Grüße <b>aus</b> Köln".encode(code) in mp3 for code in ("utf-8", "utf-16-le", "utf-16-be"))


def failing(browser):
    """A job that fails says why, and what to do."""
    email = account("failing")
    with visit(browser) as anna:
        anna.sign_in(email)
        anna.page.get_by_text("Options", exact=True).click()
        anna.page.get_by_label("From").fill("1:00")
        anna.choose(TONE_MP4)
        row = anna.job("tone.mp4")
        expect(row).to_contain_text("Could not be converted")
        expect(row).to_contain_text("Choose an earlier start under Options.")
        anna.page.get_by_text("Options", exact=True).click()
        anna.judge("failed-job")
        anna.act(row, "Try again").click()
        anna.until("it is tried again", lambda: jobs(email)[0]["attempts"] == 1 and "Could not" in row.inner_text())


def many(browser):
    """A list that is longer than a page of it."""
    email = account("many")
    for _ in range(51):
        call(email, "files", "POST", {"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
    with visit(browser) as anna:
        anna.sign_in(email)
        rows = anna.page.locator("#job-list > li")
        expect(rows).to_have_count(50)
        anna.button("Show older ones").click()
        expect(rows).to_have_count(51)
        expect(anna.button("Show older ones")).to_be_hidden()
        expect(anna.page.locator("#jobs-title")).to_be_focused()


def two_tabs(browser):
    """Tabs follow each other, and each sees what happens in the other."""
    email = account("tabs")
    with visit(browser) as one:
        two = Visit(one.context)
        one.sign_in(email)
        expect(two.button("Choose videos")).to_be_visible()
        one.choose(TONE_MP4, TONE_MKV)
        for tab in (one, two):
            tab.page.evaluate("dispatchEvent(new Event('focus'))")
            expect(tab.job("tone.mp4")).to_contain_text("Ready")
            expect(tab.job("tone.mkv")).to_contain_text("Ready")
        two.act(two.job("tone.mkv"), "Delete").click()
        two.button("Delete").click()
        expect(two.job("tone.mkv")).to_have_count(0)
        one.page.evaluate("dispatchEvent(new Event('focus'))")
        expect(one.job("tone.mkv")).to_have_count(0)
        two.button("Sign out").click()
        expect(one.page.get_by_text("You have been signed out in another tab.")).to_be_visible()
        assert one.page.evaluate("Object.values(localStorage).join()").find(email) == -1
        # What comes next is somebody else's.
        other = account("tabs2")
        one.page.get_by_label("E-mail address").fill("")
        one.sign_in(other)
        expect(two.page.locator("#who")).to_have_text(other)
        expect(two.page.get_by_text("There are none yet.")).to_be_visible()
        assert not two.errors, two.errors


def cancel_and_delete(browser):
    """Uploads and conversions end when they are told to; a cancelled one can run again."""
    email = account("cancel")
    with visit(browser) as anna:
        anna.sign_in(email)
        ask(SLOW)
        anna.choose(BIG, LONG, TONE_MP4)
        under_way(anna, "big.mp4", 0.05)
        expect(anna.upload("tone.mp4")).to_contain_text("Waits for the others")
        for name in ("tone.mp4", "long.m4a", "big.mp4"):
            anna.act(anna.upload(name), "Cancel").click()
            expect(anna.upload(name)).to_have_count(0)
        ask("heal")
        anna.until("nothing is left of it", lambda: jobs(email) == [])

        ask(SLOW)
        anna.choose(BIG)
        row = under_way(anna, "big.mp4", 0.05)
        call(email, f"jobs/{jobs(email)[0]['job_id']}", "DELETE")
        ask("heal")
        expect(row).to_contain_text("The upload was cancelled elsewhere")
        anna.act(row, "Remove").click()
        anna.act(anna.job("big.mp4"), "Delete").click()
        anna.button("Delete").click()
        expect(anna.job("big.mp4")).to_have_count(0)

        anna.choose(LONG)
        row = anna.job("long.m4a")
        expect(row).to_contain_text(re.compile(r"Is being converted · [1-9]"))
        anna.judge("converting")
        anna.act(row, "Cancel").click()
        expect(row).to_contain_text("Cancelled")
        expect(row).to_be_focused()
        anna.judge("cancelled")
        anna.act(row, "Try again").click()
        expect(row).to_contain_text(re.compile("Waits|Is being converted"))
        anna.act(row, "Cancel").click()
        expect(row).to_contain_text("Cancelled")
        anna.act(row, "Delete").click()
        anna.judge("question")
        anna.button("Keep").click()
        expect(row).to_be_visible()
        anna.act(row, "Delete").click()
        anna.button("Delete").click()
        expect(row).to_have_count(0)
        assert jobs(email) == []


def keyboard(browser):
    """The same without a mouse; the focus is never lost."""
    email = account("keys")

    with visit(browser) as anna:
        keys = anna.page.keyboard

        def to(label):
            for _ in range(30):
                keys.press("Tab")
                if anna.focused().startswith(label):
                    return
            raise AssertionError(f"Tab does not lead to {label!r}")

        anna.page.get_by_label("E-mail address").wait_for()
        keys.press("Tab")
        keys.type(email)
        keys.press("Tab")
        keys.type(PASSWORDS[email])
        keys.press("Enter")
        expect(anna.page.locator("#title")).to_be_focused()
        with anna.page.expect_file_chooser() as chooser:
            to("Choose videos")
            anna.shoot("focus")
            keys.press("Enter")
        chooser.value.set_files(TONE_MP4)
        expect(anna.job("tone.mp4")).to_contain_text("Ready")
        to("Play: tone.mp4")
        keys.press("Enter")
        expect(anna.page.locator("audio")).to_be_visible()
        to("Delete: tone.mp4")
        keys.press("Enter")
        expect(anna.page.get_by_role("dialog")).to_be_visible()
        keys.press("Escape")
        assert anna.focused() == "Delete: tone.mp4"
        keys.press("Enter")
        to("Delete")
        keys.press("Enter")
        expect(anna.job("tone.mp4")).to_have_count(0)
        expect(anna.page.locator("#said")).to_have_text("tone.mp4 is deleted.")
        assert anna.focused() != "" and anna.page.evaluate("document.activeElement !== document.body"), anna.focused()


def phone(browser):
    """All of it on 360 pixels, by touch, with a name that is longer than that."""
    email = account("a-rather-long-name-for-an-account-that-has-to-fit")
    long_name = Path(SHOTS, f"{'Sommerurlaub_' * 8}2026.mp4")
    long_name.write_bytes(Path(TONE_MP4).read_bytes())
    with visit(browser, has_touch=True, is_mobile=True) as anna:
        anna.page.set_viewport_size({"width": 360, "height": 740})
        anna.judge("phone-sign-in")
        anna.sign_in(email)
        anna.choose(long_name, SILENT)
        row = anna.job(long_name.name)
        expect(row).to_contain_text("Ready")
        expect(anna.upload("silent.mp4")).to_contain_text("Not taken")
        anna.act(row, "Play").tap()
        expect(row.locator("audio")).to_be_visible()
        anna.page.get_by_text("Options", exact=True).tap()
        anna.judge("phone")
        heights = anna.page.eval_on_selector_all("button", "all => all.map(b => b.offsetHeight).filter(h => h)")
        assert min(heights) >= 44, f"a finger meets them: {heights}"
    long_name.unlink()


def hidden(browser):
    """A tab that nobody looks at asks for nothing."""
    email = account("hidden")
    show = "value => { Object.defineProperty(document, 'hidden', { value, configurable: true });" \
        " document.dispatchEvent(new Event('visibilitychange')); }"
    with visit(browser) as anna:
        anna.sign_in(email)
        anna.choose(LONG)
        expect(anna.job("long.m4a")).to_contain_text("Is being converted")
        ended = []
        anna.page.on("requestfailed", lambda request: ended.append(request.url))
        anna.page.evaluate(show, True)
        anna.until("its stream ends", lambda: ended)
        asked = len(anna.requests)
        anna.page.wait_for_timeout(1500)
        assert len(anna.requests) == asked, [request.url for request in anna.requests[asked:]]
        anna.page.evaluate(show, False)
        anna.until("it looks again", lambda: any("/events" in request.url for request in anna.requests[asked:]))
        anna.act(anna.job("long.m4a"), "Cancel").click()
        expect(anna.job("long.m4a")).to_contain_text("Cancelled")


def prefix(browser):
    """Behind a proxy that takes a prefix away."""
    email = account("prefix")
    with visit(browser) as anna:
        anna.context.route("**/sub/**", lambda route: route.continue_(url=route.request.url.replace("/sub/", "/")))
        anna.page.goto(f"{URL}sub/")
        anna.sign_in(email)
        anna.choose(TONE_MP4)
        expect(anna.job("tone.mp4")).to_contain_text("Ready")
        asked = anna.page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
        outside = [url for url in asked if not url.startswith(f"{URL}sub/")]
        assert len(asked) > 20 and not outside, outside


CASES = [
    whole_way, wrong_password, options, failing, *uploads.CASES, many, two_tabs, cancel_and_delete, keyboard, phone,
    hidden, prefix,
]


def main():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        tell(f"Chromium {browser.version}")
        for case in CASES:
            started = time.monotonic()
            case(browser)
            tell(f"{case.__name__}: ok, {time.monotonic() - started:.1f} s")
        browser.close()
    tell(f"screenshots are in {SHOTS}: {', '.join(sorted(shot.stem for shot in Path(SHOTS).glob('*.png')))}")


if __name__ == "__main__":
    main()
