// The search, step by step: the frame with the windows, what the model was given, a slider, and the numbers.

import { button, length, make, percent, pixels } from "./dom.js";
import { mark, panel } from "./panel.js";
import { zoomable } from "./panzoom.js";

const PLAY = 1400; // milliseconds a step
const MIN_OTHER = 0.01; // score of the other answers that are shown

/** The parts of the page for one answer. Returns {nodes, redraw, stop}. */
export const explorer = (image, found, colors) => {
  const last = found.path.length;
  let at = last, timer = null;
  const windowColor = (index) => colors.windows[index % colors.windows.length];
  const others = found.rejected.filter((one) => one.score >= MIN_OTHER);

  const frame = panel([0, 0, image.width, image.height], image.preview, "The frame with the windows looked at");
  const { controls, toBox } = zoomable(frame, image, () => drawFrame());
  controls.append(button("Zoom to it", () => toBox(found.box), { title: "Show the answer and what is around it" }));
  const looks = [
    ...found.path.map((look, index) => panel(look.window, look.image, `What the model saw in look ${index + 1}`)),
    panel(found.close_up.window, found.close_up.image, "The answer and what is around it"),
  ];
  const seen = make("div", { class: "seen" }, ...looks.map((look) => look.svg));
  const frameWords = make("figcaption"), lookWords = make("figcaption"), facts = make("div", { class: "facts" });
  const slider = make("input", { type: "range", min: 0, max: last, step: 1, value: last, "aria-label": "Step of the search" });
  const ticks = make("div", { class: "ticks" }, ...looks.map((_, index) => make("button", {
    type: "button", onclick: () => { stop(); go(index); },
  }, ...(index < last ? [make("span", {}, "Look "), `${index + 1}`] : ["Answer"]))));
  const play = button("Play", () => (timer ? stop() : start()), { class: "small play" });

  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const start = () => {
    if (at >= last) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (play.isConnected && at < last) go(at + 1);
      if (!play.isConnected || at >= last) stop();
    }, PLAY);
  };
  const go = (position) => { at = position; slider.value = at; draw(); };
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });

  const drawFrame = () => {
    frame.marks.replaceChildren();
    if (at === last) {
      const style = { width: 1.5, halo: "#333" };
      for (const window of found.detours) mark(frame, window, colors.gray, { ...style, dash: true });
      for (const other of others.slice(0, 5)) mark(frame, other.box, colors.gray, { ...style, minSide: 12 });
    }
    found.path.slice(0, at + 1).forEach((look, index) => mark(frame, look.window, windowColor(index), {
      width: index === at ? 3 : 1.75, label: `${index + 1}`, minSide: 16,
    }));
    if (at === last) mark(frame, found.box, colors.box, { width: 2.5, halo: "#fff", minSide: 14 });
  };
  const drawLook = () => {
    const view = looks[at], look = found.path[at];
    looks.forEach((one, index) => one.svg.classList.toggle("now", index === at));
    view.marks.replaceChildren();
    if (!look) {
      mark(view, found.box, colors.box, { width: 2.5, halo: "#fff", minSide: 10, label: found.score.toFixed(2) });
      return;
    }
    for (const box of look.boxes.slice(1).reverse()) mark(view, box, colors.gray, { width: 1.25, halo: "#333", minSide: 8 });
    if (look.boxes.length) mark(view, look.boxes[0], colors.box, {
      width: 2.25, halo: "#fff", minSide: 10, label: at === last - 1 ? look.scores[0].toFixed(2) : "",
    });
    if (at + 1 < last) mark(view, found.path[at + 1].window, windowColor(at + 1), { width: 2.5, label: `${at + 2}` });
  };
  const drawWords = () => {
    const look = found.path[at];
    slider.setAttribute("aria-valuetext", at < last ? `Look ${at + 1} of ${last}` : "Answer");
    [...ticks.children].forEach((tick, index) => {
      tick.setAttribute("aria-pressed", index === at);
      tick.style.setProperty("--dot", index < last ? windowColor(index) : colors.box);
    });
    const [x1, y1, x2, y2] = look ? look.window : found.close_up.window;
    const size = `${length(x2 - x1)} × ${length(y2 - y1)} pixels`;
    const all = "with the windows on the way and the answer" + (found.detours.length ? "; dashed: not believed" : "");
    frameWords.replaceChildren(make("span", { class: "words" }, make("strong", {}, "The frame"),
      make("span", {}, look ? `with the window of look ${at + 1}` : all)), controls);
    lookWords.replaceChildren(make("span", { class: "words" }, make("strong", {}, look ? "What the model saw" : "The answer"),
      make("span", {}, look ? `${size}, given to it at ${look.size[0]} × ${look.size[1]}` : `and what is around it, ${size}`)));
    facts.replaceChildren(...(look ? lookFacts(found, at, last) : answerFacts(found, others)));
  };
  const draw = () => { drawFrame(); drawLook(); drawWords(); };

  requestAnimationFrame(draw);
  return {
    nodes: [
      make("div", { class: `views${image.width > 2.2 * image.height ? " wide" : ""}` },
        make("figure", { class: "frame" }, frameWords, frame.svg), make("figure", {}, lookWords, seen)),
      make("div", { class: "steps" }, play, make("div", { class: "track" }, slider, ticks)),
      facts,
    ],
    redraw: () => { drawFrame(); drawLook(); },
    stop,
  };
};

const bar = (value) => {
  const node = make("span", { class: "bar-of" });
  node.style.setProperty("--part", Math.min(Math.max(value, 0), 1));
  return node;
};
const meter = (name, value, words) =>
  make("div", {}, make("dt", {}, name), make("dd", {}, bar(value), make("span", {}, words)));

const lookFacts = (found, at, last) => {
  const look = found.path[at];
  const next = at + 1 < last ? ` ${at + 2}: the window looked at next.` : "";
  return [
    make("dl", { class: "meters" }, meter("progress before this look", look.progress, look.progress.toFixed(2)),
      meter("chance that it is the last", look.stop, percent(look.stop))),
    make("p", { class: "quiet" }, `Orange: the best box of this look. Gray: others.${next}`),
    boxTable(look.boxes.map((box, index) => [box, look.scores[index], index === 0]), "Candidates of this look"),
  ];
};

const answerFacts = (found, others) => [
  make("p", {}, `${found.looks}; ${found.stopped}; ${found.milliseconds.toFixed(0)} ms.`),
  boxTable([[found.box, found.score, true], ...others.slice(0, 4).map((one) => [one.box, one.score, false])],
    "The answer and other answers"),
];

const boxTable = (rows, words) => make("div", { class: "scroll" }, make("table", {}, make("caption", {}, words),
  make("thead", {}, make("tr", {}, ...["score", "x1", "y1", "x2", "y2"].map((name) => make("th", { scope: "col" }, name)))),
  make("tbody", {}, ...rows.map(([box, score, best]) => make("tr", { class: best ? "best" : null },
    make("td", {}, bar(score), make("span", {}, score.toFixed(2))), ...box.map((value) => make("td", {}, pixels(value))))))));
