"""The page of `piza serve`: a gradio page around one component of our own, the stage (web_stage.py)."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from fastapi import FastAPI

from piza.cli import demo
from piza.server.api import FORGOTTEN, Desk, error_of, example_of
from piza.server.queue import read_asked, search
from piza.server.stage import SCRIPT
from piza.server.store import picture_words, search_words
from piza.server.style import STYLE
from piza.visualize.primitives import BOX_COLOR

HEADER = """<header><h1>piza</h1>
<p>Find the tiny thing a sentence describes in a big picture, by looking again and again, closer each time.</p></header>"""
CHOSEN = ("model", "greedy", "whole_frame", "budget", "accept_threshold", "min_score")
KEPT = "Pictures stay in the memory of this server and are forgotten when it ends."
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # what is there: nothing is fetched
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")


def mount_page(app: FastAPI, desk: Desk) -> FastAPI:
    """Puts the page at / of the application of `web_api.api`."""
    return gr.mount_gradio_app(
        app,
        page(desk),
        path="/",
        theme=_theme(),
        css=STYLE,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=desk.most_bytes,
    )


def page(desk: Desk) -> gr.Blocks:
    """The page. Its events take what is on it and answer with what the stage is to show."""
    with gr.Blocks(title="piza", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(HEADER, elem_id="piza-head", apply_default_css=False)
        with gr.Row(elem_id="piza-body"):
            with gr.Column(scale=1, min_width=280, elem_id="piza-ask"):
                sentences = gr.Textbox(
                    label="What to find",
                    info="One sentence a line.",
                    placeholder="the round sign with a red border and the number 70",
                    lines=4,
                    max_lines=12,
                    elem_id="piza-sentences",
                )
                button = gr.Button("Search", variant="primary", elem_id="piza-search")
                with gr.Accordion("Options", open=False, elem_id="piza-options"):
                    options = _options(desk)
                gr.HTML(f"<p>{KEPT}</p>", elem_id="piza-kept", apply_default_css=False)
            with gr.Column(scale=3, min_width=320, elem_id="piza-show"):
                stage = gr.HTML(
                    {"picture": None, "searches": [], "notice": "", "busy": ""},
                    html_template='<div class="stage"></div>',
                    js_on_load=SCRIPT,
                    apply_default_css=False,
                    elem_id="piza-stage",
                    examples=len(demo.SCENES),
                    megabytes=desk.most_bytes / 1e6,
                )
        asked = [stage, sentences, *options]
        quiet: dict[str, Any] = dict(show_progress="hidden", concurrency_limit=None, api_visibility="private")

        async def run(shown: Any, text: str, *chosen: Any) -> AsyncIterator[tuple[Any, Any]]:
            async for answer in _searched(desk, shown, text, chosen):
                yield answer

        async def fill(
            model: Any,
            greedy: Any,
            whole: Any,
            budget: Any,
            accept_threshold: Any,
            least: Any,
            event: gr.EventData,
        ) -> AsyncIterator[tuple[Any, Any, Any]]:
            chosen = (model, greedy, whole, budget, accept_threshold, least)
            async for answer in _example(desk, event._data, chosen):
                yield answer

        button.click(run, asked, [stage, button], trigger_mode="once", **quiet)
        sentences.submit(run, asked, [stage, button], trigger_mode="once", **quiet)
        stage.select(fill, options, [stage, button, sentences], trigger_mode="once", **quiet)
    return blocks


def _options(desk: Desk) -> list[Any]:
    """The controls, in the order of `CHOSEN`."""
    names = list(desk.models)
    own = desk.models[names[0]].config.search
    return [
        gr.Dropdown(names, value=names[0], label="Model", filterable=False),
        gr.Checkbox(label="Greedy", info="Follow the best window only, as published."),
        gr.Checkbox(label="Whole frame", info="Answer from one look at the whole picture."),
        # Texts, because a number field of gradio turns "nothing" into 0.
        gr.Textbox(
            label="Looks at most",
            info="For one sentence.",
            placeholder=f"the model's: {own.budget}" if len(names) == 1 else "the model's",
            max_lines=1,
        ),
        gr.Textbox(
            label="Enough",
            info="An answer of this probability, 0 to 1, ends the search.",
            placeholder=f"the model's: {own.accept_threshold:g}" if len(names) == 1 else "the model's",
            max_lines=1,
        ),
        gr.Textbox(
            label="Nothing below",
            info="An answer less probable than this, 0 to 1, counts as nothing found.",
            placeholder="none: there is always an answer",
            max_lines=1,
        ),
    ]


async def _searched(
    desk: Desk, shown: Any, text: Any, chosen: tuple[Any, ...]
) -> AsyncIterator[tuple[Any, Any]]:
    """What the stage and the button show: while the search runs, and after it."""
    picture = shown.get("picture") if isinstance(shown, dict) else None
    token = picture.get("token") if isinstance(picture, dict) else None
    kept = desk.shelf.get(token)
    ready = gr.Button("Search", interactive=True)
    if kept is None or not isinstance(token, str):
        yield _stage(notice=FORGOTTEN if token else "first drop a picture here, or choose one"), ready
        return
    words = picture_words(token, kept)
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    try:
        asked = read_asked({"sentences": lines, **dict(zip(CHOSEN, chosen, strict=True))}, desk.models)
        ahead = desk.line.waiting + desk.line.running
        busy = "Searching" if not ahead else f"Waiting for {ahead} other search{'es' if ahead > 1 else ''}"
        yield _stage(words, busy=f"{busy} …"), gr.Button("Searching …", interactive=False)
        model = desk.models[asked.model]
        results = await desk.line.run(lambda gone: search(model, kept.picture, asked, gone))
    except Exception as error:
        yield _stage(words, notice=error_of(error)[1]), ready
        return
    found = desk.shelf.add(kept, results)
    searches = [search_words(token, found, number, result) for number, result in enumerate(results)]
    yield _stage(words, searches), ready


async def _example(desk: Desk, data: Any, chosen: tuple[Any, ...]) -> AsyncIterator[tuple[Any, Any, Any]]:
    """As `_searched`, for a drawn street, and its sentences for the text field."""
    number = data.get("example") if isinstance(data, dict) else None
    try:
        token, kept, sentences = await example_of(desk, number if isinstance(number, int) else -1)
    except Exception as error:
        yield _stage(notice=error_of(error)[1]), gr.skip(), gr.skip()
        return
    picture, text = picture_words(token, kept), "\n".join(sentences)
    yield _stage(picture), gr.skip(), text
    async for stage, button in _searched(desk, {"picture": picture}, text, chosen):
        yield stage, button, gr.skip()


def _stage(
    picture: dict[str, Any] | None = None,
    searches: list[dict[str, Any]] | None = None,
    notice: str = "",
    busy: str = "",
) -> dict[str, Any]:
    sentence = notice[:1].upper() + notice[1:]
    if sentence and not sentence.endswith((".", "!", "?")):
        sentence += "."
    return {"picture": picture, "searches": searches or [], "notice": sentence, "busy": busy}


def _theme() -> gr.themes.Base:
    orange = "#{:02x}{:02x}{:02x}".format(*BOX_COLOR)
    return gr.themes.Base(neutral_hue="stone", font=list(SANS), font_mono=list(MONO)).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#161616",
        body_text_color="#1b1b1b",
        body_text_color_dark="#ececec",
        body_text_color_subdued="#595959",
        body_text_color_subdued_dark="#a8a8a8",
        block_background_fill="#f4f4f2",
        block_background_fill_dark="#212121",
        block_border_width="0px",
        block_label_text_color="#1b1b1b",
        block_label_text_color_dark="#ececec",
        block_title_text_color="#1b1b1b",
        block_title_text_color_dark="#ececec",
        block_title_text_weight="600",
        block_info_text_color="#595959",
        block_info_text_color_dark="#a8a8a8",
        block_radius="10px",
        input_background_fill="#ffffff",
        input_background_fill_dark="#161616",
        input_border_color="#d9d9d4",
        input_border_color_dark="#383838",
        input_border_color_focus=orange,
        input_border_color_focus_dark=orange,
        input_border_width="1px",
        input_radius="8px",
        border_color_primary="#d9d9d4",
        border_color_primary_dark="#383838",
        button_primary_background_fill="#b84f00",
        button_primary_background_fill_hover="#9c4300",
        button_primary_background_fill_dark="#b84f00",
        button_primary_background_fill_hover_dark="#d55e00",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_large_radius="8px",
        checkbox_background_color_selected="#b84f00",
        checkbox_background_color_selected_dark="#b84f00",
        checkbox_border_color_selected="#b84f00",
        checkbox_border_color_selected_dark="#b84f00",
        checkbox_border_color_focus=orange,
        checkbox_border_color_focus_dark=orange,
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
    )
