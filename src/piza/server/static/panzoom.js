// Pan and zoom of a frame by wheel, drag, pinch, keyboard and buttons. What is shown sharp is fetched when it rests.

import { button, make, shape } from "./dom.js";
import { look, place } from "./panel.js";

const MAX_ZOOM_PIXELS = 24; // of the frame, the narrowest view
const REST = 250; // milliseconds without movement before the sharp part is fetched
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Make a panel of the whole frame zoomable. `changed` is called when its marks have to be drawn again. */
export const zoomable = (panel, image, changed) => {
  const { svg, bounds } = panel;
  const [, , width, height] = bounds;
  const pointers = new Map();
  let timer = null, wanted = "";

  const zoom = () => width / (panel.view[2] - panel.view[0]);
  const scale = () => svg.clientWidth / (panel.view[2] - panel.view[0]) || 1; // screen pixels of a frame pixel
  const show = (x, y, factor) => { // (x, y): the upper left corner
    const w = width / factor, h = height / factor;
    const left = Math.min(Math.max(x, 0), width - w), top = Math.min(Math.max(y, 0), height - h);
    look(panel, [left, top, left + w, top + h]);
    svg.classList.toggle("zoomed", factor > 1.001);
    reset.disabled = minus.disabled = factor <= 1.001;
    changed();
    clearTimeout(timer);
    timer = setTimeout(sharpen, REST);
  };
  const limit = (factor) => Math.min(Math.max(factor, 1), Math.max(width / MAX_ZOOM_PIXELS, 1));
  const zoomAt = ([x, y], factor) => { // the point of the frame stays where it is on the screen
    const next = limit(factor), part = zoom() / next;
    show(x - (x - panel.view[0]) * part, y - (y - panel.view[1]) * part, next);
  };
  const middle = () => [(panel.view[0] + panel.view[2]) / 2, (panel.view[1] + panel.view[3]) / 2];
  const move = (dx, dy) => show(panel.view[0] + dx, panel.view[1] + dy, zoom());
  const point = (event) => {
    const at = svg.getBoundingClientRect();
    return [panel.view[0] + (event.clientX - at.left) / scale(), panel.view[1] + (event.clientY - at.top) / scale()];
  };

  const sharpen = () => { // the preview has too few pixels for what is shown
    const enough = image.preview_side / Math.max(width, height) >= Math.min(scale() * (window.devicePixelRatio || 1), 1);
    if (zoom() <= 1.001 || enough || !svg.isConnected) return panel.detail.replaceChildren();
    const part = [Math.floor(panel.view[0]), Math.floor(panel.view[1]), Math.ceil(panel.view[2]), Math.ceil(panel.view[3])];
    const address = `page/${image.token}/crop/${part.join("-")}.jpg`;
    wanted = address;
    const loaded = new Image();
    loaded.onload = () => {
      if (wanted !== address) return;
      const node = shape("image", { preserveAspectRatio: "none" });
      place(node, part, address);
      panel.detail.replaceChildren(node);
    };
    loaded.src = address;
  };

  svg.addEventListener("wheel", (event) => {
    if (event.deltaY > 0 && zoom() <= 1.001) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    zoomAt(point(event), zoom() * Math.exp(-Math.max(Math.min(event.deltaY, 200), -200) / 300));
  }, { passive: false });

  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (zoom() > 1.001 || pointers.size > 1) svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = [...pointers.values()];
    if (after.length === 1) {
      if (zoom() > 1.001) move((before[0][0] - after[0][0]) / scale(), (before[0][1] - after[0][1]) / scale());
    } else if (after.length === 2) {
      const gap = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
      const center = ([a, b]) => ({ clientX: (a[0] + b[0]) / 2, clientY: (a[1] + b[1]) / 2 });
      const from = point(center(before));
      zoomAt(from, zoom() * gap(after) / gap(before));
      const to = point(center(after));
      move(from[0] - to[0], from[1] - to[1]);
    }
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"])
    svg.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  svg.addEventListener("dblclick", (event) => (zoom() > 1.001 ? show(0, 0, 1) : zoomAt(point(event), 4)));
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key], size = (panel.view[2] - panel.view[0]) / 8;
    if (step && zoom() > 1.001) move(step[0] * size, step[1] * size);
    else if (event.key === "+" || event.key === "=") zoomAt(middle(), zoom() * 1.5);
    else if (event.key === "-") zoomAt(middle(), zoom() / 1.5);
    else if (event.key === "0") show(0, 0, 1);
    else return;
    event.preventDefault();
  });
  svg.setAttribute("tabindex", "0");
  svg.classList.add("zoomable");
  svg.append(Object.assign(shape("title"), { textContent: "Wheel, pinch or + and − zoom; drag or arrow keys move; 0 shows all" }));

  const minus = button("−", () => zoomAt(middle(), zoom() / 1.5), { "aria-label": "Zoom out", disabled: true });
  const reset = button("All", () => show(0, 0, 1), { "aria-label": "Show the whole frame", disabled: true });
  const plus = button("+", () => zoomAt(middle(), zoom() * 1.5), { "aria-label": "Zoom in" });
  const toBox = (box) => { // the box in the middle, with its surroundings
    const side = Math.max((box[2] - box[0]) * 6, (box[3] - box[1]) * 6 * width / height, 120);
    const factor = limit(width / side);
    show((box[0] + box[2]) / 2 - width / factor / 2, (box[1] + box[3]) / 2 - height / factor / 2, factor);
  };
  return { controls: make("span", { class: "zoom", role: "group", "aria-label": "Zoom" }, minus, reset, plus), toBox };
};
