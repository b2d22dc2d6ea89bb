// The answers in numbers: one sentence's box to copy and save, and the table of all.

import { request } from "./api.js";
import { button, make, pixels, sentenceOf } from "./dom.js";

const TABLES = [["answers.json", "JSON"], ["answers.csv", "CSV"], ["answers.coco.json", "COCO"]];

/** The answer to one sentence. `notice` shows a message to the user. */
export const numbers = (found, index, notice) => {
  const [x1, y1, x2, y2] = found.box.map(pixels);
  const size = [x1, y1, pixels(found.box[2] - found.box[0]), pixels(found.box[3] - found.box[1])];
  const copies = [["corners", [x1, y1, x2, y2].join(", "), "x1, y1, x2, y2"], ["size", size.join(", "), "x, y, width, height"]];
  const unknown = found.unknown_words.length
    ? `The model does not know ${found.unknown_words.map((word) => `“${word}”`).join(", ")}.` : null;
  return make("div", { class: "answer" },
    make("p", { class: "sentence" }, found.sentence),
    found.found ? null : make("p", { class: "nothing" }, "Nothing in the image matches; this is only the best guess."),
    unknown && make("p", { class: "nothing" }, unknown),
    make("dl", {}, ...copies.map(([name, text, format]) => make("div", {},
      make("dt", {}, format),
      make("dd", {}, make("code", { class: name }, text),
        button("Copy", (event) => copy(text, event.target), { "aria-label": `Copy ${format}` })))),
    make("div", {}, make("dt", {}, "score"), make("dd", {}, make("strong", { class: "score" }, found.score.toFixed(2))))),
    ...downloads(found, index, notice));
};

const copy = async (text, target) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // only offered to pages from this computer or over https
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  target.textContent = "Copied";
  setTimeout(() => { target.textContent = "Copy"; }, 1500);
};

/** The address of a fetched file in this page; the button tells that it is on its way. */
const fetched = async (target, address, notice) => {
  const words = target.textContent;
  target.disabled = true;
  target.textContent = "Working …";
  notice("");
  try {
    return URL.createObjectURL(await (await request(address)).blob());
  } catch (error) {
    notice(sentenceOf(error.message));
    return null;
  } finally {
    target.disabled = false;
    target.textContent = words;
  }
};

const saver = (words, name, address, notice, attributes) => button(words, async (event) => {
  const url = await fetched(event.target, address, notice);
  if (!url) return;
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}, attributes);

const downloads = (found, index, notice) => {
  const film = make("div", { class: "film" });
  const name = `piza-${index + 1}`;
  const watch = async (event) => {
    const url = await fetched(event.target, found.film, notice);
    if (!url) return;
    const close = () => { film.replaceChildren(); URL.revokeObjectURL(url); };
    film.replaceChildren(make("img", { src: url, alt: "A zoom from the frame to the box" }), make("div", { class: "downloads" },
      make("a", { href: url, download: `${name}.webp`, class: "small" }, "Save the zoom"), button("Close", close)));
  };
  return [make("div", { class: "downloads" }, button("Watch the zoom", watch),
    saver("Save the drawing", `${name}.png`, found.drawing, notice),
    saver("Save as JSON", `${name}.json`, found.json, notice)), film];
};

/** All answers of a search, a row each; `choose` is called with the index of one that is clicked. */
export const table = (search, image, current, choose, notice) => {
  const heads = ["", "sentence", "score", "x1", "y1", "x2", "y2"];
  const stem = image.name.replace(/\.[^.]*$/, "") || "piza";
  const rows = search.results.map((found, index) => make("tr", { class: index === current ? "best" : null },
    make("td", {}, `${index + 1}`),
    make("td", { class: "text" }, make("button", {
      type: "button", class: "link", "aria-current": index === current ? "true" : null, onclick: () => choose(index),
    }, found.sentence), found.found ? null : make("span", { class: "nothing" }, " nothing found")),
    make("td", {}, found.score.toFixed(2)), ...found.box.map((value) => make("td", {}, pixels(value)))));
  return make("section", { class: "all", "aria-label": "All answers" },
    make("div", { class: "bar" }, make("h2", {}, search.results.length > 1 ? "All answers" : "The answer as a file"),
      make("span", { class: "downloads" }, make("span", { class: "quiet" }, "Save as"), ...TABLES.map(([file, words]) =>
        saver(words, `${stem}-${file}`, search.tables[file], notice, { "aria-label": `Save all answers as ${words}` })))),
    search.results.length > 1 ? make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col", class: name === "sentence" ? "text" : null }, name)))),
      make("tbody", {}, ...rows))) : null);
};
