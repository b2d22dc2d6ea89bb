// The page of `piza serve`: what is shown is a function of `state`, drawn anew by `render`.

import { numbers, table } from "./answers.js";
import { getJson, postJson, uploadImage } from "./api.js";
import { make, sentenceOf } from "./dom.js";
import { explorer } from "./explorer.js";
import { panel } from "./panel.js";
import { zoomable } from "./panzoom.js";
import * as storage from "./storage.js";
import { acceptFiles, chooser } from "./upload.js";

const FIELDS = ["model", "budget", "max_looks", "accept_threshold", "min_score"];
const FLAGS = ["greedy", "whole_frame"];
const POLL = 1500; // milliseconds between two questions how many wait

const form = document.querySelector("#ask");
const area = document.querySelector("#sentences");
const viewer = document.querySelector("#viewer");
const searchButton = document.querySelector("#search"), cancelButton = document.querySelector("#cancel");
const state = { image: null, search: null, sentence: 0, busy: "", reading: "" };
let config, running = null, shown = null;

const notice = (words) => {
  viewer.querySelector(".notice")?.remove();
  if (words) viewer.prepend(make("p", { class: "notice", role: "alert" }, words));
};
const complain = (error) => { if (error.name !== "AbortError") notice(sentenceOf(error.message)); };

// ---- what is asked

const optionsOf = () => Object.fromEntries([
  ...FIELDS.map((name) => [name, form.elements[name].value.trim()]).filter(([, value]) => value),
  ...FLAGS.filter((name) => form.elements[name].checked).map((name) => [name, true]),
]);
const remember = () => storage.save({ sentences: area.value, options: optionsOf(), open: document.querySelector("#options").open });
const recall = ({ sentences = "", options = {}, open = false }) => {
  area.value = sentences;
  document.querySelector("#options").open = open;
  for (const name of FIELDS) if (options[name] != null) form.elements[name].value = options[name];
  for (const name of FLAGS) form.elements[name].checked = Boolean(options[name]);
  if (!form.elements.model.value) form.elements.model.selectedIndex = 0;
};

// ---- what is done

const take = async (file, name = file.name) => {
  if (state.busy || state.reading) return;
  if (file.size > config.megabytes * 1e6)
    return notice(`${name} is too large: ${(file.size / 1e6).toFixed(0)} MB, at most ${config.megabytes} MB are taken.`);
  state.reading = `Reading ${name} …`;
  render();
  try {
    const image = await uploadImage(file, name);
    Object.assign(state, { image, search: null, reading: "" });
    storage.save({ image: image.token, search: undefined });
    storage.saveFile(file, name);
    render();
    area.focus({ preventScroll: true });
  } catch (error) {
    state.reading = "";
    render();
    complain(error);
  }
};

const ask = async () => {
  if (running || state.reading) return;
  const sentences = area.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!state.image) return notice("First drop an image here, or choose one.");
  if (!sentences.length) return notice("The sentence is empty; say in words what to find.");
  remember();
  running = new AbortController();
  Object.assign(state, { busy: "Searching …", search: null });
  render();
  if (viewer.getBoundingClientRect().top > innerHeight / 2) viewer.scrollIntoView(); // on a narrow screen it lies below
  const poll = setInterval(waiting, POLL);
  try {
    await searched(sentences);
  } catch (error) {
    state.busy = "";
    render();
    complain(error);
  } finally {
    clearInterval(poll);
    running = null;
    Object.assign(state, { busy: "" });
    render();
  }
};

const searched = async (sentences) => {
  const question = { sentences, ...optionsOf() };
  try {
    state.search = await postJson(`page/${state.image.token}/searches`, question, running.signal);
  } catch (error) {
    const kept = error.status === 404 ? await storage.loadFile() : null; // the server has forgotten the image
    if (!kept) throw error;
    state.image = await uploadImage(kept.file, kept.name, running.signal);
    state.search = await postJson(`page/${state.image.token}/searches`, question, running.signal);
  }
  state.sentence = 0;
  storage.save({ image: state.image.token, search: state.search.token });
};

const waiting = async () => {
  try {
    const health = await getJson("health");
    if (!running) return;
    state.busy = health.waiting ? `Searching …; ${health.waiting} waiting on this server` : "Searching …";
    const words = viewer.querySelector("[role=status]");
    if (words) words.textContent = state.busy;
  } catch { /* the search itself will say so */ }
};

