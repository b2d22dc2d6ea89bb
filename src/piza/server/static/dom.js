// Making elements, and writing numbers. Texts are only ever set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes named on... are listeners; true sets an empty attribute, false and null set none. */
export const make = (tag, attributes = {}, ...inside) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...inside.filter((part) => part != null));
  return node;
};

/** An element of SVG. */
export const shape = (tag, attributes = {}) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

/** A small button. */
export const button = (words, onclick, attributes = {}) =>
  make("button", { type: "button", class: "small", onclick, ...attributes }, words);

export const pixels = (value) => value.toFixed(1);
export const length = (value) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
export const percent = (value) =>
  value >= 0.995 && value < 1 ? "over 99 %" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;

/** A message as a sentence: capitalized, with a full stop. */
export const sentenceOf = (words) => {
  const first = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
};
