"""A motion as a web page: what is in the file, and what a browser makes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from browser import PATIENCE, launched
from flames import small
from gl import needs_gl
from helpers import smooth_motion, speech
from PIL import Image

from dtalk.config import Look
from dtalk.errors import RenderError
from dtalk.heads.eyes import Eye, RiggedHead
from dtalk.heads.flame import Flame
from dtalk.heads.flame_head import FlameHead
from dtalk.heads.head import Head, built_in, shapes_from_fields
from dtalk.motion.curves import Motion
from dtalk.rendering.lighting import Light
from dtalk.rendering.renderer import Renderer
from dtalk.rendering.tessellation import Tessellation
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.video.html import PAGE_BITRATE, bundle, write_html
from dtalk.video.mp4 import soundtrack_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FRAMES = 45
FIRST_CURVES = ["jawOpen", "mouthFunnel", "mouthSmileLeft", "browInnerUp", "eyeBlinkLeft"]
SHOWN = '#viewer[data-frame="{}"]'


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "talk.wav"
    soundfile.write(path, speech(FRAMES * SAMPLE_RATE // 30), SAMPLE_RATE)
    return path


def talk(seed: int = 0, frames: int = FRAMES) -> Motion:
    """Every curve moves, and the head turns."""
    curves = 0.6 * smooth_motion(frames, seed)
    return Motion(curves, head_rotation=turns(frames, seed), emotion="happy")


def turns(frames: int = FRAMES, seed: int = 0):
    return 0.3 * (smooth_motion(frames, seed + 1)[:, :3] - 0.5)


def write_page(motions, names, path: Path, audio: Path | None = None, *head, **options) -> None:
    """`write_html` with the sound of a file."""
    with soundtrack_of(audio, path, bitrate=PAGE_BITRATE) as track:
        write_html(motions, names, path, track, *head, **options)


# --- the file ------------------------------------------------------------------------------------


def test_a_bundle_holds_every_module_once_and_imports_nothing():
    script = bundle("main.js")
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    for name in ("class Head", "class Renderer", "class Orbit", "class Player", "class Viewer"):
        assert script.count(f"{name} {{") == 1
    assert script.index("class Head") < script.index("class Renderer") < script.index("start(root)")


def test_ten_seconds_with_sound_take_less_than_a_megabyte(tmp_path):
    path, wav = tmp_path / "talk.html", tmp_path / "talk.wav"
    soundfile.write(wav, speech(10 * SAMPLE_RATE), SAMPLE_RATE)
    write_page([talk(frames=300)], [], path, wav)
    assert path.stat().st_size < 1_000_000


def attributes(page: str) -> set[str]:
    """The names of the attributes of all elements."""
    found: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.update(dict(attrs))  # type: ignore[method-assign]
    parser.feed(page)
    return found


def test_a_page_refers_to_nothing_outside(tmp_path, sound):
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, sound)
    page = path.read_text(encoding="utf-8")
    assert not {"src", "href", "srcset", "action"} & attributes(page)
    assert "@import" not in page
    policy = re.search(r'Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    for tag in ("style", 'script type="module"'):
        content = re.search(f"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]


def test_the_same_input_gives_the_same_bytes(tmp_path, sound):
    first, second = tmp_path / "a" / "talk.html", tmp_path / "b" / "talk.html"
    for path in (first, second):
        write_page([talk(), talk(1)], ["one", "two"], path, sound)
    assert first.read_bytes() == second.read_bytes()


def test_names_and_labels_are_text_not_markup(tmp_path):
    path, evil = tmp_path / "<b>&amp;.html", "</script><script>alert(1)</script>"
    write_page([replace(talk(), emotion=evil)], [evil], path, comment=evil)
    page = path.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in page
    assert "<title>&lt;b&gt;&amp;amp;</title>" in page
    assert page.count("</script>") == 4


def test_a_background_that_is_none_is_refused(tmp_path):
    with pytest.raises(RenderError, match="no colour"):
        write_page([talk()], [], tmp_path / "talk.html", look=Look(background="nothing"))


def test_the_sound_is_small(sound):
    with soundtrack_of(sound, sound, bitrate=PAGE_BITRATE) as track:
        assert track is not None
        assert track.path.stat().st_size < FRAMES / 30 * 64_000 / 8 + 4_000


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@contextmanager
def opened(browser: Browser, path: Path, **options) -> Iterator[Page]:
    """The page, small, as soon as it shows its first frame; no error may escape in it."""
    page = browser.new_page(**{"viewport": {"width": 480, "height": 560}, **options})
    errors: list[str] = []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector(SHOWN.format(0))
    yield page
    page.close()
    assert not errors


def seek(page: Page, seconds: float) -> None:
    page.evaluate("(time) => document.getElementById('viewer').viewer.player.seek(time)", seconds)


def deformed(page: Page, weights, rotation) -> np.ndarray:
    """Vertices and midpoints as the page finds them: [V', 3]."""
    found = page.evaluate(
        """([weights, rotation]) => {
          const { head } = document.getElementById("viewer").viewer;
          head.deform(Float32Array.from(weights), rotation);
          return head.positions.join();
        }""",
        [weights.tolist(), None if rotation is None else rotation.tolist()],
    )
    return np.array(found.split(","), np.float64).reshape(-1, 3)


def blinking_eyes(head: Head) -> RiggedHead:
    """The head with its eyeballs as joints, shares that differ, and lids that must make room."""
    random = np.random.default_rng(0)
    eyes = []
    for side in (1, -1):
        ball = np.flatnonzero((head.parts == 1) & (side * head.vertices[:, 0] > 0))
        centre = head.vertices[ball].mean(axis=0)
        apart = np.linalg.norm(head.vertices - centre, axis=1)
        lids = np.flatnonzero((head.parts == 0) & (apart < 0.03))
        shares = random.uniform(0.2, 1, len(ball)).astype(np.float32)
        eyes.append(Eye(ball, shares, centre, lids, np.full(len(lids), 0.018, np.float32)))
    fields = {name: getattr(head, name) for name in head.__dataclass_fields__}
    return RiggedHead(**fields, eyes=tuple(eyes))


def turning_flame() -> FlameHead:
    """A FLAME head of 40 vertices whose neck has correctives; it is drawn in no time."""
    random, content = np.random.default_rng(1), small()
    flame = Flame(
        template=content["v_template"].astype(np.float32),
        faces=content["f"].astype(np.int64),
        shapes=content["shapedirs"][:, :, :300].astype(np.float32),
        expressions=content["shapedirs"][:, :, 300:].astype(np.float32),
        pose=(0.1 * content["posedirs"]).astype(np.float32),
        regressor=content["J_regressor"].toarray().astype(np.float32),
        weights=content["weights"].astype(np.float32),
    )
    count = len(flame.template)
    return FlameHead(
        vertices=flame.template,
        faces=flame.faces,
        colors=np.full((count, 3), 0.5, np.float32),
        shapes=shapes_from_fields(random.normal(0, 0.02, (52, count, 3))),
        lips=np.arange(4),
        upper_face=np.arange(4, 8),
        opening=(0, 1),
        corners=(2, 3),
        parts=np.zeros(count, np.uint8),
        flame=flame,
    )


@pytest.mark.parametrize("make", [built_in, lambda: blinking_eyes(built_in()), turning_flame])
def test_the_page_deforms_as_the_head_does(browser, tmp_path, make):
    head, motion, path = make(), talk(), tmp_path / "talk.html"
    write_page([motion], [], path, head=head)
    with opened(browser, path) as page:
        light = Light(head, np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32))
        for k in (0, 10, 20, 30):
            rotation = turns()[k] if k else None
            wanted = head.deform(motion.coefficients[k], rotation)
            positions = deformed(page, motion.coefficients[k], rotation)
            # Up to 52 shapes, each rounded to 5 um.
            assert np.abs(positions[: len(wanted)] - wanted).max() < 5e-5
            rounded, _ = Tessellation(head).rounded(wanted, light.shade(wanted)[1], wanted)
            assert np.abs(positions - rounded).max() < 1e-4


