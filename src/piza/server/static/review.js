// People decide about sentences. A decision is sent before the next sentence is shown; what is being fixed is kept in the
// browser until it was sent.

import { getJson, postJson } from "./api.js";
import { button, make, percent, sentenceOf } from "./dom.js";
import { mark, panel } from "./panel.js";

const BOX = "rgb(255, 140, 60)", OLD = "rgb(160, 160, 160)", SIDES = ["x", "y", "width", "height"];
const place = document.querySelector("#review"), who = document.querySelector("#who"), left = document.querySelector("#left");
let item = null, draft = null, busy = false, panels = null;

const remember = (key, value) => {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(`piza-review ${key}`));
    if (value === null) localStorage.removeItem(`piza-review ${key}`);
    else localStorage.setItem(`piza-review ${key}`, JSON.stringify(value));
  } catch { /* forbidden, or full: the page works without */ }
  return null;
};
const name = () => who.value.trim().replace(/\s+/g, " ");
const draftKey = () => `draft ${name()} ${item.key}`;
const corners = ([x, y, width, height]) => [x, y, x + width, y + height];

const notice = (words) => {
  place.querySelector(".notice")?.remove();
  if (words) place.prepend(make("p", { class: "notice", role: "alert" }, sentenceOf(words)));
};

/** Do something that asks the server; what goes wrong is said on the page, and nothing that was typed is lost. */
const attempt = async (work) => {
  if (busy) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    notice(error.message);
  } finally {
    busy = false;
  }
};

const open = async (address) => show(await getJson(`${address}${address.includes("?") ? "&" : "?"}who=${encodeURIComponent(name())}`));
const next = () => attempt(() => open(`review/next?after=${item && !item.done ? item.place : -1}`));
const back = () => attempt(() => item && !item.done && item.place > 0 ? open(`review/${item.place - 1}`) : null);

const decide = (decision) => attempt(async () => {
  if (!item || item.done) return;
  if (!name()) {
    who.focus();
    throw new Error("type your name first, so that the log says who decided");
  }
  const { text, bbox } = decision === "fix" ? draft : item;
  await postJson(`review/${item.place}`, { who: name(), key: item.key, decision, text, bbox });
  remember(draftKey(), null);
  await open(`review/next?after=${item.place}`);
});

const show = (found) => {
  item = found;
  if (found.done) return showEnd(found);
  draft = remember(draftKey());
  left.textContent = `${found.left} of ${found.total} left`;
  place.replaceChildren(...page());
  draw();
};

const page = () => {
  const { mine } = item;
  const choice = (words, decision, act) => button(words, act, { "aria-pressed": `${mine?.decision === decision}` });
  panels = {
    close: panel(item.window, item.close, "The thing in the box and what is around it"),
    frame: panel([0, 0, item.width, item.height], item.frame, "The whole photo with the box"),
  };
  if (draft) drawing(panels.close.svg);
  return [
    make("p", { class: "sentence", dir: "auto" }, mine && mine.decision === "fix" ? mine.text : item.text),
    item.findings.length ? make("ul", { class: "doubts" }, ...item.findings.map((words) => make("li", {}, sentenceOf(words)))) : null,
    item.disputed ? make("p", { class: "quiet" }, "Two people disagree about this one.") : null,
    draft ? fixing() : make("div", { class: "choices" },
      choice("Accept", "accept", () => decide("accept")), choice("Fix", "fix", fix), choice("Reject", "reject", () => decide("reject")),
      button("Next", next), button("Back", back, { disabled: item.place === 0 })),
    make("div", { class: "views" },
      make("figure", {}, make("figcaption", {}, `${item.image}, the whole photo`), panels.frame.svg),
      make("figure", {}, make("figcaption", {}, "Enlarged"), panels.close.svg)),
  ].filter(Boolean);
};

const fix = () => {
  if (!item || item.done) return;
  const from = item.mine?.decision === "fix" ? item.mine : item;
  draft ??= { text: from.text, bbox: [...from.bbox] };
  refresh();
  place.querySelector("textarea").focus();
};
const cancel = () => { remember(draftKey(), null); draft = null; refresh(); };
const refresh = () => { place.replaceChildren(...page()); draw(); };
const changed = () => { remember(draftKey(), draft); draw(); };

