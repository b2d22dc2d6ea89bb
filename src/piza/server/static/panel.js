// An image with rectangles over it, as SVG. Boxes are in pixels of the frame; `view` is the part of the frame that is shown.

import { shape } from "./dom.js";

/** A panel that shows `bounds`, a part of the frame, with the image of it. */
export const panel = (bounds, image, words) => {
  const svg = shape("svg", { role: "img", "aria-label": words });
  const picture = shape("image", { preserveAspectRatio: "none" });
  const detail = shape("g"), marks = shape("g");
  place(picture, bounds, image);
  svg.append(picture, detail, marks);
  const made = { svg, detail, marks, bounds, view: bounds };
  look(made, bounds);
  return made;
};

/** Have a panel show a part of its bounds. */
export const look = (panel, view) => {
  panel.view = view;
  panel.svg.setAttribute("viewBox", `${view[0]} ${view[1]} ${view[2] - view[0]} ${view[3] - view[1]}`);
};

/** Lay an image over a window of the frame. */
export const place = (node, [x1, y1, x2, y2], address) => {
  const attributes = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, href: address };
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
};

/** How many pixels of the frame one pixel of the screen shows. */
export const unitOf = ({ svg, view }) =>
  Math.max((view[2] - view[0]) / (svg.clientWidth || 600), (view[3] - view[1]) / (svg.clientHeight || 1e9));

/** Draw a box. Widths and `minSide` are in pixels of the screen; smaller boxes are drawn larger than they are. */
export const mark = (panel, box, color, { width = 2, halo = "#000", minSide = 0, label = "", dash = false } = {}) => {
  const { bounds, view, marks } = panel;
  const unit = unitOf(panel), inset = (width / 2 + 1.5) * unit;
  let [x1, y1, x2, y2] = box;
  const growX = Math.max(minSide * unit - (x2 - x1), 0) / 2, growY = Math.max(minSide * unit - (y2 - y1), 0) / 2;
  x1 = Math.max(x1 - growX, bounds[0] + inset);
  y1 = Math.max(y1 - growY, bounds[1] + inset);
  x2 = Math.min(x2 + growX, bounds[2] - inset);
  y2 = Math.min(y2 + growY, bounds[3] - inset);
  if (x2 <= x1 || y2 <= y1 || x1 > view[2] || x2 < view[0] || y1 > view[3] || y2 < view[1]) return;
  for (const [stroke, thickness, opacity] of [[halo, width + 2.5, 0.75], [color, width, 1]]) {
    marks.append(shape("rect", {
      x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 2 * unit, fill: "none", stroke, "stroke-opacity": opacity,
      "stroke-width": thickness * unit, ...(dash ? { "stroke-dasharray": `${5 * unit} ${4 * unit}` } : {}),
    }));
  }
  if (label) plate(panel, [x1, y1], color, label, unit);
};

const plate = ({ view, marks }, [x1, y1], color, label, unit) => {
  const high = 18 * unit, wide = (label.length * 7.4 + 9) * unit, gap = 4 * unit;
  const inside = y1 - high - gap < view[1];
  const left = Math.min(Math.max(inside ? x1 + gap : x1, view[0]), view[2] - wide);
  const top = inside ? Math.min(Math.max(y1, view[1]) + gap, view[3] - high) : y1 - high - gap;
  const [r, g, b] = color.match(/\d+/g).map(Number);
  const text = shape("text", {
    x: left + wide / 2, y: top + high / 2, "font-size": 12.5 * unit, "text-anchor": "middle",
    "dominant-baseline": "central", "font-weight": 600, fill: 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff",
  });
  text.textContent = label;
  marks.append(shape("rect", {
    x: left, y: top, width: wide, height: high, rx: 3 * unit, fill: color, stroke: "#000", "stroke-opacity": 0.6,
    "stroke-width": unit,
  }), text);
};