@needs_gl
def test_at_three_times_the_picture_is_the_renderers(browser, tmp_path, sound):
    motion, path = talk(), tmp_path / "talk.html"
    look = Look(camera="three-quarter", background="white")
    write_page([motion], [], path, sound, look=look)
    with opened(browser, path) as page:
        shown = {}
        for seconds in (0.25, 0.75, 1.34):
            k = int(30 * seconds)
            seek(page, seconds)
            page.wait_for_selector(SHOWN.format(k))
            shot = page.locator("canvas.head").screenshot()
            shown[k] = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), np.int16)
    height, width = shown[7].shape[:2]
    with Renderer(size=(width, height), look=look) as renderer:
        for k, picture in shown.items():
            near = range(k - 2, k + 3)
            rows = motion.coefficients[near], turns()[near]
            apart = [np.abs(frame - picture).mean() for frame in renderer.frames(*rows)]
            assert np.argmin(apart) == 2
            assert apart[2] < 1  # of 255


def test_it_plays_and_every_frame_is_that_of_the_sounds_time(browser, tmp_path, sound):
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, sound, turning_flame())
    with opened(browser, path) as page:
        page.evaluate(
            """() => {
              const root = document.getElementById("viewer");
              window.shown = [];
              root.addEventListener("frame", ({ detail: { frame } }) =>
                window.shown.push([root.viewer.player.audio.currentTime, frame]));
            }"""
        )
        page.keyboard.press("Space")
        page.get_by_role("button", name="Pause").wait_for()
        page.wait_for_selector(SHOWN.format(FRAMES - 1))
        page.get_by_role("button", name="Play").wait_for()
        shown = page.evaluate("window.shown")
    assert all(frame == min(int(30 * time), FRAMES - 1) for time, frame in shown)
    frames = [frame for _, frame in shown]
    assert frames == sorted(frames)
    assert len(set(frames)) > 1


