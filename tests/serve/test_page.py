"""The web page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reckon.serve.gate import Access
from tests.serve.browser import CHROMIUM, Page, browsing
from tests.serve.serving import END, Scripted, get, ids, native, serving, until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

HOSTILE = "<img src=x onerror=document.title='bad'> </script><script>document.title='bad'</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def text(page: Page, selector: str) -> str:
    return str(page.run(f"document.querySelector({selector!r}).textContent"))


def idle(page: Page) -> None:
    page.wait("document.body.dataset.state === 'idle'")


def test_a_chat_of_two_turns_with_folded_thinking(page: Page) -> None:
    engine = Scripted(step_s=0.002)
    with serving(native(engine)) as url:
        page.open(f"{url}/")
        page.type("Make 24 from 3, 8, 1.")
        idle(page)
        assert text(page, ".answer") == "<answer> 1 * 3 * 8 </answer>"
        assert text(page, ".thinking .text") == "8 - 3 = 5, no. 3 * 8 = 24, yes."
        assert text(page, ".thinking summary").startswith("Thought for ")
        assert page.run("document.querySelector('.thinking').open") is False
        assert "tokens/s" in text(page, ".measure")
        assert "of them thinking" in text(page, ".measure")
        page.type("And again?")
        idle(page)
        assert page.run("document.querySelectorAll('.assistant').length") == 2
    asked = [str(native_text(request.prompt_ids)) for request in engine.seen]
    assert asked[1].count("Assistant:") == 2
    assert "no. 3 * 8" not in asked[1]


def native_text(prompt: object) -> str:
    from tests.serve.serving import TOKENIZER

    return str(TOKENIZER.decode(list(prompt)))  # type: ignore[call-overload]


def test_stop_ends_the_work(page: Page) -> None:
    engine = Scripted(lambda _: ids(" 24") * 490, step_s=0.02)
    with serving(native(engine)) as url:
        page.open(f"{url}/")
        page.type("Go on.")
        page.wait("document.querySelector('.answer')?.textContent.length > 10")
        assert engine.live
        page.run("document.getElementById('stop').click()")
        idle(page)
        until(lambda: not engine.live)
        assert "stopped" in text(page, ".measure")


def test_text_is_never_markup(page: Page) -> None:
    engine = Scripted(lambda _: [*ids(f" <think> {HOSTILE} </think> {HOSTILE}"), END])
    with serving(native(engine)) as url:
        page.open(f"{url}/#ask={'%3Cb%3E'}hello")
        idle(page)
        assert text(page, ".user .text") == "<b>hello"
        assert text(page, ".answer").strip() == HOSTILE
        assert page.run("document.title") == "reckon"
        assert page.run("document.querySelectorAll('main img, main script, main b').length") == 0
        assert page.run("performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))")


def test_a_key_is_asked_for_and_used(page: Page) -> None:
    with serving(access=Access("secret")) as url:
        page.open(f"{url}/")
        page.type("Hello?")
        idle(page)
        assert "needs a key" in text(page, ".error")
        page.run("document.getElementById('key').value = 'secret'")
        page.run("document.getElementById('question').focus()")
        page.type("Hello?")
        idle(page)
        assert text(page, ".answer:not(:empty)").startswith("<answer>")


def test_the_page_may_load_nothing_from_elsewhere() -> None:
    import urllib.request

    with serving() as url:
        with urllib.request.urlopen(f"{url}/") as reply:
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
        for path in ("/", "/page.js", "/page.css"):
            told = get(url, path)[1]
            assert "http://" not in told
            assert "https://" not in told
            assert "innerHTML" not in told