const fixing = () => {
  const text = make("textarea", { rows: 2, "aria-label": "Sentence", oninput: () => { draft.text = text.value; changed(); } });
  text.value = draft.text;
  const numbers = SIDES.map((side, index) => {
    const input = make("input", {
      type: "number", step: "any", id: `box-${side}`,
      oninput: () => { if (Number.isFinite(input.valueAsNumber)) { draft.bbox[index] = input.valueAsNumber; changed(); } },
    });
    input.value = +draft.bbox[index].toFixed(2);
    return make("label", {}, `${side} `, input);
  });
  return make("div", { class: "fixing" }, text, make("div", { class: "numbers" }, ...numbers),
    make("div", { class: "choices" }, button("Save the fix", () => decide("fix")), button("Cancel", cancel)));
};

/** Dragging over the enlarged photo draws the box. */
const drawing = (svg) => {
  svg.classList.add("drawing");
  let from = null;
  const [x1, y1, x2, y2] = item.window;
  const point = (event) => {
    const at = svg.getBoundingClientRect();
    return [x1 + (event.clientX - at.left) / at.width * (x2 - x1), y1 + (event.clientY - at.top) / at.height * (y2 - y1)];
  };
  svg.addEventListener("pointerdown", (event) => { if (!event.button) { from = point(event); svg.setPointerCapture(event.pointerId); } });
  svg.addEventListener("pointermove", (event) => {
    if (!from || !draft) return;
    const to = point(event), low = [0, 1].map((side) => Math.min(from[side], to[side])), high = [0, 1].map((side) => Math.max(from[side], to[side]));
    if (high[0] - low[0] < 1 || high[1] - low[1] < 1) return; // a click is no box
    draft.bbox = [low[0], low[1], high[0] - low[0], high[1] - low[1]];
    SIDES.forEach((side, index) => { document.querySelector(`#box-${side}`).value = +draft.bbox[index].toFixed(2); });
    changed();
  });
  for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => { from = null; });
};

const draw = () => {
  for (const one of Object.values(panels)) {
    one.marks.replaceChildren();
    const minSide = one === panels.frame ? 22 : 0;
    if (draft) mark(one, corners(item.bbox), OLD, { dash: true, minSide });
    mark(one, corners(draft?.bbox ?? item.mine?.bbox ?? item.bbox), BOX, { width: 3, minSide });
  }
};

const showEnd = ({ total, counts, agreement }) => {
  left.textContent = "";
  place.replaceChildren(
    make("h2", {}, "Nothing is left for you."),
    make("p", {}, `Of ${total} sentences ${counts.kept} are kept, ${counts.rejected} rejected, ${counts.disputed} disputed and wait for `
      + `another person, ${counts.open} wait for more people.`),
    ...agreement.map((one) => make("p", { class: "quiet" }, `${one.who.join(" and ")}: ${one.sentences} in common, the same choice for `
      + `${percent(one.same)}${one.kappa === null ? "" : `, kappa ${one.kappa.toFixed(2)}`}${one.iou === null ? "" : `, IoU of boxes ${one.iou.toFixed(2)}`}.`)),
  );
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const typing = event.target.closest("input, textarea");
  if (draft && event.key === "Escape") cancel();
  else if (draft && event.key === "Enter" && !event.shiftKey && event.target.tagName !== "BUTTON") decide("fix");
  else if (typing) return;
  else if (event.key === "a" && !draft) decide("accept");
  else if (event.key === "r" && !draft) decide("reject");
  else if (event.key === "f") fix();
  else if (event.key === "n" && !draft) next();
  else if (event.key === "b" && !draft) back();
  else return;
  event.preventDefault();
});
window.addEventListener("resize", () => { if (item && !item.done && panels) draw(); });
who.addEventListener("change", () => { remember("who", name()); item = null; draft = null; place.replaceChildren(); next(); });

attempt(async () => {
  const config = await getJson("review/config");
  who.value ||= remember("who") || config.who;  // the name may have been typed while this loaded
  await open("review/next");
});