def test_the_sound_is_where_it_was(browser, tmp_path):
    wav, path = tmp_path / "click.wav", tmp_path / "click.html"
    samples = np.zeros(SAMPLE_RATE, np.float32)
    samples[SAMPLE_RATE // 2 :][:160] = 0.9 * np.sin(np.arange(160) * 0.8)
    soundfile.write(wav, samples, SAMPLE_RATE)
    write_page([talk(frames=30)], [], path, wav, turning_flame())
    with opened(browser, path) as page:
        heard = page.evaluate(
            """async () => {
              const { audio } = document.getElementById("viewer").viewer.player;
              const coded = await (await new Promise((done) => {
                const text = document.getElementById("sound").textContent;
                done(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));
              })).arrayBuffer();
              const context = new OfflineAudioContext(1, 16000, 16000);
              const values = (await context.decodeAudioData(coded)).getChannelData(0);
              return [values.findIndex((value) => Math.abs(value) > 0.3) / 16000, audio.duration];
            }"""
        )
    assert heard == pytest.approx([0.5, 1.0], abs=0.01)


def test_keys_and_pointers(browser, tmp_path, sound):
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, sound, turning_flame())
    with opened(browser, path) as page:
        for key, frame in ((".", 1), (".", 2), (",", 1)):
            page.keyboard.press(key)
            page.wait_for_selector(SHOWN.format(frame))
        slider = page.get_by_role("slider", name="Time")
        slider.press("ArrowRight")
        page.wait_for_selector(SHOWN.format(2))
        assert slider.get_attribute("aria-valuetext") == "0.08 of 1.50 s, frame 2"
        head = page.get_by_role("application", name="Talking head")
        viewer = "document.getElementById('viewer').viewer"
        orbit = f"['yaw', 'pitch', 'distance'].map((name) => {viewer}.orbit[name])"
        start = page.evaluate(orbit)
        head.press("ArrowLeft")
        assert page.evaluate(orbit) == pytest.approx([start[0] + np.pi / 36, *start[1:]])
        head.press("+")
        assert page.evaluate(orbit)[2] == pytest.approx(start[2] / 1.1)
        head.press("0")
        assert page.evaluate(orbit) == start
        head.hover(position={"x": 100, "y": 100})
        page.mouse.wheel(0, 100)
        page.mouse.down()
        page.mouse.move(180, 180)
        page.mouse.up()
        moved = page.evaluate(orbit)
        assert moved[0] < start[0]
        assert moved[1] > start[1]
        assert moved[2] > start[2]
        head.dblclick()
        assert page.evaluate(orbit) == start