const startExample = async (number) => {
  if (running || state.reading) return;
  state.reading = "Drawing a street …";
  render();
  try {
    const { image, sentences } = await postJson(`page/examples/${number}`, {});
    await storage.forgetFile();
    Object.assign(state, { image, search: null, reading: "" });
    storage.save({ image: image.token });
    area.value = sentences.join("\n");
    await ask();
  } catch (error) {
    state.reading = "";
    render();
    complain(error);
  }
};

const remove = async () => {
  running?.abort();
  Object.assign(state, { image: null, search: null });
  render();
  await storage.forgetFile();
};

const restore = async () => {
  const kept = storage.load();
  recall(kept);
  if (!kept.image) return;
  try {
    state.image = await getJson(`page/${kept.image}`);
    render();
    if (kept.search) state.search = await getJson(`page/${kept.image}/${kept.search}`);
    render();
  } catch {
    if (state.image) return; // only its search is forgotten
    const file = await storage.loadFile();
    if (file) await take(file.file, file.name);
  }
};

// ---- what is shown

const empty = () => {
  const examples = Array.from({ length: config.examples }, (_, number) => {
    const words = `Drawn street ${number + 1}`;
    const image = make("img", {
      src: `page/examples/${number}/frame.jpg`, alt: "", loading: "lazy", onerror: (event) => event.target.remove(),
    });
    return make("button", { type: "button", class: "example", onclick: () => startExample(number) }, image, make("span", {}, words));
  });
  return [
    make("div", { class: "drop" },
      make("p", { class: "reading", role: "status" }, state.reading || "Drop an image here, or paste one"),
      chooser("Choose an image", take),
      make("p", { class: "quiet" }, `JPEG, PNG, WebP, TIFF and others, up to ${config.megabytes} MB`)),
    config.examples ? make("p", { class: "quiet begin" }, "No image at hand? Search in a drawn street:") : null,
    make("div", { class: "examples" }, ...examples),
  ];
};

const heading = (image) => make("div", { class: "bar" },
  make("span", { class: "name" }, image.name),
  make("span", { class: "quiet" }, `${image.width} × ${image.height} pixels`),
  make("span", { class: "reading quiet" }, state.reading),
  make("span", { class: "end" }, make("button", { type: "button", class: "small", onclick: remove }, "Remove"),
    chooser("Another image", take)));

const plain = (image) => {
  const whole = panel([0, 0, image.width, image.height], image.preview, "The image");
  const { controls } = zoomable(whole, image, () => {});
  return [heading(image), make("figure", { class: `alone${state.busy ? " searching" : ""}` },
    make("figcaption", {}, make("span", { role: "status" }, state.busy || "Now say what to find, and search."), controls), whole.svg)];
};

const answered = (image, search) => {
  const choose = (index) => { state.sentence = index; render(); };
  const index = Math.min(state.sentence, search.results.length - 1), found = search.results[index];
  const tabs = search.results.length > 1 ? make("div", { class: "tabs", role: "group", "aria-label": "Sentences" },
    ...search.results.map((one, number) => make("button", {
      type: "button", "aria-pressed": number === index ? "true" : "false", title: one.sentence, onclick: () => choose(number),
    }, one.sentence))) : null;
  shown = explorer(image, found, config.colors);
  return [heading(image), tabs, numbers(found, index, notice), ...shown.nodes, table(search, image, index, choose, notice)];
};

const render = () => {
  const words = viewer.querySelector(".notice")?.textContent;
  shown?.stop();
  shown = null;
  const { image, search } = state;
  const parts = !image ? empty() : search ? answered(image, search) : plain(image);
  viewer.replaceChildren(...parts.filter((part) => part != null));
  viewer.classList.toggle("busy", Boolean(state.reading));
  viewer.setAttribute("aria-busy", Boolean(state.busy || state.reading));
  searchButton.disabled = Boolean(state.busy);
  searchButton.textContent = state.busy ? "Searching …" : "Search";
  cancelButton.hidden = !state.busy;
  if (words && !state.busy && !state.reading && !search) notice(words);
};

const start = async () => {
  config = await getJson("page/config");
  form.elements.model.replaceChildren(...config.models.map(({ name }) => make("option", { value: name }, name)));
  const defaults = () => {
    const model = config.models.find(({ name }) => name === form.elements.model.value) ?? config.models[0];
    for (const name of ["budget", "accept_threshold"]) form.elements[name].placeholder = `the model's: ${model[name]}`;
  };
  form.elements.model.addEventListener("change", defaults);
  render();
  await restore();
  defaults();
};

form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
form.addEventListener("input", remember);
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});
cancelButton.addEventListener("click", () => running?.abort());
acceptFiles(viewer, take, notice);
new ResizeObserver(() => shown?.redraw()).observe(viewer);
start().catch(complain);
