"""The script of the stage: the part of the page that takes a picture and shows searches in it, step by step.

Gradio runs it once with `element`, `props`, `trigger` and `watch`. `props.value` is what web_page.py answered with; all
pictures in it are small files at addresses of this server, so that the slider costs no request. Texts are only ever set
as text, never as HTML.
"""

import json

from piza.visualize.primitives import BOX_COLOR, DETOUR_COLOR, WINDOW_COLORS

_COLORS = json.dumps(
    {
        "windows": [f"rgb{color}" for color in WINDOW_COLORS],
        "box": f"rgb{BOX_COLOR}",
        "gray": f"rgb{DETOUR_COLOR}",
    }
)

SCRIPT = (
    f"const COLORS = {_COLORS};"
    + r"""
const SVG = "http://www.w3.org/2000/svg";
const root = element.querySelector(".stage");
let sentence = 0, at = 0, timer = null, redraw = () => {};

const make = (tag, attributes = {}, ...inside) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...inside.filter((part) => part != null));
  return node;
};
const shape = (tag, attributes) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};
const pixels = (value) => value.toFixed(1);
const whole = (value) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
const percent = (value) => (value >= 0.995 && value < 1 ? "over 99 %" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);
const windowColor = (index) => COLORS.windows[index % COLORS.windows.length];

// ---- a picture with rectangles; boxes are in pixels of the frame, `view` is the part of the frame shown

const panel = (view, image, words) => {
  const [x1, y1, x2, y2] = view;
  const svg = shape("svg", { viewBox: `${x1} ${y1} ${x2 - x1} ${y2 - y1}`, role: "img", "aria-label": words });
  svg.append(shape("image", { href: image, x: x1, y: y1, width: x2 - x1, height: y2 - y1, preserveAspectRatio: "none" }));
  const marks = shape("g", {});
  svg.append(marks);
  return { svg, marks, view };
};

const mark = ({ svg, marks, view }, box, color, { width = 2, halo = "#000", least = 0, label = "", dash = "" } = {}) => {
  const unit = (view[2] - view[0]) / (svg.clientWidth || 600);
  const inset = (width / 2 + 1.5) * unit;
  let [x1, y1, x2, y2] = box;
  const growX = Math.max(least * unit - (x2 - x1), 0) / 2, growY = Math.max(least * unit - (y2 - y1), 0) / 2;
  x1 = Math.max(x1 - growX, view[0] + inset); y1 = Math.max(y1 - growY, view[1] + inset);
  x2 = Math.min(x2 + growX, view[2] - inset); y2 = Math.min(y2 + growY, view[3] - inset);
  if (x2 <= x1 || y2 <= y1) return;
  for (const [stroke, thickness, opacity] of [[halo, width + 2.5, 0.75], [color, width, 1]]) {
    marks.append(shape("rect", {
      x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 2 * unit, fill: "none", stroke, "stroke-opacity": opacity,
      "stroke-width": thickness * unit, "stroke-dasharray": dash && `${5 * unit} ${4 * unit}`,
    }));
  }
  if (!label) return;
  const high = 18 * unit, wide = (label.length * 7.4 + 9) * unit, gap = 4 * unit;
  const inside = y1 - high - gap < view[1];
  const left = Math.min(Math.max(inside ? x1 + gap : x1, view[0]), view[2] - wide);
  const top = inside ? Math.min(y1 + gap, view[3] - high) : y1 - high - gap;
  const [r, g, b] = color.match(/\d+/g).map(Number);
  const plate = shape("rect", { x: left, y: top, width: wide, height: high, rx: 3 * unit, fill: color, stroke: "#000", "stroke-opacity": 0.6, "stroke-width": unit });
  const text = shape("text", {
    x: left + wide / 2, y: top + high / 2, "font-size": 12.5 * unit, "text-anchor": "middle", "dominant-baseline": "central",
    fill: 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff", "font-weight": 600,
  });
  text.textContent = label;
  marks.append(plate, text);
};

// ---- handing over a picture

const show = (value) => { props.value = value; render(); };
const notice = (words) => {
  root.querySelector(".notice")?.remove();
  if (words) root.prepend(make("p", { class: "notice", role: "alert" }, words));
};
const sentenceOf = (words) => {
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
};
const answered = async (address, options) => {
  let answer;
  try { answer = await fetch(address, options); }
  catch { throw new Error("the server cannot be reached; is it still running?"); }
  if (answer.ok) return answer;
  let words = `the server answered with the status ${answer.status}`;
  try { words = (await answer.json()).error ?? words; } catch { /* not from us */ }
  throw new Error(words);
};
const take = async (file) => {
  if (!file || root.classList.contains("busy")) return;
  if (file.size > props.megabytes * 1e6)
    return notice(`${file.name} is too large: ${(file.size / 1e6).toFixed(0)} MB, at most ${props.megabytes} MB are taken.`);
  notice("");
  root.classList.add("busy");
  root.querySelector(".reading")?.replaceChildren(`Reading ${file.name} …`);
  const body = new FormData();
  body.append("picture", file, file.name);
  try {
    const picture = await (await answered("page/picture", { method: "POST", body })).json();
    show({ picture, searches: [], notice: "", busy: "" });
  } catch (error) {
    render();
    notice(sentenceOf(error.message));
  } finally {
    root.classList.remove("busy");
  }
};
const chooser = (words) => make("label", { class: "choose" }, words, make("input", {
  type: "file", accept: "image/*,.tif,.tiff,.jp2,.ppm,.bmp", class: "hidden",
  onchange: (event) => take(event.target.files[0]),
}));

root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
root.addEventListener("dragleave", (event) => { if (!root.contains(event.relatedTarget)) root.classList.remove("over"); });
root.addEventListener("drop", (event) => {
  event.preventDefault();
  root.classList.remove("over");
  if (event.dataTransfer.files.length > 1) return notice("One picture at a time, please.");
  if (!event.dataTransfer.files.length) return notice("That was no file; drop a picture from your computer.");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file && root.isConnected) take(file);
});

// ---- the parts of the page

const empty = () => {
  const examples = [];
  for (let number = 0; number < props.examples; number++) {
    const words = `Drawn street ${number + 1}`;
    examples.push(make("button", { type: "button", class: "example", onclick: () => trigger("select", { example: number }) },
      make("img", { src: `page/example-${number}.jpg`, alt: words, onerror: (event) => event.target.remove() }), make("span", {}, words)));
  }
  return [
    make("div", { class: "drop" },
      make("p", { class: "reading" }, "Drop a picture here, or paste one"), chooser("Choose a picture"),
      make("p", { class: "quiet" }, `JPEG, PNG, WebP, TIFF and others, up to ${props.megabytes} MB`)),
    props.examples ? make("p", { class: "quiet begin" }, "No picture at hand? Search in a drawn street:") : null,
    make("div", { class: "examples" }, ...examples),
  ];
};

const heading = (picture) => make("div", { class: "bar" },
  make("span", { class: "name" }, picture.name),
  make("span", { class: "quiet" }, `${picture.width} × ${picture.height} pixels`),
  make("span", { class: "reading quiet" }),
  chooser("Another picture"));

const numbers = (found, number) => {
  const [x1, y1, x2, y2] = found.box.map(pixels);
  const copies = [["corners", `${x1}, ${y1}, ${x2}, ${y2}`, "x1, y1, x2, y2"],
    ["size", `${x1}, ${y1}, ${pixels(found.box[2] - found.box[0])}, ${pixels(found.box[3] - found.box[1])}`, "x, y, width, height"]];
  return make("div", { class: "answer" },
    make("p", { class: "sentence" }, found.sentence),
    found.found ? null : make("p", { class: "nothing" }, "Nothing in the picture matches; this is only the best guess."),
    make("dl", {}, ...copies.map(([name, text, format]) => make("div", {},
      make("dt", {}, format),
      make("dd", {}, make("code", { class: name }, text), make("button", {
        type: "button", class: "small", "aria-label": `Copy ${format}`, onclick: (event) => copy(text, event.target),
      }, "Copy")))),
    make("div", {}, make("dt", {}, "score"), make("dd", {}, make("strong", { class: "score" }, found.score.toFixed(2))))),
    ...downloads(found, number));
};
const copy = async (text, button) => {
  try { await navigator.clipboard.writeText(text); }
  catch { // only offered to pages from this computer or over https
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    root.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

const fetched = async (button, address) => {
  const words = button.textContent;
  button.disabled = true;
  button.textContent = "Drawing …";
  notice("");
  try { return URL.createObjectURL(await (await answered(address)).blob()); }
  catch (error) { notice(sentenceOf(error.message)); return null; }
  finally { button.disabled = false; button.textContent = words; }
};
const save = (words, name, address) => make("button", { type: "button", class: "small", onclick: async (event) => {
  const url = await fetched(event.target, address);
  if (url) { make("a", { href: url, download: name }).click(); setTimeout(() => URL.revokeObjectURL(url), 10000); }
} }, words);
const downloads = (found, number) => {
  const film = make("div", { class: "film" });
  const name = `piza-${number + 1}`;
  return [make("div", { class: "downloads" },
    make("button", { type: "button", class: "small", onclick: async (event) => {
      const url = await fetched(event.target, found.film);
      if (!url) return;
      film.replaceChildren(make("img", { src: url, alt: "A zoom from the frame to the box" }), make("div", { class: "downloads" },
        make("a", { href: url, download: `${name}.webp`, class: "small" }, "Save the zoom"),
        make("button", { type: "button", class: "small", onclick: () => { film.replaceChildren(); URL.revokeObjectURL(url); } }, "Close")));
    } }, "Watch the zoom"),
    save("Save the drawing", `${name}.png`, found.drawing), save("Save as JSON", `${name}.json`, found.json)), film];
};

const explorer = (picture, found) => {
  const last = found.path.length;
  at = Math.min(at, last);
  const frame = panel([0, 0, picture.width, picture.height], picture.image, "The frame with the windows looked at");
  const looks = [...found.path.map((look, index) => panel(look.window, look.image, `What the model saw in look ${index + 1}`)),
    panel(found.close_up.window, found.close_up.image, "The answer and what is around it")];
  for (const look of looks) look.svg.classList.add("look");
  const seen = make("div", { class: "seen" }, ...looks.map((look) => look.svg));
  const frameWords = make("figcaption", {}), lookWords = make("figcaption", {}), facts = make("div", { class: "facts" });
  const slider = make("input", { type: "range", min: 0, max: last, step: 1, "aria-label": "Step of the search" });
  slider.value = at;
  const ticks = make("div", { class: "ticks" }, ...looks.map((_, index) => make("button", {
    type: "button", onclick: () => go(index) }, ...(index < last ? [make("span", {}, "Look "), `${index + 1}`] : ["Answer"]))));
  const play = make("button", { type: "button", class: "small play", onclick: () => (timer ? stop() : start()) }, "Play");
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const start = () => {
    if (at >= last) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => { if (!play.isConnected || at >= last) stop(); else go(at + 1); if (at >= last) stop(); }, 1400);
  };
  const go = (position) => { at = position; slider.value = at; draw(); };
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });

  const draw = () => {
    frame.marks.replaceChildren();
    if (at === last) {
      for (const window of found.detours) mark(frame, window, COLORS.gray, { width: 1.5, halo: "#333", dash: true });
      for (const other of found.rejected.slice(0, 5).filter((one) => one.score >= 0.01))
        mark(frame, other.box, COLORS.gray, { width: 1.5, halo: "#333", least: 12 });
    }
    found.path.forEach((look, index) => {
      if (index > at) return;
      const now = index === at;
      mark(frame, look.window, windowColor(index), { width: now ? 3 : 1.75, label: `${index + 1}`, least: 16 });
    });
    if (at === last) mark(frame, found.box, COLORS.box, { width: 2.5, halo: "#fff", least: 14 });

    looks.forEach((look, index) => look.svg.classList.toggle("now", index === at));
    const view = looks[at], look = found.path[at];
    view.marks.replaceChildren();
    if (look) {
      look.boxes.slice(1).reverse().forEach((box) => mark(view, box, COLORS.gray, { width: 1.25, halo: "#333", least: 8 }));
      if (look.boxes.length) mark(view, look.boxes[0], COLORS.box, { width: 2.25, halo: "#fff", least: 10, label: at === last - 1 || last === 1 ? look.scores[0].toFixed(2) : "" });
      if (at + 1 < last) mark(view, found.path[at + 1].window, windowColor(at + 1), { width: 2.5, label: `${at + 2}` });
    } else mark(view, found.box, COLORS.box, { width: 2.5, halo: "#fff", least: 10, label: found.score.toFixed(2) });

    slider.setAttribute("aria-valuetext", at < last ? `Look ${at + 1} of ${last}` : "Answer");
    [...ticks.children].forEach((tick, index) => {
      tick.setAttribute("aria-pressed", index === at);
      tick.style.setProperty("--dot", index < last ? windowColor(index) : COLORS.box);
    });
    const [x1, y1, x2, y2] = look ? look.window : found.close_up.window;
    const size = `${whole(x2 - x1)} × ${whole(y2 - y1)} pixels`;
    caption(frameWords, "The frame", look ? `with the window of look ${at + 1}` :
      "with the windows on the way and the answer" + (found.detours.length ? "; dashed: not believed" : ""));
    if (look) caption(lookWords, "What the model saw", `${size}, given to it at ${look.size[0]} × ${look.size[1]}`);
    else caption(lookWords, "The answer", `and what is around it, ${size}`);
    facts.replaceChildren(...(look ? lookFacts(look) : answerFacts()));
  };
  const caption = (node, title, words) => node.replaceChildren(make("strong", {}, title), make("span", {}, words));
  const meter = (name, value, words) => make("div", {}, make("dt", {}, name),
    make("dd", {}, make("span", { class: "bar-of", style: `--part:${Math.min(Math.max(value, 0), 1)}` }), make("span", {}, words)));
  const lookFacts = (look) => [
    make("dl", { class: "meters" }, meter("progress before this look", look.progress, look.progress.toFixed(2)), meter("chance that it is the last", look.stop, percent(look.stop))),
    make("p", { class: "quiet" }, "Orange: the best box of this look. Gray: others." + (at + 1 < last ? ` ${at + 2}: the window looked at next.` : "")),
    boxes(look.boxes.map((box, index) => [box, look.scores[index], index === 0]), "Candidates of this look", last),
  ];
  const answerFacts = () => [
    make("p", {}, `${found.num_looks}; ${found.stopped}; ${found.milliseconds.toFixed(0)} ms.`),
    boxes([[found.box, found.score, true], ...found.rejected.slice(0, 4).filter((one) => one.score >= 0.01).map((one) => [one.box, one.score, false])], "The answer and other answers"),
  ];
  const boxes = (rows, words) => make("div", { class: "scroll" }, make("table", {}, make("caption", {}, words),
    make("thead", {}, make("tr", {}, ...["score", "x1", "y1", "x2", "y2"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([box, score, best]) => make("tr", { class: best ? "best" : null },
      make("td", {}, make("span", { class: "bar-of", style: `--part:${score}` }), make("span", {}, score.toFixed(2))), ...box.map((value) => make("td", {}, pixels(value))))))));

  redraw = draw;
  requestAnimationFrame(draw);
  return [
    make("div", { class: `views${picture.width > 2.2 * picture.height ? " wide" : ""}` },
      make("figure", { class: "frame" }, frameWords, frame.svg), make("figure", {}, lookWords, seen)),
    make("div", { class: "steps" }, play, make("div", { class: "track" }, slider, ticks)),
    facts,
  ];
};

const render = () => {
  const { picture, searches = [], notice: words = "", busy = "" } = props.value || {};
  clearInterval(timer);
  timer = null;
  redraw = () => {};
  const found = searches[Math.min(sentence, searches.length - 1)];
  let parts;
  if (!picture) parts = empty();
  else if (!found) {
    const plain = panel([0, 0, picture.width, picture.height], picture.image, "The picture");
    parts = [heading(picture), make("figure", { class: `alone${busy ? " searching" : ""}` }, plain.svg,
      make("figcaption", { role: "status" }, busy || (words ? "" : "Now say what to find, and search.")))];
  } else {
    const tabs = searches.length > 1 ? make("div", { class: "tabs" }, ...searches.map((one, index) => make("button", {
      type: "button", "aria-pressed": index === sentence ? "true" : "false", title: one.sentence,
      onclick: () => { sentence = index; at = Infinity; render(); },
    }, one.sentence))) : null;
    parts = [heading(picture), tabs, numbers(found, sentence), ...explorer(picture, found)];
  }
  root.replaceChildren(...parts.filter((part) => part != null));
  if (busy && root.getBoundingClientRect().top > innerHeight / 2) root.scrollIntoView(); // on a narrow screen it lies below
  notice(words);
};
watch("value", () => { sentence = 0; at = Infinity; render(); });
new ResizeObserver(() => redraw()).observe(root);
render();
"""
)