def test_curves_are_switched_on_and_off(browser, tmp_path, sound):
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, sound, turning_flame())
    with opened(browser, path) as page:
        plot = page.locator(".plot canvas")
        legend = page.locator(".legend")
        assert plot.get_attribute("aria-label") == f"Over time: {', '.join(FIRST_CURVES)}"
        assert legend.locator("li").all_text_contents() == FIRST_CURVES
        assert page.get_by_role("checkbox").count() == 52 + 3
        page.get_by_role("button", name="Hide all").click()
        assert plot.is_hidden()
        assert legend.locator("li").count() == 0
        box = page.get_by_role("checkbox", name="tongueOut")
        box.press("Space")  # must not play
        assert box.is_checked()
        assert plot.is_visible()
        assert plot.get_attribute("aria-label") == "Over time: tongueOut"
        assert page.get_by_role("button", name="Play").is_visible()


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (1280, 800), (760, 600)])
def test_nothing_lies_on_something_else(browser, tmp_path, size):
    """A telephone held either way, and a desk."""
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, head=turning_flame())
    viewport = dict(zip(("width", "height"), size))
    with opened(browser, path, viewport=viewport) as page:
        parts = [".stage", ".plot", ".legend", ".scrub", ".buttons", ".keys"]
        found = [page.locator(part).bounding_box() for part in parts]
        width = page.evaluate("document.documentElement.scrollWidth")
    boxes = [box for box in found if box is not None]
    assert len(boxes) == len(parts)
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 0.5
    assert width <= size[0]


def test_two_motions_side_by_side(browser, tmp_path):
    path, names = tmp_path / "two.html", ["</script><b>one</b>", "two"]
    write_page([talk(), talk(1)], names, path, head=turning_flame())
    with opened(browser, path, color_scheme="dark") as page:
        assert page.locator(".labels li").all_text_contents() == names
        assert re.fullmatch(r"[\d.]+ [\d.]+", page.locator(".curves output").first.inner_text())
        legend = page.locator(".legend li").all_text_contents()
        assert legend == [*FIRST_CURVES, *names]
        assert page.get_by_role("checkbox", name="Mute").is_disabled()
        dark = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(dark) == "rgb(21, 24, 28)"
        page.emulate_media(color_scheme="light")
        assert page.evaluate(dark) == "rgb(244, 245, 247)"
        page.keyboard.press("Space")  # without sound the clock is that of silence
        page.wait_for_selector(SHOWN.format(FRAMES - 1))


def test_a_page_asks_for_nothing(browser, tmp_path, sound):
    path, asked = tmp_path / "talk.html", []
    write_page([talk()], [], path, sound, turning_flame())
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector(SHOWN.format(0), timeout=PATIENCE)
    refused = page.evaluate("fetch('https://example.org').then(() => 'no', () => 'yes')")
    page.close()
    assert refused == "yes"
    assert asked[0] == path.as_uri()
    assert all(url.startswith("blob:") for url in asked[1:])


def test_what_a_browser_cannot_do_is_said(browser, tmp_path, sound):
    path = tmp_path / "talk.html"
    write_page([talk()], [], path, sound, turning_flame())
    page_text = path.read_text(encoding="utf-8")
    broken = re.sub('(id="sound">)[^<]*', r"\1" + base64.b64encode(b"no sound").decode(), page_text)
    path.write_text(broken, encoding="utf-8")
    with opened(browser, path) as page:
        page.get_by_role("alert").get_by_text("cannot play the sound").wait_for()
        page.keyboard.press("Space")
        page.wait_for_selector(SHOWN.format(FRAMES - 1))
